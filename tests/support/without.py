"""Runs `ringback` without what macOS or Windows lack: `python without.py macos|windows serve ...`.

The standard library is imported first, because on Linux it needs some of that itself.
"""

from __future__ import annotations

import asyncio
import concurrent.futures.thread
import http.client  # noqa: F401 - see above, as the next ones
import os
import shutil  # noqa: F401
import signal
import socket
import ssl  # noqa: F401
import subprocess  # noqa: F401
import sys
import tempfile  # noqa: F401
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import platformdirs

_ = concurrent.futures.thread
with warnings.catch_warnings(action="ignore"):
    platformdirs.user_runtime_dir()  # its modules for Linux ask for geteuid when they are imported
# In neither: Linux's own.
LINUX = {os: ("splice", "SPLICE_F_MOVE", "SPLICE_F_NONBLOCK"), socket: ("TCP_QUICKACK",)}
MACOS: dict[Any, tuple[str, ...]] = {
    os: ("waitid", "P_ALL", "WNOWAIT"),
    signal: ("sigwaitinfo", "sigtimedwait"),
}
WINDOWS: dict[Any, tuple[str, ...]] = {
    os: (
        "waitid",
        "P_ALL",
        "WNOWAIT",
        "geteuid",
        "getuid",
        "getpgid",
        "getpgrp",
        "tcgetpgrp",
        "pread",
        "O_CLOEXEC",
        "O_DIRECTORY",
    ),
    signal: (
        "SIGHUP",
        "SIGQUIT",
        "SIGCHLD",
        "SIGUSR1",
        "SIGUSR2",
        "SIGKILL",
        "pthread_sigmask",
        "sigwaitinfo",
        "sigtimedwait",
    ),
    socket: ("AF_UNIX",),
}


def take_away(missing: dict[Any, tuple[str, ...]]) -> None:
    """Delete the named attributes of the modules, where they are there."""
    for module, names in missing.items():
        for name in names:
            if hasattr(module, name):
                delattr(module, name)


def pair_by_tcp(*_: object) -> tuple[socket.socket, socket.socket]:
    """A pair of connected sockets, as Windows makes it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        one = socket.create_connection(server.getsockname())
        return one, server.accept()[0]


def refuse(*_: object) -> None:
    """Refuse what asyncio refuses on Windows."""
    raise NotImplementedError


def no_link(*_: object, **__: object) -> None:
    """Refuse a symbolic link as Windows does to users without the right to make one."""
    raise OSError(1314, "A required privilege is not held by the client")


def main(system: str, arguments: list[str]) -> None:
    """Become `ringback` on `system`."""
    from ringback.launch import directory  # noqa: PLC0415 - after the standard library

    take_away(LINUX)
    directory._PROC = Path("/nowhere")
    directory.sys = SimpleNamespace(platform="darwin")  # type: ignore[assignment]
    if system == "macos":
        take_away(MACOS)
    else:
        socket.socketpair = pair_by_tcp  # type: ignore[assignment]
        asyncio.SelectorEventLoop.add_signal_handler = refuse  # type: ignore[assignment]
        Path.symlink_to = no_link  # type: ignore[method-assign]
        sys.modules["fcntl"] = None  # type: ignore[assignment]
        sys.modules["pwd"] = None  # type: ignore[assignment]
        take_away(WINDOWS)
    from ringback.__main__ import main as ringback  # noqa: PLC0415 - after all that

    sys.argv = ["ringback", *arguments]
    ringback()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
