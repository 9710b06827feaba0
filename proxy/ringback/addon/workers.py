"""Several processes on one port.

Each worker listens by itself (SO_REUSEPORT) and the kernel spreads connections over them. A connection whose
answers depend on earlier ones (a cassette's session, a seed's counts) is moved, socket and first bytes, to
the worker that its state's name belongs to, before anything has been replied to it: a session is in one
process whatever the kernel chose. Counts are added up at the end.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import select
import signal
import socket
import sys
import zlib
from collections import Counter, deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ringback.addon.server import Listen, Listening, StartError, serve
from ringback.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ringback.cassettes.manager import CassetteUsage

    # Socket, bytes received, whether it came to the SOCKS5 proxy.
    Adopt: TypeAlias = Callable[[socket.socket, bytes, bool], None]

_LARGEST: Final = 64 * 1024  # bytes of a message between workers; few connections begin with more at once
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class WorkerDiedError(Exception):
    """A worker ended by itself; the others were ended with it."""


@dataclass(frozen=True)
class Outcome:
    """What the workers did together.

    Attributes:
        tally: Their counts, added up.
        used: What became of the cassettes.
    """

    tally: Tally
    used: tuple[CassetteUsage, ...]


class Moves:
    """One worker's way to give connections to the others and to take theirs.

    Args:
        index: Which worker this is.
        inbox: Where the others' connections come from.
        outboxes: Where each worker's inbox is written to.
    """

    def __init__(self, index: int, inbox: socket.socket, outboxes: Sequence[socket.socket]) -> None:
        self._index = index
        self._inbox = inbox
        self._outboxes = outboxes
        self._waiting: list[deque[tuple[bytes, int]]] = [deque() for _ in outboxes]
        for one in outboxes:
            one.settimeout(0)

    def move(self, state: str, sock: Any, received: bytes, socks: bool) -> bool:
        """Give a connection to the worker that has `state`; False if that is this one, or it takes none."""
        home = home_of(state, len(self._outboxes))
        if home == self._index:
            return False
        message = (b"S" if socks else b"H") + received
        if len(message) > _LARGEST:
            return False
        waiting = self._waiting[home]
        if not waiting:
            try:
                socket.send_fds(self._outboxes[home], [message], [sock.fileno()])
            except BlockingIOError:  # its inbox is full: the others must not wait with this one
                asyncio.get_running_loop().add_writer(self._outboxes[home], self._send_waiting, home)
            except OSError:
                return False  # it has ended: answered here rather than not at all
            else:
                return True
        with suppress(OSError):  # there are descriptors left, or it is answered here
            waiting.append((message, os.dup(sock.fileno())))
            return True
        return False

    def start(self, adopt: Adopt) -> None:
        """Take connections from now on."""
        self._inbox.settimeout(0)
        asyncio.get_running_loop().add_reader(self._inbox.fileno(), self._take, adopt)

    def stop(self) -> None:
        """Take no more."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._inbox.fileno())
        for home, waiting in enumerate(self._waiting):
            loop.remove_writer(self._outboxes[home])
            while waiting:
                os.close(waiting.popleft()[1])

    def _send_waiting(self, home: int) -> None:
        waiting = self._waiting[home]
        with suppress(BlockingIOError):
            while waiting:
                message, descriptor = waiting[0]
                with suppress(BrokenPipeError, ConnectionError):  # it has ended, and this one ends with it
                    socket.send_fds(self._outboxes[home], [message], [descriptor])
                waiting.popleft()
                os.close(descriptor)
            asyncio.get_running_loop().remove_writer(self._outboxes[home])

    def _take(self, adopt: Adopt) -> None:
        with suppress(BlockingIOError):
            while True:
                message, descriptors, _, _ = socket.recv_fds(self._inbox, _LARGEST, 1)
                if not descriptors:
                    return
                by_socks = message[:1] == b"S"
                adopt(socket.socket(fileno=descriptors[0]), message[1:], by_socks)


def home_of(state: str, count: int) -> int:
    """Which of `count` workers has the state of that name; the same in every run."""
    return zlib.crc32(state.encode("utf-8", "surrogateescape")) % count


def added_up(tallies: Sequence[Tally]) -> Tally:
    """All counts together."""
    total = Tally()
    for tally in tallies:
        for field in fields(Tally):
            before, more = getattr(total, field.name), getattr(tally, field.name)
            if isinstance(before, Counter):
                before.update(more)
            else:
                setattr(total, field.name, before + more)
    return total


def together(all_used: Iterable[CassetteUsage]) -> tuple[CassetteUsage, ...]:
    """What became of each cassette: every worker has opened it, the one that has its state has used it."""
    found: dict[str, CassetteUsage] = {}
    for used in all_used:
        if used.name not in found or used.touched:
            found[used.name] = used
    touched = tuple(used for used in found.values() if used.touched)
    return touched or tuple(found.values())


def run(listen: Listen, count: int, *, started: Callable[[Listening], None]) -> Outcome:
    """Run `count` workers until a signal asks to stop; blocks.

    Args:
        listen: Where and how; the port may be 0.
        count: How many processes.
        started: Called once all of them accept connections.

    Raises:
        StartError: The system cannot do it, or a worker did not start.
        WorkerDiedError: One of them died; the others are ended.
    """
    if not hasattr(socket, "SO_REUSEPORT") or sys.platform != "linux":
        raise StartError(
            "--workers needs Linux, whose kernel spreads the connections of a port; leave it out"
        )
    with _reserved(listen.host, listen.port) as port, _reserved(listen.host, 0) as socks_port:
        listen = replace(listen, port=port, socks_port=socks_port, shared=True)
        pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(count)]
        moves = [Moves(index, pairs[index][0], [pair[1] for pair in pairs]) for index in range(count)]
        with _stop_asked() as stop:
            workers: list[_Worker] = []
            for each in moves:
                workers.append(_start(listen, each, tuple(workers)))
            for inbox, outbox in pairs:
                inbox.close()
                outbox.close()
            try:
                for worker in workers:
                    worker.wait_ready()
                started(Listening(listen.host, port, socks_port if listen.socks else None))
                _watch(workers, stop)
            finally:
                for worker in workers:
                    worker.ask_to_stop()
                outcomes = [worker.outcome() for worker in workers]
    done = [outcome for outcome in outcomes if outcome is not None]
    return Outcome(added_up([one.tally for one in done]), together(used for one in done for used in one.used))


class _Worker:
    """A worker as its parent sees it.

    Args:
        pid: Its process.
        reader: What it tells: one byte when it is ready, an error instead, and its outcome at the end.
        leash: While this is open, the worker knows that its parent lives.
    """

    def __init__(self, pid: int, reader: int, leash: int) -> None:
        self.pid = pid
        self.reader = reader
        self._leash = leash

    def wait_ready(self) -> None:
        """Wait until it accepts connections."""
        told = os.read(self.reader, 1)
        if told != b"+":
            rest = self._rest().decode("utf-8", "replace")
            raise StartError(rest or f"worker {self.pid} ended before it was ready")

    def ask_to_stop(self) -> None:
        """Let it finish what it does and end."""
        with suppress(OSError):
            os.close(self._leash)

    def forget(self) -> None:
        """Close what belongs to the parent, in another worker."""
        os.close(self.reader)
        os.close(self._leash)

    def outcome(self) -> Outcome | None:
        """What it did, once it has ended; None if it cannot tell any more."""
        data = self._rest()
        os.close(self.reader)
        with suppress(ChildProcessError):
            os.waitpid(self.pid, 0)
        try:
            found = pickle.loads(data)  # noqa: S301 - of our own child, through a pipe
        except Exception:  # noqa: BLE001 - whatever a half-written pickle makes of itself
            return None
        return found if isinstance(found, Outcome) else None

    def _rest(self) -> bytes:
        data = b""
        while chunk := os.read(self.reader, _LARGEST):
            data += chunk
        return data


def _watch(workers: Sequence[_Worker], stop: int) -> None:
    """Wait for a signal.

    Raises:
        WorkerDiedError: A worker ended by itself.
    """
    descriptors = {worker.reader: worker for worker in workers}
    ready, _, _ = select.select([stop, *descriptors], [], [])
    for descriptor in ready:
        if descriptor != stop and stop not in ready:
            worker = descriptors[descriptor]
            raise WorkerDiedError(f"worker {worker.pid} died, so the others were ended; start again")


def _start(listen: Listen, moves: Moves, earlier: Sequence[_Worker]) -> _Worker:
    reader, writer = os.pipe()
    watched, leash = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        os.close(watched)
        return _Worker(pid, reader, leash)
    code = 1
    try:
        os.close(reader)
        os.close(leash)
        for other in earlier:  # a copy of their leash here would keep them from seeing it let go
            other.forget()
        for number in _SIGNALS:  # the parent decides: a terminal sends them to all
            signal.signal(number, signal.SIG_IGN)
        signal.set_wakeup_fd(-1)
        code = asyncio.run(_work(listen, moves, writer, watched))
    finally:
        sys.stderr.flush()
        os._exit(code)


async def _work(listen: Listen, moves: Moves, writer: int, watched: int) -> int:
    """One worker's life: until its leash is let go."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(watched, stop.set)
    try:
        async with serve(replace(listen, moves=moves)) as running:
            os.write(writer, b"+")
            await stop.wait()
    except StartError as error:
        os.write(writer, b"-" + str(error).encode())
        return 1
    finally:
        loop.remove_reader(watched)
    outcome = pickle.dumps(Outcome(running.addon.responder.tally, running.addon.used))
    with os.fdopen(writer, "wb") as file:
        file.write(outcome)
    return 0


@contextmanager
def _reserved(host: str, port: int) -> Iterator[int]:
    """A port that workers alone can listen on: bound here, never listened on here."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as reservation:
        reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if port == 0:
            reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            if port:
                # Without SO_REUSEPORT: somebody else's workers on this port would take half of the clients.
                with socket.socket(family) as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind((host, port))
                    probe.listen()
                reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            reservation.bind((host, port))
        except OSError as error:
            raise StartError(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
        yield reservation.getsockname()[1]


@contextmanager
def _stop_asked() -> Iterator[int]:
    """A descriptor that becomes readable when a signal asks this process to stop."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = {number: signal.signal(number, lambda *_: None) for number in _SIGNALS}
    wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield reader
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)
