"""Many clients, and clients that behave badly: everybody gets their own answer, and nothing piles up."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.clients import GOOD, Wire, http, path
from support.proxying import serve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.proxying import Serving

PROMISE = "every client gets its own answer, whatever others do, and nothing piles up"
TRIED = "many clients, and clients that vanish, never read, send a byte at a time"
LARGE = "TRUST_SCALE" in os.environ
WAIT = 120  # seconds until what has to come has come; a busy machine takes its time
MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def running(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serve(home, tmp_path_factory.mktemp("load"), "--journal", "50", "--quiet") as proxy:
        yield proxy
        assert proxy.process.poll() is None
    assert "Traceback" not in proxy.stderr()


def message(text: str, *, absolute: bool = False) -> bytes:
    target = f"http://api.twilio.com{path()}" if absolute else None
    return http(target=target, form={**GOOD["Messages"], "Body": text})


def is_answered(running: Serving, text: str = "hello") -> bool:
    """Whether a new client gets its own answer, by plain HTTP, which costs the least."""
    with Wire(running.port) as wire:
        wire.sock.settimeout(WAIT)
        return str(wire.send(message(text, absolute=True)).response().json()["body"]) == text


def descriptors(running: Serving) -> int:
    directory = Path(f"/proc/{running.process.pid}/fd")
    if not directory.exists():
        pytest.skip("this system does not show a process's descriptors")
    return len(list(directory.iterdir()))


def resident(running: Serving) -> int:
    """The proxy's memory in bytes."""
    pages = Path(f"/proc/{running.process.pid}/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def falls_to(running: Serving, most: int) -> bool:
    """Wait until the proxy has no more than so many descriptors."""
    end = time.monotonic() + WAIT
    while descriptors(running) > most and time.monotonic() < end:
        assert is_answered(running)
    return descriptors(running) <= most


def test_pipelined_and_cut_anywhere_each_answer_is_its_requests_own(
    running: Serving, record_property: pytest.RecordProperty
) -> None:
    clients, rounds, depth = (16, 60, 20) if LARGE else (4, 3, 10)

    def client(number: int) -> int:
        chance = random.Random(number)
        right = 0
        with running.twilio() as wire:
            wire.sock.settimeout(WAIT)
            for turn in range(rounds):
                texts = [f"{number}-{turn}-{place}" for place in range(depth)]
                data = b"".join(map(message, texts))
                while data:
                    size = chance.randrange(1, 2000)
                    wire.send(data[:size])
                    data = data[size:]
                right += [wire.response().json()["body"] for _ in texts] == texts
        return right

    with ThreadPoolExecutor(clients) as pool:
        assert list(pool.map(client, range(clients))) == [rounds] * clients
    record_property("tries", clients * rounds * depth)


def test_memory_and_descriptors_stay_flat(running: Serving, record_property: pytest.RecordProperty) -> None:
    rounds, each = (40, 200) if LARGE else (5, 60)

    def load() -> None:
        for number in range(each):
            assert is_answered(running, f"{number} " + "x" * 500)
        with running.twilio() as wire:
            for _ in range(5):
                assert wire.send(message("y" * 1500)).response().status == 201

    load()
    load()
    handles, memory = descriptors(running), resident(running)
    for _ in range(rounds):
        load()
    assert falls_to(running, handles)
    assert resident(running) - memory < 16 * MEGABYTE
    record_property("tries", (rounds + 2) * (each + 5))


def test_slow_vanishing_and_deaf_clients_hold_nobody_up(
    running: Serving, record_property: pytest.RecordProperty
) -> None:
    slow, turns, others = (500, 60, 200) if LARGE else (50, 3, 10)
    handles, memory = descriptors(running), resident(running)
    data = message("slow", absolute=True)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Wire(running.port)) for _ in range(slow)]
        for turn in range(turns):
            for client in clients:
                client.send(data[turn : turn + 1])
            assert is_answered(running, f"while others send byte {turn}")
            if LARGE:
                time.sleep(1)
        deaf = [stack.enter_context(_deaf(running)) for _ in range(others)]
        for number in range(others):
            _vanish(running, data[: 1 + number * 7 % len(data)])
            assert is_answered(running, f"after {number} have gone")
        assert resident(running) - memory < (2 * others + 32) * MEGABYTE
        for client in clients:
            client.send(data[turns:])
        for client in clients:
            client.sock.settimeout(WAIT)
            assert client.response().json()["body"] == "slow"
        assert deaf
    assert falls_to(running, handles)
    record_property("tries", slow + 2 * others)


@contextlib.contextmanager
def _deaf(running: Serving) -> Iterator[socket.socket]:
    """A client that asks for a megabyte of answers and reads none of them."""
    wire = Wire(running.port)
    wire.tunnel("api.twilio.com:443").tls(running.ca)
    raw = wire.sock
    raw.settimeout(0.2)
    with raw, contextlib.suppress(TimeoutError, OSError):
        for number in range(600):
            raw.sendall(message(f"{number}" * 100))
    with raw:
        yield raw


def _vanish(running: Serving, data: bytes) -> None:
    """A client that sends a part of a request and resets the connection."""
    with Wire(running.port) as wire:
        wire.send(data)
        wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_many_connections_at_once(running: Serving, record_property: pytest.RecordProperty) -> None:
    many = 5000 if LARGE else 200
    resource = pytest.importorskip("resource", reason="this system has no limits of that kind")
    if not hasattr(resource, "prlimit"):
        pytest.skip("this system cannot raise another process's limit")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < many + 500:
        pytest.skip(f"a process may have {hard} descriptors here")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    handles = descriptors(running)
    for process in (0, running.process.pid):
        resource.prlimit(process, resource.RLIMIT_NOFILE, (max(many + 500, before[0]), hard))
    try:
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(Wire(running.port)) for _ in range(many)]
            for number, client in enumerate(clients):
                client.send(message(f"{number}", absolute=True))
            for number, client in enumerate(clients):
                client.sock.settimeout(WAIT)
                assert client.response().json()["body"] == f"{number}"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert falls_to(running, handles)
    record_property("tries", many)


def test_with_64_descriptors_clients_wait_and_the_proxy_lives(home: Path, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="this system has no limits of that kind")
    if not hasattr(resource, "prlimit"):
        pytest.skip("this system cannot limit another process")
    with serve(home, tmp_path, "--quiet") as running:
        assert is_answered(running)
        resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE, (64, 64))
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(Wire(running.port)) for _ in range(150)]
            for number, client in enumerate(clients):
                client.send(message(f"{number}", absolute=True))
            # Each is answered as soon as those before it have gone.
            for number, client in enumerate(clients):
                client.sock.settimeout(WAIT)
                assert client.response().json()["body"] == f"{number}"
                client.sock.close()
        assert is_answered(running)
        with running.twilio() as wire:
            assert wire.send(message("by TLS")).response().status == 201
    assert "Traceback" not in running.stderr()
    assert running.stderr().count("new connections wait: Too many open files; ulimit -n raises") == 1


def test_the_end_comes_soon_with_connections_of_every_kind(home: Path, tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        with serve(home, tmp_path) as running:
            for data in (
                b"",
                b"P",
                message("x", absolute=True)[:-3],
                b"CONNECT api.twilio.com:443 HTTP/1.1\r\n",
            ):
                stack.enter_context(Wire(running.port)).send(data)
            stack.enter_context(running.twilio()).send(message("x")[:100])
            assert is_answered(running)
        assert running.process.returncode == 0
    assert "Traceback" not in running.stderr()
