from __future__ import annotations

import re
from typing import Any

import pytest

from ringback.contract.contract import OTHER
from ringback.contract.listing import outcomes
from ringback.drift.claims import load_facts
from ringback.drift.observation import outside_id
from ringback.exchange import error_code
from support.drifting import ACCOUNT, CLAIM_SET

ROWS = [(resource, row) for resource in CLAIM_SET.contract.resources for row in resource.magic]
PROSE = {"call-permission-number", "key-order"}  # a number in a text, and an order that is never compared


@pytest.mark.parametrize("resource, row", ROWS, ids=lambda item: getattr(item, "id", ""))
def test_every_row_is_a_claim_and_is_asked_in_both_formats(resource: Any, row: Any) -> None:
    claim = CLAIM_SET.claims[f"{resource.resource}.{row.id}"]
    assert (claim.line, claim.basis) == (row.line, row.basis)
    asked = [probe for probe in CLAIM_SET.probes if claim.id in probe.claims]
    assert {probe.format for probe in asked} == {"json", "xml"}
    if row.value != OTHER:
        assert all((row.parameter, row.value) in probe.form for probe in asked)


def test_the_page_s_24_rows_are_claims() -> None:
    documented = [row for _, row in ROWS if row.basis == "documented"]
    assert len(documented) == 24


def test_every_example_is_asked_with_its_own_form() -> None:
    for example in CLAIM_SET.contract.examples:
        forms = {probe.form for probe in CLAIM_SET.probes if f"example.{example.id}" in probe.claims}
        assert forms == {example.form}


def test_every_field_of_every_answer_is_a_claim() -> None:
    for resource in CLAIM_SET.contract.resources:
        for field in resource.answer:
            assert f"{resource.resource}.answer.{field.json}" in CLAIM_SET.claims


def test_every_claim_that_is_asked_exists_and_no_request_carries_credentials() -> None:
    for probe in CLAIM_SET.probes:
        assert set(probe.claims) <= set(CLAIM_SET.claims)
        request = probe.request(ACCOUNT)
        assert request.header("Authorization") is None
        assert "{" not in request.target


def test_the_403_rule_is_asked_of_many_resources_without_changing_any() -> None:
    outside = [probe for probe in CLAIM_SET.probes if probe.claims[0].startswith("outside.")]
    assert {probe.method for probe in outside} == {"GET"}
    names = {probe.claims[0] for probe in outside}
    wanted = ("queues", "recordings", "applications", "availablephonenumbers.us.local", "messages.sid")
    assert {f"outside.api.get.{name}" for name in wanted} <= names
    assert len({probe.host for probe in outside}) > 8


def test_requests_name_fictional_numbers_and_the_page_s_own_alone() -> None:
    number = r"\+?1?(500555\d{4}|410867\d{4}|41055501\d\d|500JJJ\d{4})\d*"
    allowed = re.compile(rf"(whatsapp:|sms:)?{number}|33|\+123")
    sent = {
        value
        for probe in CLAIM_SET.probes
        for name, value in probe.form
        if name in {"To", "From", "PhoneNumber"}
    }
    assert [value for value in sent if not allowed.fullmatch(value)] == []


def test_every_refusal_that_somebody_saw_is_asked() -> None:
    """Each outcome of the contract that is known from people and not from the page has a request."""
    asked = {CLAIM_SET.offline(probe.request(ACCOUNT)).source.rule for probe in CLAIM_SET.probes}
    seen = {
        outcome.id
        for outcome in outcomes(CLAIM_SET.contract)
        if outcome.basis == "recorded" and outcome.answer != "passes" and "." in outcome.id
    }
    refusals = {refusal.id for refusal in CLAIM_SET.contract.gate.refusals}
    # A service that lets ScheduleType pass is a user's own; a blank field is none in the requests.
    unasked = {"Messages.schedule.no-time", "Messages.sendat.malformed", "Messages.mediaurl.blank"}
    assert seen - refusals - asked == unasked


def test_every_erratum_of_the_page_is_known_to_the_comparison() -> None:
    errata = {erratum.id for erratum in load_facts().errata}
    assert errata | PROSE == {erratum.id for erratum in CLAIM_SET.contract.errata}


@pytest.mark.parametrize(
    "path, name",
    [
        (f"/2010-04-01/Accounts/{ACCOUNT}.json", "outside.api.get.account"),
        (f"/2010-04-01/Accounts/{ACCOUNT}/Queues", "outside.api.get.queues"),
        (f"/2010-04-01/Accounts/{ACCOUNT}/Messages/SM{'0a' * 16}.json", "outside.api.get.messages.sid"),
        ("/2010-04-01/Accounts/{account}/Messages/{sid:SM}", "outside.api.get.messages.sid"),
        ("/v2/PhoneNumbers/+15005550006", "outside.api.get.v2.phonenumbers.number"),
    ],
)
def test_a_resource_has_one_name_whoever_asks(path: str, name: str) -> None:
    assert outside_id("GET", "api.twilio.com", path) == name


def test_texts_with_a_newer_version_are_asked_first_and_say_why() -> None:
    claim_set = CLAIM_SET
    newer = claim_set.contract.newer
    codes = [error_code(claim_set.offline(probe.request(f"AC{'0' * 32}")).body) for probe in claim_set.probes]
    changed = {text.replaces or text.code for text in newer}
    first = [code in changed for code in codes]
    assert first == sorted(first, reverse=True)
    assert {code for code in codes if code in changed} == changed
    for text in newer:
        said = claim_set.claims[f"text.{text.replaces or text.code}"].says
        assert f"(asked first: live credentials get {text.code}: {text.message})" in said
