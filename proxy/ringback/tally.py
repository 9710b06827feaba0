"""Counting what was answered, for the summary and the health answer."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ringback.contract.exchange import Answer

# A client of the old kind asks first without credentials and repeats the request when it is challenged.
CHALLENGE = "auth.missing"
# What a cassette says of a strict miss: nothing recorded, or all of it replayed already.
MISSES = frozenset({"miss", "used-up"})


@dataclass
class Tally:
    """What has been answered so far.

    Attributes:
        by_source: Answers by who gave them (contract, cassette, live, gate).
        refused: The gate's refusals by rule.
        reasons: The last reason given for each refusal or misleading error, by rule.
        failed: The contract's 4xx answers by rule.
        challenged: Requests without credentials, which old clients send before each real one.
        agreed: Live answers with the status and code that the contract expects.
        differences: Live answers with others, by what was expected and what came.
        fallbacks: Requests that were to be forwarded and were answered here, by why.
        probes: Requests that asked whether credentials are test credentials.
        missed: Requests that no cassette had an answer for, where that is an error.
        distrusted: TLS handshakes that a client ended because it does not trust the CA.
    """

    by_source: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    reasons: dict[str, str] = field(default_factory=dict)
    challenged: int = 0
    agreed: int = 0
    differences: Counter[str] = field(default_factory=Counter)
    fallbacks: Counter[str] = field(default_factory=Counter)
    probes: int = 0
    missed: int = 0
    distrusted: int = 0

    @property
    def total(self) -> int:
        """How many requests were answered, challenges apart."""
        return self.by_source.total()

    def count(self, answer: Answer) -> None:
        """Count `answer`."""
        source = answer.source
        if source.rule == CHALLENGE:
            self.challenged += 1
            return
        self.by_source[source.kind] += 1
        if source.kind == "gate":
            self.refused[source.rule] += 1
        elif source.kind == "contract" and answer.status >= 400:
            self.failed[source.rule] += 1
        elif source.kind == "cassette" and source.rule in MISSES:
            self.missed += 1
        if source.reason:
            self.reasons[source.rule] = source.reason

    def compare(self, difference: str | None) -> None:
        """Count a live answer that agrees with the contract, or what is different."""
        if difference is None:
            self.agreed += 1
        else:
            self.differences[difference] += 1

    def fall_back(self, rule: str, detail: str) -> None:
        """Count a request that was to be forwarded and is answered here."""
        self.fallbacks[rule] += 1
        self.reasons[rule] = detail

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
        }
