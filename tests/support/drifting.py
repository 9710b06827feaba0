"""Support for tests of drift: recorded exchanges as a cassette, and a mock upstream."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from msgspec.structs import replace
from vcr.request import Request as VcrRequest
from vcr.serialize import serialize
from vcr.serializers import yamlserializer

from ringback import contract
from ringback.contract import Answer, AnswerStamp, Credentials, Names, Request, Source
from ringback.drift.claims import ClaimSet
from ringback.drift.compare import compare
from ringback.drift.observation import Observation, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ringback.drift.claims import ClaimProbe
    from ringback.drift.compare import Comparison

RECORDED = Path(__file__).parents[2].parent / "shared" / "recorded" / "exchanges.jsonl"
ACCOUNT = "AC" + "0123456789abcdef" * 2
TOKEN = "5f4e3d2c" * 4
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CLAIM_SET = ClaimSet()


def recorded() -> list[dict[str, Any]]:
    """The real exchanges of 2014 to 2017, one for each line."""
    if not RECORDED.exists():
        pytest.skip(f"no recordings at {RECORDED}")
    return [json.loads(line) for line in RECORDED.read_text(encoding="utf-8").splitlines()]


def cassette(exchanges: Iterable[dict[str, Any]], file: Path) -> Path:
    """The exchanges as a cassette that vcrpy itself wrote."""
    requests, responses = [], []
    for exchange in exchanges:
        asked, got = exchange["request"], exchange["response"]
        body = urlencode([tuple(field) for field in asked["form"]]).encode()
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        requests.append(VcrRequest(asked["method"], f"https://api.twilio.com{asked['path']}", body, form))
        responses.append(
            {
                "status": {"code": got["status"], "message": got["reason"]},
                "headers": {name: [value] for name, value in got["headers"].items()},
                "body": {"string": got["body"].encode()},
            }
        )
    file.write_text(serialize({"requests": requests, "responses": responses}, yamlserializer))
    return file


def probe(claim: str, form: str = "json") -> ClaimProbe:
    """The request for a claim."""
    return next(item for item in CLAIM_SET.probes if claim in item.claims and item.format == form)


def documented(request: Request, sid: str = "1a2b3c4d" * 4) -> Answer:
    """Return the answer of an upstream that behaves as documented."""
    stamp = AnswerStamp(sid, sid[::-1], NOW, 0.1)
    return contract.answer(CLAIM_SET.contract, plain(request), Names(request.host), Credentials(), stamp)


def look(
    item: ClaimProbe, change: Callable[[Answer], Answer] = lambda answer: answer, *, where: str = ""
) -> Comparison:
    """One probe answered as documented, changed, and compared."""
    request = item.request(ACCOUNT)
    answer = change(documented(request))
    return compare(CLAIM_SET, Observation(request, answer, where or item.id, NOW, "proven"))


def edit(**fields: Any) -> Callable[[Answer], Answer]:
    """Change fields of a JSON body; `...` takes one away."""

    def change(answer: Answer) -> Answer:
        body = {**json.loads(answer.body), **fields}
        kept = {name: value for name, value in body.items() if value is not ...}
        return replace(answer, body=json.dumps(kept).encode())

    return change


def failing(code: int, status: int = 400, message: str = "Something else") -> Callable[[Answer], Answer]:
    """Another error, in the format of the answer that it replaces."""
    link = f"https://www.twilio.com/docs/errors/{code}"
    as_json = json.dumps({"code": code, "message": message, "more_info": link, "status": status})
    as_xml = (
        f"<TwilioResponse><RestException><Code>{code}</Code><Message>{message}</Message>"
        f"<MoreInfo>{link}</MoreInfo><Status>{status}</Status></RestException></TwilioResponse>"
    )

    def change(answer: Answer) -> Answer:
        body = as_xml if answer.body.startswith(b"<") else as_json
        return replace(answer, status=status, reason="X", body=body.encode(), source=Source("live"))

    return change
