"""`ringback serve`: the proxy in the foreground, for a CI service, a container or several programs."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ringback.cli.proxy import (
    EXIT_CASSETTES,
    EXIT_START,
    ProxyOptions,
    cassettes_fail,
    child_proxy,
    findings,
    proxy_options,
    say,
    show_log,
    summary,
    write_ready,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ringback.addon.server import Listening

EXIT_WORKER = 1


@click.command()
@proxy_options
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    envvar="RINGBACK_WORKERS",
    help="Processes that share the port, for load tests; offline alone.",
)
def command(*, workers: int, **shared: Any) -> None:
    """Run the proxy until it is told to stop (Ctrl-C or SIGTERM)."""
    options = ProxyOptions(**shared)
    if workers > 1 and options.mode != "offline":
        raise click.UsageError(
            "--workers answers offline alone: live answers are counted and recorded in one"
        )
    if workers > 1 and (options.reverse is not None or options.transparent is not None):
        raise click.UsageError("--reverse and --transparent are for one process: leave --workers out")
    gc.disable()  # until the proxy runs: what is made before that stays
    sys.exit(_serve_together(options, workers) if workers > 1 else asyncio.run(_serve(options)))


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
            authority.directory,
            options.host,
            options.port,
            socks=options.password is None,
            options=options.addon_options(),
            reverse=options.reverse,
            transparent=options.transparent,
        )
        with tempfile.TemporaryDirectory(prefix="ringback-", ignore_cleanup_errors=True) as directory:
            async with serve(listen) as running:
                launch = prepare(child_proxy(options, running), authority, os.environ, Path(directory))
                with _found_by_others(
                    write_ready(options, running, authority.root_pem, launch.bundle)
                ) as state:
                    _announce(running, state)
                    await stop.wait()
            tally, used = running.addon.responder.tally, running.addon.used
            found = findings(running)
    except (AuthorityError, StartError) as error:
        say(f"cannot start: {error}", colour="red")
        return EXIT_START
    except OSError as error:
        say(f"cannot start: {error.filename}: {error.strerror}", colour="red")
        return EXIT_START
    for line in summary(tally, options.mode, used, found):
        say(line)
    return EXIT_CASSETTES if cassettes_fail(tally, used, fail_on_unused=options.fail_on_unused) else 0


def _serve_together(options: ProxyOptions, workers: int) -> int:
    """The same by several processes, of which this one only watches."""
    from ringback.addon.server import Listen, StartError  # noqa: PLC0415 - see run
    from ringback.addon.workers import WorkerDiedError, run  # noqa: PLC0415 - see run
    from ringback.launch.ca import AuthorityError, ensure_authority  # noqa: PLC0415 - see run
    from ringback.launch.environment import prepare  # noqa: PLC0415 - see run

    show_log()
    try:
        authority = ensure_authority()
        for warning in authority.warnings:
            say(warning, colour="yellow")
        listen = Listen(
            authority.directory,
            options.host,
            options.port,
            socks=options.password is None,
            options=options.addon_options(),
        )
        with tempfile.TemporaryDirectory(prefix="ringback-", ignore_cleanup_errors=True) as directory:

            def started(stack: ExitStack, listening: Listening) -> None:
                launch = prepare(child_proxy(options, listening), authority, os.environ, Path(directory))
                state = write_ready(options, listening, authority.root_pem, launch.bundle)
                _announce(listening, stack.enter_context(_found_by_others(state)))

            with ExitStack() as stack:
                outcome = run(listen, workers, started=partial(started, stack))
    except (AuthorityError, StartError) as error:
        say(f"cannot start: {error}", colour="red")
        return EXIT_START
    except WorkerDiedError as error:
        say(str(error), colour="red")
        return EXIT_WORKER
    except OSError as error:
        say(f"cannot start: {error.filename}: {error.strerror}", colour="red")
        return EXIT_START
    for line in summary(outcome.tally, options.mode, outcome.used):
        say(line)
    failed = cassettes_fail(outcome.tally, outcome.used, fail_on_unused=options.fail_on_unused)
    return EXIT_CASSETTES if failed else 0


@contextmanager
def _found_by_others(state: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Let `ringback env` find this proxy for as long as it runs."""
    from ringback.launch.state import State, remove_state, write_state  # noqa: PLC0415 - see run

    try:
        write_state(State(**state))
    except OSError as error:
        say(f"`ringback env` will need --ready-file: {error.filename}: {error.strerror}", colour="yellow")
    try:
        yield state
    finally:
        remove_state()


def _announce(running: Listening, state: dict[str, Any]) -> None:
    say(f"listening on {state['proxy']} ({state['mode']})")
    say(f"  clients trust {state['ca']}")
    if running.socks_port is not None:
        say(f"  SOCKS5 on port {running.socks_port}")
    if running.reverse_port is not None:
        say(f"  as api.twilio.com on port {running.reverse_port}")
    if running.transparent_port is not None:
        say(f"  redirected connections on port {running.transparent_port}")
    say(f"  health: curl {state['proxy']}/ringback/health   stop: Ctrl-C")
