"""`ringback run`: a program, unchanged, whose Twilio requests are answered here; its process and its end."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Final, Self

import click

from ringback import system
from ringback.cli.options import settings_options
from ringback.cli.output import print_message
from ringback.cli.summary import (
    EXIT_NONE,
    EXIT_START,
    cassettes_code,
    cassettes_fail,
    failures,
    findings,
    keep_journal,
    summary,
)
from ringback.launch.directory import adopt_orphans, descendants
from ringback.tally import many

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence
    from pathlib import Path

    from ringback.launch.directory import Process
    from ringback.launch.environment import Launch
    from ringback.settings import Settings
    from ringback.tally import Tally


EXIT_SIGNALLED: Final = 128
_MOMENT: Final = 0.2  # seconds in which what ends together with the command has ended
_MOST_NAMED: Final = 5
_CHALLENGED = (
    "{} came without credentials and got 401: give the client an AccountSid and an auth token, "
    "e.g. `curl -u AccountSid:token`."
)
_HUNG_UP = (
    "{} reached the proxy and ended without a request, as a client ends it that looks at certificates by "
    "itself and does not trust Ringback's CA: let it trust {} as well; docs/clients.md tells how in its "
    "language."
)
_DISTRUST = (
    "{} reached the proxy and ended there, because the client does not trust Ringback's CA: it brings roots "
    "of its own. Let it trust {} as well; docs/clients.md tells how in its language."
)


@click.command(context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False})
@settings_options("run")
@click.argument(
    "command_line", metavar="-- COMMAND [ARGUMENT]...", nargs=-1, required=True, type=click.UNPROCESSED
)
def command(options: Settings, *, command_line: tuple[str, ...]) -> None:
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
      6      COMMAND succeeded, but what --mode online recorded was put aside,
             because it may lack what the old cassette has
      126    COMMAND cannot be run
      127    COMMAND is not found
      128+n  COMMAND was ended by signal n
    """  # noqa: D301 - click wants a real backspace
    if not system.can_run_programs():
        print_message(system.RUN_NEEDS, colour="red")
        sys.exit(EXIT_START)
    gc.disable()  # until the proxy runs: what is made before that stays
    sys.exit(asyncio.run(_run(options, command_line)))


async def _run(options: Settings, command_line: Sequence[str]) -> int:
    with Child() as child:
        try:
            return await _proxied(options, command_line, child)
        except asyncio.CancelledError:
            if child.ended_by is None:
                raise
            return 128 + child.ended_by


async def _proxied(options: Settings, command_line: Sequence[str], child: Child) -> int:
    # Imported here: mitmproxy takes longer than everything else, and usage errors need not wait for it.
    from ringback.cli.startup import start  # noqa: PLC0415 - as above
    from ringback.launch.directory import answered_in_inner_launches, report_to_outer_launch  # noqa: PLC0415 - as above
    from ringback.launch.hints import bypass_hint, on_trust, seen_runtimes, stopped_bypasses  # noqa: PLC0415 - as above
    from ringback.launch.runtimes import allow_node  # noqa: PLC0415 - as above
    from ringback.server.run import serve  # noqa: PLC0415 - as above

    with start(options) as begun:
        async with serve(begun.config) as running:
            launch = begun.launch(running)
            for warning in launch.warnings:
                print_message(warning, colour="yellow")
            begun.ready(running)
            keep_journal(running.responder.journal, options)
            async with _watched(options, launch, begun.authority.root_pem) as (wrap, inherited):
                watched = wrap(allow_node(command_line, launch.directory))
                try:
                    code = await child.run(watched, launch.environment, inherited)
                except NotRunError as error:
                    print_message(str(error), colour="red")
                    return error.exit_code
                if code and running.responder.cassettes is not None:
                    running.responder.cassettes.partial = f"{command_line[0]} ended with exit code {code}"
                await _linger(child, command_line[0], options.linger, launch.directory)
            counted, inner = running.responder.tally, answered_in_inner_launches(launch.directory)
            silent = counted.total + inner == 0 and not options.allow_none
            trusting = on_trust(command_line, {marker.runtime for marker in seen_runtimes(launch.directory)})
            why = _seen_by_the_proxy(counted, begun.authority.lasting_pem, trusting, silent=silent)
            # Who ends a program by a signal, or calls none that is there, does not ask why nothing came.
            if stopped_bypasses(launch.directory) or (not why and silent and code < EXIT_NOT_EXECUTABLE):
                hint = bypass_hint(command_line, launch.directory, launch.environment)
                why = f"{why}\n{hint}".lstrip()
        tally, used = running.responder.tally, running.responder.used
        found = findings(running)

    report_to_outer_launch(os.environ, tally.total + inner)
    failing = cassettes_fail(tally, used, fail_on_unused=options.fail_on_unused, strict=options.strict)
    if not options.quiet or tally.refused or failing:
        lines = summary(tally, options.mode, used, found, list_unused=options.fail_on_unused)
        inside = f"  {many(inner, 'request')} answered by the Ringback that ran inside this one"
        for line in lines + ([inside] if inner else []):
            print_message(line)
    if code or failing:
        refused = failures(running.responder.journal)
        for line in ["requests that were refused or missed:", *refused] if refused else []:
            print_message(f"  {line}")
    if why:
        _warn_of_bypass(command_line[0], _outcome_phrase(code, silent, counted.challenged), why)
        code = code or EXIT_NONE
    return code or cassettes_code(used, failing=failing)


@asynccontextmanager
async def _watched(
    options: Settings, launch: Launch, root: Path
) -> AsyncIterator[tuple[Callable[[Sequence[str]], Sequence[str]], tuple[int, ...]]]:
    """Yield a function that has a command watched, and the descriptors that the command inherits for it."""
    from ringback.cli.witness import mount_namespace, reason_against, witness  # noqa: PLC0415 - see _proxied

    path = launch.environment.get("PATH", "")

    def report(reason: str) -> None:
        if options.verbose or options.witness == "always":
            print_message(f"--witness is not used: {reason}", colour="yellow")

    async with AsyncExitStack() as stack:
        namespace = seen = None
        if options.mount_namespace:
            namespace = await stack.enter_async_context(mount_namespace(launch.directory, root))
        if reason := reason_against(options.witness):
            if options.witness != "never":
                report(reason)
        else:
            seen = await stack.enter_async_context(witness(launch.directory, report))

        def wrap(command_line: Sequence[str]) -> Sequence[str]:
            for one in (seen, namespace):
                command_line = one.wrap(command_line, path) if one else command_line
            return command_line

        yield wrap, (seen.descriptor,) if seen else ()


def _seen_by_the_proxy(counted: Tally, root: Path, trusting: str, *, silent: bool) -> str:
    """Explain by the connections that came why requests did not; empty where they do not tell."""
    if counted.distrusted:
        return f"{_DISTRUST.format(many(counted.distrusted, 'connection'), root)}\n{trusting}"
    if silent and counted.silent:
        return f"{_HUNG_UP.format(many(counted.silent, 'connection'), root)}\n{trusting}"
    if silent and counted.challenged:
        return _CHALLENGED.format(many(counted.challenged, "request"))
    return ""


async def _linger(child: Child, name: str, linger: float, directory: Path) -> None:
    """Go on serving programs that the command left running; after that they keep the files they need."""
    from ringback.launch.directory import OUTLIVED, keep  # noqa: PLC0415 - see _proxied

    moment = min(linger, _MOMENT)
    if await child.alone(moment):
        return
    left = linger - moment
    if left:
        limit = f"at most {linger:g} s (--linger; Ctrl-C ends it)"
        print_message(
            f"{name} has ended, but not {_living(child)}: answering until then, {limit}", colour="yellow"
        )
        if await child.alone(left):
            return
    keep(directory, OUTLIVED)
    print_message(
        f"{_living(child)} outlived {name}: Twilio requests from there fail from now on, and none goes past "
        f"the proxy. {directory} stays as long as it is needed for that; a later `ringback run` removes it",
        colour="yellow",
    )


def _living(child: Child) -> str:
    """List the programs that are left, by name and process id."""
    living = [f"{one.name} (process {one.pid})" for one in child.left()]
    more = [f"{len(living) - _MOST_NAMED} more"] if len(living) > _MOST_NAMED else []
    return ", ".join(living[:_MOST_NAMED] + more) or "all that it started"


def _outcome_phrase(code: int, silent: bool, challenged: int) -> str:
    if not silent:
        return "not every Twilio request came to the proxy"
    if challenged:
        return "no request had credentials"
    allowed = "" if code else " (--allow-none if that is right)"
    return f"no Twilio request came from it{allowed}"


def _warn_of_bypass(program: str, outcome: str, hint: str) -> None:
    print_message(f"{program}: {outcome}", colour="red")
    for line in hint.splitlines():
        print_message(f"  {line}")


EXIT_NOT_EXECUTABLE: Final = 126
EXIT_NOT_FOUND: Final = 127
_PASSED_ON: Final = system.signals("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")
_TYPED: Final = frozenset(system.signals("SIGINT", "SIGQUIT"))  # a terminal sends them to a whole group


class NotRunError(Exception):
    """An error: the command cannot be run. It has the exit code that a shell gives then."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Child:
    """The command, once there is one.

    It decides what a signal means, as signals are passed on to it; before there is one they end the run, and
    after its end the waiting for what it left. What it left, however it daemonised, is this process's own:
    every end of a child is seen here, so nothing else in this process may start any.

    Attributes:
        ended_by: The signal that ended the run before there was a child.
    """

    def __init__(self) -> None:
        self.ended_by: int | None = None
        self._starting = False  # from now on signals are its affair
        self._early: list[tuple[signal.Signals, bool]] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._task = asyncio.current_task()
        self._mask: set[signal.Signals] | None = None  # the one that the child gets
        self._adopting = False
        self._inherited: set[int] = set()  # children of the shell that became this process by `exec`
        self._ended, self._alone, self._given_up = asyncio.Event(), asyncio.Event(), asyncio.Event()

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for number in _PASSED_ON:
            loop.add_signal_handler(number, self._caught, number)
        loop.add_signal_handler(signal.SIGCHLD, self._reap)
        if hasattr(signal, "sigwaitinfo"):
            # Before there are other threads: each inherits this, and only one is told who sent a signal.
            self._mask = {*map(signal.Signals, signal.pthread_sigmask(signal.SIG_BLOCK, _TYPED))}
            threading.Thread(target=self._wait_for_typed, args=(loop,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        loop = asyncio.get_running_loop()
        for number in (*_PASSED_ON, signal.SIGCHLD):
            loop.remove_signal_handler(number)
        if self._mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    async def run(
        self, command_line: Sequence[str], environment: dict[str, str], inherited: Sequence[int] = ()
    ) -> int:
        """Run the command to its end and return its exit code, as a shell would.

        Args:
            command_line: The command.
            environment: Its environment.
            inherited: The descriptors that it has besides its standard streams.

        Raises:
            NotRunError: It cannot be run.
        """
        self._process = process = self._start(command_line, environment, inherited)
        for number, typed in self._early:
            self._handle(number, typed=typed)
        self._reap()
        await self._ended.wait()
        code = process.returncode
        return 128 - code if code < 0 else code

    async def alone(self, seconds: float) -> bool:
        """Wait until the programs that the command left have ended, a time runs out, or a signal comes.

        Returns:
            Whether nothing is left.
        """
        waiting = [asyncio.ensure_future(event.wait()) for event in (self._alone, self._given_up)]
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        return self._alone.is_set()

    def left(self) -> list[Process]:
        """List the programs that the command left running; none where the system does not tell."""
        below = descendants(os.getpid())
        roots = [one for one in below if one.parent == os.getpid() and one.pid not in self._inherited]
        return [one for root in roots for one in (root, *descendants(root.pid))]

    def _start(
        self, command_line: Sequence[str], environment: dict[str, str], inherited: Sequence[int]
    ) -> subprocess.Popen[bytes]:
        name = command_line[0]
        if not name:  # the system refuses it in one way or another, depending on who asks
            raise NotRunError("'': command not found", EXIT_NOT_FOUND)
        self._starting = True
        self._inherited = _children()
        self._adopting = adopt_orphans()
        try:
            with self._mask_of_child():
                return subprocess.Popen(command_line, env=environment, pass_fds=inherited)  # noqa: S603 - what was asked for
        except FileNotFoundError:
            raise NotRunError(f"{name}: command not found", EXIT_NOT_FOUND) from None
        except OSError as error:
            raise NotRunError(f"{name}: cannot be run: {error.strerror}", EXIT_NOT_EXECUTABLE) from None

    def _reap(self) -> None:
        """Note the children that have ended, the command or orphans."""
        if self._process is None:
            return
        nobody = False
        try:
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == self._process.pid:
                    self._process.returncode = os.waitstatus_to_exitcode(ended[1])
                    self._ended.set()
        except ChildProcessError:
            nobody = True
        inherited = self._inherited
        if self._ended.is_set() and (
            nobody or not self._adopting or (inherited and _children() <= inherited)
        ):
            self._alone.set()

    @contextmanager
    def _mask_of_child(self) -> Iterator[None]:
        if self._mask is None:
            yield
            return
        blocked = signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    def _wait_for_typed(self, loop: asyncio.AbstractEventLoop) -> None:
        while True:
            info = signal.sigwaitinfo(_TYPED)
            try:  # a code above 0 is the kernel's own, and nobody but a terminal has it send these
                loop.call_soon_threadsafe(self._got, signal.Signals(info.si_signo), info.si_code > 0)
            except RuntimeError:  # the run is over
                return

    def _got(self, number: signal.Signals, typed: bool) -> None:
        self._handle(number, typed=typed)

    def _caught(self, number: signal.Signals) -> None:
        """Handle a signal whose sender is not known."""
        self._handle(number, typed=number in _TYPED and _in_foreground())

    def _handle(self, number: signal.Signals, *, typed: bool) -> None:
        if self._process is None:
            if self._starting:
                self._early.append((number, typed))
            elif self._task is not None and self.ended_by is None:
                self.ended_by = number
                self._task.cancel()
        elif self._process.returncode is not None:
            self._given_up.set()
        elif not (typed and os.getpgid(self._process.pid) == os.getpgrp()):  # else it has got it itself
            with suppress(OSError):
                os.kill(self._process.pid, number)


def _children() -> set[int]:
    """List this process's children, if it has any."""
    if not system.has_children():
        return set()
    return {one.pid for one in descendants(os.getpid()) if one.parent == os.getpid()}


def _in_foreground() -> bool:
    """Report whether this process and its child belong to the terminal's foreground group."""
    try:
        with open("/dev/tty", "rb") as terminal:  # noqa: PTH123 - a device, for its descriptor
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        return False
