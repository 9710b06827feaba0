"""Requests that a cassette has no interaction of: the `Miss`, with the nearest interaction beside it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape

from ringback.cassettes import matching
from ringback.exchange import Answer, Source
from ringback.tally import many

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ringback.cassettes.matching import Difference, MatchIgnore, MatchKey
    from ringback.cassettes.redaction import RedactedExchange
    from ringback.exchange import Request

_CODE: Final = 20404  # Twilio's code for "not found"
_MOST_DIFFERENCES: Final = 50  # that are shown
_LONGEST: Final = 60  # characters of a value in the comparison


@dataclass(frozen=True, slots=True)
class Nearest:
    """The interaction that is most like a request.

    Attributes:
        number: Which interaction of the cassette, 1-based.
        line: Its line in the file, 1-based; 0 where the file keeps no lines.
        used: Whether this cassette has replayed it already.
        key: What it was recorded for.
        differences: Where the request and it part ways.
    """

    number: int
    line: int
    used: bool
    key: MatchKey
    differences: tuple[Difference, ...]


@dataclass(frozen=True)
class Miss:
    """No interaction for this request.

    Attributes:
        name: The cassette's name.
        path: Its file, which need not exist.
        recorded: How many interactions there are of this very request; above 0 they were used up.
        total: How many interactions the cassette has.
        ignored: Fields that did not count.
        command: The command line that records the cassette, with MODE for the mode; empty for `ringback run`.
    """

    name: str
    path: Path
    recorded: int
    total: int
    ignored: MatchIgnore
    _redact: Callable[[], RedactedExchange] = field(repr=False, compare=False)
    _find: Callable[[MatchKey], Nearest | None] = field(repr=False, compare=False)
    command: str = ""

    @cached_property
    def request(self) -> Request:
        """The request, redacted."""
        return self._redact().request

    @cached_property
    def key(self) -> MatchKey:
        """The match key that was looked up."""
        return self._redact().key.without(self.ignored)

    @property
    def used_up(self) -> bool:
        """True if the request has interactions and all of them have been replayed."""
        return self.recorded > 0

    @cached_property
    def nearest(self) -> Nearest | None:
        """The interaction that is most like the request; None in an empty cassette, and once it is closed."""
        return self._find(self.key)

    @property
    def next_command(self) -> str:
        """The command that records what is missing."""
        mode = "online" if self.used_up else "auto"
        if self.command:
            return re.sub(r"\bMODE\b", mode, self.command, count=1)
        return f"ringback run --mode {mode} --cassette {self.name} -- COMMAND"

    @property
    def _all(self) -> str:
        return "the one interaction" if self.recorded == 1 else f"all {self.recorded} interactions"

    @property
    def reason(self) -> str:
        """One line for a header."""
        if self.used_up:
            are = "is" if self.recorded == 1 else "are"
            return f"cassette {self.name}: {self._all} of this request {are} used up"
        if not self.total:
            return f"cassette {self.name} is empty or does not exist; record it: {self.next_command}"
        return f"cassette {self.name} has no interaction of this request; record it: {self.next_command}"

    @cached_property
    def text(self) -> str:
        """Several lines for people: the request and the nearest interaction side by side."""
        lines = [
            f"No interaction for {self.key.method} {self.key.path} in cassette {self.name} ({self.path})."
        ]
        if self.used_up:
            lines.append(f"Replayed already: {self._all} of this request.")
        elif not self.total:
            lines.append("The cassette is empty or does not exist.")
        elif self.nearest:
            lines += _side_by_side(self.path, self.nearest)
        else:
            lines.append(f"It has {many(self.total, 'interaction')} of other requests.")
        if self.ignored.rules:
            lines.append(f"Not compared (match-ignore): {', '.join(self.ignored.rules)}.")
        lines.append(f"To record it: {self.next_command}")
        return "\n".join(lines)

    def answer(self) -> Answer:
        """The Twilio-shaped 404 of `--strict`, XML or JSON by the path's extension."""
        path = self.request.path
        more = f"https://www.twilio.com/docs/errors/{_CODE}"
        if path.startswith("/2010-04-01/") and not path.endswith(".json"):
            media_type = "application/xml"
            body = (
                "<?xml version='1.0' encoding='UTF-8'?>\n<TwilioResponse><RestException>"
                f"<Code>{_CODE}</Code><Message>{escape(self.text)}</Message><MoreInfo>{more}</MoreInfo>"
                "<Status>404</Status></RestException></TwilioResponse>"
            )
        else:
            media_type = "application/json"
            body = json.dumps({"code": _CODE, "message": self.text, "more_info": more, "status": 404})
        content = body.encode("utf-8", "replace")
        headers = (("Content-Type", media_type), ("Content-Length", str(len(content))))
        source = Source("cassette", "used-up" if self.used_up else "miss", reason=self.reason)
        return Answer(404, "NOT FOUND", headers, content, source)


def nearest_of(asked: MatchKey, candidates: list[tuple[int, MatchKey]]) -> tuple[int, MatchKey] | None:
    """The candidate most like `asked`; the earlier one of two that are equally near."""
    return max(candidates, key=lambda one: (matching.likeness(asked, one[1]), -one[0]), default=None)


def _side_by_side(path: Path, nearest: Nearest) -> list[str]:
    where = f"{path}:{nearest.line}" if nearest.line else str(path)
    used = "replayed already" if nearest.used else "not replayed yet"
    rows = [("field", "this request", "recorded")]
    shown = nearest.differences[:_MOST_DIFFERENCES]
    rows += [(_cut(one.field), _cut(one.asked), _cut(one.recorded)) for one in shown]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    left = len(nearest.differences) - len(shown)
    return [
        f"The nearest is interaction {nearest.number} at {where} ({used}). They differ in:",
        *(f"  {row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]}" for row in rows),
        *([f"  ... and {many(left, 'field')} more"] if left else []),
    ]


def _cut(value: str) -> str:
    printable = "".join(char if char.isprintable() else "?" for char in value)
    return printable if len(printable) <= _LONGEST else printable[: _LONGEST - 3] + "..."
