"""A finding's words: severities in order, a name for a cause, a title."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, get_args

import pytest

from ringback.drift.findings import DriftFinding, fingerprint
from ringback.drift.observation import KINDS, SEVERITIES, Kind, at_least

if TYPE_CHECKING:
    from ringback.contract import Basis


def test_errors_are_the_worst() -> None:
    assert at_least("error", "warning")
    assert at_least("warning", "warning")
    assert not at_least("info", "warning")
    assert SEVERITIES == ("error", "warning", "info")
    assert get_args(Kind) == KINDS


def test_a_fingerprint_names_a_cause_and_stays() -> None:
    names = [fingerprint("a", "b"), fingerprint("ab"), fingerprint("a", "c"), fingerprint("a", "b", "")]
    assert len(set(names)) == 4
    assert all(re.fullmatch("[0-9a-f]{12}", name) for name in names)
    # Entries in files of users hold these: another algorithm would lose them all.
    assert fingerprint("Messages.answer.status", "value", "accepted") == "cda0f76d865e"


@pytest.mark.parametrize(
    "resource, pointer, title",
    [
        ("Messages", "/status", "Messages /status: seen"),
        ("Messages", "", "Messages: seen"),
        ("*", "/code", "/code: seen"),
        ("*", "", "seen"),
    ],
)
def test_the_title_says_where(resource: str, pointer: str, title: str) -> None:
    assert DriftFinding("r", "error", "value", resource, pointer, "said", "seen", "f").title == title


@pytest.mark.parametrize(
    "line, basis, said",
    [
        (12, "documented", "line 12"),
        (12, None, "line 12"),
        (None, "documented", "as a whole"),
        (None, "recorded", "not on the page: recorded"),
        (None, None, ""),
    ],
)
def test_where_the_page_says_it(line: int | None, basis: Basis | None, said: str) -> None:
    finding = DriftFinding("r", "error", "value", "*", "", "said", "seen", "f", line=line, basis=basis)
    assert finding.page == said
