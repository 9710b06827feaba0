"""What the project wants of itself, beside what came out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.measures import RUN_TRUE
from benchmarks.subjects import BARE, RINGBACK, TWO_WORKERS

if TYPE_CHECKING:
    from collections.abc import Iterator

PROXY_PEERS = ("mockttp, HTTPS proxy",)
SERVER_PEERS = ("talkback, TLS server",)
LARGE, SMALL = "100,000 exchanges", "10 exchanges"


def wanted_table(found: dict[str, Any]) -> list[str]:
    """Each aim that something was measured for, as a row.

    Args:
        found: The figures as they go into the JSON file.
    """
    lines = ["| figure | wanted | measured | |", "|---|---|---|---|"]
    for figure, aim, value, most in _rows(found):
        reached = value <= aim if most else value >= aim
        limit = f"{'at most' if most else 'at least'} {aim:g}"
        lines.append(f"| {figure} | {limit} | {value:.2f} | {'reached' if reached else 'not reached'} |")
    return lines


def _rows(found: dict[str, Any]) -> Iterator[tuple[str, float, float, bool]]:
    rates = found["rates"]
    bare, ours = rates[BARE.name], rates[RINGBACK.name]
    yield "8 kept connections, answers/s to bare mitmdump's", 8, _of(ours, bare, "kept"), False
    yield "a new connection each, answers/s to the same", 3, _of(ours, bare, "fresh"), False
    yield "the same by processor time", 3, _of(bare, ours, "fresh cpu"), False
    for names, aim, kind in ((PROXY_PEERS, 1.5, "an HTTPS proxy"), (SERVER_PEERS, 1, "a TLS server")):
        for name in names:
            if name in rates:
                figure = f"8 kept connections, to the fastest peer that is {kind} ({name.partition(',')[0]})"
                yield figure, aim, _of(ours, rates[name], "kept"), False
    clients = found["clients"]
    share = _of(clients[RINGBACK.name], clients[BARE.name], "p50")
    yield "twilio-python's p50 to the same through bare mitmdump", 0.1, share, True
    yield "p99 to p50 at 8 connections", 4, ours["p99"]["median"] / ours["p50"]["median"], True
    if "cassettes" in found:
        sizes = found["cassettes"]
        yield (
            "answers/s, a cassette of 100,000 to one of 10",
            0.85,
            _of(sizes[LARGE], sizes[SMALL], "rate"),
            False,
        )
        first = found["first answer"]
        yield "the first answer of 100,000 to vcrpy's", 0.1, first["ours"] / first["vcrpy"], True
    if "workers" in found:
        pair = found["workers"]
        whole = _of(pair[TWO_WORKERS.name], pair[RINGBACK.name], "whole")
        yield "2 workers to 1, the generator's share of the cores taken out", 1.7, whole, False
        clock = _of(pair[TWO_WORKERS.name], pair[RINGBACK.name], "rate")
        yield "2 workers to 1 by the clock, the generator on the same cores", 1.7, clock, False
    yield "memory idle, to bare mitmdump's", 1.3, _of(ours, bare, "idle"), True
    if "memory" in found:
        held = found["memory"]
        yield "memory after a million answers to idle", 1.1, held["after"] / held["idle"], True
    yield "ready, to mitmdump's", 0.7, _of(ours, bare, "ready"), True
    yield "the same by processor time", 0.7, _of(ours, bare, "ready cpu"), True
    yield "`ringback run -- true` in all, to mitmdump's ready", 1.5, _of(rates[RUN_TRUE], bare, "ready"), True


def _of(one: dict[str, Any], other: dict[str, Any], key: str) -> float:
    return float(one[key]["median"] / other[key]["median"])
