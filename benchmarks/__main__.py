"""One command for every figure: `python -m benchmarks`.

    python -m benchmarks --quick            bare mitmdump and Ringback, seconds
    python -m benchmarks                    every subject, the cost curves and two workers: half an hour
    python -m benchmarks --peers            mockttp and talkback as well (npm fetches them)
    python -m benchmarks --go               a Go program, with HTTP/2 and without
    python -m benchmarks --million          and the memory after a million answers
    python -m benchmarks.cassettes          what a cassette costs by its size, beside vcrpy

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
from pathlib import Path
from typing import Any

from benchmarks import measures, report
from benchmarks.measures import Plan
from benchmarks.subjects import (
    BARE,
    ORDINARY,
    PEER_SUBJECTS,
    PEERS,
    RINGBACK,
    SUBJECTS,
    TWO_WORKERS,
    Workplace,
)
from benchmarks.wanted import wanted_table

CONNECTIONS = (1, 8, 32, 128, 256)
BODIES = (40, 1_000, 10_000, 100_000)
CASSETTES = (10, 1_000, 100_000)
NUMBERS = (1, 100, 1_000)
MILLION = 1_000_000


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
    parser.add_argument("--quick", action="store_true", help="the yardstick and Ringback, short")
    parser.add_argument("--peers", action="store_true", help="also mockttp and talkback, by npm")
    parser.add_argument("--peers-directory", type=Path, help="where npm puts them, and finds them again")
    parser.add_argument("--million", action="store_true", help="also the memory after a million answers")
    parser.add_argument("--go", action="store_true", help="also a Go program, with HTTP/2 and without")
    parser.add_argument("--rounds", type=int, help="turns of each subject")
    parser.add_argument("--seconds", type=float, help="of each load")
    parser.add_argument("--no-curves", action="store_true", help="leave the cost curves and workers out")
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
    found: dict[str, Any] = {"machine": _machine(), "plan": vars(plan)}

    table = measures.rates(subjects, place, plan, _say)
    found["rates"] = _plain(table)
    wholes = {name: table.pop(name) for name in (measures.RUN_TRUE, measures.IMPORTS)}
    _print("Answers a second", report.rates_table(table, BARE.name))
    _print("Starting", report.start_table(table, BARE.name, wholes))

    of_clients = measures.clients([subject for subject in subjects if subject in SUBJECTS], place, plan, _say)
    found["clients"] = _plain(of_clients)
    _print("A client's own latency", report.clients_table(of_clients, BARE.name))

    if not options.quick and not options.no_curves:
        _measure_curves(place, plan, found)
    if options.go:
        table = measures.by_protocol([BARE, ORDINARY, RINGBACK], place, plan, _say)
        found["protocols"] = _plain(table)
        _print("HTTP/2 or not", report.protocols_table(table))
    if options.million:
        held = measures.memory(RINGBACK, place, plan, MILLION, _say)
        found["memory"] = held
        ratio = held["after"] / held["idle"]
        told = f"{held['idle']:.0f} MB idle, {held['after']:.0f} MB after {held['answers']:,.0f} answers: "
        _print("Memory", [f"{told}{ratio:.2f}"])
    _print("Against what was wanted", wanted_table(found))
    return found


def _measure_curves(place: Workplace, plan: Plan, found: dict[str, Any]) -> None:
    few = Plan(max(1, plan.rounds // 2), plan.seconds, plan.messages, plan.pinned)
    table = measures.by_connections([BARE, RINGBACK], place, few, CONNECTIONS, _say)
    found["connections"] = _plain(table)
    _print("Answers a second by connections", report.curve_table("what answers", "", table, CONNECTIONS))
    table = measures.by_body([BARE, RINGBACK], place, few, BODIES, _say)
    found["bodies"] = _plain(table)
    _print(
        "Answers a second by the text's length", report.curve_table("what answers", "bytes", table, BODIES)
    )
    table = measures.by_cassette(place, plan, CASSETTES, _say)
    found["cassettes"] = _plain(table)
    _print("Answers a second by the cassette's size", report.cassettes_table(table))
    first = found["first answer"] = measures.first_answer(place, CASSETTES[-1], _say)
    told = (
        f"ringback {first['ours']:.2f} s, vcrpy {first['vcrpy']:.1f} s: {first['ours'] / first['vcrpy']:.3f}"
    )
    _print(f"The first answer from {CASSETTES[-1]:,} exchanges, in process", [told])
    table = measures.by_number(place, few, NUMBERS, _say)
    found["numbers"] = _plain(table)
    _print("Answers by the number of cassettes", report.number_table(table["ringback"], NUMBERS))
    free = Plan(plan.rounds, plan.seconds, plan.messages, pinned=False)
    table = measures.by_workers([RINGBACK, TWO_WORKERS], place, free, os.cpu_count() or 1, _say)
    found["workers"] = _plain(table)
    _print("Workers, the generator on the same cores", report.workers_table(table, RINGBACK.name))


def _plain(table: measures.Table) -> dict[str, Any]:
    return {name: {key: figure.as_dict() for key, figure in row.items()} for name, row in table.items()}


def _machine() -> dict[str, Any]:
    from mitmproxy.version import VERSION  # noqa: PLC0415 - not before the arguments are read

    return {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "mitmproxy": VERSION,
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


def _say(text: str) -> None:
    if sys.stderr.isatty() or os.environ.get("BENCHMARKS_SAY"):
        print(text, file=sys.stderr, flush=True)


def _print(title: str, lines: list[str]) -> None:
    print(f"\n### {title}\n", *lines, sep="\n", flush=True)


if __name__ == "__main__":
    try:
        main()
    except RuntimeError as error:
        sys.exit(f"benchmarks: {error}")
