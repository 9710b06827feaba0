"""HTTP/1.1 to the live API: one request out as the client wrote it, one answer back as it was sent.

The framing is h11's. Its own writer is not used for the head, because it moves `Host` to the front. Redirects
are answers like any other, and no other protocol is ever switched to.
"""

from __future__ import annotations

import asyncio
import base64
import socket
import ssl
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import certifi
import h11

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from ringback.addon.routes import Address, Route
    from ringback.contract import Headers, Request

LARGEST: Final = 16 * 1024 * 1024  # bytes of an answer; Twilio's have a few thousand
IDLE: Final = 15.0  # seconds for which an unused connection is kept
_CHUNK: Final = 64 * 1024

# The client meant these for its proxy.
_FOR_PROXY = frozenset({"proxy-authorization", "proxy-connection"})
# These describe the connection that the answer came on, which is not the client's.
_HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-connection", "transfer-encoding", "upgrade"}
)


class UpstreamError(Exception):
    """There is no answer.

    Attributes:
        rule: The refusal that tells it, `upstream.…`.
        detail: What happened, for people.
    """

    def __init__(self, rule: str, detail: str) -> None:
        super().__init__(f"{rule}: {detail}")
        self.rule = rule
        self.detail = detail


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


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long is waited, in seconds.

    Attributes:
        connect: For the name, the connection, the egress proxy and TLS together.
        answer: From the request's first byte to the answer's last.
    """

    connect: float = 10.0
    answer: float = 30.0


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
        self._ca = ca
        self._timeouts = timeouts or Timeouts()
        self._context: ssl.SSLContext | None = None
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
        return await self._ask(await self._open(route), head, body)

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
        if connection.http.trailing_data != (b"", False):
            connection.abort()
            return
        try:
            connection.http.start_next_cycle()
        except h11.LocalProtocolError:  # one of the two sides wants it closed
            connection.abort()
            return
        connection.since = asyncio.get_running_loop().time()
        connection.idle = asyncio.create_task(_read(connection.reader))
        self._idle.setdefault(connection.route, []).append(connection)

    async def _open(self, route: Route) -> _Connection:
        try:
            async with asyncio.timeout(self._timeouts.connect):
                return await self._dial(route)
        except TimeoutError:
            raise UpstreamError(
                "upstream.timeout", f"no connection within {self._timeouts.connect:g} seconds"
            ) from None

    async def _dial(self, route: Route) -> _Connection:
        if route.proxy is None:
            reader, writer = await _connect(route.host, route.port)
        else:
            reader, writer = await self._tunnel(route, route.proxy)
        if route.server_name is not None:
            async with _aborted_on_failure(writer):
                await _start_tls(writer, self._tls(), route.server_name)
        return _Connection(route, reader, writer)

    async def _tunnel(
        self, route: Route, proxy: Address
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            reader, writer = await _connect(proxy.host, proxy.port)
            async with _aborted_on_failure(writer):
                if proxy.scheme == "https":
                    await _start_tls(writer, self._tls(), proxy.host)
                await _ask_tunnel(reader, writer, route, proxy)
        except UpstreamError as error:
            raise UpstreamError("upstream.proxy", f"proxy {proxy}: {error.detail}") from None
        return reader, writer

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = trust(self._ca)
        return self._context

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


def trust(ca: Path | None) -> ssl.SSLContext:
    """A TLS context that verifies against `ca`, else the system's roots, else certifi's.

    Raises:
        OSError: `ca` cannot be read, or holds no certificate.
    """
    context = ssl.create_default_context(cafile=ca)
    if ca is None and not context.cert_store_stats()["x509_ca"] and not ssl.get_default_verify_paths().capath:
        context.load_verify_locations(certifi.where())
    context.set_alpn_protocols(["http/1.1"])
    return context


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
        raise ValueError(str(error)) from None


def tls_detail(error: ssl.SSLError) -> str:
    """What went wrong with TLS, in OpenSSL's words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    return (error.reason or "TLS failed").replace("_", " ").lower()


async def _connect(host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    try:
        # One address after the other: asyncio's parallel way fails under mitmproxy 12's eager tasks.
        return await asyncio.open_connection(host, port)
    except socket.gaierror as error:
        raise UpstreamError("upstream.dns", f"{host}: {error.strerror}") from None
    except OSError as error:
        said = error.strerror or str(error)
        raise UpstreamError("upstream.connect", f"{host} port {port}: {said}") from None


async def _start_tls(writer: asyncio.StreamWriter, context: ssl.SSLContext, name: str) -> None:
    try:
        await writer.start_tls(context, server_hostname=name)
    except ssl.SSLError as error:
        raise UpstreamError("upstream.tls", tls_detail(error)) from None
    except (OSError, EOFError):
        raise UpstreamError("upstream.tls", "the connection was closed during the TLS handshake") from None


@asynccontextmanager
async def _aborted_on_failure(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    try:
        yield
    except BaseException:
        writer.transport.abort()
        raise


async def _ask_tunnel(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, route: Route, proxy: Address
) -> None:
    host = f"[{route.host}]" if ":" in route.host else route.host
    target = f"{host}:{route.port}"
    fields = [("Host", target)]
    if proxy.userinfo is not None:
        fields.append(("Proxy-Authorization", "Basic " + base64.b64encode(proxy.userinfo.encode()).decode()))
    http = h11.Connection(h11.CLIENT)
    connect = h11.Request(method="CONNECT", target=target, headers=fields)
    try:
        writer.write((http.send(connect) or b"") + (http.send(h11.EndOfMessage()) or b""))
        while (event := http.next_event()) is h11.NEED_DATA or isinstance(event, h11.InformationalResponse):
            if event is h11.NEED_DATA:
                http.receive_data(await reader.read(_CHUNK))
    except (OSError, h11.RemoteProtocolError):
        raise UpstreamError("upstream.proxy", "it gave no valid answer to CONNECT") from None
    if not isinstance(event, h11.Response) or not 200 <= event.status_code < 300:
        said = (
            f"{event.status_code} {event.reason.decode('latin-1')}" if isinstance(event, h11.Response) else ""
        )
        raise UpstreamError("upstream.proxy", f"it answered CONNECT with {said.strip() or 'nothing'}")


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
        raise ValueError(str(error)) from None
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
