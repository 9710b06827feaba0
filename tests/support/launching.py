"""Fixtures to start real clients with what `ringback.launch` prepares, against canned answers."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ringback.launch.ca import Authority, ensure_authority
from ringback.launch.environment import Launch, Proxy, prepare
from support.product import finished

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

CANNED = Path(__file__).with_name("canned.py")
MITMDUMP = "from mitmproxy.tools.main import mitmdump; mitmdump()"

# What a child gets of this machine: nothing that names a CA or a proxy.
PLAIN = ("PATH", "LANG", "USER", "JAVA_HOME", "GOPROXY", "GOMODCACHE")


@dataclass(frozen=True)
class CannedProxy:
    port: int
    socks_port: int
    log: Path

    def requests(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []


@contextlib.contextmanager
def canned_proxy(authority: Authority, directory: Path) -> Iterator[CannedProxy]:
    log = directory / "requests.jsonl"
    command = [sys.executable, "-c", MITMDUMP, "--quiet", "-s", str(CANNED)]
    for option in (f"confdir={authority.directory}", "connection_strategy=lazy"):
        command += ["--set", option]
    # mitmproxy refuses two listeners at port 0 of one address; the same address by another name will do.
    command += ["--mode", "regular@127.0.0.1:0", "--mode", "socks5@127.1:0"]
    environment = {"PATH": os.environ["PATH"], "CANNED_LOG": str(log)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            line = process.stdout.readline()
            assert line, "mitmdump did not start"
            ports = json.loads(line)
            yield CannedProxy(ports["regular"], ports["socks5"], log)
        finally:
            process.terminate()


@dataclass(frozen=True)
class Launched:
    """A launch's environment, and the proxy that it points at."""

    proxy: CannedProxy
    launch: Launch
    seen_before: int

    def run(
        self, command: Sequence[str | Path], *, cwd: Path | None = None, more: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return finished(command, self.launch.environment | dict(more or {}), cwd)

    def requests(self) -> list[dict[str, object]]:
        return self.proxy.requests()[self.seen_before :]


@dataclass(frozen=True)
class Launcher:
    authority: Authority
    proxy: CannedProxy
    directory: Path

    def __call__(
        self,
        parent: Mapping[str, str] | None = None,
        *,
        user: str | None = None,
        directory: Path | None = None,
    ) -> Launched:
        """Prepare a launch on top of an environment with PATH, HOME and nothing else, and `parent`."""
        directory = directory or Path(tempfile.mkdtemp(prefix="launch-", dir=self.directory))
        basis = {name: os.environ[name] for name in PLAIN if name in os.environ}
        proxy = Proxy("127.0.0.1", self.proxy.port, user, socks_port=self.proxy.socks_port)
        launch = prepare(
            proxy, self.authority, basis | {"HOME": str(Path.home())} | dict(parent or {}), directory
        )
        return Launched(self.proxy, launch, len(self.proxy.requests()))


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return ensure_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def proxy(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CannedProxy]:
    with canned_proxy(authority, tmp_path_factory.mktemp("proxy")) as running:
        yield running


@pytest.fixture
def launcher(authority: Authority, proxy: CannedProxy, tmp_path: Path) -> Launcher:
    return Launcher(authority, proxy, tmp_path)


def needs(program: str) -> str:
    """The path of `program`, or a skip that names it."""
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed here")
    return found
