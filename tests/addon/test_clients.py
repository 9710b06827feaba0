from __future__ import annotations

import pytest

from support.mitm import tflow

from ringback.addon.clients import Clients, is_own  # isort: skip - after mitmproxy's import without warnings
from ringback.contract import load  # isort: skip - as above


@pytest.fixture
def clients() -> Clients:
    return Clients(load().is_twilio)


def test_a_tunnels_target_and_user_are_known_until_the_client_leaves(clients: Clients) -> None:
    flow = tflow.tflow()
    clients.opened(flow.client_conn, ("api.twilio.com", 443), "first")
    assert clients.names(flow).connect == "api.twilio.com"
    assert clients.user(flow) == "first"
    clients.forget(flow.client_conn)
    assert clients.tunnel(flow.client_conn) is None
    assert clients.user(flow) is None


def test_a_tunnel_to_twilio_wants_twilio_whatever_host_is_named_inside(clients: Clients) -> None:
    flow = tflow.tflow()
    flow.request.headers["Host"] = "elsewhere.example"
    assert not clients.wants_twilio(flow)
    clients.opened(flow.client_conn, ("api.twilio.com", 443), None)
    assert clients.wants_twilio(flow)
    assert not clients.wants_proxy(flow)


def test_who_asks_as_one_asks_a_server_means_the_proxy(clients: Clients) -> None:
    flow = tflow.tflow()
    flow.request.headers["Host"] = "elsewhere.example"
    assert not clients.wants_proxy(flow)
    clients.meant(flow.client_conn.peername)
    assert clients.wants_proxy(flow)
    clients.forget(flow.client_conn)
    assert not clients.wants_proxy(flow)


def test_a_twilio_host_is_twilios_also_where_the_proxy_is_meant(clients: Clients) -> None:
    flow = tflow.tflow()
    flow.request.headers["Host"] = "api.twilio.com"
    clients.meant(flow.client_conn.peername)
    assert clients.wants_twilio(flow)
    assert not clients.wants_proxy(flow)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "0", "[::ffff:127.0.0.1]"])
def test_its_own_address_in_every_spelling(host: str) -> None:
    client = tflow.tclient_conn()
    client.sockname = ("127.0.0.1", 4242)
    assert is_own(client, host, 4242)
    assert not is_own(client, host, 4243)
