"""What `run` and `serve` share: options, the ready file, the summary."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from ringback import __version__
from ringback.cli import request_log
from ringback.cli.summary import cassettes_fail, findings, summary
from ringback.launch.runtimes import Proxy, reachable
from ringback.net import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from ringback.journal import Journal
    from ringback.server.run import BoundPorts
    from ringback.settings import Settings

__all__ = [
    "EXIT_CASSETTES",
    "EXIT_NONE",
    "EXIT_START",
    "cassettes_fail",
    "child_proxy",
    "findings",
    "keep_journal",
    "say",
    "show_log",
    "summary",
    "write_ready",
]

# Stands for the password, which is in no file, so that no file can give it away.
PASSWORD_PLACEHOLDER = "PASSWORD"  # noqa: S105 - no password

EXIT_NONE = 3
EXIT_CASSETTES = 4
EXIT_START = 5


def say(text: str, *, colour: str | None = None) -> None:
    """Print a message for people on stderr; where nobody can read it, the rest goes on.

    On a terminal it is wrapped at the terminal's width, between words; a file or a pipe gets one line.
    """
    line = f"ringback: {text}"
    with suppress(OSError):
        if sys.stderr is not None and sys.stderr.isatty():
            line = wrap(line, shutil.get_terminal_size().columns)
        click.secho(line, err=True, fg=colour)


def wrap(line: str, width: int) -> str:
    """Break `line` between words so that no part is wider than `width`; a longer word stays whole."""
    if len(line) <= width:
        return line
    import textwrap  # noqa: PLC0415 - most lines are short

    text = line.removeprefix("ringback: ")
    indent = "  " + " " * (len(text) - len(text.lstrip()))
    return textwrap.fill(
        line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


class _Told(logging.Handler):
    """Shows people what Ringback itself logs; a traceback only where something unforeseen happened."""

    def emit(self, record: logging.LogRecord) -> None:
        colour = "red" if record.levelno >= logging.ERROR else "yellow"
        say(logging.Formatter().format(record), colour=colour)


def show_log() -> None:
    """Show warnings and errors of Ringback's own on stderr."""
    logger = logging.getLogger("ringback")
    if not any(isinstance(handler, _Told) for handler in logger.handlers):
        logger.addHandler(_Told(logging.WARNING))


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
            say(f"--journal-file {options.journal_file}: {error.strerror}", colour="yellow")
    request_log.follow(journal, options, default=lines)


def write_ready(options: Settings, running: BoundPorts, root: Path, bundle: Path) -> dict[str, Any]:
    """Write the ready file, if one is wanted, atomically.

    Returns:
        Its content, as `ReadyFile` describes it; docs/clients.md has the table for users.

    Raises:
        OSError: The file cannot be written; its `filename` is the option.
    """
    user = child_proxy(options, running).user
    host = reachable(running.host)
    state = {
        "pid": os.getpid(),
        "port": running.port,
        "proxy": Proxy(host, running.port).url,
        "ca": str(root),
        "bundle": str(bundle),
        "mode": options.mode,
        "version": __version__,
        "socks": running.socks_port,
        "reverse": running.reverse_port,
        "transparent": running.transparent_port,
        "user": user,
        "authenticated_proxy": user and Proxy(host, running.port, user, PASSWORD_PLACEHOLDER).url,
    }
    if options.ready_file is not None:
        try:
            write_atomically(options.ready_file, json.dumps(state).encode() + b"\n", mode=0o600)
        except OSError as error:
            raise OSError(error.errno, error.strerror, f"--ready-file {options.ready_file}") from None
    return state


def child_proxy(options: Settings, running: BoundPorts) -> Proxy:
    """The proxy as a child is told of it.

    With a password the proxy URL has a user name too, and that names the cassette.
    """
    user = options.cassette if options.password else None
    return Proxy(reachable(running.host), running.port, user, options.password, running.socks_port)
