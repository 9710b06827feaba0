"""`ringback run`: a program, unchanged, whose Twilio requests are answered here."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ringback.cli.proxy import (
    EXIT_CASSETTES,
    EXIT_NONE,
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
    from asyncio.subprocess import Process
    from collections.abc import Iterator, Sequence

EXIT_NOT_EXECUTABLE = 126
EXIT_NOT_FOUND = 127
_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


@click.command(context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False})
@proxy_options
@click.option(
    "--allow-none",
    is_flag=True,
    envvar="RINGBACK_ALLOW_NONE",
    help="Do not fail when no Twilio request came.",
)
@click.option(
    "-q", "--quiet", is_flag=True, envvar="RINGBACK_QUIET", help="No summary unless something is wrong."
)
@click.argument(
    "command_line", metavar="-- COMMAND [ARGUMENT]...", nargs=-1, required=True, type=click.UNPROCESSED
)
def command(*, allow_none: bool, quiet: bool, command_line: tuple[str, ...], **shared: Any) -> None:
    """Run COMMAND with a proxy that answers its Twilio requests, and return its exit code.

    \b
    Exit codes: COMMAND's own, except
      2    usage
      3    COMMAND succeeded, but no Twilio request came (see --allow-none)
      4    COMMAND succeeded, but a strict miss or (--fail-on-unused) an unused recording remains
      5    the proxy could not start
      126, 127   COMMAND cannot be run, or is not found
      128+n      COMMAND was ended by signal n
    """  # noqa: D301 - click wants a real backspace
    options = ProxyOptions(**shared)
    gc.disable()  # until the proxy runs: what is made before that stays
    sys.exit(asyncio.run(_run(options, command_line, allow_none=allow_none, quiet=quiet)))


async def _run(options: ProxyOptions, command_line: Sequence[str], *, allow_none: bool, quiet: bool) -> int:
    # Imported here: mitmproxy takes longer than everything else, and usage errors need not wait for it.
    from ringback.addon.server import Listen, StartError, serve  # noqa: PLC0415 - as above
    from ringback.launch.ca import AuthorityError, ensure_authority  # noqa: PLC0415 - as above
    from ringback.launch.environment import prepare  # noqa: PLC0415 - as above

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
                for warning in launch.warnings:
                    say(warning, colour="yellow")
                write_ready(options, running, authority.root_pem, launch.bundle)
                code = await _child(command_line, launch.environment)
            tally, used = running.addon.responder.tally, running.addon.used
            found = findings(running)
    except (AuthorityError, StartError) as error:
        say(f"cannot start: {error}", colour="red")
        return EXIT_START
    except OSError as error:
        say(f"cannot start: {error.filename}: {error.strerror}", colour="red")
        return EXIT_START

    failing = cassettes_fail(tally, used, fail_on_unused=options.fail_on_unused)
    if not quiet or tally.refused or failing:
        for line in summary(tally, options.mode, used, found):
            say(line)
    if code == 0 and tally.total == 0 and not allow_none:
        say(
            f"no Twilio request came from {command_line[0]}: its client went past the proxy or sent nothing "
            "(--allow-none if that is right)",
            colour="red",
        )
        return EXIT_NONE
    return EXIT_CASSETTES if code == 0 and failing else code


async def _child(command_line: Sequence[str], environment: dict[str, str]) -> int:
    """Run the child to its end; its exit code, or what a shell would make of it."""
    try:
        process = await asyncio.create_subprocess_exec(*command_line, env=environment)
    except FileNotFoundError:
        say(f"{command_line[0]}: command not found", colour="red")
        return EXIT_NOT_FOUND
    except OSError as error:
        say(f"{command_line[0]}: cannot be run: {error.strerror}", colour="red")
        return EXIT_NOT_EXECUTABLE
    with _signals_passed_on(process):
        code = await process.wait()
    return 128 - code if code < 0 else code


@contextmanager
def _signals_passed_on(process: Process) -> Iterator[None]:
    """Let the child decide what a signal means: pass it on and wait."""
    loop = asyncio.get_running_loop()

    def pass_on(number: signal.Signals) -> None:
        if number in {signal.SIGINT, signal.SIGQUIT} and _in_foreground():
            return  # the terminal has sent it to the child already
        with suppress(ProcessLookupError):
            process.send_signal(number)

    for number in _PASSED_ON:
        loop.add_signal_handler(number, pass_on, number)
    try:
        yield
    finally:
        for number in _PASSED_ON:
            loop.remove_signal_handler(number)


def _in_foreground() -> bool:
    """Whether this process and its child belong to the terminal's foreground group."""
    try:
        with open("/dev/tty", "rb") as terminal:  # noqa: PTH123 - a device, for its descriptor
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        return False
