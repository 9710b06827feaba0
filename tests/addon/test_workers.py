"""Several processes on one port answer as one would."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import socket
import ssl
import sys
import warnings
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ringback.tally import Tally
from support.bothways import Inside, inside
from support.clients import GOOD, Wire, http
from support.proxying import Serving, ringback, serve

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # mitmproxy's dependencies warn about each other
    from ringback.addon.workers import Moves, added_up, home_of, together
    from ringback.cassettes.manager import CassetteUsage

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="SO_REUSEPORT spreads connections on Linux alone"
)

MESSAGE = http(form=GOOD["Messages"])


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def sids(open_wire: Callable[[], Wire], count: int) -> list[str]:
    """The sids of equal messages, each over a connection of its own."""
    found = []
    for _ in range(count):
        with open_wire() as wire:
            found.append(wire.send(MESSAGE).response().json()["sid"])
    return found


def by_socks(proxy: Serving, greeting: bytes = b"\x05\x01\x00") -> Wire:
    wire = Wire(proxy.ready["socks"])
    wire.send(greeting)
    assert wire.sock.recv(2) == b"\x05\x00"
    wire.send(b"\x05\x01\x00\x03\x0eapi.twilio.com\x01\xbb")
    assert wire.sock.recv(10)[:2] == b"\x05\x00"
    return wire.tls(proxy.ca)


def test_all_workers_answer_and_their_counts_are_added_up(tmp_path: Path) -> None:
    with serve(tmp_path, tmp_path, "--workers", "2") as proxy:
        assert len(children(proxy.process.pid)) == 2
        assert len(set(sids(proxy.twilio, 41))) == 41  # odd: the two counts differ
        answered = {proxy.health()["answered"] for _ in range(40)}
        # Each worker tells its own.
        assert len(answered) == 2
        assert sum(answered) == 41
        assert min(answered) > 0
    assert proxy.process.returncode == 0
    assert "41 Twilio requests answered" in proxy.stderr()


def test_a_seed_gives_the_sids_of_one_process(tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    with inside(alone, ringback_seed=7) as proxy:
        assert isinstance(proxy, Inside)
        expected = sids(proxy.twilio, 12)
    assert len(set(expected)) == 12
    with serve(tmp_path, tmp_path, "--workers", "3", "--seed", "7") as workers:
        # Over both listeners in turn: they share the state.
        got = [
            sid
            for number in range(12)
            for sid in sids(workers.twilio if number % 2 else partial(by_socks, workers), 1)
        ]
    assert got == expected


def test_a_cassettes_session_is_in_one_worker(tmp_path: Path) -> None:
    directory = tmp_path / "cassettes"
    directory.mkdir()
    # Three recordings of one request: each client of the cassette gets them in order, whoever answers.
    uri = "https://api.twilio.com" + MESSAGE.split()[1].decode()
    interactions = [
        {
            "request": {
                "method": "POST",
                "uri": uri,
                "body": MESSAGE.rpartition(b"\r\n\r\n")[2].decode(),
                "headers": {"Content-Type": ["application/x-www-form-urlencoded"]},
            },
            "response": {
                "status": {"code": 201, "message": "CREATED"},
                "headers": {"Content-Type": ["application/json"]},
                "body": {"string": json.dumps({"sid": f"SM{number:032d}"})},
            },
        }
        for number in range(6)
    ]
    for name in ("one", "two", "three"):
        (directory / f"{name}.yaml").write_text(json.dumps({"version": 1, "interactions": interactions}))
    with serve(tmp_path, tmp_path, "--workers", "2", "--cassettes", str(directory)) as proxy:
        for name, encoded in (("one", "b25lOng="), ("two", "dHdvOng="), ("three", "dGhyZWU6eA==")):
            more = f"Proxy-Authorization: Basic {encoded}\r\n".encode()
            got = sids(lambda more=more: proxy.wire().tunnel(more=more).tls(proxy.ca), 6)  # type: ignore[misc] # bound now
            assert got == [f"SM{number:032d}" for number in range(6)], name


def test_a_worker_that_dies_ends_the_others_with_an_error(tmp_path: Path) -> None:
    with serve(tmp_path, tmp_path, "--workers", "3") as proxy:
        workers = children(proxy.process.pid)
        os.kill(workers[1], signal.SIGKILL)
        assert proxy.process.wait(30) == 1
        for worker in workers:
            with pytest.raises(ProcessLookupError):
                os.kill(worker, 0)
    assert f"worker {workers[1]} died" in proxy.stderr()


def test_workers_end_with_their_parent(tmp_path: Path) -> None:
    with serve(tmp_path, tmp_path, "--workers", "2") as proxy:
        watched = [os.pidfd_open(worker) for worker in children(proxy.process.pid)]
        proxy.process.kill()
        try:
            for descriptor in watched:
                assert select.select([descriptor], [], [], 30)[0]
        finally:
            for descriptor in watched:
                os.close(descriptor)


def test_a_taken_port_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = ringback(tmp_path, "serve", "--workers", "2", "--port", str(port))
    assert done.returncode == 5
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr


def test_workers_are_for_offline_alone(tmp_path: Path) -> None:
    done = ringback(tmp_path, "serve", "--workers", "2", "--mode", "online")
    assert done.returncode == 2
    assert "offline alone" in done.stderr


def test_every_count_is_added_up() -> None:
    one, two, reason = Tally(challenged=1), Tally(challenged=2), ("a", "b")
    one.by_source = Counter(contract=3)
    two.by_source = Counter(contract=4, gate=1)
    one.reasons[reason] = 1
    two.reasons.update({reason: 2, ("a", "c"): 1})
    total = added_up([one, two])
    assert (total.challenged, total.by_source) == (3, Counter(contract=7, gate=1))
    assert total.reasons == {reason: 3, ("a", "c"): 1}
    assert added_up([]) == Tally()


def test_states_are_spread_and_stay_where_they_are() -> None:
    homes = [home_of(f"test_{number}", 4) for number in range(100)]
    assert homes == [home_of(f"test_{number}", 4) for number in range(100)]
    assert set(homes) == {0, 1, 2, 3}


def tunnel_at_once(proxy: Serving) -> Wire:
    """A client that does not wait for the reply to its CONNECT."""
    wire = proxy.wire()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = ssl.create_default_context(cafile=str(proxy.ca)).wrap_bio(
        incoming, outgoing, server_hostname="api.twilio.com"
    )
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    wire.send(b"CONNECT api.twilio.com:443 HTTP/1.1\r\nHost: api.twilio.com\r\n\r\n" + outgoing.read())
    return wire


def odd_connect(proxy: Serving) -> Wire:
    return proxy.wire().tunnel(more=b"Content-Length: 0\r\n").tls(proxy.ca)


def other_greeting(proxy: Serving) -> Wire:
    return by_socks(proxy, b"\x05\x02\x00\x02")


def plain(proxy: Serving) -> Wire:
    """Plain HTTP by proxy, its head in two pieces."""
    wire = proxy.wire()
    wire.send(b"POST http://api.twilio.com")
    return wire


@pytest.mark.parametrize("way", [odd_connect, other_greeting, plain])
def test_however_a_connection_begins_its_state_is_in_one_worker(
    way: Callable[[Serving], Wire], tmp_path: Path
) -> None:
    data = MESSAGE.removeprefix(b"POST ") if way is plain else MESSAGE
    found = []
    with serve(tmp_path, tmp_path, "--workers", "3", "--seed", "7") as proxy:
        for number in range(24):
            with way(proxy) if number % 2 else proxy.twilio() as wire:
                sent = data if number % 2 else MESSAGE
                found.append(wire.send(sent).response().json()["sid"])
    assert len(set(found)) == len(found)


def test_a_hello_that_did_not_wait_is_moved_with_its_connect(tmp_path: Path) -> None:
    with serve(tmp_path, tmp_path, "--workers", "3", "--seed", "7") as proxy:
        for _ in range(6):
            with tunnel_at_once(proxy) as wire:
                assert wire.sock.recv(100).startswith(b"HTTP/1.1 200 ")


def test_a_worker_whose_inbox_is_full_keeps_nobody_waiting_but_its_own() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    name = next(str(number) for number in range(99) if home_of(str(number), 2) == 1)
    count = 1000  # three times what an inbox holds

    async def main() -> list[bytes]:
        got: list[bytes] = []
        done = asyncio.Event()

        def adopt(sock: socket.socket, data: bytes, _by_socks: bool) -> None:
            sock.close()
            got.append(data)
            if len(got) == count:
                done.set()

        sender, receiver = Moves(0, ours, [ours, there]), Moves(1, here, [theirs, here])
        with socket.socket() as moved:
            for number in range(count):
                assert sender.move(name, moved, b"%d" % number, False)  # noqa: FBT003 - the signature
        receiver.start(adopt)
        await asyncio.wait_for(done.wait(), 60)
        receiver.stop()
        sender.stop()
        return got

    with ours, theirs, here, there:
        assert asyncio.run(main()) == [b"%d" % number for number in range(count)]


def test_each_cassette_is_told_once_as_the_worker_that_has_it_tells() -> None:
    untouched = CassetteUsage("default", 0, 0, 0, 0, 2)
    touched = CassetteUsage("default", 2, 0, 0, 0, 0)
    other = CassetteUsage("other", 0, 1, 0, 0, 1)
    assert together([untouched, touched, untouched]) == (touched,)
    assert together([untouched, other, untouched]) == (other,)
    assert together([touched, other]) == (touched, other)
    assert together([untouched, untouched]) == (untouched,)
    assert together([]) == ()
