"""The byte pump to other hosts: in this process, and in the kernel where the system has splice."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import socket
import struct
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ringback.server import tunnel as module
from ringback.server.tunnel import Tunnel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

MB = 1024 * 1024
WAIT = 60.0  # seconds, for what takes milliseconds
RESET = struct.pack("ii", 1, 0)


@pytest.fixture(params=["process", "kernel"])
def pump(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where the bytes are moved; without splice they are moved in this process."""
    if request.param == "process":
        monkeypatch.delattr(os, "splice", raising=False)
    elif not hasattr(os, "splice"):
        pytest.skip("this system has no splice")
    return str(request.param)


@pytest.fixture
def kernel() -> None:
    if not hasattr(os, "splice"):
        pytest.skip("this system has no splice")


@dataclass
class Ends:
    """A tunnel with both of its peers, non-blocking sockets of this process."""

    client: socket.socket
    host: socket.socket
    tunnel: Tunnel
    lost: asyncio.Event

    def in_kernel(self) -> tuple[bool, bool]:
        """Return whether the client's direction and the host's are in the kernel."""
        return tuple(side._in_kernel is not None for side in (self.tunnel.client, self.tunnel.host))  # type: ignore[return-value] # two sides

    async def warm(self, pump: str) -> None:
        """Carry enough in both directions for the kernel to take them over, and see that it does."""
        for source, sink in ((self.client, self.host), (self.host, self.client)):
            await asyncio.gather(send(source, bytes(MB)), receive(sink, MB))
        await until(lambda: self.in_kernel() == (pump == "kernel",) * 2)


class _Waiting(asyncio.Protocol):
    """The client's connection before its tunnel."""

    def __init__(self, arrived: asyncio.Future[asyncio.Transport]) -> None:
        self.arrived = arrived

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()
        self.arrived.set_result(transport)


@asynccontextmanager
async def tunnelled(received: bytes = b"", reply: bytes = b"", buffers: int = 0) -> AsyncIterator[Ends]:
    """A started tunnel; `reply` is what the proxy has written to the client before.

    With `buffers` the sockets hold no more than about twice as many bytes.
    """
    loop = asyncio.get_running_loop()
    arrived: asyncio.Future[asyncio.Transport] = loop.create_future()
    server = await loop.create_server(lambda: _Waiting(arrived), "127.0.0.1", 0)
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        listener.settimeout(0)
        client.settimeout(0)
        if buffers:
            for one in (listener, client):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffers)
                one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffers)
        await loop.sock_connect(client, server.sockets[0].getsockname())
        transport = await arrived
        transport.write(reply)
        tunnel = Tunnel(transport, received)
        lost = asyncio.Event()
        tunnel.closed = lambda _: lost.set()
        await loop.create_connection(lambda: tunnel.host, *listener.getsockname())
        host, _ = await loop.sock_accept(listener)
        host.settimeout(0)
        for one in (transport, tunnel.host.transport) if buffers else ():
            one.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffers)
        with host:
            tunnel.start()
            yield Ends(client, host, tunnel, lost)
            if not lost.is_set():
                transport.abort()
            await asyncio.wait_for(lost.wait(), WAIT)
    server.close()
    await until(tunnel.host.transport.is_closing)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT):
        while not condition():  # noqa: ASYNC110 - what is waited for is not this program's
            await asyncio.sleep(0.001)


async def send(sock: socket.socket, data: bytes) -> None:
    async with asyncio.timeout(WAIT):
        await asyncio.get_running_loop().sock_sendall(sock, data)


async def receive(sock: socket.socket, size: int = 1 << 62) -> bytes:
    """Return `size` bytes, or all until the end."""
    parts, left = [], size
    async with asyncio.timeout(WAIT):
        while left and (part := await asyncio.get_running_loop().sock_recv(sock, min(left, MB))):
            parts.append(part)
            left -= len(part)
    return b"".join(parts)


async def send_numbered(sock: socket.socket, count: int, name: bytes) -> str:
    """Send `count` different megabytes and no more; return their digest."""
    digest = hashlib.blake2b()
    base = os.urandom(MB - 16)
    for number in range(count):
        part = b"%8b%8d" % (name, number) + base
        digest.update(part)
        await send(sock, part)
    sock.shutdown(socket.SHUT_WR)
    return digest.hexdigest()


async def digest_of(sock: socket.socket) -> str:
    digest = hashlib.blake2b()
    async with asyncio.timeout(WAIT):
        while part := await asyncio.get_running_loop().sock_recv(sock, MB):
            digest.update(part)
    return digest.hexdigest()


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    sock.close()


@pytest.mark.usefixtures("pump")
def test_many_bytes_both_ways_at_once_arrive_as_they_were() -> None:
    async def main() -> None:
        async with tunnelled() as ends:
            sent_up, sent_down, up, down = await asyncio.gather(
                send_numbered(ends.client, 64, b"up"),
                send_numbered(ends.host, 64, b"down"),
                digest_of(ends.host),
                digest_of(ends.client),
            )
            assert (up, down) == (sent_up, sent_down)
            await asyncio.wait_for(ends.lost.wait(), WAIT)  # both directions have ended

    asyncio.run(main())


def test_what_came_before_the_tunnel_goes_first(pump: str) -> None:
    async def main() -> None:
        async with tunnelled(received=b"r" * 3 * MB, reply=b"established") as ends:
            later = os.urandom(2 * MB)
            _, got, back, _ = await asyncio.gather(
                send(ends.client, later),
                receive(ends.host, 5 * MB),
                receive(ends.client, 11 + 2 * MB),
                send(ends.host, later),
            )
            assert got == b"r" * 3 * MB + later
            assert back == b"established" + later
            await until(lambda: ends.in_kernel() == (pump == "kernel",) * 2)

    asyncio.run(main())


@pytest.mark.parametrize("slow", ["client", "host"])
def test_a_slow_reader_stops_its_sender(pump: str, slow: str) -> None:
    async def main() -> None:
        async with tunnelled(buffers=64 * 1024) as ends:
            await ends.warm(pump)
            sink, source = (ends.client, ends.host) if slow == "client" else (ends.host, ends.client)
            side = ends.tunnel.host if slow == "client" else ends.tunnel.client
            sending = asyncio.create_task(send_numbered(source, 64, b"slow"))
            await until(lambda: _is_stopped(side))
            assert not sending.done()
            assert side.other.transport.get_write_buffer_size() < 2 * MB
            digest, sent = await asyncio.gather(digest_of(sink), sending)
            assert digest == sent

    asyncio.run(main())


def _is_stopped(side: module.Side) -> bool:
    if side._in_kernel is None:
        return not side.transport.is_reading()
    return side._in_kernel._in_pipe > 0


@pytest.mark.usefixtures("pump")
@pytest.mark.parametrize("first", ["client", "host"])
def test_the_end_of_one_direction_leaves_the_other(first: str) -> None:
    async def main() -> None:
        async with tunnelled() as ends:
            one, other = (ends.client, ends.host) if first == "client" else (ends.host, ends.client)
            sent, got = await asyncio.gather(send_numbered(one, 2, b"first"), digest_of(other))
            assert got == sent
            sent, got = await asyncio.gather(send_numbered(other, 3, b"second"), digest_of(one))
            assert got == sent
            await asyncio.wait_for(ends.lost.wait(), WAIT)

    asyncio.run(main())


@pytest.mark.parametrize("by", ["client", "host"])
def test_a_reset_is_no_orderly_end(pump: str, by: str) -> None:
    async def main() -> None:
        async with tunnelled() as ends:
            await ends.warm(pump)
            one, other = (ends.client, ends.host) if by == "client" else (ends.host, ends.client)
            reset(one)
            with pytest.raises(ConnectionResetError):
                await receive(other)
            await asyncio.wait_for(ends.lost.wait(), WAIT)

    asyncio.run(main())


@pytest.mark.parametrize("gone", ["client", "host"])
def test_a_peer_that_goes_ends_the_tunnel_of_a_sender(pump: str, gone: str) -> None:
    async def main() -> None:
        async with tunnelled() as ends:
            await ends.warm(pump)
            one, other = (ends.client, ends.host) if gone == "client" else (ends.host, ends.client)
            one.close()
            with pytest.raises((BrokenPipeError, ConnectionResetError)):
                await send_numbered(other, 64, b"to nobody")
            await asyncio.wait_for(ends.lost.wait(), WAIT)

    asyncio.run(main())


@pytest.mark.usefixtures("kernel")
def test_what_is_still_buffered_goes_before_what_the_kernel_moves() -> None:
    async def main() -> None:
        async with tunnelled(buffers=16 * 1024) as ends:
            sending = asyncio.create_task(send_numbered(ends.client, 4, b"up"))
            await until(lambda: ends.tunnel.client._moving)
            assert ends.in_kernel() == (False, False)
            got = await digest_of(ends.host)
            assert got == await sending

    asyncio.run(main())


def test_the_proxys_end_ends_both_sides_and_leaves_no_descriptor(pump: str) -> None:
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("this system does not list descriptors")

    async def main() -> None:
        before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names alone
        for _ in range(3):
            async with tunnelled() as ends:
                await ends.warm(pump)
                ends.tunnel.transport.abort()  # as `ServerState.stop` does
                for sock in (ends.client, ends.host):
                    with suppress(ConnectionResetError):
                        assert await receive(sock) == b""
            await asyncio.sleep(0)
        await until(lambda: set(os.listdir("/proc/self/fd")) <= before)  # noqa: PTH208 - as above

    asyncio.run(main())


@pytest.mark.usefixtures("kernel")
def test_few_bytes_take_no_descriptors() -> None:
    async def main() -> None:
        async with tunnelled() as ends:
            for source, sink in ((ends.client, ends.host), (ends.host, ends.client)):
                await send(source, b"few")
                assert await receive(sink, 3) == b"few"
            assert ends.in_kernel() == (False, False)

    asyncio.run(main())


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("good", [0, 1, 2, 5])
def test_a_kernel_that_refuses_leaves_the_bytes_to_this_process(
    good: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EINVAL comes from sockets and sandboxes without splice, in either half of a move."""
    left = good
    original = module._splice

    def refusing(source: int, sink: int, size: int) -> int:
        nonlocal left
        if not left:
            raise OSError(errno.EINVAL, "refused")
        left -= 1
        return original(source, sink, size)

    async def main() -> None:
        async with tunnelled() as ends:
            sent, got = await asyncio.gather(send_numbered(ends.client, 8, b"up"), digest_of(ends.host))
            assert got == sent
            assert not left

    monkeypatch.setattr(module, "_splice", refusing)
    asyncio.run(main())


@pytest.mark.usefixtures("kernel")
def test_without_descriptors_the_bytes_stay_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0

    def refusing() -> tuple[int, int]:
        nonlocal asked
        asked += 1
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    async def main() -> None:
        async with tunnelled() as ends:
            monkeypatch.setattr(os, "pipe", refusing)
            sent, got = await asyncio.gather(send_numbered(ends.client, 8, b"up"), digest_of(ends.host))
            assert got == sent
            assert asked == 1
            assert ends.in_kernel() == (False, False)

    asyncio.run(main())
