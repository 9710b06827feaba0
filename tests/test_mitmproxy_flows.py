from __future__ import annotations

import base64
import socket
import ssl
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from support.mitm import loaded, tflow, tutils

from ringback.mitmproxy_flows import Clients, is_own  # isort: skip - after mitmproxy's import without warnings
from mitmproxy import http  # isort: skip - as above
from mitmproxy.options import Options  # isort: skip - as above
from mitmproxy.proxy import context, layers  # isort: skip - as above
from ringback.contract import Answer, Names, Source, load  # isort: skip - as above
from ringback.mitmproxy_addon import RingbackAddon  # isort: skip - as above
from ringback.mitmproxy_flows import (
    RefusedLayer,
    WaitingLayer,
    inspect_first_bytes,
    plain_response,
    proxy_credentials,
    to_request,
    to_response,
)  # isort: skip - as above

from ringback.server.connection import tcp_quickack  # isort: skip - as above


if TYPE_CHECKING:
    from mitmproxy.proxy.layer import Layer

QUICKACK = getattr(socket, "TCP_QUICKACK", None)
needs_quickack = pytest.mark.skipif(QUICKACK is None, reason="this system has no TCP_QUICKACK")


@pytest.fixture
def clients() -> Clients:
    return Clients(load().is_twilio)


def test_a_tunnels_target_and_user_are_known_until_the_client_leaves(clients: Clients) -> None:
    flow = tflow.tflow()
    clients.opened(flow.client_conn, "api.twilio.com", 443, "first")
    assert clients.names(flow).connect == "api.twilio.com"
    assert clients.user(flow) == "first"
    clients.forget(flow.client_conn)
    assert clients.tunnel(flow.client_conn) is None
    assert clients.user(flow) is None


def test_a_tunnel_to_twilio_wants_twilio_whatever_host_is_named_inside(clients: Clients) -> None:
    flow = tflow.tflow()
    flow.request.headers["Host"] = "elsewhere.example"
    assert not clients.wants_twilio(flow)
    clients.opened(flow.client_conn, "api.twilio.com", 443, None)
    assert clients.wants_twilio(flow)
    assert not clients.wants_proxy(flow)


def test_who_asks_as_one_asks_a_server_means_the_proxy(clients: Clients) -> None:
    flow = tflow.tflow()
    flow.request.headers["Host"] = "elsewhere.example"
    assert not clients.wants_proxy(flow)
    clients.addressed_proxy(flow.client_conn.peername)
    assert clients.wants_proxy(flow)
    clients.forget(flow.client_conn)
    assert not clients.wants_proxy(flow)


@pytest.mark.parametrize("target, own", [("127.0.0.1", True), ("elsewhere.example", False)])
def test_a_target_elsewhere_is_not_the_proxy_whatever_the_host_field_says(
    clients: Clients, target: str, own: bool
) -> None:
    flow = tflow.tflow()
    port = flow.client_conn.sockname[1]
    flow.request.host, flow.request.port = target, port
    flow.request.headers["Host"] = f"127.0.0.1:{port}"
    assert clients.wants_proxy(flow) is own


def test_a_twilio_host_is_twilios_also_where_the_proxy_is_meant(clients: Clients) -> None:
    flow = tflow.tflow()
    flow.request.headers["Host"] = "api.twilio.com"
    clients.addressed_proxy(flow.client_conn.peername)
    assert clients.wants_twilio(flow)
    assert not clients.wants_proxy(flow)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "0", "[::ffff:127.0.0.1]"])
def test_its_own_address_in_every_spelling(host: str) -> None:
    client = tflow.tclient_conn()
    client.sockname = ("127.0.0.1", 4242)
    assert is_own(client, host, 4242)
    assert not is_own(client, host, 4243)


# -- requests and answers


def flow_of(
    host: str = "api.twilio.com",
    *,
    sni: str | None = None,
    fields: tuple[tuple[bytes, bytes], ...] | None = None,
    authority: bytes = b"",
) -> http.HTTPFlow:
    flow = tflow.tflow(
        req=tutils.treq(
            method=b"post",
            scheme=b"https",
            host=host,
            port=443,
            path=b"/a%20b?c=\xff",
            authority=authority,
            headers=http.Headers(((b"Host", host.encode()),) if fields is None else fields),
            content=b"\x00body",
        )
    )
    flow.client_conn.sni = sni
    return flow


def test_a_request_as_it_was_sent() -> None:
    fields = ((b"Host", b"api.twilio.com"), (b"X-A", b"1"), (b"x-a", b"\xff"))
    got = to_request(flow_of(fields=fields), Names("api.twilio.com"))
    assert (got.method, got.host, got.scheme, got.body) == ("POST", "api.twilio.com", "https", b"\x00body")
    assert got.target == "/a%20b?c=\udcff"
    assert got.headers == (("Host", "api.twilio.com"), ("X-A", "1"), ("x-a", "\udcff"))


def test_a_body_is_never_decoded() -> None:
    flow = flow_of(fields=((b"Host", b"h"), (b"Content-Encoding", b"gzip")))
    flow.request.raw_content = b"not gzip"
    assert to_request(flow, Names("h")).body == b"not gzip"


ANSWER = Answer(
    429, "TOO MANY REQUESTS", (("A", "1"), ("a", "\u00e9"), ("B", "\u4e2d")), b"x", Source("live")
)


def test_an_answer_with_its_provenance() -> None:
    response = to_response(replace(ANSWER, source=Source("gate", "r", "assumed", "why\r\nnot")))
    assert (response.status_code, response.reason, response.raw_content) == (429, "TOO MANY REQUESTS", b"x")
    assert response.headers.get_all("a") == ["1", "\udce9"]
    assert response.headers["B"] == "?"
    assert response.headers["Ringback-Source"] == "gate; rule=r; basis=assumed"
    assert response.headers["Ringback-Reason"] == "why??not"
    assert response.http_version == "HTTP/1.1"


def test_no_reason_no_header() -> None:
    assert "Ringback-Reason" not in to_response(ANSWER).headers


# -- TLS


def judged(data: bytes, kind: type[Layer] = layers.TCPLayer, greeting: bytes = b"") -> Any:
    where = context.Context(tflow.tclient_conn(), Options())
    asked: Any = SimpleNamespace(
        context=where, layer=kind(where), data_client=lambda: data, data_server=lambda: greeting, events=[]
    )
    inspect_first_bytes(asked)
    return asked.layer


def client_hello() -> bytes:
    outgoing = ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="api.twilio.com")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


@pytest.mark.parametrize("length", [1, 2])
def test_the_first_bytes_of_tls_are_waited_for(length: int) -> None:
    assert isinstance(judged(client_hello()[:length]), WaitingLayer)


@pytest.mark.parametrize("version", [b"\x03\x04", b"\x04\x00", b"\x02\x00"])
def test_tls_of_an_unknown_record_version_is_refused(version: bytes) -> None:
    assert isinstance(judged(b"\x16" + version + client_hello()[3:]), RefusedLayer)


def test_a_whole_client_hello_is_read_as_tls() -> None:
    assert isinstance(judged(client_hello()), layers.ServerTLSLayer)


@pytest.mark.parametrize(
    "data", [b"SSH-2.0-x\r\n", b"\x00\x01\x02", b"S\0", b"get a key\r\n", b"\x80\0\0\0", b"\r\n\r\n\0"]
)
def test_other_protocols_stay_what_they_are(data: bytes) -> None:
    assert isinstance(judged(data), layers.TCPLayer)


@pytest.mark.parametrize(
    "data", [b"S", b"p", b"POST /", b"post / HTTP/1.1\r\nhost: ", b"\r\n", b"\x80", b"\x80\x2e\1"]
)
def test_a_request_that_may_come_yet_is_waited_for(data: bytes) -> None:
    assert isinstance(judged(data), WaitingLayer)


@pytest.mark.parametrize("data", [b"\x15\3\1\0\2\1\0", b"\x17\3\3", b"\x80\x2e\1\3\1", b"\x16\3\1\0\1\2"])
def test_tls_that_hides_its_server_name_is_refused(data: bytes) -> None:
    assert isinstance(judged(data), RefusedLayer)


@pytest.mark.parametrize("begin", [b"", b"\r\n", b"\n\n"])
def test_a_request_of_any_form_is_read_as_one(begin: bytes) -> None:
    assert isinstance(judged(begin + b"post / HTTP/1.1\r\nHost: a\r\n\r\n"), layers.HttpLayer)


def test_a_client_that_a_server_greeted_is_left_alone() -> None:
    assert isinstance(judged(b"E", greeting=b"220 hello\r\n"), layers.TCPLayer)


# -- proxy credentials


@pytest.mark.parametrize(
    "pair, found",
    [
        ("name:x", ("name", "x")),
        ("name:", ("name", "")),
        (":x", ("", "x")),
        ("a:b:c", ("a", "b:c")),
        ("ü:x", ("ü", "x")),
    ],
)
def test_who_a_client_says_it_is(pair: str, found: tuple[str, str]) -> None:
    encoded = base64.b64encode(pair.encode()).decode()
    assert proxy_credentials(f"Basic {encoded}") == proxy_credentials(f"bAsIc {encoded}") == found


@pytest.mark.parametrize("said", ["", "Basic !", "Bearer eA=="])
def test_nobody(said: str) -> None:
    assert proxy_credentials(said) == (None, "")


def test_a_name_that_is_not_utf8_is_no_cassettes_name() -> None:
    assert proxy_credentials("Basic /zo=") == ("\ufffd", "")


def test_a_refused_tunnel_says_why() -> None:
    got = plain_response("403 Ringback blocks x")
    assert (got.status_code, got.content) == (403, b"Ringback blocks x\n")


@pytest.mark.parametrize("value", ["Basic \xff", "Basic !", "Basic \udcff", "Bearer eDp4", ""])
def test_what_is_no_credentials_is_nobodys(value: str) -> None:
    assert proxy_credentials(value) == (None, "")


# -- acknowledgements


class Recorder:
    """A socket that writes down what is set on it."""

    def __init__(self, error: OSError | None = None) -> None:
        self.seen: list[tuple[int, int, int]] = []
        self.error = error

    def setsockopt(self, level: int, name: int, value: int) -> None:
        self.seen.append((level, name, value))
        if self.error:
            raise self.error


@needs_quickack
def test_asks_for_an_acknowledgement_at_once() -> None:
    sock = Recorder()
    tcp_quickack(sock)
    assert sock.seen == [(socket.IPPROTO_TCP, QUICKACK, 1)]


def test_leaves_a_socket_alone_that_takes_no_such_option() -> None:
    tcp_quickack(Recorder(OSError("no such option")))
    tcp_quickack(None)


@needs_quickack
def test_acknowledges_each_request_head_on_the_clients_socket() -> None:
    sock = Recorder()
    addon = RingbackAddon()
    with loaded(addon) as context:
        flow = tflow.tflow()
        flow.live = True
        writer = SimpleNamespace(get_extra_info={"socket": sock}.get)
        handler = SimpleNamespace(transports={flow.client_conn: SimpleNamespace(writer=writer)})
        server = SimpleNamespace(name="proxyserver", connections={flow.client_conn.id: handler})
        context.master.addons.lookup["proxyserver"] = server
        addon.requestheaders(flow)
        addon.requestheaders(flow)
    assert sock.seen == [(socket.IPPROTO_TCP, QUICKACK, 1)] * 2
