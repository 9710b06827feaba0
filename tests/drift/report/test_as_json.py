from __future__ import annotations

import json

import pytest
from jsonschema import Draft202012Validator

from ringback.drift.report.as_json import schema, text
from support.reports import BLOCKED, empty, full


@pytest.mark.parametrize("report", [full(), empty(), empty(0)], ids=["full", "none", "nothing"])
def test_the_report_is_of_the_published_schema(report: object) -> None:
    published = json.loads(schema())
    Draft202012Validator.check_schema(published)
    Draft202012Validator(published).validate(json.loads(text(report)))  # type: ignore[arg-type] # a report


def test_a_finding_reports_everything_that_the_design_names() -> None:
    found = next(
        item for item in json.loads(text(full()))["findings"] if item["rule"] == "Messages.to.blocked"
    )
    assert (found["severity"], found["kind"], found["resource"], found["pointer"]) == (
        "error",
        "code",
        "Messages",
        "",
    )
    assert found["documented"] == {
        "text": "fails with 21610",
        "page": {
            "section": "Test Sending an SMS, To",
            "says": BLOCKED.says,
            "url": BLOCKED.url,
            "edition": BLOCKED.edition,
        },
        "line": 859,
        "basis": "documented",
    }
    assert found["observed"] == "fails with 30003"
    assert found["first_seen"] == found["last_seen"] == "2026-01-02T03:04:05+00:00"
    assert found["reproduce"] == "ringback drift --only Messages.to.blocked"
    assert len(found["fingerprint"]) == 12


def test_no_account_is_reported() -> None:
    assert "AC01234567" not in text(full())
