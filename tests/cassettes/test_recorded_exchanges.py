"""75 real interactions of the live API, recorded and replayed; they are not part of this repository."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any
from urllib.parse import urlencode

import pytest
import vcr

from ringback.cassettes import verify
from ringback.cassettes.redaction import ACCOUNT_PLACEHOLDER, Redaction
from ringback.cassettes.verify import secrets_in
from ringback.exchange import Answer, Request, Source
from support.clients import SHARED
from support.exchanges import FORM, SID, Shelf, basic, found, record

FILE = SHARED / "recorded" / "interactions.jsonl"
THEIRS = "ACffffffffffffffffffffffffffffffff"


@pytest.fixture(scope="module")
def interactions() -> list[tuple[Request, Answer]]:
    if not FILE.exists():
        pytest.skip("the recorded interactions are not part of the repository, and not beside it either")
    return [as_exchange(json.loads(line)) for line in FILE.read_text(encoding="utf-8").splitlines()]


def as_exchange(one: dict[str, Any]) -> tuple[Request, Answer]:
    asked, said = one["request"], one["response"]
    path = asked["path"].replace(THEIRS, SID)
    request = Request(
        asked["method"],
        "api.twilio.com",
        path,
        (basic(), FORM),
        urlencode([tuple(field) for field in asked["form"]]).encode(),
    )
    body = said["body"].replace(THEIRS, SID).encode()
    return request, Answer(
        said["status"], said["reason"], tuple(said["headers"].items()), body, Source("live")
    )


def test_each_is_replayed_in_its_order(shelf: Shelf, interactions: list[tuple[Request, Answer]]) -> None:
    with shelf.library("auto") as library:
        record(library.open(), *interactions)
    wanted = defaultdict(list)
    for request, answer in interactions:
        wanted[Redaction().redact(request).key].append(answer)
    with shelf.library() as library:
        cassette = library.open()
        for request, _ in interactions:
            answer = wanted[Redaction().redact(request).key].pop(0)
            got = found(cassette, request)
            assert (got.status, got.reason, got.body) == (answer.status, answer.reason, answer.body)
            kept = {name.lower(): value for name, value in got.headers}
            for name, value in answer.headers:
                if name.lower() not in ("connection", "content-length", "transfer-encoding"):
                    assert kept[name.lower()] == value
        assert cassette.unused() == (0, ())


def test_nothing_in_them_is_taken_for_a_secret(
    shelf: Shelf, interactions: list[tuple[Request, Answer]]
) -> None:
    file = shelf.write(*interactions)
    text = file.read_text()
    assert SID not in text
    assert ACCOUNT_PLACEHOLDER in text
    placed = verify.load(file).placed
    assert len(placed) == len(interactions)
    assert [secrets_in(one.interaction) for one in placed if secrets_in(one.interaction)] == []


def test_vcrpy_reads_the_same(shelf: Shelf, interactions: list[tuple[Request, Answer]]) -> None:
    file = shelf.write(*interactions)
    with vcr.use_cassette(str(file), record_mode="none") as cassette:
        bodies = [response["body"]["string"] for response in cassette.responses]
    assert bodies == [
        answer.body.replace(SID.encode(), ACCOUNT_PLACEHOLDER.encode()) for _, answer in interactions
    ]
