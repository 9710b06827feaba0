"""Connections whose requests are answered here: plain HTTP/1, and HTTP/1 inside TLS."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, cast

from ringback.server.http1 import Http1
from ringback.server.tls import TlsObject, is_distrust

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from ringback.contract import Answer
    from ringback.exchange import Stream
    from ringback.server.destination import Destination
    from ringback.server.state import ServerState

logger = logging.getLogger(__name__)

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
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)


class HttpConnection(asyncio.Protocol):
    """One connection of plain HTTP/1, taken over from the handshake that found out its destination.

    Args:
        state: What all connections share.
        transport: The connection.
        destination: Where it goes.
        sni: The server name of the TLS handshake, or None.
        scheme: The scheme of its requests.
    """

    tls = False  # whether the requests come encrypted

    def __init__(
        self,
        state: ServerState,
        transport: asyncio.Transport,
        destination: Destination,
        *,
        sni: str | None = None,
        scheme: str = "http",
    ) -> None:
        self.idle = 0
        self.transport = transport
        self.state = state
        self.destination = destination
        self._eof = False
        self._writable: asyncio.Event | None = None
        handle = state.handler(destination, transport, tls=self.tls)
        self.http = Http1(handle, state.responder, state.heads(destination, sni, scheme))
        state.connections.add(self)

    # -- asyncio's side

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Forget the connection; an answer that is still awaited is recorded all the same."""
        self.state.connections.discard(self)
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
        """Keep the connection while an answer is awaited."""
        self._eof = True
        return self.http.pending is not None

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        self.idle = 0
        out = self.http.receive(data)
        if out:
            self.transport.write(out)
        elif self.http.in_request:
            tcp_quickack(self.transport.get_extra_info("socket"))
        self._go_on()

    # -- answers that have to be awaited

    def _go_on(self) -> None:
        """Wait for an answer that is pending, send a stream, or close what is done."""
        if self.http.stream is not None:
            self.state.start_task(self._stream(self.http.stream))
        elif self.http.pending is not None:
            self.transport.pause_reading()
            self.state.start_task(self._await(self.http.pending))
        elif self.http.closed:
            self._close()

    async def _await(self, pending: Awaitable[Answer]) -> None:
        answer = await pending
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
        self._process()

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
            tcp_quickack(self.transport.get_extra_info("socket"))
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
