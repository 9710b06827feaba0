"""What `run` and `serve` share: options, the ready file, the summary."""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ringback import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from ringback.addon.server import Running
    from ringback.tally import Tally

F = TypeVar("F", bound="Callable[..., Any]")

EXIT_USAGE = 2
EXIT_NONE = 3
EXIT_START = 5

_OPTIONS = (
    click.option(
        "--mode",
        type=click.Choice(["offline"]),
        default="offline",
        show_default=True,
        envvar="RINGBACK_MODE",
        help="How Twilio requests are answered.",
    ),
    click.option(
        "--host",
        default="127.0.0.1",
        show_default=True,
        envvar="RINGBACK_HOST",
        help="Address to listen on. Other than loopback needs RINGBACK_PROXY_PASSWORD.",
    ),
    click.option(
        "--port",
        type=click.IntRange(0, 65535),
        default=0,
        show_default=True,
        envvar="RINGBACK_PORT",
        help="Port to listen on; 0 lets the kernel choose.",
    ),
    click.option(
        "--contract",
        "contracts",
        type=click.Path(dir_okay=False, path_type=Path),
        multiple=True,
        envvar="RINGBACK_CONTRACT",
        help="Your own rows and texts, laid over the documented contract. May be given several times.",
    ),
    click.option(
        "--seed",
        type=int,
        envvar="RINGBACK_SEED",
        help="Make sids, request ids and dates repeat from run to run.",
    ),
    click.option(
        "--block-other-hosts",
        is_flag=True,
        envvar="RINGBACK_BLOCK_OTHER_HOSTS",
        help="Refuse hosts that are not Twilio's instead of tunnelling them.",
    ),
    click.option(
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
    contracts: tuple[Path, ...] = ()
    seed: int | None = None
    block_other_hosts: bool = False
    ready_file: Path | None = None
    password: str | None = field(default_factory=lambda: os.environ.get("RINGBACK_PROXY_PASSWORD") or None)

    def addon_options(self) -> dict[str, Any]:
        """The same as mitmproxy options."""
        return {
            "ringback_mode": self.mode,
            "ringback_contract": [str(path) for path in self.contracts],
            "ringback_seed": self.seed,
            "ringback_block_other_hosts": self.block_other_hosts,
        }


def proxy_options(command: F) -> F:
    """Give `command` the shared options, as keyword arguments for `ProxyOptions`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def say(text: str, *, colour: str | None = None) -> None:
    """One line for people, on stderr."""
    click.secho(f"ringback: {text}", err=True, fg=colour)


def write_ready(options: ProxyOptions, running: Running, root: Path, bundle: Path) -> dict[str, Any]:
    """Write the ready file, if one is wanted, atomically.

    Returns:
        Its content: pid, port, proxy (URL), ca and bundle (PEM paths), mode, version, socks (port or null).

    Raises:
        OSError: The file cannot be written.
    """
    state = {
        "pid": os.getpid(),
        "port": running.port,
        "proxy": f"http://{running.host}:{running.port}",
        "ca": str(root),
        "bundle": str(bundle),
        "mode": options.mode,
        "version": __version__,
        "socks": running.socks_port,
    }
    if options.ready_file is not None:
        handle, name = tempfile.mkstemp(prefix=".ringback-", dir=options.ready_file.absolute().parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(state, file)
                file.write("\n")
            Path(name).replace(options.ready_file)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise
    return state


def summary(tally: Tally, mode: str) -> list[str]:
    """The lines that tell what was answered, by whom, and why some of it was refused."""
    noun = "request" if tally.total == 1 else "requests"
    sources = ", ".join(f"{kind} {count}" for kind, count in sorted(tally.by_source.items()))
    lines = [f"{tally.total} Twilio {noun} answered, {mode}" + (f" ({sources})" if sources else "")]
    for title, counts in (("refused", tally.refused), ("error", tally.failed)):
        for rule, count in counts.most_common():
            reason = tally.reasons.get(rule)
            lines.append(f"  {count} x {title} {rule}" + (f": {reason}" if reason else ""))
    return lines
