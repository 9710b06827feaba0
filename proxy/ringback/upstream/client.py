"""HTTP/1.1 client for the live API, and the connections that it and tunnels to other hosts use.

A request goes out as the client wrote it: same fields, order, spelling and bytes. h11 frames both directions,
but does not write the head, because its writer moves `Host` to the front. Redirects are answers like any
other, and the protocol is never switched.
"""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import ssl
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import certifi
import h11

from ringback.exchange import Answer, Source
from ringback.upstream.routes import Timeouts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from ringback.exchange import Request
    from ringback.upstream.routes import Address, Egress, UpstreamRoute

P = TypeVar("P", bound=asyncio.Protocol)
Streams: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]

LARGEST: Final = 16 * 1024 * 1024  # bytes of an answer; Twilio's have a few thousand
MOST_PARTS: Final = 100_000  # of an answer: chunks, interim answers; each costs some 10 microseconds
MOST_IDLE: Final = 16  # unused connections that are kept for one route
IDLE: Final = 15.0  # seconds for which an unused connection is kept
_CHUNK: Final = 64 * 1024
_PARTS_AT_ONCE: Final = 500  # before other tasks get their turn
_NEXT_ADDRESS: Final = 0.25  # seconds after which the next address is tried beside the first (RFC 8305)

# Own addresses of connections during their TLS handshake: a listener of this process that meets one of them
# has been dialled by this process itself.
handshaking: Final[set[Any]] = set()

# The client meant these for its proxy.
_FOR_PROXY = frozenset({"proxy-authorization", "proxy-connection"})
# These describe the connection that the answer came on, which is not the client's.
_HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-connection", "transfer-encoding", "upgrade"}
)


class UpstreamError(Exception):
    """A missing answer.

    Attributes:
        rule: The refusal that reports it, `upstream.…`.
        detail: The cause, for people.
    """

    def __init__(self, rule: str, detail: str) -> None:
        super().__init__(f"{rule}: {detail}")
        self.rule = rule
        self.detail = detail


# -- connections


class Dialer:
    """Opener of connections: the name, the egress proxy and TLS, within one time limit.

    Args:
        ca: A PEM file of roots that takes the place of the system's, or None.
        timeout: Seconds for one connection.
    """

    def __init__(self, ca: Path | None, timeout: float) -> None:
        self._ca = ca
        self._timeout = timeout
        self._context: ssl.SSLContext | None = None

    async def open(self, route: UpstreamRoute) -> Streams:
        """Open a connection along `route`, ready for a request.

        Raises:
            UpstreamError: There is none.
        """
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(loop=loop)
        async with self._limit():
            transport, protocol = await self._connect(
                lambda: asyncio.StreamReaderProtocol(reader, loop=loop), route.host, route.port, route.proxy
            )
            writer = asyncio.StreamWriter(transport, protocol, reader, loop)
            if route.server_name is not None:
                await self._start_tls(writer, route.server_name)
        return reader, writer

    async def open_tunnel(
        self, factory: Callable[[], P], host: str, port: int, egress: Egress
    ) -> tuple[asyncio.Transport, P]:
        """Connect to a host that is not Twilio's, for bytes to be relayed as they are.

        Works as `loop.create_connection` does: the protocol gets `connection_made`, then what arrives.

        Args:
            factory: Makes the protocol; called once there is a connection.
            host: Name or address, without brackets.
            port: The port.
            egress: The proxy to the outside, asked with CONNECT unless NO_PROXY has the host.

        Raises:
            UpstreamError: There is no connection: `upstream.dns`, `.connect`, `.proxy` or `.timeout`.
        """
        async with self._limit():
            return await self._connect(factory, host, port, egress.proxy(host))

    @asynccontextmanager
    async def _limit(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._timeout):
                yield
        except TimeoutError:
            raise UpstreamError(
                "upstream.timeout", f"no connection within {self._timeout:g} seconds"
            ) from None

    async def _connect(
        self, factory: Callable[[], P], host: str, port: int, proxy: Address | None
    ) -> tuple[asyncio.Transport, P]:
        if proxy is None:
            return await _dial(factory, host, port)
        target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        tls = self._tls() if proxy.scheme == "https" else None
        try:
            transport, asking = await _dial(
                lambda: _ConnectRequest(target, proxy.userinfo), proxy.host, proxy.port, tls
            )
            async with _aborted_on_failure(transport):
                await asking.granted
        except UpstreamError as error:
            raise UpstreamError("upstream.proxy", f"proxy {proxy}: {error.detail}") from None
        return transport, asking.hand_over(factory)

    async def _start_tls(self, writer: asyncio.StreamWriter, name: str) -> None:
        own = writer.get_extra_info("sockname")
        handshaking.add(own)
        try:
            async with _aborted_on_failure(writer.transport):
                await writer.start_tls(self._tls(), server_hostname=name)
        except ssl.SSLError as error:
            raise UpstreamError("upstream.tls", tls_detail(error)) from None
        except (OSError, EOFError):
            raise UpstreamError("upstream.tls", _CLOSED_IN_HANDSHAKE) from None
        finally:
            handshaking.discard(own)

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = trust(self._ca)
        return self._context


_CLOSED_IN_HANDSHAKE = "the connection was closed during the TLS handshake"


def trust(ca: Path | None) -> ssl.SSLContext:
    """Make a TLS context that verifies against `ca`, else the system's roots, else certifi's.

    Raises:
        OSError: `ca` cannot be read, or holds no certificate.
    """
    context = ssl.create_default_context(cafile=ca)
    if ca is None and not context.cert_store_stats()["x509_ca"] and not ssl.get_default_verify_paths().capath:
        context.load_verify_locations(certifi.where())
    context.set_alpn_protocols(["http/1.1"])
    return context


def tls_detail(error: ssl.SSLError) -> str:
    """Describe a TLS error in OpenSSL's words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    return (error.reason or "TLS failed").replace("_", " ").lower()


async def _dial(
    factory: Callable[[], P], host: str, port: int, tls: ssl.SSLContext | None = None
) -> tuple[asyncio.Transport, P]:
    loop = asyncio.get_running_loop()
    # asyncio's way of trying addresses side by side fails under eager tasks, which mitmproxy 12 sets.
    delay = _NEXT_ADDRESS if loop.get_task_factory() is None else None
    try:
        return await loop.create_connection(
            factory,
            host,
            port,
            ssl=tls,
            server_hostname=host if tls else None,
            happy_eyeballs_delay=delay,
        )
    except ssl.SSLError as error:
        raise UpstreamError("upstream.tls", tls_detail(error)) from None
    except socket.gaierror as error:
        raise UpstreamError("upstream.dns", f"{host}: {error.strerror}") from None
    except UnicodeError:  # no name that a resolver can be asked for
        raise UpstreamError("upstream.dns", f"{host} is no host name") from None
    except OSError as error:
        said = os.strerror(error.errno) if error.errno else str(error)
        raise UpstreamError("upstream.connect", f"{host} port {port}: {said}") from None


@asynccontextmanager
async def _aborted_on_failure(transport: asyncio.WriteTransport) -> AsyncIterator[None]:
    try:
        yield
    except BaseException:
        transport.abort()
        raise


class _ConnectRequest(asyncio.Protocol):
    """A CONNECT request to an HTTP proxy; once it is granted, another protocol takes the connection over.

    Attributes:
        granted: Done when the tunnel is there; else an UpstreamError.

    Args:
        target: `host:port`, with brackets around IPv6.
        userinfo: `user:password` for the proxy, or None.
    """

    def __init__(self, target: str, userinfo: str | None) -> None:
        fields = [("Host", target)]
        if userinfo is not None:
            fields.append(("Proxy-Authorization", "Basic " + base64.b64encode(userinfo.encode()).decode()))
        self._http = h11.Connection(h11.CLIENT)
        self._request = h11.Request(method="CONNECT", target=target, headers=fields)
        self._transport: asyncio.Transport | None = None
        self._early = b""  # bytes of the tunnel that came with the proxy's answer
        self.granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(
            (self._http.send(self._request) or b"") + (self._http.send(h11.EndOfMessage()) or b"")
        )

    def data_received(self, data: bytes) -> None:
        if self.granted.done():
            self._early += data
            return
        try:
            self._http.receive_data(data)
            while isinstance(event := self._http.next_event(), h11.InformationalResponse):
                pass
        except h11.RemoteProtocolError:
            self._refused("it gave no valid answer to CONNECT")
            return
        if isinstance(event, h11.Response):
            assert self._transport is not None
            self._transport.pause_reading()
            if 200 <= event.status_code < 300:
                self._early = self._http.trailing_data[0]
                self.granted.set_result(None)
            else:
                said = f"{event.status_code} {event.reason.decode('latin-1')}"
                self._refused(f"it answered CONNECT with {said.strip()}")

    def eof_received(self) -> None:
        self._refused("it gave no valid answer to CONNECT")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._refused("it gave no valid answer to CONNECT")

    def _refused(self, detail: str) -> None:
        if not self.granted.done():
            self.granted.set_exception(UpstreamError("upstream.proxy", detail))

    def hand_over(self, factory: Callable[[], P]) -> P:
        """Give the connection to the protocol that `factory` makes, with what arrived already."""
        transport = self._transport
        assert transport is not None
        if transport.is_closing():
            raise UpstreamError("upstream.closed", "the tunnel was closed at once")
        protocol = factory()
        transport.set_protocol(protocol)
        transport.resume_reading()  # first: the protocol may pause it again
        protocol.connection_made(transport)
        if self._early:
            protocol.data_received(self._early)
        return protocol


# -- exchanges


@dataclass(eq=False, slots=True)
class _Connection:
    """A connection to the live API with its HTTP state."""

    route: UpstreamRoute
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    http: h11.Connection = field(default_factory=lambda: h11.Connection(h11.CLIENT))
    idle: asyncio.Task[bytes] | None = None  # reads while no request is open, and then its answer
    since: float = 0.0

    def rest(self) -> None:
        """Start to watch a connection that no request uses."""
        self.since = asyncio.get_running_loop().time()
        self.idle = asyncio.create_task(self.reader.read(_CHUNK))
        self.idle.add_done_callback(_heed)

    async def is_usable(self) -> bool:
        """Report whether a request may be written: nothing arrived, not even the end, and it is not old."""
        assert self.idle is not None
        # With no time to wait the loop still looks at its sockets once, so a close that has arrived counts.
        arrived, _ = await asyncio.wait([self.idle], timeout=0)
        old = asyncio.get_running_loop().time() - self.since >= IDLE
        return not arrived and not old and not self.writer.is_closing()

    async def read(self) -> bytes:
        """Return what arrived; nothing at the end."""
        if self.idle is None:
            return await self.reader.read(_CHUNK)
        idle, self.idle = self.idle, None
        return await idle

    def abort(self) -> None:
        if self.idle is not None:
            self.idle.cancel()
        self.writer.transport.abort()


class UpstreamClient:
    """Sender of requests; keeps connections for the next ones.

    It judges nothing: its caller has the proof that the request's credentials are test credentials.

    Args:
        ca: A PEM file of roots that takes the place of the system's, or None.
        timeouts: Time limits.
    """

    def __init__(self, ca: Path | None = None, timeouts: Timeouts | None = None) -> None:
        self._timeouts = timeouts or Timeouts()
        self._dialer = Dialer(ca, self._timeouts.connect)
        self._idle: dict[UpstreamRoute, list[_Connection]] = {}

    async def exchange(self, route: UpstreamRoute, request: Request) -> Answer:
        """Send `request` and return what comes back, its content coding as sent.

        Nothing is ever sent twice. A kept connection is looked at before anything is written to it, and
        replaced if it has ended; one that ends later may have brought the request to the live API.

        Returns:
            The answer without the fields that describe the upstream connection; Content-Length is right.

        Raises:
            UpstreamError: Nothing came back.
            ValueError: The request cannot be written as HTTP/1.1.
        """
        head, body = wire(request)
        connection = await self._kept(route) or _Connection(route, *await self._dialer.open(route))
        return await self._ask(connection, head, body)

    def close(self) -> None:
        """Close the kept connections."""
        for connections in self._idle.values():
            for connection in connections:
                connection.abort()
        self._idle.clear()

    async def _kept(self, route: UpstreamRoute) -> _Connection | None:
        while self._idle.get(route):
            connection = self._idle[route].pop()
            if await connection.is_usable():
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
        connection.rest()
        kept.append(connection)

    async def _ask(self, connection: _Connection, head: h11.Request, body: bytes) -> Answer:
        keep = False
        try:
            async with asyncio.timeout(self._timeouts.answer):
                answer = await _exchange(connection, head, body)
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
        return answer


def wire(request: Request) -> tuple[h11.Request, bytes]:
    """Convert `request` to the head that h11 checks and frames, and its body.

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
    """Return h11's message without what it quotes: a field's value may be the credentials."""
    return str(error).partition(" b'")[0].partition(' b"')[0]


async def _exchange(connection: _Connection, head: h11.Request, body: bytes) -> Answer:
    http = connection.http
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
    return await _receive(connection, head.method)


async def _receive(connection: _Connection, method: bytes) -> Answer:
    response: h11.Response | None = None
    body = bytearray()
    parts = 0
    while not isinstance(event := await _event(connection), h11.EndOfMessage):
        parts += 1
        if parts > MOST_PARTS:
            raise UpstreamError("upstream.invalid", f"its answer has more than {MOST_PARTS} parts")
        if parts % _PARTS_AT_ONCE == 0:
            await asyncio.sleep(0)  # other requests are not kept waiting by small parts
        if isinstance(event, h11.Response):
            response = event
            if method != b"HEAD" and _declared_length(event) > LARGEST:
                raise UpstreamError("upstream.invalid", f"its answer has more than {LARGEST} bytes")
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > LARGEST:
                raise UpstreamError("upstream.invalid", f"its answer has more than {LARGEST} bytes")
        elif isinstance(event, h11.ConnectionClosed):
            raise UpstreamError("upstream.closed", "it closed the connection")
        elif not isinstance(event, h11.InformationalResponse) or event.status_code == 101:
            raise UpstreamError("upstream.invalid", "it switched to a protocol that nobody asked for")
    assert response is not None
    return _answer(response, bytes(body))


def _declared_length(response: h11.Response) -> int:
    """Return the Content-Length, which h11 has checked, or 0."""
    return next((int(value) for name, value in response.headers if name == b"content-length"), 0)


async def _event(connection: _Connection) -> object:
    """Return the next of h11's events, after as much reading as it takes."""
    ended = False
    while True:
        try:
            event = connection.http.next_event()
        except h11.RemoteProtocolError as error:
            if ended:
                raise UpstreamError("upstream.closed", "it closed the connection") from None
            # Behind the colon are the upstream's own bytes: nobody knows what is in them.
            raise UpstreamError("upstream.invalid", str(error).partition(":")[0]) from None
        except ValueError:  # a length of thousands of digits, in some versions of h11
            raise UpstreamError("upstream.invalid", "its Content-Length is no number") from None
        if event is not h11.NEED_DATA:
            return event
        received = await connection.read()
        ended = not received
        connection.http.receive_data(received)


def _answer(response: h11.Response, body: bytes) -> Answer:
    raw = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in response.headers.raw_items()]
    fields = [(name, value) for name, value in raw if name.lower() not in _HOP_BY_HOP]
    unframed = not any(name.lower() == "content-length" for name, _ in fields)
    if unframed and response.status_code not in {204, 304}:
        fields.append(("Content-Length", str(len(body))))
    return Answer(
        response.status_code, response.reason.decode("latin-1"), tuple(fields), body, Source("live")
    )


def _heed(task: asyncio.Task[bytes]) -> None:
    """Take the exception of a task that nobody may wait for."""
    if not task.cancelled():
        task.exception()
