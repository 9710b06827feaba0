"""A drift report with a bit of everything, for tests of its forms."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Any

from msgspec import structs

from ringback.drift.report.builder import AcceptedFinding, NotCompared, Report, ReportFrame, build_report
from support.drifting import CLAIM_SET, NOW, edit, failing, look, probe

if TYPE_CHECKING:
    from ringback.drift.compare import Comparison

BLOCKED = CLAIM_SET.contract.cite(859)
SCRIPT = "<script>document.title = 'owned'</script>"


def comparisons() -> list[Comparison]:
    """A code, a text, a field, a header, an opened resource, and text that wants to be HTML."""
    sent, blocked = probe("example.message.sent"), probe("Messages.to.blocked")
    return [
        look(sent, edit(status="accepted", body="hi", surprise=SCRIPT), where="cassettes/a b.yaml:12"),
        look(blocked, failing(30003)),
        look(probe("Messages.to.no-sms"), edit(message=f"{SCRIPT} & \x01")),
        look(probe("Calls.from.valid"), lambda answer: structs.replace(answer, headers=answer.headers[:3])),
        look(probe("outside.api.get.queues"), lambda answer: structs.replace(answer, status=200, body=b"{}")),
        look(probe("outside.api.get.keys")),
    ]


def full(**more: Any) -> Report:
    """The report of all that, with something accepted and something that was not looked at."""
    entry = AcceptedFinding(
        fingerprint="0" * 12, reason="was so", expires=date(2030, 1, 1), rule="Messages.to.blocked"
    )
    frame = ReportFrame(
        source="live",
        origin="https://127.0.0.1:1",
        entries=[entry],
        made=NOW,
        reproduce=lambda rule: f"ringback drift --only {rule}",
    )
    made = build_report(CLAIM_SET, comparisons(), [NotCompared("x", "no answer", harmless=True)], frame)
    accepted = replace(made.findings[0], note="accepted until 2030-01-01: was so", fingerprint="f" * 12)
    return replace(made, accepted=(accepted,), **more)


def empty(compared: int = 1) -> Report:
    """A report that found nothing."""
    looked = [look(probe("example.message.sent"))][:compared]
    return build_report(CLAIM_SET, looked, [], ReportFrame("live", "https://127.0.0.1:1", made=NOW))
