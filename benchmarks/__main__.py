"""One command for every figure: `python -m benchmarks`.

    python -m benchmarks --quick               bare mitmdump and Ringback, seconds
    python -m benchmarks                       all measures but those below, ten minutes or more
    python -m benchmarks --only recording      one measure; may be given several times
    python -m benchmarks --only protocols      a Go program, with HTTP/2 and without (needs go)
    python -m benchmarks --only memory         memory after a million answers
    python -m benchmarks --only install        from nothing to the first answer (needs package registries)
    python -m benchmarks --peers               mockttp and talkback as well (npm fetches them)
    python -m benchmarks.cassettes             the cost of a cassette by its size, beside vcrpy

The tables go to stdout, the same as JSON to benchmarks.json (`--json`). Subjects take turns, each in a fresh
process on one core; the load comes from the other one. `±` is half of the spread between rounds. Processor
time for each answer is the subject's own, so that it holds on a machine that others use.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import install, measures, report
from benchmarks.measures import Plan
from benchmarks.subjects import (
    BARE,
    DURABLE,
    IN_MITMDUMP,
    PEER_SUBJECTS,
    PEERS,
    RINGBACK,
    SUBJECTS,
    Subject,
    Workplace,
)
from benchmarks.targets import targets_table
from ringback.cli.output import ProgressStep, progress

if TYPE_CHECKING:
    from collections.abc import Callable

CONNECTIONS = (1, 8, 32, 128, 256)
BODIES = (40, 1_000, 10_000, 100_000)
CASSETTES = (10, 1_000, 100_000)
NUMBERS = (1, 100, 1_000)
MILLION = 1_000_000
GIGABYTE = 1_000_000_000


@dataclass(frozen=True)
class Bench:
    """Settings of one call of the command.

    Attributes:
        place: The directory with what the subjects need.
        plan: How much is measured.
        subjects: The proxies and servers that are compared.
        quick: Whether each measure is cut to seconds.
    """

    place: Workplace
    plan: Plan
    subjects: tuple[Subject, ...]
    quick: bool

    @property
    def few(self) -> Plan:
        """Half of the rounds, for curves."""
        return replace(self.plan, rounds=max(1, self.plan.rounds // 2))


Found = tuple[Any, list[str]]  # what goes into the JSON file, and the table's lines


def _rates(bench: Bench) -> Found:
    table = measures.rates(bench.subjects, bench.place, bench.plan, _say)
    return _plain(table), report.rates_table(table, BARE.name)


def _start(bench: Bench) -> Found:
    table = measures.starts(bench.subjects, bench.place, bench.plan, _say)
    return _plain(table), report.start_table(table, BARE.name)


def _clients(bench: Bench) -> Found:
    proxies = [subject for subject in bench.subjects if subject in SUBJECTS]
    table = measures.clients(proxies, bench.place, bench.plan, _say)
    return _plain(table), report.clients_table(table, BARE.name)


def _recording(bench: Bench) -> Found:
    table = measures.recordings(bench.place, bench.plan, _say)
    return _plain(table), report.recordings_table(table, DURABLE)


def _tunnel(bench: Bench) -> Found:
    size = GIGABYTE // 20 if bench.quick else GIGABYTE
    table = measures.tunnels(bench.place, bench.few, size, _say)
    return _plain(table), report.tunnels_table(table, measures.DIRECT)


def _connections(bench: Bench) -> Found:
    table = measures.by_connections([BARE, RINGBACK], bench.place, bench.few, CONNECTIONS, _say)
    return _plain(table), report.curve_table("what answers", "", table, CONNECTIONS)


def _bodies(bench: Bench) -> Found:
    table = measures.by_body([BARE, RINGBACK], bench.place, bench.few, BODIES, _say)
    return _plain(table), report.curve_table("what answers", "bytes", table, BODIES)


def _cassettes(bench: Bench) -> Found:
    sizes = CASSETTES[:2] if bench.quick else CASSETTES
    table = measures.by_cassette(bench.place, bench.plan, sizes, _say)
    return _plain(table), report.cassettes_table(table)


def _first_answer(bench: Bench) -> Found:
    size = CASSETTES[1] if bench.quick else CASSETTES[-1]
    first = measures.first_answer(bench.place, size, _say)
    ours, vcrpy = first["ours"], first["vcrpy"]
    line = f"{size:,} exchanges, in process: ringback {ours:.2f} s, vcrpy {vcrpy:.1f} s: {ours / vcrpy:.3f}"
    return first, [line]


def _numbers(bench: Bench) -> Found:
    table = measures.by_number(bench.place, bench.few, NUMBERS, _say)
    return _plain(table), report.number_table(table["ringback"], NUMBERS)


def _journal(bench: Bench) -> Found:
    table = measures.journals(bench.place, bench.plan, _say)
    return _plain(table), report.journals_table(table)


def _protocols(bench: Bench) -> Found:
    table = measures.by_protocol([BARE, IN_MITMDUMP, RINGBACK], bench.place, bench.plan, _say)
    return _plain(table), report.protocols_table(table)


def _memory(bench: Bench) -> Found:
    answers = MILLION // 1_000 if bench.quick else MILLION
    held = measures.memory(RINGBACK, bench.place, bench.plan, answers, _say)
    line = f"{held['idle']:.0f} MB idle, {held['after']:.0f} MB after {held['answers']:,.0f} answers: "
    return held, [f"{line}{held['after'] / held['idle']:.2f}"]


def _install(bench: Bench) -> Found:
    table = install.installs(bench.place, _say)
    return _plain(table), install.installs_table(table)


# name: title, function
MEASURES: dict[str, tuple[str, Callable[[Bench], Found]]] = {
    "rates": ("Answers a second", _rates),
    "start": ("Starting", _start),
    "clients": ("A client's own latency", _clients),
    "recording": ("Recording live answers", _recording),
    "tunnel": ("A tunnel to another host", _tunnel),
    "connections": ("Answers a second by connections", _connections),
    "bodies": ("Answers a second by the text's length", _bodies),
    "cassettes": ("Answers a second by the cassette's size", _cassettes),
    "first-answer": ("The first answer from a large cassette", _first_answer),
    "numbers": ("Answers by the number of cassettes", _numbers),
    "journal": ("The journal", _journal),
    "protocols": ("HTTP/2 or not", _protocols),
    "memory": ("Memory", _memory),
    "install": ("From nothing to the first answer", _install),
}
QUICK = ("rates", "start", "clients")
ASKED_FOR = ("protocols", "memory", "install")  # need Go or registries, or take minutes by themselves


def main() -> None:
    """Measure, print and write."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="ringback-benchmarks-") as directory:
        node = _install_peers(options.peers_directory) if options.peers else None
        place = Workplace(Path(directory), node)
        place.prepare()
        found = _measure(options, place)
    Path(options.json).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--only", action="append", choices=list(MEASURES), help="this measure; may be given several times"
    )
    parser.add_argument("--quick", action="store_true", help="the yardstick and Ringback, short")
    parser.add_argument("--peers", action="store_true", help="also mockttp and talkback, by npm")
    parser.add_argument("--peers-directory", type=Path, help="where npm puts them, and finds them again")
    parser.add_argument("--rounds", type=int, help="turns of each subject")
    parser.add_argument("--seconds", type=float, help="of each load")
    parser.add_argument("--json", default="benchmarks.json", help="where the same goes as JSON")
    return parser.parse_args()


def _measure(options: argparse.Namespace, place: Workplace) -> dict[str, Any]:
    plan = Plan(
        rounds=options.rounds or (1 if options.quick else 5),
        seconds=options.seconds or (0.3 if options.quick else 2.0),
        messages=20 if options.quick else 200,
        pinned=(os.cpu_count() or 1) > 1 and hasattr(os, "sched_setaffinity"),
    )
    subjects = [subject for subject in SUBJECTS if subject.quick or not options.quick]
    subjects += PEER_SUBJECTS if options.peers else ()
    bench = Bench(place, plan, tuple(subjects), options.quick)
    found: dict[str, Any] = {"machine": _machine(), "plan": vars(plan)}
    names = options.only or (QUICK if options.quick else [name for name in MEASURES if name not in ASKED_FOR])
    for number, name in enumerate(names, 1):
        title, measure = MEASURES[name]
        with progress(f"{title}, {number} of {len(names)}") as step:
            _steps.append(step)
            found[name], lines = measure(bench)
            _steps.clear()
        _print(title, lines)
    targets = targets_table(found)
    if len(targets) > len(("heading", "rule")):
        _print("Against the targets", targets)
    return found


def _plain(table: measures.Table) -> dict[str, Any]:
    return {name: {key: figure.as_dict() for key, figure in row.items()} for name, row in table.items()}


def _machine() -> dict[str, Any]:
    return {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "mitmproxy": version("mitmproxy"),
        "system": platform.platform(),
    }


def _install_peers(directory: Path | None) -> Path:
    """The peers' packages, fetched by npm where they are not there yet."""
    directory = directory or Path(tempfile.gettempdir()) / f"ringback-benchmarks-peers-{os.getuid()}"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not all((directory / "node_modules" / name).is_dir() for name in PEERS):
        _say(f"npm install {' '.join(PEERS)}")
        command = ["npm", "install", "--prefix", str(directory), "--no-audit", "--no-fund", *PEERS]
        subprocess.run(command, check=True, stdout=sys.stderr)
    return directory


_steps: list[ProgressStep] = []  # the bar of the measure that is going on


def _say(text: str) -> None:
    """Show what is measured now: in the bar on a terminal, else as a line if BENCHMARKS_SAY is set."""
    for step in _steps:
        step(title=text)
    if os.environ.get("BENCHMARKS_SAY"):
        print(text, file=sys.stderr, flush=True)


def _print(title: str, lines: list[str]) -> None:
    print(f"\n### {title}\n", *lines, sep="\n", flush=True)


if __name__ == "__main__":
    try:
        main()
    except RuntimeError as error:
        sys.exit(f"benchmarks: {error}")
