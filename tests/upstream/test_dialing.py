"""Connections to the live API: what is dialled, what is verified, what is said when it fails."""

from __future__ import annotations

import asyncio
import base64
import socket
import ssl
from typing import TYPE_CHECKING

import pytest

from ringback.upstream.client import Dialer, handshaking, trust
from ringback.upstream.http1 import UpstreamError
from ringback.upstream.routes import Address, UpstreamRoute
from support.egress import egress
from support.upstream import LoopbackUpstream, ThrowAway, loopback_upstream, response, throw_away, upstream_ca

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["upstream_ca"]

HOST = "api.twilio.com"


@pytest.fixture(scope="module")
def server(upstream_ca: ThrowAway) -> Iterator[LoopbackUpstream]:
    with loopback_upstream(upstream_ca) as running:
        yield running


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    assert handshaking == set()


def asked(route: UpstreamRoute, ca: Path | None, timeout: float = 20) -> int:
    """Return the status of one exchange on a new connection along `route`."""

    async def main() -> int:
        connection = await Dialer(ca, timeout).open(route)
        answer = await connection.ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "GET", 20)
        connection.abort()
        return answer.status

    return asyncio.run(main())


def failed(route: UpstreamRoute, ca: Path | None, timeout: float = 20) -> tuple[str, str]:
    with pytest.raises(UpstreamError) as caught:
        asked(route, ca, timeout)
    assert str(caught.value) == f"{caught.value.rule}: {caught.value.detail}"
    return caught.value.rule, caught.value.detail


def test_tls_asks_for_and_verifies_the_name_and_not_the_address(server: LoopbackUpstream) -> None:
    route = UpstreamRoute("127.0.0.1", server.port, HOST)
    assert asked(route, server.ca) == 201
    assert server.seen[-1].server_name == HOST
    rule, detail = failed(UpstreamRoute("127.0.0.1", server.port, "other.twilio.com"), server.ca)
    assert rule == "upstream.tls"
    assert detail.startswith("its certificate is not trusted: Hostname mismatch")


def test_a_stand_in_without_tls(upstream_ca: ThrowAway) -> None:
    with loopback_upstream(upstream_ca, tls=False) as plain:
        assert asked(UpstreamRoute("127.0.0.1", plain.port, None), None) == 201


def test_only_the_roots_that_were_named_count(server: LoopbackUpstream, tmp_path: Path) -> None:
    route = UpstreamRoute("127.0.0.1", server.port, HOST)
    for ca in (None, throw_away(tmp_path).pem):
        rule, detail = failed(route, ca)
        assert rule == "upstream.tls"
        assert "certificate is not trusted" in detail


def test_an_expired_certificate_is_reported(upstream_ca: ThrowAway) -> None:
    with loopback_upstream(upstream_ca, expired=True) as old:
        assert failed(UpstreamRoute("127.0.0.1", old.port, HOST), old.ca) == (
            "upstream.tls",
            "its certificate is not trusted: certificate has expired",
        )


@pytest.mark.parametrize(
    "before, said", [("garbage", "wrong version number"), ("reset", "closed during the TLS handshake")]
)
def test_what_speaks_no_tls_is_reported(upstream_ca: ThrowAway, before: str, said: str) -> None:
    with loopback_upstream(upstream_ca) as odd:
        odd.before_tls = before
        rule, detail = failed(UpstreamRoute("127.0.0.1", odd.port, HOST), odd.ca)
        assert rule == "upstream.tls"
        assert said in detail


def test_nobody_is_waited_for_longer_than_was_said(upstream_ca: ThrowAway) -> None:
    with loopback_upstream(upstream_ca) as slow:
        slow.before_tls = "hang"
        route = UpstreamRoute("127.0.0.1", slow.port, HOST)
        assert failed(route, slow.ca, 0.1) == ("upstream.timeout", "no connection within 0.1 seconds")


def test_nobody_there(upstream_ca: ThrowAway) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert failed(UpstreamRoute("127.0.0.1", port, HOST), upstream_ca.pem) == (
        "upstream.connect",
        f"127.0.0.1 port {port}: Connection refused",
    )


def test_what_is_no_name_is_never_looked_up() -> None:
    name = "x" * 70 + ".twilio.com"
    assert failed(UpstreamRoute(name, 443, name), None) == ("upstream.dns", f"{name} is no host name")


def test_a_proxy_is_asked_for_the_host_and_not_for_the_address(server: LoopbackUpstream) -> None:
    with egress({f"{HOST}:443": server.port}) as way:
        route = UpstreamRoute(HOST, 443, HOST, Address("http", "127.0.0.1", way.port))
        assert asked(route, server.ca) == 201
        assert way.seen == [f"{HOST}:443"]


def test_a_proxy_gets_its_user_and_password_and_no_error_shows_them(server: LoopbackUpstream) -> None:
    wanted = "Basic " + base64.b64encode(b"user:p@ss").decode()
    with egress({f"{HOST}:443": server.port}, wanted) as way:
        good, bad = (Address("http", "127.0.0.1", way.port, f"user:{token}") for token in ("p@ss", "wrong"))
        assert asked(UpstreamRoute(HOST, 443, HOST, good), server.ca) == 201
        assert failed(UpstreamRoute(HOST, 443, HOST, bad), server.ca) == (
            "upstream.proxy",
            f"proxy http://127.0.0.1:{way.port}: it answered CONNECT with 407 Who are you",
        )


def test_a_proxy_that_is_not_there_or_is_none_is_reported_with_its_address(
    server: LoopbackUpstream, upstream_ca: ThrowAway
) -> None:
    with egress({}) as way:
        address = Address("http", "127.0.0.1", way.port)
    rule, detail = failed(UpstreamRoute(HOST, 443, HOST, address), server.ca)
    assert (rule, detail.startswith(f"proxy {address}: ")) == ("upstream.proxy", True)
    assert detail.endswith("Connection refused")
    with loopback_upstream(upstream_ca) as odd:
        odd.before_tls = "garbage"
        route = UpstreamRoute(HOST, 443, HOST, Address("http", "127.0.0.1", odd.port))
        rule, detail = failed(route, server.ca)
        assert (rule, detail.endswith("it gave no valid answer to CONNECT")) == ("upstream.proxy", True)


def test_an_address_of_version_6_has_brackets_in_what_a_proxy_is_asked(server: LoopbackUpstream) -> None:
    with egress({"[::1]:443": server.port}) as way:
        route = UpstreamRoute("::1", 443, HOST, Address("http", "127.0.0.1", way.port))
        assert asked(route, server.ca) == 201


def test_a_proxy_that_is_spoken_to_by_tls_is_verified_under_its_own_name(upstream_ca: ThrowAway) -> None:
    with loopback_upstream(upstream_ca, names=("localhost",)) as secure:
        secure.rule = lambda _: response(403, reason="No")
        address = Address("https", "localhost", secure.port)
        rule, detail = failed(UpstreamRoute(HOST, 443, HOST, address), upstream_ca.pem)
        assert (rule, detail) == ("upstream.proxy", f"proxy {address}: it answered CONNECT with 403 No")
        assert secure.seen[-1].line == f"CONNECT {HOST}:443 HTTP/1.1"
        route = UpstreamRoute(HOST, 443, HOST, Address("https", "127.0.0.1", secure.port))
        assert "not trusted" in failed(route, upstream_ca.pem)[1]


def test_what_can_be_trusted(upstream_ca: ThrowAway, tmp_path: Path) -> None:
    assert trust(upstream_ca.pem).cert_store_stats()["x509_ca"] == 1
    assert trust(None).verify_mode == ssl.CERT_REQUIRED
    with pytest.raises(FileNotFoundError):
        trust(tmp_path / "none.pem")
    (tmp_path / "empty.pem").write_text("no certificate")
    with pytest.raises(OSError, match=r"\w"):
        trust(tmp_path / "empty.pem")
