"""The page's sections and facts, cited in every answer, and their agreement with its text."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from ringback.contract import load
from support.clients import GOOD, MAGIC, body_of, fail_of, send

if TYPE_CHECKING:
    from ringback.contract.schema import ContractEntry, Field

CONTRACT = load()
assert CONTRACT.page is not None
PAGE = CONTRACT.page
FACTS = {fact.line: fact.says for fact in PAGE.facts}
ROWS = [
    (resource.resource, row)
    for resource in CONTRACT.resources
    for row in resource.magic
    if row.basis == "documented"
]
FRAGMENT = re.compile(r"[a-z][A-Za-z-]*")


def entries() -> list[tuple[str, ContractEntry]]:
    """Every entry of the data that names a line."""
    found: list[tuple[str, ContractEntry]] = []
    for resource in CONTRACT.resources:
        name = resource.resource
        found += [(name, each) for each in (*resource.magic, *resource.required, *resource.refused)]
        found += [(name, each) for each in resource.parameters.values()]
        found += [(name, each) for each in fields_of(resource.answer)]
    found += [(str(text.code), text) for text in CONTRACT.errors]
    found += [(refusal.id, refusal) for refusal in CONTRACT.gate.refusals]
    return [(name, each) for name, each in found if each.line is not None]


def fields_of(fields: tuple[Field, ...]) -> list[Field]:
    return [each for field in fields for each in (field, *fields_of(field.fields))]


@pytest.mark.parametrize("resource, row", ROWS, ids=lambda it: getattr(it, "id", it))
def test_the_fact_of_a_row_has_its_parameter_value_and_code(resource: str, row: Any) -> None:
    says = FACTS[row.line]
    assert says.startswith(f"{row.parameter} {row.value}: "), resource
    assert re.findall(r"\b\d{5}\b", says.partition(":")[2]) == ([str(row.error)] if row.error else [])
    assert ("no error" in says) == (row.error is None)


def test_every_line_that_the_data_names_can_be_cited() -> None:
    for name, entry in entries():
        assert entry.line is not None
        cited = CONTRACT.cite(entry.line)
        assert cited.anchor == "top" or FRAGMENT.fullmatch(cited.anchor), name
        assert cited.url.startswith("https://www.twilio.com/docs/iam/test-credentials")
        assert cited.edition == PAGE.edition


@pytest.mark.parametrize(
    "resource, anchor",
    [
        ("IncomingPhoneNumbers", "test-incoming-phone-numbers"),
        ("Messages", "test-sms-messages"),
        ("Calls", "test-calls"),
    ],
)
def test_the_entries_of_a_resource_are_in_its_sections(resource: str, anchor: str) -> None:
    lines = [entry.line for name, entry in entries() if name == resource]
    assert lines
    assert {str(CONTRACT.page_name(line)).partition("-parameters-")[0] for line in lines} == {anchor}


@pytest.mark.parametrize(
    "line, anchor, text",
    [
        (1, "top", "Test Credentials"),
        (17, "supported-resources", "Supported Resources: every other resource answers 403"),
        (
            45,
            "test-incoming-phone-numbers-parameters-PhoneNumber",
            "Test Buying a Number, PhoneNumber: PhoneNumber +15005550000: not available, 21422",
        ),
        (
            860,
            "test-sms-messages-parameters-To",
            "Test Sending an SMS, To: To +15005550009: cannot receive SMS, 21614",
        ),
        (1981, "test-calls", 'Test Making a Call, example 1: /status is "queued"'),
        (1969, "test-calls", "Test Making a Call, example 1"),  # a line without words of its own
    ],
)
def test_the_narrowest_section_is_cited(line: int, anchor: str, text: str) -> None:
    cited = CONTRACT.cite(line)
    assert (cited.anchor, str(cited)) == (anchor, text)
    assert cited.url == PAGE.url + ("" if anchor == "top" else f"#{anchor}")


@pytest.mark.parametrize("line", [0, 831, 2290, 99999])
def test_a_line_outside_all_sections_has_no_citation(line: int) -> None:
    with pytest.raises(KeyError):
        CONTRACT.cite(line)
    assert CONTRACT.page_name(line) is None
    assert CONTRACT.page_name(None) is None


def test_an_answer_cites_the_section_and_no_line() -> None:
    got = send("Messages", {**GOOD["Messages"], "To": "+15005550009"})
    fields = dict(got.source.headers())
    assert fields["Ringback-Source"] == (
        "contract; rule=Messages.to.no-sms; basis=documented; page=test-sms-messages-parameters-To"
    )
    assert fail_of(got)["code"] == 21614


def test_documented_errors_of_the_samples_are_answered_in_their_words() -> None:
    for number, line in (("+15005550000", 580), ("33", 818)):
        message = fail_of(send("IncomingPhoneNumbers", {"PhoneNumber": number}))["message"]
        assert FACTS[line] == f'/message is "{message}"'


def test_the_other_parameters_of_a_purchase_come_back() -> None:
    assert "come back" in FACTS[54]
    bought = body_of(send("IncomingPhoneNumbers", {"PhoneNumber": MAGIC, "FriendlyName": "Desk"}))
    assert bought["friendly_name"] == "Desk"


# -- with the text at hand


def test_every_fact_stands_on_its_line(page_lines: list[str]) -> None:
    for line, says in FACTS.items():
        text = page_lines[line - 1]
        assert text.strip(), line
        for figure in re.findall(r"(?<![\d+])\+?\d{2,}", says):
            assert figure in text, line
        if says.startswith("/"):
            pointer, is_, value = says.partition(" is ")
            assert f'"{pointer.rpartition("/")[2]}"' in text, line
            assert not is_ or json.loads(text.strip().rstrip(",").partition(":")[2]) == json.loads(value), (
                line
            )
        names = re.findall(r"POST (\w+)|except (\w+)", says)
        assert all(name in text for pair in names for name in pair if name), line


def test_the_sections_begin_and_end_where_the_text_does(page_lines: list[str]) -> None:
    for section in PAGE.sections:
        assert section.first <= section.last <= len(page_lines)
        example = re.search(r"example (\d)$", section.title)
        heading = page_lines[section.first - 1]
        if example:
            assert heading.startswith(f"例 {example[1]}")
        elif "-parameters-" in section.id:
            assert heading == section.id.rpartition("-")[2] or "Form" in heading


# Words of the page that a fact in English stands for, by what the fact has.
WORDS = {
    "nothing is charged": "課金",
    "cannot be From": "From 番号",
    "is validated as": "バリデーション",
    "not supported": "サポートされていません",
    "every documented parameter": "すべて動作|All of the existing",
    "not available": "利用できない",
    "invalid": "無効",
    "no error": "エラーはありません|入力値に依存します",
    "no number available": "番号がありません",
    "come back": "レスポンスに含まれ",
    "letters": "文字を番号に変換",
    "too short or too long": "短すぎる.*長すぎる",
    "magic ones alone": "From",
    "not owned or not SMS-capable": "所有する番号ではないか、または SMS",
    "queue is full": "キューがいっぱい",
    "no route": "ルーティングできない",
    "international permission": "国際通話パーミッション",
    "blocked": "ブラックリスト",
    "cannot receive SMS": "受信できない",
    "without a body": "本文が空",
    "not verified": "検証されていません",
    "other:": "上記以外",
    "except MessagingServiceSid": "exception of MessagingServiceSid",
    "403": "403 Forbidden",
}


def test_the_words_of_a_fact_are_the_page_s_own(page_lines: list[str]) -> None:
    used = set()
    for line, says in FACTS.items():
        for ours, theirs in WORDS.items():
            if ours in says and not says.startswith("/"):
                used.add(ours)
                assert re.search(theirs, page_lines[line - 1]), (line, says)
    assert used == set(WORDS)
    silent = [says for says in FACTS.values() if not any(ours in says for ours in WORDS)]
    kinds = r"/.*|To|PhoneNumber|AreaCode|\w+: \w+ .*|.*: (POST \w+)|.*(passes|authorized|available).*"
    assert [says for says in silent if not re.fullmatch(kinds, says)] == []
