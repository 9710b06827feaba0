"""A Valkey or Redis server of the system on loopback; skips where there is none."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass
class Server:
    """A server that can be paused, ended and started again, empty.

    Attributes:
        url: Its address.
    """

    program: str
    directory: Path
    port: int
    options: tuple[str, ...] = ()
    tls: bool = False
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        ports = ["--port", "0", "--tls-port", str(self.port)] if self.tls else ["--port", str(self.port)]
        command = [self.program, *ports, "--bind", "127.0.0.1", "--save", "", *self.options]
        self.process = subprocess.Popen(
            command, cwd=self.directory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        end = time.monotonic() + 60
        while time.monotonic() < end:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            assert self.process.poll() is None, "the server ended at its start"
            time.sleep(0.02)
        raise AssertionError("the server does not listen")

    def pause(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()
            self.process = None


def program() -> str:
    """Return the server's program; skips without it, and without its client."""
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        pytest.skip("there is no valkey-server and no redis-server")
    pytest.importorskip("redis", reason="the extra `fleet` is not installed")
    return found


@contextmanager
def server(directory: Path, *options: str, tls: bool = False) -> Iterator[Server]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    made = Server(program(), directory, port, options, tls)
    made.start()
    try:
        yield made
    finally:
        made.stop()
