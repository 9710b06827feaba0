"""Table of the trust suite: each promise, how it was tried, how often, and how many violations there were.

A module of this directory says with `PROMISE` and `TRIED` what its tests show. A test that tries more than
once gives `record_property("tries", n)`, and one that measures `record_property("figure", text)`. The table
is printed at the large scale, which `scripts/test.py --trust` sets with `TRUST_SCALE=large`.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from support.upstream import upstream_ca

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["upstream_ca"]

ROW = "promise"


@pytest.fixture(autouse=True)
def row(request: pytest.FixtureRequest, record_property: pytest.RecordProperty) -> None:
    """Put the test into its row of the table."""
    record_property(ROW, (request.module.PROMISE, request.module.TRIED))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table."""
    if "TRUST_SCALE" not in os.environ:
        return
    tries: Counter[tuple[str, str]] = Counter()
    violations: Counter[tuple[str, str]] = Counter()
    skipped: Counter[tuple[str, str]] = Counter()
    figures: dict[tuple[str, str], list[str]] = {}
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in _reports(terminalreporter, outcome):
            properties = dict(report.user_properties)
            if ROW not in properties:
                continue
            promise, tried = properties[ROW]
            key = str(promise), str(tried)
            if outcome == "skipped":
                skipped[key] += 1
            elif report.when == "call" or outcome != "passed":
                tries[key] += int(str(properties.get("tries", 1)))
                violations[key] += outcome != "passed"
                figures.setdefault(key, []).extend(
                    str(value) for name, value in report.user_properties if name == "figure"
                )
    terminalreporter.section("trust")
    for promise, tried in sorted(tries | skipped):
        key = promise, tried
        terminalreporter.write_line(promise)
        left_out = f", {skipped[key]} skipped" if skipped[key] else ""
        terminalreporter.write_line(
            f"    tried by {tried}: {tries[key]} times, {violations[key]} violations{left_out}"
        )
        for figure in figures.get(key, []):
            terminalreporter.write_line(f"    {figure}")


def _reports(reporter: pytest.TerminalReporter, outcome: str) -> Iterator[pytest.TestReport]:
    for report in reporter.stats.get(outcome, []):
        if isinstance(report, pytest.TestReport):
            yield report
