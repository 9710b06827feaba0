"""A line for each answered request, for `serve` on a terminal and for `run -v`."""

from __future__ import annotations

import json
import os
import shutil
import sys
import unicodedata
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import click

from ringback.cli.output import print_message
from ringback.tally import MISSES

if TYPE_CHECKING:
    from ringback.journal import Journal
    from ringback.records import Callback, Entry, Record
    from ringback.settings import Settings

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
