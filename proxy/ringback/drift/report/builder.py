"""The report of a run, whatever its form: its making from comparisons, and the file of accepted findings."""

from __future__ import annotations

import glob
import shlex
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
import yaml

from ringback import __version__
from ringback.drift.claims import may_be_rule
from ringback.drift.fields import TRIAL_ACCOUNT
from ringback.drift.findings import DriftFinding, collect_findings, fingerprint, looked_at
from ringback.drift.observation import SEVERITIES, Severity, at_least
from ringback.tally import many

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from pathlib import Path

    from ringback.drift.claims import Claim, ClaimSet
    from ringback.drift.compare import Comparison
    from ringback.drift.observation import Severity


_HEAD: Final = (
    "# Accepted drift: `ringback drift accept FINGERPRINT --reason ... --expires ...` adds an entry.\n"
)


class AcceptedError(Exception):
    """The file cannot be used; the text names it, the entry, and what to do."""


class AcceptedFinding(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """One accepted finding.

    Attributes:
        fingerprint: Which.
        reason: Why it is accepted.
        expires: The last day on which it is.
        rule: The claim that it is about; tells whether a run could have seen it.
    """

    fingerprint: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{12}$")]
    reason: Annotated[str, msgspec.Meta(min_length=1)]
    expires: date
    rule: str | None = None


class AcceptedFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    accepted: tuple[AcceptedFinding, ...] = ()


@dataclass(frozen=True, slots=True)
class AfterAccepting:
    """Findings after the accepted ones were taken out.

    Attributes:
        open: What counts, the entries that excuse nothing among it.
        accepted: What does not, each with its reason as a note.
    """

    open: tuple[DriftFinding, ...]
    accepted: tuple[DriftFinding, ...]


def read_accepted(path: Path) -> tuple[AcceptedFinding, ...]:
    """The entries of `path`; none if there is no such file.

    Raises:
        AcceptedError: It is not YAML, or an entry is not of this form.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as error:
        raise AcceptedError(f"{path}: cannot be read: {error}") from None
    try:
        raw: Any = yaml.safe_load(text) or {}
        found = msgspec.convert(raw, AcceptedFile).accepted
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise AcceptedError(f"{path}:{line}: is not YAML: {getattr(error, 'problem', error)}") from None
    except msgspec.ValidationError as error:
        raise AcceptedError(
            f"{path}: {error}; an entry has fingerprint (12 hex digits, in quotes if they are all digits), "
            "reason and expires (YYYY-MM-DD)"
        ) from None
    names = [entry.fingerprint for entry in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise AcceptedError(f"{path}: {twice} is accepted twice; keep one of the two entries")
    return found


def add_accepted(path: Path, entry: AcceptedFinding) -> None:
    """Write `entry` into `path`, in place of an older one with its fingerprint.

    Raises:
        AcceptedError: What is there cannot be read, or nothing can be written.
    """
    kept = [old for old in read_accepted(path) if old.fingerprint != entry.fingerprint]
    entries = sorted([*kept, entry], key=lambda item: (item.rule or "", item.fingerprint))
    text = _HEAD + yaml.safe_dump(
        {"accepted": [msgspec.to_builtins(item, builtin_types=(date,)) for item in entries]},
        sort_keys=False,
        allow_unicode=True,
        width=110,
    )
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise AcceptedError(f"{path}: cannot be written: {error.strerror}") from None


def take_out_accepted(
    findings: Collection[DriftFinding],
    entries: Collection[AcceptedFinding],
    today: date,
    looked_at: Collection[str],
    *,
    whole: bool,
) -> AfterAccepting:
    """Take out what is accepted, and find the entries that excuse nothing.

    Args:
        findings: What was found.
        entries: What is accepted.
        today: The day on which an entry must still hold.
        looked_at: The claims that were looked at: an entry about another one is not to blame.
        whole: Whether everything was looked at, so that an entry without a rule can be judged too.
    """
    by_name = {entry.fingerprint: entry for entry in entries}
    counted, excused = [], []
    for finding in findings:
        entry = by_name.pop(finding.fingerprint, None)
        if entry is None:
            counted.append(finding)
        elif entry.expires < today:
            note = f"was accepted until {entry.expires}: {entry.reason}"
            counted.append(replace(finding, note=note))
        else:
            excused.append(replace(finding, note=f"accepted until {entry.expires}: {entry.reason}"))
    left = by_name.values()
    counted += [_stale(entry) for entry in left if (entry.rule in looked_at if entry.rule else whole)]
    return AfterAccepting(tuple(counted), tuple(excused))


def _stale(entry: AcceptedFinding) -> DriftFinding:
    return DriftFinding(
        rule="accepted.stale",
        severity="warning",
        kind="accepted",
        resource="*",
        pointer="",
        documented=f"{entry.fingerprint} is accepted until {entry.expires}: {entry.reason}",
        observed="no such finding any more" + (f" ({entry.rule})" if entry.rule else ""),
        fingerprint=fingerprint("accepted.stale", entry.fingerprint),
        note="take the entry out of the file of accepted findings",
    )


EXIT_OK, EXIT_DRIFT, EXIT_INCOMPLETE = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Known:
    """A difference from the page that is known and no drift.

    Attributes:
        id: The erratum, or the claim about a field that recordings have and the page has not.
        says: What it is.
        seen: How many exchanges show it.
    """

    id: str
    says: str
    seen: int


@dataclass(frozen=True, slots=True)
class NotCompared:
    """Something that was not compared.

    Attributes:
        what: The probe or recording.
        why: The reason.
        harmless: Whether the run is complete without it.
    """

    what: str
    why: str
    harmless: bool


@dataclass(frozen=True)
class Report:
    """One drift run.

    Attributes:
        findings: What counts, the worst first.
        accepted: What is accepted.
        known: Differences that are known and no drift.
        not_compared: What was not compared.
        compared: How many exchanges were.
        claims: The claims that were looked at.
        total: How many claims there are.
        source: Where the exchanges came from.
        origin: The same for people: an upstream, or paths.
        made: When the report was made, in UTC.
        version: Ringback's.
        fail_on: The least severity that fails.
    """

    findings: tuple[DriftFinding, ...]
    accepted: tuple[DriftFinding, ...] = ()
    known: tuple[Known, ...] = ()
    not_compared: tuple[NotCompared, ...] = ()
    compared: int = 0
    claims: tuple[Claim, ...] = ()
    total: int = 0
    source: Literal["live", "recordings", "passive"] = "live"
    origin: str = ""
    made: datetime | None = None
    version: str = ""
    fail_on: Severity = "error"
    counts: Counter[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "counts", Counter(finding.severity for finding in self.findings))

    @property
    def failing(self) -> tuple[DriftFinding, ...]:
        """The findings at or above `fail_on`."""
        return tuple(finding for finding in self.findings if at_least(finding.severity, self.fail_on))

    @property
    def exit_code(self) -> int:
        """0: looked, nothing that fails. 1: drift. 2: could not look, or compared nothing."""
        if self.failing:
            return EXIT_DRIFT
        return (
            EXIT_INCOMPLETE
            if not self.compared or any(not item.harmless for item in self.not_compared)
            else EXIT_OK
        )

    @property
    def verdict(self) -> str:
        """One line: whether there is drift, and how much was looked at."""
        looked = f"{many(self.compared, 'exchange')}, {len(self.claims)} of {self.total} claims"
        if not self.compared:
            return "nothing was compared"
        parts = [
            many(self.counts[severity], severity) if severity != "info" else f"{self.counts[severity]} info"
            for severity in SEVERITIES
            if self.counts[severity]
        ]
        found = ", ".join(parts) if parts else "no drift"
        missing = sum(not item.harmless for item in self.not_compared)
        blind = f"; {many(missing, 'request')} got no answer" if missing else ""
        if self.source == "recordings" and missing:
            blind = f"; {many(missing, 'file')} could not be read"
        return f"{found} in {looked}{blind}"


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class ReportFrame:
    """Settings of a report.

    Attributes:
        source: Where the exchanges came from.
        origin: The same for people.
        only: Globs of the claims that count; all where there is none.
        entries: What is accepted.
        fail_on: The least severity that fails.
        whole: Whether everything was asked.
        reproduce: Gives the command that shows a rule's finding again.
        made: When, in UTC.
        rows: Whether findings have their rows.
    """

    source: Literal["live", "recordings", "passive"]
    origin: str
    only: Collection[str] = ()
    entries: Collection[AcceptedFinding] = ()
    fail_on: Severity = "error"
    whole: bool = False
    reproduce: Callable[[str], str] = str
    made: datetime = field(default_factory=_now)
    rows: bool = True


def build_report(
    claim_set: ClaimSet,
    comparisons: Sequence[Comparison],
    not_compared: Sequence[NotCompared],
    frame: ReportFrame,
) -> Report:
    """The report of a run."""
    compared = [item for item in comparisons if not item.skipped]
    findings = [
        finding
        for finding in collect_findings(claim_set, compared, frame.reproduce, rows=frame.rows)
        if not frame.only or _matches((finding.rule, *finding.claims), frame.only)
    ]
    looked = looked_at(compared)
    if frame.only:
        compared = _relevant(claim_set, compared, frame.only)
    judged = take_out_accepted(findings, frame.entries, frame.made.date(), looked, whole=frame.whole)
    seen = Counter(name for item in compared for name in item.known)
    return Report(
        findings=tuple(sorted(judged.open, key=lambda item: SEVERITIES.index(item.severity))),
        accepted=judged.accepted,
        known=tuple(Known(name, _says(claim_set, name), count) for name, count in sorted(seen.items())),
        not_compared=tuple(not_compared),
        compared=len(compared),
        claims=tuple(
            claim
            for name, claim in claim_set.claims.items()
            if name in looked and (not frame.only or _matches([name], frame.only))
        ),
        total=len(claim_set.claims),
        source=frame.source,
        origin=frame.origin,
        made=frame.made,
        version=__version__,
        fail_on=frame.fail_on,
    )


def unknown_claims(claim_set: ClaimSet, only: Collection[str]) -> tuple[str, ...]:
    """Those globs of `only` that no finding can ever be about."""
    resources = [resource.resource for resource in claim_set.contract.resources]
    return tuple(
        glob for glob in only if not _matches(claim_set.claims, [glob]) and not may_be_rule(glob, resources)
    )


def _relevant(claim_set: ClaimSet, compared: Sequence[Comparison], only: Collection[str]) -> list[Comparison]:
    """The comparisons that looked at what `only` names; all of them if it may be something new."""
    if not all(_matches(claim_set.claims, [glob]) for glob in only):
        return list(compared)
    return [item for item in compared if _matches(looked_at([item]), only)]


def _matches(names: Iterable[str], globs: Collection[str]) -> bool:
    return any(fnmatchcase(name, glob) for name in names for glob in globs)


def reproduce_command(arguments: Sequence[str]) -> Callable[[str], str]:
    """Return a function that gives the command to show a rule's finding again; a rule has no wildcards.

    Args:
        arguments: What `ringback drift` must be given besides the rule to look at the same thing.
    """
    return lambda rule: shlex.join(("ringback", "drift", *arguments, "--only", glob.escape(rule)))


def _says(claim_set: ClaimSet, name: str) -> str:
    if name == TRIAL_ACCOUNT:
        return "it is a trial account: bodies begin with Twilio's notice, and segments are counted with it"
    erratum = next((item for item in claim_set.contract.errata if item.id == name), None)
    if erratum is not None:
        return f"erratum of the page: {erratum.page}"
    resource, _, field_name = name.partition(".answer.")
    return f"the page does not mention /{field_name.replace('.', '/')} of {resource}, recordings have it"
