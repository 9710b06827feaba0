"""The same requests in every mode, by every way in: the mode decides who answers, and nothing else.

Offline is the yardstick. In `auto` and `online` a request that may be forwarded gets the mock upstream's
answer; every other one gets the very answer that it gets offline: error pages, limits, malformed requests.
"""

from __future__ import annotations

import re
import ssl
from typing import TYPE_CHECKING

import pytest

from server.test_server import MALFORMED, REQUESTS
from support.clients import Wire
from support.proxies import SEED, Inside, inside
from support.upstream import module_upstream, upstream_ca

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.upstream import LoopbackUpstream

__all__ = ["module_upstream", "upstream_ca"]

WAYS = ("connect", "socks", "reverse", "transparent")
IDENTITY = re.compile(rb"RQ[0-9a-f]{32}|(?:SM|CA|PN)[0-9a-f]{32}|Duration: [0-9.]+|Date: [^\r]*|date_[^}]*")
ANSWERS = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r]*\r\n(.*?)\r\n\r\n", re.DOTALL)
SOURCE = re.compile(rb"^Ringback-Source: (\w+)(?:; rule=([\w.-]+))?", re.MULTILINE)
# Forms that the contract refuses are forwarded too: the live API judges them itself.
JUDGED_BY_TWILIO = (b"form.malformed", b"form.type", b"form.coding")


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    directory = tmp_path_factory.mktemp("offline")
    with inside(directory, redirected_from=("192.0.2.1", 443), seed=SEED) as proxy:
        yield proxy


@pytest.fixture(scope="module", params=["auto", "online"])
def forwarding(
    request: pytest.FixtureRequest,
    module_upstream: LoopbackUpstream,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Inside]:
    directory = tmp_path_factory.mktemp("forwarding")
    options = {
        "mode": request.param,
        "upstream": module_upstream.url,
        "upstream_ca": str(module_upstream.ca),
        "cassettes": str(directory / "cassettes"),
    }
    with inside(directory, redirected_from=("192.0.2.1", 443), seed=SEED, **options) as proxy:
        yield proxy


def connection(proxy: Inside, way: str) -> Wire:
    """Open a TLS connection to api.twilio.com by `way`."""
    if way == "connect":
        return proxy.twilio()
    if way == "socks":
        wire = Wire(proxy.socks_port)
        wire.send(b"\x05\x01\x00\x05\x01\x00\x03\x0eapi.twilio.com" + (443).to_bytes(2))
        received = b""
        while len(received) < 12:
            received += wire.sock.recv(12 - len(received))
        assert received[:4] == b"\x05\x00\x05\x00"
        return wire.tls(proxy.ca)
    port = proxy.reverse_port if way == "reverse" else proxy.transparent_port
    assert port is not None
    return Wire(port).tls(proxy.ca)


def everything(proxy: Inside, way: str, data: bytes) -> bytes:
    with connection(proxy, way) as wire:
        return IDENTITY.sub(b"", wire.send(data).everything())


def sources(answers: bytes) -> list[bytes]:
    """Return who gave each answer: the gate by its rule, `twilio` for what the live API answers online."""
    found = []
    for _status, head in ANSWERS.findall(answers):
        source = SOURCE.search(head)
        assert source is not None
        kind, rule = source[1], source[2] or b""
        forwarded = kind in {b"live", b"cassette", b"contract"} or rule in JUDGED_BY_TWILIO
        found.append(b"twilio" if forwarded else rule)
    return found


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("data", REQUESTS.values(), ids=REQUESTS.keys())
def test_the_mode_decides_who_answers_and_nothing_else(
    offline: Inside, forwarding: Inside, data: bytes, way: str
) -> None:
    expected, got = everything(offline, way, data), everything(forwarding, way, data)
    assert sources(got) == sources(expected)
    crowded = b"more than 1000 fields" in expected  # a limit: refused in every mode, never forwarded
    if b"twilio" in sources(expected) and not crowded:
        assert b"Ringback-Source: live" in got or b"Ringback-Source: cassette" in got
        assert b"Ringback-Source: contract" not in got
    else:
        assert got == expected


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_not_http_gets_one_answer(offline: Inside, forwarding: Inside, data: bytes, way: str) -> None:
    expected = everything(offline, way, data)
    assert expected.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 403 ", b"HTTP/1.1 421 "))
    assert everything(forwarding, way, data) == expected


@pytest.mark.parametrize("alpn", [("h2", "http/1.1"), ("http/1.1",), ()])
def test_every_mode_negotiates_alike(forwarding: Inside, alpn: tuple[str, ...]) -> None:
    with forwarding.twilio(alpn=alpn) as wire:
        assert isinstance(wire.sock, ssl.SSLSocket)
        assert wire.sock.selected_alpn_protocol() == ("http/1.1" if alpn else None)


def test_no_mode_imports_mitmproxy_for_all_this(offline: Inside, forwarding: Inside) -> None:
    everything(forwarding, "connect", REQUESTS["message"])
    assert not offline.has_mitmproxy()
    assert not forwarding.has_mitmproxy()
