"""The client against a real upstream that drops connections at every point, or lies."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from ringback.exchange import Answer, Request
from ringback.upstream import client as client_module
from ringback.upstream.client import UpstreamClient
from ringback.upstream.http1 import LARGEST, MOST_PARTS, AnswerParser, UpstreamError, wire
from ringback.upstream.routes import Timeouts, UpstreamRoute
from support.clients import GOOD, live_answer, post
from support.upstream import response

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Serve = Callable[["Upstream", socket.socket, int], Awaitable[None]]

REQUEST = post("Messages", GOOD["Messages"])
OK = response(201, b"{}", ("Content-Type", "application/json"))


def length_of(request: Request) -> int:
    """Bytes of `request` as it is written: what the upstream can stop at."""
    return len(wire(request))


LENGTH = length_of(REQUEST)


@dataclass
class Upstream:
    """A server on loopback that handles each connection by `serve`, by exact numbers of bytes.

    Attributes:
        received: The bytes that each connection has brought.
    """

    serve: Serve
    port: int = 0
    received: list[bytes] = field(default_factory=list)

    async def read(self, connection: socket.socket, number: int, most: int) -> None:
        """Take exactly `most` bytes, or what comes before the end."""
        loop = asyncio.get_running_loop()
        while most and (data := await loop.sock_recv(connection, most)):
            self.received[number] += data
            most -= len(data)

    async def accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as tasks:
            while True:
                connection, _ = await loop.sock_accept(listener)
                self.received.append(b"")
                tasks.create_task(self.handle(connection, len(self.received) - 1))

    async def handle(self, connection: socket.socket, number: int) -> None:
        with connection, suppress(OSError):  # the client may have gone
            await self.serve(self, connection, number)


@asynccontextmanager
async def running(
    serve: Serve, limit: float = 20.0
) -> AsyncIterator[tuple[Upstream, Callable[..., Awaitable[Answer]]]]:
    """The server, and a function that sends a request to it by one client."""
    upstream = Upstream(serve)
    client = UpstreamClient(timeouts=Timeouts(20, limit))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        route = UpstreamRoute("127.0.0.1", listener.getsockname()[1], None)
        accepting = asyncio.create_task(upstream.accept(listener))
        try:
            yield upstream, lambda request=REQUEST: client.exchange(route, request)
        finally:
            client.close()
            accepting.cancel()
            await asyncio.wait([accepting])


async def send(connection: socket.socket, data: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(connection, data)


def close(connection: socket.socket, by_reset: bool) -> None:
    if by_reset:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


# -- connections that drop


def dropping(kept: bool, taken: int, given: bytes, by_reset: bool) -> Serve:
    """Answer the first request of a connection if it is `kept`; drop at this point of the next."""

    async def serve(upstream: Upstream, connection: socket.socket, number: int) -> None:
        if kept:
            await upstream.read(connection, number, LENGTH)
            await send(connection, OK)
        await upstream.read(connection, number, taken)
        await send(connection, given)
        close(connection, by_reset)

    return serve


def outcome_of_drop(kept: bool, taken: int, given: bytes, by_reset: bool) -> tuple[str, list[int]]:
    """What the request gets, and how many bytes of it each connection took."""

    async def main() -> tuple[str, list[int]]:
        async with running(dropping(kept, taken, given, by_reset)) as (upstream, ask):
            if kept:
                assert (await ask()).status == 201
            try:
                said = str((await ask()).status)
            except UpstreamError as error:
                said = error.rule
            counts = [len(bytes_) for bytes_ in upstream.received]
            if kept:
                counts[0] -= LENGTH
            return said, counts

    return asyncio.run(main())


@pytest.mark.parametrize("by_reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("kept", [True, False], ids=["kept", "new"])
def test_a_post_is_never_sent_again_wherever_in_it_the_connection_drops(kept: bool, by_reset: bool) -> None:
    for taken in range(1, LENGTH + 1):
        assert outcome_of_drop(kept, taken, b"", by_reset) == ("upstream.closed", [taken]), taken


@pytest.mark.parametrize("by_reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("kept", [True, False], ids=["kept", "new"])
def test_a_post_is_never_sent_again_wherever_in_its_answer_the_connection_drops(
    kept: bool, by_reset: bool
) -> None:
    for given in range(len(OK)):
        said, counts = outcome_of_drop(kept, LENGTH, OK[:given], by_reset)
        assert (said, counts) == ("upstream.closed", [LENGTH]), given


@pytest.mark.parametrize("by_reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_a_kept_connection_that_has_ended_is_replaced_before_anything_is_written(
    by_reset: bool, method: str
) -> None:
    request = Request(method, REQUEST.host, REQUEST.target, REQUEST.headers, REQUEST.body)
    ended = asyncio.Event()

    async def serve(upstream: Upstream, connection: socket.socket, number: int) -> None:
        await upstream.read(connection, number, length_of(request))
        await send(connection, OK)
        close(connection, by_reset)
        ended.set()

    async def main() -> list[int]:
        async with running(serve) as (upstream, ask):
            for _ in range(5):
                assert (await ask(request)).status == 201
                await ended.wait()
                ended.clear()
            return [len(data) for data in upstream.received]

    assert asyncio.run(main()) == [length_of(request)] * 5


def test_bytes_that_nobody_asked_for_end_a_kept_connection() -> None:
    sent = asyncio.Event()

    async def serve(upstream: Upstream, connection: socket.socket, number: int) -> None:
        await upstream.read(connection, number, LENGTH)
        await send(connection, OK)
        if number == 0:
            await send(connection, response(500, b"an answer to the next one"))
            sent.set()
        await upstream.read(connection, number, 1)

    async def main() -> int:
        async with running(serve) as (upstream, ask):
            assert (await ask()).status == 201
            await sent.wait()
            assert (await ask()).status == 201
            return len(upstream.received)

    assert asyncio.run(main()) == 2


def test_an_old_connection_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def serve(upstream: Upstream, connection: socket.socket, number: int) -> None:
        while True:
            await upstream.read(connection, number, LENGTH)
            await send(connection, OK)

    async def main() -> list[int]:
        async with running(serve) as (upstream, ask):
            for _ in range(2):
                await ask()
            monkeypatch.setattr(client_module, "IDLE", 0.0)
            await ask()
            return [len(data) // LENGTH for data in upstream.received]

    assert asyncio.run(main()) == [2, 1]


# -- answers that lie


def answered(
    *pieces: bytes, limit: float = 20.0, hang: bool = False, request: Request = REQUEST
) -> Answer | UpstreamError:
    """What an upstream's bytes are taken for."""

    async def serve(upstream: Upstream, connection: socket.socket, number: int) -> None:
        await upstream.read(connection, number, length_of(request))
        for piece in pieces:
            await send(connection, piece)
        if hang:
            await upstream.read(connection, number, 1)

    async def main() -> Answer | UpstreamError:
        async with running(serve, limit) as (_, ask):
            try:
                return await ask(request)
            except UpstreamError as error:
                return error

    return asyncio.run(main())


HEAD = b"HTTP/1.1 201 CREATED\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
TOO_LONG = f"its answer has more than {LARGEST} bytes"
TOO_MANY = f"its answer has more than {MOST_PARTS} parts"
LIES = {
    "length of 2^63": (HEAD + b"Content-Length: 9223372036854775808\r\n\r\n{", TOO_LONG),
    "length of 2^64": (HEAD + b"Content-Length: 18446744073709551616\r\n\r\n{", TOO_LONG),
    "length of 30 digits": (HEAD + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n{", ""),
    "length of 5000 digits": (HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n{", ""),
    "negative length": (HEAD + b"Content-Length: -1\r\n\r\n{", "bad Content-Length"),
    "length in hexadecimal": (HEAD + b"Content-Length: 0x2\r\n\r\n{}", "bad Content-Length"),
    "two lengths": (HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", "conflicting Content-Length"),
    "chunk of 2^64": (CHUNKED + b"10000000000000000\r\n{", TOO_LONG),
    "chunk size that never ends": (CHUNKED + b"0" * 100_000, ""),
    "chunk extension that never ends": (CHUNKED + b"1;" + b"x" * 100_000, ""),
    "trailers that never end": (CHUNKED + b"0\r\n" + b"X: y\r\n" * 100_000, ""),
    "head of a megabyte": (HEAD + b"X: " + b"y" * 1_000_000, "Receive buffer too long"),
    "a hundred thousand fields": (HEAD + b"X: y\r\n" * 100_000, "Receive buffer too long"),
    "status line that never ends": (b"HTTP/1.1 201 " + b"x" * 1_000_000, "Receive buffer too long"),
    "interim answers that never end": (b"HTTP/1.1 100 Continue\r\n\r\n" * (MOST_PARTS + 1), TOO_MANY),
    "chunks of one byte": (CHUNKED + b"1\r\nx\r\n" * (MOST_PARTS + 1), TOO_MANY),
    "body without an end": (HEAD + b"\r\n" + b"x" * (LARGEST + 1), TOO_LONG),
    "status of four digits": (b"HTTP/1.1 2010 CREATED\r\n\r\n", ""),
    "line breaks in the reason": (b"HTTP/1.1 201 OK\rX: y\r\n\r\n", ""),
    "folded field names": (HEAD + b"X Y: z\r\n\r\n", ""),
    "two equal lengths": (
        HEAD + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
        "conflicting Content-Length",
    ),
    "length and chunks": (
        HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "conflicting Content-Length",
    ),
    "a coding before chunked": (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "not chunked"),
    "chunks in HTTP/1.0": (
        b"HTTP/1.0 201 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "not chunked",
    ),
    "version 2.0": (b"HTTP/2.0 201 OK\r\nContent-Length: 0\r\n\r\n", "status line"),
    "status 099": (b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n", "status line"),
    "NUL in a value": (HEAD + b"X: a\0b\r\n\r\n", ""),
    "lines without CR": (b"HTTP/1.1 201 OK\nContent-Length: 0\n\n", ""),
    "folded value": (HEAD + b"X: a\r\n b\r\nContent-Length: 0\r\n\r\n", ""),
    "another protocol": (
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        "switched to a protocol",
    ),
    "HTTP/2": (b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x80", ""),
    "TLS": (b"\x15\x03\x03\0\x02\x02\x46\r\n\r\n", ""),
}


@pytest.mark.parametrize("name", LIES)
def test_an_answer_that_lies_is_refused_without_waiting(name: str) -> None:
    data, said = LIES[name]
    got = answered(data, hang=True, limit=20)
    assert isinstance(got, UpstreamError), got
    assert got.rule == "upstream.invalid"
    assert said in got.detail


def test_other_requests_are_served_while_a_body_comes_in_small_chunks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The loop is free again after each handful of parts, counted in turns and not by the clock."""
    monkeypatch.setattr(client_module, "_CHUNK", 1024 * 1024)
    body = CHUNKED + b"1\r\nx\r\n" * 20_000 + b"0\r\n\r\n"
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async def serve(upstream: Upstream, connection: socket.socket, number: int) -> None:
        await upstream.read(connection, number, LENGTH)
        await send(connection, body)
        await upstream.read(connection, number, 1)

    async def main() -> Answer:
        async with running(serve) as (_, ask):
            counting = asyncio.create_task(count())
            try:
                return await ask()
            finally:
                counting.cancel()

    assert asyncio.run(main()).body == b"x" * 20_000
    assert turns >= 20_000 // 500


@pytest.mark.parametrize("data", [b"", HEAD, CHUNKED + b"100000\r\n{"])
def test_an_answer_that_stops_is_waited_for_no_longer_than_was_said(data: bytes) -> None:
    got = answered(data, hang=True, limit=0.2)
    assert str(got) == "upstream.timeout: no whole answer within 0.2 seconds"


def test_an_answer_byte_by_byte_is_waited_for_no_longer_than_was_said() -> None:
    async def serve(upstream: Upstream, connection: socket.socket, number: int) -> None:
        await upstream.read(connection, number, LENGTH)
        for byte in HEAD + b"Content-Length: 1000000\r\n\r\n" + b"x" * 1_000_000:
            await send(connection, bytes([byte]))
            await asyncio.sleep(0.01)

    async def main() -> None:
        async with running(serve, 0.3) as (_, ask):
            with pytest.raises(
                UpstreamError, match=r"upstream\.timeout: no whole answer within 0\.3 seconds"
            ):
                await ask()

    asyncio.run(main())  # all of the answer would take hours


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
def test_a_redirect_is_an_answer_and_never_followed(status: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        elsewhere.settimeout(0)
        where = f"http://127.0.0.1:{elsewhere.getsockname()[1]}/"
        got = answered(response(status, b"", ("Location", where)))
        assert isinstance(got, Answer)
        assert (got.status, got.header("Location")) == (status, where)
        with pytest.raises(BlockingIOError):
            elsewhere.accept()


def test_an_answer_to_head_has_a_length_and_no_body() -> None:
    head = Request("HEAD", REQUEST.host, REQUEST.target, REQUEST.headers)
    got = answered(HEAD + b"Content-Length: 99999999999\r\n\r\n", request=head, hang=True)
    assert got == live_answer(201, "CREATED", (("Content-Length", "99999999999"),))


def test_an_answer_keeps_the_order_the_spelling_and_the_bytes_of_its_fields() -> None:
    fields = (("x-B", "2"), ("X-a", ""), ("x-B", "1  1"), ("X-U", "gr\xfc\xdf"), ("X-T", "a\tb"))
    head = b"".join(f"{name}:  {value} \t\r\n".encode("latin-1") for name, value in fields)
    data = HEAD + head + b"Content-Length: 2\r\n\r\n{}"
    wanted = live_answer(201, "CREATED", (*fields, ("Content-Length", "2")), b"{}")
    assert answered(data) == wanted
    pieces = [data[at : at + 1] for at in range(len(data))]
    parser = AnswerParser("POST")
    for piece in pieces:
        parser.feed(piece)
    assert (parser.answer, parser.keeps) == (wanted, True)


def test_interim_answers_are_passed_over_and_trailers_dropped() -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    chunks = b'3;a=b\r\n{"a\r\n4\r\n": 1\r\n1\r\n}\r\n0\r\nX-Trailer: y\r\n\r\n'
    got = answered(interim + CHUNKED + chunks, hang=True)
    assert got == live_answer(201, "CREATED", (("Content-Length", "8"),), b'{"a": 1}')


@pytest.mark.parametrize("start", [b"HTTP/1.0 201 CREATED\r\n\r\n", HEAD + b"\r\n"])
def test_a_body_without_a_length_ends_with_its_connection(start: bytes) -> None:
    got = answered(start + b"x" * 100_000)
    assert got == live_answer(201, "CREATED", (("Content-Length", "100000"),), b"x" * 100_000)


@pytest.mark.parametrize(
    "first, request_",
    [
        (response(201, b"{}", ("Connection", "close")), REQUEST),
        (b"HTTP/1.0 201 CREATED\r\nContent-Length: 2\r\n\r\n{}", REQUEST),
        (OK + b"HTTP/1.1 500 not asked for\r\n\r\n", REQUEST),
        (OK + b"garbage", REQUEST),
        (OK, replace(REQUEST, headers=(*REQUEST.headers, ("Connection", "Keep-Alive, Close")))),
    ],
    ids=["closes", "HTTP/1.0", "another answer", "garbage", "asked to close"],
)
def test_a_connection_that_ends_with_its_answer_is_not_used_again(first: bytes, request_: Request) -> None:
    """No matter that the upstream leaves it open."""

    async def serve(upstream: Upstream, connection: socket.socket, number: int) -> None:
        await upstream.read(connection, number, length_of(request_))
        await send(connection, first)
        await upstream.read(connection, number, 1)

    async def main() -> list[int]:
        async with running(serve) as (upstream, ask):
            for _ in range(2):
                assert (await ask(request_)).body == b"{}"
            return [len(data) for data in upstream.received]

    assert asyncio.run(main()) == [length_of(request_)] * 2
