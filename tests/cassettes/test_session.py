"""Replaying, recording and missing, in all three modes."""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringback.cassettes.files import CassetteFormatError, CassetteNameError, RedactionError
from ringback.exchange import Source
from support.exchanges import Shelf, answer, found, missed, numbered, record, request

A, B, C = (request({"Body": name}) for name in "abc")


def test_the_kth_equal_request_gets_the_kth_recording_then_the_last_again(shelf: Shelf) -> None:
    shelf.write((A, answer(number=1)), (B, answer(number=2)), (A, answer(number=3)), (A, answer(number=4)))
    with shelf.library() as library:
        cassette = library.open()
        assert [numbered(cassette, one) for one in (A, A, B, A, A, B, A)] == [1, 3, 2, 4, 4, 2, 4]
        assert (cassette.replayed, cassette.missed) == (7, 0)


def test_after_the_last_recording_comes_a_miss_when_that_is_asked_for(shelf: Shelf) -> None:
    shelf.write((A, answer(number=1)), (A, answer(number=2)))
    with shelf.library(repeats="error") as library:
        cassette = library.open()
        assert [numbered(cassette, A) for _ in range(3)] == [1, 2, None]
        miss = missed(cassette, A)
        assert (miss.used_up, miss.recorded, cassette.missed) == (True, 2, 2)
        assert "used up" in miss.reason
        assert "--mode online" in miss.next_command


@settings(max_examples=30)
@given(
    recorded=st.lists(st.sampled_from("abc"), max_size=8), asked=st.lists(st.sampled_from("abc"), max_size=12)
)
def test_counting_holds_for_any_order(
    recorded: list[str], asked: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    shelf = Shelf(tmp_path_factory.mktemp("any") / "cassettes")
    shelf.write(*((request({"Body": name}), answer(number=n)) for n, name in enumerate(recorded)))
    expected = []
    for place, name in enumerate(asked):
        mine = [n for n, one in enumerate(recorded) if one == name]
        expected.append(mine[min(asked[:place].count(name), len(mine) - 1)] if mine else None)
    with shelf.library() as library:
        assert [numbered(library.open(), request({"Body": name})) for name in asked] == expected


def test_each_session_counts_by_itself(shelf: Shelf) -> None:
    for name in ("one", "two"):
        shelf.write((A, answer(number=1)), (A, answer(number=2)), name=name)
    with shelf.library() as library, shelf.library() as another_process:
        assert [numbered(library.open("one"), A) for _ in range(2)] == [1, 2]
        assert numbered(library.open("two"), A) == 1
        assert numbered(another_process.open("one"), A) == 1
        assert library.open("one") is library.open("one")


def test_an_answer_says_where_it_came_from(shelf: Shelf) -> None:
    shelf.write((A, answer(number=1)), (B, answer(number=2)))
    with shelf.library() as library:
        got = found(library.open(), B)
    assert got.source == Source("cassette", "default#2", "recorded")
    assert not any(name.startswith("Ringback") for name, _ in got.headers)
    assert got.reason == "CREATED"


def test_auto_adds_what_is_new_and_replays_it_from_then_on(shelf: Shelf) -> None:
    shelf.write((A, answer(number=1)))
    with shelf.library("auto") as library:
        cassette = library.open()
        assert numbered(cassette, A) == 1
        missed(cassette, B)
        assert record(cassette, (B, answer(number=2))) == ["default#2"]
        assert numbered(cassette, B) == 2
        assert numbered(cassette, A) == 1
        assert (len(cassette), cassette.recorded) == (2, 1)
    with shelf.library() as library:
        assert [numbered(library.open(), one) for one in (B, A)] == [2, 1]


def test_auto_makes_the_file_with_the_first_exchange(shelf: Shelf) -> None:
    with shelf.library("auto") as library:
        missed(library.open(), A)
        assert not shelf.directory.exists()
        record(library.open(), (A, answer()))
        assert shelf.file().exists()
    assert [path.name for path in shelf.directory.iterdir()] == ["default.yaml"]


def test_online_records_afresh_and_takes_the_name_at_the_end(shelf: Shelf) -> None:
    old = shelf.write((A, answer(number=1)), (B, answer(number=2))).read_bytes()
    with shelf.library("online") as library:
        cassette = library.open()
        missed(cassette, A)
        assert record(cassette, (A, answer(number=3)), (C, answer(number=4))) == ["default#1", "default#2"]
        assert shelf.file().read_bytes() == old
        assert cassette.unused() == (0, ())
    with shelf.library() as library:
        cassette = library.open()
        assert [numbered(cassette, one) for one in (A, B, C)] == [3, None, 4]
    assert [path.name for path in shelf.directory.iterdir()] == ["default.yaml"]


def test_online_without_an_exchange_keeps_the_old_cassette(shelf: Shelf) -> None:
    shelf.write((A, answer(number=1)))
    with shelf.library("online") as library:
        missed(library.open(), A)
    with shelf.library() as library:
        assert numbered(library.open(), A) == 1


def test_recordings_are_awaited_without_blocking_the_loop(shelf: Shelf) -> None:
    async def run() -> int:
        with shelf.library("auto") as library:
            cassette = library.open()
            waiting = [
                asyncio.wrap_future(cassette.record(request({"Body": str(n)}), answer(number=n)))
                for n in range(50)
            ]
            return len(set(await asyncio.gather(*waiting)))

    assert asyncio.run(run()) == 50
    with shelf.library() as library:
        assert [numbered(library.open(), request({"Body": str(n)})) for n in range(50)] == list(range(50))


def test_who_gives_up_waiting_takes_nothing_back(shelf: Shelf) -> None:
    async def run() -> None:
        with shelf.library("auto") as library:
            waiting = asyncio.ensure_future(asyncio.wrap_future(library.open().record(A, answer(number=1))))
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            await asyncio.wrap_future(library.open().record(B, answer(number=2)))

    asyncio.run(run())
    with shelf.library() as library:
        assert [numbered(library.open(), one) for one in (A, B)] == [1, 2]


def test_equal_requests_that_were_recorded_together_replay_the_last(shelf: Shelf) -> None:
    with shelf.library("auto") as library:
        cassette = library.open()
        missed(cassette, A)
        missed(cassette, A)
        record(cassette, (A, answer(number=1)), (A, answer(number=2)))
        assert numbered(cassette, A) == 2
        assert cassette.unused() == (0, ())


def test_64_sessions_in_parallel_each_complete_and_in_order(shelf: Shelf) -> None:
    count = 12

    def drive(name: str) -> None:
        cassette = library.open(name)
        for number in range(count):
            asked = request({"Body": f"{name} {number // 2}"})
            if number % 2:
                assert numbered(cassette, asked) == number - 1
            record(cassette, (asked, answer(number=number)))

    names = [f"client-{number}" for number in range(64)]
    with shelf.library("auto") as library, ThreadPoolExecutor(64) as pool:
        list(pool.map(drive, names))
    with shelf.library() as library:
        for name in names:
            cassette = library.open(name)
            got = [numbered(cassette, request({"Body": f"{name} {number // 2}"})) for number in range(count)]
            assert got == list(range(count))
            assert cassette.unused() == (0, ())


def test_one_session_is_used_by_many_threads(shelf: Shelf) -> None:
    shelf.write(*((A, answer(number=number)) for number in range(40)))
    with shelf.library() as library, ThreadPoolExecutor(16) as pool:
        got = list(pool.map(lambda _: numbered(library.open(), A), range(40)))
    assert sorted(got, key=int) == list(range(40))  # type: ignore[arg-type]  # none is None


def test_unused_recordings_are_listed_with_their_line(shelf: Shelf) -> None:
    file = shelf.write(
        (A, answer(number=1)), (B, answer(number=2)), (A, answer(number=3)), (C, answer(number=4))
    )
    lines = [number for number, line in enumerate(file.read_text().split("\n"), 1) if line == "- request:"]
    with shelf.library() as library:
        cassette = library.open()
        found(cassette, A)
        count, shown = cassette.unused(2)
    assert count == 3
    assert [(one.number, one.line) for one in shown] == [(2, lines[1]), (3, lines[2])]
    assert shown[0].label == "POST /2010-04-01/Accounts/{account}/Messages.json (Body=b)"


def test_a_label_is_printable_and_short(shelf: Shelf) -> None:
    shelf.write((request({"Body": "\x1b[31m" + "x" * 500}), answer()))
    with shelf.library() as library:
        (one,) = library.open().unused()[1]
    assert one.label.isprintable()
    assert len(one.label) == 120


@pytest.mark.parametrize("mode", ["offline", "auto", "online"])
def test_a_bad_name_is_refused_before_anything_is_touched(shelf: Shelf, mode: str) -> None:
    with shelf.library(mode) as library, pytest.raises(CassetteNameError):
        library.open("../outside")
    assert not shelf.directory.exists()


@pytest.mark.parametrize("text", ["[]", "a: b\n", "\0", "interactions: {a: b}\n", "- x"])
def test_what_is_no_cassette_is_reported_with_its_path(shelf: Shelf, text: str) -> None:
    shelf.directory.mkdir()
    shelf.file().write_text(text)
    with (
        shelf.library() as library,
        pytest.raises(CassetteFormatError, match=re.escape(f"{shelf.file()}:1: ")),
    ):
        library.open()
    assert shelf.file().read_text() == text


@pytest.mark.parametrize(
    "text", ["", "\n\n", "version: 1\ninteractions:\n", "interactions: []\nversion: 1\n"]
)
def test_an_empty_file_is_an_empty_cassette(shelf: Shelf, text: str) -> None:
    shelf.directory.mkdir()
    shelf.file().write_text(text)
    with shelf.library("auto") as library:
        missed(library.open(), A)
        record(library.open(), (A, answer(number=1)))
        assert numbered(library.open(), A) == 1
    with shelf.library() as library:
        assert numbered(library.open(), A) == 1


def test_a_torn_tail_is_cut_by_auto_and_passed_over_by_offline(shelf: Shelf) -> None:
    file = shelf.write((A, answer(number=1)), (B, answer(number=2)))
    torn = file.read_bytes()[:-20]
    file.write_bytes(torn)
    with shelf.library() as library:
        cassette = library.open()
        assert (numbered(cassette, A), numbered(cassette, B)) == (1, None)
    assert file.read_bytes() == torn
    (reported,) = shelf.reported
    assert "an interaction that is not whole" in reported
    assert "passed over" in reported
    shelf.reported.clear()
    with shelf.library("auto") as library:
        assert numbered(library.open(), A) == 1
        record(library.open(), (C, answer(number=3)))
    (reported,) = shelf.reported
    kept = file.with_name("default.yaml.torn-1")
    assert f"cut, and kept in {kept}; 1 whole interaction before that" in reported
    assert torn.endswith(kept.read_bytes())
    with shelf.library() as library:
        assert [numbered(library.open(), one) for one in (A, B, C)] == [1, None, 3]


def test_another_key_is_reported_instead_of_missing_everything(shelf: Shelf) -> None:
    shelf.write((A, answer(number=1)), redact=["Body"])
    other = {"RINGBACK_REDACT_KEY": "another key, long enough"}
    said = r"redacted with the key \w{8}, the key here is \w{8}: set RINGBACK"
    with shelf.library(environ=other) as library, pytest.raises(RedactionError, match=said):
        library.open()
    with shelf.library("auto", redact=["Body"]) as library:
        assert numbered(library.open(), A) == 1


@pytest.mark.parametrize("recorded,asked", [(["Body"], ["To"]), ([], ["To"]), (["Body"], ["Body", "To"])])
def test_auto_does_not_mix_redactions(shelf: Shelf, recorded: list[str], asked: list[str]) -> None:
    shelf.write((A, answer(number=1)), redact=recorded)
    said = f"cassettes redact default --redact {','.join(asked)}"
    with shelf.library("auto", redact=asked) as library, pytest.raises(RedactionError, match=said):
        library.open()
    with shelf.library("offline", redact=asked) as library:
        assert numbered(library.open(), A) == 1


def test_the_letters_of_a_redacted_name_are_none_of_the_redaction(shelf: Shelf) -> None:
    libraries = [shelf.library("auto", redact=names) for names in (["Body"], ["body", "BODY"])]
    for library in libraries:
        library.open()  # neither finds a file
    for library in libraries:
        record(library.open(), (A, answer(number=1)))
        library.close()
    assert "fields:\n      - Body\n      key:" in shelf.file().read_text()
    with shelf.library("auto", redact=["body"]) as library:
        assert numbered(library.open(), A) == 1
