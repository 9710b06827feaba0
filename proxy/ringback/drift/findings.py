"""A finding: one difference between the documentation and the live API, with everything a reader needs."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from datetime import datetime

    from ringback.contract import Basis, Format

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
    """Whether `severity` is `limit` or worse."""
    return SEVERITIES.index(severity) <= SEVERITIES.index(limit)


def fingerprint(*parts: str) -> str:
    """Twelve hexadecimal digits that name a cause: the same from run to run, whatever else changed."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the side-by-side view.

    Attributes:
        pointer: The field, or what else is compared (`status`, a header's name).
        documented: What the documentation says there.
        line: The line of the page that says so.
        live: What the live API answered.
        offline: What Ringback answers offline.
        mark: How live differs from the documentation, or None.
    """

    pointer: str
    documented: str
    line: int | None
    live: str
    offline: str
    mark: Kind | None = None


@dataclass(frozen=True, slots=True)
class Sighting:
    """One exchange in which a finding was seen.

    Attributes:
        where: The cassette's file and line, or the claim's request.
        when: When, in UTC, if that is known.
        request: Method, host and path, with the account as a placeholder.
        form: The form that was sent.
        format: The format of the answer.
    """

    where: str
    when: datetime | None
    request: str
    form: tuple[tuple[str, str], ...]
    format: Format


@dataclass(frozen=True, slots=True)
class Finding:
    """A difference that has one cause.

    Attributes:
        rule: The claim that does not hold.
        severity: `error`: an outcome, a field or an identifier; `warning`: a text, a value, a format; `info`:
            something new.
        kind: How it differs.
        resource: Which resource, `*` where it is the same for all.
        pointer: JSON pointer of the field, empty for the answer as a whole.
        documented: What the documentation says.
        observed: What the live API says.
        line: The line of the page, if the page speaks of it.
        basis: How well the documented side is known.
        fingerprint: Names the cause, see `fingerprint`.
        first_seen: The oldest exchange that shows it, if dates are known.
        last_seen: The newest.
        seen: How many exchanges show it.
        sightings: Some of them.
        formats: The formats that show it.
        claims: The claims that it breaks.
        pointers: The fields that it shows in, where there are several.
        rows: The first of these exchanges side by side with the documentation and the offline answer.
        reproduce: The command that shows it again.
        note: A line for the reader, e.g. why the entry that accepted it no longer does.
    """

    rule: str
    severity: Severity
    kind: Kind
    resource: str
    pointer: str
    documented: str
    observed: str
    fingerprint: str
    line: int | None = None
    basis: Basis | None = None
    first_seen: datetime | None = None
    last_seen: datetime | None = None
    seen: int = 0
    sightings: tuple[Sighting, ...] = ()
    formats: tuple[Format, ...] = ()
    claims: tuple[str, ...] = ()
    pointers: tuple[str, ...] = ()
    rows: tuple[Row, ...] = field(default=(), compare=False)
    reproduce: str = ""
    note: str = ""

    @property
    def page(self) -> str:
        """Where the page says what is documented, or who else does; empty where nobody does."""
        if self.line:
            return f"line {self.line}"
        if self.basis in {None, "documented"}:
            return "as a whole" if self.basis else ""
        return f"not on the page: {self.basis}"

    @property
    def title(self) -> str:
        """One line: what was documented and what is."""
        place = f"{self.resource} {self.pointer}".strip() if self.resource != "*" else self.pointer
        return f"{place}: {self.observed}" if place else self.observed
