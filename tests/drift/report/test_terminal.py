from __future__ import annotations

from ringback.drift.report.terminal import text
from support.reports import BLOCKED, empty, full


def test_the_verdict_comes_first_and_each_finding_says_both_sides() -> None:
    lines = text(full()).splitlines()
    assert lines[0].startswith("drift: 2 errors, ")
    shown = "\n".join(lines)
    for part in (
        "  documented  fails with 21610\n",
        f"        page  {BLOCKED}  {BLOCKED.url}\n",
        "fails with 30003",
        "ringback drift --only Messages.to",
    ):
        assert part in shown
    assert "accepted (1)" in shown
    assert "x: no answer" in shown


def test_nothing_found_and_nothing_compared_are_not_the_same() -> None:
    assert text(empty()).startswith("drift: no drift in 1 exchange, ")
    assert text(empty(0)).startswith("drift: nothing was compared")
    assert (empty().exit_code, empty(0).exit_code, full().exit_code) == (0, 2, 1)
