"""History of drift: the JSON reports of many runs, in a directory or an object store, and their summary.

Each run adds one object and changes none, so that any number of machines can keep one history. The reports
are those of `ringback drift --format json`. Other objects are left out, and so are reports that are damaged.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ringback.cassettes.files import CassetteError
from ringback.cassettes.object_store import Bucket, GoneError, is_url
from ringback.drift.observation import SEVERITIES
from ringback.drift.report.as_json import VERSION
from ringback.net import write_atomically
from ringback.tally import many

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_NAME: Final = re.compile(r"drift-\d{8}T\d{6}Z-[0-9a-f]{8}\.json")
_LARGEST: Final = 16 * 1024 * 1024  # bytes of a report that is read
_TEMPLATE: Final = "history.html.jinja"


class HistoryError(Exception):
    """The history cannot be read or written; the message has no credential."""


class DriftHistory:
    """The reports at a place.

    Args:
        place: A directory, or the address of an object store (`s3://`, `gs://`, `az://`).
        report: Takes sentences about reports that are left out.
        environ: The environment variables.

    Raises:
        HistoryError: The address cannot be used.
    """

    def __init__(
        self,
        place: str,
        report: Callable[[str], None] = lambda _: None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self.place = place
        self._report = report
        try:
            self._bucket = Bucket(place, environ) if is_url(place) else None
        except CassetteError as error:
            raise HistoryError(str(error)) from None

    def add(self, text: str, made: datetime) -> str:
        """Keep the report `text` of the time `made`, and return its name.

        Raises:
            HistoryError: It cannot be written.
        """
        name = f"drift-{made.astimezone(UTC):%Y%m%dT%H%M%SZ}-{os.urandom(4).hex()}.json"
        try:
            if self._bucket is not None:
                self._bucket.put(name, text.encode())
            else:
                Path(self.place).mkdir(parents=True, exist_ok=True)
                write_atomically(Path(self.place) / name, text.encode(), durable=True)
        except CassetteError as error:
            raise HistoryError(str(error)) from None
        except OSError as error:
            raise HistoryError(f"{self.place}: cannot be written: {error.strerror}") from None
        return name

    def runs(self) -> list[DriftRun]:
        """Return the runs, oldest first.

        Raises:
            HistoryError: The place cannot be read.
        """
        found = []
        for name, data in self._objects():
            run = _run_of(data)
            if run is None:
                self._report(f"{self.place}/{name}: left out, it is no drift report of this version")
            else:
                found.append(run)
        return sorted(found, key=lambda run: run.made)

    def _objects(self) -> Iterator[tuple[str, bytes]]:
        try:
            if self._bucket is None:
                for path in sorted(Path(self.place).iterdir()):
                    if _NAME.fullmatch(path.name):
                        yield path.name, path.read_bytes() if path.stat().st_size <= _LARGEST else b""
                return
            for one in self._bucket.list():
                if _NAME.fullmatch(one.path):
                    got = self._bucket.get(one.path)
                    yield one.path, got[0] if got else b""
        except CassetteError as error:
            raise HistoryError(str(error)) from None
        except GoneError:
            raise HistoryError(f"{self.place}: a report went away while it was read; try again") from None
        except OSError as error:
            raise HistoryError(f"{self.place}: cannot be read: {error.strerror}") from None


@dataclass(frozen=True)
class DriftRun:
    """One report of a history.

    Attributes:
        made: When it was made.
        verdict: Its first line.
        origin: Who was asked.
        exit_code: What the run ended with.
        findings: What it found, by fingerprint; what is accepted is among it.
        accepted: The fingerprints of what is accepted.
        looked_at: The claims that it looked at.
    """

    made: datetime
    verdict: str
    origin: str
    exit_code: int
    findings: Mapping[str, Mapping[str, Any]]
    accepted: frozenset[str]
    looked_at: frozenset[str]


def _run_of(data: bytes) -> DriftRun | None:
    """Return the run of a report, or None if it is none."""
    try:
        found = json.loads(data)
        if found["schema"] != VERSION:
            return None
        made = datetime.fromisoformat(found["made"])
        findings = {str(one["fingerprint"]): one for one in (*found["findings"], *found["accepted"])}
        for one in findings.values():
            if one["severity"] not in SEVERITIES or not isinstance(one["claims"], list):
                return None
            _ = str(one["rule"]), str(one["observed"]), str(one["documented"]["text"])
        return DriftRun(
            made if made.tzinfo else made.replace(tzinfo=UTC),
            str(found["verdict"]),
            str(found["origin"]),
            int(found["exit_code"]),
            findings,
            frozenset(str(one["fingerprint"]) for one in found["accepted"]),
            frozenset(map(str, found["claims"]["looked_at"])),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


@dataclass
class PastFinding:
    """One finding over all runs.

    Attributes:
        fingerprint: Its name from run to run.
        rule: What it is about, in the newest run that has it; and so for the others.
        severity: How bad it is.
        documented: What the page says.
        observed: What came.
        first: The first run that has it.
        last: The last one.
        seen: How many runs have it.
        looked: How many runs looked at it since the first.
        gone: The first run after `last` that looked and did not find it, or None.
        accepted: Whether it is accepted.
    """

    fingerprint: str
    rule: str
    severity: str
    documented: str
    observed: str
    first: datetime
    last: datetime
    seen: int = 0
    looked: int = 0
    gone: datetime | None = None
    accepted: bool = False

    @property
    def state(self) -> str:
        """The state of the finding, in words."""
        if self.gone is not None:
            return f"gone on {self.gone.date()}"
        return "accepted" if self.accepted else "there"


@dataclass
class DriftTimeline:
    """The findings of all runs of a history.

    Attributes:
        runs: The runs, oldest first.
        findings: What they found: what is still there first, then by severity and name.
        counts: Findings that are there and not accepted, by severity.
    """

    runs: Sequence[DriftRun]
    findings: list[PastFinding] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


def timeline(runs: Sequence[DriftRun]) -> DriftTimeline:
    """Put runs together, which are sorted by time.

    A finding is gone if a later run looked at one of its claims and did not find it. A run with `--only`, or
    one that got no answers, says nothing about what it did not look at.
    """
    known: dict[str, PastFinding] = {}
    claims: dict[str, frozenset[str]] = {}
    for run in runs:
        for name, one in run.findings.items():
            past = known.get(name)
            if past is None:
                past = known[name] = PastFinding(name, "", "", "", "", run.made, run.made)
            past.rule, past.severity = str(one["rule"]), str(one["severity"])
            past.documented, past.observed = str(one["documented"]["text"]), str(one["observed"])
            past.last, past.gone, past.accepted = run.made, None, name in run.accepted
            past.seen += 1
            past.looked += 1
            claims[name] = frozenset({past.rule, *map(str, one["claims"])})
        for name, past in known.items():
            if name not in run.findings and claims[name] & run.looked_at:
                past.looked += 1
                past.gone = past.gone or run.made
    order: dict[str, int] = {severity: number for number, severity in enumerate(SEVERITIES)}
    found = sorted(known.values(), key=lambda one: (one.gone is not None, order[one.severity], one.rule))
    counts = Counter(one.severity for one in found if one.gone is None and not one.accepted)
    return DriftTimeline(runs, found, counts)


def sentence(found: DriftTimeline) -> str:
    """Return one line about a history."""
    if not found.runs:
        return "no run yet"
    gone = sum(one.gone is not None for one in found.findings)
    there = ", ".join(
        many(found.counts[name], name) if name != "info" else f"{found.counts[name]} info"
        for name in SEVERITIES
        if found.counts[name]
    )
    days = f"{found.runs[0].made.date()} to {found.runs[-1].made.date()}"
    return f"{there or 'no drift'} now, {many(gone, 'finding')} gone; {many(len(found.runs), 'run')}, {days}"


def as_json(found: DriftTimeline) -> str:
    """Return a history as JSON."""
    findings = [
        {
            "fingerprint": one.fingerprint,
            "rule": one.rule,
            "severity": one.severity,
            "documented": one.documented,
            "observed": one.observed,
            "first_day": str(one.first.date()),
            "last_day": str(one.last.date()),
            "gone_on": str(one.gone.date()) if one.gone else None,
            "accepted": one.accepted,
            "runs": one.seen,
            "runs_that_looked": one.looked,
        }
        for one in found.findings
    ]
    runs = [
        {"made": run.made.isoformat(), "verdict": run.verdict, "exit_code": run.exit_code}
        for run in found.runs
    ]
    return json.dumps({"runs": runs, "findings": findings}, indent=2, ensure_ascii=False) + "\n"


def as_metrics(found: DriftTimeline) -> str:
    """Return a history as Prometheus' text, for an alert."""
    lines = [
        "# HELP ringback_drift_findings Findings of the last drift runs that are there and not accepted.",
        "# TYPE ringback_drift_findings gauge",
        *(f'ringback_drift_findings{{severity="{name}"}} {found.counts[name]}' for name in SEVERITIES),
        "# HELP ringback_drift_last_run_timestamp_seconds When drift was last looked for.",
        "# TYPE ringback_drift_last_run_timestamp_seconds gauge",
    ]
    if found.runs:
        last = found.runs[-1]
        lines += [
            f"ringback_drift_last_run_timestamp_seconds {last.made.timestamp():.0f}",
            "# HELP ringback_drift_last_run_exit_code 0: no drift, 1: drift, 2: could not look.",
            "# TYPE ringback_drift_last_run_exit_code gauge",
            f"ringback_drift_last_run_exit_code {last.exit_code}",
        ]
    return "\n".join(lines) + "\n"


def as_html(found: DriftTimeline) -> str:
    """Return a history as one page, which loads nothing and runs nothing."""
    from jinja2 import Environment, StrictUndefined  # noqa: PLC0415 - imported when a page is made

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["many"] = many
    source = (resources.files("ringback.drift.report") / _TEMPLATE).read_text(encoding="utf-8")
    return environment.from_string(source).render(timeline=found, sentence=sentence(found))
