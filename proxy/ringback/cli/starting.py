"""Bringing the proxy up for `run` and `serve`, and telling people why it does not come."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final

import click

from ringback.cli.options import argued
from ringback.cli.proxy import EXIT_START, child_proxy, say, show_log, write_ready
from ringback.cli.variables import unread
from ringback.launch.ca import Authority, AuthorityError, ensure_authority
from ringback.launch.directory import KEPT, launch_base, launch_directory
from ringback.launch.ready_file import own_ready_file
from ringback.server.run import ProxyConfig, StartError
from ringback.settings import OPTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ringback.launch.environment import Launch
    from ringback.server.run import BoundPorts
    from ringback.settings import Settings


_REFUSED: Final = re.compile(r"(?P<name>\w+): (?P<why>.*)", re.DOTALL)
_FILES: Final = ("contract", "cassette")  # what stands in them is refused, told with its place
_NEEDS_LIVE: Final = tuple(option.name for option in OPTIONS.values() if option.live)


class CannotStartError(click.ClickException):
    """The proxy cannot start: told in one line, exit code 5."""

    exit_code = EXIT_START

    def show(self, file: IO[Any] | None = None) -> None:  # noqa: ARG002 - click's signature
        """Say why, on stderr."""
        say(f"cannot start: {self.message}", colour="red")


@dataclass(frozen=True)
class Start:
    """What a proxy is started with.

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
        """Where the proxy listens. SOCKS asks for no password, so it is no way in where there is one."""
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
        """What a client of the proxy that listens there needs."""
        from ringback.launch.environment import prepare  # noqa: PLC0415 - the proxy need not wait for it

        return prepare(child_proxy(self.options, listening), self.authority, os.environ, self.directory)

    def ready(self, listening: BoundPorts) -> dict[str, Any]:
        """Write the ready file, if one is wanted, and return what stands in it."""
        from ringback.launch.environment import roots  # noqa: PLC0415 - as above

        _tell_idle(self.options)
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
    for warning in unread(os.environ):
        say(warning, colour="yellow")
    try:
        authority = ensure_authority()
        for warning in authority.warnings:
            say(warning, colour="yellow")
        base = launch_base(lambda warning: say(warning, colour="yellow"))
        with own_ready_file(options.ready_file), launch_directory(base) as directory:
            yield Start(options, authority, directory)
            if (directory / KEPT).exists():
                say('shells that took `ringback env` go on without: eval "$(ringback env --unset)"')
    except StartError as error:
        raise _told(str(error)) from None
    except AuthorityError as error:
        raise CannotStartError(str(error)) from None
    except OSError as error:
        raise CannotStartError(f"{error.filename}: {error.strerror}") from None


def _told(message: str) -> click.ClickException:
    """What the addon says of its options, about the options that the user knows."""
    found = _REFUSED.fullmatch(message)
    if found is None:
        return CannotStartError(message)
    if found["name"] in _FILES:
        return CannotStartError(found["why"])
    context = click.get_current_context(silent=True)
    options = context.command.params if context else []
    option = next((one for one in options if one.name == found["name"]), None)
    return click.BadParameter(found["why"], context, option)


def _tell_idle(options: Settings) -> None:
    """Warn of options that offline has no use for."""
    idle = argued(_NEEDS_LIVE) if options.mode == "offline" else []
    if idle:
        why = "nothing is forwarded or recorded, see --mode"
        say(f"{', '.join(idle)}: without effect offline: {why}", colour="yellow")
