"""Startup of the proxy for `run` and `serve`: the CA, the ready file, and errors that stop it."""

from __future__ import annotations

import json
import os
import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final

import click

from ringback import __version__
from ringback.cli.options import argued, unread_variables
from ringback.cli.output import print_message, show_log
from ringback.cli.summary import EXIT_START
from ringback.launch.ca import Authority, AuthorityError, ensure_authority
from ringback.launch.directory import KEPT, launch_base, launch_directory
from ringback.launch.environment import own_ready_file
from ringback.launch.runtimes import Proxy, reachable
from ringback.net import write_atomically
from ringback.server.run import ProxyConfig, StartError
from ringback.settings import OPTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ringback.launch.environment import Launch
    from ringback.server.run import BoundPorts
    from ringback.settings import Settings


_REFUSED: Final = re.compile(r"(?P<name>\w+): (?P<why>.*)", re.DOTALL)
_FILES: Final = ("contract", "cassette")  # what stands in them is refused, with its place
_NEEDS_LIVE: Final = tuple(option.name for option in OPTIONS.values() if option.live)
# Stands for the password, which is in no file, so that no file can give it away.
PASSWORD_PLACEHOLDER = "PASSWORD"  # noqa: S105 - no password


class CannotStartError(click.ClickException):
    """The proxy cannot start: reported in one line, exit code 5."""

    exit_code = EXIT_START

    def show(self, file: IO[Any] | None = None) -> None:  # noqa: ARG002 - click's signature
        """Say why, on stderr."""
        print_message(f"cannot start: {self.message}", colour="red")


@dataclass(frozen=True)
class Start:
    """Inputs for starting a proxy.

    Attributes:
        options: As given on the command line.
        authority: The CA that it signs with.
        directory: For what its clients read; removed at the end.
    """

    options: Settings
    authority: Authority
    directory: Path

    @property
    def config(self) -> ProxyConfig:
        """Configuration of the proxy. With a password it has no SOCKS listener: SOCKS asks for none."""
        options = self.options
        return ProxyConfig(
            options,
            self.authority.directory,
            options.host,
            options.port,
            socks=options.password is None,
            reverse=options.reverse,
            transparent=options.transparent,
        )

    def launch(self, listening: BoundPorts) -> Launch:
        """Return the launch settings for a client of the proxy that listens on `listening`."""
        from ringback.launch.environment import prepare  # noqa: PLC0415 - the proxy need not wait for it

        return prepare(child_proxy(self.options, listening), self.authority, os.environ, self.directory)

    def ready(self, listening: BoundPorts) -> dict[str, Any]:
        """Write the ready file, if one is wanted, and return what stands in it."""
        from ringback.launch.environment import roots  # noqa: PLC0415 - as above

        _warn_idle(self.options)
        bundle = roots(self.authority, self.directory).default
        return write_ready(self.options, listening, self.authority.root_pem, bundle)


@contextmanager
def start(options: Settings) -> Iterator[Start]:
    """Have ready what a proxy is started with, for as long as it runs.

    Raises:
        BadParameter: An option has a value that is none.
        CannotStartError: The CA, the address or a file is no good.
    """
    show_log()
    for warning in unread_variables(os.environ):
        print_message(warning, colour="yellow")
    try:
        authority = ensure_authority()
        for warning in authority.warnings:
            print_message(warning, colour="yellow")
        base = launch_base(lambda warning: print_message(warning, colour="yellow"))
        with own_ready_file(options.ready_file), launch_directory(base) as directory:
            yield Start(options, authority, directory)
            if (directory / KEPT).exists():
                print_message(
                    'shells that ran `ringback env` still point here: eval "$(ringback env --unset)"'
                )
    except StartError as error:
        raise _option_error(str(error)) from None
    except AuthorityError as error:
        raise CannotStartError(str(error)) from None
    except OSError as error:
        raise CannotStartError(f"{error.filename}: {error.strerror}") from None


def _option_error(message: str) -> click.ClickException:
    """Convert an option error of the addon into one that names the command line's options."""
    found = _REFUSED.fullmatch(message)
    if found is None:
        return CannotStartError(message)
    if found["name"] in _FILES:
        return CannotStartError(found["why"])
    context = click.get_current_context(silent=True)
    options = context.command.params if context else []
    option = next((one for one in options if one.name == found["name"]), None)
    return click.BadParameter(found["why"], context, option)


def _warn_idle(options: Settings) -> None:
    """Warn of options that offline has no use for."""
    idle = argued(_NEEDS_LIVE) if options.mode == "offline" else []
    if idle:
        why = "nothing is forwarded or recorded, see --mode"
        print_message(f"{', '.join(idle)}: without effect offline: {why}", colour="yellow")


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
