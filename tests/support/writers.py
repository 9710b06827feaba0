"""Processes that record, to be killed: this module is also the program that they run."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

from ringback.cassettes import vcr_format
from ringback.cassettes.cassette import CassetteDirectory
from ringback.cassettes.layout import scan
from support.exchanges import Shelf, answer, request

ROOT = Path(__file__).parents[2]


def start(
    shelf: Shelf, *, mode: str = "auto", name: str = "default", first: int = 0, at_once: int = 8
) -> subprocess.Popen[str]:
    paths = os.pathsep.join((str(ROOT / "proxy"), str(ROOT / "tests")))
    arguments = [sys.executable, __file__, str(shelf.directory), mode, name, str(first), str(at_once)]
    process = subprocess.Popen(
        arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": paths, "RINGBACK_REDACT_KEY": "x" * 20},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def kill_after(process: subprocess.Popen[str], lines: int) -> list[int]:
    """Kill -9 once `lines` exchanges were acknowledged; returns all that were."""
    assert process.stdout is not None
    got = [int(process.stdout.readline()) for _ in range(lines)]
    process.kill()
    rest, reported = process.communicate(timeout=60)
    assert "Traceback" not in reported
    return got + [int(line) for line in rest.split("\n")[:-1]]


def recorded(path: Path) -> list[int]:
    """The numbers of all whole exchanges in the file at `path`."""
    data = path.read_bytes()
    index = scan(data)
    return [
        json.loads(vcr_format.parse(data[start : start + size]).answer.body)["n"]
        for start, size in zip(index.starts, index.sizes, strict=True)
    ]


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def complain(line: str) -> None:
    sys.stderr.write(f"{line}\n")


async def run(directory: str, mode: str, name: str, first: int, at_once: int) -> None:
    library = CassetteDirectory(Path(directory), mode=mode, report=complain)  # type: ignore[arg-type]  # a str
    cassette = library.open(name)
    numbers = iter(range(first, first + 1_000_000))
    say("ready")

    async def client() -> None:
        for number in numbers:
            exchange = request({"Body": f"{number} " + "x" * (number % 700)}), answer(number=number)
            await asyncio.wrap_future(cassette.record(*exchange))
            say(str(number))

    await asyncio.gather(*(client() for _ in range(at_once)))


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])))
