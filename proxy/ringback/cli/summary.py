"""Reports of `run` and `serve`: a line for each answered request, and the summary at the end."""

from __future__ import annotations

import json
import os
import shutil
import sys
import unicodedata
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import click

from ringback.cli.output import print_message
from ringback.tally import MISSES, many, misled_warning

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ringback.cassettes.manager import CassetteUsage
    from ringback.drift.findings import DriftFinding
    from ringback.journal import Journal
    from ringback.records import Callback, Entry, Record
    from ringback.server.run import RunningProxy
    from ringback.settings import Settings
    from ringback.tally import Tally


_MOST_LISTED: Final = 10


def follow(journal: Journal, options: Settings, *, default: bool) -> None:
    """Print a line for each request from now on, as the options say.

    Args:
        journal: Where requests come in.
        options: `verbose` prints, `quiet` does not; `log_format` chooses text or JSON.
        default: Whether lines are printed where neither is given.
    """
    if options.quiet or not (default or options.verbose or options.log_format == "json"):
        return
    as_json = options.log_format == "json"
    colour = sys.stderr.isatty() and not os.environ.get("NO_COLOR")

    def show(entry: Entry | None) -> None:
        if entry is None:
            return
        record = entry.record()
        if as_json:
            text = json.dumps(record.as_dict())
        else:
            width = shutil.get_terminal_size().columns if sys.stderr.isatty() else 0
            text = line(record, width=width, colour=colour)
        with suppress(OSError):
            click.echo(text, err=True, color=colour)

    def show_callback(callback: Callback) -> None:
        text = (
            json.dumps({"callback": callback.as_dict()})
            if as_json
            else callback_line(callback, colour=colour)
        )
        with suppress(OSError):
            click.echo(text, err=True, color=colour)

    journal.listeners.add(show)
    journal.callback_listeners.add(show_callback)


def line(record: Record, *, width: int = 0, colour: bool = False) -> str:
    """Return one line about a request: when, what, for whom, the outcome, the rule and the text.

    Args:
        record: The request.
        width: Columns after which the line is cut; 0 for no limit.
        colour: Whether the outcome is coloured.
    """
    sender, to = record.field("From", "MessagingServiceSid"), record.field("To", "PhoneNumber", "AreaCode")
    who = f"{sender} -> {to}" if sender and to else to or sender
    what = record.resource if record.method == "POST" else f"{record.method} {record.resource}"
    outcome = f"{record.status} {record.code}" if record.code else str(record.status)
    text = record.field("Body", "Url", "Twiml") if record.succeeded else record.message or ""
    before = _plain(" ".join(filter(None, (record.time[11:19], what, who))))
    after = _plain(
        " ".join(filter(None, (record.rule, json.dumps(text, ensure_ascii=False) if text else "")))
    )
    room = max(0, width - _cells(before) - len(outcome) - 2)
    if width and _cells(after) > room:
        after = _cut(after, room)
    shown = click.style(outcome, fg=_colour(record)) if colour else outcome
    return f"{before} {shown} {after}".rstrip()


def callback_line(callback: Callback, *, colour: bool = False) -> str:
    """Return one line about a status callback: when, of what, the status, where to, and the answer."""
    outcome = str(callback.answered or callback.error)
    shown = _plain(outcome)
    if colour:
        shown = click.style(shown, fg="green" if callback.answered in range(200, 300) else "yellow")
    what = f"{callback.time[11:19]} {callback.resource} {callback.sid} {callback.status} -> {callback.url}"
    return f"{_plain(what)} {shown}"


def failures(journal: Journal) -> list[str]:
    """Return lines about the requests that a cassette missed or that were refused, the last ones."""
    found = [entry for entry in journal if entry.source.kind == "gate" or (entry.source.rule in MISSES)]
    lines = [line(entry.record()) for entry in found[-_MOST_LISTED:]]
    earlier = len(found) - len(lines)
    return ([f"({earlier} earlier)"] if earlier else []) + lines


def _colour(record: Record) -> str:
    if record.succeeded:
        return "green"
    return "red" if record.source == "gate" or record.rule in MISSES else "yellow"


def _plain(text: str) -> str:
    """Replace what a terminal would obey, such as escape sequences and changes of direction."""
    return "".join(char if char.isprintable() else " " for char in text)


def _cells(text: str) -> int:
    """Return the columns that `text` takes."""
    return sum(_width(char) for char in text)


def _width(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _cut(text: str, columns: int) -> str:
    """Shorten `text` to `columns`."""
    kept, used = [], 3
    for char in text:
        used += _width(char)
        if used > columns:
            break
        kept.append(char)
    return "".join(kept).rstrip() + "..." if columns > 3 else ""


def keep_journal(journal: Journal, options: Settings, *, lines: bool = False) -> None:
    """Keep the journal, write its file and print its lines as the options say.

    Args:
        journal: The proxy's.
        options: The options.
        lines: Whether a line is printed for each request where the options do not say.
    """
    journal.capacity = options.journal
    if options.journal_file is not None:
        try:
            journal.write_to(options.journal_file)
        except OSError as error:
            print_message(f"--journal-file {options.journal_file}: {error.strerror}", colour="yellow")
    follow(journal, options, default=lines)


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
        list_unused: Whether unused interactions are named, not only counted.
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
        counted = ", ".join(f"{count} {what}" for what, count in counts if count)
        if counted:
            lines.append(f"  cassette {one.name}: {counted}")
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

    They are for a strict miss, for an interaction that nobody used where that is asked for, and in a strict
    run for a recorded request that was refused or answered from an interaction that is too old.
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
