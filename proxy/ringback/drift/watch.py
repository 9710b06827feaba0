"""Drift in what passes through: every live answer is compared, each difference told once."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from ringback.drift.book import Book
from ringback.drift.compare import compare
from ringback.drift.grouping import collect
from ringback.drift.observe import Observation

if TYPE_CHECKING:
    from collections.abc import Callable

    from ringback.contract import Answer, Contract, Request
    from ringback.drift.checks import Check
    from ringback.drift.compare import Comparison
    from ringback.drift.findings import Finding

_KEPT: Final = 10_000  # comparisons with a difference that is not news; later ones are only counted


def _now() -> datetime:
    return datetime.now(UTC)


class Watch:
    """Compares what the live API answers while a program runs. Thread-safe.

    Args:
        contract: The contract; the documented one by default.
        clock: Gives the time of an answer, in UTC.
    """

    def __init__(self, contract: Contract | None = None, clock: Callable[[], datetime] = _now) -> None:
        self.book = Book(contract)
        self.compared = 0
        self._clock = clock
        self._lock = threading.Lock()
        self._told: set[tuple[str, str, str]] = set()
        self._seen: dict[tuple[object, ...], Comparison] = {}

    def see(self, request: Request, answer: Answer, where: str = "") -> list[str]:
        """Compare one live answer, its body decoded, whose credentials were proven to be test credentials.

        Args:
            request: What was asked.
            answer: What the live API answered.
            where: Where it was recorded, e.g. a cassette's file and line.

        Returns:
            A line for each difference that was not seen before.
        """
        place = where or f"{request.method} {request.path}"
        comparison = compare(self.book, Observation(request, answer, place, self._clock(), "proven"))
        with self._lock:
            if comparison.skipped:
                return []
            self.compared += 1
            self._keep(comparison)
            return self._news(comparison)

    def findings(self) -> list[Finding]:
        """Everything that was seen so far."""
        with self._lock:
            seen = list(self._seen.values())
        return collect(self.book, seen, lambda rule: f"ringback drift --only '{rule}'")

    @property
    def comparisons(self) -> list[Comparison]:
        """What was looked at, one of each kind."""
        with self._lock:
            return list(self._seen.values())

    def _keep(self, comparison: Comparison) -> None:
        """Keep one comparison of each kind: the same requests for hours must not fill the memory."""
        outcome = comparison.outcome
        differences = tuple(
            (check.specific, check.difference.cause)
            for check in comparison.checks
            if check.difference is not None
        )
        rule = (outcome.rule, outcome.inputs, outcome.observed) if outcome else _names(comparison.checks)
        key = (rule, comparison.format, differences)
        if key not in self._seen and len(self._seen) < _KEPT:
            self._seen[key] = comparison

    def _news(self, comparison: Comparison) -> list[str]:
        found = [(check.specific, check.difference) for check in comparison.checks]
        if comparison.outcome is not None:
            found.append((comparison.outcome.rule, comparison.outcome.difference))
        lines = []
        for rule, difference in found:
            if difference is None:
                continue
            key = (rule, difference.kind, difference.cause)
            if key not in self._told:
                self._told.add(key)
                place = f" {difference.pointer}" if difference.pointer else ""
                lines.append(
                    f"{difference.severity} {rule}{place}: documented {difference.documented}, "
                    f"live {difference.observed}"
                )
        return lines


def _names(checks: tuple[Check, ...]) -> tuple[str, ...]:
    return tuple(check.specific for check in checks)
