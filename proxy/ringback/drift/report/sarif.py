"""The report as SARIF 2.1.0, for code scanning."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

if TYPE_CHECKING:
    from ringback.drift.findings import DriftFinding
    from ringback.drift.report.builder import Report


_LEVELS: Final = {"error": "error", "warning": "warning", "info": "note"}
_PLACE: Final = re.compile(r"(.+):(\d+)")
_PAGE: Final = "https://www.twilio.com/docs/iam/test-credentials"


def text(report: Report) -> str:
    """The report as SARIF text."""
    findings = [*report.findings, *report.accepted]
    names = sorted({finding.rule for finding in findings})
    says = {claim.id: claim.says for claim in report.claims}
    pages = {finding.rule: finding.cited.url for finding in findings if finding.cited}
    run = {
        "tool": {
            "driver": {
                "name": "ringback drift",
                "version": report.version,
                "informationUri": _PAGE,
                "rules": [_rule(name, says.get(name, name), pages.get(name, _PAGE)) for name in names],
            }
        },
        "columnKind": "unicodeCodePoints",
        "results": [
            _result(finding, names.index(finding.rule), accepted=finding in report.accepted)
            for finding in findings
        ],
        "invocations": [{"executionSuccessful": report.exit_code != 2, "exitCode": report.exit_code}],
    }
    log = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [run],
    }
    return json.dumps(log, indent=2, ensure_ascii=False) + "\n"


def _rule(name: str, says: str, page: str) -> dict[str, Any]:
    return {"id": name, "shortDescription": {"text": says}, "helpUri": page}


def _result(finding: DriftFinding, index: int, *, accepted: bool) -> dict[str, Any]:
    page = f" (page: {finding.page})" if finding.cited else ""
    who = f"Mock upstream {finding.origin}" if finding.origin else "Live"
    result: dict[str, Any] = {
        "ruleId": finding.rule,
        "ruleIndex": index,
        "level": _LEVELS[finding.severity],
        "kind": "fail",
        "message": {"text": f"Documented: {finding.documented}{page}. {who}: {finding.observed}."},
        "partialFingerprints": {"ringbackDrift/v1": finding.fingerprint},
        "locations": [_location(item.where, item.request) for item in finding.sightings[:1]],
        "relatedLocations": [
            {"id": number, **_location(item.where, item.request)}
            for number, item in enumerate(finding.sightings[1:])
        ],
        "properties": {
            "kind": finding.kind,
            "resource": finding.resource,
            "pointer": finding.pointer,
            "seen": finding.seen,
            "formats": list(finding.formats),
            "reproduce": finding.reproduce,
        },
    }
    if accepted:
        result["suppressions"] = [{"kind": "external", "justification": finding.note}]
    return result


def _location(where: str, request: str) -> dict[str, Any]:
    found = _PLACE.fullmatch(where)
    logical = {"logicalLocations": [{"fullyQualifiedName": request}]}
    if not found:
        return logical
    place = {"artifactLocation": {"uri": quote(found[1])}, "region": {"startLine": int(found[2])}}
    return {"physicalLocation": place, **logical}
