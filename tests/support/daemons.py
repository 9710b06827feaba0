"""A daemon as daemons are: in a session of its own, its starter gone, every descriptor closed. Linux only."""

from __future__ import annotations

import json
import os
import select
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

_PROGRAM = """
import json, os, subprocess, sys
orders, answers = sys.argv[1:]
read, write = os.pipe()
if os.fork():
    os.close(write)
    os.read(read, 1)  # until the daemon has closed everything
    os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
os.closerange(0, 256)
for _ in range(3):
    os.open(os.devnull, os.O_RDWR)
with open(orders) as file:
    for order in file:
        if order.strip():
            code = [sys.executable, "-c", json.loads(order)]
            done = subprocess.run(code, capture_output=True, text=True)
        else:
            done = None
        with open(answers, "w") as answer:
            answer.write(done.stdout + done.stderr if done else str(os.getpid()))
"""


@dataclass(frozen=True)
class Daemon:
    """Runs Python programs, each in a process of its own, until its orders end."""

    orders: Path
    answers: Path

    @classmethod
    def of(cls, directory: Path) -> Daemon:
        if not hasattr(os, "pidfd_open"):
            pytest.skip("this system tells nobody of a daemon's end")
        daemon = cls(directory / "orders", directory / "answers")
        os.mkfifo(daemon.orders)
        os.mkfifo(daemon.answers)
        return daemon

    @property
    def command(self) -> list[str]:
        """Command that starts it, and ends at once."""
        return [sys.executable, "-c", _PROGRAM, str(self.orders), str(self.answers)]

    def talk(self) -> Talk:
        """Wait for it to listen."""
        return Talk(self)


class Talk:
    """From the first word to the daemon until it has ended."""

    def __init__(self, daemon: Daemon) -> None:
        self._answers = daemon.answers
        self._orders = daemon.orders.open("w")
        self.pid = int(self._ask(""))

    def run(self, program: str) -> str:
        """Return the program's output."""
        return self._ask(json.dumps(program))

    def end(self) -> None:
        process = os.pidfd_open(self.pid)
        self._orders.close()
        select.select([process], [], [])
        os.close(process)

    def _ask(self, line: str) -> str:
        self._orders.write(line + "\n")
        self._orders.flush()
        return self._answers.read_text()
