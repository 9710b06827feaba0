"""Drift: what the documentation says, held against what the live API answers.

A `Claim` is one thing that the page says, an `Observation` one exchange, a `Finding` a difference between
the two. `Book` is the documentation as claims, `compare` looks at one observation, `collect` makes findings
of everything that was seen, so that one cause gives one finding.
"""

from ringback.drift.book import Book
from ringback.drift.claims import Claim
from ringback.drift.compare import Comparison, compare
from ringback.drift.findings import Finding, Severity, at_least
from ringback.drift.grouping import collect
from ringback.drift.observe import Observation
from ringback.drift.probes import Probe

__all__ = [
    "Book",
    "Claim",
    "Comparison",
    "Finding",
    "Observation",
    "Probe",
    "Severity",
    "at_least",
    "collect",
    "compare",
]
