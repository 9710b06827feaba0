"""The queue of a cassette: what is submitted is written in order, together, and each waiter hears of it."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Event
from typing import TYPE_CHECKING

import pytest

from ringback.cassettes.files import CodingError
from ringback.cassettes.redaction import Redaction
from ringback.cassettes.store import CassetteFile, InteractionWriter, WriteOptions
from ringback.cassettes.vcr_format import parse
from support.exchanges import JSON, TOKEN, answer, request

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ringback.cassettes.store import WrittenInteraction

UNKNOWN = answer(b"?", headers=(JSON, ("Content-Encoding", "unheard-of")))


class Writing:
    """A recorder on a file, and what it reported."""

    def __init__(self, file: Path) -> None:
        self.path = file
        self.file = CassetteFile(file, WriteOptions({}, Redaction(), lambda _: None))
        self.pool = ThreadPoolExecutor(1)
        self.batches: list[Sequence[WrittenInteraction]] = []
        self.failures: list[Exception] = []
        self.recorder = InteractionWriter(
            self.file,
            Redaction(),
            lambda: datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
            self.pool,
            self.take,
            self.failures.append,
        )

    def take(self, inode: int, batch: Sequence[WrittenInteraction]) -> list[str]:
        assert inode == self.path.stat().st_ino
        first = sum(map(len, self.batches))
        self.batches.append(batch)
        return [f"#{first + number}" for number in range(len(batch))]


@pytest.fixture
def writing(tmp_path: Path) -> Iterator[Writing]:
    made = Writing(tmp_path / "c.yaml")
    yield made
    made.pool.shutdown()
    made.file.close()


def test_what_is_submitted_lasts_in_order_and_is_found_where_it_is_said_to_be(writing: Writing) -> None:
    asked = [request({"Body": str(n)}) for n in range(20)]
    waiting = [writing.recorder.submit(one, answer(number=n)) for n, one in enumerate(asked)]
    assert [done.result(timeout=30) for done in waiting] == [f"#{n}" for n in range(20)]
    data = writing.path.read_bytes()
    items = [data[one.start : one.start + one.size] for batch in writing.batches for one in batch]
    assert [json.loads(parse(item).answer.body)["n"] for item in items] == list(range(20))
    assert [one.key for batch in writing.batches for one in batch] == [
        Redaction().redact(one).key for one in asked
    ]


def test_those_that_come_while_it_is_busy_are_written_together(writing: Writing) -> None:
    free = Event()
    writing.pool.submit(free.wait)
    waiting = [writing.recorder.submit(request({"Body": str(n)}), answer(number=n)) for n in range(5)]
    free.set()
    assert [done.result(timeout=30) for done in waiting] == [f"#{n}" for n in range(5)]
    assert list(map(len, writing.batches)) == [5]


def test_one_that_cannot_be_written_down_keeps_nobody_else_from_it(writing: Writing) -> None:
    waiting = [
        writing.recorder.submit(request({"Body": str(n)}), UNKNOWN if n == 1 else answer(number=n))
        for n in range(3)
    ]
    with pytest.raises(CodingError):
        waiting[1].result(timeout=30)
    assert [waiting[n].result(timeout=30) for n in (0, 2)] == ["#0", "#1"]
    assert [type(error) for error in writing.failures] == [CodingError]


def test_a_disk_that_says_no_is_reported_to_everybody_who_waits_and_the_next_may_succeed(
    writing: Writing, tmp_path: Path
) -> None:
    writing.path.mkdir()
    with pytest.raises(Exception, match="not recorded"):
        writing.recorder.submit(request(), answer()).result(timeout=30)
    assert len(writing.failures) == 1
    (tmp_path / "c.yaml").rmdir()
    assert writing.recorder.submit(request(), answer()).result(timeout=30) == "#0"


def test_who_gives_up_takes_nothing_back(writing: Writing) -> None:
    waiting = writing.recorder.submit(request(), answer())
    assert not waiting.cancel()
    assert waiting.result(timeout=30) == "#0"


def test_a_recording_says_when_and_from_whom_and_holds_no_token(writing: Writing) -> None:
    writing.recorder.submit(request(), answer()).result(timeout=30)
    text = writing.path.read_text()
    assert "2026-01-02T03:04:05Z" in text
    assert TOKEN not in text
    one = parse(text.encode()[writing.batches[0][0].start :])
    assert ("Ringback-Source", "live") in one.provenance
