"""`ringback serve`: the proxy in the foreground, for a CI service, a container or several programs."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ringback.cli.proxy import (
    EXIT_CASSETTES,
    EXIT_START,
    ProxyOptions,
    cassettes_fail,
    child_proxy,
    proxy_options,
    say,
    show_log,
    summary,
    write_ready,
)

if TYPE_CHECKING:
    from ringback.addon.server import Running


@click.command()
@proxy_options
def command(**shared: Any) -> None:
    """Run the proxy until it is told to stop (Ctrl-C or SIGTERM)."""
    sys.exit(asyncio.run(_serve(ProxyOptions(**shared))))


async def _serve(options: ProxyOptions) -> int:
    from ringback.addon.server import Listen, StartError, serve  # noqa: PLC0415 - see run
    from ringback.launch.ca import AuthorityError, ensure_authority  # noqa: PLC0415 - see run
    from ringback.launch.environment import prepare  # noqa: PLC0415 - see run

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    show_log()
    try:
        authority = ensure_authority()
        for warning in authority.warnings:
            say(warning, colour="yellow")
        listen = Listen(
            authority.directory, options.host, options.port, socks=True, options=options.addon_options()
        )
        with tempfile.TemporaryDirectory(prefix="ringback-", ignore_cleanup_errors=True) as directory:
            async with serve(listen) as running:
                launch = prepare(child_proxy(options, running), authority, os.environ, Path(directory))
                state = write_ready(options, running, authority.root_pem, launch.bundle)
                _announce(running, state)
                await stop.wait()
            tally, used = running.addon.responder.tally, running.addon.used
    except (AuthorityError, StartError) as error:
        say(f"cannot start: {error}", colour="red")
        return EXIT_START
    except OSError as error:
        say(f"cannot start: {error.filename}: {error.strerror}", colour="red")
        return EXIT_START
    for line in summary(tally, options.mode, used):
        say(line)
    return EXIT_CASSETTES if cassettes_fail(tally, used, fail_on_unused=options.fail_on_unused) else 0


def _announce(running: Running, state: dict[str, Any]) -> None:
    say(f"listening on {state['proxy']} ({state['mode']})")
    say(f"  clients trust {state['ca']}")
    if running.socks_port is not None:
        say(f"  SOCKS5 on port {running.socks_port}")
    say(f"  health: curl {state['proxy']}/ringback/health   stop: Ctrl-C")
