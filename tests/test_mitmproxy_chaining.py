"""Other hosts' connections go on through the proxy that was there before; tests/online shows the whole."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest
from mitmproxy.connection import ConnectionState
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import NextLayer
from mitmproxy.proxy.layers import TCPLayer
from mitmproxy.proxy.layers.http._upstream_proxy import HttpUpstreamProxy
from mitmproxy.proxy.mode_specs import ProxyMode

from ringback.mitmproxy_flows import authorize, chain_request, chain_tunnel
from ringback.upstream.routes import Address, Egress
from support.mitm import loaded, tflow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mitmproxy.http import HTTPFlow

    from support.mitm import taddons

PROXY = Address("http", "proxy.example", 3128, "user:p@ss")
EGRESS = Egress((("https", PROXY), ("http", PROXY)), no_proxy="internal.example")
NOWHERE = Egress()


@pytest.fixture
def options() -> Iterator[taddons.context]:
    with loaded() as context:
        yield context


def tunnel(options: taddons.context, host: str = "service.example", mode: str = "regular") -> NextLayer:
    client = tflow.tclient_conn()
    client.proxy_mode = ProxyMode.parse(mode)
    context = Context(client, options.options)
    context.server.address = (host, 443)
    data = NextLayer(context)
    data.layer = TCPLayer(context)
    return data


def test_a_tunnel_goes_through_the_proxy_and_holds_what_it_held(options: taddons.context) -> None:
    data = tunnel(options)
    held = data.layer
    chain_tunnel(data, EGRESS)
    assert data.context.server.via == ("http", ("proxy.example", 3128))
    assert isinstance(data.layer, HttpUpstreamProxy)
    assert data.layer.child_layer is held


def test_an_https_proxy_is_spoken_to_by_tls(options: taddons.context) -> None:
    data = tunnel(options)
    chain_tunnel(data, Egress((("https", Address("https", "proxy.example", 443)),)))
    assert data.context.server.via == ("https", ("proxy.example", 443))


@pytest.mark.parametrize("host", ["internal.example", "127.0.0.1", "localhost"])
def test_what_needs_no_proxy_has_none(options: taddons.context, host: str) -> None:
    data = tunnel(options, host)
    chain_tunnel(data, EGRESS)
    assert data.context.server.via is None
    assert isinstance(data.layer, TCPLayer)


def test_without_a_proxy_nothing_changes(options: taddons.context) -> None:
    data = tunnel(options)
    chain_tunnel(data, NOWHERE)
    assert data.context.server.via is None
    assert isinstance(data.layer, TCPLayer)


@pytest.mark.parametrize("why", ["upstream mode", "connected", "undecided", "no address", "has a way"])
def test_what_is_somebody_else_s_affair_is_left_alone(options: taddons.context, why: str) -> None:
    data = tunnel(options, mode="upstream:http://other.example:1" if why == "upstream mode" else "regular")
    server = data.context.server
    if why == "connected":
        server.state = ConnectionState.OPEN
    if why == "undecided":
        data.layer = None
    if why == "no address":
        server.address = None
    if why == "has a way":
        server.via = ("http", ("other.example", 1))
    before, via = data.layer, server.via
    chain_tunnel(data, EGRESS)
    assert (data.layer, server.via) == (before, via)


def flow(host: str = "service.example") -> HTTPFlow:
    made = tflow.tflow()
    made.request.host = host
    made.request.headers.pop("Proxy-Authorization", None)
    made.server_conn.via = None
    return made


def test_a_request_by_plain_http_goes_through_the_proxy() -> None:
    made, inside, known = flow(), flow("internal.example"), flow()
    known.server_conn.via = ("http", ("other.example", 1))
    for one in (made, inside, known):
        chain_request(one, EGRESS)
    assert (made.request.data.host, made.request.data.port) == ("proxy.example", 3128)
    assert made.request.authority == "service.example:22"
    assert made.request.headers["Proxy-Authorization"].startswith("Basic ")
    for one in (inside, known):
        assert one.request.authority != "service.example:22"
        assert "Proxy-Authorization" not in one.request.headers
    assert known.server_conn.via == ("http", ("other.example", 1))


def test_an_https_proxy_gets_a_tunnel_for_plain_http_too() -> None:
    made = flow()
    chain_request(made, Egress((("http", Address("https", "proxy.example", 443)),)))
    assert made.server_conn.via == ("https", ("proxy.example", 443))
    assert made.request.host == "service.example"


def test_upstream_mode_chains_by_itself() -> None:
    made = flow()
    made.client_conn.proxy_mode = ProxyMode.parse("upstream:http://other.example:1")
    chain_request(made, EGRESS)
    assert made.server_conn.via is None


def test_the_proxy_and_nobody_else_gets_its_password() -> None:
    asked, other = flow(), flow()
    asked.server_conn.address = ("proxy.example", 3128)
    other.server_conn.address = ("service.example", 80)
    for one in (asked, other):
        authorize(one, EGRESS)
    said = asked.request.headers["Proxy-Authorization"]
    assert base64.b64decode(said.removeprefix("Basic ")) == b"user:p@ss"
    assert "Proxy-Authorization" not in other.request.headers


def test_what_a_client_says_to_the_proxy_itself_stays() -> None:
    asked = flow()
    asked.server_conn.address = ("proxy.example", 3128)
    asked.request.headers["Proxy-Authorization"] = "Basic own"
    authorize(asked, EGRESS)
    assert asked.request.headers.get_all("Proxy-Authorization") == ["Basic own"]
