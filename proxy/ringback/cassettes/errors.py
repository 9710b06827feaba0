"""Errors of cassettes; their messages are written for users.

* `CassetteError`

  * `CassetteNameError` - a name that is no slug
  * `CassetteFormatError` - a file that is no cassette, or damaged; has `path` and `line`
  * `CassetteBusyError` - another process records this cassette afresh
  * `RedactionError` - a redaction that cannot be done, or is not the one of the cassette
  * `CodingError` - a content coding that cannot be opened, so that nobody can look for secrets inside
  * `RecordingError` - the disk said no; the interaction is not in the cassette; has `path` and `errno`

No message quotes a request, an answer or a credential.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_ADVICE: Final = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space or have the quota raised",
    errno.EFBIG: "the file has reached the largest size allowed here (ulimit -f)",
    errno.EROFS: "name a writable directory with --cassettes, or replay with --mode offline",
    errno.EACCES: "make it writable, or name another directory with --cassettes",
    errno.EPERM: "make it writable, or name another directory with --cassettes",
    errno.ENOTDIR: "something that is no directory stands in the way; name another with --cassettes",
    errno.EEXIST: "something that is no directory stands in the way; name another with --cassettes",
    errno.EISDIR: "a directory stands where the cassette should be; name another with --cassette",
}


class CassetteError(Exception):
    """Base of all; its text is meant for people."""


class CassetteNameError(CassetteError):
    """The name is no slug."""


class CassetteFormatError(CassetteError):
    """The file is no cassette, or is damaged.

    Attributes:
        path: The file.
        line: The line where it goes wrong, 1-based.
        detail: What is wrong there.
    """

    def __init__(self, path: Path, line: int, detail: str) -> None:
        super().__init__(f"{path}:{line}: {detail}")
        self.path = path
        self.line = line
        self.detail = detail


class CassetteBusyError(CassetteError):
    """Another process records this cassette afresh."""


class RedactionError(CassetteError):
    """The redaction cannot be done, or is not the one that the cassette was recorded with."""


class CodingError(CassetteError):
    """The content coding cannot be opened."""


class RecordingError(CassetteError):
    """The disk refused: the interaction is not in the cassette, the cassette is as it was.

    Attributes:
        path: The file that could not be written.
        errno: The system's error number, 0 if there is none.
    """

    def __init__(self, path: Path, detail: str, number: int = 0) -> None:
        super().__init__(f"not recorded in {path}: {detail}")
        self.path = path
        self.errno = number


def recording_error(path: Path, error: OSError) -> RecordingError:
    """`error` from writing `path`, with what to do about it."""
    return RecordingError(path, _said(error), error.errno or 0)


def reading_error(path: Path, error: OSError) -> CassetteError:
    """`error` from reading `path`, with what to do about it."""
    return CassetteError(f"{path} cannot be read: {_said(error)}")


def _said(error: OSError) -> str:
    number = error.errno or 0
    said = os.strerror(number) if number else str(error)
    advice = _ADVICE.get(number)
    return f"{said}; {advice}" if advice else said


class UnusableCassetteError(Exception):
    """The cassette that a client named cannot be used; the message says why."""
