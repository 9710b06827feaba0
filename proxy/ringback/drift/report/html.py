"""The report as one HTML page: nothing is loaded from elsewhere, without JavaScript everything is shown."""

from __future__ import annotations

from html import escape
from importlib import resources
from string import Template
from typing import TYPE_CHECKING, Final

from ringback.counting import many, times
from ringback.drift.checks import SEVERITIES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ringback.drift.findings import DriftFinding
    from ringback.drift.report.builder import Report
    from ringback.drift.side_by_side import SideBySideRow


_TEMPLATE: Final = "page.template.html"
_AGAINST: Final = {
    "live": "what the live API answers",
    "recordings": "recorded answers",
    "passive": "what the live API answered",
}
_OPEN: Final = 3  # findings whose details are open from the start
_WHOLE: Final = ("body", "outer element")  # rows about a body as a whole
# The rows that show how an outcome differs.
_OUTCOME: Final = {
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
    """The report as HTML text."""
    template = (resources.files("ringback.drift.report") / _TEMPLATE).read_text(encoding="utf-8")
    return Template(template).substitute(
        title=escape(report.verdict),
        against=_AGAINST[report.source],
        code=report.exit_code,
        verdict=escape(report.verdict[:1].upper() + report.verdict[1:]),
        meta=_meta(report),
        chips=_chips(report),
        resources=_options(finding.resource for finding in report.findings),
        kinds="".join(
            f'<option value="{kind}">{_KINDS[kind]}</option>'
            for kind in sorted({finding.kind for finding in report.findings})
        ),
        findings=_findings(report),
        rest=_rest(report),
        version=escape(report.version),
    )


def _meta(report: Report) -> str:
    made = report.made.strftime("%d %B %Y, %H:%M UTC").lstrip("0") if report.made else ""
    parts = (report.origin, made, f"fails on {report.fail_on}", f"exit code {report.exit_code}")
    return "".join(f"<span>{escape(part)}</span>" for part in parts if part)


def _chips(report: Report) -> str:
    return "\n".join(
        f'<label class="chip"><input type="checkbox" name="severity" value="{name}" checked>'
        f'<span class="{name}">{name} <b>{report.counts[name]}</b></span></label>'
        for name in SEVERITIES
    )


def _options(values: Iterable[str]) -> str:
    return "".join(
        f'<option value="{escape(value)}">{escape(value if value != "*" else "all resources alike")}</option>'
        for value in sorted(set(values))
    )


def _findings(report: Report) -> str:
    if report.findings:
        return "\n".join(
            _finding(finding, is_open=number < _OPEN and finding.severity != "info")
            for number, finding in enumerate(report.findings)
        )
    if not report.compared:
        return '<p class="nothing">Nothing was compared, so this says nothing about drift.</p>'
    return '<p class="none">Everything that was looked at is as documented.</p>'


def _finding(finding: DriftFinding, *, is_open: bool) -> str:
    place = finding.pointer or (finding.resource if finding.resource != "*" else "")
    return (
        f'<details class="finding {finding.severity}" id="f{finding.fingerprint}"'
        f' data-severity="{finding.severity}" data-kind="{finding.kind}"'
        f' data-resource="{escape(finding.resource)}"{" open" if is_open else ""}>'
        f'<summary><span class="badge">{finding.severity}</span>'
        f"<h2>{escape(finding.rule)}</h2>"
        f'<span class="kind">{_KINDS[finding.kind]}</span>'
        f'<span class="change">{escape(place)}{": " if place else ""}documented'
        f" <b>{escape(finding.documented)}</b>, live <b>{escape(finding.observed)}</b></span></summary>"
        f'<div class="inside">{_exchange(finding)}{_facts(finding)}</div></details>'
    )


def _exchange(finding: DriftFinding) -> str:
    """What the finding is about in one of its exchanges; the rest of the exchange is a click away."""
    about = [row for row in finding.rows if _is_about(finding, row)]
    about = about or [row for row in finding.rows if row.mark] or list(finding.rows)
    if not about:
        return ""
    rest = [row for row in finding.rows if row not in about]
    shown = _table("One of the exchanges, side by side", about)
    if not rest:
        return shown
    differing = sum(row.mark is not None for row in rest)
    title = f"{many(len(rest), 'more row')} of this exchange"
    title += f", {differing} of them with another difference" if differing else ""
    inner = _table("The rest of the exchange", rest)
    return f'{shown}<details class="more"><summary>{title}</summary>{inner}</details>'


def _is_about(finding: DriftFinding, row: SideBySideRow) -> bool:
    if finding.kind == "header":
        names = {name.removeprefix("header.") for name in (finding.rule, *finding.claims)}
        return row.pointer.lower() in names
    pointers = [pointer for pointer in (finding.pointer, *finding.pointers) if pointer]
    if any(row.pointer == pointer or row.pointer.startswith(f"{pointer}/") for pointer in pointers):
        return True
    if finding.rule.startswith("format."):
        return row.pointer in _WHOLE
    return row.pointer in _OUTCOME.get(finding.kind, ())


def _table(caption: str, rows: Sequence[SideBySideRow]) -> str:
    body = "".join(_row(row) for row in rows)
    return (
        f"<table><caption>{caption}</caption><thead><tr>"
        '<th scope="col">Field</th><th scope="col">Documentation</th><th scope="col">Live</th>'
        f'<th scope="col">Offline</th></tr></thead><tbody>{body}</tbody></table>'
    )


def _row(row: SideBySideRow) -> str:
    line = f'<span class="page">line {row.line}</span>' if row.line else ""
    why = f'<span class="why">{_KINDS[row.mark]}</span>' if row.mark else ""
    return (
        f'<tr{" class=differs" if row.mark else ""}><th scope="row">{escape(row.pointer)}{why}</th>'
        f'<td data-name="Documentation"><div>{escape(row.documented)}{line}</div></td>'
        f'<td data-name="Live" class="live"><div>{escape(row.live)}</div></td>'
        f'<td data-name="Offline"><div>{escape(row.offline)}</div></td></tr>'
    )


def _facts(finding: DriftFinding) -> str:
    facts = [("Page", finding.page or "not on the page")]
    if finding.seen:
        formats = " and ".join(name.upper() for name in finding.formats)
        facts.append(("Seen", f"{times(finding.seen)} in {formats}{_dates(finding)}"))
    facts += [("Fields", ", ".join(finding.pointers))] if len(finding.pointers) > 1 else []
    facts += [("Claims", ", ".join(finding.claims))] if finding.claims else []
    lines = "".join(f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in facts)
    for sighting in finding.sightings[:3]:
        form = " ".join(f"{name}={value}" for name, value in sighting.form)
        lines += f"<dt>Exchange</dt><dd>{escape(sighting.where)}<br><code>{escape(sighting.request)}</code>"
        lines += f"<br><code>{escape(form[:300])}</code></dd>" if form else "</dd>"
    if finding.reproduce:
        lines += f"<dt>Again</dt><dd><code>{escape(finding.reproduce)}</code></dd>"
    lines += f"<dt>Fingerprint</dt><dd><code>{finding.fingerprint}</code></dd>"
    lines += f"<dt>Note</dt><dd>{escape(finding.note)}</dd>" if finding.note else ""
    return f"<dl>{lines}</dl>"


def _dates(finding: DriftFinding) -> str:
    if not finding.first_seen or not finding.last_seen:
        return ""
    first, last = finding.first_seen.date(), finding.last_seen.date()
    return f", {first}" if first == last else f", {first} to {last}"


def _rest(report: Report) -> str:
    parts = []
    if report.accepted:
        items = [(f"{item.rule} ({item.fingerprint})", item.note) for item in report.accepted]
        parts.append(_list("Accepted", "Differences that somebody accepted, with a reason.", items))
    if report.known:
        items = [(item.says, f"{item.id}, {times(item.seen)}") for item in report.known]
        text = "Errata of the page, and fields that recordings have and the page does not mention. No drift."
        parts.append(_list("Known differences from the page", text, items))
    if report.not_compared:
        reasons: dict[str, list[str]] = {}
        for left in report.not_compared:
            reasons.setdefault(left.why, []).append(left.what)
        items = [(why, f"{times(len(what))}: {', '.join(what[:4])}") for why, what in reasons.items()]
        parts.append(_list("Not compared", "", items))
    return "\n".join(parts)


def _list(title: str, text: str, items: Sequence[tuple[str, str]]) -> str:
    lines = "".join(f"<li>{escape(head)} <span>{escape(tail)}</span></li>" for head, tail in items)
    return f"<section><h2>{title}</h2>{f'<p>{text}</p>' if text else ''}<ul>{lines}</ul></section>"
