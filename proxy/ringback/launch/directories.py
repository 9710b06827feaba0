"""A launch's directory: how long what clients read from it stays, and who cleans up after whom.

The proxy that made it holds a lock on a file in it, so that others know whether it runs: unlike a process id
that is never another process's, and the system takes it away however the proxy ends.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ringback.launch.processes import users

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

OWNER: Final = "owner"  # the file that is locked
KEPT: Final = "kept"  # a shell has variables that name files in here
OUTLIVED: Final = "outlived"  # programs that use it live on
_INNER: Final = "inner"  # how many requests a proxy inside this launch has answered
_WEEK: Final = 7 * 24 * 3600  # seconds


def keep(directory: Path, mark: str = KEPT) -> None:
    """Note why the proxy's `directory` has to outlive it."""
    with suppress(OSError):
        (directory / mark).touch()


@contextmanager
def launch_directory(base: Path | None = None) -> Iterator[Path]:
    """A directory in `base`, else the temporary one, for what clients read; removed unless it is marked.

    A shell that took `ringback env`, or a daemon, starts Node.js and Java by files in there, which do not
    even start without them, and Python, which goes past the proxy without. What is left is removed by a later
    start: when no process has it in its environment, and where a shell took it, whose variables nobody can
    see, not before a week is over.
    """
    base = base or Path(tempfile.gettempdir())
    _remove_left(base)
    directory = Path(tempfile.mkdtemp(prefix="ringback-", dir=base))
    descriptor = _own(directory)
    try:
        yield directory
    finally:
        if not any((directory / mark).exists() for mark in (KEPT, OUTLIVED)):
            shutil.rmtree(directory, ignore_errors=True)
        os.close(descriptor)


def _own(directory: Path) -> int:
    """Lock the owner's file; nobody sees it before that."""
    new = directory / f".{OWNER}"
    descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    new.rename(directory / OWNER)
    return descriptor


def tell_outer(environment: Mapping[str, str], answered: int) -> None:
    """Let the proxy around this one, if there is one, know that its programs' requests were answered here."""
    for entry in environment.get("PYTHONPATH", "").split(os.pathsep):
        outer = Path(entry).parent
        if answered and (outer / OWNER).is_file():
            with suppress(OSError):
                (outer / f"{_INNER}-{os.getpid()}").write_text(str(answered))


def told_by_inner(directory: Path) -> int:
    """How many requests were answered by proxies inside the launch of `directory`."""
    return sum(int(file.read_text() or 0) for file in directory.glob(f"{_INNER}-*"))


def _remove_left(base: Path) -> None:
    for directory in base.glob("ringback-*"):
        with suppress(OSError):
            if _is_mine(directory) and _is_left(directory):
                shutil.rmtree(directory, ignore_errors=True)


def _is_mine(directory: Path) -> bool:
    status = directory.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()


def _is_left(directory: Path) -> bool:
    """Whether nobody needs `directory` any more.

    Raises:
        OSError: It is no launch's, or not finished.
    """
    descriptor = os.open(directory / OWNER, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    mark = directory / KEPT
    kept = mark.exists()
    old = time.time() - (mark if kept else directory / OWNER).stat().st_mtime > _WEEK
    if kept and not old:  # without looking at every process there is
        return False
    used = users(directory)
    return old if used is None else not used
