"""What `run` and `serve` share: options, the ready file, the summary."""

from __future__ import annotations

import json
import logging
import os
import re
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ringback import __version__
from ringback.cli.given import Option
from ringback.cli.summary import cassettes_fail, findings, summary
from ringback.launch.runtimes import Proxy, reachable

if TYPE_CHECKING:
    from collections.abc import Callable

    from ringback.addon.server import Listening

__all__ = [
    "EXIT_CASSETTES",
    "EXIT_NONE",
    "EXIT_START",
    "ProxyOptions",
    "cassettes_fail",
    "child_proxy",
    "findings",
    "proxy_options",
    "say",
    "show_log",
    "summary",
    "write_ready",
]

F = TypeVar("F", bound="Callable[..., Any]")

_PLAIN_NAME = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9_-]{0,49}"
)  # certainly a cassette's name; others are looked at
EXIT_NONE = 3
EXIT_CASSETTES = 4
EXIT_START = 5


def _cassette_name(_context: click.Context, _option: click.Parameter, name: str) -> str:
    """`name`, if a cassette can be called so."""
    if _PLAIN_NAME.fullmatch(name):
        return name
    from ringback.cassettes.errors import CassetteNameError  # noqa: PLC0415 - slow, and rarely needed
    from ringback.cassettes.names import check_name  # noqa: PLC0415 - slow, and rarely needed

    try:
        return check_name(name)
    except CassetteNameError as error:
        raise click.BadParameter(str(error)) from None


def _address(_context: click.Context, _option: click.Parameter, host: str) -> str:
    """`host`, if it is any: what listens at an empty one is open to everybody."""
    if not host.strip():
        raise click.BadParameter("it is empty; name an address, such as 127.0.0.1")
    return host


_option = partial(click.option, cls=Option)
_OPTIONS = (
    _option(
        "--mode",
        type=click.Choice(["offline", "auto", "online"]),
        default="offline",
        show_default=True,
        envvar="RINGBACK_MODE",
        help="How Twilio requests are answered. Only test credentials are ever forwarded.",
    ),
    _option(
        "--host",
        default="127.0.0.1",
        show_default=True,
        callback=_address,
        envvar="RINGBACK_HOST",
        help="Address to listen on. Other than loopback needs RINGBACK_PROXY_PASSWORD.",
    ),
    _option(
        "--port",
        type=click.IntRange(0, 65535),
        default=0,
        show_default=True,
        envvar="RINGBACK_PORT",
        help="Port to listen on; 0 lets the kernel choose.",
    ),
    _option(
        "--reverse",
        type=click.IntRange(0, 65535),
        metavar="PORT",
        envvar="RINGBACK_REVERSE",
        help="Listen here too, in the place of api.twilio.com: TLS by that name, plain HTTP on loopback.",
    ),
    _option(
        "--transparent",
        type=click.IntRange(0, 65535),
        metavar="PORT",
        envvar="RINGBACK_TRANSPARENT",
        help="Listen here too, for connections of this machine that iptables redirects.",
    ),
    _option(
        "--contract",
        "contracts",
        type=click.Path(dir_okay=False, path_type=Path),
        multiple=True,
        envvar="RINGBACK_CONTRACT",
        help="Your own rows and texts, laid over the documented contract. May be given several times.",
    ),
    _option(
        "--seed",
        type=int,
        envvar="RINGBACK_SEED",
        help="Make sids, request ids and dates repeat from run to run.",
    ),
    _option(
        "--block-other-hosts",
        is_flag=True,
        envvar="RINGBACK_BLOCK_OTHER_HOSTS",
        help="Refuse hosts that are not Twilio's instead of tunnelling them.",
    ),
    _option(
        "--cassettes",
        type=click.Path(file_okay=False, path_type=Path),
        default=Path("cassettes"),
        show_default=True,
        envvar="RINGBACK_CASSETTES",
        help="Directory of the cassettes.",
    ),
    _option(
        "--cassette",
        default="default",
        show_default=True,
        metavar="NAME",
        callback=_cassette_name,
        envvar="RINGBACK_CASSETTE",
        help="Cassette of clients that name none as the proxy URL's user.",
    ),
    _option(
        "--repeats",
        type=click.Choice(["last", "error"]),
        default="last",
        show_default=True,
        envvar="RINGBACK_REPEATS",
        help="What a request gets after its last recording: that one again, or a miss.",
    ),
    _option(
        "--strict",
        is_flag=True,
        envvar="RINGBACK_STRICT",
        help="Answer from cassettes alone: what they do not have is an error.",
    ),
    _option(
        "--fail-on-unused",
        is_flag=True,
        envvar="RINGBACK_FAIL_ON_UNUSED",
        help="Exit 4 when a recording was not used.",
    ),
    _option(
        "--redact",
        multiple=True,
        metavar="FIELD[,FIELD]...",
        envvar="RINGBACK_REDACT",
        help="Form fields that are recorded as pseudonyms, e.g. To,Body.",
    ),
    _option(
        "--upstream",
        metavar="URL",
        envvar="RINGBACK_UPSTREAM",
        help="A stand-in for the live API: https://HOST:PORT.",
    ),
    _option(
        "--upstream-ca",
        type=click.Path(dir_okay=False, path_type=Path),
        envvar="RINGBACK_UPSTREAM_CA",
        help="PEM file of the roots that the live API is verified with, instead of the system's.",
    ),
    _option(
        "--egress-proxy",
        metavar="URL",
        envvar="RINGBACK_EGRESS_PROXY",
        help="Proxy for connections to the outside; else what HTTPS_PROXY and NO_PROXY say.",
    ),
    _option(
        "--connect-timeout",
        default="10",
        show_default=True,
        metavar="SECONDS",
        envvar="RINGBACK_CONNECT_TIMEOUT",
        help="How long to wait for a connection to the live API.",
    ),
    _option(
        "--timeout",
        default="30",
        show_default=True,
        metavar="SECONDS",
        envvar="RINGBACK_TIMEOUT",
        help="How long to wait for the live API's answer.",
    ),
    _option(
        "--max-live",
        type=click.IntRange(0),
        metavar="N",
        envvar="RINGBACK_MAX_LIVE",
        help="Forward no more than N requests, then go on offline.",
    ),
    _option(
        "--drift-report",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        envvar="RINGBACK_DRIFT_REPORT",
        help="Write where live answers differ from the page: .json, .html, .xml (JUnit), .sarif, .txt.",
    ),
    _option(
        "--ready-file",
        type=click.Path(dir_okay=False, path_type=Path),
        envvar="RINGBACK_READY_FILE",
        help="Write a JSON object here once requests are accepted.",
    ),
)


@dataclass(frozen=True)
class ProxyOptions:
    """The options that `run` and `serve` share, as given."""

    mode: str = "offline"
    host: str = "127.0.0.1"
    port: int = 0
    reverse: int | None = None
    transparent: int | None = None
    contracts: tuple[Path, ...] = ()
    seed: int | None = None
    block_other_hosts: bool = False
    cassettes: Path = Path("cassettes")
    cassette: str = "default"
    repeats: str = "last"
    strict: bool = False
    fail_on_unused: bool = False
    redact: tuple[str, ...] = ()
    upstream: str | None = None
    upstream_ca: Path | None = None
    egress_proxy: str | None = None
    connect_timeout: str = "10"
    timeout: str = "30"
    max_live: int | None = None
    drift_report: Path | None = None
    ready_file: Path | None = None
    password: str | None = field(default_factory=lambda: os.environ.get("RINGBACK_PROXY_PASSWORD") or None)

    def addon_options(self) -> dict[str, Any]:
        """The same as mitmproxy options."""
        return {
            "ringback_mode": self.mode,
            "ringback_contract": [str(path) for path in self.contracts],
            "ringback_seed": self.seed,
            "ringback_block_other_hosts": self.block_other_hosts,
            "ringback_cassettes": str(self.cassettes),
            "ringback_cassette": self.cassette,
            "ringback_repeats": self.repeats,
            "ringback_strict": self.strict,
            "ringback_redact": list(self.redact),
            "ringback_upstream": self.upstream,
            "ringback_upstream_ca": str(self.upstream_ca) if self.upstream_ca else None,
            "ringback_egress_proxy": self.egress_proxy,
            "ringback_connect_timeout": self.connect_timeout,
            "ringback_timeout": self.timeout,
            "ringback_max_live": self.max_live,
            "ringback_drift_report": str(self.drift_report) if self.drift_report else None,
        }


def proxy_options(command: F) -> F:
    """Give `command` the shared options, as keyword arguments for `ProxyOptions`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


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


def write_ready(options: ProxyOptions, running: Listening, root: Path, bundle: Path) -> dict[str, Any]:
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


def child_proxy(options: ProxyOptions, running: Listening) -> Proxy:
    """The proxy as a child is told of it.

    With a password the proxy URL has a user name too, and that names the cassette.
    """
    user = options.cassette if options.password else None
    return Proxy(reachable(running.host), running.port, user, options.password, running.socks_port)
