"""Recording afresh: the old cassette stays whole until the end, and an interrupted recording can be had."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from ringback.cassettes.files import CassetteBusyError
from support.exchanges import Shelf, answer, numbered, record, request, written
from support.writers import kill_after, recorded, start

if TYPE_CHECKING:
    from pathlib import Path

A, B = (request({"Body": name}) for name in "ab")


def names(shelf: Shelf) -> list[str]:
    return sorted(path.name for path in shelf.directory.iterdir())


def test_a_kill_leaves_the_old_one_whole_and_the_new_one_to_be_had(shelf: Shelf) -> None:
    old = shelf.write((A, answer(number=-1))).read_bytes()
    moments = random.Random(3)
    acknowledged = kill_after(start(shelf, mode="online", at_once=4), moments.randrange(5, 50))
    assert shelf.file().read_bytes() == old
    assert names(shelf) == ["default.yaml", "default.yaml.new"]
    with shelf.library("online") as library:
        record(library.open(), (B, answer(number=-2)))
        assert names(shelf) == ["default-interrupted-1.yaml", "default.yaml", "default.yaml.new"]
        assert set(acknowledged) <= set(recorded(shelf.file("default-interrupted-1")))
        assert "kept as cassette 'default-interrupted-1'" in shelf.reported[0]
    assert recorded(shelf.file()) == [-2]
    with shelf.library() as library:
        first = acknowledged[0]
        asked = request({"Body": f"{first} " + "x" * (first % 700)})
        assert numbered(library.open("default-interrupted-1"), asked) == first


def test_a_second_process_on_the_same_cassette_is_reported_and_harms_nothing(shelf: Shelf) -> None:
    with shelf.library("online") as one, shelf.library("online") as other:
        record(one.open(), (A, answer(number=1)))
        with pytest.raises(
            CassetteBusyError, match="another process is recording this cassette afresh; wait"
        ):
            record(other.open(), (B, answer(number=2)))
        record(one.open(), (B, answer(number=3)))
    assert recorded(shelf.file()) == [1, 3]
    assert names(shelf) == ["default.yaml"]


def test_what_another_process_added_meanwhile_is_not_replaced(shelf: Shelf) -> None:
    shelf.write((A, answer(number=1)))
    with shelf.library("online") as afresh, shelf.library("auto") as adding:
        record(afresh.open(), (A, answer(number=2)))
        record(adding.open(), (B, answer(number=3)))
    assert recorded(shelf.file()) == [1, 3]
    assert recorded(shelf.file("default-online-1")) == [2]
    assert "kept as cassette 'default-online-1'" in shelf.reported[0]


def test_a_cassette_that_came_into_being_meanwhile_is_not_replaced(shelf: Shelf) -> None:
    with shelf.library("online") as afresh, shelf.library("auto") as adding:
        record(afresh.open(), (A, answer(number=2)))
        record(adding.open(), (B, answer(number=3)))
    assert (recorded(shelf.file()), recorded(shelf.file("default-online-1"))) == ([3], [2])


def test_an_append_after_the_change_goes_into_the_new_one(shelf: Shelf) -> None:
    shelf.write((A, answer(number=1)))
    with shelf.library("auto") as adding:
        assert numbered(adding.open(), A) == 1
        with shelf.library("online") as afresh:
            record(afresh.open(), (A, answer(number=2)))
        record(adding.open(), (B, answer(number=3)))
    assert recorded(shelf.file()) == [2, 3]


def test_a_cassette_that_cannot_take_its_name_is_reported_and_kept(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = shelf.library("online")
    record(library.open(), (A, answer(number=1)))

    def refuse(_old: Path, _new: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.replace", refuse)
    (error,) = library.close()
    assert "Permission denied; make it writable" in str(error)
    assert shelf.reported == [str(error)]
    monkeypatch.undo()
    assert names(shelf) == ["default.yaml.new"]


def test_what_is_replaced_is_reported(shelf: Shelf) -> None:
    shelf.write(*((A, answer(number=number)) for number in range(4)))
    with shelf.library("online") as library:
        record(library.open(), (A, answer(number=9)))
    assert shelf.reported == [f"{shelf.file()}: recorded afresh, 4 interactions replaced by 1"]
    shelf.reported.clear()
    with shelf.library("online") as library:
        record(library.open("first"), (A, answer(number=9)))
    assert shelf.reported == []


@pytest.mark.parametrize(
    "data, held",
    [
        (b"interactions: []\nversion: 1\n", None),
        (b"a: b", "unreadable interactions"),
        (b"version: 1\ninteractions:\n- 5\n", "unreadable interactions"),
    ],
)
def test_so_is_an_old_one_of_any_kind(shelf: Shelf, data: bytes, held: str | None) -> None:
    shelf.directory.mkdir()
    shelf.file().write_bytes(data)
    with shelf.library("online") as library:
        record(library.open(), (A, answer(number=9)))
    assert shelf.reported == ([f"{shelf.file()}: recorded afresh, {held} replaced by 1"] if held else [])
    assert recorded(shelf.file()) == [9]


def test_an_old_one_with_another_ending_is_named(shelf: Shelf) -> None:
    other = written(shelf, (A, answer(number=1)), (B, answer(number=2))).rename(
        shelf.directory / "default.yml"
    )
    with shelf.library("online") as library:
        record(library.open(), (A, answer(number=9)))
    assert shelf.reported == [f"{shelf.file()}: recorded afresh, 2 interactions of {other} replaced by 1"]


def test_a_recording_that_may_not_be_whole_is_kept_beside(shelf: Shelf) -> None:
    shelf.write(*((A, answer(number=number)) for number in range(4)))
    library = shelf.library("online")
    record(library.open(), (B, answer(number=9)))
    record(library.open("first"), (B, answer(number=8)))
    library.close("sh ended with exit code 1")
    beside = shelf.file("default-interrupted-1")
    assert (recorded(shelf.file()), recorded(beside)) == ([0, 1, 2, 3], [9])
    assert recorded(shelf.file("first")) == [8]  # there was nothing to keep
    assert names(shelf) == ["default-interrupted-1.yaml", "default.yaml", "first.yaml"]
    (reported,) = shelf.reported
    assert reported == (
        f"{shelf.file()}: kept with its 4 interactions, because sh ended with exit code 1; the new one has 1 "
        f"and is cassette 'default-interrupted-1': record again, or use it by `mv {beside} {shelf.file()}`"
    )


def test_so_is_one_that_lacks_an_answer_and_no_other(shelf: Shelf) -> None:
    for name in ("lacks", "failed", "whole"):
        shelf.write((A, answer(number=1)), name=name)
    with shelf.library("online") as library:
        for name in ("lacks", "failed", "whole"):
            record(library.open(name), (A, answer(number=2)))
        library.open("lacks").count_unanswered(B)
        library.open("failed").record(A, answer(headers=(("Content-Encoding", "rot13"),))).exception(30)
    assert [recorded(shelf.file(name)) for name in ("lacks", "failed", "whole")] == [[1], [1], [2]]
    reported = "\n".join(shelf.reported)
    assert (
        "because 1 request had no live answer; the new one has 1 and is cassette 'lacks-interrupted-1'"
        in reported
    )
    assert "because 1 interaction could not be recorded; the new one has 1" in reported


@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_one_and_what_it_leads_to_is_recorded(shelf: Shelf, there: bool) -> None:
    target = shelf.directory / "elsewhere" / "real.yaml"
    target.parent.mkdir(parents=True)
    if there:
        shelf.write((A, answer(number=-1)))
        shelf.file().rename(target)
    shelf.file().symlink_to(target)
    with shelf.library("online") as library:
        record(library.open(), (B, answer(number=7)))
    assert shelf.file().is_symlink()
    assert recorded(target) == [7]
