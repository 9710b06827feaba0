"""The forms of a report by their names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ringback.drift.report import as_json, junit, page, sarif, terminal

if TYPE_CHECKING:
    from collections.abc import Callable

    from ringback.drift.report.model import Report

FORMATS: Final[dict[str, Callable[[Report], str]]] = {
    "terminal": terminal.text,
    "json": as_json.text,
    "junit": junit.text,
    "sarif": sarif.text,
    "html": page.text,
}


def write(report: Report, form: str) -> str:
    """`report` as text in the form of that name.

    Raises:
        KeyError: There is no such form.
    """
    return FORMATS[form](report)
