"""Connections to the live API: the name, the egress proxy and TLS, within one limit of time."""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import certifi
import h11

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from ringback.addon.routes import Address, Route

Streams: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]

_CHUNK: Final = 64 * 1024
# Own addresses of connections in their handshake: a listener of this process must not be what they found.
dialled: Final[set[Any]] = set()


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
class Timeouts:
    """How long is waited, in seconds.

    Attributes:
        connect: For the name, the connection, the egress proxy and TLS together.
        answer: From the request's first byte to the answer's last.
    """

    connect: float = 10.0
    answer: float = 30.0


class Dialer:
    """Opens connections.

    Args:
        ca: A PEM file of roots that takes the place of the system's, or None.
        patience: Seconds for one connection.
    """

    def __init__(self, ca: Path | None, patience: float) -> None:
        self._ca = ca
        self._patience = patience
        self._context: ssl.SSLContext | None = None

    async def open(self, route: Route) -> Streams:
        """A new connection along `route`, ready for a request.

        Raises:
            UpstreamError: There is none.
        """
        try:
            async with asyncio.timeout(self._patience):
                return await self._dial(route)
        except TimeoutError:
            raise UpstreamError(
                "upstream.timeout", f"no connection within {self._patience:g} seconds"
            ) from None

    async def _dial(self, route: Route) -> Streams:
        if route.proxy is None:
            reader, writer = await _connect(route.host, route.port)
        else:
            reader, writer = await self._tunnel(route, route.proxy)
        if route.server_name is not None:
            own = writer.get_extra_info("sockname")
            dialled.add(own)
            try:
                async with _aborted_on_failure(writer):
                    await _start_tls(writer, self._tls(), route.server_name)
            finally:
                dialled.discard(own)
        return reader, writer

    async def _tunnel(self, route: Route, proxy: Address) -> Streams:
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


def tls_detail(error: ssl.SSLError) -> str:
    """What went wrong with TLS, in OpenSSL's words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    return (error.reason or "TLS failed").replace("_", " ").lower()


async def _connect(host: str, port: int) -> Streams:
    try:
        # One address after the other: asyncio's parallel way fails under mitmproxy 12's eager tasks.
        return await asyncio.open_connection(host, port)
    except socket.gaierror as error:
        raise UpstreamError("upstream.dns", f"{host}: {error.strerror}") from None
    except UnicodeError:  # no name that a resolver can be asked for
        raise UpstreamError("upstream.dns", f"{host} is no host name") from None
    except OSError as error:
        said = os.strerror(error.errno) if error.errno else str(error)
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
