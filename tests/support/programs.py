"""mitmproxy's own programs, started with the addon script."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import socket
import ssl
import subprocess
import sys
import termios
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "addons" / "ringback_addon.py"
ANNOUNCE = ROOT / "tests" / "support" / "announce.py"


SID = "AC" + "0123456789abcdef" * 2
API = f"https://api.twilio.com/2010-04-01/Accounts/{SID}"
# program: its options. mitmweb 12 wants a password, mitmweb 11 knows none.
PROGRAMS = {"mitmdump": [], "mitmweb": ["--set", "web_open_browser=false"], "mitmproxy": []}


@dataclass(frozen=True)
class Program:
    """A running program.

    Attributes:
        addresses: Where its proxy listens.
        confdir: Where its CA is.
    """

    addresses: list[tuple[str, int]]
    confdir: Path

    def post(self, resource: str, form: dict[str, str]) -> httpx.Response:
        """One request to the API through the proxy, which must be trusted by its own CA."""
        with self.client() as client:
            return client.post(f"{API}/{resource}.json", data=form)

    def client(self) -> httpx.Client:
        ca = str(self.confdir / "mitmproxy-ca-cert.pem")
        proxy = f"http://127.0.0.1:{self.addresses[0][1]}"
        trusting = ssl.create_default_context(cafile=ca)
        return httpx.Client(proxy=proxy, verify=trusting, trust_env=False, auth=(SID, "a-test-token"))


def command(program: str, confdir: Path, *options: str) -> list[str]:
    entry = f"from mitmproxy.tools.main import {program}; {program}()"
    return [
        *(sys.executable, "-c", entry, "-s", str(SCRIPT), "--listen-port", "0"),
        *("--set", f"confdir={confdir}", *PROGRAMS[program], *options),
    ]


def environment(home: Path, password: str | None = None) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    basis = kept | {"HOME": str(home), "TERM": "xterm", "PYTHONUNBUFFERED": "1"}
    return basis | ({"RINGBACK_PROXY_PASSWORD": password} if password else {})


@contextlib.contextmanager
def running(program: str, directory: Path, *options: str, password: str | None = None) -> Iterator[Program]:
    """The program in a terminal of its own, from when its proxy listens."""
    told, tell = os.pipe()
    terminal, inside = pty.openpty()
    termios.tcsetwinsize(inside, (40, 120))
    confdir = directory / "confdir"
    process = subprocess.Popen(
        command(program, confdir, "-s", str(ANNOUNCE), *options),
        env=environment(directory, password) | {"ANNOUNCE_FD": str(tell)},
        stdin=inside,
        stdout=inside,
        stderr=inside,
        pass_fds=[tell],
        start_new_session=True,
    )
    os.close(tell)
    os.close(inside)
    screen: list[bytes] = []
    reading = threading.Thread(target=_read, args=(terminal, screen))
    reading.start()
    try:
        with os.fdopen(told) as pipe:
            line = pipe.readline()
        assert line, f"{program} did not start: {b''.join(screen).decode(errors='replace')}"
        yield Program([(host, port) for host, port in json.loads(line)], confdir)
    finally:
        process.terminate()
        process.wait(timeout=60)
        reading.join(timeout=60)
        os.close(terminal)


def _read(terminal: int, screen: list[bytes]) -> None:
    """Keep the terminal empty until the program closes it."""
    with contextlib.suppress(OSError):  # a terminal that its program has left gives an error on Linux
        while data := os.read(terminal, 65536):
            screen.append(data)


def free_port() -> int:
    """A free port: mitmweb tells nobody which one the kernel chose for it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
