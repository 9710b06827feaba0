"""What looking at one exchange is noted as."""

from __future__ import annotations

from ringback.drift.observation import Check, ClaimDifference, Notes


def test_what_held_and_what_did_not_are_both_noted_in_order() -> None:
    difference = ClaimDifference("value", "warning", "*", "/status", "queued", "accepted", "accepted")
    notes = Notes()
    notes.add("first")
    notes.add("second", difference, "all of them")
    assert notes.checks == [Check("first"), Check("second", "all of them", difference)]
    assert notes.known == set()
    assert Notes().checks == []
