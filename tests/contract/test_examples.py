"""The page's eight examples, in both formats."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from ringback.contract import load
from support import page as documentation
from support.clients import ACCOUNT, ask, body_of, fail_of, post

CONTRACT = load()
EXAMPLES = CONTRACT.examples
ELEMENTS = {"IncomingPhoneNumbers": "IncomingPhoneNumber", "Messages": "Message", "Calls": "Call"}

# What each example gets, in this project's own words.
OUTCOMES = {
    "number.bought": None,
    "number.unavailable": (21422, "+15005550000 is not available"),
    "number.invalid": (21421, "33 is not a valid number"),
    "message.sent": None,
    "message.landline": (21614, "To number: +15005550009, is not a mobile number"),
    "message.empty": (21602, "Message body is required."),
    "call.placed": None,
    "call.no-international": (
        21215,
        (
            "Account not authorized to call +15005550003. Perhaps you need to enable some international "
            "permissions: https://www.twilio.com/console/voice/calls/geo-permissions/low-risk"
        ),
    ),
}


def test_there_are_eight() -> None:
    assert {example.id for example in EXAMPLES} == set(OUTCOMES)
    assert len(EXAMPLES) == 8


@pytest.mark.parametrize("extension", [".json", "", ".xml"])
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.id)
def test_an_example_gets_its_documented_answer(example: Any, extension: str) -> None:
    got = ask(post(example.resource, example.form, extension=extension))
    wanted = OUTCOMES[example.id]
    assert got.header("Content-Type") == ("application/json" if extension == ".json" else "application/xml")
    if wanted:
        failed = fail_of(got)
        assert (failed["code"], failed["message"], failed["status"]) == (*wanted, 400)
        assert got.reason == "BAD REQUEST"
        return
    assert (got.status, got.reason) == (201, "CREATED")
    if extension == ".json":
        body = body_of(got)
        assert body["account_sid"] == ACCOUNT
        assert body["uri"] == f"/2010-04-01/Accounts/{ACCOUNT}/{example.resource}/{body['sid']}.json"
    else:
        root = ET.fromstring(got.body)
        assert [child.tag for child in root] == [ELEMENTS[example.resource]]
        assert root[0].findtext("AccountSid") == ACCOUNT
        sid = root[0].findtext("Sid")
        assert root[0].findtext("Uri") == f"/2010-04-01/Accounts/{ACCOUNT}/{example.resource}/{sid}"


@pytest.mark.parametrize("source", documentation.SOURCES)
@pytest.mark.parametrize("example", [it for it in EXAMPLES if it.expect], ids=lambda example: example.id)
def test_an_error_is_the_pages_except_for_its_errata(example: Any, source: str) -> None:
    documented = json.loads(
        next(it.json for it in documentation.of(source).examples if it.json_line == example.json_line)
    )
    failed = fail_of(ask(post(example.resource, example.form)))
    assert failed["code"] == documented["code"]
    assert failed["status"] == documented["status"]
    if source == "text":
        assert failed["more_info"].replace("https:", "http:") == documented["more_info"]
    same = failed["message"] == documented["message"]
    assert same == ("call-permission-number" not in example.errata)


@pytest.mark.parametrize("source", documentation.SOURCES)
@pytest.mark.parametrize("resource", ELEMENTS)
def test_an_xml_success_has_the_samples_elements_in_order(resource: str, source: str) -> None:
    example = next(it for it in EXAMPLES if it.resource == resource and it.expect is None)
    sample = ET.fromstring(documentation.of(source).example(resource, 1).xml)[0]
    got = ET.fromstring(ask(post(resource, example.form, extension="")).body)[0]
    wanted = [child.tag for child in sample]
    assert [child.tag for child in got if child.tag in wanted] == wanted
    for child in sample:
        found = got.find(child.tag)
        assert found is not None
        assert [it.tag for it in child] == [it.tag for it in found if it.tag in {own.tag for own in child}]


def test_errata_reach_no_answer() -> None:
    answers = [
        ask(post(example.resource, example.form, extension=extension)).body.decode()
        for example in EXAMPLES
        for extension in (".json", "")
    ]
    told = "\n".join(answers)
    for wrong in ("SMSMessage", "SMS/Messages", "+1400555", "user/account", "http://www.twilio.com", "\\/"):
        assert wrong not in told, wrong
    sent = body_of(ask(post("Messages", next(it.form for it in EXAMPLES if it.id == "message.sent"))))
    assert sent["body"] == "All in the game, yo"
    call = body_of(ask(post("Calls", next(it.form for it in EXAMPLES if it.id == "call.placed"))))
    assert (call["direction"], call["api_version"]) == ("outbound-api", "2010-04-01")
    assert call["to_formatted"] == "(410) 867-5309"
    bought = ET.fromstring(ask(post("IncomingPhoneNumbers", EXAMPLES[0].form, extension="")).body)
    assert bought.findtext("./IncomingPhoneNumber/DateCreated")
    assert bought.findtext("./IncomingPhoneNumber/Capabilities/SMS") == "false"
