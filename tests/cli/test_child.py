"""The command's signals, typed at a real terminal and sent; and the daemons that it leaves."""

from __future__ import annotations

import os
import pty
import shlex
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from support.clients import GOOD
from support.daemons import Daemon
from support.proxying import RINGBACK, environment, requesting, ringback

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SENDING = requesting(list(GOOD["Messages"].items()))
PAST_THE_PROXY = """
import socket
try:
    print(socket.getaddrinfo("api.twilio.com", 443))
except OSError as error:
    print(error)
"""

# Becomes the leader of a session that has its standard input for a terminal, and then the command.
ON_TERMINAL = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
COUNTING = """
import os, signal, sys
waited = {signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2}
signal.pthread_sigmask(signal.SIG_BLOCK, waited)
if "apart" in sys.argv:
    os.setpgid(0, 0)
print("up", os.isatty(0), flush=True)
got = 0
while (number := signal.sigwaitinfo(waited).si_signo) != signal.SIGUSR1:
    got += number != signal.SIGUSR2
    print("round" if number == signal.SIGUSR2 else f"got {got}", flush=True)
print("all", got, flush=True)
sys.exit(9)
"""


@dataclass(frozen=True)
class Terminal:
    keyboard: int
    process: subprocess.Popen[bytes]

    def type(self, key: bytes) -> None:
        os.write(self.keyboard, key)

    def wait_for(self, text: str) -> None:
        shown = ""
        while text not in shown:
            shown += os.read(self.keyboard, 1000).decode()


@contextmanager
def terminal(home: Path, *command: str) -> Iterator[Terminal]:
    keyboard, screen = pty.openpty()
    run = [*RINGBACK, "run", "--allow-none", "--", *command]
    with subprocess.Popen(
        [sys.executable, "-c", ON_TERMINAL, *run],
        env=environment(home),
        stdin=screen,
        stdout=screen,
        stderr=screen,
    ) as process:
        try:
            yield Terminal(keyboard, process)
            assert process.wait(30) == 9
        finally:
            process.terminate()
    os.close(keyboard)
    os.close(screen)


@pytest.mark.parametrize("group", ["together", "apart"])
@pytest.mark.parametrize("how", ["typed", "sent"])
@pytest.mark.parametrize("number, key", [(signal.SIGINT, b"\x03"), (signal.SIGQUIT, b"\x1c")])
def test_at_a_terminal_a_signal_comes_once_whoever_sent_it(
    home: Path, number: signal.Signals, key: bytes, how: str, group: str
) -> None:
    with terminal(home, sys.executable, "-c", COUNTING, group) as shown:
        shown.wait_for("up True")
        # Late, so that a second signal cannot fall together with the first.
        late = how == "typed" and group == "together"
        if late:
            shown.process.send_signal(signal.SIGSTOP)
            os.waitpid(shown.process.pid, os.WUNTRACED)
        if how == "typed":
            shown.type(key)
        else:
            shown.process.send_signal(number)
        shown.wait_for("got 1")
        if late:
            shown.process.send_signal(signal.SIGCONT)
        for _ in range(20):  # in which a second one would have come
            shown.process.send_signal(signal.SIGUSR2)
            shown.wait_for("round")
        shown.process.send_signal(signal.SIGUSR1)
        shown.wait_for("all 1")


def test_the_child_gets_signals_unblocked(home: Path) -> None:
    code = "import signal; print(signal.pthread_sigmask(signal.SIG_BLOCK, ()))"
    assert ringback(home, "run", "--allow-none", "--", sys.executable, "-c", code).stdout == "set()\n"


def test_an_orphan_that_ends_while_the_command_runs_does_not_stay_a_zombie(home: Path) -> None:
    code = """
import os, time
read, write = os.pipe()
if os.fork() == 0:
    orphan = os.fork()
    if orphan:
        os.write(write, str(orphan).encode())
    os._exit(0)
os.wait()
orphan, end = int(os.read(read, 99)), time.monotonic() + 30
while time.monotonic() < end:
    try:
        os.kill(orphan, 0)
    except ProcessLookupError:
        print("gone")
        break
"""
    assert ringback(home, "run", "--allow-none", "--", sys.executable, "-c", code).stdout == "gone\n"


def test_what_ran_before_the_run_is_not_waited_for(home: Path) -> None:
    """A script that starts a service and then becomes `ringback run`."""
    run = shlex.join([*RINGBACK, "run", "--allow-none", "--", "true"])
    script = f"sleep 60 >/dev/null 2>&1 & echo $!; exec {run}"
    done = subprocess.run(
        ["sh", "-c", script], env=environment(home), capture_output=True, text=True, check=False
    )
    os.kill(int(done.stdout), signal.SIGKILL)  # it still runs
    assert (done.returncode, done.stderr) == (0, "ringback: 0 Twilio requests answered, offline\n")


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    place = tmp_path / "tmp"
    place.mkdir()
    return place


@contextmanager
def leaving(home: Path, temporary: Path, daemon: Daemon, *options: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [*RINGBACK, "run", *options, "--", *daemon.command],
        env=environment(home, {"TMPDIR": str(temporary)}),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def test_a_daemon_is_answered_after_the_command_has_ended(
    home: Path, tmp_path: Path, temporary: Path
) -> None:
    daemon = Daemon.of(tmp_path)
    with leaving(home, temporary, daemon, "--linger", "60") as process:
        assert process.stderr
        told = process.stderr.readline()
        talk = daemon.talk()
        assert "has ended, but not python" in told
        assert f"(process {talk.pid})" in told
        assert ": answering until then, at most 60 s (--linger; Ctrl-C ends it)" in told
        assert talk.run(SENDING) == "201\n"
        talk.end()
        assert process.wait(30) == 0
        assert process.stderr.read() == "ringback: 1 Twilio request answered, offline (contract 1)\n"
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("how", ["at once", "by a signal"])
def test_a_daemon_that_lives_longer_reaches_nobody(
    home: Path, tmp_path: Path, temporary: Path, how: str
) -> None:
    daemon = Daemon.of(tmp_path)
    options = ["--allow-none", "--linger", "0" if how == "at once" else "60"]
    with leaving(home, temporary, daemon, *options) as process:
        assert process.stderr
        if how == "by a signal":
            assert "has ended, but not" in process.stderr.readline()
            process.send_signal(signal.SIGTERM)
        told = process.stderr.readline()
        assert process.wait(30) == 0, "the command's"
    talk = daemon.talk()
    assert f"(process {talk.pid})" in told.partition(" outlived ")[0]
    assert "Ringback stopped a connection to api.twilio.com" in talk.run(PAST_THE_PROXY)
    assert "Connection refused" in talk.run(SENDING)

    more = {"TMPDIR": str(temporary)}
    (kept,) = temporary.iterdir()
    assert str(kept) in told
    assert ringback(home, "run", "--allow-none", "--", "true", more=more).returncode == 0
    assert kept.exists(), "while it is needed"
    talk.end()
    assert ringback(home, "run", "--allow-none", "--", "true", more=more).returncode == 0
    assert list(temporary.iterdir()) == []
