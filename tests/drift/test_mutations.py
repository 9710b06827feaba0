from __future__ import annotations

import os
import random

import pytest

from support.drifting import CLAIM_SET
from support.mutations import KINDS, table, try_all

# What the design says, kind by kind.
SEVERITIES = {
    "another error code": "error",
    "an error that is gone": "error",
    "a new error": "error",
    "another text": "warning",
    "another HTTP status": "warning",
    "a field that is gone": "error",
    "a field that is new": "info",
    "a field of another type": "error",
    "a field renamed": "error",
    "null where it was not": "error",
    "another promised value": "warning",
    "a sid of another shape": "error",
    "a date of another format": "warning",
    "a header that is gone": "warning",
    "a resource that opened": "error",
    "an XML element renamed": "error",
}


# tests/test_readme.py plants all 500 by the command of the page.
PLANTED = 500 if "TRUST_SCALE" in os.environ else 120


@pytest.mark.slow
def test_planted_changes_are_all_found_alone_and_nothing_is_found_without_them() -> None:
    tried = list(try_all(CLAIM_SET, PLANTED, seed=20))
    missed = [(item.plant.kind, item.plant.what) for item in tried if not item.found]
    assert missed == []
    assert [item.plant.what for item in tried if item.others] == []
    assert [item.plant.what for item in tried if item.before] == []
    assert {row[0]: row[1] for row in table(tried)} == SEVERITIES
    assert sum(row[2] for row in table(tried)) == PLANTED


@pytest.mark.parametrize("kind", KINDS)
def test_a_plant_really_changes_the_answers_that_it_names(kind: str) -> None:
    from support.mutations import answers  # noqa: PLC0415 - beside its only use

    rng = random.Random(3)
    plant = KINDS[kind](CLAIM_SET, rng)
    before = answers(CLAIM_SET, rng)
    assert plant.probes
    forms = {probe.id: probe.format for probe in CLAIM_SET.probes}
    for name in plant.probes:
        assert plant.change(before[name], forms[name]) != before[name]
