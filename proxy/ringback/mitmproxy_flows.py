"""Conversions between mitmproxy's flows and connections and the project's own values."""

from __future__ import annotations

import base64
import logging
import re
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, Final, cast

from mitmproxy import ctx, http
from mitmproxy.proxy import layers
from mitmproxy.proxy.commands import CloseConnection
from mitmproxy.proxy.events import DataReceived, Event, Start
from mitmproxy.proxy.layer import CommandGenerator, Layer, NextLayer
from mitmproxy.proxy.layers.http import HTTPMode
from mitmproxy.proxy.layers.http._upstream_proxy import HttpUpstreamProxy
from mitmproxy.proxy.mode_specs import ReverseMode, TransparentMode, UpstreamMode
from mitmproxy.proxy.tunnel import TunnelLayer

from ringback.cassettes.format_readers import LeftOutError
from ringback.cassettes.formats import FLOWS, ForeignFileError, ForeignInteraction, collect
from ringback.contract import Request
from ringback.exchange import Answer, Source, basic_auth
from ringback.server.destination import (
    API,
    Destination,
    agreed_names,
    is_this_machine,
    reverse_client_refusal,
    reverse_request_refusal,
    transparent_client_refusal,
)
from ringback.server.tls import ClientHello
from ringback.server.tunnel import first_bytes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mitmproxy.connection import Client, Connection
    from mitmproxy.net.server_spec import ServerSpec

    from ringback.cassettes.formats import ForeignFile
    from ringback.contract import Names
    from ringback.settings import Settings
    from ringback.upstream.routes import Address, Egress

_LARGEST_FLOWS: Final = 256 * 1024 * 1024  # bytes
_RECORD_VERSIONS = (b"\3\0", b"\3\1", b"\3\2", b"\3\3")  # of TLS 1.3 as well; OpenSSL takes no others

logger = logging.getLogger(__name__)

_ORIGIN_FORM = re.compile(rb"[A-Z]{1,16} /")


# -- requests and answers


def to_request(flow: http.HTTPFlow, names: Names) -> Request:
    """Return the flow's request as the client sent it, addressed to the host that it means."""
    request = flow.request
    headers = tuple(request.headers.items(multi=True))
    if is_reverse(flow.client_conn) and " and " not in names.host:
        headers = (("Host", names.host), *(field for field in headers if field[0].lower() != "host"))
    return Request(
        method=request.method.upper(),
        host=names.host,
        target=request.path,
        headers=headers,
        body=request.raw_content or b"",
        scheme=request.scheme,
    )


def to_response(answer: Answer) -> http.Response:
    """Return the response that carries `answer`, with its provenance in `Ringback-…` headers."""
    fields = (*answer.headers, *answer.source.headers())
    now = time.time()
    return http.Response(
        http_version=b"HTTP/1.1",
        status_code=answer.status,
        reason=answer.reason.encode("latin-1"),
        headers=http.Headers(
            [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in fields]
        ),
        content=answer.body,
        trailers=None,
        timestamp_start=now,
        timestamp_end=now,
    )


def plain_response(text: str) -> http.Response:
    """Return the response `text`, a status and a sentence, to a CONNECT or a plain-HTTP request."""
    status, _, reason = text.partition(" ")
    return http.Response.make(int(status), f"{reason}\n", {"Content-Type": "text/plain"})


def proxy_authentication_required() -> http.Response:
    """Return the response to a client that gives no password, or a wrong one."""
    return http.Response.make(
        407,
        b"Ringback wants its proxy password: http://NAME:PASSWORD@HOST:PORT\n",
        {"Proxy-Authenticate": 'Basic realm="Ringback"', "Content-Type": "text/plain"},
    )


def proxy_credentials(authorization: str) -> tuple[str | None, str]:
    """Return user name (None without any) and password of a Proxy-Authorization header's value."""
    # A name that is not UTF-8 becomes one that no cassette can have, not nobody's.
    return basic_auth(authorization, errors="replace") or (None, "")


# -- ways in


def is_reverse(client: Client) -> bool:
    """Report whether the client takes this listener for Twilio's API."""
    mode = client.proxy_mode
    return isinstance(mode, ReverseMode) and mode.address[0] == API


def is_transparent(client: Client) -> bool:
    """Report whether the kernel redirected the client's connection."""
    return isinstance(client.proxy_mode, TransparentMode)


def direct_client_refusal(client: Client, settings: Settings) -> str | None:
    """Return why a reverse or redirected client is not served, or None."""
    peer = client.peername[0]
    if is_reverse(client):
        return reverse_client_refusal(settings.credentials, settings.password, peer)
    return transparent_client_refusal(settings.password, peer)


def direct_request_refusal(flow: http.HTTPFlow, names: Names, is_twilio: Callable[[str], bool]) -> str | None:
    """Return status and sentence for a request that a reverse listener does not answer, or None."""
    client = flow.client_conn
    if not is_reverse(client):
        return None
    return reverse_request_refusal(names, client.peername[0], is_twilio, tls=client.tls_established)


# -- connections


@dataclass
class ClientTunnel:
    """A client connection's tunnel, opened with CONNECT.

    Attributes:
        destination: Where it goes, with the client's name.
        got_request: Whether the client has asked for anything in it, or said why it does not.
    """

    destination: Destination
    got_request: bool = False


class Clients:
    """The client connections that are open.

    Args:
        is_twilio: Whether a name is a host of Twilio's.
    """

    def __init__(self, is_twilio: Callable[[str], bool]) -> None:
        self._is_twilio = is_twilio
        self._tunnels: dict[str, ClientTunnel] = {}
        self._addressed_proxy: set[tuple[str | int, ...]] = set()

    def tunnel(self, client: Client) -> ClientTunnel | None:
        """Return the tunnel that `client` opened with CONNECT, or None."""
        return self._tunnels.get(client.id)

    def opened(self, client: Client, host: str, port: int, user: str | None) -> None:
        """Note the tunnel of `client`, whose proxy URL names `user`, to `host` and `port`."""
        self._tunnels[client.id] = ClientTunnel(Destination("connect", host, port, user))

    def got_request(self, client: Connection) -> None:
        """Note that `client` asked for something in its tunnel, or said why it does not."""
        tunnel = self._tunnels.get(client.id)
        if tunnel is not None:
            tunnel.got_request = True

    def is_silent(self, client: Client) -> bool:
        """Report whether `client` has a tunnel with TLS inside and asked for nothing."""
        tunnel = self.tunnel(client)
        return tunnel is not None and not tunnel.got_request and client.tls_established

    def addressed_proxy(self, peer: tuple[str | int, ...]) -> None:
        """Note that `peer` sent an origin-form request: it is for this proxy, whatever host it names.

        mitmproxy shows its hooks no difference between that and a request to a proxy.
        """
        self._addressed_proxy.add(peer)

    def forget(self, client: Client) -> None:
        """Forget a connection that has ended."""
        self._tunnels.pop(client.id, None)
        self._addressed_proxy.discard(client.peername)

    def user(self, flow: http.HTTPFlow) -> str | None:
        """Return the name that the client gave to the proxy: its cassette."""
        tunnel = self.tunnel(flow.client_conn)
        if tunnel is not None:
            return tunnel.destination.user
        return proxy_credentials(flow.request.headers.get("Proxy-Authorization", ""))[0]

    def names(self, flow: http.HTTPFlow) -> Names:
        """Return every name that the client gave to the host that it wants."""
        client, request = flow.client_conn, flow.request
        fields = [value.strip() for value in request.headers.get_all("Host")]  # of a folded one, too
        hosts = [*fields, request.data.authority.decode("utf-8", "surrogateescape")]
        if is_reverse(client):
            return Destination("reverse", client.sockname[0], client.sockname[1]).names(hosts, client.sni)
        if is_transparent(client):
            return Destination("transparent", *client.sockname[:2]).names(hosts, client.sni)
        tunnel = self.tunnel(client)
        if tunnel is not None:
            return tunnel.destination.names(hosts, client.sni)
        names = agreed_names(hosts, (request.host, request.port), client.sni)
        if names.port == client.sockname[1]:
            # The client came to this port by another name (a hosts entry): it could not choose the port.
            return replace(names, port=None)
        return names

    def wants_twilio(self, flow: http.HTTPFlow) -> bool:
        """Report whether any of the names is a host of Twilio's."""
        names = self.names(flow)
        return any(
            self._is_twilio(name) for name in (*names.host.split(" and "), names.connect, names.sni) if name
        )

    def wants_proxy(self, flow: http.HTTPFlow) -> bool:
        """Report whether the request is for the proxy itself."""
        client = flow.client_conn
        if is_reverse(client):
            return flow.request.path.startswith("/ringback/")
        if is_transparent(client) or self.tunnel(client) is not None or self.wants_twilio(flow):
            return False
        if client.peername in self._addressed_proxy:
            return True
        port = flow.request.port
        return is_own(client, self.names(flow).host, port) and is_own(client, flow.request.host, port)


def is_own(client: Client, host: str, port: int) -> bool:
    """Report whether `host` and `port` are where `client` is connected to: this proxy."""
    own = client.sockname
    return bool(port == own[1] and (host.strip("[]") == own[0] or is_this_machine(host)))


def is_origin_form(data: bytes) -> bool:
    """Report whether a connection begins with a request in origin form, as a server gets it, not a proxy."""
    return _ORIGIN_FORM.match(data) is not None


def client_socket(client: Client) -> Any:
    """Return the socket behind mitmproxy's `client`, or None where there is none (UDP, tests)."""
    server = ctx.master.addons.get("proxyserver")
    handler = server.connections.get(client.id) if server else None
    transport = handler.transports.get(client) if handler else None
    writer = transport.writer if transport else None
    return writer.get_extra_info("socket") if writer else None


class WaitingLayer(NextLayer):
    """A connection whose first bytes do not show yet which host they name; nothing of it is relayed.

    It takes the place of a decision: without one, mitmproxy's own addon would decide by what it has.
    """

    def _ask(self) -> CommandGenerator[None]:
        server, client = self.data_server(), self.data_client()  # type: ignore[no-untyped-call]  # mitmproxy's
        if server or first_bytes(client) is not None:
            yield from super()._ask()  # type: ignore[no-untyped-call]  # mitmproxy's


class RefusedLayer(Layer):
    """A connection that is closed at once, because it hides which host it names."""

    def _handle_event(self, event: Event) -> CommandGenerator[None]:
        if isinstance(event, Start):
            yield CloseConnection(self.context.client)


def inspect_first_bytes(data: NextLayer) -> None:
    """Find the host's name in what mitmproxy would relay as raw TCP; hold back what may still have one.

    mitmproxy decides by the first bytes that it has. It takes a ClientHello or a request that comes byte by
    byte, has a record version that it does not know, or follows an empty line for a protocol of its own.
    This waits for all of it, and has TLS and HTTP read as such. What shows no name although it should, as TLS
    after an alert or in the form of SSL 2.0, is closed; so is TLS that cannot be, in records of version 4.
    """
    came = data.data_client()
    if not isinstance(data.layer, layers.TCPLayer) or not came or data.data_server():
        return
    found = first_bytes(came)
    if found is None:
        data.layer = WaitingLayer(data.context)
    elif found == "refused" or (isinstance(found, ClientHello) and came[1:3] not in _RECORD_VERSIONS):
        logger.warning("a connection was closed: it began with TLS or HTTP that does not show its host")
        data.layer = RefusedLayer(data.context)
    elif isinstance(found, ClientHello):
        server = layers.ServerTLSLayer(data.context)
        server.child_layer = layers.ClientTLSLayer(data.context)
        data.layer = server
    elif found:
        _drop_empty_lines(data)
        data.layer = layers.HttpLayer(data.context, HTTPMode.transparent)


def _drop_empty_lines(data: NextLayer) -> None:
    """Drop empty lines before a request, which mitmproxy would never answer."""
    for event in [event for event in data.events if isinstance(event, DataReceived)]:
        event.data = event.data.lstrip(b"\r\n")
        if event.data:
            return
        data.events.remove(event)


# -- other hosts, through the egress proxy that the environment had before Ringback took its place


def chain_tunnel(data: NextLayer, egress: Egress) -> None:
    """Put the egress proxy between a tunnel and its host, once it is known what the tunnel holds."""
    server = data.context.server
    if data.layer is None or server.address is None or server.via is not None or server.connected:
        return
    if isinstance(data.context.client.proxy_mode, UpstreamMode):
        return  # mitmproxy does it itself
    proxy = egress.proxy(server.address[0])
    if proxy is None:
        return
    server.via = _via(proxy)
    stack = HttpUpstreamProxy.make(data.context, send_connect=True)
    tunnel = stack[-1]
    assert isinstance(tunnel, TunnelLayer)
    tunnel.child_layer = data.layer
    data.layer = stack[0]


def chain_request(flow: http.HTTPFlow, egress: Egress) -> None:
    """Do the same for a request by plain HTTP, which asks the proxy itself: few take CONNECT to port 80."""
    if flow.server_conn.via is not None or isinstance(flow.client_conn.proxy_mode, UpstreamMode):
        return
    request = flow.request
    proxy = egress.proxy(request.host, request.scheme)
    if proxy is None:
        return
    if proxy.scheme == "https":  # mitmproxy would write the proxy's scheme into the request's line
        flow.server_conn.via = _via(proxy)
        return
    host = f"[{request.host}]" if ":" in request.host else request.host
    request.authority = host if request.port == 80 else f"{host}:{request.port}"
    request.data.host, request.data.port = proxy.host, proxy.port  # the Host field stays as it is
    _authorize(request, proxy)


def authorize(flow: http.HTTPFlow, egress: Egress) -> None:
    """Give the egress proxy that a tunnel is asked of the user and password of its URL."""
    named = dict(egress.proxies)
    for proxy in (named[scheme] for scheme in ("https", "all", "http") if scheme in named):
        if flow.server_conn.address == (proxy.host, proxy.port):
            _authorize(flow.request, proxy)


def _authorize(request: http.Request, proxy: Address) -> None:
    if proxy.userinfo is not None:
        encoded = base64.b64encode(proxy.userinfo.encode()).decode()
        request.headers.setdefault("Proxy-Authorization", f"Basic {encoded}")


def _via(proxy: Address) -> ServerSpec:
    return ("https" if proxy.scheme == "https" else "http"), (proxy.host, proxy.port)


# -- flow files


class _Bounded:
    """A file that is never asked for more bytes than it has, whatever a length in it says."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size

    def read(self, count: int) -> bytes:
        """Return at most `count` bytes."""
        return self._file.read(min(count, self._size))

    def peek(self, count: int) -> bytes:
        """Return some of the next bytes, at least one if there is one."""
        data = self._file.read(min(count, self._size))
        self._file.seek(-len(data), 1)
        return data


def read_flow_file(path: Path) -> ForeignFile:
    """Read the HTTP exchanges of a flow file, by mitmproxy's own reader.

    Raises:
        ForeignFileError: It is damaged, before the first flow.
        OSError: It cannot be read.
    """
    from mitmproxy import exceptions  # noqa: PLC0415 - for `ringback cassettes import` alone
    from mitmproxy.io import FlowReader  # noqa: PLC0415 - as above

    readers: list[tuple[int, Callable[[], ForeignInteraction]]] = []
    size = path.stat().st_size
    if size > _LARGEST_FLOWS:
        raise ForeignFileError(f"it has {size} bytes, at most {_LARGEST_FLOWS} are read")
    with path.open("rb") as file:
        try:
            for flow in FlowReader(cast("BinaryIO", _Bounded(file, size))).stream():
                readers.append((len(readers) + 1, partial(_foreign, flow)))
        except (exceptions.FlowReadException, RecursionError) as error:
            if not readers:
                raise ForeignFileError(f"it is damaged: {error}") from None
            readers.append((len(readers) + 1, _damaged))
    return collect(FLOWS, readers)


def _damaged() -> ForeignInteraction:
    raise LeftOutError("the file is damaged from here on")


def _foreign(flow: object) -> ForeignInteraction:
    if not isinstance(flow, http.HTTPFlow):
        raise LeftOutError("it is no HTTP flow")
    if flow.response is None:
        raise LeftOutError("it has no answer")
    request, response = flow.request, flow.response
    asked = Request(
        request.method.upper(),
        request.pretty_host,
        request.path,
        tuple(request.headers.items(multi=True)),
        request.raw_content or b"",
        request.scheme,
    )
    headers = tuple(response.headers.items(multi=True))
    answer = Answer(
        response.status_code, response.reason, headers, response.raw_content or b"", Source("live")
    )
    when = datetime.fromtimestamp(request.timestamp_start, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return ForeignInteraction(0, asked, answer, when)
