"""TLS that ends here without a tunnel before it: a reverse listener answers as mitmproxy's flows would."""

from __future__ import annotations

import json
import ssl
from typing import TYPE_CHECKING

import pytest

from support.clients import GOOD, Wire, basic, http, path
from support.mitm import loaded  # noqa: F401 - imports mitmproxy with its dependencies' warnings off
from support.proxies import SEED, Inside, inside, mitmproxy, server

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["mitmproxy", "server"]

CLOSE = ("Connection", "close")
OWN = "/ringback/health"


def everything(proxy: Inside, data: bytes, sni: str | None = "api.twilio.com") -> bytes:
    with Wire(proxy.reverse_port or 0).tls(proxy.ca if sni else None, sni) as wire:
        return wire.send(data).everything()


def message(**more: str) -> bytes:
    return http(headers=(CLOSE,), form={**GOOD["Messages"], **more})


REQUESTS = {
    "message": message(),
    "magic error": message(To="+15005550001"),
    "another resource": http("GET", headers=(CLOSE,)),
    "no credentials": http(headers=(CLOSE,), form=GOOD["Messages"], authorized=False),
    "the listener's own address": http(host="127.0.0.1", headers=(CLOSE,), form=GOOD["Messages"]),
    "with its port": http(host="127.0.0.1:4011", headers=(CLOSE,), form=GOOD["Messages"]),
    "another host of Twilio's": http(host="verify.twilio.com", headers=(CLOSE,), form=GOOD["Messages"]),
    "a stranger's host": http(host="example.com", headers=(CLOSE,), form=GOOD["Messages"]),
    "two hosts": http(headers=(("Host", "example.com"), CLOSE), form=GOOD["Messages"]),
    "no host": message().replace(b"Host: api.twilio.com\r\n", b""),
    "another account": http(target=path(account="AC" + "9" * 32), headers=(CLOSE,), form=GOOD["Messages"]),
    "an api key": http(headers=(basic("SK" + "0" * 32), CLOSE), authorized=False),
    "pipelined": http(form=GOOD["Messages"]) + http("GET") + message(Body="last"),
    "the same twice": http(form=GOOD["Messages"]) + message(Body="other"),
    "nothing of the proxy's": http("GET", "/ringback/nothing", headers=(CLOSE,), authorized=False),
}


@pytest.mark.parametrize("data", REQUESTS.values(), ids=REQUESTS.keys())
def test_both_answer_alike(server: Inside, mitmproxy: Inside, data: bytes) -> None:
    got = everything(server, data)
    assert got.startswith(b"HTTP/1.1 ")
    assert got == everything(mitmproxy, data)


@pytest.mark.parametrize("name", ["api.ie1.twilio.com", "verify.twilio.com", "API.Twilio.com"])
def test_both_answer_alike_for_every_host_of_twilios(server: Inside, mitmproxy: Inside, name: str) -> None:
    data = http(host=name, headers=(CLOSE,), form=GOOD["Messages"])
    assert everything(server, data, name) == everything(mitmproxy, data, name)


def test_the_proxys_own_page_is_there_too(server: Inside, mitmproxy: Inside) -> None:
    told = []
    for proxy in (server, mitmproxy):
        got = everything(proxy, http("GET", OWN, headers=(CLOSE,), authorized=False))
        told.append(json.loads(got.partition(b"\r\n\r\n")[2]).keys())
    assert told[0] == told[1]


def test_what_tunnels_remember_is_no_matter_here(server: Inside, mitmproxy: Inside) -> None:
    # The same heads by CONNECT, where a connection has a target, and by name alone, where it has none.
    odd = http(host="127.0.0.1", form=GOOD["Messages"])
    answers = []
    for proxy in (server, mitmproxy):
        got = []
        for _ in range(4):
            with proxy.twilio() as wire:
                got.append(wire.send(odd).response().status)
            with Wire(proxy.reverse_port or 0).tls(proxy.ca, "api.twilio.com") as wire:
                got.append(wire.send(odd).response().status)
        answers.append(got)
    assert answers[0] == answers[1]
    assert answers[0] == [403, 201] * 4


@pytest.mark.parametrize("size", [1, 7, 300])
def test_a_handshake_in_pieces_is_answered(server: Inside, size: int) -> None:
    with Wire(server.reverse_port or 0) as wire:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.create_default_context(cafile=str(server.ca))
        tls = context.wrap_bio(incoming, outgoing, server_hostname="api.twilio.com")
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                out = outgoing.read()
                for at in range(0, len(out), size):
                    wire.sock.sendall(out[at : at + size])
                incoming.write(wire.sock.recv(65536))
        assert tls.version() == "TLSv1.3"


def test_plain_http_is_answered_and_http2_alone_is_mitmproxys(server: Inside) -> None:
    with Wire(server.reverse_port or 0) as wire:
        assert wire.send(http(host="127.0.0.1", form=GOOD["Messages"])).response().status == 201
    with Wire(server.reverse_port or 0).tls(server.ca, "api.twilio.com", ("h2",)) as wire:
        assert isinstance(wire.sock, ssl.SSLSocket)
        assert wire.sock.selected_alpn_protocol() == "h2"


def test_test_credentials_are_the_password_where_there_is_another(tmp_path: Path) -> None:
    names = {
        "RINGBACK_PROXY_PASSWORD": "s3cret",
        "RINGBACK_TEST_ACCOUNT_SID": "AC" + "5" * 32,
        "RINGBACK_TEST_AUTH_TOKEN": "t0ken-t0ken",
    }
    with inside(tmp_path, environment=names, seed=SEED) as proxy:
        got = everything(proxy, message())
    assert got.startswith(b"HTTP/1.1 401 ")
