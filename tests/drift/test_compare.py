from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from ringback.contract import Answer, Request, Source
from ringback.drift.compare import compare
from ringback.drift.findings import collect_findings
from ringback.drift.observation import Observation, who_asked
from support.drifting import ACCOUNT, CLAIM_SET, NOW, documented, edit, failing, look, probe

if TYPE_CHECKING:
    from ringback.drift.claims import ClaimProbe
    from ringback.drift.compare import Comparison

SENT = "example.message.sent"
CALL = "example.call.placed"
BOUGHT = "example.number.bought"


def differences(comparison: Comparison) -> list[tuple[str, str, str]]:
    found = [check.difference for check in comparison.checks if check.difference]
    if comparison.outcome and comparison.outcome.difference:
        found.append(comparison.outcome.difference)
    return [(item.severity, item.kind, item.pointer) for item in found]


@pytest.mark.parametrize("item", CLAIM_SET.probes, ids=lambda item: item.id)
def test_what_is_documented_is_no_drift(item: ClaimProbe) -> None:
    comparison = look(item)
    assert differences(comparison) == []
    assert comparison.skipped == ""
    assert comparison.checks


def opened(answer: Answer) -> Answer:
    return replace(answer, status=200, body=b"{}")


@pytest.mark.parametrize(
    "claim, change, expected",
    [
        (SENT, edit(sid="SM" + "0" * 31), ("error", "type", "/sid")),
        (SENT, edit(sid=12), ("error", "type", "/sid")),
        (SENT, edit(status="accepted"), ("warning", "value", "/status")),
        (SENT, edit(status=...), ("error", "removed", "/status")),
        (SENT, edit(status=None), ("error", "type", "/status")),
        (SENT, edit(num_segments=1), ("warning", "type", "/num_segments")),  # not on the page, recorded
        (SENT, edit(num_media=...), ("warning", "removed", "/num_media")),
        (SENT, edit(price="-0.01"), ("info", "value", "/price")),
        (SENT, edit(tags={"a": 1}), ("info", "added", "/tags")),
        (SENT, edit(date_created="2026-01-02T03:04:05Z"), ("warning", "value", "/date_created")),
        (SENT, edit(date_created=None), ("error", "type", "/date_created")),
        (SENT, edit(uri="/2010-04-01/Messages"), ("warning", "value", "/uri")),
        (SENT, edit(account_sid="AC" + "9" * 32), ("warning", "value", "/account_sid")),
        (CALL, edit(queue_time=...), ("info", "removed", "/queue_time")),  # nobody wrote that it is there
        (CALL, edit(direction="inbound"), ("warning", "value", "/direction")),
        (BOUGHT, edit(capabilities=[]), ("error", "type", "/capabilities")),
        (BOUGHT, edit(voice_url=""), ("warning", "value", "/voice_url")),
        (SENT, failing(21606), ("error", "refused", "")),
        ("Messages.to.blocked", failing(21612), ("error", "code", "")),
        ("Messages.to.blocked", edit(message="Blocked"), ("warning", "value", "/message")),
        ("Calls.to.unroutable", edit(message="Now known"), ("info", "value", "/message")),
        ("Messages.to.blocked", edit(code="21610"), ("error", "type", "/code")),
        ("Messages.to.blocked", edit(more_info=...), ("error", "removed", "/more_info")),
        ("Messages.to.blocked", edit(more_info="https://help/21610"), ("warning", "value", "/more_info")),
        ("Messages.to.blocked", edit(detail="more"), ("info", "added", "/detail")),
        ("IncomingPhoneNumbers.number.other", failing(21421), ("info", "code", "")),  # assumed
        ("outside.api.get.queues", failing(20404, 404), ("error", "code", "")),
        ("outside.api.get.queues", edit(message="No"), ("warning", "value", "/message")),
        # Newer editions of the page open this one.
        ("outside.lookups.get.v2.phonenumbers.number", opened, ("info", "allowed", "")),
    ],
)
def test_a_change_has_its_severity_and_kind(claim: str, change: Any, expected: tuple[str, str, str]) -> None:
    assert differences(look(probe(claim), change)) == [expected]


def test_success_where_an_error_is_documented() -> None:
    good = documented(probe(SENT).request(ACCOUNT))
    assert differences(look(probe("Messages.to.blocked"), lambda _: good)) == [("error", "allowed", "")]
    assert differences(look(probe("Messages.messaging-service"), lambda _: good)) == [
        ("error", "allowed", "")
    ]


def test_another_status_is_one_warning_whether_or_not_the_body_repeats_it() -> None:
    def both(answer: Answer) -> Answer:
        return edit(status=422)(replace(answer, status=422))

    assert differences(look(probe("Messages.to.blocked"), both)) == [("warning", "status", "")]
    assert differences(look(probe(SENT), lambda answer: replace(answer, status=200))) == [
        ("warning", "status", "")
    ]


def test_the_order_of_keys_says_nothing() -> None:
    def reversed_keys(answer: Answer) -> Answer:
        items = reversed(list(json.loads(answer.body).items()))
        return replace(answer, body=json.dumps(dict(items)).encode())

    assert differences(look(probe(CALL), reversed_keys)) == []


@pytest.mark.parametrize(
    "claim, change",
    [
        (SENT, edit(body="hi")),
        (SENT, edit(uri=f"/2010-04-01/Accounts/{ACCOUNT}/SMS/Messages/SM{'1a2b3c4d' * 4}.json")),
        (CALL, edit(to_formatted="(410) 555-1234", direction=None, api_version=None)),
        ("example.number.unavailable", edit(more_info="http://www.twilio.com/docs/errors/21422")),
        (
            "example.call.no-international",
            edit(
                message="Account not authorized to call +14005550003. Perhaps you need to enable some "
                "international permissions: https://www.twilio.com/user/account/international"
            ),
        ),
    ],
)
def test_errata_of_the_page_are_known_and_no_drift(claim: str, change: Any) -> None:
    comparison = look(probe(claim), change)
    assert differences(comparison) == []
    assert comparison.known & {item.id for item in CLAIM_SET.contract.errata}


def test_the_page_s_own_xml_element_is_an_erratum_and_another_one_is_drift() -> None:
    def element(name: bytes) -> Any:
        return lambda answer: replace(answer, body=answer.body.replace(b"Message>", name + b">"))

    assert differences(look(probe(SENT, "xml"), element(b"SMSMessage"))) == []
    assert differences(look(probe(SENT, "xml"), element(b"Text"))) == [("error", "removed", "")]


def test_empty_dates_in_xml_are_an_erratum_for_numbers_alone() -> None:
    def empty(answer: Answer) -> Answer:
        start, _, rest = answer.body.partition(b"<DateCreated>")
        return replace(answer, body=start + b"<DateCreated/>" + rest.partition(b"</DateCreated>")[2])

    assert differences(look(probe(BOUGHT, "xml"), empty)) == []
    assert differences(look(probe(SENT, "xml"), empty)) == [("error", "type", "/date_created")]


@pytest.mark.parametrize(
    "body",
    [b"", b"<html><body>Log in</body></html>", b'{"sid": "SM', b"[1]", b"[" * 100_000, b"\xff\xfe", b'"SM"'],
)
@pytest.mark.parametrize("form", ["json", "xml"])
def test_a_body_that_is_none_is_one_error(body: bytes, form: str) -> None:
    found = differences(look(probe(SENT, form), lambda answer: replace(answer, body=body)))
    assert found == [("error", "type", "")]


def test_entities_are_never_expanded() -> None:
    bomb = b"<!DOCTYPE a [<!ENTITY b 'c'>]><TwilioResponse><Message><Sid>&b;</Sid></Message></TwilioResponse>"
    comparison = look(probe(SENT, "xml"), lambda answer: replace(answer, body=bomb))
    (found,) = [check.difference for check in comparison.checks if check.specific == "format.body"]
    assert found is not None
    assert found.observed == "XML with a document type, which Twilio never sends"


def test_a_recording_is_not_blamed_for_header_fields_that_came_later() -> None:
    request = probe(SENT).request(ACCOUNT)
    kept = ("Content-Type", "X-Powered-By", "X-Shenanigans")
    answer = documented(request)
    answer = replace(answer, headers=tuple(field for field in answer.headers if field[0] in kept))
    old = compare(CLAIM_SET, Observation(request, answer, "x", datetime(2015, 4, 1, tzinfo=UTC), "test"))
    assert differences(old) == []
    late = compare(CLAIM_SET, Observation(request, answer, "x", NOW, "test"))
    assert {item[1] for item in differences(late)} == {"header"}


def test_headers() -> None:
    def without(name: str) -> Any:
        return lambda answer: replace(
            answer, headers=tuple(field for field in answer.headers if field[0] != name)
        )

    assert differences(look(probe(SENT), without("Twilio-Request-Id"))) == [("warning", "header", "")]
    assert differences(look(probe(SENT), without("Date"))) == []  # HTTP's own
    new = look(probe(SENT), lambda answer: replace(answer, headers=(*answer.headers, ("X-New", "1"))))
    assert differences(new) == [("info", "header", "")]
    other = look(probe(SENT), lambda answer: replace(answer, headers=(("Content-Type", "text/html"),)))
    assert ("warning", "header", "") in differences(other)


@pytest.mark.parametrize(
    "status, body",
    [(503, b"down"), (500, b"{}"), (429, b'{"code": 20429, "message": "", "status": 429}')],
)
def test_an_api_that_is_unavailable_says_nothing(status: int, body: bytes) -> None:
    comparison = look(probe(SENT), lambda answer: replace(answer, status=status, body=body))
    assert comparison.skipped
    assert not comparison.checks


def test_a_queue_that_is_full_is_an_answer() -> None:
    assert look(probe("Messages.from.queue-full")).skipped == ""


def test_outcomes_count_only_where_test_credentials_asked() -> None:
    request = replace(probe(SENT).request(ACCOUNT), body=b"From=%2B14105550100&To=%2B14105550101&Body=hi")
    good = documented(probe(SENT).request(ACCOUNT))
    unknown = compare(CLAIM_SET, Observation(request, good, "x", NOW))
    assert unknown.outcome is None
    assert differences(unknown) == []
    proven = compare(CLAIM_SET, Observation(request, good, "x", NOW, "proven"))
    assert differences(proven) == [("error", "allowed", "")]


def test_a_request_reports_by_its_magic_sender_that_test_credentials_asked() -> None:
    answer = Answer(201, "CREATED", (), b"{}", Source("live"))

    def asked(body: bytes, answer: Answer = answer) -> str:
        path = f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json"
        return who_asked(CLAIM_SET.contract, Request("POST", "api.twilio.com", path, (), body), answer)

    assert asked(b"From=5005550006&To=1") == "test"
    assert asked(b"From=4105550100&To=15005550006") == "unknown"
    assert asked(b"From=15005550001&To=4105550100") == "unknown"  # invalid for everybody
    assert asked(b"", failing(20008, 403)(answer)) == "test"


def test_a_401_of_a_recording_says_nothing_and_of_proven_credentials_everything() -> None:
    request = probe(SENT).request(ACCOUNT)
    answer = failing(20003, 401)(documented(request))
    assert "401" in compare(CLAIM_SET, Observation(request, answer, "x", NOW, "test")).skipped
    assert ("error", "refused", "") in differences(
        compare(CLAIM_SET, Observation(request, answer, "x", NOW, "proven"))
    )


def test_one_cause_in_one_answer_is_one_finding() -> None:
    page = b"<!doctype html><p>Maintenance"
    html = (("Content-Type", "text/html"),)
    sent, blocked = probe("example.message.sent"), probe("Messages.to.blocked")
    cases: list[tuple[ClaimProbe, dict[str, Any], str]] = [
        (sent, {"body": page, "headers": html}, "format.body"),
        (sent, {"body": b"{}"}, "Messages.answer"),
        (sent, {"body": b'{"meta": {}, "data": []}'}, "Messages.answer"),
        (blocked, {"body": b"{}"}, "error.code"),
        (blocked, {"body": b'{"error": "no", "detail": "x"}'}, "error.code"),
    ]
    for item, changes, rule in cases:
        request = item.request(ACCOUNT)
        answer = replace(documented(request), **changes)
        if "headers" in changes:
            others = (one for one in documented(request).headers if one[0] != "Content-Type")
            answer = replace(answer, headers=(*html, *others))
        compared = compare(CLAIM_SET, Observation(request, answer, "", NOW, "proven"))
        found = collect_findings(CLAIM_SET, [compared])
        assert [one.rule.removesuffix(".21610") for one in found] == [rule], changes
