"""A directory of cassettes: one cassette for each name, closed together."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from ringback.cassettes.cassette import CassetteDirectory
from ringback.cassettes.files import CassetteNameError
from support.exchanges import Shelf, answer, numbered, record, request


def test_a_name_has_one_session_whoever_asks(shelf: Shelf) -> None:
    with shelf.library("auto") as library, ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda number: library.open(f"s{number % 2}"), range(40)))
    assert len(set(map(id, got))) == 2
    assert {cassette.name for cassette in library.opened} == {"s0", "s1"}


def test_sessions_are_listed_in_the_order_in_which_they_began(shelf: Shelf) -> None:
    with shelf.library() as library:
        for name in ("b", "a", "b", "c"):
            library.open(name)
        assert [cassette.name for cassette in library.opened] == ["b", "a", "c"]


def test_a_name_that_was_refused_leaves_no_session(shelf: Shelf) -> None:
    with shelf.library() as library:
        with pytest.raises(CassetteNameError):
            library.open("a/b")
        assert library.opened == ()


def test_closing_waits_for_what_is_being_written(shelf: Shelf) -> None:
    library = shelf.library("auto")
    waiting = [library.open().record(request({"Body": str(n)}), answer(number=n)) for n in range(30)]
    assert library.close() == ()
    assert all(done.done() for done in waiting)
    with shelf.library() as again:
        assert len(again.open()) == 30


def test_what_goes_wrong_at_the_end_is_reported_and_the_others_are_finished(shelf: Shelf) -> None:
    library = shelf.library("online")
    for name in ("one", "two"):
        record(library.open(name), (request(), answer()))
    (left,) = shelf.directory.glob("one.*")
    left.unlink()
    (wrong,) = library.close()
    assert "one.yaml" in str(wrong)
    assert shelf.reported == [str(wrong)]
    assert shelf.file("two").is_file()


def test_a_key_is_asked_for_only_where_something_is_redacted(shelf: Shelf) -> None:
    with shelf.library("auto", environ={"RINGBACK_REDACT_KEY": "short"}) as library:
        record(library.open(), (request(), answer()))
    assert shelf.file().exists()


def test_without_a_mode_nothing_is_written(shelf: Shelf) -> None:
    shelf.write((request(), answer(number=3)))
    before = shelf.file().read_bytes()
    with CassetteDirectory(shelf.directory) as library:
        assert numbered(library.open(), request()) == 3
        assert numbered(library.open(), request({"Body": "new"})) is None
    assert shelf.file().read_bytes() == before


def test_leaving_the_block_closes_it(shelf: Shelf) -> None:
    with shelf.library("online") as library:
        record(library.open(), (request(), answer()))
        assert not shelf.file().exists()
    assert shelf.file().exists()


def test_all_cassettes_of_a_library_are_redacted_with_one_key(shelf: Shelf) -> None:
    with shelf.library("auto", redact=["To"]) as library:
        for name in ("one", "two"):
            record(library.open(name), (request(), answer()))
    lines = (shelf.file("one").read_text() + shelf.file("two").read_text()).split("\n")
    reported = [line for line in lines if " key: " in line]
    assert (len(reported), len(set(reported))) == (2, 1)
    assert not any("4105550100" in line for line in lines)


def test_the_clock_dates_a_recording(shelf: Shelf) -> None:
    when = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert "2026-01-02T03:04:05Z" in shelf.write((request(), answer()), clock=lambda: when).read_text()
