"""What a cassette file holds: found by key, parsed when it is needed, in our layout and in vcrpy's."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from zlib import crc32

import pytest

from ringback.cassettes.files import CassetteFormatError
from ringback.cassettes.layout import CassetteReader
from ringback.cassettes.redaction import Redaction
from support.exchanges import Shelf, answer, request, written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ringback.exchange import Request

A, B = (request({"Body": name}) for name in "ab")
EXCHANGES = ((A, answer(number=0)), (B, answer(number=1)), (A, answer(number=2)))


@pytest.fixture(params=[Shelf.write, written], ids=["ours", "vcrpy's"])
def file(request: pytest.FixtureRequest, shelf: Shelf) -> Path:
    write: Callable[..., Path] = request.param
    return write(shelf, *EXCHANGES)


@pytest.fixture
def opened(file: Path) -> Iterator[CassetteReader]:
    recordings = CassetteReader(file)
    recordings.open(Redaction())
    yield recordings
    recordings.close()


def key(asked: Request) -> bytes:
    return bytes.fromhex(Redaction().redact(asked).key.digest)


def test_equal_requests_are_found_in_order(opened: CassetteReader) -> None:
    assert len(opened) == 3
    assert opened.numbers(key(A)) == [0, 2]
    assert opened.numbers(key(B)) == [1]
    assert opened.numbers(key(request({"Body": "c"}))) == []
    assert opened.keys() == {key(A): [0, 2], key(B): [1]}


def test_each_is_read_by_its_number(opened: CassetteReader) -> None:
    for number in (2, 0, 1, 0):
        assert json.loads(opened.interaction(number).answer.body)["n"] == number
        assert bytes.fromhex(opened.match_key(number).digest) == key(EXCHANGES[number][0])


def test_what_is_replayed_says_where_it_is_from_and_has_its_length(
    opened: CassetteReader, file: Path
) -> None:
    kept = opened.answer(1)
    assert kept.source.rule == f"{file.stem}#2"
    assert kept.header("Content-Length") == str(len(kept.body))
    assert opened.answer(1) is kept


def test_opening_again_starts_afresh(opened: CassetteReader, shelf: Shelf) -> None:
    opened.interaction(0)
    written(shelf, (B, answer(number=7)))
    opened.open(Redaction())
    assert opened.keys() == {key(B): [0]}
    assert json.loads(opened.interaction(0).answer.body)["n"] == 7
    assert opened.foreign


def test_no_file_is_an_empty_one(tmp_path: Path) -> None:
    recordings = CassetteReader(tmp_path / "none.yaml")
    recordings.open(Redaction())
    assert (len(recordings), recordings.torn, recordings.likely(Redaction().redact(A).key)) == (0, 0, [])


def test_lines_are_known_in_our_own_layout(shelf: Shelf) -> None:
    file = shelf.write(*EXCHANGES)
    recordings = CassetteReader(file)
    recordings.open(Redaction())
    lines = file.read_text().split("\n")
    assert [lines[recordings.line(number) - 1] for number in range(3)] == ["- request:"] * 3
    assert len({recordings.line(number) for number in range(3)}) == 3
    recordings.close()
    assert recordings.line(0) == 0


def test_a_file_that_changes_in_use_is_reported_with_the_line(shelf: Shelf) -> None:
    file = shelf.write(*EXCHANGES)
    recordings = CassetteReader(file)
    recordings.open(Redaction())
    line = recordings.line(1)
    data = file.read_bytes()
    with file.open("r+b") as handle:  # the same file, other bytes
        handle.write(data.replace(b"- request", b"- rubbish"))
    with pytest.raises(CassetteFormatError, match=f":{line}: changed while it was in use"):
        recordings.interaction(1)
    recordings.close()


def test_what_is_appended_is_found_too(shelf: Shelf) -> None:
    file = shelf.write(*EXCHANGES[:2])
    recordings = CassetteReader(file)
    recordings.open(Redaction())
    assert recordings.is_same_file(file.stat().st_ino)
    start = len(file.read_bytes())
    shelf.write(EXCHANGES[2])
    item = file.read_bytes()[start:]
    skipped = item.index(b"- request")
    recordings.add(Redaction().redact(A).key, start + skipped, len(item) - skipped, crc32(item[skipped:]))
    assert recordings.numbers(key(A)) == [0, 2]
    assert json.loads(recordings.interaction(2).answer.body)["n"] == 2
    recordings.close()
    assert not recordings.is_same_file(file.stat().st_ino)


def test_a_likely_one_is_found_by_its_value_far_behind_the_first(shelf: Shelf) -> None:
    many = [(request({"Body": f"number {n}", "To": "x"}), answer(number=n)) for n in range(260)]
    recordings = CassetteReader(shelf.write(*many))
    recordings.open(Redaction())
    found = recordings.likely(Redaction().redact(request({"Body": "number 250", "To": "y"})).key)
    assert 250 in dict(found)
    assert len(found) <= 200
    recordings.close()
    assert recordings.likely(found[0][1]) == []
