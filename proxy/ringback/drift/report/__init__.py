"""Forms of a drift report: for a terminal, JSON, JUnit XML, SARIF, and one HTML page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ringback.drift.report import as_json, html, junit, sarif, terminal

if TYPE_CHECKING:
    from collections.abc import Callable

    from ringback.drift.report.builder import Report

FORMATS: Final[dict[str, Callable[[Report], str]]] = {
    "terminal": terminal.text,
    "json": as_json.text,
    "junit": junit.text,
    "sarif": sarif.text,
    "html": html.text,
}


def write(report: Report, form: str) -> str:
    """Return `report` as text in the form of that name.

    Raises:
        KeyError: There is no such form.
    """
    return FORMATS[form](report)
