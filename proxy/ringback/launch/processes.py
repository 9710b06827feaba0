"""Other processes: those that started this one, those that are left, those that use a directory.

Linux tells by /proc, other systems by `ps`; what a process has in its environment is told by Linux alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

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
