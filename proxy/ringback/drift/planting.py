"""Changes planted in answers, to show that the drift check finds each and invents none.

An upstream that answers like the contract is changed in one place at a time, chosen by a seed: a code, a text
or a field, a header, a resource that opens.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from ringback import contract as contracts
from ringback.contract import Answer, AnswerStamp, Credentials, Names
from ringback.drift.compare import compare
from ringback.drift.grouping import collect
from ringback.drift.observe import Observation, plain
from ringback.drift.plants import ACCOUNT, KINDS, Plant

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ringback.drift.book import Book
    from ringback.drift.compare import Comparison
    from ringback.drift.probes import Probe

_NOW: Final = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of one plant.

    Attributes:
        plant: The change.
        found: Whether it was found at the right severity.
        others: Findings about anything else.
        before: Findings without it.
    """

    plant: Plant
    found: bool
    others: int
    before: int


def try_all(book: Book, count: int, seed: int) -> Iterator[Tried]:
    """Plant `count` changes one at a time, and look whether each is found.

    Every change has its own answers, with other sids and request ids, and is looked at with and without it.
    """
    rng = random.Random(seed)  # noqa: S311 - the choice must repeat, not be secret
    kinds = list(KINDS)
    for number in range(count):
        plant = KINDS[kinds[number % len(kinds)]](book, rng)
        yield _try(book, plant, rng)


def table(tried: Sequence[Tried]) -> list[tuple[str, str, int, int, int, int]]:
    """Kind, severity, planted, found, other findings, findings without the change: a row for each kind."""
    rows = []
    planted = Counter(item.plant.kind for item in tried)
    for kind in planted:
        items = [item for item in tried if item.plant.kind == kind]
        severity = "/".join(sorted({item.plant.severity for item in items}))
        found = sum(item.found for item in items)
        others, before = sum(item.others for item in items), sum(item.before for item in items)
        rows.append((kind, severity, len(items), found, others, before))
    return rows


def answers(book: Book, rng: random.Random) -> dict[str, Answer]:
    """What an upstream that behaves as documented answers to every request, with sids of its own."""
    found = {}
    for probe in book.probes:
        request = plain(probe.request(ACCOUNT))
        stamp = AnswerStamp(rng.randbytes(16).hex(), rng.randbytes(16).hex(), _NOW, rng.uniform(0.02, 0.2))
        found[probe.id] = contracts.answer(book.contract, request, Names(request.host), Credentials(), stamp)
    return found


def _try(book: Book, plant: Plant, rng: random.Random) -> Tried:
    before = answers(book, rng)
    looked = {probe.id: _look(book, probe, before[probe.id]) for probe in book.probes}
    clean = collect(book, looked.values())
    for probe in book.probes:
        if probe.id in plant.probes:
            looked[probe.id] = _look(book, probe, plant.change(before[probe.id], probe.format))
    findings = collect(book, looked.values())
    hits = [finding for finding in findings if plant.found_by(finding)]
    return Tried(plant, bool(hits), len(findings) - len(hits), len(clean))


def _look(book: Book, probe: Probe, answer: Answer) -> Comparison:
    return compare(book, Observation(probe.request(ACCOUNT), answer, probe.id, _NOW, "proven"))
