"""Interactions of the live API, recorded and replayed: a few in its words here, 75 real ones beside it."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any
from urllib.parse import urlencode

import pytest
import vcr

from ringback.cassettes import verify
from ringback.cassettes.matching import ACCOUNT_PLACEHOLDER
from ringback.cassettes.redaction import Redaction
from ringback.cassettes.verify import secrets_in
from ringback.exchange import Answer, Request, Source
from support.clients import SHARED
from support.exchanges import FORM, SID, Shelf, basic, found, record

FILE = SHARED / "recorded" / "exchanges.jsonl"
THEIRS = "ACffffffffffffffffffffffffffffffff"


def line(
    form: list[list[str]], status: int, body: dict[str, Any], resource: str = "Messages"
) -> dict[str, Any]:
    """An exchange as a line of the file has it, made up."""
    headers = {
        "Access-Control-Allow-Headers": "Accept, Authorization, Content-Type",
        "Content-Type": "application/json",
        "Date": "Tue, 03 Nov 2015 00:31:55 GMT",
        "Twilio-Request-Id": "RQ" + "7" * 32,
        "X-Shenanigans": "none",
        "Content-Length": "7",  # that of the body before it was made anonymous
        "Connection": "keep-alive",
    }
    said = {"status": status, "reason": "CREATED" if status == 201 else "BAD REQUEST", "headers": headers}
    asked = {"method": "POST", "path": f"/2010-04-01/Accounts/{THEIRS}/{resource}.json", "form": form}
    return {"request": asked, "response": {**said, "body": json.dumps(body)}}


def message(number: int, text: str) -> dict[str, Any]:
    sid = f"SM{number:032x}"
    return {
        "sid": sid,
        "account_sid": THEIRS,
        "body": text,
        "price": None,
        "uri": f"/2010-04-01/Accounts/{THEIRS}/Messages/{sid}.json",
        "subresource_uris": {"media": f"/2010-04-01/Accounts/{THEIRS}/Messages/{sid}/Media.json"},
    }


PLAIN = [["Body", "xx"], ["To", "+14105550100"], ["From", "15005550006"]]
BAD = {"code": 21211, "message": "The 'To' number 11 is not a valid phone number.", "status": 400}
MADE_UP = [
    line([["Body", "xx"], ["To", "11"], ["From", "4155550181"]], 400, BAD),
    line(PLAIN, 201, message(1, "xx")),
    line(PLAIN, 201, message(2, "xx")),  # the same request again
    line(list(reversed(PLAIN)), 201, message(3, "xx")),  # and in another order
    line([*PLAIN, ["MediaUrl", "https://demo.example/b"], ["MediaUrl", ""]], 201, message(4, "xx")),
    line(
        [["Body", "Gr\u00fc\u00dfe \U0001f600 & =+%"], ["To", "+1 (410) 555-0100"]], 201, message(5, "\u2028")
    ),
    line(
        [["Body", ""], ["From", "+15005550006"]], 400, {"code": 21602, "message": "Required.", "status": 400}
    ),
    line(
        [["Url", "https://demo.example/?a=b&c=%20"], ["To", "client:a"]],
        201,
        {"sid": "CA" + "1" * 32},
        "Calls",
    ),
]


@pytest.fixture(scope="module", params=["made up", "real"])
def interactions(request: pytest.FixtureRequest) -> list[tuple[Request, Answer]]:
    lines = MADE_UP
    if request.param == "real":
        if not FILE.exists():
            pytest.skip("the recorded exchanges are not part of the repository, and not beside it either")
        lines = [json.loads(text) for text in FILE.read_text(encoding="utf-8").splitlines()]
    return [as_exchange(one) for one in lines]


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
