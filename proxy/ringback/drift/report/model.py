"""What a report tells, whatever its form."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from ringback.counting import many
from ringback.drift.findings import SEVERITIES, Finding, Severity, at_least

if TYPE_CHECKING:
    from datetime import datetime

    from ringback.drift.claims import Claim

OK, DRIFT, BLIND = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Known:
    """A difference from the page that is known and no drift.

    Attributes:
        id: The erratum, or the claim about a field that recordings have and the page has not.
        says: What it is.
        seen: How many exchanges show it.
    """

    id: str
    says: str
    seen: int


@dataclass(frozen=True, slots=True)
class Unlooked:
    """Something that was not compared.

    Attributes:
        what: The probe or recording.
        why: The reason.
        harmless: Whether the run is complete without it.
    """

    what: str
    why: str
    harmless: bool


@dataclass(frozen=True)
class Report:
    """One drift run.

    Attributes:
        findings: What counts, the worst first.
        accepted: What is accepted.
        known: Differences that are known and no drift.
        unlooked: What was not compared.
        compared: How many exchanges were.
        claims: The claims that were looked at.
        total: How many claims there are.
        source: Where the exchanges came from.
        origin: The same for people: an upstream, or paths.
        made: When the report was made, in UTC.
        version: Ringback's.
        fail_on: The least severity that fails.
    """

    findings: tuple[Finding, ...]
    accepted: tuple[Finding, ...] = ()
    known: tuple[Known, ...] = ()
    unlooked: tuple[Unlooked, ...] = ()
    compared: int = 0
    claims: tuple[Claim, ...] = ()
    total: int = 0
    source: Literal["live", "recordings", "passive"] = "live"
    origin: str = ""
    made: datetime | None = None
    version: str = ""
    fail_on: Severity = "error"
    counts: Counter[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "counts", Counter(finding.severity for finding in self.findings))

    @property
    def failing(self) -> tuple[Finding, ...]:
        """The findings at or above `fail_on`."""
        return tuple(finding for finding in self.findings if at_least(finding.severity, self.fail_on))

    @property
    def exit_code(self) -> int:
        """0: looked, nothing that fails. 1: drift. 2: could not look, or compared nothing."""
        if self.failing:
            return DRIFT
        return BLIND if not self.compared or any(not item.harmless for item in self.unlooked) else OK

    @property
    def verdict(self) -> str:
        """One line: whether there is drift, and how much was looked at."""
        looked = f"{many(self.compared, 'exchange')}, {len(self.claims)} of {self.total} claims"
        if not self.compared:
            return "nothing was compared"
        parts = [
            many(self.counts[severity], severity) if severity != "info" else f"{self.counts[severity]} info"
            for severity in SEVERITIES
            if self.counts[severity]
        ]
        found = ", ".join(parts) if parts else "no drift"
        missing = sum(not item.harmless for item in self.unlooked)
        blind = f"; {many(missing, 'request')} got no answer" if missing else ""
        return f"{found} in {looked}{blind}"
