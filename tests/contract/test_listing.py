from __future__ import annotations

import json

from ringback.contract import load
from ringback.contract.listing import as_json, markdown, rows


def test_every_row_of_the_contract_is_listed_once() -> None:
    listed = [row.id for row in rows(load())]
    assert len(listed) == len(set(listed)) == sum(len(resource.magic) for resource in load().resources)


def test_an_error_shows_its_code_its_text_and_a_status_other_than_400() -> None:
    cells = {row.id: row.cells() for row in rows(load())}
    assert cells["Messages.from.queue-full"] == (
        *("Messages", "From", "+15005550008", "21611 (HTTP 429) SMS queue is full."),
        *("test-sms-messages-parameters-From", "documented"),
    )


def test_what_the_page_has_no_row_for_is_marked_and_left_out_of_the_markdown() -> None:
    assumed = [row for row in rows(load()) if row.basis == "assumed"]
    assert [(row.parameter, row.line) for row in assumed] == [("PhoneNumber", None), ("AreaCode", None)]
    assert "IncomingPhoneNumbers | PhoneNumber | any other" not in markdown(load())


def test_the_json_form_can_be_written_and_names_the_refusals_and_errata() -> None:
    data = json.loads(json.dumps(as_json(load())))
    assert {entry["id"] for entry in data["refusals"]} >= {
        "resource.unsupported",
        "auth.missing",
        "account.other",
    }
    assert {entry["id"] for entry in data["errata"]} >= {"sms-uri", "call-direction"}


def test_the_markdown_table_has_the_pages_24_rows() -> None:
    head, rule, *lines = markdown(load()).splitlines()
    assert len(lines) == 24
    assert {line.count("|") for line in (head, rule, *lines)} == {5}
    assert any(line.startswith("| Calls | To | +15005550003 | 21215 ") for line in lines)
