"""`ringback run`: a program, unchanged, whose Twilio requests are answered here."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

import click

from ringback.cli.proxy import (
    EXIT_CASSETTES,
    EXIT_NONE,
    ProxyOptions,
    cassettes_fail,
    findings,
    proxy_options,
    say,
    summary,
)
from ringback.counting import many

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Sequence

EXIT_NOT_EXECUTABLE = 126
EXIT_NOT_FOUND = 127
_CHALLENGED = (
    "{} came without credentials and got 401: give the client an AccountSid and an auth token, "
    "e.g. `curl -u AccountSid:token`."
)
_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
_DISTRUST = (
    "{} reached the proxy and ended there, because the client does not trust Ringback's CA: it brings roots "
    "of its own. Let it trust {} as well; docs/clients.md tells how in its language."
)


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

    Each option is an environment variable too: RINGBACK_ and its name, such as RINGBACK_MAX_LIVE.

    \b
    Exit codes: COMMAND's own, except
      2      usage
      3      COMMAND succeeded, but no Twilio request came (see --allow-none), or
             not every one: a client went past the proxy, or distrusts its CA
      4      COMMAND succeeded, but --strict missed a recording, or
             --fail-on-unused found an unused one
      5      the proxy could not start
      126    COMMAND cannot be run
      127    COMMAND is not found
      128+n  COMMAND was ended by signal n
    """  # noqa: D301 - click wants a real backspace
    options = ProxyOptions(**shared)
    gc.disable()  # until the proxy runs: what is made before that stays
    sys.exit(asyncio.run(_run(options, command_line, allow_none=allow_none, quiet=quiet)))


async def _run(options: ProxyOptions, command_line: Sequence[str], *, allow_none: bool, quiet: bool) -> int:
    with _Signals() as signals:
        try:
            return await _proxied(options, command_line, signals, allow_none=allow_none, quiet=quiet)
        except asyncio.CancelledError:
            if signals.ended_by is None:
                raise
            return 128 + signals.ended_by


async def _proxied(
    options: ProxyOptions, command_line: Sequence[str], signals: _Signals, *, allow_none: bool, quiet: bool
) -> int:
    # Imported here: mitmproxy takes longer than everything else, and usage errors need not wait for it.
    from ringback.addon.server import serve  # noqa: PLC0415 - as above
    from ringback.cli.starting import start  # noqa: PLC0415 - as above
    from ringback.launch.traces import bypass_hint, stopped_bypasses  # noqa: PLC0415 - as above

    with start(options) as begun:
        async with serve(begun.listen) as running:
            launch = begun.launch(running)
            for warning in launch.warnings:
                say(warning, colour="yellow")
            begun.ready(running, launch)
            try:
                code = await _child(command_line, launch.environment, signals)
            except _NotRunError as error:
                say(str(error), colour="red")
                return error.exit_code
            if code and running.addon.replay is not None:
                running.addon.replay.partial = f"{command_line[0]} ended with exit code {code}"
            counted = running.addon.responder.tally
            silent = counted.total == 0 and not allow_none
            bypassed = silent or bool(stopped_bypasses(launch.directory) or counted.distrusted)
            hint = ""
            if counted.distrusted:
                hint = _DISTRUST.format(many(counted.distrusted, "connection"), begun.authority.root_pem)
            elif silent and counted.challenged:
                hint = _CHALLENGED.format(many(counted.challenged, "request"))
            elif bypassed:
                hint = bypass_hint(command_line, launch.directory, launch.environment)
        tally, used = running.addon.responder.tally, running.addon.used
        found = findings(running)

    failing = cassettes_fail(tally, used, fail_on_unused=options.fail_on_unused)
    if not quiet or tally.refused or failing:
        for line in summary(tally, options.mode, used, found, list_unused=options.fail_on_unused):
            say(line)
    if code == 0 and bypassed:
        _tell_bypass(command_line[0], _said(silent, counted.challenged), hint)
        return EXIT_NONE
    return EXIT_CASSETTES if code == 0 and failing else code


def _said(silent: bool, challenged: int) -> str:
    if not silent:
        return "not every Twilio request came to the proxy"
    return (
        "no request had credentials"
        if challenged
        else "no Twilio request came from it (--allow-none if that is right)"
    )


def _tell_bypass(program: str, said: str, hint: str) -> None:
    say(f"{program}: {said}", colour="red")
    for line in hint.splitlines():
        say(f"  {line}")


class _NotRunError(Exception):
    """The command cannot be run; has the exit code that a shell gives then."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


async def _child(command_line: Sequence[str], environment: dict[str, str], signals: _Signals) -> int:
    """Run the child to its end; its exit code, or what a shell would make of it.

    Raises:
        _NotRunError: It cannot be run.
    """
    name = command_line[0]
    if not name:  # the system refuses it in one way or another, depending on who asks
        raise _NotRunError("'': command not found", EXIT_NOT_FOUND)
    signals.starting = True
    try:
        process = await asyncio.create_subprocess_exec(*command_line, env=environment)
    except FileNotFoundError:
        raise _NotRunError(f"{name}: command not found", EXIT_NOT_FOUND) from None
    except OSError as error:
        said = f"{name}: cannot be run: {error.strerror}"
        raise _NotRunError(said, EXIT_NOT_EXECUTABLE) from None
    signals.pass_to(process)
    code = await process.wait()
    return 128 - code if code < 0 else code


class _Signals:
    """Lets the child decide what a signal means, by passing it on; before there is one, it ends the run.

    Attributes:
        starting: Whether the child is on its way: from now on signals are its affair.
        ended_by: The signal that ended the run before there was a child.
    """

    def __init__(self) -> None:
        self.starting = False
        self.ended_by: int | None = None
        self._early: list[signal.Signals] = []
        self._process: Process | None = None
        self._task = asyncio.current_task()

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for number in _PASSED_ON:
            loop.add_signal_handler(number, self._handle, number)
        return self

    def __exit__(self, *_: object) -> None:
        loop = asyncio.get_running_loop()
        for number in _PASSED_ON:
            loop.remove_signal_handler(number)

    def pass_to(self, process: Process) -> None:
        """Pass signals on to `process`, also those that came while it started."""
        self._process = process
        for number in self._early:
            self._handle(number)

    def _handle(self, number: signal.Signals) -> None:
        if self._process is not None:
            if number in {signal.SIGINT, signal.SIGQUIT} and _in_foreground():
                return  # the terminal has sent it to the child already
            with suppress(ProcessLookupError):
                self._process.send_signal(number)
        elif self.starting:
            self._early.append(number)
        elif self._task is not None and self.ended_by is None:
            self.ended_by = number
            self._task.cancel()


def _in_foreground() -> bool:
    """Whether this process and its child belong to the terminal's foreground group."""
    try:
        with open("/dev/tty", "rb") as terminal:  # noqa: PTH123 - a device, for its descriptor
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        return False
