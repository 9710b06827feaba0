"""Summary that `run` and `serve` print at the end."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from ringback.tally import many, misled_warning

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ringback.cassettes.manager import CassetteUsage
    from ringback.drift.findings import DriftFinding
    from ringback.server.run import RunningProxy
    from ringback.tally import Tally

EXIT_NONE = 3
EXIT_CASSETTES = 4
EXIT_START = 5
EXIT_PUT_ASIDE = 6

_LISTED = 10  # findings that are shown by themselves
_REASONS = 5  # of one rule that are shown by themselves


def summary(
    tally: Tally,
    mode: str,
    used: Sequence[CassetteUsage] = (),
    found: Sequence[DriftFinding] = (),
    *,
    list_unused: bool = False,
) -> list[str]:
    """The lines that report what was answered, by whom, and why some of it was refused.

    Args:
        tally: What was answered.
        mode: The mode.
        used: What became of the cassettes.
        found: The drift that was seen.
        list_unused: Whether unused recordings are named, not only counted.
    """
    sources = ", ".join(f"{kind} {count}" for kind, count in sorted(tally.by_source.items()))
    lines = [f"{many(tally.total, 'Twilio request')} answered, {mode}" + (f" ({sources})" if sources else "")]
    lines += _by_reason("refused ", tally.refused, tally) + _by_reason("error ", tally.failed, tally)
    if tally.distrusted:
        lines.append(f"  {tally.distrusted} x TLS ended by a client that does not trust Ringback's CA")
    lines += [f"  {count} x {misled_warning(client)}" for client, count in tally.misled.most_common()]
    return lines + _live(tally) + _drift(found) + _cassettes(tally, used, list_unused=list_unused)


def _by_reason(title: str, counts: Counter[str], tally: Tally) -> list[str]:
    """A line for each rule and reason, the most frequent first; of many reasons the rest are counted."""
    lines = []
    for rule, count in counts.most_common():
        reasons = Counter({reason: times for (name, reason), times in tally.reasons.items() if name == rule})
        shown = reasons.most_common(_REASONS) or [("", count)]
        lines += [f"  {times} x {title}{rule}" + (f": {reason}" if reason else "") for reason, times in shown]
        others = count - sum(times for _, times in shown)
        if others:
            lines.append(f"    and {many(others, 'other')}")
    return lines


def _drift(found: Sequence[DriftFinding]) -> list[str]:
    """Format differences of the live API from the documentation; additions are counted, not listed."""
    if not found:
        return []
    counts = Counter(finding.severity for finding in found)
    lines = ["  drift: " + ", ".join(f"{count} {severity}" for severity, count in counts.items())]
    listed = [finding for finding in found if finding.severity != "info"]
    lines += [
        f"    {one.severity} {one.rule}: documented {one.documented}, live {one.observed} ({one.fingerprint})"
        for one in listed[:_LISTED]
    ]
    if len(listed) > _LISTED:
        lines.append(f"    and {len(listed) - _LISTED} more: --drift-report FILE writes all of them")
    return lines


def findings(running: RunningProxy) -> Sequence[DriftFinding]:
    """The drift that was seen in what passed through, the worst first."""
    return running.responder.monitor.findings() if running.responder.monitor else ()


def _cassettes(tally: Tally, used: Sequence[CassetteUsage], *, list_unused: bool) -> list[str]:
    """Format the usage of the cassettes."""
    lines = [f"  {tally.missed} x not in the cassette (--strict)"] if tally.missed else []
    for one in used:
        counts = [("replayed", one.replayed), ("recorded", one.recorded), ("NOT recorded", one.failed)]
        counts += [("missed", one.missed), ("unused", one.unused)]
        counts += [("refused though recorded (--replay-any)", one.refused), ("too old (--max-age)", one.old)]
        said = ", ".join(f"{count} {what}" for what, count in counts if count)
        if said:
            lines.append(f"  cassette {one.name}: {said}")
        if one.put_aside:
            lines.append(f"    its new recording was put aside as cassette {one.put_aside}")
        if not list_unused:
            continue
        lines += [f"    unused: {label}" for label in one.labels]
        if one.unused > len(one.labels):
            more = one.unused - len(one.labels)
            lines.append(f"    and {more} more: `ringback cassettes prune {one.name} --unused --dry-run`")
    return lines


def cassettes_fail(
    tally: Tally, used: Sequence[CassetteUsage], *, fail_on_unused: bool, strict: bool = False
) -> bool:
    """Report whether cassettes are a reason to fail.

    They are for a strict miss, for a recording that nobody used where that is asked for, and in a strict run
    for a recorded request that was refused or answered from a recording that is too old.
    """
    refused = strict and any(one.refused or one.old for one in used)
    return bool(tally.missed or refused or (fail_on_unused and any(one.unused for one in used)))


def cassettes_code(used: Sequence[CassetteUsage], *, failing: bool) -> int:
    """Return the exit code that cassettes give a run that succeeded otherwise; 0 for none.

    Args:
        used: The cassettes.
        failing: The answer of `cassettes_fail`.
    """
    if failing:
        return EXIT_CASSETTES
    return EXIT_PUT_ASIDE if any(one.put_aside for one in used) else 0


def _live(tally: Tally) -> list[str]:
    """Format the live API's answers, and the requests that it did not answer."""
    lines = []
    differing = tally.differences.total()
    if tally.agreed or differing:
        lines.append(
            f"  live answers: {tally.agreed} with the documented status and code, {differing} with others"
        )
        lines += [f"  {count} x different {text}" for text, count in tally.differences.most_common()]
    return lines + _by_reason("answered offline instead, ", tally.fallbacks, tally)
