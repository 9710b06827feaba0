"""One exchange, and what can be told from it."""

from __future__ import annotations

import base64

import pytest
from msgspec.structs import replace

from ringback.contract import Answer, Request, Source
from ringback.drift.observation import (
    NO_ACCOUNT,
    Observation,
    form_of,
    format_of,
    outside_id,
    plain,
    who_asked,
)
from support.drifting import ACCOUNT, CLAIM_SET, documented, failing, probe

PATH = f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json"
ASKED = Request("POST", "api.twilio.com", PATH, (("Content-Type", "application/x-www-form-urlencoded"),))
ANSWER = Answer(201, "CREATED", (), b"{}", Source("live"))


def test_the_account_is_the_path_s() -> None:
    assert Observation(ASKED, ANSWER, "x").account == ACCOUNT
    assert Observation(replace(ASKED, target="/v1/Services"), ANSWER, "x").account == NO_ACCOUNT


def test_the_rules_get_the_path_s_account_and_nothing_that_was_recorded_besides() -> None:
    headers = (*ASKED.headers, ("User-Agent", "x"), ("authorization", "Basic other"))
    made = plain(replace(ASKED, headers=headers))
    assert dict(made.headers).keys() == {"Authorization", "Content-Type"}
    encoded = dict(made.headers)["Authorization"].removeprefix("Basic ")
    assert base64.b64decode(encoded).decode().partition(":")[0] == ACCOUNT
    assert documented(ASKED).status != 401


def test_what_is_no_form_has_no_fields() -> None:
    assert form_of(replace(ASKED, body=b"To=%2B1&To=2&Body=")) == (("To", "+1"), ("To", "2"), ("Body", ""))
    assert form_of(replace(ASKED, body=b"%zz=\xff", headers=(("Content-Encoding", "gzip"),))) == ()


@pytest.mark.parametrize("path, form", [(PATH, "json"), (PATH.removesuffix(".json"), "xml")])
def test_the_format_is_the_path_s(path: str, form: str) -> None:
    assert format_of(CLAIM_SET.contract, replace(ASKED, target=path)) == form


@pytest.mark.parametrize(
    "body, who",
    [
        (b"From=%2B15005550006&To=1", "test"),
        (b"From=%2B15005550006&To=", "test"),
        (b"From=&To=%2B15005550006", "unknown"),
        (b"From=%2B15005550001", "unknown"),  # it fails for everybody
        (b"From=%2B14105550100", "unknown"),
        (b"", "unknown"),
    ],
)
def test_a_magic_sender_reports_who_asked(body: bytes, who: str) -> None:
    assert who_asked(CLAIM_SET.contract, replace(ASKED, body=body), ANSWER) == who


def test_elsewhere_only_the_code_reports_who_asked() -> None:
    asked = probe("outside.api.get.queues").request(ACCOUNT)
    assert who_asked(CLAIM_SET.contract, asked, ANSWER) == "unknown"
    assert who_asked(CLAIM_SET.contract, asked, failing(20008, 403)(ANSWER)) == "test"


@pytest.mark.parametrize(
    "host, path, name",
    [
        ("api.twilio.com", "/2010-04-01/Accounts/{account}.json", "outside.api.get.account"),
        ("api.twilio.com", f"{PATH.removesuffix('.json')}/SM{'0' * 32}.json", "outside.api.get.messages.sid"),
        ("api.twilio.com", "/2010-04-01/Accounts/{account}/Calls/{sid:CA}", "outside.api.get.calls.sid"),
        ("lookups.twilio.com", "/v1/PhoneNumbers/+14105550100", "outside.lookups.get.v1.phonenumbers.number"),
        ("api.ie1.twilio.com", "/2010-04-01/Accounts/AC1/A%20B", "outside.api.get.a-b"),
    ],
)
def test_other_resources_have_names_without_what_differs_from_request_to_request(
    host: str, path: str, name: str
) -> None:
    assert outside_id("GET", host, path) == name
