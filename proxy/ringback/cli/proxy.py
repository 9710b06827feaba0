"""What `run` and `serve` share: options, the ready file, the summary."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ringback import __version__
from ringback.cli.summary import cassettes_fail, findings, summary
from ringback.launch.runtimes import Proxy, reachable

if TYPE_CHECKING:
    from ringback.addon.server import Listening
    from ringback.settings import Settings

__all__ = [
    "EXIT_CASSETTES",
    "EXIT_NONE",
    "EXIT_START",
    "cassettes_fail",
    "child_proxy",
    "findings",
    "say",
    "show_log",
    "summary",
    "write_ready",
]

EXIT_NONE = 3
EXIT_CASSETTES = 4
EXIT_START = 5


def say(text: str, *, colour: str | None = None) -> None:
    """One line for people, on stderr; where nobody can read it, the rest goes on."""
    with suppress(OSError):
        click.secho(f"ringback: {text}", err=True, fg=colour)


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


def write_ready(options: Settings, running: Listening, root: Path, bundle: Path) -> dict[str, Any]:
    """Write the ready file, if one is wanted, atomically.

    Returns:
        Its content: pid, port, proxy (URL), ca and bundle (PEM paths), mode, version; socks, reverse and
        transparent (port or null); user (what goes with the password in a proxy URL, null without one).

    Raises:
        OSError: The file cannot be written; its `filename` is the option.
    """
    state = {
        "pid": os.getpid(),
        "port": running.port,
        "proxy": Proxy(reachable(running.host), running.port).url,
        "ca": str(root),
        "bundle": str(bundle),
        "mode": options.mode,
        "version": __version__,
        "socks": running.socks_port,
        "reverse": running.reverse_port,
        "transparent": running.transparent_port,
        "user": child_proxy(options, running).user,
    }
    if options.ready_file is not None:
        try:
            _put(options.ready_file, json.dumps(state) + "\n")
        except OSError as error:
            raise OSError(error.errno, error.strerror, f"--ready-file {options.ready_file}") from None
    return state


def _put(path: Path, text: str) -> None:
    """Write `path` so that nobody ever reads half of it."""
    handle, name = tempfile.mkstemp(prefix=".ringback-", dir=path.absolute().parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def child_proxy(options: Settings, running: Listening) -> Proxy:
    """The proxy as a child is told of it.

    With a password the proxy URL has a user name too, and that names the cassette.
    """
    user = options.cassette if options.password else None
    return Proxy(reachable(running.host), running.port, user, options.password, running.socks_port)
