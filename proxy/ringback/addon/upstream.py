"""HTTP/1.1 to the live API: one request out as the client wrote it, one answer back as it was sent.

The framing is h11's. Its own writer is not used for the head, because it moves `Host` to the front. Redirects
are answers like any other, and no other protocol is ever switched to.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import h11

from ringback.addon.dialing import Dialer, Timeouts, UpstreamError, tls_detail

if TYPE_CHECKING:
    from pathlib import Path

    from ringback.addon.routes import Route
    from ringback.contract import Headers, Request

LARGEST: Final = 16 * 1024 * 1024  # bytes of an answer; Twilio's have a few thousand
MOST_IDLE: Final = 16  # unused connections that are kept for one route
IDLE: Final = 15.0  # seconds for which an unused connection is kept
_CHUNK: Final = 64 * 1024

# The client meant these for its proxy.
_FOR_PROXY = frozenset({"proxy-authorization", "proxy-connection"})
# These describe the connection that the answer came on, which is not the client's.
_HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-connection", "transfer-encoding", "upgrade"}
)


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back.

    Attributes:
        status: HTTP status.
        reason: Reason phrase.
        headers: The header fields in order, without those of the connection; Content-Length is right.
        body: The bytes after transfer coding, content coding as sent.
    """

    status: int
    reason: str
    headers: Headers
    body: bytes


@dataclass(eq=False, slots=True)
class _Connection:
    route: Route
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    http: h11.Connection = field(default_factory=lambda: h11.Connection(h11.CLIENT))
    received: bool = False  # anything since the last request
    idle: asyncio.Task[bytes] | None = None
    since: float = 0.0

    def abort(self) -> None:
        if self.idle is not None:
            self.idle.cancel()
        self.writer.transport.abort()


class Upstream:
    """Sends requests and keeps connections for the next ones.

    It judges nothing: who calls it has the proof that the request's credentials are test credentials.

    Args:
        ca: A PEM file of roots that takes the place of the system's, or None.
        timeouts: How long to wait.
    """

    def __init__(self, ca: Path | None = None, timeouts: Timeouts | None = None) -> None:
        self._timeouts = timeouts or Timeouts()
        self._dialer = Dialer(ca, self._timeouts.connect)
        self._idle: dict[Route, list[_Connection]] = {}

    async def exchange(self, route: Route, request: Request) -> Reply:
        """Send `request` and return what comes back.

        A kept connection that turns out to be closed before it answered anything is replaced once.

        Raises:
            UpstreamError: Nothing came back.
            ValueError: The request cannot be written as HTTP/1.1.
        """
        head, body = wire(request)
        kept = await self._kept(route)
        if kept is not None:
            try:
                return await self._ask(kept, head, body)
            except UpstreamError as error:
                if kept.received or error.rule != "upstream.closed":
                    raise
        return await self._ask(_Connection(route, *await self._dialer.open(route)), head, body)

    def close(self) -> None:
        """Let go of the kept connections."""
        for connections in self._idle.values():
            for connection in connections:
                connection.abort()
        self._idle.clear()

    # -- connections

    async def _kept(self, route: Route) -> _Connection | None:
        now = asyncio.get_running_loop().time()
        while self._idle.get(route):
            connection = self._idle[route].pop()
            idle = connection.idle
            assert idle is not None
            # Whatever arrived while nobody had asked is no answer to the next question.
            usable = not idle.done() and now - connection.since < IDLE
            idle.cancel()
            await asyncio.wait([idle])
            if usable and not connection.writer.is_closing():
                connection.idle = None
                return connection
            connection.abort()
        return None

    def _keep(self, connection: _Connection) -> None:
        kept = self._idle.setdefault(connection.route, [])
        if len(kept) >= MOST_IDLE or connection.http.trailing_data != (b"", False):
            connection.abort()
            return
        try:
            connection.http.start_next_cycle()
        except h11.LocalProtocolError:  # one of the two sides wants it closed
            connection.abort()
            return
        connection.since = asyncio.get_running_loop().time()
        connection.idle = asyncio.create_task(_read(connection.reader))
        kept.append(connection)

    # -- exchanges

    async def _ask(self, connection: _Connection, head: h11.Request, body: bytes) -> Reply:
        keep = False
        try:
            async with asyncio.timeout(self._timeouts.answer):
                reply = await _exchange(connection, head, body)
            keep = True
        except TimeoutError:
            raise UpstreamError(
                "upstream.timeout", f"no whole answer within {self._timeouts.answer:g} seconds"
            ) from None
        except ssl.SSLError as error:
            raise UpstreamError("upstream.tls", tls_detail(error)) from None
        except OSError as error:
            raise UpstreamError("upstream.closed", error.strerror or "the connection broke") from None
        finally:
            if not keep:
                connection.abort()
        self._keep(connection)
        return reply


def wire(request: Request) -> tuple[h11.Request, bytes]:
    """The head of `request` as h11 checks and frames it, and its body.

    Fields keep their order, spelling and values; those for the proxy are taken out, and Host or
    Content-Length put in where HTTP/2 had them elsewhere.

    Raises:
        ValueError: It cannot be written as HTTP/1.1.
    """
    fields = [(name, value) for name, value in request.headers if name.lower() not in _FOR_PROXY]
    names = {name.lower() for name, _ in fields}
    if "host" not in names:
        fields.insert(0, ("Host", request.host))
    if request.body and not names & {"content-length", "transfer-encoding"}:
        fields.append(("Content-Length", str(len(request.body))))
    encoded = [
        (name.encode("utf-8", "surrogateescape"), value.encode("utf-8", "surrogateescape"))
        for name, value in fields
    ]
    target = request.target.encode("utf-8", "surrogateescape")
    try:
        return h11.Request(method=request.method, target=target, headers=encoded), request.body
    except h11.LocalProtocolError as error:
        raise ValueError(_unquoted(error)) from None


def _unquoted(error: h11.LocalProtocolError) -> str:
    """What h11 says without what it quotes: a field's value may be the credentials."""
    return str(error).partition(" b'")[0].partition(' b"')[0]


async def _exchange(connection: _Connection, head: h11.Request, body: bytes) -> Reply:
    http = connection.http
    connection.received = False
    http.send(head)  # for its state; the bytes are ours
    lines = [b"%s %s HTTP/1.1" % (head.method, head.target)]
    lines += [b"%s: %s" % field for field in head.headers.raw_items()]
    data = [b"\r\n".join(lines), b"\r\n\r\n"]
    try:
        if body:
            data.append(http.send(h11.Data(data=body)) or b"")
        data.append(http.send(h11.EndOfMessage()) or b"")
    except h11.LocalProtocolError as error:
        raise ValueError(_unquoted(error)) from None
    # An upstream may answer and close before it has read everything; what it said is still there to be read.
    with suppress(ConnectionError):
        connection.writer.write(b"".join(data))
        await connection.writer.drain()
    return await _receive(connection)


async def _receive(connection: _Connection) -> Reply:
    response: h11.Response | None = None
    body = bytearray()
    while not isinstance(event := await _event(connection), h11.EndOfMessage):
        if isinstance(event, h11.Response):
            response = event
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > LARGEST:
                raise UpstreamError("upstream.invalid", f"its answer has more than {LARGEST} bytes")
        elif isinstance(event, h11.ConnectionClosed):
            raise UpstreamError("upstream.closed", "it closed the connection")
        elif not isinstance(event, h11.InformationalResponse) or event.status_code == 101:
            raise UpstreamError("upstream.invalid", "it switched to a protocol that nobody asked for")
    assert response is not None
    return _reply(response, bytes(body))


async def _event(connection: _Connection) -> object:
    """The next of h11's events, after as much reading as it takes."""
    ended = False
    while True:
        try:
            event = connection.http.next_event()
        except h11.RemoteProtocolError as error:
            if ended:
                raise UpstreamError("upstream.closed", "it closed the connection") from None
            raise UpstreamError("upstream.invalid", str(error)) from None
        if event is not h11.NEED_DATA:
            return event
        received = await connection.reader.read(_CHUNK)
        connection.received = connection.received or bool(received)
        ended = not received
        connection.http.receive_data(received)


def _reply(response: h11.Response, body: bytes) -> Reply:
    raw = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in response.headers.raw_items()]
    fields = [(name, value) for name, value in raw if name.lower() not in _HOP_BY_HOP]
    unframed = not any(name.lower() == "content-length" for name, _ in fields)
    if unframed and response.status_code not in {204, 304}:
        fields.append(("Content-Length", str(len(body))))
    return Reply(response.status_code, response.reason.decode("latin-1"), tuple(fields), body)


async def _read(reader: asyncio.StreamReader) -> bytes:
    """Watch an unused connection: whatever this returns, it cannot be used again."""
    try:
        return await reader.read(1)
    except OSError:
        return b""
