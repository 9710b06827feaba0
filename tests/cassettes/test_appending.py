"""Nothing acknowledged is lost: kill -9, a full disk, a read-only directory, two processes at once."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import resource
import stat
from typing import TYPE_CHECKING

import pytest
import vcr

from ringback.cassettes import layout, vcr_format
from ringback.cassettes.files import CassetteError, RecordingError, RedactionError
from support.exchanges import Shelf, answer, numbered, record, request
from support.mounts import read_only, tmpfs
from support.writers import kill_after, recorded, start

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ringback.cassettes.cassette import CassetteDirectory

ROUNDS = 20


def test_kill_9_at_random_moments_loses_nothing_acknowledged(shelf: Shelf) -> None:
    moments = random.Random(20260705)
    acknowledged: list[int] = []
    for number in range(ROUNDS):
        writer = start(shelf, first=number * 10_000, at_once=moments.choice((1, 8, 32)))
        acknowledged += kill_after(writer, moments.randrange(1, 80))
        held = set(recorded(shelf.file()))
        assert set(acknowledged) <= held, f"round {number}"
    with shelf.library("auto") as library:
        cassette = library.open()
        record(cassette, (request({"Body": "last"}), answer(number=-1)))
        assert len(cassette) == len(recorded(shelf.file()))
    left = [path.name for path in shelf.directory.iterdir()]
    assert [name for name in left if not name.endswith(".tmp") and ".torn-" not in name] == ["default.yaml"]


def test_a_kill_in_the_middle_of_a_write_is_cut_at_the_next(shelf: Shelf) -> None:
    moments = random.Random(7)
    whole = shelf.write(*((request({"Body": str(n)}), answer(number=n)) for n in range(3))).read_bytes()
    for _ in range(ROUNDS):
        shelf.file().write_bytes(whole[: moments.randrange(len(whole) - 400, len(whole) - 1)])
        shelf.reported.clear()
        with shelf.library("auto") as library:
            record(library.open(), (request({"Body": "new"}), answer(number=9)))
        assert recorded(shelf.file()) == [0, 1, 9]
        assert "2 whole interactions before that" in shelf.reported[0]
    assert len(list(shelf.directory.glob("default.yaml.torn-*"))) == ROUNDS


def test_a_last_line_without_its_newline_gets_it_before_the_append(shelf: Shelf) -> None:
    """As editors and shells leave it."""
    file = shelf.write(*((request({"Body": str(n)}), answer(number=n)) for n in range(2)))
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    with shelf.library() as library:
        assert numbered(library.open(), request({"Body": "1"})) == 1
    with shelf.library("auto") as library:
        cassette = library.open()
        record(cassette, *((request({"Body": str(n)}), answer(number=n)) for n in (2, 3)))
        assert [numbered(cassette, request({"Body": str(n)})) for n in range(4)] == [0, 1, 2, 3]
    assert recorded(file) == [0, 1, 2, 3]
    assert file.read_bytes().startswith(whole + b"# ringback key=")
    assert shelf.reported == []
    with vcr.use_cassette(str(file), record_mode="none") as cassette:
        assert len(cassette) == 4


def test_damage_at_the_end_is_reported_and_stays(shelf: Shelf) -> None:
    file = shelf.write(*((request({"Body": str(n)}), answer(number=n)) for n in range(2)))
    data = file.read_bytes()
    damaged = data[: data.rindex(b"201")] + b"oops" + data[data.rindex(b"201") + 3 :]
    file.write_bytes(damaged)
    line = damaged[: damaged.rindex(b"oops")].count(b"\n") + 1
    with shelf.library("auto") as library, pytest.raises(CassetteError) as caught:
        library.open()
    assert str(caught.value).startswith(f"{file}:{line}: `response.status.code` is text")
    assert [path.name for path in shelf.directory.iterdir()] == ["default.yaml"]
    assert file.read_bytes() == damaged


def test_what_cannot_be_kept_is_not_cut(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    file = shelf.write((request(), answer(number=1)))
    file.write_bytes(file.read_bytes() + b"# ringback key=00")
    before = file.read_bytes()
    real = os.open

    def refuse(path: Path, *more: int) -> int:
        if "torn" in str(path):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, *more)

    monkeypatch.setattr(os, "open", refuse)
    with shelf.library("auto") as library:
        assert numbered(library.open(), request()) == 1
    assert file.read_bytes() == before
    assert "free some space" in shelf.reported[0]


def test_two_processes_append_to_one_cassette(shelf: Shelf) -> None:
    writers = [start(shelf, first=first, at_once=4) for first in (0, 10_000, 20_000)]
    acknowledged = [number for writer in writers for number in kill_after(writer, 60)]
    held = recorded(shelf.file())
    assert set(acknowledged) <= set(held)
    assert len(held) == len(set(held))
    for first in (0, 10_000, 20_000):
        mine = [number for number in held if first <= number < first + 10_000]
        assert len(mine) >= 60


def test_two_libraries_take_turns(shelf: Shelf) -> None:
    with shelf.library("auto") as one, shelf.library("auto") as other:
        for number in range(10):
            library = (one, other)[number % 2]
            record(library.open(), (request({"Body": str(number)}), answer(number=number)))
        assert [numbered(one.open(), request({"Body": str(number)})) for number in (0, 2, 1)] == [
            0,
            2,
            None,
        ]
    assert recorded(shelf.file()) == list(range(10))


def test_a_tail_that_another_process_left_is_cut_before_the_append(shelf: Shelf) -> None:
    with shelf.library("auto") as library:
        record(library.open(), (request({"Body": "a"}), answer(number=1)))
        with shelf.file().open("ab") as other:
            other.write(b"# ringback key=00")
        record(library.open(), (request({"Body": "b"}), answer(number=2)))
        assert [numbered(library.open(), request({"Body": name})) for name in "ab"] == [1, 2]
    assert recorded(shelf.file()) == [1, 2]
    assert any("cut" in line for line in shelf.reported)


def test_a_cassette_that_was_replaced_meanwhile_is_appended_to(shelf: Shelf) -> None:
    with shelf.library("auto") as library:
        record(library.open(), (request({"Body": "a"}), answer(number=1)))
        copy = shelf.file().with_suffix(".copy")
        copy.write_bytes(shelf.file().read_bytes())
        copy.replace(shelf.file())
        record(library.open(), (request({"Body": "b"}), answer(number=2)))
        assert numbered(library.open(), request({"Body": "b"})) == 2
    assert recorded(shelf.file()) == [1, 2]


def test_two_processes_do_not_mix_redactions(shelf: Shelf) -> None:
    plain, redacting = shelf.library("auto"), shelf.library("auto", redact=["Body"])
    with plain, redacting:
        for library in (plain, redacting):
            library.open()  # neither finds a file
        record(redacting.open(), (request({"Body": "private words"}), answer(number=1)))
        with pytest.raises(RedactionError, match="another process records there with other fields"):
            record(plain.open(), (request({"Body": "more private words"}), answer(number=2)))
    assert recorded(shelf.file()) == [1]
    assert "private" not in shelf.file().read_text()


def test_each_reason_is_reported_once(shelf: Shelf) -> None:
    with shelf.library("auto") as library:
        cassette = library.open()
        for coding in ("rot13", "rot13", "rot14"):
            done = cassette.record(request(), answer(b"x", headers=(("Content-Encoding", coding),)))
            assert done.exception(timeout=30) is not None
        assert cassette.failed == 3
    assert [line.split("'")[1] for line in shelf.reported] == ["rot13", "rot14"]


def test_exchanges_that_come_together_share_one_fsync(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (calls.append(handle), real(handle))[1])
    with shelf.library("auto") as library:
        cassette = library.open()
        waiting = [
            cassette.record(request({"Body": str(number)}), answer(number=number)) for number in range(200)
        ]
        assert len({done.result(timeout=60) for done in waiting}) == 200
    assert 0 < len(calls) < 60


def test_an_append_is_locked_synced_and_only_then_acknowledged(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.write((request(), answer()))
    steps = []
    locks = {fcntl.LOCK_EX: "lock", fcntl.LOCK_UN: "unlock", fcntl.LOCK_SH: "read"}
    for module, name in ((os, "write"), (os, "fsync"), (fcntl, "flock")):
        real = getattr(module, name)

        def noted(*arguments: object, real: Callable[..., object] = real, name: str = name) -> object:
            steps.append(locks[arguments[1]] if name == "flock" else name)  # type: ignore[index]  # an int
            return real(*arguments)

        monkeypatch.setattr(module, name, noted)
    with shelf.library("auto") as library:
        cassette = library.open()
        steps.clear()
        done = cassette.record(request({"Body": "x"}), answer())
        done.add_done_callback(lambda _: steps.append("acknowledged"))
        done.result(timeout=30)
    assert steps == ["lock", "write", "fsync", "unlock", "acknowledged"]


@pytest.mark.parametrize("mode", ["auto", "online"])
def test_a_new_file_lasts_before_it_has_its_name_and_its_name_before_it_is_acknowledged(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    steps = []
    sync, link = os.fsync, os.link

    def noted_sync(handle: int) -> None:
        steps.append("directory" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        sync(handle)

    def noted_link(source: Path, target: Path) -> None:
        steps.append("name")
        link(source, target)

    monkeypatch.setattr(os, "fsync", noted_sync)
    monkeypatch.setattr(os, "link", noted_link)
    with shelf.library(mode) as library:
        done = library.open().record(request(), answer())
        done.add_done_callback(lambda _: steps.append("acknowledged"))
        done.result(timeout=30)
    assert steps[:4] == ["file", "name", "directory", "acknowledged"]


def test_an_append_reads_nothing_and_writes_what_it_adds(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.write(*((request({"Body": str(number)}), answer(number=number)) for number in range(50)))
    with shelf.library("auto") as library:
        cassette = library.open()
        record(cassette, (request({"Body": "first"}), answer()))
        monkeypatch.setattr(layout, "scan_file", None)
        monkeypatch.setattr(vcr_format, "read_foreign", None)
        before = shelf.file().stat().st_size
        record(cassette, (request({"Body": "second"}), answer()))
        assert shelf.file().stat().st_size - before < 1500


# --- the disk says no ---


def assert_survives(library: CassetteDirectory, shelf: Shelf, interactions: Sequence[int]) -> RecordingError:
    """Record until the disk says no; what lasted is readable, what is recorded already still answers."""
    cassette = library.open()
    lasted: list[int] = []
    said: RecordingError | None = None
    for number in interactions:
        done = cassette.record(request({"Body": f"{number}"}), answer({"n": number, "fill": "x" * 3000}))
        error = done.exception(timeout=30)
        if isinstance(error, RecordingError):
            said = error
            break
        assert error is None
        lasted.append(number)
    assert said is not None, "the disk never said no"
    assert recorded(shelf.file()) == lasted
    assert layout.scan(shelf.file().read_bytes()).torn == 0
    assert [numbered(cassette, request({"Body": f"{one}"})) for one in lasted] == lasted
    assert cassette.failed == 1
    assert shelf.reported == [str(said)]
    return said


def test_a_full_disk_is_reported_and_the_cassette_stays_whole(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "small", kilobytes=64) as mounted:
        shelf = Shelf(mounted / "cassettes")
        with shelf.library("auto") as library:
            error = assert_survives(library, shelf, range(100))
            assert "No space left on device; free some space" in str(error)
        with shelf.library() as library:
            assert numbered(library.open(), request({"Body": "0"})) == 0


def test_a_disk_that_has_room_again_is_used_again(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "small", kilobytes=64) as mounted:
        ballast = mounted / "ballast"
        ballast.write_bytes(bytes(44 * 1024))
        shelf = Shelf(mounted / "cassettes")
        with shelf.library("auto") as library:
            assert_survives(library, shelf, range(100))
            ballast.unlink()
            record(library.open(), (request({"Body": "after"}), answer(number=100)))
        assert recorded(shelf.file())[-1] == 100


def test_a_file_that_may_not_grow_is_reported(shelf: Shelf) -> None:
    """As a full disk, by a limit of the process: needs no mount."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with shelf.library("auto") as library:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
        try:
            error = assert_survives(library, shelf, range(100))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "File too large; the file has reached the largest size" in str(error)


@pytest.mark.parametrize("mode", ["auto", "online"])
def test_a_full_disk_leaves_no_draft_behind(tmp_path: Path, mode: str) -> None:
    with tmpfs(tmp_path / "small", kilobytes=64) as mounted:
        (mounted / "ballast").write_bytes(bytes(60 * 1024))
        shelf = Shelf(mounted / "cassettes")
        with shelf.library(mode) as library, pytest.raises(RecordingError, match="No space left"):
            record(library.open(), (request(), answer({"fill": "x" * 30_000})))
        assert list(shelf.directory.iterdir()) == []


@pytest.mark.parametrize("mode", ["auto", "online"])
def test_a_read_only_directory_is_reported_and_still_replays(tmp_path: Path, mode: str) -> None:
    shelf = Shelf(tmp_path / "writable")
    shelf.write((request(), answer(number=1)))
    with read_only(shelf.directory, tmp_path / "frozen") as mounted:
        frozen = Shelf(mounted)
        with frozen.library(mode) as library:
            cassette = library.open()
            for _ in range(2):
                with pytest.raises(RecordingError, match="Read-only file system; name a writable directory"):
                    record(cassette, (request({"Body": "new"}), answer(number=2)))
            assert numbered(cassette, request()) == (1 if mode == "auto" else None)
        assert len(frozen.reported) == 1
        with frozen.library() as library:
            assert numbered(library.open(), request()) == 1


def test_a_torn_cassette_in_a_read_only_directory_still_replays(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "writable")
    shelf.write((request(), answer(number=1)))
    with shelf.file().open("ab") as file:
        file.write(b"# ringback")
    with read_only(shelf.directory, tmp_path / "frozen") as mounted:
        frozen = Shelf(mounted)
        with frozen.library("auto") as library:
            assert numbered(library.open(), request()) == 1
    assert "Read-only" in frozen.reported[0]
    assert "passed over" in frozen.reported[1]


@pytest.mark.parametrize("mode", ["auto", "online"])
def test_a_file_in_place_of_the_directory_is_reported(tmp_path: Path, mode: str) -> None:
    (tmp_path / "cassettes").write_text("")
    shelf = Shelf(tmp_path / "cassettes")
    with (
        shelf.library(mode) as library,
        pytest.raises(CassetteError, match="something that is no directory"),
    ):
        record(library.open(), (request(), answer()))


def test_an_unreadable_cassette_is_reported(shelf: Shelf) -> None:
    shelf.file().mkdir(parents=True)
    with shelf.library("auto") as library, pytest.raises(CassetteError, match="a directory stands where"):
        record(library.open(), (request(), answer()))
