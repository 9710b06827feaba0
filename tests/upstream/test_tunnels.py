"""Tunnels to hosts that are not Twilio's: directly, and through a real egress proxy."""

from __future__ import annotations

import asyncio
import base64
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from ringback import settings
from ringback.launch.ca import ensure_authority
from ringback.server.run import ProxyConfig, serve
from ringback.upstream import client
from ringback.upstream.client import Dialer, UpstreamClient
from ringback.upstream.http1 import UpstreamError
from ringback.upstream.routes import Address, Egress, Timeouts, UpstreamRoute
from support.clients import GOOD, post
from support.egress import egress
from support.upstream import LoopbackUpstream, ThrowAway, loopback_upstream, upstream_ca

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator
    from pathlib import Path

__all__ = ["upstream_ca"]

HOST = "service.example"
GREETING = b"220 the server speaks first\r\n"


class Pump(asyncio.Protocol):
    """What the server sent, until it closes."""

    def __init__(self) -> None:
        self.received = b""
        self.closed = asyncio.get_running_loop().create_future()
        self.made = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.made += 1
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"hello, ")
        transport.write(b"echo\n")

    def data_received(self, data: bytes) -> None:
        assert self.made == 1
        self.received += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set_result(exc)


@asynccontextmanager
async def server(host: str = "127.0.0.1") -> AsyncIterator[int]:
    """A server that greets, gives one line back and closes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(GREETING)
        writer.write(await reader.readline())
        writer.close()

    running = await asyncio.start_server(serve, host, 0)
    async with running:
        yield running.sockets[0].getsockname()[1]


async def through(way: Egress, host: str, port: int, *, ca: Path | None = None, limit: float = 20) -> bytes:
    transport, pump = await Dialer(ca, limit).open_tunnel(Pump, host, port, way)
    async with asyncio.timeout(20):
        await pump.closed
    assert transport.is_closing()
    return pump.received


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


def failed(way: Egress, host: str = HOST, port: int = 443, *, ca: Path | None = None) -> tuple[str, str]:
    with pytest.raises(UpstreamError) as caught:
        asyncio.run(through(way, host, port, ca=ca, limit=2))
    return caught.value.rule, caught.value.detail


def proxied(port: int, *, userinfo: str | None = None, scheme: str = "http", no_proxy: str = "") -> Egress:
    host = "localhost" if scheme == "https" else "127.0.0.1"
    return Egress((("https", Address(scheme, host, port, userinfo)),), no_proxy)


@pytest.mark.parametrize(
    "host, named", [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("127.0.0.1", "localhost")]
)
def test_without_a_proxy_the_host_itself_is_dialled(host: str, named: str) -> None:
    if host == "::1" and not has_ipv6():
        pytest.skip("this machine has no IPv6 loopback")

    async def main() -> bytes:
        async with server(host) as port:
            return await through(Egress(), named, port)

    assert asyncio.run(main()) == GREETING + b"hello, echo\n"


def test_a_tunnel_goes_through_the_proxy_with_its_password() -> None:
    async def main() -> tuple[bytes, list[str]]:
        async with server() as port:
            wanted = "Basic " + base64.b64encode(b"user:p@ss").decode()
            with egress({f"{HOST}:443": port}, wanted) as way:
                received = await through(proxied(way.port, userinfo="user:p@ss"), HOST, 443)
                return received, way.seen

    assert asyncio.run(main()) == (GREETING + b"hello, echo\n", [f"{HOST}:443"])


def test_an_ipv6_address_has_brackets_in_the_connect_request() -> None:
    async def main() -> tuple[bytes, list[str]]:
        async with server() as port:
            with egress({"[2001:db8::1]:8443": port}) as way:
                return await through(proxied(way.port), "2001:db8::1", 8443), way.seen

    assert asyncio.run(main()) == (GREETING + b"hello, echo\n", ["[2001:db8::1]:8443"])


def test_hosts_that_no_proxy_names_are_dialled_directly() -> None:
    async def main() -> tuple[bytes, list[str]]:
        async with server() as port:
            with egress({}) as way:
                return await through(proxied(way.port, no_proxy="127.0.0.0/8"), "127.0.0.1", port), way.seen

    assert asyncio.run(main()) == (GREETING + b"hello, echo\n", [])


@asynccontextmanager
async def scripted_proxy(
    answer: bytes, *, tls: ssl.SSLContext | None = None, target: int = 0
) -> AsyncIterator[int]:
    """A proxy that answers CONNECT with these bytes, and then relays to the port `target` or closes."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(4096):
            writer.write(data)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        if target:
            there = await asyncio.open_connection("127.0.0.1", target)
            try:
                await asyncio.gather(pump(reader, there[1]), pump(there[0], writer), return_exceptions=True)
            except asyncio.CancelledError:  # the test is over
                writer.transport.abort()
                raise
            finally:
                there[1].transport.abort()
        writer.close()

    running = await asyncio.start_server(serve, "localhost", 0, ssl=tls, family=socket.AF_INET)
    async with running:
        yield running.sockets[0].getsockname()[1]


OK = b"HTTP/1.1 200 Connection established\r\n\r\n"


def test_a_proxy_that_is_spoken_to_by_tls(upstream_ca: ThrowAway) -> None:
    async def main(name: str) -> bytes:
        tls = upstream_ca.context((name,))
        async with server() as port, scripted_proxy(OK, tls=tls, target=port) as way:
            return await through(proxied(way, scheme="https"), HOST, 443, ca=upstream_ca.pem)

    assert asyncio.run(main("localhost")) == GREETING + b"hello, echo\n"
    with pytest.raises(UpstreamError, match="not trusted: Hostname mismatch"):
        asyncio.run(main("another"))


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_requests_share_a_connection_through_a_proxy(upstream_ca: ThrowAway, scheme: str) -> None:
    """With https:// the client's TLS runs inside the proxy's."""
    tls = upstream_ca.context(("localhost",)) if scheme == "https" else None

    async def main(upstream: LoopbackUpstream) -> list[int]:
        asking = UpstreamClient(upstream.ca, Timeouts(20, 20))
        async with scripted_proxy(OK, tls=tls, target=upstream.port) as way:
            host = "localhost" if scheme == "https" else "127.0.0.1"
            route = UpstreamRoute("api.twilio.com", 443, "api.twilio.com", Address(scheme, host, way))
            answers = [await asking.exchange(route, post("Messages", GOOD["Messages"])) for _ in range(3)]
            asking.close()
        return [one.status for one in answers]

    with loopback_upstream(upstream_ca) as upstream:
        assert asyncio.run(main(upstream)) == [201, 201, 201]
        assert len({one.port for one in upstream.seen}) == 1


def test_bytes_that_come_with_the_proxys_answer_are_not_lost() -> None:
    async def main() -> bytes:
        async with scripted_proxy(b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"early") as way:
            return await through(proxied(way), HOST, 443)

    assert asyncio.run(main()) == b"early"


def test_tunnels_of_a_proxy_share_its_trust_and_lose_no_early_bytes(
    upstream_ca: ThrowAway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An egress proxy by TLS: loading the roots takes longer than the handshake."""
    monkeypatch.setenv("SSL_CERT_FILE", str(upstream_ca.pem))
    made = []
    original = client.trust
    monkeypatch.setattr(client, "trust", lambda ca: made.append(ca) or original(ca))

    async def asked(port: int) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"CONNECT {HOST}:25 HTTP/1.1\r\n\r\n".encode())
        async with asyncio.timeout(60):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
            writer.write(b"line\n")
            got = await reader.read()
        writer.close()
        return got

    async def main() -> list[bytes]:
        tls = upstream_ca.context(("localhost",))
        async with server() as port, scripted_proxy(OK + b"early", tls=tls, target=port) as way:
            options = settings.load({"egress_proxy": f"https://localhost:{way}"}, {}, tmp_path)
            authority = ensure_authority(tmp_path)
            async with serve(ProxyConfig(options, authority.directory, silence=0.0)) as running:
                return [await asked(running.port) for _ in range(3)]

    assert asyncio.run(main()) == [b"early" + GREETING + b"line\n"] * 3
    assert made == [None]


@pytest.mark.parametrize(
    "answer, said",
    [
        (b"", "it gave no valid answer to CONNECT"),
        (b"HTTP/1.1 200 Conn", "it gave no valid answer to CONNECT"),
        (b"SSH-2.0-x\r\n\r\n", "it gave no valid answer to CONNECT"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000, "it gave no valid answer to CONNECT"),
        (b"HTTP/1.1 403 Not That Host\r\n\r\n", "it answered CONNECT with 403 Not That Host"),
        (b"HTTP/1.1 302 \r\nLocation: http://login.example\r\n\r\n", "it answered CONNECT with 302"),
    ],
)
def test_a_proxy_that_gives_no_tunnel_is_reported(answer: bytes, said: str) -> None:
    async def main() -> tuple[str, str]:
        async with scripted_proxy(answer) as way:
            with pytest.raises(UpstreamError) as caught:
                await through(proxied(way), HOST, 443)
            assert caught.value.detail == f"proxy http://127.0.0.1:{way}: {said}"
            return caught.value.rule, said

    assert asyncio.run(main()) == ("upstream.proxy", said)


def test_hosts_that_are_not_there_are_reported() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert failed(Egress(), "127.0.0.1", port)[0] == "upstream.connect"
    assert failed(proxied(port))[0] == "upstream.proxy"
    assert failed(Egress(), "x" * 70 + ".example") == ("upstream.dns", "x" * 70 + ".example is no host name")


def test_a_proxy_that_never_answers_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        egress_ = proxied(listener.getsockname()[1])
        assert failed(egress_) == ("upstream.timeout", "no connection within 2 seconds")
