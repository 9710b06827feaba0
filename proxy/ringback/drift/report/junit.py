"""The report as JUnit XML: a case for every claim that was looked at, a failure for every failing finding."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

from ringback.drift.observation import at_least

if TYPE_CHECKING:
    from ringback.drift.findings import DriftFinding
    from ringback.drift.report.builder import Report


_NOT_XML: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def text(report: Report) -> str:
    """The report as JUnit XML text."""
    cases: dict[str, list[tuple[str, DriftFinding | None]]] = defaultdict(list)
    found: dict[str, list[DriftFinding]] = defaultdict(list)
    for finding in report.findings:
        found[finding.rule].append(finding)
    looked = {claim.id: claim for claim in report.claims}
    for name in sorted({*looked, *found}):
        suite = name.partition(".")[0]
        cases[suite] += [(name, item) for item in found[name]] if name in found else [(name, None)]
    root = ET.Element("testsuites")
    stamp = report.made.strftime("%Y-%m-%dT%H:%M:%S") if report.made else "1970-01-01T00:00:00"
    for number, (suite, items) in enumerate(cases.items()):
        failed = [item for _, item in items if item and at_least(item.severity, report.fail_on)]
        element = ET.SubElement(
            root,
            "testsuite",
            {
                "name": suite,
                "package": "drift",
                "id": str(number),
                "timestamp": stamp,
                "hostname": "localhost",
                "tests": str(len(items)),
                "failures": str(len(failed)),
                "errors": "0",
                "time": "0",
            },
        )
        ET.SubElement(element, "properties")
        for name, item in items:
            _case(element, name, item, fails=item in failed)
        out = ET.SubElement(element, "system-out")
        minor = [item for _, item in items if item and item not in failed]
        out.text = _clean("\n".join(f"{item.severity}: {_message(item)}" for item in minor))
        ET.SubElement(element, "system-err")
    ET.indent(root)
    return "<?xml version='1.0' encoding='UTF-8'?>\n" + ET.tostring(root, encoding="unicode") + "\n"


def _case(suite: ET.Element, name: str, finding: DriftFinding | None, *, fails: bool) -> None:
    title = f"{name} {finding.fingerprint}" if finding else name
    case = ET.SubElement(suite, "testcase", {"classname": f"drift.{name}", "name": title, "time": "0"})
    if finding is not None and fails:
        failure = ET.SubElement(case, "failure", {"type": finding.kind, "message": _clean(_message(finding))})
        failure.text = _clean("\n".join(filter(None, (*_lines(finding), finding.reproduce))))


def _message(finding: DriftFinding) -> str:
    who = f"mock {finding.origin}" if finding.origin else "live"
    return f"documented {finding.documented}, {who} {finding.observed}"


def _lines(finding: DriftFinding) -> list[str]:
    seen = [f"{item.where} {item.request}" for item in finding.sightings]
    page = f"page: {finding.page} {finding.cited.url}" if finding.cited else ""
    return [f"{finding.resource} {finding.pointer}", page, *seen, finding.note]


def _clean(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
