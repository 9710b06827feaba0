"""What the live API answered, reproduced: 75 exchanges recorded from 2014 to 2017, 13 by test credentials.

The recordings are not part of this repository; each test skips without them.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

from ringback.contract import Contract, Credentials, Request, load
from support.clients import FORM_TYPE, SHARED, ask, basic, http

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from support.proxying import Serving

RECORDED = SHARED / "recorded" / "exchanges.jsonl"
COUNT = 75
BY_TEST_CREDENTIALS = 13

# Exchanges whose credentials are not known and whose answer is another one than Ringback's:
# (code recorded, code answered, From or * for any): (how many there are, why).
PASSED = "the From is a real number and passed, so live credentials sent it; with test credentials 21606"
FICTIONAL = "the From was not a valid number; the recording shows a valid one of the same area code instead"
MALFORMED = "the From is a possible number of no valid pattern: Ringback takes it for one that is not owned"
NO_NUMBER = "the From is no number; a live test of 2023 with test credentials got 21606"
DIFFERENCES = {
    (None, 21606, "*"): (8, PASSED),
    (21211, 21606, "*"): (35, PASSED),
    (21608, 21606, "*"): (1, f"{PASSED}; they were those of a trial account"),
    (20003, 21606, "*"): (1, "the token was wrong; offline every token counts unless a pair is configured"),
    (21212, 21606, "5035550185"): (11, FICTIONAL),
    (21212, 21606, "0123456789"): (1, MALFORMED),
    (21212, 21606, "5050505050"): (1, MALFORMED),
    (21212, 21606, "*"): (1, NO_NUMBER),
}

# Fields whose values differ from answer to answer; `shape` tells whether they are of one kind.
VOLATILE = {"sid", "date_created", "date_updated", "uri", "subresource_uris"}
# Header fields that belong to one connection, or to the time of the recording.
OF_THE_CONNECTION = {"connection", "content-length"}


@dataclass(frozen=True)
class Exchange:
    """One line of the recordings."""

    credentials: str
    request: dict[str, Any]
    response: dict[str, Any]

    @property
    def account(self) -> str:
        return str(self.request["path"].split("/")[3])

    @property
    def sender(self) -> str:
        return str(dict(self.request["form"])["From"])

    @property
    def body(self) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(self.response["body"])
        return body

    def send(self, credentials: Credentials | None = None, contract: Contract | None = None) -> Answered:
        """What the contract answers to the same request."""
        headers = (basic(self.account), FORM_TYPE)
        body = urlencode([tuple(field) for field in self.request["form"]]).encode()
        request = Request(self.request["method"], "api.twilio.com", self.request["path"], headers, body)
        got = ask(request, credentials=credentials, **({"contract": contract} if contract else {}))
        return Answered(got.status, got.reason, got.headers, json.loads(got.body))


@dataclass(frozen=True)
class Answered:
    """An answer with its body read."""

    status: int
    reason: str
    headers: Iterable[tuple[str, str]]
    body: dict[str, Any]


@pytest.fixture(scope="module")
def exchanges() -> list[Exchange]:
    if not RECORDED.exists():
        pytest.skip("the recordings are not part of the repository, and not beside it either")
    lines = [json.loads(line) for line in RECORDED.read_text(encoding="utf-8").splitlines()]
    return [Exchange(line["credentials"], line["request"], line["response"]) for line in lines]


def same_error(answered: Answered, exchange: Exchange) -> bool:
    """Whether status, code and message are those recorded."""
    recorded, wanted = exchange.body, exchange.response["status"]
    got = answered.body
    return answered.status == wanted and all(
        got.get(key) == recorded.get(key) for key in ("code", "message", "status", "more_info")
    )


def check_reproduced(answered: Answered, exchange: Exchange) -> None:
    """The answer is the recorded one: status, phrase, header fields, and every field of the body."""
    assert (answered.status, answered.reason) == (exchange.response["status"], exchange.response["reason"])
    names = {name.lower() for name in exchange.response["headers"]} - OF_THE_CONNECTION
    assert names <= {name.lower() for name, _ in answered.headers}
    recorded = exchange.body
    if "code" in recorded:
        assert list(answered.body.items()) == list(recorded.items())
        return
    for field, value in recorded.items():
        assert field in answered.body
        if field not in VOLATILE:
            assert answered.body[field] == value
        elif value is not None:  # in 2014 the dates were still null
            assert shape(answered.body[field]) == shape(value)


def shape(value: Any) -> Any:
    """`value` with its sids, digits and letters of dates blurred."""
    if isinstance(value, dict):
        return {key: shape(part) for key, part in value.items()}
    assert isinstance(value, str)
    text = re.sub(r"(SM)[0-9a-f]{32}", r"\1…", value)
    return re.sub(r"^\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d \+0000$", "a date", text)


def test_recordings_are_those_that_the_tests_know(exchanges: list[Exchange]) -> None:
    assert len(exchanges) == COUNT
    assert sum(exchange.credentials == "test" for exchange in exchanges) == BY_TEST_CREDENTIALS
    assert {exchange.credentials for exchange in exchanges} == {"test", "unknown"}


@pytest.mark.parametrize("nth", range(BY_TEST_CREDENTIALS))
def test_answer_to_test_credentials_is_reproduced(exchanges: list[Exchange], nth: int) -> None:
    exchange = [it for it in exchanges if it.credentials == "test"][nth]
    check_reproduced(exchange.send(), exchange)


def test_other_answers_differ_for_known_reasons_only(exchanges: list[Exchange]) -> None:
    found: Counter[tuple[int | None, int | None, str]] = Counter()
    for exchange in (it for it in exchanges if it.credentials == "unknown"):
        answered = exchange.send()
        if same_error(answered, exchange):
            continue
        codes = exchange.body.get("code"), answered.body.get("code")
        sender = exchange.sender if (*codes, exchange.sender) in DIFFERENCES else "*"
        found[*codes, sender] += 1
    assert found == {difference: count for difference, (count, _) in DIFFERENCES.items()}


def test_messages_of_a_trial_account_are_reproduced(exchanges: list[Exchange], tmp_path: Path) -> None:
    """Three of 27 February 2017. Their From is a fictional number that a user's own row lets pass."""
    own = tmp_path / "own.yaml"
    own.write_text('magic: [{resource: Messages, parameter: From, value: "4585550168", error: null}]')
    contract = load([own], account="trial")
    notice = "Sent from your Twilio trial account - "
    sent = [it for it in exchanges if str(it.body.get("body")).startswith(notice)]
    assert len(sent) == 3
    for exchange in sent:
        answered = exchange.send(contract=contract)
        answered.body["from"] = exchange.body["from"]  # live credentials get the number in E.164
        check_reproduced(answered, exchange)


def test_wrong_token_is_reported_as_recorded(exchanges: list[Exchange]) -> None:
    (exchange,) = [it for it in exchanges if it.response["status"] == 401]
    configured = Credentials(exchange.account, "another-token")
    answered = exchange.send(configured)
    assert same_error(answered, exchange)
    assert answered.reason == exchange.response["reason"]


def test_running_proxy_reproduces_them_too(exchanges: list[Exchange], serving: Serving) -> None:
    with serving.twilio() as wire:
        for exchange in (it for it in exchanges if it.credentials == "test"):
            form = dict(exchange.request["form"])
            assert len(form) == len(exchange.request["form"])
            wire.send(
                http(
                    target=exchange.request["path"],
                    form=form,
                    headers=[basic(exchange.account)],
                    authorized=False,
                )
            )
            got = wire.response()
            check_reproduced(Answered(got.status, got.reason, got.headers, got.json()), exchange)
