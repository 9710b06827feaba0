"""Targets of the project, each beside the figure that was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.measures import DIRECT, RUN_TRUE
from benchmarks.subjects import BARE, DURABLE, JOURNALS, RECORDING, RELAY, RINGBACK

if TYPE_CHECKING:
    from collections.abc import Iterator

PROXY_PEERS = ("mockttp, HTTPS proxy",)
SERVER_PEERS = ("talkback, TLS server",)
LARGE, SMALL = "100,000 exchanges", "10 exchanges"


class Target(NamedTuple):
    """A figure with its limit.

    Attributes:
        figure: Its name.
        limit: The least value that is good enough, or the greatest where `at_most`.
        value: The measured value.
        at_most: Whether smaller is better.
    """

    figure: str
    limit: float
    value: float
    at_most: bool = False


def targets_table(found: dict[str, Any]) -> list[str]:
    """Each target that something was measured for, as a row.

    Args:
        found: The figures as they go into the JSON file.
    """
    lines = ["| figure | target | measured | |", "|---|---|---|---|"]
    for target in _targets(found):
        reached = target.value <= target.limit if target.at_most else target.value >= target.limit
        limit = f"{'at most' if target.at_most else 'at least'} {target.limit:g}"
        verdict = "reached" if reached else "not reached"
        lines.append(f"| {target.figure} | {limit} | {target.value:.2f} | {verdict} |")
    return lines


def _targets(found: dict[str, Any]) -> Iterator[Target]:
    for name, of_measure in _BY_MEASURE.items():
        if name in found:
            yield from of_measure(found[name])


def _rates(table: dict[str, Any]) -> Iterator[Target]:
    bare, ours = table[BARE.name], table[RINGBACK.name]
    kept = "8 kept connections, processor time for an answer, bare mitmdump's to this"
    yield Target(f"{kept}: twilio-python's two writes", 14, _of(bare, ours, "two cpu"))
    yield Target(f"{kept}: one write", 20, _of(bare, ours, "one cpu"))
    yield Target("a new connection each, the same", 5, _of(bare, ours, "fresh cpu"))
    yield Target("a new connection each, answers/s to bare mitmdump's", 3, _of(ours, bare, "fresh"))
    for names, limit, kind in ((PROXY_PEERS, 1.5, "an HTTPS proxy"), (SERVER_PEERS, 1, "a TLS server")):
        for name in names:
            if name in table:
                figure = f"one write, answers/s to the fastest peer, {kind} ({name.partition(',')[0]})"
                yield Target(figure, limit, _of(ours, table[name], "one"))
    spread = ours["p99"]["median"] / ours["p50"]["median"]
    yield Target("p99 to p50 at 8 connections", 4, spread, at_most=True)


def _clients(table: dict[str, Any]) -> Iterator[Target]:
    share = _of(table[RINGBACK.name], table[BARE.name], "p50")
    yield Target("twilio-python's p50 to the same through bare mitmdump", 0.1, share, at_most=True)


def _starts(table: dict[str, Any]) -> Iterator[Target]:
    bare, ours = table[BARE.name], table[RINGBACK.name]
    run_true = _of(table[RUN_TRUE], bare, "ready cpu")
    yield Target("ready, processor time, to mitmdump's", 0.45, _of(ours, bare, "ready cpu"), at_most=True)
    yield Target("`ringback run -- true`, the same, to mitmdump's ready", 0.7, run_true, at_most=True)
    yield Target("memory idle, to mitmdump's", 0.6, _of(ours, bare, "idle"), at_most=True)


def _recordings(table: dict[str, Any]) -> Iterator[Target]:
    share = _of(table[RECORDING], table[DURABLE], "rate")
    yield Target("recording, answers/s to mitmdump -w, both synced", 3, share)


def _tunnels(table: dict[str, Any]) -> Iterator[Target]:
    ours = table[RINGBACK.name]
    yield Target("a tunnel, MB/s to direct", 0.8, _of(ours, table[DIRECT], "rate"))
    share = _of(ours, table[RELAY.name], "cpu")
    yield Target("a tunnel, processor time for a MB to mitmdump's", 0.33, share, at_most=True)


def _cassettes(table: dict[str, Any]) -> Iterator[Target]:
    share = _of(table[LARGE], table[SMALL], "rate")
    yield Target("answers/s, a cassette of 100,000 to one of 10", 0.85, share)


def _journals(table: dict[str, Any]) -> Iterator[Target]:
    without, with_one = (table[JOURNALS[size].name] for size in (0, 10_000))
    share = _of(with_one, without, "cpu")
    yield Target("processor time for an answer, with the journal to without", 1.1, share, at_most=True)


def _first_answer(found: dict[str, float]) -> Iterator[Target]:
    share = found["ours"] / found["vcrpy"]
    yield Target("the first answer of 100,000 to vcrpy's", 0.1, share, at_most=True)


def _memory(found: dict[str, float]) -> Iterator[Target]:
    yield Target("memory after a million answers to idle", 1.1, found["after"] / found["idle"], at_most=True)


_BY_MEASURE = {
    "rates": _rates,
    "clients": _clients,
    "start": _starts,
    "recording": _recordings,
    "tunnel": _tunnels,
    "cassettes": _cassettes,
    "journal": _journals,
    "first-answer": _first_answer,
    "memory": _memory,
}


def _of(one: dict[str, Any], other: dict[str, Any], key: str) -> float:
    below = float(other[key]["median"])
    return float(one[key]["median"]) / below if below else 0.0
