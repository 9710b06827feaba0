"""The directory of a launch: the files that its clients read, their lifetime, and their removal.

The proxy that made it holds a lock on a file in it, so that others know whether it runs: unlike a process id
that is never another process's, and the system takes it away however the proxy ends.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ringback import system
from ringback.net import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


_PROC = Path("/proc")
_SET_CHILD_SUBREAPER = 36  # <linux/prctl.h>
_MOST_ANCESTORS = 20


@dataclass(frozen=True)
class Process:
    """A process that runs.

    Attributes:
        pid: Its id.
        parent: Its parent's.
        name: Its program's name.
    """

    pid: int
    parent: int
    name: str


def adopt_orphans() -> bool:
    """Make this process the parent of every descendant that loses its own, as a daemon does by intention.

    Returns:
        Whether this system can: Linux alone.
    """
    if not sys.platform.startswith("linux"):
        return False
    import ctypes  # noqa: PLC0415 - for `run` alone, and when its program starts

    try:
        return bool(ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)
    except (OSError, AttributeError):
        return False


def descendants(pid: int) -> list[Process]:
    """List the processes below `pid` that have not ended, in the order of their ids."""
    everybody = list(_processes())
    found, above = [], {pid}
    while below := [one for one in everybody if one.parent in above]:
        found += below
        above = {one.pid for one in below}
    return sorted(found, key=lambda one: one.pid)


def ancestors() -> Iterator[str]:
    """Yield the names of the programs that this one was started by, the nearest first."""
    pid = os.getppid()
    for _ in range(_MOST_ANCESTORS):
        process = _process(pid)
        if process is None:
            return
        yield process.name
        pid = process.parent


def users(directory: Path) -> bool | None:
    """Report whether a process of this user's has `directory` in its environment; None if unknown.

    What counts is the environment that a program was started with.
    """
    if not (_PROC / "self" / "environ").exists():
        return None
    wanted = os.fsencode(directory)
    for place in _PROC.iterdir():
        # Another user's, or one that has just ended.
        with suppress(OSError):
            if place.name.isdecimal() and wanted in (place / "environ").read_bytes():
                return True
    return False


def _processes() -> Iterator[Process]:
    if not (_PROC / "self" / "stat").exists():
        yield from _from_ps("-ax")
        return
    for place in _PROC.iterdir():
        if place.name.isdecimal() and (process := _from_proc(int(place.name))):
            yield process


def _process(pid: int) -> Process | None:
    if (_PROC / "self" / "stat").exists():
        return _from_proc(pid)
    return next(_from_ps("-p", str(pid)), None)


def _from_ps(*which: str) -> Iterator[Process]:
    command = ["ps", *which, "-o", "pid=,ppid=,stat=,comm="]
    try:
        lister = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, errors="replace")  # noqa: S603 - a fixed program, and numbers
    except OSError:
        return
    listed = lister.communicate()[0]
    for line in listed.splitlines():
        pid, parent, state, name = (*line.split(None, 3), "", "", "")[:4]
        running = pid.isdecimal() and parent.isdecimal() and state[:1] not in "ZX"
        if running and int(pid) != lister.pid:  # `ps` itself is a child of this process
            yield Process(int(pid), int(parent), _plain(name))


def _from_proc(pid: int) -> Process | None:
    try:
        before, _, after = (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")
    except OSError:
        return None
    state, parent, *_ = after.split()
    return None if state in "ZX" else Process(pid, int(parent), _plain(before.partition("(")[2]))


def _plain(name: str) -> str:
    """Strip the place from a program's name, and the mark of a login shell."""
    return name.strip().rpartition("/")[2].removeprefix("-")


OWNER: Final = "owner"  # the file that is locked
KEPT: Final = "kept"  # a shell has variables that name files in here
OUTLIVED: Final = "outlived"  # programs that use it live on
_INNER: Final = "inner"  # how many requests a proxy inside this launch has answered
_WEEK: Final = 7 * 24 * 3600  # seconds

# What some runtime takes for something else in a directory's name: Java (quotes, = and \\, under some locales
# all but ASCII), PHP's ini files (" and $), lists in variables (:).
_UNUSABLE = re.compile(r"""[^ -~]|["'$:=\\]""")


def launch_base(warn: Callable[[str], None]) -> Path:
    """Choose the directory for launch directories: the temporary one, if every runtime can read its name.

    Args:
        warn: Takes a sentence for the person who runs the program, if it is another.
    """
    wanted = tempfile.gettempdir()
    odd = _UNUSABLE.search(wanted)
    others = (place for place in ("/tmp", "/var/tmp") if os.access(place, os.W_OK | os.X_OK))  # noqa: S108 - shared
    other = next(others, None) if odd else None
    if odd is None or other is None:
        return Path(wanted)
    warn(f"TMPDIR {wanted!r} has a {odd[0]!r} that not every runtime can be told: using {other}")
    return Path(other)


def private_temporary() -> Path:
    """Make a temporary directory that only this user can enter, the same one on the next call."""
    shared = Path(tempfile.gettempdir()) / f"ringback-{system.user_id() or 0}"
    try:
        shared.mkdir(mode=0o700, exist_ok=True)
        status = shared.lstat()
    except OSError:
        return Path(tempfile.mkdtemp(prefix="ringback-"))
    closed = system.user_id() is None or not status.st_mode & 0o077
    mine = stat.S_ISDIR(status.st_mode) and system.is_mine(status) and closed
    # Somebody else got there first: an old trick in shared temporary directories.
    return shared if mine else Path(tempfile.mkdtemp(prefix="ringback-"))


def ringback_home() -> Path | None:
    """Return the directory that RINGBACK_HOME names, or None; the home of an unknown user stays a name."""
    named = os.environ.get("RINGBACK_HOME")
    if not named:
        return None
    return Path(os.path.expanduser(named)).absolute()  # noqa: PTH111 - pathlib's raises for an unknown user


def write_file(path: Path, content: bytes) -> Path:
    """Write a file of a launch in one step: with `ringback env`, a program may be reading it already.

    Raises:
        OSError: The file cannot be written.
    """
    if not path.exists() or path.read_bytes() != content:
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, content)
    return path


def keep(directory: Path, mark: str = KEPT) -> None:
    """Note why the proxy's `directory` has to outlive it."""
    with suppress(OSError):
        (directory / mark).touch()


@contextmanager
def launch_directory(base: Path | None = None) -> Iterator[Path]:
    """Make a directory in `base`, else the temporary one, for clients' files; removed unless it is marked.

    A shell that took `ringback env`, or a daemon, starts Node.js and Java by files in there, which do not
    even start without them, and Python, which goes past the proxy without. What is left is removed by a later
    start: when no process has it in its environment, and where a shell took it, whose variables nobody can
    see, not before a week is over.
    """
    base = base or Path(tempfile.gettempdir())
    _remove_left(base)
    directory = Path(tempfile.mkdtemp(prefix="ringback-", dir=base))
    # A web server's workers, of another user, open what their variables name; no secret is in it.
    directory.chmod(0o711)
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
    descriptor = os.open(new, os.O_RDWR | os.O_CREAT | system.OPEN, 0o600)
    system.lock(descriptor)
    with suppress(PermissionError):  # Windows renames no open file: who looks at it earlier finds no owner
        new.rename(directory / OWNER)
    return descriptor


def report_to_outer_launch(environment: Mapping[str, str], answered: int) -> None:
    """Report to the proxy around this one, if there is one, how many requests were answered here."""
    for entry in environment.get("PYTHONPATH", "").split(os.pathsep):
        outer = Path(entry).parent
        if answered and (outer / OWNER).is_file():
            with suppress(OSError):
                (outer / f"{_INNER}-{os.getpid()}").write_text(str(answered))


def answered_in_inner_launches(directory: Path) -> int:
    """Count the requests that were answered by proxies inside the launch of `directory`."""
    return sum(int(file.read_text() or 0) for file in directory.glob(f"{_INNER}-*"))


def _remove_left(base: Path) -> None:
    for directory in base.glob("ringback-*"):
        with suppress(OSError):
            if _is_mine(directory) and _is_left(directory):
                shutil.rmtree(directory, ignore_errors=True)


def _is_mine(directory: Path) -> bool:
    status = directory.lstat()
    return stat.S_ISDIR(status.st_mode) and system.is_mine(status)


def _is_left(directory: Path) -> bool:
    """Report that nobody needs `directory` any more.

    Raises:
        OSError: It is no launch's, or not finished.
    """
    descriptor = os.open(directory / OWNER, os.O_RDONLY | system.OPEN)
    try:
        system.lock(descriptor, wait=False)
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
