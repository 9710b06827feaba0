"""Files of cassettes: names, which are slugs so that none reaches outside the directory, and errors.

* `CassetteError`

  * `CassetteNameError` - a name that is no slug
  * `CassetteFormatError` - a file that is no cassette, or damaged; has `path` and `line`
  * `CassetteBusyError` - another process records this cassette afresh
  * `RedactionError` - a redaction that cannot be done, or is not the one of the cassette
  * `CodingError` - a content coding that cannot be opened, so that nobody can look for secrets inside
  * `RecordingError` - the disk refuses; the interaction is not in the cassette; has `path` and `errno`

The errors' messages are written for users, and quote no request, answer or credential.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ringback.net import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

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
    reason = os.strerror(number) if number else str(error)
    advice = _ADVICE.get(number)
    return f"{reason}; {advice}" if advice else reason


class UnusableCassetteError(Exception):
    """The cassette that a client named cannot be used; the message says why."""


DEFAULT_NAME: Final = "default"
SUFFIX: Final = ".yaml"
NEW_SUFFIX: Final = ".new"  # a recording that is not finished, or was interrupted
DRAFT: Final = re.compile(r"\..+\.tmp")
_OWN: Final = re.compile(r".+\.(?:new|tmp|(?:torn|damaged)-\d+)")  # left beside cassettes
READ_SUFFIXES: Final = (".yaml", ".yml", ".json")  # in this order; vcrpy writes all three, we write the first
_LONGEST: Final = 100
_SLUG: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_DEVICE: Final = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?", re.IGNORECASE)


def check_name(name: str) -> str:
    """`name`, if it can name a cassette.

    Raises:
        CassetteNameError: It is no slug; the text says which rule it breaks.
    """
    if not name:
        raise CassetteNameError("a cassette needs a name, such as 'default'")
    shown = ascii(name[:40]) + ("..." if len(name) > 40 else "")
    if len(name) > _LONGEST:
        raise CassetteNameError(
            f"the cassette name {shown} has {len(name)} characters, {_LONGEST} are allowed"
        )
    if not _SLUG.fullmatch(name):
        raise CassetteNameError(
            f"{shown} cannot name a cassette: use letters, digits, '.', '_' and '-', "
            "beginning with a letter or digit"
        )
    if _DEVICE.fullmatch(name):
        raise CassetteNameError(f"{shown} names a device on Windows, where no file can have that name")
    if name.lower().endswith(READ_SUFFIXES):
        raise CassetteNameError(f"{shown} is a file name: leave out the ending")
    return name


def is_name(name: str) -> bool:
    """Report whether `name` can name a cassette; the one test, by `check_name`."""
    try:
        check_name(name)
    except CassetteNameError:
        return False
    return True


def cassette_path(directory: Path, name: str) -> Path:
    """Return the path to which the cassette `name` is written."""
    return directory / f"{check_name(name)}{SUFFIX}"


def existing_path(directory: Path, name: str) -> Path:
    """Return the path to read `name` from: the first of `READ_SUFFIXES` that exists, else `.yaml`."""
    path = cassette_path(directory, name)
    return next(iter(cassette_files(directory, name)), path)


def used_instead(path: Path) -> Path | None:
    """The file that the cassette with the name of `path` is read from, if that is another one."""
    if path.suffix not in READ_SUFFIXES:
        return None
    earlier = READ_SUFFIXES[: READ_SUFFIXES.index(path.suffix)]
    return next((other for suffix in earlier if (other := path.with_suffix(suffix)).is_file()), None)


def cassette_files(directory: Path, name: str) -> list[Path]:
    """All files with the name of the cassette `name`; the first is the one that is read."""
    paths = (directory / f"{name}{suffix}" for suffix in READ_SUFFIXES)
    return [path for path in paths if path.is_file()]


def check_free(directory: Path, name: str) -> None:
    """Raise CassetteError if `directory` has a cassette `name`, whatever its ending."""
    for path in cassette_files(directory, name):
        raise CassetteError(
            f"{path} exists: name another cassette with --to, and join both with `ringback cassettes merge`"
        )


def free_path(directory: Path, name: str, why: str) -> Path:
    """A path for a cassette of its own beside `name`, such as `name-interrupted-1.yaml`, that is free."""
    number = 1
    while (path := directory / f"{name}-{why}-{number}{SUFFIX}").exists():
        number += 1
    return path


def read_whole(path: Path) -> bytes:
    """Return the bytes of the file at `path`.

    Raises:
        CassetteError: It is no regular file: a pipe or a device would be waited for, or never end.
        OSError: It cannot be read.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise CassetteError(f"{path} cannot be read: it is no regular file")
    return path.read_bytes()


NO_ENDING: Final = "no ending .yaml, .yml or .json; name it to have it looked at"


def cassettes_below(directory: Path) -> list[Path]:
    """Return the files below `directory` that may be cassettes, by their endings; sorted."""
    return sorted(path for path in directory.rglob("*") if path.suffix in READ_SUFFIXES and path.is_file())


def others_below(directory: Path) -> list[tuple[Path, str]]:
    """Return what nobody looks at below `directory`, each with the reason; hidden files are left out."""
    found: list[tuple[Path, str]] = []
    for path in sorted(directory.rglob("*")):
        if path.name.startswith(".") or _OWN.fullmatch(path.name):
            continue
        if path.is_dir():
            if path.is_symlink():
                found.append((path, "a link to a directory"))
            elif not os.access(path, os.R_OK | os.X_OK):
                found.append((path, "a directory that cannot be read"))
        elif not path.is_file():
            found.append((path, "no regular file" if path.exists() else "a link that leads nowhere"))
        elif path.suffix not in READ_SUFFIXES:
            found.append((path, NO_ENDING))
    return found


def leftovers_below(directory: Path) -> list[Path]:
    """Return what interrupted recordings have left below `directory`; sorted."""
    return sorted(
        path
        for path in directory.rglob("*")
        if (path.name.endswith(NEW_SUFFIX) or DRAFT.fullmatch(path.name)) and path.is_file()
    )


def rewritten_path(path: Path) -> Path:
    """Return the path to which the cassette at `path` is written again."""
    return path.with_suffix(SUFFIX) if path.suffix in READ_SUFFIXES else path


HOME_VARIABLE: Final = "RINGBACK_HOME"


def _usage_path(path: Path, environ: Mapping[str, str]) -> Path:
    import platformdirs  # noqa: PLC0415 - only at the end of a run, and for `prune`

    home = environ.get(HOME_VARIABLE)
    directory = Path(home) if home else platformdirs.user_state_path("ringback")
    digest = hashlib.blake2b(str(path.resolve()).encode("utf-8", "surrogateescape"), digest_size=12)
    return directory / "usage" / f"{digest.hexdigest()}.json"


def save_usage(path: Path, unused: Iterable[int], environ: Mapping[str, str]) -> None:
    """Note for `prune` which interactions, from 1, of the cassette at `path` a run has not used."""
    with suppress(OSError):  # only `prune` misses it
        status = path.stat()
        noted = {"size": status.st_size, "time": status.st_mtime_ns, "unused": list(unused)}
        file = _usage_path(path, environ)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, json.dumps(noted).encode())


def load_usage(path: Path, environ: Mapping[str, str]) -> frozenset[int]:
    """Return the interactions of the cassette at `path`, from 1, that the last run has not used.

    Raises:
        CassetteError: No run is known, or the cassette was changed since.
    """
    status = path.stat()
    try:
        noted = json.loads(_usage_path(path, environ).read_text())
        if (noted["size"], noted["time"]) != (status.st_size, status.st_mtime_ns):
            raise CassetteError(f"{path} was changed since the last run that used it: run your tests again")
        return frozenset(int(number) for number in noted["unused"])
    except (OSError, ValueError, KeyError, TypeError):
        raise CassetteError(f"no run is known that used {path}: run your tests with it first") from None


def cassette_names(directory: Path) -> tuple[str, ...]:
    """The names of all cassettes in `directory`, sorted; none if there is no such directory."""
    if not directory.is_dir():
        return ()
    found = {
        path.stem
        for path in directory.iterdir()
        if path.suffix in READ_SUFFIXES and _SLUG.fullmatch(path.stem) and path.is_file()
    }
    return tuple(sorted(found))
