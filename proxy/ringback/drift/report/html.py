"""The report as one HTML page: it loads nothing from elsewhere, and shows everything without JavaScript.

Jinja2 makes it, with autoescape: a recorded answer may contain HTML, and stays text.
"""

from __future__ import annotations

from collections import defaultdict
from importlib import resources
from typing import TYPE_CHECKING, Final

from ringback.drift.observation import SEVERITIES
from ringback.tally import many, times

if TYPE_CHECKING:
    from ringback.drift.findings import DriftFinding, SideBySideRow
    from ringback.drift.report.builder import Report

_TEMPLATE: Final = "report.html.jinja"
_COMPARED_WITH: Final = {
    "live": "what the live API answers",
    "recordings": "recorded answers",
    "passive": "what the live API answered",
}
_OPEN: Final = 3  # findings whose details are open from the start
_WHOLE_BODY: Final = ("body", "outer element")  # rows about a body as a whole
# The rows that show how an outcome differs.
_OUTCOME_ROWS: Final = {
    "status": ("HTTP status",),
    **dict.fromkeys(("allowed", "refused", "code"), ("HTTP status", "/code", "/message")),
}
_KINDS: Final = {
    "added": "new",
    "removed": "gone",
    "type": "another type",
    "value": "another value",
    "status": "another status",
    "code": "another code",
    "header": "header",
    "allowed": "allowed now",
    "refused": "refused now",
    "accepted": "accepted, but not there",
}


def text(report: Report) -> str:
    """Return the report as HTML text."""
    from jinja2 import Environment, StrictUndefined  # noqa: PLC0415 - imported when a page is made

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(times=times, split_rows=split_rows, dates=_dates)
    source = (resources.files("ringback.drift.report") / _TEMPLATE).read_text(encoding="utf-8")
    reasons: dict[str, list[str]] = defaultdict(list)
    for item in report.not_compared:
        reasons[item.why].append(item.what)
    return environment.from_string(source).render(
        report=report,
        compared_with=_COMPARED_WITH[report.source],
        made=report.made.strftime("%d %B %Y, %H:%M UTC").lstrip("0") if report.made else "",
        severities=SEVERITIES,
        kinds=_KINDS,
        open_count=_OPEN,
        reasons=reasons,
        edition=next((finding.cited.edition for finding in report.findings if finding.cited), ""),
    )


def split_rows(finding: DriftFinding) -> tuple[list[SideBySideRow], list[SideBySideRow], str]:
    """Split the rows of a finding's exchange.

    Returns:
        The rows that the finding is about, the other rows, and a title for these.
    """
    about = [row for row in finding.rows if _is_about(finding, row)]
    about = about or [row for row in finding.rows if row.mark] or list(finding.rows)
    rest = [row for row in finding.rows if row not in about]
    differing = sum(row.mark is not None for row in rest)
    title = f"{many(len(rest), 'more row')} of this exchange"
    title += f", {differing} of them with another difference" if differing else ""
    return about, rest, title


def _is_about(finding: DriftFinding, row: SideBySideRow) -> bool:
    if finding.kind == "header":
        names = {name.removeprefix("header.") for name in (finding.rule, *finding.claims)}
        return row.pointer.lower() in names
    pointers = [pointer for pointer in (finding.pointer, *finding.pointers) if pointer]
    if any(row.pointer == pointer or row.pointer.startswith(f"{pointer}/") for pointer in pointers):
        return True
    if finding.rule.startswith("format."):
        return row.pointer in _WHOLE_BODY
    return row.pointer in _OUTCOME_ROWS.get(finding.kind, ())


def _dates(finding: DriftFinding) -> str:
    if not finding.first_seen or not finding.last_seen:
        return ""
    first, last = finding.first_seen.date(), finding.last_seen.date()
    return f", {first}" if first == last else f", {first} to {last}"
