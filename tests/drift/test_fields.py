"""The fields of a success: there, of the right type and shape, of the promised value."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import structs

from ringback.drift.body import Leaf, flatten, tree_of_json
from ringback.drift.fields import SuccessContext, check_fields, describe, own_values
from ringback.drift.observation import Notes
from support.drifting import ACCOUNT, CLAIM_SET, edit, probe
from support.drifting import look as look_at

if TYPE_CHECKING:
    from ringback.contract import Answer, Format
    from ringback.drift.observation import ClaimDifference

(RESOURCE,) = (item for item in CLAIM_SET.contract.resources if item.resource == "Messages")
(NUMBERS,) = (item for item in CLAIM_SET.contract.resources if item.resource == "IncomingPhoneNumbers")
FORM = (("From", "+15005550006"), ("To", "+14105550100"), ("Body", "hello"))
EXPECTED = CLAIM_SET.success(RESOURCE, FORM, ACCOUNT)
GOOD: dict[str, Any] = {
    pointer.strip("/"): None if one.kind == "null" else int(one.text) if one.kind == "integer" else one.text
    for pointer, one in EXPECTED.items()
    if pointer.count("/") == 1
}


def differences(
    tree: dict[str, Any], *, form: Format = "json", judged: bool = True, text: bool = False
) -> list[ClaimDifference]:
    errata = [erratum for erratum in CLAIM_SET.facts.errata if erratum.resource == "Messages"]
    context = SuccessContext("Messages", form, ACCOUNT, dict(FORM), EXPECTED, errata, judged)
    notes = Notes()
    read = tree_of_json(GOOD | ({"uri": GOOD["uri"].removesuffix(".json")} if text else {}) | tree)
    kept = {name: one for name, one in read.items() if tree.get(name, 0) is not ...}
    if text:
        kept = {
            name: Leaf("text", one.text) if isinstance(one, Leaf) and one.text else Leaf("null", "")
            for name, one in kept.items()
        }
    fields = [field for field in RESOURCE.answer if not field.fields]
    check_fields(context, fields, kept, notes)
    return [check.difference for check in notes.checks if check.difference]


def one(tree: dict[str, Any], **more: Any) -> tuple[str, str, str, str]:
    (found,) = differences(tree, **more)
    return found.severity, found.kind, found.pointer, found.observed


def test_the_offline_answer_is_as_documented_in_both_formats() -> None:
    assert differences({}) == []
    assert differences({}, form="xml", text=True) == []


def test_a_renamed_field_is_one_difference_that_names_it() -> None:
    assert one({"status": ..., "status_v2": GOOD["status"]}) == (
        "error",
        "removed",
        "/status",
        "no such field; it seems to be called status_v2 now",
    )


def test_a_new_name_with_another_value_is_no_renaming() -> None:
    for name, value in (("status_v2", 7), ("xyz", GOOD["status"])):
        found = differences({"status": ..., name: value})
        kinds = {item.kind: item.pointer for item in found}
        assert kinds == {"added": f"/{name}", "removed": "/status"}


@pytest.mark.parametrize(
    "sid, observed",
    [
        ("SM" + "0" * 31, "SM and 31 digits"),
        ("MM" + "0" * 32, "MM and 32 digits"),
        ("0198c7a2-7b1e-7cc4-8a3f-0123456789ab", "a UUID"),
    ],
)
def test_a_sid_is_reported_by_its_shape_and_never_shown(sid: str, observed: str) -> None:
    uri = GOOD["uri"].replace(EXPECTED["/sid"].text, sid)
    assert one({"sid": sid, "uri": uri}) == ("error", "type", "/sid", observed)


def test_any_other_sid_of_the_right_shape_is_as_good() -> None:
    sid = "SM" + "ab" * 16
    uri = GOOD["uri"].replace(EXPECTED["/sid"].text, sid)
    assert differences({"sid": sid, "uri": uri}) == []
    assert one({"sid": sid})[2] == "/uri"  # the path is not that of what was made


def test_another_account_is_a_warning_and_no_account_an_error() -> None:
    assert one({"account_sid": "AC" + "9" * 32}) == ("warning", "value", "/account_sid", "another account")
    assert one({"account_sid": "x"}) == ("error", "type", "/account_sid", "1 letters and digits")


def test_dates_count_by_their_format() -> None:
    assert differences({"date_created": "Fri, 02 Jan 2026 03:04:05 +0000"}) == []
    severity, kind, pointer, observed = one({"date_created": "2026-01-02"})
    assert (severity, kind, pointer) == ("warning", "value", "/date_created")
    assert observed == 'a date without a time: "2026-01-02"'
    assert one({"date_created": 1767323045})[:2] == ("error", "type")


def test_null_where_a_value_was_and_a_value_where_null_was() -> None:
    assert one({"status": None}) == ("error", "type", "/status", "null")
    assert one({"price": "-0.01"}) == ("info", "value", "/price", '"-0.01"')


def test_promised_values_count_only_where_test_credentials_asked() -> None:
    assert one({"status": "accepted"})[:3] == ("warning", "value", "/status")
    assert differences({"status": "accepted", "price": "1"}, judged=False) == []
    assert one({"status": 7}, judged=False)[:3] == ("error", "type", "/status")


def test_only_an_answer_that_follows_the_page_s_mistake_shows_it() -> None:
    sent, page = probe("example.message.sent"), edit(body="hi")
    assert "sms-body-hi" in look_at(sent, page).known
    assert "sms-body-hi" not in look_at(sent).known
    hi = replace(sent, form=tuple((name, "hi" if name == "Body" else value) for name, value in sent.form))
    assert "sms-body-hi" not in look_at(hi, page).known


def test_how_well_the_documented_side_is_known_is_reported() -> None:
    basis = {one.pointer: one.basis for one in differences({"status": 7, "num_media": ..., "price": "1"})}
    assert basis == {"/status": "documented", "/num_media": "recorded", "/price": "documented"}


@pytest.mark.parametrize("value, kinds", [("false", []), ("true", []), ("maybe", ["type"]), ("1", ["type"])])
def test_truth_in_xml(value: str, kinds: list[str]) -> None:
    def change(answer: Answer) -> Answer:
        return structs.replace(answer, body=re.sub(rb"<Beta>\w+", f"<Beta>{value}".encode(), answer.body))

    checks = look_at(probe("example.number.bought", "xml"), change).checks
    found = [check.difference for check in checks if check.difference]
    assert [one.kind for one in found if one.kind != "value"] == kinds


def test_xml_has_no_types_but_whole_numbers_and_truth() -> None:
    assert one({"status": "7"}, form="xml", text=True)[:3] == ("warning", "value", "/status")
    assert one({"status": 7})[:3] == ("error", "type", "/status")


def test_what_belongs_to_one_exchange_has_a_name() -> None:
    context = SuccessContext("Messages", "json", ACCOUNT, dict(FORM), EXPECTED, [], judged=True)
    known = own_values(context, "SM1")
    assert (known["account"], known["sid"], known["Body"]) == (ACCOUNT, "SM1", "hello")
    assert known["To formatted"] == "(410) 555-0100"
    assert "sid" not in own_values(context)


def test_what_is_documented_in_words() -> None:
    expected = flatten(tree_of_json({"a": "x"}))["/a"]
    said = {
        field.json: describe(field, EXPECTED.get(f"/{field.json}", expected)) for field in RESOURCE.answer
    }
    assert said["sid"] == "SM and 32 hex digits"
    assert said["date_created"] == "a date, RFC 2822 with +0000"
    assert said["account_sid"] == "the caller's AccountSid"
    assert said["uri"].startswith("the path of what was made")
    assert said["status"] == '"queued"'
    (capabilities,) = (field for field in NUMBERS.answer if field.json == "capabilities")
    assert describe(capabilities, expected) == "an object"


@pytest.mark.parametrize("form", ["json", "xml"])
def test_a_trial_account_is_reported_and_no_drift(form: str) -> None:
    sent = probe("example.message.sent", form)
    body = "Sent from your Twilio trial account - " + dict(sent.form)["Body"]

    def trial(answer: Answer) -> Answer:
        said = dict(sent.form)["Body"].encode()
        return structs.replace(answer, body=answer.body.replace(said, body.encode()))

    compared = look_at(sent, trial)
    assert [check.difference for check in compared.checks if check.difference] == []
    assert "account.trial" in compared.known
    assert "account.trial" not in look_at(sent).known


@pytest.mark.parametrize("segments, differs", [("2", False), ("1", True), ("3", True)])
def test_the_segments_of_a_trial_account_are_counted_with_its_notice(segments: str, differs: bool) -> None:
    sent = probe("example.message.sent")
    form = tuple((name, "x" * 130 if name == "Body" else value) for name, value in sent.form)
    long = replace(sent, form=form)
    body = "Sent from your Twilio trial account - " + "x" * 130
    compared = look_at(long, edit(body=body, num_segments=segments))
    assert bool([check for check in compared.checks if check.difference]) == differs


def test_another_notice_before_a_body_is_drift() -> None:
    sent = probe("example.message.sent")
    compared = look_at(sent, edit(body="Sent by a trial account - " + dict(sent.form)["Body"]))
    assert [check.specific for check in compared.checks if check.difference] == ["Messages.answer.body"]
    assert "account.trial" not in compared.known
