"""Tunnels to hosts that are not Twilio's: a byte pump with backpressure, and a look at the first bytes."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from ringback.server.tls import MAX_HELLO, RECORD, ClientHello, parse_client_hello

if TYPE_CHECKING:
    from collections.abc import Callable

_BUFFER: Final = 1024 * 1024  # bytes that may wait for a slow reader before its sender has to wait
_MAX_HEAD: Final = 16 * 1024  # bytes of a plain HTTP head that are looked at
_TLS_TYPES: Final = range(0x14, 0x18)
_METHOD: Final = re.compile(rb"(?:\r?\n){0,8}[A-Z]{1,16}(?: |$)")
_HEAD_END: Final = re.compile(rb"\n\r?\n")
_HOST: Final = re.compile(rb"^host:[ \t]*([^\r\n]{0,300})", re.IGNORECASE | re.MULTILINE)
_TARGET: Final = re.compile(rb"(?:\r?\n){0,8}[A-Z]{1,16} +https?://([^/\s]{0,300})", re.IGNORECASE)

Names: TypeAlias = tuple[str, ...]


def first_bytes(data: bytes) -> ClientHello | Names | Literal["refused"] | None:
    """Look at the first bytes of a tunnel to another host, which may name one of Twilio's all the same.

    Returns:
        The ClientHello; the host names of a plain HTTP request; an empty tuple for anything that cannot name
        a host; "refused" for what only a client that hides its server name sends; None while more is needed.
    """
    if data[0] == RECORD:
        try:
            hello = parse_client_hello(data)
        except ValueError:
            return "refused"
        return "refused" if hello is None and len(data) > MAX_HELLO else hello
    if data[0] in _TLS_TYPES or _is_sslv2(data):
        return "refused"  # an alert or data before the handshake, or the SSL 2.0 ClientHello of 1995
    if not _METHOD.match(data):
        return None if not data.strip(b"\r\n") and len(data) < 16 else ()
    if _HEAD_END.search(data) is None and len(data) < _MAX_HEAD:
        return None
    found = _HOST.findall(data[:_MAX_HEAD])
    target = _TARGET.match(data)
    return tuple(name.decode("latin-1") for name in (*found, *([target[1]] if target else [])))


def _is_sslv2(data: bytes) -> bool:
    return len(data) > 3 and data[0] & 0x80 != 0 and data[2] == 1 and data[3] in {0, 2, 3}


class Side(asyncio.Protocol):
    """One of a tunnel's two connections; what arrives on it is written to the other one.

    Args:
        active: Called with every piece that is relayed.
    """

    transport: asyncio.Transport
    other: Side

    def __init__(self, active: Callable[[], None]) -> None:
        self._active = active
        self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.set_write_buffer_limits(_BUFFER)

    def data_received(self, data: bytes) -> None:
        """Relay `data`."""
        self._active()
        self.other.transport.write(data)

    def pause_writing(self) -> None:
        """Let the other side wait."""
        self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        """Let it go on."""
        self.other.transport.resume_reading()

    def eof_received(self) -> bool:
        """Relay the end of one direction; the other one goes on."""
        self._ended = True
        if self.other._ended:  # noqa: SLF001 - the other half of the same tunnel
            return False
        with suppress(OSError, RuntimeError):
            if self.other.transport.can_write_eof():
                self.other.transport.write_eof()
                return True
        self.other.transport.close()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """End the other side too: what it still has to send is sent."""
        if exc is None:
            self.other.transport.close()
        else:
            self.other.transport.abort()


class Tunnel:
    """A tunnel of a client's connection and one to its host.

    Args:
        client: The client's connection, which reads nothing yet.
        received: The bytes that came from the client and go first.
        closed: Called once the client's side is closed.
    """

    def __init__(self, client: asyncio.Transport, received: bytes) -> None:
        self.idle = 0
        self.transport = client
        self._received = received
        self.closed: Callable[[Tunnel], None] = lambda _: None
        self.client = _ClientSide(self._active, lambda: self.closed(self))
        self.host = Side(self._active)
        self.client.other, self.host.other = self.host, self.client

    def start(self) -> None:
        """Relay from now on: the host's connection is there."""
        self.transport.set_protocol(self.client)
        self.client.connection_made(self.transport)
        if self._received:
            self.host.transport.write(self._received)
        self.transport.resume_reading()

    def _active(self) -> None:
        self.idle = 0


class _ClientSide(Side):
    def __init__(self, active: Callable[[], None], closed: Callable[[], None]) -> None:
        super().__init__(active)
        self._closed = closed

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed()
        super().connection_lost(exc)
