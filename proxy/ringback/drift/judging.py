"""From comparisons to a report."""

from __future__ import annotations

import glob
import shlex
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

from ringback import __version__
from ringback.drift.accepted import judge
from ringback.drift.claims import may_be_rule
from ringback.drift.findings import SEVERITIES
from ringback.drift.grouping import collect, looked_at
from ringback.drift.report.model import Known, Report

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from ringback.drift.accepted import Entry
    from ringback.drift.book import Book
    from ringback.drift.compare import Comparison
    from ringback.drift.findings import Severity
    from ringback.drift.report.model import Unlooked


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Frame:
    """What a report is made under.

    Attributes:
        source: Where the exchanges came from.
        origin: The same for people.
        only: Globs of the claims that count; all where there is none.
        entries: What is accepted.
        fail_on: The least severity that fails.
        whole: Whether everything was asked.
        reproduce: Gives the command that shows a rule's finding again.
        made: When, in UTC.
    """

    source: Literal["live", "recordings", "passive"]
    origin: str
    only: Collection[str] = ()
    entries: Collection[Entry] = ()
    fail_on: Severity = "error"
    whole: bool = False
    reproduce: Callable[[str], str] = str
    made: datetime = field(default_factory=_now)


def report(
    book: Book, comparisons: Sequence[Comparison], unlooked: Sequence[Unlooked], frame: Frame
) -> Report:
    """The report of a run."""
    compared = [item for item in comparisons if not item.skipped]
    findings = [
        finding
        for finding in collect(book, compared, frame.reproduce)
        if not frame.only or _matches((finding.rule, *finding.claims), frame.only)
    ]
    looked = looked_at(compared)
    if frame.only:
        compared = _relevant(book, compared, frame.only)
    judged = judge(findings, frame.entries, frame.made.date(), looked, whole=frame.whole)
    seen = Counter(name for item in compared for name in item.known)
    return Report(
        findings=tuple(sorted(judged.open, key=lambda item: SEVERITIES.index(item.severity))),
        accepted=judged.accepted,
        known=tuple(Known(name, _says(book, name), count) for name, count in sorted(seen.items())),
        unlooked=tuple(unlooked),
        compared=len(compared),
        claims=tuple(
            claim
            for name, claim in book.claims.items()
            if name in looked and (not frame.only or _matches([name], frame.only))
        ),
        total=len(book.claims),
        source=frame.source,
        origin=frame.origin,
        made=frame.made,
        version=__version__,
        fail_on=frame.fail_on,
    )


def unknown(book: Book, only: Collection[str]) -> tuple[str, ...]:
    """Those globs of `only` that no finding can ever be about."""
    resources = [resource.resource for resource in book.contract.resources]
    return tuple(
        glob for glob in only if not _matches(book.claims, [glob]) and not may_be_rule(glob, resources)
    )


def _relevant(book: Book, compared: Sequence[Comparison], only: Collection[str]) -> list[Comparison]:
    """The comparisons that looked at what `only` names; all of them if it may be something new."""
    if not all(_matches(book.claims, [glob]) for glob in only):
        return list(compared)
    return [item for item in compared if _matches(looked_at([item]), only)]


def _matches(names: Iterable[str], globs: Collection[str]) -> bool:
    return any(fnmatchcase(name, glob) for name in names for glob in globs)


def again(arguments: Sequence[str]) -> Callable[[str], str]:
    """What gives the command that shows a rule's finding again; a rule has no wildcards.

    Args:
        arguments: What `ringback drift` must be given besides the rule to look at the same thing.
    """
    return lambda rule: shlex.join(("ringback", "drift", *arguments, "--only", glob.escape(rule)))


def _says(book: Book, name: str) -> str:
    erratum = next((item for item in book.contract.errata if item.id == name), None)
    if erratum is not None:
        return f"erratum of the page: {erratum.page}"
    resource, _, field_name = name.partition(".answer.")
    return f"the page does not mention /{field_name.replace('.', '/')} of {resource}, recordings have it"
