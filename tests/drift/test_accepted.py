from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import pytest

from ringback.drift.findings import DriftFinding
from ringback.drift.report.builder import (
    AcceptedError,
    AcceptedFinding,
    add_accepted,
    read_accepted,
    take_out_accepted,
)

if TYPE_CHECKING:
    from pathlib import Path

TODAY = date(2026, 6, 1)
FOUND = DriftFinding("text.21610", "warning", "value", "Messages", "/message", "a", "b", "0123456789ab")


def entry(
    fingerprint: str = "0123456789ab", expires: date = TODAY, rule: str | None = "text.21610"
) -> AcceptedFinding:
    return AcceptedFinding(fingerprint=fingerprint, reason="reworded", expires=expires, rule=rule)


def test_an_accepted_finding_does_not_count_and_keeps_its_reason() -> None:
    judged = take_out_accepted([FOUND], [entry()], TODAY, {"text.21610"}, whole=True)
    assert judged.open == ()
    assert judged.accepted[0].note == "accepted until 2026-06-01: reworded"


def test_an_expired_entry_excuses_nothing_and_the_finding_says_so() -> None:
    judged = take_out_accepted([FOUND], [entry(expires=date(2026, 5, 31))], TODAY, {"text.21610"}, whole=True)
    assert [item.fingerprint for item in judged.open] == [FOUND.fingerprint]
    assert "2026-05-31" in judged.open[0].note


@pytest.mark.parametrize(
    "rule, whole, stale",
    [
        ("text.21610", False, 1),
        ("text.21610", True, 1),
        ("text.1", True, 0),
        (None, True, 1),
        (None, False, 0),
    ],
)
def test_an_entry_that_excuses_nothing_is_a_finding_where_it_could_have(
    rule: str | None, whole: bool, stale: int
) -> None:
    judged = take_out_accepted([], [entry(rule=rule)], TODAY, {"text.21610"}, whole=whole)
    assert [item.rule for item in judged.open] == ["accepted.stale"] * stale
    assert all(item.severity == "warning" for item in judged.open)


def test_what_is_added_is_read_again_and_replaces_its_predecessor(tmp_path: Path) -> None:
    file = tmp_path / "accepted.yaml"
    assert read_accepted(file) == ()
    add_accepted(file, entry("aaaaaaaaaaaa"))
    add_accepted(file, entry("123456789012", rule=None))  # all digits: must stay a string
    add_accepted(file, entry("aaaaaaaaaaaa", expires=date(2027, 1, 1)))
    assert {(item.fingerprint, item.expires) for item in read_accepted(file)} == {
        ("aaaaaaaaaaaa", date(2027, 1, 1)),
        ("123456789012", TODAY),
    }


@pytest.mark.parametrize(
    "text",
    [
        "accepted: [",
        "accepted: 1",
        "accepted: [{fingerprint: x, reason: y, expires: 2026-01-01}]",
        "accepted: [{fingerprint: 0123456789ab, expires: 2026-01-01}]",
        "accepted: [{fingerprint: 0123456789ab, reason: '', expires: 2026-01-01}]",
        "accepted: [{fingerprint: 0123456789ab, reason: y, expires: soon}]",
        "accepted: [{fingerprint: 0123456789ab, reason: y, expires: 2026-01-01, why: z}]",
        "accepted:\n" + "- {fingerprint: 0123456789ab, reason: y, expires: 2026-01-01}\n" * 2,
    ],
)
def test_a_wrong_file_is_refused_by_name(tmp_path: Path, text: str) -> None:
    file = tmp_path / "accepted.yaml"
    file.write_text(text)
    with pytest.raises(AcceptedError, match=r"accepted\.yaml"):
        read_accepted(file)


@pytest.mark.parametrize(
    "text, where",
    [
        ("accepted:\n- a: 1\n  b: [\n", "accepted.yaml:4: is not YAML"),
        ("a: b: c", "accepted.yaml:1: is not YAML"),
    ],
)
def test_what_is_no_yaml_is_reported_with_its_line(tmp_path: Path, text: str, where: str) -> None:
    file = tmp_path / "accepted.yaml"
    file.write_text(text)
    with pytest.raises(AcceptedError, match=where):
        read_accepted(file)
