"""A real `ringback serve`, in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.clients import Response, Wire, http

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

RINGBACK = (sys.executable, "-m", "ringback")


@dataclass(frozen=True)
class Serving:
    """A proxy that accepts requests.

    Attributes:
        process: Its process.
        ready: What its ready file says.
        log: The file that its stderr goes to.
    """

    process: subprocess.Popen[bytes]
    ready: dict[str, Any]
    log: Path

    @property
    def port(self) -> int:
        return int(self.ready["port"])

    @property
    def url(self) -> str:
        return str(self.ready["proxy"])

    @property
    def ca(self) -> Path:
        return Path(self.ready["ca"])

    def wire(self) -> Wire:
        """A plain connection to the proxy."""
        return Wire(self.port)

    def twilio(self, name: str = "api.twilio.com", alpn: tuple[str, ...] = ()) -> Wire:
        """A verified TLS connection to one of Twilio's hosts, through a tunnel."""
        wire = Wire(self.port)
        return wire.tunnel(f"{name}:443").tls(self.ca, name, alpn)

    def ask(self, data: bytes) -> Response:
        """One exchange with api.twilio.com."""
        with self.twilio() as wire:
            return wire.send(data).response()

    def health(self) -> dict[str, Any]:
        with self.wire() as wire:
            got = wire.send(http("GET", "/ringback/health", host=f"127.0.0.1:{self.port}")).response()
        assert got.status == 200
        found = got.json()
        assert isinstance(found, dict)
        return found

    def stderr(self) -> str:
        return self.log.read_text(encoding="utf-8")


def environment(home: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment without any proxy, CA or setting of ours."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LANG", "TMPDIR") if name in os.environ}
    own = {"HOME": str(home), "RINGBACK_HOME": str(home / "ringback"), "PYTHONUNBUFFERED": "1"}
    return kept | own | dict(more or {})


@contextlib.contextmanager
def serve(
    home: Path, directory: Path, *arguments: str, more: Mapping[str, str] | None = None
) -> Iterator[Serving]:
    """`ringback serve` on a port of the kernel's, from when it accepts requests until the block ends."""
    ready, log = directory / "ready.json", directory / "stderr.txt"
    command = [*RINGBACK, "serve", "--port", "0", "--ready-file", str(ready), *arguments]
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            command, env=environment(home, more), stdout=subprocess.PIPE, stderr=stderr
        )
    try:
        yield Serving(process, wait_ready(process, ready, log), log)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


def wait_ready(process: subprocess.Popen[bytes], ready: Path, log: Path | None = None) -> dict[str, Any]:
    """The ready file's content once it is there; fails with the log if the process ends before."""
    while not ready.exists():
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = process.wait(timeout=0.01)
            if not ready.exists():
                told = log.read_text(encoding="utf-8") if log else ""
                pytest.fail(f"the proxy ended with {code} before it was ready: {told}")
    found = json.loads(ready.read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def ringback(
    home: Path,
    *arguments: str,
    more: Mapping[str, str] | None = None,
    given: bytes | None = None,
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end."""
    done = subprocess.run(
        [*RINGBACK, *arguments],
        env=environment(home, more),
        cwd=cwd,
        capture_output=True,
        input=given if given is not None else b"",
        check=False,
        timeout=60,
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def requesting(form: Sequence[tuple[str, str]] = (), resource: str = "Messages") -> str:
    """A Python program that makes one request by the standard library, through the proxy it is told of."""
    return f"""
import base64, sys, urllib.error, urllib.parse, urllib.request
account = 'AC' + '0' * 32
request = urllib.request.Request(
    'https://api.twilio.com/2010-04-01/Accounts/' + account + '/{resource}.json',
    urllib.parse.urlencode({list(form)!r}).encode(),
    {{'Authorization': 'Basic ' + base64.b64encode((account + ':t').encode()).decode()}},
)
try:
    print(urllib.request.urlopen(request).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home directory with a CA in it."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def serving(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """One offline proxy for every test that leaves no trace in it but counts."""
    with serve(home, tmp_path_factory.mktemp("serving"), "--seed", "1") as running:
        yield running
