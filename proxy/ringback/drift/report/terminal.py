"""The report for a terminal: coloured there, plain where it is piped (rich decides)."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.console import Console

    from ringback.drift.findings import DriftFinding
    from ringback.drift.report.builder import Report


_COLOURS: Final = {"error": "bold red", "warning": "yellow", "info": "cyan"}
_SHOWN: Final = 8  # reasons for not comparing


def text(report: Report) -> str:
    """The report as plain text."""
    from rich.console import Console  # noqa: PLC0415 - only where somebody reads it

    out = io.StringIO()
    show(report, Console(file=out, width=110, no_color=True))
    return out.getvalue()


def show(report: Report, console: Console) -> None:
    """Print the report on `console`."""
    from rich.text import Text  # noqa: PLC0415 - as above

    colour = {0: "bold green", 1: "bold red", 2: "bold yellow"}[report.exit_code]
    console.print(Text.assemble(("drift: ", "bold"), (report.verdict, colour)))
    for finding in report.findings:
        _finding(finding, console)
    if report.accepted:
        console.print(Text(f"\naccepted ({len(report.accepted)})", style="bold"))
        for finding in report.accepted:
            console.print(Text(f"  {finding.fingerprint} {finding.rule}: {finding.note}"), soft_wrap=True)
    if report.known:
        console.print(Text("\nknown differences from the page, no drift", style="bold"))
        for known in report.known:
            console.print(Text(f"  {known.id}: {known.says} ({known.seen} x)"), soft_wrap=True)
    if report.not_compared:
        _not_compared(report, console)


def _finding(finding: DriftFinding, console: Console) -> None:
    from rich.text import Text  # noqa: PLC0415 - as above

    pointer = finding.pointer or ", ".join(finding.pointers)
    place = " ".join(filter(None, (finding.resource if finding.resource != "*" else "", pointer)))
    head = Text.assemble(
        "\n",
        (finding.severity, _COLOURS[finding.severity]),
        f" {finding.rule} ",
        (finding.kind, "italic"),
        (f"  {finding.fingerprint}", "dim"),
    )
    console.print(head, soft_wrap=True)
    for name, value in (
        ("where", place),
        ("documented", finding.documented),
        ("mock" if finding.origin else "live", finding.observed),
        ("origin", finding.origin),
        ("page", finding.page + (f"  {finding.cited.url}" if finding.cited else "")),
        ("seen", _seen(finding)),
        ("also", finding.note),
        ("again", finding.reproduce),
    ):
        if value:
            console.print(Text.assemble((f"{name:>12}  ", "dim"), value), soft_wrap=True)


def _seen(finding: DriftFinding) -> str:
    if not finding.seen:
        return ""
    formats = " and ".join(name.upper() for name in finding.formats)
    when = ""
    if finding.first_seen and finding.last_seen:
        first, last = finding.first_seen.date(), finding.last_seen.date()
        when = f", {first}" if first == last else f", {first} to {last}"
    where = finding.sightings[0].where if finding.sightings else ""
    return f"{finding.seen} x in {formats}{when}; {where}"


def _not_compared(report: Report, console: Console) -> None:
    from rich.text import Text  # noqa: PLC0415 - as above

    console.print(Text("\nnot compared", style="bold"))
    reasons: dict[str, list[str]] = {}
    for item in report.not_compared:
        reasons.setdefault(item.why, []).append(item.what)
    for why, what in list(reasons.items())[:_SHOWN]:
        more = f" and {len(what) - 1} more" if len(what) > 1 else ""
        console.print(Text(f"  {what[0]}{more}: {why}"), soft_wrap=True)
    if len(reasons) > _SHOWN:
        console.print(Text(f"  and {len(reasons) - _SHOWN} more reasons"))
