"""The report as JSON, of the schema that stands beside this file."""

from __future__ import annotations

import json
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from datetime import datetime

    from ringback.contract.contract import Citation
    from ringback.drift.findings import DriftFinding, SideBySideRow, Sighting
    from ringback.drift.report.builder import Report


VERSION: Final = 1


def text(report: Report) -> str:
    """The report as JSON text."""
    return json.dumps(as_object(report), indent=2, ensure_ascii=False) + "\n"


def schema() -> str:
    """The JSON schema of the report."""
    return (resources.files("ringback.drift.report") / "report.schema.json").read_text(encoding="utf-8")


def as_object(report: Report) -> dict[str, Any]:
    """The report as JSON's own types."""
    return {
        "schema": VERSION,
        "ringback": report.version,
        "made": _date(report.made),
        "source": report.source,
        "origin": report.origin,
        "verdict": report.verdict,
        "exit_code": report.exit_code,
        "fail_on": report.fail_on,
        "compared": report.compared,
        "claims": {
            "looked_at": [claim.id for claim in report.claims],
            "total": report.total,
        },
        "counts": {name: report.counts[name] for name in ("error", "warning", "info")},
        "findings": [_finding(finding) for finding in report.findings],
        "accepted": [_finding(finding) for finding in report.accepted],
        "known": [{"id": item.id, "says": item.says, "seen": item.seen} for item in report.known],
        "not_compared": [
            {"what": item.what, "why": item.why, "harmless": item.harmless} for item in report.not_compared
        ],
    }


def _finding(finding: DriftFinding) -> dict[str, Any]:
    return {
        "fingerprint": finding.fingerprint,
        "rule": finding.rule,
        "severity": finding.severity,
        "kind": finding.kind,
        "resource": finding.resource,
        "pointer": finding.pointer,
        "documented": {
            "text": finding.documented,
            "page": _cited(finding.cited),
            "line": finding.line,
            "basis": finding.basis,
        },
        "observed": finding.observed,
        "origin": finding.origin or None,
        "first_seen": _date(finding.first_seen),
        "last_seen": _date(finding.last_seen),
        "seen": finding.seen,
        "formats": list(finding.formats),
        "claims": list(finding.claims),
        "pointers": list(finding.pointers),
        "sightings": [_sighting(item) for item in finding.sightings],
        "side_by_side": [_row(row) for row in finding.rows],
        "reproduce": finding.reproduce,
        "note": finding.note,
    }


def _sighting(sighting: Sighting) -> dict[str, Any]:
    return {
        "where": sighting.where,
        "when": _date(sighting.when),
        "request": sighting.request,
        "form": [list(field) for field in sighting.form],
        "format": sighting.format,
    }


def _row(row: SideBySideRow) -> dict[str, Any]:
    return {
        "pointer": row.pointer,
        "documented": row.documented,
        "page": _cited(row.cited),
        "line": row.line,
        "live": row.live,
        "offline": row.offline,
        "mark": row.mark,
    }


def _cited(cited: Citation | None) -> dict[str, str] | None:
    if cited is None:
        return None
    return {"section": cited.section, "says": cited.says, "url": cited.url, "edition": cited.edition}


def _date(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")
