"""The command that `ringback run` runs: its start, signals and end, and the programs it leaves."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, Self

from ringback.launch.processes import adopt_orphans, descendants

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ringback.launch.processes import Process

EXIT_NOT_EXECUTABLE: Final = 126
EXIT_NOT_FOUND: Final = 127
_PASSED_ON: Final = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
_TYPED: Final = frozenset({signal.SIGINT, signal.SIGQUIT})  # a terminal sends them to a whole group


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

    async def run(self, command_line: Sequence[str], environment: dict[str, str]) -> int:
        """Run the command to its end and return its exit code, as a shell would.

        Raises:
            NotRunError: It cannot be run.
        """
        self._process = process = self._start(command_line, environment)
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

    def _start(self, command_line: Sequence[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
        name = command_line[0]
        if not name:  # the system refuses it in one way or another, depending on who asks
            raise NotRunError("'': command not found", EXIT_NOT_FOUND)
        self._starting = True
        self._inherited = _children()
        self._adopting = adopt_orphans()
        try:
            with self._mask_of_child():
                return subprocess.Popen(command_line, env=environment)  # noqa: S603 - what was asked for
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
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:  # told without looking at every process there is
        return set()
    return {one.pid for one in descendants(os.getpid()) if one.parent == os.getpid()}


def _in_foreground() -> bool:
    """Report whether this process and its child belong to the terminal's foreground group."""
    try:
        with open("/dev/tty", "rb") as terminal:  # noqa: PTH123 - a device, for its descriptor
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        return False
