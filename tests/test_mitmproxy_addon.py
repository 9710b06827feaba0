"""The addon: by mitmproxy's own test helpers where one event is enough, else against a running proxy."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import socket
import ssl
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import h2.events
import httpx
import pytest
from h2.connection import H2Connection
from mitmproxy import connection, http
from mitmproxy.proxy import context as proxy_context
from mitmproxy.proxy.mode_specs import ProxyMode
from mitmproxy.proxy.server_hooks import ServerConnectionHookData

from ringback import mitmproxy_flows
from ringback.contract import Credentials, Source
from ringback.mitmproxy_addon import RingbackAddon
from ringback.settings import Settings
from support.clients import ACCOUNT, GOOD, TOKEN, Wire, basic, path
from support.clients import http as raw
from support.mitm import loaded, tflow, tutils
from support.proxying import serve
from support.servers import BLOCK, elsewhere

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.proxying import Serving
    from support.servers import Elsewhere

HOST = "api.twilio.com"
FINE = raw(form=GOOD["Messages"])
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


@pytest.fixture
def addon() -> Iterator[RingbackAddon]:
    found = RingbackAddon()
    with loaded(found):
        yield found


def flow_of(**request: Any) -> http.HTTPFlow:
    host = request.pop("host", HOST)
    given = {
        "method": b"POST",
        "scheme": b"https",
        "host": host,
        "port": 443,
        "path": path().encode(),
        "headers": http.Headers([(b"Host", host.encode()), *_fields(basic())]),
        "content": b"From=%2B15005550006&To=%2B14108675309&Body=x",
    }
    flow = tflow.tflow(req=tutils.treq(**{**given, **request}))
    flow.client_conn.sni = None
    return flow


def _fields(*pairs: tuple[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in pairs]


# -- single events


def test_a_flow_shows_its_verdict(addon: RingbackAddon) -> None:
    flow = flow_of()
    addon.request(flow)
    assert flow.response is not None
    assert flow.response.status_code == 201
    assert flow.response.headers["Ringback-Source"].startswith("contract; rule=Messages.from.valid; ")
    assert flow.marked == ":ballot_box_with_check:"
    assert flow.comment == flow.response.headers["Ringback-Source"]
    assert isinstance(flow.metadata["ringback"], Source)


def test_a_refused_flow_shows_its_reason(addon: RingbackAddon) -> None:
    flow = flow_of(path=path("Recordings").encode())
    addon.request(flow)
    assert flow.response is not None
    assert flow.response.status_code == 403
    assert flow.marked == ":heavy_multiplication_x:"
    assert flow.comment.endswith(flow.response.headers["Ringback-Reason"])


@pytest.mark.parametrize("state", ["answered", "failed", "replayed"])
def test_what_is_settled_already_is_left_alone(addon: RingbackAddon, state: str) -> None:
    flow = flow_of()
    if state == "answered":
        flow.response = http.Response.make(418)
    elif state == "failed":
        flow.error = tflow.terr()
    else:
        flow.live = False
    before = flow.response
    addon.request(flow)
    assert flow.response is before
    assert flow.marked == ""
    assert addon.responder.tally.total == 0


def test_other_hosts_are_left_alone(addon: RingbackAddon) -> None:
    flow = flow_of(host="api.example.com")
    addon.requestheaders(flow)
    addon.request(flow)
    assert flow.response is None
    assert flow.request.stream is True
    assert flow.marked == ""


def test_a_failure_of_ours_is_an_answer_too(
    addon: RingbackAddon, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a secret detail")

    monkeypatch.setattr(addon.responder, "admit", fail)
    flow = flow_of()
    addon.request(flow)
    assert flow.response is not None
    assert flow.response.status_code == 400
    body = json.loads(flow.response.content or b"")
    assert (body["code"], body["status"]) == (20001, 400)
    assert "a secret detail" not in str(flow.response.headers) + str(body)
    assert "Ringback failed on POST" in caplog.text


@pytest.mark.parametrize(
    "host, sni",
    [
        ("api.twilio.com", None),
        ("API.Twilio.com.", None),
        ("api.dublin.ie1.twilio.com", None),
        ("lookups.twilio.com", None),
        ("twilio.com", None),
        ("a_b.twilio.com", None),
        ("api\u3002twilio\u3002com", None),
        ("\uff41pi.twilio.com", None),
        ("127.0.0.9", "api.twilio.com"),
        ("203.0.113.7", "API.TWILIO.COM"),
    ],
)
def test_no_connection_to_twilio_is_ever_opened(addon: RingbackAddon, host: str, sni: str | None) -> None:
    data = connecting(host, sni)
    addon.server_connect(data)
    assert data.server.error


@pytest.mark.parametrize(
    "host", ["api.example.com", "127.0.0.1", "eviltwilio.com", "api.twilio.com.evil.example"]
)
def test_other_connections_are(addon: RingbackAddon, host: str) -> None:
    data = connecting(host, None)
    addon.server_connect(data)
    assert data.server.error is None


def connecting(host: str, sni: str | None) -> ServerConnectionHookData:
    server = connection.Server(address=(host, 443))
    server.sni = sni
    return ServerConnectionHookData(server, tflow.tclient_conn())


@pytest.mark.parametrize(
    "address, sni, ours",
    [
        ("api.twilio.com", "api.twilio.com", True),
        ("api.twilio.com", None, True),
        ("api.twilio.com", "evil.example", True),
        ("127.0.0.9", "api.twilio.com", True),
        ("API.TWILIO.COM", None, True),
        ("example.com", "example.com", False),
        ("127.0.0.9", None, False),
    ],
)
def test_tls_is_taken_apart_for_twilio_alone(
    addon: RingbackAddon, address: str, sni: str | None, ours: bool
) -> None:
    from mitmproxy import tls  # noqa: PLC0415 - for this test alone

    class Hello:
        pass

    hello = Hello()
    hello.sni = sni  # type: ignore[attr-defined] - stands in for mitmproxy's ClientHello
    layers = proxy_context.Context(tflow.tclient_conn(), addon_options())
    layers.server.address = (address, 443)
    data = tls.ClientHelloData(layers, hello)  # type: ignore[arg-type] - as above
    addon.tls_clienthello(data)
    assert data.ignore_connection is not ours


def addon_options() -> Any:
    from mitmproxy import ctx  # noqa: PLC0415 - only there while mitmproxy is loaded

    return ctx.options


# -- a running proxy: Twilio's hosts


def client(serving: Serving, **more: Any) -> httpx.Client:
    trusted = ssl.create_default_context(cafile=str(serving.ca))
    return httpx.Client(proxy=serving.url, verify=trusted, trust_env=False, timeout=20, **more)


METHODS = [
    ("POST", path(), 201),
    ("POST", path(extension=""), 201),
    ("GET", path(), 403),
    ("HEAD", path(), 403),
    ("OPTIONS", path(), 403),
    ("DELETE", path("Messages/SM" + "0" * 32), 403),
    ("GET", "/", 403),
]


@pytest.mark.parametrize("method, target, status", METHODS)
def test_every_method_again_and_again(serving: Serving, method: str, target: str, status: int) -> None:
    with client(serving, http2=True) as session:  # takes whichever the proxy chooses
        for _ in range(2):
            data = GOOD["Messages"] if method == "POST" else None
            got = session.request(method, f"https://{HOST}{target}", data=data, headers=[basic()])
            assert got.status_code == status
            assert (got.content == b"") == (method == "HEAD")
            assert got.headers["Ringback-Source"]


@pytest.mark.parametrize("method, target, status", METHODS)
def test_every_method_by_http2_alone(serving: Serving, method: str, target: str, status: int) -> None:
    with serving.twilio(alpn=("h2",)) as wire:
        link = H2Connection()
        link.initiate_connection()
        for _ in range(2):
            got, body = by_http2(wire, link, method, target)
            assert got[":status"] == str(status)
            assert (body == b"") == (method == "HEAD")
            assert got["ringback-source"]


def by_http2(wire: Wire, link: H2Connection, method: str, target: str) -> tuple[dict[str, str], bytes]:
    """One exchange: header fields and body of the answer."""
    stream = link.get_next_available_stream_id()
    sent = urlencode(GOOD["Messages"]).encode() if method == "POST" else b""
    fields = [(":method", method), (":scheme", "https"), (":authority", HOST), (":path", target)]
    fields += [("authorization", basic()[1]), ("content-type", "application/x-www-form-urlencoded")]
    link.send_headers(stream, fields, end_stream=not sent)
    if sent:
        link.send_data(stream, sent, end_stream=True)
    wire.send(link.data_to_send())
    headers: dict[str, str] = {}
    body = b""
    while chunk := wire.sock.recv(65536):
        for event in link.receive_data(chunk):
            if isinstance(event, h2.events.ResponseReceived):
                headers = {_text(name): _text(value) for name, value in event.headers}
            elif isinstance(event, h2.events.DataReceived):
                body += event.data
            elif isinstance(event, h2.events.StreamEnded):
                wire.send(link.data_to_send())
                return headers, body
        wire.send(link.data_to_send())
    raise AssertionError("the connection ended without an answer")


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


@pytest.mark.parametrize("host", ["api.twilio.com", "api.ie1.twilio.com", "api.dublin.ie1.twilio.com"])
def test_every_region_has_a_certificate_that_clients_take(serving: Serving, host: str) -> None:
    with client(serving) as session:
        got = session.post(f"https://{host}{path()}", data=GOOD["Messages"], auth=(ACCOUNT, "x"))
    assert got.status_code == 201
    assert got.json()["account_sid"] == ACCOUNT


def test_another_host_of_twilios_is_forbidden(serving: Serving) -> None:
    with client(serving) as session:
        got = session.get("https://lookups.twilio.com/v2/PhoneNumbers/+14108675309", auth=(ACCOUNT, "x"))
    assert (got.status_code, got.json()["code"]) == (403, 20008)


def test_plain_http_to_twilio_is_answered_too(serving: Serving) -> None:
    with client(serving) as session:
        got = session.post(f"http://{HOST}{path()}", data=GOOD["Messages"], auth=(ACCOUNT, "x"))
    assert got.status_code == 201


@pytest.mark.parametrize("url", [f"https://{HOST}:8443{path()}", f"http://{HOST}:8080{path()}"])
def test_twilio_has_no_other_port(serving: Serving, url: str) -> None:
    with client(serving) as session:
        got = session.post(url, data=GOOD["Messages"], auth=(ACCOUNT, "x"))
    assert got.status_code == 403
    assert "rule=host.port" in got.headers["Ringback-Source"]


@pytest.mark.parametrize(
    "target, name",
    [
        ("127.0.0.9:443", "api.twilio.com"),
        ("api.twilio.com:443", "lookups.twilio.com"),
        ("api.ie1.twilio.com:443", "api.twilio.com"),
        ("api.twilio.com:443", "elsewhere.example"),
    ],
)
def test_connect_and_handshake_must_name_one_host(serving: Serving, target: str, name: str) -> None:
    with serving.wire() as wire:
        got = wire.tunnel(target).tls(None, name).send(FINE).response()
    assert (got.status, got.error()["code"]) == (403, 20008)
    assert "rule=host.mismatch" in (got.header("Ringback-Source") or "")


def test_without_a_name_in_the_handshake_the_tunnel_names_the_host(serving: Serving) -> None:
    with serving.wire() as wire:
        assert wire.tunnel().tls(None, None).send(FINE).response().status == 201


@pytest.mark.parametrize("spelling", ["API.TWILIO.COM:443", "Api.Twilio.Com.:443"])
def test_the_tunnels_spelling_does_not_matter(serving: Serving, spelling: str) -> None:
    with serving.wire() as wire:
        assert wire.tunnel(spelling).tls(None).send(FINE).response().status == 201


@pytest.mark.parametrize(
    "target, said",
    [
        (f"http://{HOST}{path()}", "evil.example"),
        (f"http://evil.example{path()}", HOST),
        (f"http://{HOST}{path()}", "lookups.twilio.com"),
    ],
)
def test_an_absolute_target_with_another_host_is_refused(serving: Serving, target: str, said: str) -> None:
    with serving.wire() as wire:
        got = wire.send(raw(target=target, host=said, form=GOOD["Messages"])).response()
    assert (got.status, got.error()["code"]) == (403, 20008)


@pytest.mark.parametrize("target", ["api.twilio.com:443", "lookups.twilio.com:443"])
def test_the_reply_to_connect_is_bare(serving: Serving, target: str) -> None:
    with serving.wire() as wire:
        assert wire.tunnel(target).connect_reply == ESTABLISHED


def test_the_reply_to_connect_is_bare_for_other_hosts_too(serving: Serving, plain: Elsewhere) -> None:
    with serving.wire() as wire:
        assert wire.tunnel(f"127.0.0.1:{plain.port}").connect_reply == ESTABLISHED


@pytest.mark.parametrize("sent", [b"\x00\x01raw bytes", b"EHLO\r\n"])
def test_bytes_that_are_no_tls_never_reach_twilio(serving: Serving, sent: bytes) -> None:
    with serving.wire() as wire:
        got = wire.tunnel().send(sent).response()
    assert (got.status, got.error()["code"]) == (400, 20001)


def test_a_real_from_is_reported_why(serving: Serving) -> None:
    got = serving.ask(raw(form={**GOOD["Messages"], "From": "+14108675309"}))
    assert got.error()["code"] == 21606
    assert "+15005550006" in (got.header("Ringback-Reason") or "")


# -- other hosts


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Elsewhere]:
    with elsewhere(tmp_path_factory.mktemp("elsewhere")) as running:
        yield running


@pytest.fixture(scope="module")
def plain() -> Iterator[Elsewhere]:
    with elsewhere() as running:
        yield running


def test_another_hosts_tls_is_its_own(serving: Serving, secure: Elsewhere) -> None:
    assert secure.certificate is not None
    with serving.wire() as wire:
        wire.tunnel(f"localhost:{secure.port}").tls(secure.certificate, "localhost")
        sock = wire.sock
        assert isinstance(sock, ssl.SSLSocket)
        own = ssl.PEM_cert_to_DER_cert(secure.certificate.read_text())
        assert sock.getpeercert(binary_form=True) == own
        got = wire.send(raw("GET", "/there", host="localhost", authorized=False)).response()
    assert (got.status, got.body) == (200, b"elsewhere")
    assert got.header("Ringback-Source") is None


def test_another_hosts_tunnel_carries_any_bytes(serving: Serving) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, serving.wire() as wire:
        wire.tunnel(f"127.0.0.1:{server.getsockname()[1]}")
        wire.send(b"\x00\xffnot http\r\n\r\n")
        far, _ = server.accept()
        with far:
            assert far.recv(100) == b"\x00\xffnot http\r\n\r\n"
            far.sendall(b"\x01\x02 back")
            assert wire.sock.recv(100) == b"\x01\x02 back"


@pytest.mark.parametrize("method, body", [("GET", b""), ("POST", b"a=%zz\0\xff")])
def test_plain_http_to_another_host_passes(
    serving: Serving, plain: Elsewhere, method: str, body: bytes
) -> None:
    target = f"http://127.0.0.1:{plain.port}/x?y=%zz"
    host = f"127.0.0.1:{plain.port}"
    with serving.wire() as wire:
        got = wire.send(raw(method, target, body, host=host, authorized=False)).response()
    assert (got.status, got.body) == (200, b"elsewhere" + body)
    assert got.header("Ringback-Source") is None
    assert plain.seen[-1] == f"{method} /x?y=%zz HTTP/1.1"
    assert plain.bodies[-1] == body


def test_a_download_by_plain_http_is_unchanged_and_not_held_back(serving: Serving, plain: Elsewhere) -> None:
    megabytes = 20
    link = HTTPConnection("127.0.0.1", serving.port, timeout=30)
    link.request("GET", f"http://127.0.0.1:{plain.port}/big/{megabytes}")
    got = link.getresponse()
    digest = hashlib.sha256()
    while chunk := got.read(1 << 16):
        digest.update(chunk)
    link.close()
    wanted = hashlib.sha256()
    for _ in range(megabytes):
        wanted.update(BLOCK)
    assert digest.hexdigest() == wanted.hexdigest()


def test_an_upload_by_plain_http_is_unchanged(serving: Serving, plain: Elsewhere) -> None:
    body = BLOCK * 12
    link = HTTPConnection("127.0.0.1", serving.port, timeout=30)
    link.request("POST", f"http://127.0.0.1:{plain.port}/up", body)
    got = link.getresponse()
    assert got.status == 200
    assert len(got.read()) == len(body) + 9
    link.close()
    assert plain.bodies[-1] == body


def test_another_host_that_cannot_be_reached_is_the_proxys_502(serving: Serving) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with serving.wire() as wire:
        got = wire.send(raw("GET", f"http://127.0.0.1:{port}/", host=f"127.0.0.1:{port}")).response()
    assert got.status == 502


# -- the proxy itself


@pytest.mark.parametrize("host", ["127.0.0.1:{}", "localhost:{}", "LOCALHOST.:{}"])
def test_its_health(serving: Serving, host: str) -> None:
    with serving.wire() as wire:
        got = wire.send(raw("GET", "/ringback/health", host=host.format(serving.port))).response()
    state = got.json()
    assert got.status == 200
    assert (state["status"], state["mode"], state["version"]) == ("ok", "offline", serving.ready["version"])
    assert {"answered", "by_source", "refused"} <= set(state)


@pytest.mark.parametrize(
    "method, target", [("GET", "/"), ("POST", path()), ("GET", "/ringback"), ("HEAD", "/")]
)
def test_whatever_else_it_is_asked_for_itself_is_not_found(
    serving: Serving, method: str, target: str
) -> None:
    with serving.wire() as wire:
        data = raw(method, target, host=f"127.0.0.1:{serving.port}")
        got = wire.send(data).response(head=method == "HEAD")
    assert got.status == 404
    if method != "HEAD":
        assert got.error()["code"] == 20404
        assert "use it as an HTTPS proxy" in (got.header("Ringback-Reason") or "")


@pytest.mark.parametrize("host", ["127.0.0.1:{}", "localhost:{}"])
def test_it_does_not_tunnel_to_itself(serving: Serving, host: str) -> None:
    with serving.wire() as wire:
        reply = wire.tunnel(host.format(serving.port)).connect_reply
    assert reply.startswith(b"HTTP/1.1 404 ")


# A request that is none for a proxy, and names a host: nobody else is asked, least of all the proxy itself.


@pytest.mark.parametrize(
    "host",
    [
        "127.1:{}",
        "0:{}",
        "[::ffff:127.0.0.1]:{}",
        "elsewhere.example:{}",
        "127.0.0.1",
        "elsewhere.example",
    ],
)
def test_an_origin_request_is_never_forwarded(serving: Serving, host: str) -> None:
    with serving.wire() as wire:
        got = wire.send(raw("GET", "/there", host=host.format(serving.port), authorized=False)).response()
    assert got.status == 404
    assert got.error()["code"] == 20404


@pytest.mark.parametrize("host", ["127.1:{}", "0:{}"])
def test_another_spelling_of_itself_makes_no_circle(serving: Serving, host: str) -> None:
    name = host.format(serving.port)
    with serving.wire() as wire:
        got = wire.send(raw("GET", f"http://{name}/there", host=name, authorized=False)).response()
    assert 400 <= got.status < 600
    assert got.status != 200


def test_a_hosts_entry_may_lead_here(serving: Serving) -> None:
    with serving.wire() as wire:
        data = raw(host=f"{HOST}:{serving.port}", form=GOOD["Messages"])
        assert wire.send(data).response().status == 201


# -- options of a running proxy


@pytest.fixture(scope="module")
def guarded(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    more = {"RINGBACK_PROXY_PASSWORD": "open-sesame"}
    with serve(home, tmp_path_factory.mktemp("guarded"), more=more) as running:
        yield running
    assert "open-sesame" not in running.stderr()


def test_with_a_password_it_listens_anywhere(home: Path, tmp_path: Path) -> None:
    more = {"RINGBACK_PROXY_PASSWORD": "x"}
    with serve(home, tmp_path, "--host", "0.0.0.0", more=more) as running, Wire(running.port) as wire:
        assert wire.tunnel().connect_reply.startswith(b"HTTP/1.1 407 ")


def credentials(password: str | None) -> bytes:
    if password is None:
        return b""
    pair = base64.b64encode(f"name:{password}".encode())
    return b"Proxy-Authorization: Basic " + pair + b"\r\n"


@pytest.mark.parametrize("target", ["api.twilio.com:443", "elsewhere.example:443", "127.0.0.1:1"])
@pytest.mark.parametrize("password", [None, "", "wrong", "open-sesame2"])
def test_a_tunnel_wants_the_password(guarded: Serving, password: str | None, target: str) -> None:
    with Wire(guarded.port) as wire:
        reply = wire.tunnel(target, credentials(password)).connect_reply
    assert reply.startswith(b"HTTP/1.1 407 ")
    assert b'Proxy-Authenticate: Basic realm="Ringback"' in reply


def test_with_the_password_it_is_a_proxy(guarded: Serving, plain: Elsewhere) -> None:
    with Wire(guarded.port) as wire:
        wire.tunnel(more=credentials("open-sesame")).tls(guarded.ca)
        assert wire.connect_reply == ESTABLISHED
        assert wire.send(FINE).response().status == 201
        assert wire.send(FINE).response().status == 201
    host = f"127.0.0.1:{plain.port}"
    pair = credentials("open-sesame").decode().strip().split(": ")
    with Wire(guarded.port) as wire:
        data = raw("GET", f"http://{host}/", host=host, headers=[(pair[0], pair[1])], authorized=False)
        assert wire.send(data).response().status == 200
    assert "Proxy-Authorization" not in plain.headers[-1], "the password stays here"


@pytest.mark.parametrize("target", [f"http://{HOST}{path()}", "http://elsewhere.example/"])
def test_plain_requests_want_the_password_too(guarded: Serving, target: str) -> None:
    with Wire(guarded.port) as wire:
        got = wire.send(raw("GET", target, host=f"127.0.0.1:{guarded.port}")).response()
    assert got.status == 407


def test_socks_is_no_way_around_the_password(guarded: Serving, secure: Elsewhere) -> None:
    if guarded.ready["socks"] is None:
        return
    before = len(secure.seen)
    with Wire(guarded.ready["socks"]) as wire:
        wire.send(b"\x05\x01\x00").sock.recv(2)
        wire.send(b"\x05\x01\x00\x03\x09localhost" + secure.port.to_bytes(2)).sock.recv(10)
        with contextlib.suppress(OSError):
            wire.tls(secure.certificate, "localhost")
            wire.send(raw("GET", "/around", host="localhost")).answer_or_end()
    assert len(secure.seen) == before


def test_broken_proxy_credentials_are_none(guarded: Serving) -> None:
    for value in (b"Basic !!!", b"Basic /w==", b"Bearer x", b"Basic", b"Basic \xff", b"Basic \xc3\xbc"):
        # A length makes the head unusual, so that mitmproxy is the one who reads it.
        for more in (b"", b"Content-Length: 0\r\n"):
            with Wire(guarded.port) as wire:
                reply = wire.tunnel(more=more + b"Proxy-Authorization: " + value + b"\r\n").connect_reply
            assert reply.startswith(b"HTTP/1.1 407 "), value
        with Wire(guarded.port) as wire:
            data = b"GET http://elsewhere.example/ HTTP/1.1\r\nHost: elsewhere.example\r\n"
            got = wire.send(data + b"Proxy-Authorization: " + value + b"\r\n\r\n").response()
        assert got.status == 407, value


@pytest.fixture(scope="module")
def strict(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serve(home, tmp_path_factory.mktemp("strict"), "--block-other-hosts") as running:
        yield running


def test_other_hosts_can_be_blocked(strict: Serving, plain: Elsewhere, secure: Elsewhere) -> None:
    before = len(plain.seen), len(secure.seen)
    with Wire(strict.port) as wire:
        reply = wire.tunnel(f"127.0.0.1:{secure.port}").connect_reply
    assert reply.startswith(b"HTTP/1.1 403 ")
    host = f"127.0.0.1:{plain.port}"
    with Wire(strict.port) as wire:
        got = wire.send(raw("GET", f"http://{host}/", host=host)).response()
    assert got.status == 403
    assert b"--block-other-hosts" in got.body
    assert (len(plain.seen), len(secure.seen)) == before
    assert strict.ask(FINE).status == 201
    assert strict.health()["mode"] == "offline"


def test_other_hosts_are_blocked_by_socks_too(strict: Serving, secure: Elsewhere) -> None:
    before = len(secure.seen)
    with Wire(strict.ready["socks"]) as wire:
        wire.send(b"\x05\x01\x00").sock.recv(2)
        wire.send(b"\x05\x01\x00\x03\x09localhost" + secure.port.to_bytes(2)).sock.recv(10)
        with contextlib.suppress(OSError):
            wire.tls(secure.certificate, "localhost")
            wire.send(raw("GET", "/around", host="localhost")).answer_or_end()
    with socket.create_server(("127.0.0.1", 0)) as server, Wire(strict.ready["socks"]) as wire:
        port = server.getsockname()[1]
        wire.send(b"\x05\x01\x00").sock.recv(2)
        wire.send(b"\x05\x01\x00\x01\x7f\x00\x00\x01" + port.to_bytes(2)).sock.recv(10)
        with contextlib.suppress(OSError):
            wire.send(b"no TLS at all\n").sock.recv(10)
        server.settimeout(0.0)
        with pytest.raises(BlockingIOError):
            server.accept()
    assert len(secure.seen) == before


# -- listeners of mitmproxy's own for clients that know of no proxy


OUTSIDE = ("192.0.2.77", 40000)
ANYBODY, KNOWN = Settings(), Settings(credentials=Credentials(ACCOUNT, TOKEN))


def asking(mode: str, peer: tuple[str, int], *, tls: bool = True) -> http.HTTPFlow:
    flow = tflow.tflow()
    flow.client_conn.proxy_mode = ProxyMode.parse(mode)
    flow.client_conn.peername = peer
    flow.client_conn.timestamp_tls_setup = 1.0 if tls else None
    # As mitmproxy has it in both cases: it is the API's.
    flow.request.scheme, flow.request.host_header = "https", HOST
    return flow


@pytest.mark.parametrize(
    "mode, peer, settings, said",
    [
        ("reverse:https://api.twilio.com", OUTSIDE, ANYBODY, "open to other machines at 192.0.2.77"),
        ("reverse:https://api.twilio.com", OUTSIDE, KNOWN, None),
        ("reverse:https://api.twilio.com", ("127.0.0.1", 40000), ANYBODY, None),
        (
            "reverse:https://api.twilio.com",
            ("127.0.0.1", 40000),
            Settings(password="x"),
            "a way around the proxy password",
        ),
        ("transparent", OUTSIDE, KNOWN, "192.0.2.77 is another machine"),
        ("transparent", ("127.0.0.1", 40000), ANYBODY, None),
    ],
)
def test_a_client_that_may_not_ask_is_not_taken(
    mode: str, peer: tuple[str, int], settings: Settings, said: str | None
) -> None:
    """Also where a program of mitmproxy's opened the listener."""
    addon = RingbackAddon()
    addon.settings = settings
    client = asking(mode, peer).client_conn
    addon.client_connected(client)
    assert client.error is None if said is None else said in (client.error or "")


@pytest.mark.parametrize("tls, status", [(False, 403), (True, None)])
def test_credentials_come_from_outside_by_tls_alone(
    tls: bool, status: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        mitmproxy_flows, "client_socket", lambda _: None
    )  # as for a flow that has no connection
    addon = RingbackAddon()
    flow = asking("reverse:https://api.twilio.com", OUTSIDE, tls=tls)
    addon.requestheaders(flow)
    assert (flow.response.status_code if flow.response else None) == status


@pytest.mark.parametrize("blocked", [False, True])
def test_other_hosts_of_redirected_connections_can_be_blocked(blocked: bool) -> None:
    addon = RingbackAddon()
    addon.settings = Settings(block_other_hosts=blocked)
    flow = asking("transparent", OUTSIDE)
    flow.server_conn.address = ("192.0.2.1", 443)
    addon.server_connect(ServerConnectionHookData(flow.server_conn, flow.client_conn))
    assert (flow.server_conn.error is not None) is blocked
