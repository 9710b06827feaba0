"""What a report says as a whole: the verdict and the exit code."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from ringback.drift.findings import DriftFinding
from ringback.drift.report.builder import NotCompared, Report

if TYPE_CHECKING:
    from ringback.drift.observation import Severity

LOST = NotCompared("a", "no answer", harmless=False)
FINE = NotCompared("b", "not asked", harmless=True)


def made(*severities: Severity, **more: object) -> Report:
    findings = tuple(DriftFinding("r", one, "value", "*", "", "a", "b", "f") for one in severities)
    return replace(Report(findings, compared=3, total=10), **more)  # type: ignore[arg-type]  # its fields


@pytest.mark.parametrize(
    "report, code",
    [
        (made(), 0),
        (made("warning", "info"), 0),
        (made("error"), 1),
        (made("warning", fail_on="warning"), 1),
        (made("info", fail_on="warning"), 0),
        (made("info", fail_on="info"), 1),
        (made(not_compared=(FINE,)), 0),
        (made(not_compared=(FINE, LOST)), 2),
        (made("error", not_compared=(LOST,)), 1),
        (made(compared=0), 2),
    ],
)
def test_the_exit_code(report: Report, code: int) -> None:
    assert report.exit_code == code


def test_only_what_is_bad_enough_fails() -> None:
    report = made("error", "warning", "info", fail_on="warning")
    assert [item.severity for item in report.failing] == ["error", "warning"]
    assert report.counts == {"error": 1, "warning": 1, "info": 1}


@pytest.mark.parametrize(
    "report, said",
    [
        (made(), "no drift in 3 exchanges, 0 of 10 claims"),
        (made("error", compared=1), "1 error in 1 exchange, 0 of 10 claims"),
        (made("error", "error"), "2 errors in 3 exchanges, 0 of 10 claims"),
        (made("error", "warning", "info"), "1 error, 1 warning, 1 info in 3 exchanges, 0 of 10 claims"),
        (made(not_compared=(LOST, FINE)), "no drift in 3 exchanges, 0 of 10 claims; 1 request got no answer"),
        (
            made(not_compared=(LOST, LOST)),
            "no drift in 3 exchanges, 0 of 10 claims; 2 requests got no answer",
        ),
        (made(compared=0), "nothing was compared"),
    ],
)
def test_the_verdict(report: Report, said: str) -> None:
    assert report.verdict == said
