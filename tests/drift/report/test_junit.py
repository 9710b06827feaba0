from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import xmlschema

from ringback.drift.report.junit import text
from support.reports import BLOCKED, empty, full

SCHEMA = xmlschema.XMLSchema(Path(__file__).with_name("junit.xsd"))


@pytest.mark.parametrize("report", [full(), empty(), empty(0), full(fail_on="info")])
def test_the_report_is_of_the_common_schema(report: object) -> None:
    SCHEMA.validate(text(report))  # type: ignore[arg-type] # a report


def test_what_fails_is_a_failure_and_what_holds_is_a_passed_case() -> None:
    root = ET.fromstring(text(full()))
    failed = {case.get("classname") for case in root.iter("testcase") if case.find("failure") is not None}
    assert failed == {"drift.Messages.to.blocked", "drift.outside.api.get.queues"}
    passed = {case.get("name") for case in root.iter("testcase") if case.find("failure") is None}
    assert "outside.api.get.keys" in passed
    (blocked,) = (item for item in root.iter("failure") if "30003" in str(item.get("message")))
    assert f"page: {BLOCKED} {BLOCKED.url}" in str(blocked.text)
    everything = ET.fromstring(text(full(fail_on="info")))
    assert len(list(everything.iter("failure"))) == len(full().findings)
