"""`ringback run` as a user calls it: offline, with a home of its own and none of this machine's variables."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

# What is downloaded for tests is kept here from run to run; git ignores it.
CACHE = Path(__file__).parents[1] / ".cache"

SID = "AC" + "0123456789abcdef" * 2
TOKEN = "0" * 32
MAGIC_FROM = "+15005550006"
INVALID_TO = "+15005550001"
TO = "+14105550100"

KEPT = ("PATH", "JAVA_HOME", "GOPROXY", "GOMODCACHE", "GOCACHE")


@dataclass(frozen=True)
class Product:
    """Runs commands under `ringback run`, with the CA in `home`."""

    home: Path

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        credentials = {"TWILIO_ACCOUNT_SID": SID, "TWILIO_AUTH_TOKEN": TOKEN}
        return (
            kept
            | credentials
            | {"HOME": str(Path.home()), "RINGBACK_HOME": str(self.home)}
            | dict(more or {})
        )

    def run(
        self,
        command: Sequence[str | Path],
        *,
        cwd: Path | None = None,
        more: Mapping[str, str] | None = None,
        options: Sequence[str] = (),
    ) -> subprocess.CompletedProcess[str]:
        started = [sys.executable, "-m", "ringback", "run", *options, "--", *command]
        return finished(started, self.environment(more), cwd)


def finished(
    command: Sequence[str | Path], environment: Mapping[str, str], cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """A program that has run to its end, with nobody at its keyboard."""
    return subprocess.run(
        list(map(str, command)),
        env=environment,
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=280,
    )


@contextlib.contextmanager
def alone_in(place: Path) -> Iterator[Path]:
    """Make a directory of the cache and keep other test processes out: who comes second finds it filled."""
    place.mkdir(parents=True, exist_ok=True)
    with (place / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield place


@pytest.fixture(scope="session")
def product(tmp_path_factory: pytest.TempPathFactory) -> Product:
    return Product(tmp_path_factory.mktemp("ringback-home"))
