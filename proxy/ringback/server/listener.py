"""Listeners: each way in is a small parser that finds out a connection's destination.

CONNECT, SOCKS5, the reverse listener and redirected connections differ in their first bytes alone. Requests
to Twilio are answered by `HttpConnection` or `TlsConnection`, connections to other hosts are relayed by
`Tunnel`, and what this server does not speak is given to mitmproxy, with all that was received.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import struct
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final, cast

from ringback.exchange import basic_auth
from ringback.server.connection import HttpConnection, TlsConnection
from ringback.server.destination import (
    API,
    NO_HOST_NAME,
    NOWHERE,
    Destination,
    canonical_host_name,
    client_refusal,
    is_host_name,
    is_own_address,
    is_this_machine,
    leads_back,
    reverse_client_refusal,
    transparent_client_refusal,
)
from ringback.server.tls import MAX_HELLO, RECORD, ClientHello, parse_client_hello
from ringback.server.tunnel import Tunnel, first_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from ringback.server.connection import ServerState

    Way = str

logger = logging.getLogger(__name__)

MAX_HEAD: Final = 16 * 1024  # bytes of a CONNECT or a request line that are waited for
ESTABLISHED: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"  # twilio-php 5 takes no other wording
_METHOD: Final = re.compile(rb"[A-Za-z]{1,20} ")
_CONNECT_LINE: Final = re.compile(
    rb"CONNECT (?:\[([0-9A-Fa-f:.]{2,45})\]|([^\s:\[\]/?#@\0]{1,255})):([0-9]{1,5}) HTTP/1\.[01]"
)
_FIELD: Final = re.compile(rb"([!#-'*+.0-9A-Z^-z|~-]+):[ \t]*([^\r\n\0]*?)[ \t]*")
_ABSOLUTE: Final = re.compile(
    rb"[A-Za-z]{1,20} +(https?)://(?:\[([0-9A-Fa-f:.]{2,45})\]|([^\s:/?#@\[\]]{1,255}))(?::([0-9]{1,5}))?(?:[/?\s])",
    re.IGNORECASE,
)
_HEAD_END: Final = re.compile(rb"\n\r?\n")
_SO_ORIGINAL_DST: Final = 80  # of Linux's netfilter
_MOST_READ: Final = 64 * 1024  # bytes
_SOL_IPV6: Final = 41
_SOCKS_NO_PASSWORD: Final = 0
_SOCKS_FAILED: Final = b"\x05%c\x00\x01\x00\x00\x00\x00\x00\x00"
_SOCKS_CONNECTED: Final = b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"
_SOCKS_BLOCKED, _SOCKS_NO_COMMAND, _SOCKS_NO_ADDRESS = 2, 7, 8


class Handshake(asyncio.Protocol):
    """The beginning of a connection, until its destination is known. Each way in is a subclass.

    Args:
        state: What all connections share.
    """

    way: Way
    transport: asyncio.Transport

    def __init__(self, state: ServerState) -> None:
        self.idle = 0
        self.state = state
        self._data = b""  # what has come and is not yet understood
        self._understood = b""  # what came before that
        self._replied = b""  # what was answered to it
        self._read: Callable[[], None] = self.read_opening
        self._destination: Destination | None = None
        self._timer: asyncio.TimerHandle | None = None

    def refusal(self) -> str | None:
        """Return why the client is not served at all, or None."""
        raise NotImplementedError

    def read_opening(self) -> None:
        """Understand the first bytes in `_data`, or wait for more."""
        raise NotImplementedError

    # -- asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first bytes, unless the client may not connect."""
        self.transport = cast("asyncio.Transport", transport)
        with suppress(AttributeError):  # of another event loop's transports
            # asyncio reads 256 KB at a time, which the allocator may map and unmap for each request.
            self.transport.max_size = _MOST_READ  # type: ignore[attr-defined] # of asyncio's transports
        refused = self.refusal()
        if refused is not None:
            logger.warning("a connection was refused: %s", refused)
            self.transport.abort()
            return
        self.state.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Forget the connection."""
        self._stop_timer()
        self.state.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        """Read one step further."""
        self.idle = 0
        self._data += data
        self._read()

    # -- what a subclass finds out

    def _go_to(self, destination: Destination, reply: bytes) -> None:
        """Continue with what follows once the client knows that its destination is reached."""
        self._destination = destination
        self._reply(reply)
        if self.state.is_twilio(destination.host):
            self._read = self._read_twilio
        else:
            self._read = self._read_other
            # Nobody speaks first at NOWHERE: a JVM means Twilio by it, and may take its time.
            if not self._data and destination.host != NOWHERE:
                self._timer = asyncio.get_running_loop().call_later(self.state.silence, self._relay)
        if self._data:
            self._read()

    def _read_twilio(self) -> None:
        """A connection to Twilio: TLS, or plain HTTP."""
        assert self._destination is not None
        if self._data[0] != RECORD:
            self._answer_plain(self._destination)
            return
        hello = self._hello()
        if hello is not None:
            self._start_tls(self._destination, hello)

    def _read_other(self) -> None:
        """A connection to another host, which may name Twilio's all the same."""
        self._stop_timer()
        destination = self._destination
        assert destination is not None
        found = first_bytes(self._data)
        if found is None:
            return
        if found == "refused":
            self._drop(f"{destination.host} was sent TLS or HTTP that does not show its host")
        elif isinstance(found, ClientHello):
            if found.sni and self.state.is_twilio(found.sni):
                if destination.host == NOWHERE:  # a SOCKS client that was given an address for the name
                    destination = replace(destination, host=canonical_host_name(found.sni))
                self._start_tls(destination, found)
            else:
                self._relay()
        elif any(self.state.is_twilio(name.partition(":")[0]) for name in found):
            self._answer_plain(destination)
        else:
            self._relay()

    def _hello(self) -> ClientHello | None:
        """Return the ClientHello in `_data`; None while it is incomplete, or if the connection was ended."""
        try:
            hello = parse_client_hello(self._data)
        except ValueError:
            hello = ClientHello(None, ())  # OpenSSL says what is wrong with it
        if hello is None and len(self._data) > MAX_HELLO:
            self._drop("a ClientHello did not end")
        return hello

    def _start_tls(self, destination: Destination, hello: ClientHello) -> None:
        if not hello.takes_http1:
            self._hand_over()
            return
        host = hello.sni if hello.sni and self.state.is_twilio(hello.sni) else destination.host
        if not self.state.is_twilio(host):
            host = API
        try:
            connection = TlsConnection(
                self.state, self.transport, destination, sni=hello.sni, host=canonical_host_name(host)
            )
        except OSError as error:  # of the temporary file that OpenSSL reads a certificate from
            self._drop(f"no certificate can be made for {host}: {error}")
            return
        self._become(connection)

    def _answer_plain(self, destination: Destination, scheme: str = "http", *, once: bool = False) -> None:
        self._become(HttpConnection(self.state, self.transport, destination, scheme=scheme, once=once))

    def _become(self, connection: HttpConnection) -> None:
        self._stop_timer()
        self.state.connections.discard(self)
        self.transport.set_protocol(connection)
        connection.data_received(self._data)

    def _reply(self, reply: bytes) -> None:
        if reply:
            self.transport.write(reply)
        self._replied += reply

    def _refuse(self, status: int, sentence: str) -> None:
        """Answer in plain text and close."""
        reason = _REASONS.get(status, "Refused")
        body = f"{sentence}\n".encode()
        head = (
            f"HTTP/1.1 {status} {reason}\r\nContent-Type: text/plain\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()
        self._read = self._ignore

    def _ignore(self) -> None:
        self._data = b""

    def _drop(self, why: str) -> None:
        logger.warning("a connection was closed: %s", why)
        self._read = self._ignore
        self.transport.close()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # -- other hosts

    def _relay(self) -> None:
        self._stop_timer()
        self._read = self._wait
        self.transport.pause_reading()
        self.state.start_task(self._open_tunnel())

    def _wait(self) -> None:
        """Keep what comes while something is prepared."""

    async def _open_tunnel(self) -> None:
        # Imported here: most programs speak to Twilio alone.
        from ringback.upstream.http1 import UpstreamError  # noqa: PLC0415 - as above

        destination, settings = self._destination, self.state.settings
        assert destination is not None
        tunnel = Tunnel(self.transport, self._data)
        egress = (
            settings.routes.egress if destination.way != "transparent" else type(settings.routes.egress)()
        )
        try:
            await self.state.dialer.open_tunnel(
                lambda: tunnel.host, destination.host, destination.port, egress
            )
        except UpstreamError as error:
            logger.warning("%s port %s: %s", destination.host, destination.port, error.detail)
            self.transport.close()
            return
        self.state.connections.discard(self)
        if self.transport.is_closing():
            tunnel.host.transport.abort()
            return
        own, reached = (tunnel.host.transport.get_extra_info(name) for name in ("sockname", "peername"))
        if reached[1] in self.state.ports and is_own_address(reached[0]):
            # By a name: what comes back would look like a client of this machine.
            logger.warning("%s port %s: that is Ringback itself", destination.host, destination.port)
            tunnel.host.transport.abort()
            self.transport.close()
            return
        self.state.dialled.add(own)
        tunnel.closed = partial(self._tunnel_closed, own)
        self.state.connections.add(tunnel)
        tunnel.start()

    def _tunnel_closed(self, own: tuple[str | int, ...], tunnel: Tunnel) -> None:
        self.state.connections.discard(tunnel)
        self.state.dialled.discard(own)

    # -- mitmproxy

    def _hand_over(self) -> None:
        """Let mitmproxy have the connection, from its first byte on and without the replies so far."""
        self._stop_timer()
        self._read = self._wait
        self.transport.pause_reading()
        self.state.start_task(self._give())

    async def _give(self) -> None:
        try:
            engine = await self.state.engine()
        except BaseException:
            self.transport.abort()
            raise
        self.state.connections.discard(self)
        if not self.transport.is_closing():
            await engine.take(self.way, self.transport, self._understood + self._data, self._replied)


_REASONS: Final = {
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    407: "Proxy Authentication Required",
    431: "Request Header Fields Too Large",
    502: "Bad Gateway",
}


class HttpProxyHandshake(Handshake):
    """A client of the HTTP proxy: CONNECT, or a request in absolute or origin form."""

    way = "http"

    def refusal(self) -> str | None:
        """Return why the client is not served at all, or None."""
        peer, own = (self.transport.get_extra_info(name)[0] for name in ("peername", "sockname"))
        return client_refusal(peer, own, self.state.settings.password)

    def read_opening(self) -> None:
        """Parse CONNECT, or find out which form a request has."""
        data = self._data
        if data[0] == RECORD:  # TLS to the proxy itself
            self._hand_over()
            return
        if data.startswith(b"CONNECT "[: len(data)]):
            self._read_connect()
            return
        if _METHOD.match(data):
            if b"\n" not in data and len(data) < MAX_HEAD:
                return
            absolute = _ABSOLUTE.match(data)
            if absolute is not None:
                self._read_absolute(absolute)
                return
        elif len(data) < 20 and data.isalpha():
            return  # the method is not complete
        sockname = self.transport.get_extra_info("sockname")
        self._answer_plain(Destination("server", sockname[0], sockname[1]))

    def _read_connect(self) -> None:
        data = self._data
        end = _HEAD_END.search(data)
        if end is None:
            if len(data) > MAX_HEAD:
                self._refuse(431, "the head of CONNECT has more than 16 KB")
            return
        line, *fields = data[: end.start() + 1].replace(b"\r\n", b"\n").split(b"\n")
        found = _CONNECT_LINE.fullmatch(line)
        parsed = [_FIELD.fullmatch(field) for field in fields if field]
        if found is None or not all(parsed) or not 0 < int(found[3]) < 65536:
            self._refuse(400, "this is no CONNECT HOST:PORT that Ringback can read")
            return
        given = [(one[1].lower(), one[2]) for one in parsed if one]
        passwords = [value for name, value in given if name == b"proxy-authorization"]
        lengths = [value for name, value in given if name in {b"content-length", b"transfer-encoding"}]
        if len(passwords) > 1 or any(value != b"0" for value in lengths):
            self._refuse(400, "CONNECT has no body, and one Proxy-Authorization at the most")
            return
        self._understood, self._data = self._understood + data[: end.end()], data[end.end() :]
        self._connect((found[1] or found[2]).decode("latin-1"), int(found[3]), passwords)

    def _connect(self, name: str, port: int, passwords: list[bytes]) -> None:
        host = canonical_host_name(name)
        authorization = passwords[0].decode("latin-1") if passwords else ""
        if not self.state.password_fits(authorization):
            self._ask_for_password()
            return
        refused = self._target_refusal(host, port)
        if refused is not None:
            self._refuse(*refused)
            return
        user = (basic_auth(authorization, errors="replace") or (None, ""))[0]
        self._go_to(Destination("connect", host, port, user or None), ESTABLISHED)

    def _target_refusal(self, host: str, port: int) -> tuple[int, str] | None:
        if not is_host_name(host):
            return 400, NO_HOST_NAME
        own = self.transport.get_extra_info("sockname")
        if port in self.state.ports and (host == own[0] or is_this_machine(host)):
            return 404, "Ringback does not tunnel to itself"
        if self.state.settings.block_other_hosts and not self.state.is_twilio(host):
            return 403, f"Ringback blocks {host}: it was started with --block-other-hosts"
        return None

    def _ask_for_password(self) -> None:
        """Answer 407 and keep the connection: some clients give the password only when asked."""
        body = b"Ringback wants its proxy password: http://NAME:PASSWORD@HOST:PORT\n"
        head = (
            'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="Ringback"\r\n'
            f"Content-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self._understood = b""
        self.transport.write(head.encode() + body)
        if self._data:
            self._read()

    def _read_absolute(self, found: re.Match[bytes]) -> None:
        """A request by plain HTTP: Twilio's and the proxy's own are answered, others are mitmproxy's.

        A client may keep its connection to the proxy and ask for another host next: so an answer is the last.
        """
        scheme = found[1].decode().lower()
        host = canonical_host_name((found[2] or found[3]).decode("latin-1"))
        port = int(found[4]) if found[4] else {"https": 443, "http": 80}[scheme]
        own = self.transport.get_extra_info("sockname")
        if port in self.state.ports and (host == own[0] or is_this_machine(host)):
            if port == own[1]:
                self._answer_plain(Destination("server", own[0], own[1]), once=True)
            else:
                self._refuse(502, "Ringback does not forward to itself")
        elif self.state.is_twilio(host):
            self._answer_plain(Destination("absolute", host, port), scheme, once=True)
        elif not is_host_name(host):
            self._refuse(400, NO_HOST_NAME)
        elif self.state.settings.block_other_hosts:
            self._refuse(403, f"Ringback blocks {host}: it was started with --block-other-hosts")
        else:
            self._hand_over()


class SocksHandshake(Handshake):
    """A client of the SOCKS5 proxy (RFC 1928): CONNECT without a password, by name or address."""

    way = "socks"

    def refusal(self) -> str | None:
        """Return why the client is not served at all, or None."""
        peer, own = (self.transport.get_extra_info(name)[0] for name in ("peername", "sockname"))
        return client_refusal(peer, own, self.state.settings.password)

    def read_opening(self) -> None:
        """Parse the greeting: version and methods."""
        data = self._data
        if data[0] != 5:
            self._drop("the client of the SOCKS port does not speak SOCKS5")
            return
        if len(data) < 2 or len(data) < 2 + data[1]:
            return
        methods, self._data = data[2 : 2 + data[1]], data[2 + data[1] :]
        self._understood += data[: 2 + data[1]]
        if _SOCKS_NO_PASSWORD not in methods:
            self.transport.write(b"\x05\xff")
            self._drop("the SOCKS client insists on a password; SOCKS has none here")
            return
        self._reply(b"\x05\x00")
        self._read = self._read_request
        if self._data:
            self._read()

    def _read_request(self) -> None:
        data = self._data
        if len(data) < 5:
            return
        kind = data[3]
        length = {1: 4, 3: 1 + data[4], 4: 16}.get(kind)
        if length is not None and len(data) < 6 + length:
            return
        if data[:3] != b"\x05\x01\x00" or length is None:
            self._fail(_SOCKS_NO_ADDRESS if data[1] == 1 else _SOCKS_NO_COMMAND)
            return
        raw, port = data[4 : 4 + length], int.from_bytes(data[4 + length : 6 + length])
        if kind == 3:
            host = raw[1:].decode("latin-1")
        else:
            host = socket.inet_ntop(socket.AF_INET if kind == 1 else socket.AF_INET6, raw)
        self._understood += data[: 6 + length]
        self._data = data[6 + length :]
        host = canonical_host_name(host)
        blocked = self.state.settings.block_other_hosts and not self.state.is_twilio(host)
        itself = port in self.state.ports and is_this_machine(host)
        if (blocked and host != NOWHERE) or itself or not port or not host.isascii():
            self._fail(_SOCKS_BLOCKED)
            return
        self._go_to(Destination("socks", host, port), _SOCKS_CONNECTED)

    def _fail(self, code: int) -> None:
        self.transport.write(_SOCKS_FAILED % code)
        self._read = self._ignore
        self.transport.close()


class ReverseHandshake(Handshake):
    """A client that takes this listener for Twilio's API: TLS by that name, or plain HTTP."""

    way = "reverse"

    def refusal(self) -> str | None:
        """Return why the client is not served at all, or None."""
        settings = self.state.settings
        return reverse_client_refusal(
            settings.credentials, settings.password, self.transport.get_extra_info("peername")[0]
        )

    def read_opening(self) -> None:
        """Parse the ClientHello; other names than Twilio's get no certificate."""
        own = self.transport.get_extra_info("sockname")
        destination = Destination("reverse", own[0], own[1])
        if self._data[0] != RECORD:
            self._answer_plain(destination, "https")  # the scheme is the API's, whatever the client speaks
            return
        hello = self._hello()
        if hello is None:
            return
        if leads_back(self.transport.get_extra_info("peername")):
            logger.error(
                "%s leads back to this proxy: have the hosts entry or the redirection for the clients alone",
                hello.sni,
            )
            self._drop("it is this proxy's own")
        elif hello.sni and not self.state.is_twilio(hello.sni):
            self._drop(f"the reverse listener is for twilio.com, not for {hello.sni[:100]}")
        else:
            self._start_tls(destination, hello)


class TransparentHandshake(Handshake):
    """A redirected connection: the kernel knows where it was going."""

    way = "transparent"

    def refusal(self) -> str | None:
        """Return why the client is not served at all, or None."""
        return transparent_client_refusal(
            self.state.settings.password, self.transport.get_extra_info("peername")[0]
        )

    def read_opening(self) -> None:
        """Ask the kernel for the address, and the first bytes for the name."""
        if self._destination is None:
            try:
                host, port = original_address(self.transport.get_extra_info("socket"))
            except OSError as error:
                self._drop(f"it was not redirected here: {error.strerror}")
                return
            own = self.transport.get_extra_info("sockname")
            if port in self.state.ports and (host == own[0] or is_this_machine(host)):
                self._drop("a redirected connection was for Ringback itself")
                return
            self._destination = Destination("transparent", host, port)
        peer = self.transport.get_extra_info("peername")
        if leads_back(peer) or peer in self.state.dialled:
            logger.error(
                "connections of the proxy itself are redirected to it: redirect the program's user alone"
            )
            self._drop("it is this proxy's own")
            return
        destination = self._destination
        if self._data[0] != RECORD:
            self._read_other()
            return
        hello = self._hello()
        if hello is None:
            return
        if hello.sni is None:
            self._drop(f"TLS to {destination.host} names no server, so it may be Twilio's")
        elif self.state.is_twilio(hello.sni):
            self._start_tls(destination, hello)
        elif self.state.settings.block_other_hosts:
            self._drop(f"Ringback blocks {hello.sni[:100]}: it was started with --block-other-hosts")
        else:
            self._relay()


def original_address(sock: socket.socket) -> tuple[str, int]:
    """Return the address that a redirected connection was going to; Linux's netfilter knows it.

    Raises:
        OSError: The connection was not redirected, or the system has no such thing.
    """
    if "." in sock.getsockname()[0]:  # also IPv4 mapped into IPv6
        found = sock.getsockopt(socket.SOL_IP, _SO_ORIGINAL_DST, 16)
        port, raw = struct.unpack_from("!2xH4s", found)
        return socket.inet_ntop(socket.AF_INET, raw), port
    found = sock.getsockopt(_SOL_IPV6, _SO_ORIGINAL_DST, 28)
    port, raw = struct.unpack_from("!2xH4x16s", found)
    return socket.inet_ntop(socket.AF_INET6, raw), port
