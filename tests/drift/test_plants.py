"""Changes that can be planted: what each is about, and what finds it."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from ringback.drift.findings import DriftFinding, collect_findings
from support.drifting import CLAIM_SET, look, probe
from support.mutations import ACCOUNT, KINDS, Plant, answers_in

if TYPE_CHECKING:
    from ringback.drift.claims import ClaimProbe
    from ringback.drift.compare import Comparison

FOUND = DriftFinding(
    "Messages.answer.status",
    "warning",
    "value",
    "Messages",
    "/status",
    "a",
    "b",
    "f",
    claims=("format.date",),
    pointers=("/date_created",),
)


def plant(place: str, severity: str = "warning") -> Plant:
    return Plant("k", "w", severity, place, frozenset(), lambda answer, _: answer)  # type: ignore[arg-type]  # a str


@pytest.mark.parametrize(
    "place, found",
    [
        ("Messages.answer.status", True),
        ("Messages.answer", True),
        ("/status", True),
        ("format.date", True),
        ("/date_created", True),
        ("/stat", False),
        ("Messages.answer.stat", False),
        ("Calls.answer.status", False),
    ],
)
def test_a_finding_finds_a_plant_that_it_names(place: str, found: bool) -> None:
    assert plant(place).found_by(FOUND) is found


def test_one_that_is_not_as_bad_as_it_must_be_does_not() -> None:
    assert not plant("/status", "error").found_by(FOUND)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [1, 2])
def test_every_kind_is_found_by_exactly_what_it_names(kind: str, seed: int) -> None:
    made = KINDS[kind](CLAIM_SET, random.Random(seed))
    assert made.kind == kind

    def changed(item: ClaimProbe) -> Comparison:
        if item.id not in made.probes:
            return look(item)
        return look(item, lambda answer: made.change(answer, item.format))

    findings = collect_findings(CLAIM_SET, map(changed, CLAIM_SET.probes))
    assert findings
    assert all(made.found_by(finding) for finding in findings)


def test_an_answer_in_the_other_format() -> None:
    sent = probe("example.message.sent")
    as_json, as_xml = (answers_in(CLAIM_SET, sent, form) for form in ("json", "xml"))
    assert as_json.body.startswith(b"{")
    assert as_xml.body.startswith(b"<")
    other = replace(sent, path=sent.path.removesuffix(".json"), format="xml")
    assert answers_in(CLAIM_SET, other, "json") == as_json == CLAIM_SET.offline(sent.request(ACCOUNT))
