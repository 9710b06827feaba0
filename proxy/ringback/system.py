"""Facts of the operating system that Linux has and macOS or Windows may lack, each with its fallback.

* `fcntl.flock`: Windows locks one byte far behind the end of the file, by `msvcrt`. Where there is neither,
  nothing is locked, and two processes must not record into one cassette.
* `O_CLOEXEC`, `O_DIRECTORY`: nothing is set; a new name in a directory is not synced by itself.
* `os.pread`: seek and read, so one thread at a time uses a descriptor.
* `os.geteuid`: files have no owner here; who owns a directory, and its mode, is not looked at.
* `SIGHUP`, `loop.add_signal_handler`: the signals that there are, by `signal.signal`.
* `os.kill(pid, 0)`: a process is taken to run; on Windows this call would interrupt it.
* `os.waitid` (macOS before Python 3.13): the list of processes is looked at.
* Symbolic links (Windows): a copy.
* `SIGCHLD`, `os.getpgid`, `pthread_sigmask`: `ringback run` ends with a sentence, `RUN_NEEDS`.

`known_holes` is about the installed packages: a Python may get none that are newer.

The tests take these away and run the commands (`tests/test_system.py`). Linux's `/proc` and `prctl` are in
`launch/directory.py`, `splice` is in `server/tunnel.py`; both do without.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable
    from pathlib import Path
    from types import FrameType, ModuleType

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:
    fcntl = None
msvcrt: ModuleType | None
try:
    import msvcrt
except ImportError:
    msvcrt = None

_MITMWEB_MENDED: Final = (11, 1, 2)  # its API asks for a token from then on
_H11_MENDED: Final = (0, 16)  # it looks at the two bytes after a chunk from then on
OPEN: Final = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)  # for every `os.open`
_LOCKED_BYTE: Final = 2**31 - 2  # behind the end of every cassette; msvcrt's locks keep readers out
_POLL_SECONDS: Final = 0.05
_RUN_NEEDS: Final = (
    (signal, "SIGCHLD"),
    (signal, "SIGHUP"),
    (signal, "pthread_sigmask"),
    (os, "getpgid"),
    (os, "WNOHANG"),
)
RUN_NEEDS: Final = (
    "`ringback run` needs Linux or macOS, for how it starts and ends programs: use it in WSL 2, or start "
    "`ringback serve` here and set the variables of your language (docs/clients.md)"
)


def lock(handle: int, *, shared: bool = False, wait: bool = True) -> None:
    """Lock the file of a descriptor, until it is closed or `unlock` is called.

    Args:
        handle: The descriptor.
        shared: Let other readers in; writers wait.
        wait: Wait for another process's lock.

    Raises:
        BlockingIOError: Another process has it, and `wait` is False.
        OSError: The file system has no locks.
    """
    if fcntl is not None:
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        fcntl.flock(handle, kind if wait else kind | fcntl.LOCK_NB)
        return
    if msvcrt is None:
        return
    while not _lock_byte(handle, msvcrt.LK_NBLCK):
        if not wait:
            raise BlockingIOError("another process has the lock")
        time.sleep(_POLL_SECONDS)


def unlock(handle: int) -> None:
    """Give the lock of a descriptor back."""
    if fcntl is not None:
        fcntl.flock(handle, fcntl.LOCK_UN)
    elif msvcrt is not None:
        _lock_byte(handle, msvcrt.LK_UNLCK)


def _lock_byte(handle: int, mode: int) -> bool:
    place = os.lseek(handle, 0, os.SEEK_CUR)
    try:
        os.lseek(handle, _LOCKED_BYTE, os.SEEK_SET)
        assert msvcrt is not None
        msvcrt.locking(handle, mode, 1)
    except OSError:
        return False
    finally:
        os.lseek(handle, place, os.SEEK_SET)
    return True


def sync_directory(directory: Path) -> None:
    """Make a new name in `directory` last.

    Raises:
        OSError: The disk refuses.
    """
    flag = getattr(os, "O_DIRECTORY", None)
    if flag is None:
        return
    handle = os.open(directory, os.O_RDONLY | flag | OPEN)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def pread(handle: int, size: int, offset: int) -> bytes:
    """Read up to `size` bytes at `offset`, wherever the descriptor is.

    Raises:
        OSError: They cannot be read.
    """
    if hasattr(os, "pread"):
        return os.pread(handle, size, offset)
    os.lseek(handle, offset, os.SEEK_SET)
    return os.read(handle, size)


def user_id() -> int | None:
    """Return this user's number, or None where users have none."""
    return os.geteuid() if hasattr(os, "geteuid") else None


def is_mine(status: os.stat_result) -> bool:
    """Report whether a file is this user's; True where files have no owner."""
    return user_id() in {None, status.st_uid}


def is_trusted(status: os.stat_result) -> bool:
    """Report whether a file is this user's or root's; True where files have no owner."""
    return is_mine(status) or status.st_uid == 0


def point(link: Path, name: str) -> None:
    """Let `link` lead to its neighbour `name`, in one step where there are symbolic links.

    Raises:
        OSError: It cannot be written.
    """
    draft = link.with_name(f".{name}")
    try:
        draft.symlink_to(name)
    except (OSError, NotImplementedError):
        import shutil  # noqa: PLC0415 - where a user of Windows may not make symbolic links

        shutil.copytree(link.with_name(name), draft)
        shutil.rmtree(link, ignore_errors=True)
    draft.replace(link)


def signals(*names: str) -> tuple[signal.Signals, ...]:
    """Return those of the named signals that this system has."""
    return tuple(signal.Signals(getattr(signal, name)) for name in names if hasattr(signal, name))


def on_signals(
    loop: asyncio.AbstractEventLoop, numbers: Iterable[signal.Signals], called: Callable[[], object]
) -> None:
    """Call a function in the event loop when one of the signals comes."""

    def handle(_number: int, _frame: FrameType | None) -> None:
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(called)

    for number in numbers:
        try:
            loop.add_signal_handler(number, called)
        except NotImplementedError:
            signal.signal(number, handle)


def is_running(pid: int) -> bool:
    """Report whether a process runs, as far as the system tells."""
    if sys.platform == "win32" or not hasattr(os, "getpgid"):
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def has_children() -> bool:
    """Report whether this process has children; True where that is not told without looking at each."""
    if not hasattr(os, "waitid"):
        return True
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def can_run_programs() -> bool:
    """Report whether this system has what `ringback run` needs."""
    return all(hasattr(place, name) for place, name in _RUN_NEEDS)


def known_holes(*, web: bool) -> list[str]:
    """Return a sentence for each known hole in what mitmproxy's programs use of this installation.

    Args:
        web: Whether mitmweb's pages are served, too.
    """
    from importlib.metadata import version  # noqa: PLC0415 - slow to import, and not for the own server

    mitmproxy, h11 = version("mitmproxy"), version("h11")
    newer = "Python 3.12 or newer gets a newer one"
    found = []
    if web and _numbers(mitmproxy) < _MITMWEB_MENDED:
        found.append(
            f"do not use mitmweb of mitmproxy {mitmproxy}: its web interface has a known hole "
            f"(CVE-2025-23217). {newer}; mitmdump and Ringback's own server are not affected"
        )
    if _numbers(h11) < _H11_MENDED:
        found.append(
            f"mitmproxy's programs read chunked bodies by h11 {h11}, which does not look at the ends of "
            f"chunks (CVE-2025-43859): let no other proxy stand before them. {newer}; Ringback's own server "
            "is not affected"
        )
    return found


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])
