"""What people are reported when something is wrong with a cassette."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from ringback.cassettes.files import (
    CassetteError,
    CassetteFormatError,
    RecordingError,
    reading_error,
    recording_error,
)
from support.exchanges import Shelf, answer, request

FILE = Path("shelf") / "mine.yaml"


@pytest.mark.parametrize(
    "number, advice",
    [
        (errno.ENOSPC, "No space left on device; free some space"),
        (errno.EROFS, "Read-only file system; name a writable directory with --cassettes"),
        (errno.EACCES, "Permission denied; make it writable"),
        (errno.EISDIR, "Is a directory; a directory stands where the cassette should be"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_the_disk_s_refusal_says_what_to_do(number: int, advice: str) -> None:
    said = recording_error(FILE, OSError(number, "x"))
    assert str(said).startswith(f"not recorded in {FILE}: {advice}")
    assert (said.path, said.errno) == (FILE, number)
    assert str(reading_error(FILE, OSError(number, "x"))).startswith(f"{FILE} cannot be read: {advice}")


def test_a_refusal_without_a_number_keeps_its_words() -> None:
    said = recording_error(FILE, OSError("the pipe is gone"))
    assert (str(said), said.errno) == (f"not recorded in {FILE}: the pipe is gone", 0)


def test_a_damaged_file_is_named_with_the_line() -> None:
    error = CassetteFormatError(FILE, 7, "no mapping")
    assert str(error) == f"{FILE}:7: no mapping"
    assert (error.path, error.line, error.detail) == (FILE, 7, "no mapping")


def test_everything_that_can_go_wrong_is_one_kind() -> None:
    for kind in (CassetteFormatError, RecordingError):
        assert issubclass(kind, CassetteError)


def test_a_file_in_the_directory_s_place_is_reported_by_who_opens_a_cassette(shelf: Shelf) -> None:
    shelf.directory.write_text("a file stands in the way")
    with (
        shelf.library("auto") as library,
        pytest.raises(CassetteError, match="name another with --cassettes"),
    ):
        library.open()


def test_a_file_in_the_directory_s_place_is_reported_by_who_records_afresh(shelf: Shelf) -> None:
    shelf.directory.write_text("a file stands in the way")
    with shelf.library("online") as library:
        waiting = library.open().record(request(), answer())
        with pytest.raises(RecordingError, match="name another with --cassettes"):
            waiting.result(timeout=30)
