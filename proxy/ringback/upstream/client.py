"""The client for the live API, and the connections that it and tunnels to other hosts use.

A request goes out as the application wrote it: same fields, order, spelling and bytes. Redirects are answers
like any other, and the protocol is never switched.
"""

from __future__ import annotations

import asyncio
import base64
import os
import select
import socket
import ssl
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ringback.upstream.http1 import HEAD_END, TARGET, AnswerParser, UpstreamError, closes, wire
from ringback.upstream.routes import Timeouts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from ringback.exchange import Answer, Request
    from ringback.upstream.routes import Address, Egress, UpstreamRoute

P = TypeVar("P", bound=asyncio.Protocol)

MOST_IDLE: Final = 16  # unused connections that are kept for one route
_TURNS: Final = 3  # of the loop, after which what has arrived at a socket is read
IDLE: Final = 15.0  # seconds for which an unused connection is kept
_CHUNK: Final = 64 * 1024
_AT_ONCE: Final = 3000  # bytes of an answer in chunks before other tasks get their turn: 500 chunks at most
_NEXT_ADDRESS: Final = 0.25  # seconds after which the next address is tried beside the first (RFC 8305)

# Own addresses of connections during their TLS handshake: a listener of this process that meets one of them
# has been dialled by this process itself.
handshaking: Final[set[Any]] = set()

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

    async def open(self, route: UpstreamRoute) -> UpstreamConnection:
        """Open a connection along `route`, ready for a request.

        Raises:
            UpstreamError: There is none.
        """
        async with self._limit():
            transport, connection = await self._connect(
                lambda: UpstreamConnection(route), route.host, route.port, route.proxy
            )
            if route.server_name is not None:
                own = transport.get_extra_info("sockname")
                handshaking.add(own)
                try:
                    async with _aborted_on_failure(transport):
                        await connection.start_tls(self._tls(), route.server_name)
                finally:
                    handshaking.discard(own)
        return connection

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
        if not TARGET.fullmatch(target.encode("utf-8", "surrogateescape")):
            raise UpstreamError("upstream.dns", f"{host} is no host name")
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
        import certifi  # noqa: PLC0415 - few systems have no roots of their own

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
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise UpstreamError("upstream.connect", f"{host} port {port}: {reason}") from None


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
        lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
        if userinfo is not None:
            lines.append("Proxy-Authorization: Basic " + base64.b64encode(userinfo.encode()).decode())
        self._request = "\r\n".join(lines).encode() + HEAD_END
        # Its answer has no body: what follows the head belongs to the tunnel, or to nobody.
        self._parser = AnswerParser("HEAD")
        self._last = b""  # the last bytes of what the parser has, for an end of a head in two pieces
        self._transport: asyncio.Transport | None = None
        self._early = bytearray()  # bytes of the tunnel that came with the proxy's answer
        self.granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        while data and not self.granted.done():
            end = (self._last + data).find(HEAD_END)
            cut = len(data) if end < 0 else end + len(HEAD_END) - len(self._last)
            head, data = data[:cut], data[cut:]
            self._last = (self._last + head)[-len(HEAD_END) + 1 :] if end < 0 else b""
            try:
                self._parser.feed(head)
            except UpstreamError:
                self._refused("it gave no valid answer to CONNECT")
                return
            if self._parser.answer is not None:
                self._answered(self._parser.answer)
        self._early += data

    def _answered(self, answer: Answer) -> None:
        assert self._transport is not None
        self._transport.pause_reading()
        if 200 <= answer.status < 300:
            self.granted.set_result(None)
        else:
            self._refused(f"it answered CONNECT with {f'{answer.status} {answer.reason}'.strip()}")

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
            protocol.data_received(bytes(self._early))
        return protocol


# -- exchanges


class UpstreamConnection(asyncio.Protocol):
    """A connection to the live API: TLS, and one request at a time.

    Args:
        route: Where it leads.
    """

    def __init__(self, route: UpstreamRoute) -> None:
        self.route = route
        self._transport: asyncio.Transport | None = None
        self._tls: ssl.SSLObject | None = None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._shaken: asyncio.Future[None] | None = None
        self._parser: AnswerParser | None = None
        self._waiting: asyncio.Future[Answer] | None = None
        self._backlog: deque[bytes] = deque()  # what came and was not parsed yet
        self._spent = False  # it ended, or brought what nobody asked for
        self._eof = False
        self._since = 0.0
        self._watch: Any = None  # looks at the socket; None where the system has no poll

    # -- a request

    async def ask(self, data: bytes, method: str, limit: float) -> Answer:
        """Send the bytes of a request, and return its answer.

        Args:
            data: The request.
            method: Its method.
            limit: Seconds from its first byte to the answer's last.

        Raises:
            UpstreamError: There is no answer; the connection is closed.
        """
        loop = asyncio.get_running_loop()
        self._parser = parser = AnswerParser(method)
        waiting: asyncio.Future[Answer] = loop.create_future()
        self._waiting = waiting
        timer = loop.call_later(limit, self._expire, limit)
        try:
            if self._spent:
                self._end()
            else:
                self._write(data)
            return await waiting
        except BaseException:
            self.abort()
            raise
        finally:
            timer.cancel()
            self._waiting = None
            self._spent = self._spent or not parser.keeps or bool(self._backlog)
            self._parser = None
            parser.close()

    @property
    def reusable(self) -> bool:
        """True if another request may follow: nothing is left over, on either side."""
        return not self._spent and self._transport is not None and not self._transport.get_write_buffer_size()

    def rest(self) -> None:
        """Begin to watch a connection that no request uses."""
        self._since = asyncio.get_running_loop().time()
        if self._watch is None and hasattr(select, "poll"):
            assert self._transport is not None
            sock = self._transport.get_extra_info("socket")
            if sock is not None and sock.fileno() >= 0:
                self._watch = select.poll()
                self._watch.register(sock.fileno(), select.POLLIN)

    async def is_usable(self) -> bool:
        """Report whether a request may be written: nothing arrived, not even the end, and it is not old."""
        if asyncio.get_running_loop().time() - self._since >= IDLE:
            return False
        if not self._spent and (self._watch is None or self._watch.poll(0)):
            # Something may have come that was not read yet; it may be a session ticket, which is nothing.
            for _ in range(_TURNS):
                await asyncio.sleep(0)
        return self.reusable

    def abort(self) -> None:
        """Close the connection at once."""
        self._spent = True
        if self._transport is not None:
            self._transport.abort()

    def _expire(self, limit: float) -> None:
        self._fail(UpstreamError("upstream.timeout", f"no whole answer within {limit:g} seconds"))

    def _fail(self, error: UpstreamError) -> None:
        self._spent = True
        self._backlog.clear()
        for waiting in (self._shaken, self._waiting):
            if waiting is not None and not waiting.done():
                waiting.set_exception(error)

    # -- TLS

    async def start_tls(self, context: ssl.SSLContext, name: str) -> None:
        """Begin TLS with a server whose certificate must be `name`'s.

        Raises:
            UpstreamError: The handshake failed: `upstream.tls`.
        """
        try:
            self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        except ValueError:
            raise UpstreamError("upstream.tls", f"{name} is no host name") from None
        self._shaken = asyncio.get_running_loop().create_future()
        if self._spent:
            self._end()
        else:
            self._shake()
        await self._shaken

    def _shake(self) -> None:
        assert self._tls is not None
        assert self._shaken is not None
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self._fail(UpstreamError("upstream.tls", tls_detail(error)))
        else:
            if not self._shaken.done():
                self._shaken.set_result(None)
        self._flush()

    def _flush(self) -> None:
        data = self._outgoing.read()
        if data and self._transport is not None:
            self._transport.write(data)

    def _write(self, data: bytes) -> None:
        assert self._transport is not None
        if self._tls is None:
            self._transport.write(data)
            return
        try:
            self._tls.write(data)
        except ssl.SSLError as error:
            self._fail(UpstreamError("upstream.tls", tls_detail(error)))
        self._flush()

    # -- asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Take bytes: of the handshake, of an answer, or what nobody asked for."""
        if self._tls is None:
            self._take(data)
            return
        self._incoming.write(data)
        if self._shakes():
            self._shake()
            if self._shakes() or self._spent:
                return
        try:
            while plain := self._tls.read(_CHUNK):
                self._take(plain)
        except ssl.SSLWantReadError:
            self._flush()
        except ssl.SSLError as error:
            self._fail(UpstreamError("upstream.tls", tls_detail(error)))
        else:
            self._end()

    def eof_received(self) -> None:
        """Take the end."""
        self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        """Take the end, or the error that it ended with."""
        if isinstance(exc, ssl.SSLError):
            self._fail(UpstreamError("upstream.tls", tls_detail(exc)))
        elif exc is not None and not self._shakes():
            detail = exc.strerror if isinstance(exc, OSError) else None
            self._fail(UpstreamError("upstream.closed", detail or "the connection broke"))
        else:
            self._end()

    def _shakes(self) -> bool:
        return self._shaken is not None and not self._shaken.done()

    def _end(self) -> None:
        """Take the end of what comes; what came before it is parsed first."""
        self._eof = self._spent = True
        if self._shakes():
            self._fail(UpstreamError("upstream.tls", _CLOSED_IN_HANDSHAKE))
        elif not self._backlog:
            self._settle(None)

    # -- the answer

    def _take(self, data: bytes) -> None:
        if not self._backlog and len(data) <= _AT_ONCE:
            self._settle(data)
            return
        waits = bool(self._backlog)
        self._backlog.extend(data[at : at + _AT_ONCE] for at in range(0, len(data), _AT_ONCE))
        if not waits:
            self._parse_on()

    def _parse_on(self) -> None:
        """Parse what came; other tasks have their turn between pieces that may have many parts."""
        assert self._transport is not None
        while self._backlog:
            self._settle(self._backlog.popleft())
            if self._backlog and self._parser is not None and not self._parser.sized:
                self._transport.pause_reading()
                asyncio.get_running_loop().call_soon(self._parse_on)
                return
        self._transport.resume_reading()
        if self._eof:
            self._end()

    def _settle(self, data: bytes | None) -> None:
        """Parse bytes, or (None) the end, and give the answer to who waits for it."""
        parser, waiting = self._parser, self._waiting
        if parser is None or waiting is None or waiting.done():
            self._spent = True  # nobody asked for it
            return
        try:
            if data is None:
                parser.end()
            else:
                parser.feed(data)
        except UpstreamError as error:
            self._fail(error)
        else:
            if parser.answer is not None:
                waiting.set_result(parser.answer)


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
        self._idle: dict[UpstreamRoute, list[UpstreamConnection]] = {}

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
        data = wire(request)
        connection = await self._kept(route) or await self._dialer.open(route)
        answer = await connection.ask(data, request.method, self._timeouts.answer)
        if connection.reusable and not closes(request.headers):
            self._keep(connection)
        else:
            connection.abort()
        return answer

    def close(self) -> None:
        """Close the kept connections."""
        for connections in self._idle.values():
            for connection in connections:
                connection.abort()
        self._idle.clear()

    async def _kept(self, route: UpstreamRoute) -> UpstreamConnection | None:
        while self._idle.get(route):
            connection = self._idle[route].pop()
            if await connection.is_usable():
                return connection
            connection.abort()
        return None

    def _keep(self, connection: UpstreamConnection) -> None:
        kept = self._idle.setdefault(connection.route, [])
        if len(kept) >= MOST_IDLE:
            connection.abort()
            return
        connection.rest()
        kept.append(connection)
