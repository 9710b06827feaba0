"""Connections whose requests are answered here, plain or inside TLS, and the state that they share."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from contextlib import suppress
from dataclasses import replace
from functools import cached_property, lru_cache, partial
from hmac import compare_digest
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from msgspec import structs

from ringback.exchange import Poll, basic_auth
from ringback.net import is_loopback
from ringback.responder import password_required, plain_answer
from ringback.server.destination import Destination, canonical_host_name, reverse_request_refusal
from ringback.server.http1 import Heads, Http1
from ringback.server.tls import TlsObject, is_distrust
from ringback.tally import misled_warning

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from ringback.contract import Admitted, Answer, Names, Request
    from ringback.control import Control, Response
    from ringback.exchange import Stream
    from ringback.responder import Responder
    from ringback.server.destination import Destination
    from ringback.server.http1 import Handler
    from ringback.server.tls import Contexts
    from ringback.settings import Settings
    from ringback.upstream.client import Dialer

logger = logging.getLogger(__name__)

_KINDS: Final = 64  # of connections whose requests' heads are remembered


class MitmproxyEngine(Protocol):
    """mitmproxy with the addon, for what this server does not speak."""

    async def stop(self) -> None:
        """Stop it, with its connections."""
        ...  # a protocol has no body

    async def take(self, way: str, transport: asyncio.Transport, received: bytes, replied: bytes) -> None:
        """Take a connection over as if it had come there.

        Args:
            way: The listener that it came to.
            transport: The connection, paused.
            received: All bytes that came.
            replied: The bytes that were sent.
        """
        ...  # a protocol has no body


class Connection(Protocol):
    """An open connection, as the sweep of idle ones sees it."""

    idle: int
    transport: asyncio.Transport


class ServerState:
    """State that the connections of all listeners share.

    Args:
        responder: Answers Twilio requests.
        control: Answers requests for the proxy itself.
        settings: The settings in force.
        contexts: The TLS contexts.
        idle_timeout: Seconds without a byte after which a connection is closed.
        silence: Seconds after which a silent client of another host waits for that host's first words.

    Attributes:
        engine: Starts mitmproxy when it is first needed; set before the first connection.
        connections: The open ones, except those that mitmproxy has.
        ports: The ports listened on.
        dialled: The own addresses of tunnels to other hosts.
    """

    engine: Callable[[], Awaitable[MitmproxyEngine]]

    def __init__(  # noqa: PLR0913 - each is something else that connections share
        self,
        responder: Responder,
        control: Control,
        settings: Settings,
        contexts: Contexts,
        idle_timeout: float,
        silence: float,
    ) -> None:
        self.responder = responder
        self.control = control
        self.settings = settings
        self.contexts = contexts
        self.connections: set[Connection] = set()
        self.ports: set[int] = set()
        self.dialled: set[tuple[str | int, ...]] = set()
        self.silence = silence
        self._idle_timeout = idle_timeout
        self._sweep: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._heads = lru_cache(_KINDS)(self._make_heads)

    # -- life

    def start(self) -> None:
        """Begin to close connections that have been idle for too long."""
        self._sweep = asyncio.get_running_loop().call_later(self._idle_timeout / 2, self._close_idle)

    def stop(self) -> None:
        """Close every connection and give up what is still awaited."""
        if self._sweep:
            self._sweep.cancel()
        left, self.connections = self.connections, set()
        for connection in left:
            connection.transport.abort()
        for task in self._tasks:
            task.cancel()

    def start_task(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Run `work` beside everything else; what it raises is logged."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("Ringback failed on a connection", exc_info=error)

    def _close_idle(self) -> None:
        for connection in list(self.connections):
            # Two rounds without a byte: between one and one and a half times the timeout.
            connection.idle += 1
            if connection.idle > 2:
                connection.transport.abort()
        self.start()

    # -- what connections ask

    @cached_property
    def dialer(self) -> Dialer:
        """The opener of connections to other hosts."""
        # Imported here: most programs speak to Twilio alone.
        from ringback.upstream.client import Dialer  # noqa: PLC0415 - as above

        return Dialer(None, self.settings.timeouts.connect)

    def is_twilio(self, name: str) -> bool:
        """Report whether `name` is a host of Twilio's."""
        return self.responder.contract.is_twilio(canonical_host_name(name))

    def password_fits(self, authorization: str) -> bool:
        """Report whether a Proxy-Authorization value has the proxy password, if one is wanted."""
        wanted = self.settings.password
        if wanted is None:
            return True
        pair = basic_auth(authorization, errors="replace")
        return pair is not None and compare_digest(pair[1].encode(), wanted.encode())

    def heads(self, destination: Destination, sni: str | None, scheme: str) -> Heads:
        """Return the memo of heads that connections to `destination` share."""
        return self._heads(replace(destination, user=None), sni, scheme)

    def _make_heads(self, destination: Destination, sni: str | None, scheme: str) -> Heads:
        return Heads(self.responder, partial(destination.names, sni=sni), scheme)

    def handler(self, destination: Destination, transport: asyncio.Transport, *, tls: bool) -> Handler:
        """Return the function that answers the requests of one connection."""
        if destination.way == "connect":
            return self._counting_tunnelled(destination.user)
        if destination.way in {"socks", "transparent"}:
            return partial(self.responder.handle, user=destination.user)
        peer = transport.get_extra_info("peername")[0]
        if destination.way == "reverse":
            return partial(self._handle_reverse, peer, tls)
        return partial(self._handle_proxy_request, peer)

    def _counting_tunnelled(self, user: str | None) -> Handler:
        """Make the handler of a CONNECT tunnel: warn of a client that takes the reply to CONNECT for answers.

        The first request is enough: such a client opens a connection for each.
        """
        counted = False
        handle = self.responder.handle

        def counting(request: Request, names: Names, *, admitted: Admitted | None = None) -> Response:
            nonlocal counted
            if not counted:
                counted = True
                client = self.responder.tally.count_tunnelled(request.header("User-Agent") or "")
                if client is not None:
                    logger.warning("%s", misled_warning(client))
            return handle(request, names, user=user, admitted=admitted)

        return counting

    def _handle_reverse(
        self, peer: str, tls: bool, request: Request, names: Names, *, admitted: Admitted | None = None
    ) -> Response:
        refused = reverse_request_refusal(names, peer, self.is_twilio, tls=tls)
        if refused is not None:
            status, _, sentence = refused.partition(" ")
            return plain_answer(int(status), sentence)
        if request.path.startswith("/ringback/"):
            return self.control.handle(request, peer)
        if " and " not in names.host:
            fields = [field for field in request.headers if field[0].lower() != "host"]
            request = structs.replace(request, headers=(("Host", names.host), *fields))
        return self.responder.handle(request, names, admitted=admitted)

    def _handle_proxy_request(
        self, peer: str, request: Request, names: Names, *, admitted: Admitted | None = None
    ) -> Response:
        """Answer a plain request to the proxy's port: for its own page, or for Twilio by http:// or name."""
        authorization = request.header("Proxy-Authorization") or ""
        for_twilio = any(self.is_twilio(name) for name in (*names.host.split(" and "), names.connect) if name)
        if not for_twilio:
            given = authorization or request.header("Authorization") or ""
            own = request.path.startswith("/ringback/")  # which asks for the password itself, also by Bearer
            if not own and not is_loopback(peer) and not self.password_fits(given):
                return password_required()
            return self.control.handle(request, peer)
        if not self.password_fits(authorization):
            return password_required()
        user = (basic_auth(authorization, errors="replace") or (None, ""))[0]
        return self.responder.handle(request, names, user=user, admitted=admitted)


_CHUNK: Final = 64 * 1024
# Linux alone has it; elsewhere the receiver decides when to acknowledge.
_QUICKACK: Final[int | None] = getattr(socket, "TCP_QUICKACK", None)


def tcp_quickack(sock: Any) -> None:
    """Send the acknowledgement that the system would hold back for 40 ms.

    urllib3 behind a proxy writes headers and body apart with Nagle's algorithm on, so that the body waits for
    the acknowledgement of the headers. The setting is not lasting: call it whenever a request is incomplete.

    Args:
        sock: A TCP socket, or asyncio's view of one.
    """
    if _QUICKACK is not None and sock is not None:
        try:  # noqa: SIM105 - `suppress` takes longer than the call
            sock.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
        except OSError:
            pass


class HttpConnection(asyncio.Protocol):
    """One connection of plain HTTP/1, taken over from the handshake that found out its destination.

    Args:
        state: What all connections share.
        transport: The connection.
        destination: Where it goes.
        sni: The server name of the TLS handshake, or None.
        scheme: The scheme of its requests.
        once: Whether it ends with the first answer.
    """

    tls = False  # whether the requests come encrypted

    def __init__(  # noqa: PLR0913 - the connection's three, and named options
        self,
        state: ServerState,
        transport: asyncio.Transport,
        destination: Destination,
        *,
        sni: str | None = None,
        scheme: str = "http",
        once: bool = False,
    ) -> None:
        self.idle = 0
        self.transport = transport
        self.state = state
        self.destination = destination
        self._socket = transport.get_extra_info("socket")
        self._eof = False
        self._polling: asyncio.Task[None] | None = None
        self._writable: asyncio.Event | None = None
        handle = state.handler(destination, transport, tls=self.tls)
        self.http = Http1(handle, state.responder, state.heads(destination, sni, scheme), once=once)
        state.connections.add(self)

    # -- asyncio's side

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Forget the connection; an answer that is still awaited is recorded all the same."""
        self.state.connections.discard(self)
        if self._polling is not None:
            self._polling.cancel()
        if self._writable is not None:
            self._writable.set()

    def pause_writing(self) -> None:
        """Read no more requests while the client does not read its answers."""
        self.transport.pause_reading()
        self._writable = asyncio.Event()

    def resume_writing(self) -> None:
        """Read again."""
        if self._writable is not None:
            self._writable.set()
            self._writable = None
        if self.http.pending is None:
            self.transport.resume_reading()

    def eof_received(self) -> bool:
        """Keep the connection while an answer is awaited, unless that is a poll: its client has gone."""
        self._eof = True
        return self.http.pending is not None and self._polling is None

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        self.idle = 0
        out = self.http.receive(data)
        if out:
            self.transport.write(out)
        elif self.http.in_request:
            tcp_quickack(self._socket)
        if self._polling is None:
            self._go_on()
        elif self.http.pending is not None:
            self.transport.pause_reading()

    # -- answers that have to be awaited

    def _go_on(self) -> None:
        """Wait for an answer that is pending, send a stream, or close what is done."""
        if self.http.stream is not None:
            self._polling = self.state.start_task(self._stream(self.http.stream))
        elif self.http.pending is not None:
            task = self.state.start_task(self._await(self.http.pending))
            if isinstance(self.http.pending, Poll):
                self._polling = task  # and read on: else nobody sees that the client goes
            else:
                self.transport.pause_reading()
        elif self.http.closed:
            self._close()

    async def _await(self, pending: Awaitable[Answer]) -> None:
        answer = await pending
        self._polling = None
        self.idle = 0
        out = self.http.resume(answer)
        if self.transport.is_closing():
            return
        self._write(out)
        if self._eof and self.http.pending is None:
            self.http.closed = True
        if self.http.pending is None and self._writable is None:
            self.transport.resume_reading()
        self._after_answer()

    async def _stream(self, answer: Stream) -> None:
        """Send a body that has no end yet, until it ends or the client goes."""
        try:
            async for chunk in answer.chunks:
                if self.transport.is_closing():
                    break
                self.idle = 0
                self._write(chunk)
                if self._writable is not None:
                    await self._writable.wait()
        finally:
            await answer.chunks.aclose()  # type: ignore[attr-defined] # an async generator
            self._close()

    def _after_answer(self) -> None:
        self._go_on()

    def _write(self, data: bytes) -> None:
        self.transport.write(data)

    def _close(self) -> None:
        self.transport.close()


class TlsConnection(HttpConnection):
    """The same inside TLS, from the ClientHello on; a client that leaves without a request is counted."""

    tls = True

    def __init__(
        self,
        state: ServerState,
        transport: asyncio.Transport,
        destination: Destination,
        *,
        sni: str | None,
        host: str,
    ) -> None:
        super().__init__(state, transport, destination, sni=sni, scheme="https")
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = state.contexts.context_for(host)
        self._tls = cast("TlsObject", context.wrap_bio(self._incoming, self._outgoing, server_side=True))
        self._shaken = False
        self._got_request = False  # or anything else that says why there is none

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        if not self._got_request and self in self.state.connections:
            self.state.responder.tally.silent += 1
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Decrypt, and answer every request that is complete."""
        self.idle = 0
        self._incoming.write(data)
        if self._polling is None:
            self._process()
        else:
            self.transport.pause_reading()

    def _process(self) -> None:
        done = False
        try:
            if not self._shaken:
                self._tls.do_handshake()
                self._shaken = True
            done = self._answer_all()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            done = self._got_request = (
                True  # a failed handshake, or bytes that are no TLS; the alert goes out
            )
            if not self._shaken and is_distrust(error.reason or ""):
                self.state.responder.tally.distrusted += 1
        out = self._outgoing.read()
        if out:
            self.transport.write(out)
        elif self.http.in_request:
            tcp_quickack(self._socket)
        if done:
            self.transport.close()
        elif self.http.pending is not None or self.http.stream is not None:
            self._go_on()

    def _answer_all(self) -> bool:
        """Answer what has come; return whether the connection is done."""
        tls, http = self._tls, self.http
        while http.pending is None and http.stream is None:
            if http.closed:
                with suppress(ssl.SSLError):
                    tls.unwrap()  # says good-bye; the client's own need not be waited for
                return True
            plain = tls.read(_CHUNK)
            if not plain:
                http.closed = True
                continue
            self._got_request = True
            answers = http.receive(plain)
            if answers:
                tls.write(answers)
            if not (self._incoming.pending or tls.pending() or http.closed):
                return False
        return False

    def _after_answer(self) -> None:
        self._process()

    def _write(self, data: bytes) -> None:
        if data:
            self._tls.write(data)
            self.transport.write(self._outgoing.read())

    def _close(self) -> None:
        with suppress(ssl.SSLError):
            self._tls.unwrap()
        with suppress(ssl.SSLError):
            self.transport.write(self._outgoing.read())
        self.transport.close()
