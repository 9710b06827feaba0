"""The listener: tunnels to Twilio are answered here, and mitmproxy gets every other connection, untouched.

A client of Twilio sends CONNECT (or SOCKS5), TLS that takes HTTP/1, and requests. Whatever is different at
one of these steps is handed to mitmproxy with all that was received, as if it had come there.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, cast

from ringback.addon.clients import asks_a_server
from ringback.addon.flows import canonical_host_name
from ringback.addon.heads import Heads
from ringback.addon.terminating import Tunnel
from ringback.addon.tls import RECORD, hello_length, server_name, takes_http1

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

    from ringback.addon.direct import Way
    from ringback.addon.handlers import RingbackAddon, ShortWay
    from ringback.addon.tls import Contexts

    # State's name, socket, bytes received, whether it came to the SOCKS5 proxy.
    Move = Callable[[str, socket.socket, bytes, bool], bool]
    FindWay = Callable[[RingbackAddon, asyncio.Transport, str], Way | None]
    Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

MAX_OPENING = 16 * 1024  # bytes of a CONNECT or ClientHello that are waited for here
ESTABLISHED = (
    b"HTTP/1.1 200 Connection established\r\n\r\n"  # what mitmproxy replies; twilio-php takes no other
)
_KINDS = 16  # of connections whose requests' heads are remembered
_CHUNK = 64 * 1024
_WORD = re.compile(rb"[A-Za-z]+ ")
_METHOD = re.compile(rb"[A-Z]{1,16} ?")
_CONNECT = re.compile(
    rb"CONNECT ([A-Za-z0-9.-]+):([0-9]{1,5}) HTTP/1\.[01]\r\n((?:[!#-'*+.0-9A-Z^-z|~-]+:[^\r\n\0]*\r\n)*)\r\n"
)
_AUTHORIZATION = re.compile(rb"^proxy-authorization:[ \t]*(.*?)[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_HEAD_END = re.compile(rb"\n\r?\n")
_WITH_BODY = re.compile(
    rb"^(?:content-length|transfer-encoding|expect|upgrade):", re.IGNORECASE | re.MULTILINE
)
_SOCKS_NO_METHOD = 0  # of authentication
_SOCKS_REPLY = b"\x05\x00"
_SOCKS_NAME = b"\x05\x01\x00\x03"  # version 5, connect, a host name follows
_SOCKS_CONNECTED = b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"


class Front:
    """What the connections of a listener share.

    Args:
        addon: Who answers.
        contexts: The TLS contexts.
        patience: Seconds without a byte after which a connection is closed.
        move: Takes a connection whose answers depend on the state of that name away to the process that has
            it, with what was received; False if that is this one. None where there is one process.

    Attributes:
        connections: Those that are open here, not those that mitmproxy has.
        heads: Those of requests in connections for a target with a server name.
    """

    def __init__(
        self, addon: RingbackAddon, contexts: Contexts, patience: float, move: Move | None = None
    ) -> None:
        self.addon = addon
        self.contexts = contexts
        self.move = move
        self.connections: set[Opening | Tunnel] = set()
        self.heads: Callable[[tuple[str, int], str | None, str], Heads] = lru_cache(_KINDS)(
            lambda *_: Heads()
        )
        self._patience = patience
        self._sweep: asyncio.TimerHandle | None = None

    def http(self, handler: Handler, received: bytes = b"") -> Opening:
        """The protocol of a new connection to the HTTP proxy.

        Args:
            handler: mitmproxy's.
            received: What another process has received and not answered.
        """
        return Opening(self, handler, received, socks=False)

    def socks(self, handler: Handler, received: bytes = b"") -> Opening:
        """The same for the SOCKS5 proxy."""
        return Opening(self, handler, received, socks=True)

    def direct(self, way: FindWay, handler: Handler, received: bytes = b"") -> Opening:
        """The same for a listener of clients that know of no proxy."""
        return Direct(self, handler, received, way)

    def start(self) -> None:
        """Begin to close connections that have been idle for too long."""
        self._sweep = asyncio.get_running_loop().call_later(self._patience / 2, self._close_idle)

    def stop(self) -> None:
        """Close every connection."""
        if self._sweep:
            self._sweep.cancel()
        left, self.connections = self.connections, set()
        for connection in left:
            connection.transport.abort()

    def _close_idle(self) -> None:
        for connection in list(self.connections):
            # Two rounds without a byte: between one and one and a half times the patience.
            connection.idle += 1
            if connection.idle > 2:
                connection.transport.abort()
        self.start()


class Opening(asyncio.Protocol):
    """A connection of which it is not yet known who answers it."""

    transport: asyncio.Transport

    def __init__(self, front: Front, handler: Handler, received: bytes, *, socks: bool) -> None:
        self.idle = 0
        self._received = received
        self._socks = socks
        self._front = front
        self._handler = handler
        self._read = self._greeting if socks else self._connect
        self._data = b""  # what has come and is not yet understood
        self._understood = b""  # what has come before that
        self._replied = b""  # what has been answered to it
        self._answer: ShortWay | None = None
        self._target = ("", 0)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first bytes, or go on with those that another process received."""
        self.transport = cast("asyncio.Transport", transport)
        self._front.connections.add(self)
        if self._received:
            self.data_received(self._received)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Forget the connection."""
        self._front.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        """Read one step further, or hand over what cannot be read here."""
        self.idle = 0
        self._data += data
        if len(self._data) > MAX_OPENING:
            self._hand_over()
        else:
            self._read()

    # -- steps: each understands the bytes so far, waits for more, or hands over

    def _connect(self) -> None:
        data = self._data
        if not data.startswith(b"CONNECT "[: len(data)]):
            if _METHOD.fullmatch(data):
                return  # the next byte tells which form it has
            if self._front.move and _WORD.match(data) and not _HEAD_END.search(data):
                return  # who asks stands in the head
            if self._moved(_said_in(data)):
                return
            if asks_a_server(data):
                self._front.addon.clients.meant(self.transport.get_extra_info("peername"))
            self._hand_over()
            return
        end = _HEAD_END.search(data)
        if end is None:
            return
        found = _CONNECT.fullmatch(data)  # and nothing follows that did not wait for the reply
        given = _AUTHORIZATION.findall(found[3]) if found else []
        if found is None or len(given) > 1 or _WITH_BODY.search(found[3]):
            self._hand_over()
            return
        authorization = given[0].decode("latin-1") if given else ""
        if not self._moved(authorization):
            self._open(found[1].decode(), int(found[2]), authorization, ESTABLISHED)

    def _greeting(self) -> None:
        data = self._data
        if self._moved(""):
            return
        if data[0] != 5 or (len(data) > 1 and len(data) > 2 + data[1]):
            self._hand_over()
        elif len(data) > 1 and len(data) == 2 + data[1]:
            if _SOCKS_NO_METHOD in data[2:]:
                self._reply(_SOCKS_REPLY)
                self._read = self._request
            else:
                self._hand_over()

    def _request(self) -> None:
        data = self._data
        if not data.startswith(_SOCKS_NAME[: len(data)]):
            self._hand_over()
        elif len(data) > 5 and len(data) >= 7 + data[4]:
            host, port = data[5:-2], int.from_bytes(data[-2:])
            if len(data) > 7 + data[4] or not host.isascii():
                self._hand_over()
            else:
                self._open(host.decode(), port, "", _SOCKS_CONNECTED)

    def _open(self, host: str, port: int, authorization: str, reply: bytes) -> None:
        self._target = (host, port)
        if 0 < port < 65536:
            self._answer = self._front.addon.short_way(canonical_host_name(host), authorization)
        if self._answer is None:
            self._hand_over()
        else:
            self._reply(reply)
            self._read = self._hello

    def _hello(self) -> None:
        data = self._data
        if data[0] != RECORD:
            self._hand_over()
        elif 0 < hello_length(data) <= len(data):
            if takes_http1(data):
                self._start_tls()
            else:
                self._hand_over()

    # -- what comes after

    def _moved(self, authorization: str) -> bool:
        """Whether the connection is another process's now; nothing has been replied to it yet."""
        move = self._front.move
        if move is None or self._received:
            return False  # there is one process, or it was moved here
        state = self._front.addon.state_of(authorization)
        sock = self.transport.get_extra_info("socket")
        if state is None or not move(state, sock, self._data, self._socks):
            return False
        self._front.connections.discard(self)
        self.transport.abort()  # gives up this process's half of the socket, not the connection
        return True

    def _reply(self, reply: bytes) -> None:
        self.transport.write(reply)
        self._understood += self._data
        self._replied += reply
        self._data = b""

    def _start_tls(self) -> None:
        assert self._answer is not None
        self._become(Tunnel(self._front, self.transport, self._answer, self._target))

    def _become(self, tunnel: Tunnel) -> None:
        self._front.connections.discard(self)
        self.transport.set_protocol(tunnel)
        tunnel.data_received(self._data)

    def _hand_over(self) -> None:
        """Let mitmproxy have the connection, from its first byte on and without its replies so far."""
        if not (self._socks or self._replied) and self._moved(_said_in(self._data)):
            return
        self._front.connections.discard(self)
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(loop=loop)

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            # The first writer is kept: asyncio closes the connection when it forgets one.
            repeated = _Repeated(self.transport, protocol, reader, loop, self._replied)
            with suppress(asyncio.CancelledError):  # at the end; asyncio of Python 3.11 tells it as an error
                await self._handler(reader, repeated if self._replied else writer)

        protocol = asyncio.StreamReaderProtocol(reader, handle, loop=loop)
        self.transport.set_protocol(protocol)
        protocol.connection_made(self.transport)
        reader.feed_data(self._understood + self._data)


class Direct(Opening):
    """The same of a client that knows of no proxy: TLS at once, or it is mitmproxy's."""

    def __init__(self, front: Front, handler: Handler, received: bytes, way: FindWay) -> None:
        super().__init__(front, handler, received, socks=False)
        self._way = way

    def _connect(self) -> None:
        data = self._data
        if data[0] == RECORD and not 0 < hello_length(data) <= len(data):
            return
        sni = canonical_host_name(server_name(data) or "") if data[0] == RECORD else ""
        way = self._way(self._front.addon, self.transport, sni) if sni and takes_http1(data) else None
        if way is None:
            self._hand_over()
        else:
            self._become(Tunnel(self._front, self.transport, way.answer, (sni, 443), way.agree, way.kind))


def _said_in(data: bytes) -> str:
    """The Proxy-Authorization of the head that `data` begins with, as mitmproxy reads it."""
    end = _HEAD_END.search(data)
    given = _AUTHORIZATION.findall(data[: end.start() + 1] if end else data)
    return b", ".join(given).decode("latin-1")


class _Repeated(asyncio.StreamWriter):
    """A writer that leaves out a reply which the client has already.

    Args:
        replied: What it has.
    """

    def __init__(
        self,
        transport: asyncio.WriteTransport,
        protocol: asyncio.BaseProtocol,
        reader: asyncio.StreamReader,
        loop: asyncio.AbstractEventLoop,
        replied: bytes,
    ) -> None:
        super().__init__(transport, protocol, reader, loop)
        self._replied = replied

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write what is new in `data`."""
        known = len(self._replied)
        if known and bytes(data[:known]) == self._replied[: len(data)]:
            self._replied, data = self._replied[len(data) :], data[known:]
        else:
            self._replied = b""
        if data:
            super().write(data)
