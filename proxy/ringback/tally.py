"""Counting what was answered, for the summary and the health answer."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from ringback.exchange import error_code

if TYPE_CHECKING:
    from ringback.exchange import Answer

# A client of the old kind asks first without credentials and repeats the request when it is challenged.
CHALLENGE = "auth.missing"
# What a cassette says of a strict miss: nothing recorded, or all of it replayed already.
MISSES = frozenset({"miss", "used-up"})
# twilio-php before 5.37 searches the answer for the first empty line, and finds the one of the reply to
# CONNECT (read in its source, and seen with 4.12, 5.0, 5.16 and 5.36).
_PHP: Final = re.compile(r"\btwilio-php/(\d+)\.(\d+)(?:\.\d+)?")
_PHP_FIXED: Final = (5, 37)
# Seconds; the upper ends of the latency histogram's classes.
LATENCIES: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_RESOURCE: Final = re.compile(
    r"/Accounts/[^/?]+/(Messages|Calls|IncomingPhoneNumbers)(?:\.json|\.xml)?(?:\?|$)"
)
_LONGEST_TARGET: Final = 2000  # characters; longer ones are not looked at
_MOST_KINDS: Final = 2000  # of answers that are counted by themselves: a mock upstream may give any code
MOST_REASONS: Final = 1000  # that are counted by themselves: a reason can quote the request
_SID: Final = re.compile(r"(?<![0-9A-Za-z])(?:(AC)[0-9A-Za-z]{32}|[A-Z]{2}[0-9a-f]{32})(?![0-9A-Za-z])")


def misled_by_connect(user_agent: str) -> str | None:
    """Name the client that takes the reply to CONNECT for the answer; None for every other client.

    Args:
        user_agent: The User-Agent header of a request that came in a CONNECT tunnel.
    """
    found = _PHP.search(user_agent)
    return found[0] if found and (int(found[1]), int(found[2])) < _PHP_FIXED else None


def misled_warning(client: str) -> str:
    """Explain that `client`, such as `twilio-php/5.16.0`, reads wrong answers, and what helps."""
    return (
        f"{client} read a wrong answer: it takes the proxy's reply to CONNECT for it. Give it the SOCKS port "
        "(HTTPS_PROXY=socks5h://HOST:PORT), use --reverse or `ringback run`, or update to 5.37"
    )


@dataclass
class Tally:
    """Counts of answered requests and of faults since the start.

    Attributes:
        by_source: Answers by who gave them (contract, cassette, live, gate).
        answers: Answers by source, resource and error code, which is empty for none.
        latencies: For each source, how many answers took at most each of LATENCIES seconds, and longer.
        seconds: For each source, how long its answers took together.
        refused: The gate's refusals by rule.
        reasons: Refusals, errors and fallbacks by rule and by the reason given, which is empty where
            there is none; without sids. The first MOST_REASONS of them: those after that are in the other
            counts alone.
        failed: The contract's 4xx answers by rule.
        challenged: Requests without credentials, which old clients send before each real one.
        agreed: Live answers with the status and code that the contract expects.
        differences: Live answers with others, by what was expected and what came.
        fallbacks: Requests that were to be forwarded and were answered here, by why.
        probes: Requests that asked whether credentials are test credentials.
        missed: Requests that no cassette had an answer for, where that is an error.
        distrusted: TLS handshakes that a client ended because it does not trust the CA.
        silent: TLS connections that a client ended without a request. A client that verifies certificates by
            itself and does not trust the CA does so, but also one that opens connections ahead.
        misled: Requests in CONNECT tunnels whose client takes the reply to CONNECT for the answer, by client.
    """

    by_source: Counter[str] = field(default_factory=Counter)
    answers: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    latencies: dict[str, list[int]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    challenged: int = 0
    agreed: int = 0
    differences: Counter[str] = field(default_factory=Counter)
    fallbacks: Counter[str] = field(default_factory=Counter)
    probes: int = 0
    missed: int = 0
    distrusted: int = 0
    silent: int = 0
    misled: Counter[str] = field(default_factory=Counter)
    _codes: dict[tuple[str, int], str] = field(default_factory=dict, repr=False)

    @property
    def total(self) -> int:
        """The number of requests answered, challenges apart."""
        return self.by_source.total()

    def count(self, answer: Answer, target: str = "", seconds: float | None = None) -> None:
        """Count `answer`.

        Args:
            answer: The answer.
            target: Path and query of its request.
            seconds: How long it took, or None if that is not known.
        """
        source = answer.source
        if source.rule == CHALLENGE:
            self.challenged += 1
            return
        self.by_source[source.kind] += 1
        key = (source.kind, _resource(target), "" if answer.status < 400 else self._code(answer))
        if key not in self.answers and len(self.answers) >= _MOST_KINDS:
            key = (*key[:2], "other")
        self.answers[key] += 1
        if seconds is not None:
            counts = self.latencies.get(source.kind)
            if counts is None:
                counts = self.latencies[source.kind] = [0] * (len(LATENCIES) + 1)
            counts[bisect_left(LATENCIES, seconds)] += 1
            self.seconds[source.kind] = self.seconds.get(source.kind, 0.0) + seconds
        if source.kind == "gate":
            self.refused[source.rule] += 1
            self._count_reason(source.rule, source.reason)
        elif source.kind == "contract" and answer.status >= 400:
            self.failed[source.rule] += 1
            self._count_reason(source.rule, source.reason)
        elif source.kind == "cassette" and source.rule in MISSES:
            self.missed += 1

    def _code(self, answer: Answer) -> str:
        """Return the error code of an answer; those of the contract and the gate go with their rules."""
        source = answer.source
        if source.kind not in {"contract", "gate"}:
            return str(error_code(answer.body) or "")
        key = (source.rule, answer.status)
        found = self._codes.get(key)
        if found is None:
            found = str(error_code(answer.body) or "")
            if len(self._codes) < _MOST_KINDS:
                self._codes[key] = found
        return found

    def count_tunnelled(self, user_agent: str) -> str | None:
        """Count a request in a CONNECT tunnel, if its client is misled by that.

        Returns:
            The client, at its first request: reason for a warning. Else None.
        """
        client = misled_by_connect(user_agent)
        if client is None:
            return None
        self.misled[client] += 1
        return client if self.misled[client] == 1 else None

    def compare(self, difference: str | None) -> None:
        """Count a live answer that agrees with the contract, or what is different."""
        if difference is None:
            self.agreed += 1
        else:
            self.differences[difference] += 1

    def fall_back(self, rule: str, detail: str) -> None:
        """Count a request that was to be forwarded and is answered here."""
        self.fallbacks[rule] += 1
        self._count_reason(rule, detail)

    def _count_reason(self, rule: str, reason: str | None) -> None:
        key = (rule, _without_sids(reason or ""))
        if key in self.reasons or len(self.reasons) < MOST_REASONS:
            self.reasons[key] += 1

    def as_dict(self) -> dict[str, Any]:
        """The counts, for JSON."""
        return {
            "answered": self.total,
            "by_source": dict(self.by_source),
            "refused": dict(self.refused),
            "failed": dict(self.failed),
            "challenged": self.challenged,
            "agreed": self.agreed,
            "differences": dict(self.differences),
            "fallbacks": dict(self.fallbacks),
            "probes": self.probes,
            "missed": self.missed,
            "distrusted": self.distrusted,
            "silent": self.silent,
            "misled": dict(self.misled),
        }


@lru_cache(256)
def _resource(target: str) -> str:
    found = _RESOURCE.search(target) if len(target) < _LONGEST_TARGET else None
    return found[1] if found else "other"


@lru_cache(256)
def _without_sids(text: str) -> str:
    """`text` as it is whosever account it is about, and whichever message."""
    return _SID.sub(lambda found: "{account}" if found[1] else "{sid}", text)


def many(number: int, noun: str) -> str:
    """Return `number` with `noun`, given in the singular: `1 exchange`, `2 exchanges`."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def times(number: int) -> str:
    """Return `number` as an adverb: `once`, `3 times`."""
    return "once" if number == 1 else f"{number} times"


def prometheus(tally: Tally, entries: int) -> str:
    """Return the counts in Prometheus' text format, with how many entries the journal has."""
    lines = ["# HELP ringback_answers_total Answered requests by who answered, resource and error code."]
    lines += ["# TYPE ringback_answers_total counter"]
    for (source, resource, code), count in sorted(tally.answers.items()):
        labels = f'source="{source}",resource="{resource}",code="{code}"'
        lines.append(f"ringback_answers_total{{{labels}}} {count}")
    lines += _histogram(tally)
    tables: tuple[tuple[str, str, str, Counter[str]], ...] = (
        ("refused_total", "Requests that the gate refused, by rule.", "rule", tally.refused),
        ("failed_total", "Errors that the contract answered, by row.", "rule", tally.failed),
        ("fallbacks_total", "Answers in the live API's place, by reason.", "rule", tally.fallbacks),
        ("drift_total", "Live answers that differ from the contract.", "difference", tally.differences),
    )
    for name, text, label, counts in tables:
        lines += [f"# HELP ringback_{name} {text}", f"# TYPE ringback_{name} counter"]
        for value, count in sorted(counts.items()):
            lines.append(f'ringback_{name}{{{label}="{_escaped(value)}"}} {count}')
    lines += ["# HELP ringback_missed_total Requests that no cassette had an answer for."]
    lines += ["# TYPE ringback_missed_total counter", f"ringback_missed_total {tally.missed}"]
    lines += ["# HELP ringback_journal_entries Requests in the journal."]
    lines += ["# TYPE ringback_journal_entries gauge", f"ringback_journal_entries {entries}"]
    return "\n".join(lines) + "\n"


def _histogram(tally: Tally) -> list[str]:
    """Return the latency histogram in Prometheus' text format: classes hold those below, too."""
    name = "ringback_answer_seconds"
    lines = [
        f"# HELP {name} Seconds from a request to its answer, delays of rows apart.",
        f"# TYPE {name} histogram",
    ]
    for source, counts in sorted(tally.latencies.items()):
        below = 0
        for limit, count in zip((*map(str, LATENCIES), "+Inf"), counts, strict=True):
            below += count
            lines.append(f'{name}_bucket{{source="{source}",le="{limit}"}} {below}')
        lines.append(f'{name}_sum{{source="{source}"}} {tally.seconds[source]:.6f}')
        lines.append(f'{name}_count{{source="{source}"}} {below}')
    return lines


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
