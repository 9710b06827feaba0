"""Launcher of `ringback run --mount-namespace`: SOURCE TARGET ... -- COMMAND [ARGUMENT]...

Runs COMMAND in a mount namespace of its own in which each SOURCE is seen in the place of TARGET. Without a
COMMAND it tries that and ends. Exit code 1: the system does not allow it.
"""

# ruff: noqa: INP001 - a program that is run by its path

from __future__ import annotations

import ctypes
import errno
import os
import signal
import sys
from pathlib import Path

CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000  # <linux/sched.h>
MS_BIND, MS_REC, MS_SLAVE = 4096, 16384, 1 << 19  # <linux/mount.h>


def main(arguments: list[str]) -> int:
    """Make the namespace, then become the command."""
    end = arguments.index("--")
    mounts, command = arguments[:end], arguments[end + 1 :]
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        enter(libc)
        mount(libc, "none", "/", MS_REC | MS_SLAVE)  # nothing of this is seen outside
        for source, target in zip(mounts[::2], mounts[1::2], strict=True):
            mount(libc, source, target, MS_BIND)
    except OSError as error:
        sys.stderr.write(f"{error.strerror or error}\n")
        return 1
    if not command:
        return 0
    for name in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and a command would inherit that
        signal.signal(name, signal.SIG_DFL)
    try:
        os.execvp(command[0], command)  # noqa: S606 - what was asked for
    except OSError as error:
        sys.stderr.write(f"ringback: {command[0]}: cannot be run: {error.strerror}\n")
        return 126


def enter(libc: ctypes.CDLL) -> None:
    """Leave the mount namespace, where only that is refused together with the user namespace."""
    if libc.unshare(CLONE_NEWNS) == 0:
        return
    if ctypes.get_errno() != errno.EPERM:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    user, group = os.geteuid(), os.getegid()
    if libc.unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{user} {user} 1"),
        ("gid_map", f"{group} {group} 1"),
    ):
        Path("/proc/self", name).write_text(text)


def mount(libc: ctypes.CDLL, source: str, target: str, flags: int) -> None:
    """Mount, or say of what the system refuses it."""
    if libc.mount(os.fsencode(source), os.fsencode(target), None, flags, None) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{target}: {os.strerror(number)}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
