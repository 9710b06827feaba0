"""Checks: what looking at one exchange gives, each claim held or with its difference."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from ringback.contract import Basis


Severity: TypeAlias = Literal["error", "warning", "info"]
Kind: TypeAlias = Literal[
    "added", "removed", "type", "value", "status", "code", "header", "allowed", "refused", "accepted"
]

SEVERITIES: Final[tuple[Severity, ...]] = ("error", "warning", "info")
KINDS: Final[tuple[Kind, ...]] = (
    "added",
    "removed",
    "type",
    "value",
    "status",
    "code",
    "header",
    "allowed",
    "refused",
    "accepted",
)


def at_least(severity: Severity, limit: Severity) -> bool:
    """Report whether `severity` is `limit` or worse."""
    return SEVERITIES.index(severity) <= SEVERITIES.index(limit)


@dataclass(frozen=True, slots=True)
class ClaimDifference:
    """One difference between an exchange and the documentation.

    Attributes:
        kind: How.
        severity: How bad that is.
        resource: Which resource, `*` for all.
        pointer: Which field.
        documented: What the documentation says, for people.
        observed: What was seen, for people.
        cause: What was seen, without what differs from answer to answer: the same cause, the same text.
        line: The line of the page.
        basis: How well the documented side is known.
        lexical: The value as XML would write it, where a value differs: JSON tells more about the same thing.
    """

    kind: Kind
    severity: Severity
    resource: str
    pointer: str
    documented: str
    observed: str
    cause: str
    line: int | None = None
    basis: Basis | None = None
    lexical: str | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """One claim, looked at in one exchange.

    Attributes:
        specific: The claim, as narrow as it can be: this field, this code.
        general: The wider claim that it is an instance of: all dates, all errors. When every instance that
            was looked at differs in the same way, that is one finding about the wider claim.
        difference: How it differs, or None if it holds.
    """

    specific: str
    general: str | None = None
    difference: ClaimDifference | None = None


@dataclass(frozen=True, slots=True)
class OutcomeCheck:
    """The outcome of a request to one of the three resources: the documented one and the one that was seen.

    Attributes:
        resource: Which.
        rule: The claim that decides, with the resource before it.
        inputs: For each parameter with rows, in the order in which they are looked at, the row of its value.
        decided_at: The place in that order of the parameter that decided; beyond the last for success.
        order: The parameters in the order in which they are looked at.
        code: The documented error code, or None for success.
        observed: The code that was seen, None for success; for an answer without a code, its HTTP status.
        difference: How they differ, or None.
    """

    resource: str
    rule: str
    inputs: tuple[tuple[str, str], ...]
    decided_at: int
    order: tuple[str, ...]
    code: int | None
    observed: int | None
    difference: ClaimDifference | None = None


@dataclass(slots=True)
class Notes:
    """Checks in the making."""

    checks: list[Check] = field(default_factory=list)
    known: set[str] = field(default_factory=set)

    def add(
        self, specific: str, difference: ClaimDifference | None = None, general: str | None = None
    ) -> None:
        """Note that a claim was looked at."""
        self.checks.append(Check(specific, general, difference))
