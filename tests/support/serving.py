"""A `ringback serve` of the tests' own."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ringback.launch.environment import ReadyFile, read_ready_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


@dataclass(frozen=True)
class Serving:
    ready_file: Path
    state: ReadyFile


@contextlib.contextmanager
def serving(directory: Path, environment: Mapping[str, str], *more: str) -> Iterator[Serving]:
    ready = directory / "ready.json"
    command = [sys.executable, "-m", "ringback", "serve", "--ready-file", str(ready), *more]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        try:
            # It announces itself after the file is there.
            for line in process.stderr:
                if "listening on" in line:
                    break
            yield Serving(ready, read_ready_file(ready))
        finally:
            process.terminate()
            process.stderr.read()
