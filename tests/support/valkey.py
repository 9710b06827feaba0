"""A Valkey or Redis server of the system on loopback; skips where there is none."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.namespaces import Network


@dataclass
class Server:
    """A server that can be paused, ended and started again, empty.

    Attributes:
        directory: Where it runs, and where its socket is.
        options: Further options.
        tls: Whether it listens by TLS on a port, and not on a Unix socket, which no other test can have.
        port: That port.
        hosts: Where it listens by TCP at 6379 of its host `valkey`, or None.
    """

    program: str
    directory: Path
    options: tuple[str, ...] = ()
    tls: bool = False
    port: int = 0
    hosts: Network | None = None
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        if self.hosts is not None:
            return f"redis://{self.hosts.addresses['valkey']}:6379/0"
        return f"unix://{self.directory}/socket"

    def start(self) -> None:
        for _ in range(10):
            where = ["--port", "0", "--unixsocket", f"{self.directory}/socket"]
            if self.tls:  # another process may take the port before the server does
                self.port = _free_port()
                where = ["--port", "0", "--tls-port", str(self.port), "--bind", "127.0.0.1"]
            command = [self.program, *where, "--save", "", *self.options]
            if self.hosts is not None:
                address = self.hosts.addresses["valkey"]
                where = ["--port", "6379", "--bind", address, "--protected-mode", "no"]
                command = self.hosts.command("valkey", self.program, *where, "--save", "", *self.options)
            self.process = subprocess.Popen(
                command,
                cwd=self.directory,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            if self._listens(self.process):
                return
        raise AssertionError("the server does not start")

    def _listens(self, process: subprocess.Popen[bytes]) -> bool:
        end = time.monotonic() + 60
        tcp = self.tls or self.hosts is not None
        where = (self.hosts.addresses["valkey"], 6379) if self.hosts is not None else ("127.0.0.1", self.port)
        while time.monotonic() < end and process.poll() is None:
            with (
                suppress(OSError),
                self.hosts.inside("valkey") if self.hosts is not None else nullcontext(),
                socket.socket(socket.AF_INET if tcp else socket.AF_UNIX) as sock,
            ):
                sock.connect(where if tcp else f"{self.directory}/socket")
                return process.poll() is None
            time.sleep(0.02)
        return False

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


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def server(
    directory: Path, *options: str, tls: bool = False, hosts: Network | None = None
) -> Iterator[Server]:
    with TemporaryDirectory(prefix="valkey-") as short:  # a socket's path has 107 characters at most
        made = Server(program(), directory if tls else Path(short), options, tls, hosts=hosts)
        made.start()
        try:
            yield made
        finally:
            made.stop()
