"""The server against mitmproxy with the addon: byte for byte the same, apart from the list at the end."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import socket
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import certifi
import h2.connection
import h2.events
import pytest
import requests

from ringback.contract.form import MAX_BODY
from support.clients import ACCOUNT, FORM_TYPE, GOOD, Wire, basic, http, path
from support.proxies import PROGRAMS, SEED, Inside, inside, mitmproxy, server

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["mitmproxy", "server"]

_IDENTITY = re.compile(rb"RQ[0-9a-f]{32}|Duration: [0-9.]+|Date: [^\r]*")
CLOSE = ("Connection", "close")


def message(*headers: tuple[str, str], **more: str) -> bytes:
    return http(headers=(*headers, CLOSE), form={**GOOD["Messages"], **more})


def chunked(*chunks: bytes, trailers: bytes = b"") -> bytes:
    head = http(headers=(("Transfer-Encoding", "chunked"), CLOSE))
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return head + body + b"0\r\n" + trailers + b"\r\n"


FORM = b"From=%2B15005550006&To=%2B14108675309&Body=hello"
REQUESTS = {
    "message": message(Body="one"),
    "xml": http(target=path(extension=""), headers=(CLOSE,), form=GOOD["Messages"]),
    "call": http(target=path("Calls"), headers=(CLOSE,), form=GOOD["Calls"]),
    "number": http(target=path("IncomingPhoneNumbers"), headers=(CLOSE,), form=GOOD["IncomingPhoneNumbers"]),
    "magic error": message(To="+15005550001"),
    "queue full": message(From="+15005550008"),
    "error in xml": http(target=path(extension=".xml"), headers=(CLOSE,), form={"From": "1"}),
    "no body at all": http(headers=(CLOSE,)),
    "unicode": message(Body="Grüße ☎ \N{PILE OF POO}"),
    "latin-1 header": message(("X-Note", "Gr\xfc\xdfe")),
    "get": http("GET", headers=(CLOSE,)),
    "head": http("HEAD", headers=(CLOSE,)),
    "delete": http("DELETE", headers=(CLOSE,)),
    "options": http("OPTIONS", "*", headers=(CLOSE,)),
    "query": http(target=path() + "?To=1&x=%20y#z", headers=(CLOSE,), form=GOOD["Messages"]),
    "another resource": http(target=f"/2010-04-01/Accounts/{ACCOUNT}/Queues.json", headers=(CLOSE,)),
    "another account": http(target=path(account="AC" + "9" * 32), headers=(CLOSE,)),
    "no credentials": http(headers=(CLOSE,), form=GOOD["Messages"], authorized=False),
    "bad credentials": http(headers=(("Authorization", "Basic !"), CLOSE), authorized=False),
    "api key": http(headers=(basic("SK" + "0" * 32), CLOSE), authorized=False),
    "json body": http(body=b"{}", headers=(("Content-Type", "application/json"), CLOSE)),
    "gzip body": http(body=b"x", headers=(("Content-Encoding", "gzip"), CLOSE)),
    "broken escape": http(body=b"Body=%zz", headers=(CLOSE,)),
    "nul in the form": http(body=b"Body=%00", headers=(CLOSE,)),
    "not utf-8": http(body=b"Body=\xff", headers=(CLOSE,)),
    "another host": http(host="lookups.twilio.com", headers=(CLOSE,)),
    "a stranger's host": http(host="example.com", headers=(CLOSE,)),
    "host with port": http(host="api.twilio.com:443", headers=(CLOSE,), form=GOOD["Messages"]),
    "host in capitals": http(host="API.Twilio.COM.", headers=(CLOSE,), form=GOOD["Messages"]),
    "two hosts": http(headers=(("Host", "example.com"), CLOSE), form=GOOD["Messages"]),
    "absolute target": http(
        target="https://api.twilio.com" + path(), headers=(CLOSE,), form=GOOD["Messages"]
    ),
    "absolute, stranger": http(
        target="https://example.com" + path(), headers=(CLOSE,), form=GOOD["Messages"]
    ),
    "upgrade": http("GET", headers=(("Upgrade", "websocket"), ("Connection", "Upgrade, close"))),
    "chunked": chunked(FORM[:20], FORM[20:]),
    "chunked, many": chunked(*[FORM[at : at + 1] for at in range(len(FORM))]),
    "too large": http(body=b"a" * (1024 * 1024 + 1), headers=(CLOSE,)),
    "too large, chunked": chunked(*[b"a" * 65536] * 17),
    "too large, no credentials": http(body=b"a" * 2_000_000, headers=(CLOSE,), authorized=False),
    "exactly at the limit": http(body=b"Body=" + b"a" * (1024 * 1024 - 5), headers=(CLOSE,)),
    "space after the host": http(host="api.twilio.com \t", headers=(CLOSE,), form=GOOD["Messages"]),
    "space after a value": message(("X-Note", "a \t")),
    "what follows the last": message() + b"junk",
    "a request after the last": message() + message(Body="unasked"),
    "large head": message(*[(f"X-Filler-{number}", "x" * 1000) for number in range(40)]),
    "many fields": http(body=b"&".join([b"a=b"] * 1001), headers=(CLOSE,)),
    "pipelined": http(form=GOOD["Messages"]) + http("GET") + message(Body="last"),
    "1.0": message().replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"Connection: close\r\n", b""),
    "no host": message().replace(b"Host: api.twilio.com\r\n", b""),
    "no length": b"POST "
    + path().encode()
    + b"?none HTTP/1.1\r\nHost: api.twilio.com\r\nConnection: close\r\n\r\n",
}


@pytest.mark.parametrize("data", REQUESTS.values(), ids=REQUESTS.keys())
def test_both_answer_alike(server: Inside, mitmproxy: Inside, data: bytes) -> None:
    got = server.everything(data)
    assert got.startswith(b"HTTP/1.1 ")
    assert b"\r\nRingback-Source: " in got
    expected = mitmproxy.everything(data)
    if len(data) > MAX_BODY:
        # A body that is not kept is not part of the seed.
        got, expected = _IDENTITY.sub(b"", got), _IDENTITY.sub(b"", expected)
    assert got == expected


@pytest.mark.parametrize("name", ["api.twilio.com", "api.dublin.ie1.twilio.com", "verify.twilio.com"])
def test_both_answer_alike_for_every_host_of_twilios(server: Inside, mitmproxy: Inside, name: str) -> None:
    data = http(host=name, headers=(CLOSE,), form=GOOD["Messages"])
    assert server.everything(data, name) == mitmproxy.everything(data, name)


@pytest.mark.parametrize(
    "target,sni,host",
    [
        ("api.twilio.com:8443", "api.twilio.com", "api.twilio.com:8443"),
        ("API.twilio.com.:443", "api.twilio.com", "api.twilio.com"),
        ("api.twilio.com:443", "verify.twilio.com", "api.twilio.com"),
        ("api.twilio.com:443", "example.com", "api.twilio.com"),
        ("api.twilio.com:443", None, "api.twilio.com"),
        ("127.0.0.9:443", "api.twilio.com", "api.twilio.com"),
        ("api.twilio.com:443", "api.twilio.com", "verify.twilio.com"),
    ],
)
def test_both_compare_the_same_names(
    server: Inside, mitmproxy: Inside, target: str, sni: str | None, host: str
) -> None:
    form = {**GOOD["Messages"], "Body": f"{target} {sni} {host}"}
    got = []
    for proxy in (server, mitmproxy):
        with proxy.wire().tunnel(target).tls(None, sni) as wire:
            replied = wire.connect_reply
            data = http(host=host, headers=(CLOSE,), form=form)
            got.append((replied, wire.send(data).everything()))
    assert got[0] == got[1]
    assert got[0][1].startswith(b"HTTP/1.1 ")


@pytest.mark.parametrize("alpn", [("h2",), ("h2", "http/1.1"), ("http/1.1",), ()])
def test_both_negotiate(server: Inside, mitmproxy: Inside, alpn: tuple[str, ...]) -> None:
    chosen = []
    for proxy in (server, mitmproxy):
        with proxy.twilio(alpn=alpn) as wire:
            assert isinstance(wire.sock, ssl.SSLSocket)
            chosen.append(wire.sock.selected_alpn_protocol())
    if alpn == ("h2", "http/1.1"):
        # HTTP/2 is for those who know nothing else: the server speaks HTTP/1 and is sooner.
        assert chosen == ["http/1.1", "h2"]
    else:
        assert chosen[0] == chosen[1]


def test_a_client_that_speaks_http2_alone_is_answered_by_mitmproxy(tmp_path: Path) -> None:
    with inside(tmp_path) as server:
        assert not server.has_mitmproxy()
        assert server.everything(message()).startswith(b"HTTP/1.1 201 ")
        assert not server.has_mitmproxy()
        by_http2(server)
        assert server.has_mitmproxy()
        assert server.everything(message()).startswith(b"HTTP/1.1 201 "), "others go on"


def by_http2(server: Inside) -> None:
    with server.twilio(alpn=("h2",)) as wire:
        client = h2.connection.H2Connection()
        client.initiate_connection()
        headers = [
            (":method", "POST"),
            (":scheme", "https"),
            (":authority", "api.twilio.com"),
            (":path", path()),
        ]
        headers += [(name.lower(), value) for name, value in (basic(), FORM_TYPE)]
        client.send_headers(1, headers)
        client.send_data(1, FORM, end_stream=True)
        answered: list[h2.events.Event] = []
        while not any(isinstance(event, h2.events.StreamEnded) for event in answered):
            wire.sock.sendall(client.data_to_send())
            answered += client.receive_data(wire.sock.recv(65536))
    (got,) = [event for event in answered if isinstance(event, h2.events.ResponseReceived)]
    assert (b":status", b"201") in got.headers


def test_plain_http_inside_a_tunnel_is_answered(server: Inside, mitmproxy: Inside) -> None:
    got = []
    for proxy in (server, mitmproxy):
        with proxy.wire().tunnel("api.twilio.com:80") as wire:
            got.append((wire.connect_reply, wire.send(message(Body="plain")).everything()))
    assert got[0] == got[1]
    assert got[0][1].startswith(b"HTTP/1.1 201 ")


def test_plain_http_by_proxy_and_the_proxys_own_page_are_answered(server: Inside) -> None:
    with server.wire() as wire:
        got = wire.send(http(target="http://api.twilio.com" + path(), form=GOOD["Messages"])).response()
        assert got.status == 201
    with server.wire() as wire:
        got = wire.send(http("GET", "/ringback/health", host=f"127.0.0.1:{server.port}")).response()
        assert got.json()["status"] == "ok"


@pytest.mark.parametrize("size", [1, 7])
def test_a_connection_that_comes_in_pieces_is_answered(server: Inside, size: int) -> None:
    with server.wire() as wire:
        connect = b"CONNECT api.twilio.com:443 HTTP/1.1\r\nHost: api.twilio.com:443\r\n\r\n"
        for at in range(0, len(connect), size):
            wire.send(connect[at : at + size])
        reply = b""
        while not reply.endswith(b"\r\n\r\n"):
            reply += wire.sock.recv(1)
        assert reply == b"HTTP/1.1 200 Connection established\r\n\r\n"
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.create_default_context(cafile=str(server.ca))
        tls = context.wrap_bio(incoming, outgoing, server_hostname="api.twilio.com")
        data, done = message(), False
        answer = b""
        while True:
            try:
                if not done:
                    tls.do_handshake()
                    done = True
                    for at in range(0, len(data), size):
                        tls.write(data[at : at + size])
                while chunk := tls.read(65536):
                    answer += chunk
                break
            except ssl.SSLWantReadError:
                out = outgoing.read()
                for at in range(0, len(out), size):
                    wire.sock.sendall(out[at : at + size])
                chunk = wire.sock.recv(65536)
                if not chunk:
                    break
                incoming.write(chunk)
    assert answer.startswith(b"HTTP/1.1 201 CREATED\r\n")


def test_a_hello_sent_without_waiting_for_the_reply_is_answered(server: Inside, mitmproxy: Inside) -> None:
    got = []
    for proxy in (server, mitmproxy):
        with proxy.wire() as wire:
            # The request line and the first bytes of something else in one segment.
            connect = b"CONNECT api.twilio.com:80 HTTP/1.1\r\nHost: api.twilio.com\r\n\r\n"
            got.append(wire.send(connect + message(Body="at once")).everything())
    assert got[0] == got[1]
    assert b"HTTP/1.1 201 " in got[0]


@pytest.mark.parametrize(
    "opening, status",
    [
        (b"CONNECT\r\n\r\n", 400),
        (b"CONNECT api.twilio.com HTTP/1.1\r\n\r\n", 400),
        (b"CONNECT api.twilio.com:0 HTTP/1.1\r\n\r\n", 400),
        (b"CONNECT api.twilio.com:70000 HTTP/1.1\r\n\r\n", 400),
        (b"CONNECT api.twilio.com:443 HTTP/2.0\r\n\r\n", 400),
        (b"CONNECT [::1:443 HTTP/1.1\r\n\r\n", 400),
        (b"CONNECT api.twilio.com:443 HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"CONNECT api.twilio.com:443 HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", 400),
        (b"CONNECT api.twilio.com:443 HTTP/1.1\r\nX: " + b"x" * 20_000, 431),
        (b"GET / HTTP/1.1\r\n\r\n", 404),
        (b"connect api.twilio.com:443 HTTP/1.1\r\n\r\n", 400),
        (b"\x00\x01 garbage\r\n\r\n", 400),
    ],
)
def test_an_unusual_opening_gets_an_answer(server: Inside, opening: bytes, status: int) -> None:
    with server.wire() as wire:
        assert wire.send(opening).response().status == status


@pytest.mark.parametrize(
    "head",
    [
        b"CONNECT api.twilio.com:443 HTTP/1.0\r\n\r\n",
        b"CONNECT api.twilio.com:443 HTTP/1.1\nHost: api.twilio.com\n\n",
        b"CONNECT api.twilio.com:443 HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_connect_in_every_usual_form_is_a_tunnel(server: Inside, head: bytes) -> None:
    with server.wire() as wire:
        reply = b""
        wire.send(head)
        while not reply.endswith(b"\r\n\r\n"):
            reply += wire.sock.recv(1) or pytest.fail(f"the connection ended after {reply!r}")
        assert reply == b"HTTP/1.1 200 Connection established\r\n\r\n"
        assert wire.tls(server.ca).send(message()).response().status == 201


def socks(proxy: Inside, host: str, port: int = 443) -> Wire:
    wire = Wire(proxy.socks_port)
    wire.send(b"\x05\x01\x00")
    assert wire.sock.recv(2) == b"\x05\x00"
    wire.send(b"\x05\x01\x00\x03" + bytes([len(host)]) + host.encode() + port.to_bytes(2))
    assert wire.sock.recv(10) == b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"
    return wire


def test_socks_is_answered_alike(server: Inside, mitmproxy: Inside) -> None:
    got = []
    for proxy in (server, mitmproxy):
        with socks(proxy, "api.twilio.com").tls(proxy.ca) as wire:
            got.append(wire.send(message(Body="socks")).everything())
        with socks(proxy, "127.0.0.9").tls(None, "api.twilio.com") as wire:
            got.append(wire.send(message(Body="socks")).everything())
    assert got[:2] == got[2:]
    assert got[0].startswith(b"HTTP/1.1 201 ")
    assert got[1].startswith(b"HTTP/1.1 403 ")


def test_other_hosts_are_tunnelled_untouched(server: Inside) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with server.wire().tunnel(f"127.0.0.1:{port}") as wire:
            wire.send(b"\x00 nothing like TLS")
            there, _ = other.accept()
            with there:
                assert there.recv(100) == b"\x00 nothing like TLS"
                there.sendall(b"and back")
                assert wire.sock.recv(100) == b"and back"


def test_a_silent_client_of_another_host_hears_that_host_first(tmp_path: Path) -> None:
    """As with SMTP and SSH, where the server speaks first."""
    with inside(tmp_path, silence=0.0) as proxy, socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(60)
        port = other.getsockname()[1]
        for wire in (proxy.wire().tunnel(f"127.0.0.1:{port}"), socks(proxy, "127.0.0.1", port)):
            with wire:
                there, _ = other.accept()
                with there:
                    there.sendall(b"220 ready")
                    assert wire.sock.recv(100) == b"220 ready"
                    wire.send(b"EHLO")
                    assert there.recv(100) == b"EHLO"


def test_another_host_is_dialled_only_for_words_that_are_not_for_twilio(tmp_path: Path) -> None:
    with inside(tmp_path, silence=3600.0) as proxy, socket.create_server(("127.0.0.1", 0)) as other:
        target = f"127.0.0.1:{other.getsockname()[1]}"
        with proxy.wire().tunnel(target).tls(None, "api.twilio.com") as wire:
            assert wire.send(message()).response().status == 403
        other.settimeout(0)
        with pytest.raises(BlockingIOError):
            other.accept()
        other.settimeout(60)
        with proxy.wire().tunnel(target) as wire:
            wire.send(b"\x00first")
            there, _ = other.accept()
            with there:
                assert there.recv(100) == b"\x00first"


def test_an_answer_to_an_absolute_form_is_the_last_of_its_connection(server: Inside) -> None:
    own = f"http://127.0.0.1:{server.port}/ringback/"
    for data in (
        http(target="http://api.twilio.com" + path(), form=GOOD["Messages"]),
        http("GET", own, host=f"127.0.0.1:{server.port}", authorized=False),
    ):
        with server.wire() as wire:
            answer = wire.send(data + data).response()
            assert answer.status in {200, 201}
            assert answer.headers[-1] == CLOSE
            assert wire.everything() == b""


def test_a_client_by_plain_http_reaches_twilio_and_other_hosts_in_turn(server: Inside) -> None:
    """One kept connection to the proxy serves all hosts of plain HTTP."""
    with plain_server(b"another host") as port, requests.Session() as client:
        client.trust_env = False
        client.proxies = {"http": f"http://127.0.0.1:{server.port}"}
        for _ in range(2):
            url = "http://api.twilio.com" + path()
            answer = client.post(url, GOOD["Messages"], auth=(ACCOUNT, "token"), timeout=60)
            assert answer.status_code == 201, answer.text
            assert client.get(f"http://127.0.0.1:{port}/", timeout=60).content == b"another host"


@contextlib.contextmanager
def plain_server(body: bytes) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running.server_address[1]
        running.shutdown()


def test_a_second_connection_resumes_the_session_of_the_first(server: Inside) -> None:
    context = ssl.create_default_context(cafile=str(server.ca))
    session = None
    reused = []
    for _ in range(2):
        with server.wire().tunnel() as wire:
            tls = context.wrap_socket(wire.sock, server_hostname="api.twilio.com", session=session)
            wire.sock = tls
            assert wire.send(http(form=GOOD["Messages"])).response().status == 201
            session = tls.session
            reused.append(tls.session_reused)
    assert reused == [False, True]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_resumed_session_does_not_keep_the_name_of_the_first(
    server: Inside, version: ssl.TLSVersion
) -> None:
    context = ssl.create_default_context(cafile=str(server.ca))
    context.check_hostname = False
    context.minimum_version = context.maximum_version = version
    session, got, reused = None, [], []
    for name in ("api.twilio.com", "api.twilio.com", "evil.example"):
        with server.wire().tunnel() as wire:
            tls = context.wrap_socket(wire.sock, server_hostname=name, session=session)
            wire.sock = tls
            answer = wire.send(http(form=GOOD["Messages"])).response()
            got.append((answer.status, "host.mismatch" in (answer.header("Ringback-Source") or "")))
            session = tls.session
            reused.append(tls.session_reused)
    assert got == [(201, False), (201, False), (403, True)]
    assert reused[1]


def test_a_client_that_does_not_trust_the_ca_is_counted(tmp_path: Path) -> None:
    for program in PROGRAMS:
        (tmp_path / program).mkdir()
        with inside(tmp_path / program, program=program) as proxy:
            with proxy.wire().tunnel() as wire, pytest.raises(ssl.SSLCertVerificationError):
                wire.tls(Path(certifi.where()), "api.twilio.com")
            with contextlib.suppress(OSError), proxy.wire().tunnel() as wire:
                wire.send(b"\x16\x03\x01\x00\x05hello").finish().everything()  # no TLS, and no opinion
            asked = http("GET", "/ringback/health", host=f"127.0.0.1:{proxy.port}")
            with proxy.wire() as wire:
                health = json.loads(wire.send(asked).response().body)
            assert health["distrusted"] == 1


def test_a_client_that_leaves_without_a_word_is_counted(tmp_path: Path) -> None:
    for program in PROGRAMS:
        (tmp_path / program).mkdir()
        with inside(tmp_path / program, program=program) as proxy:
            with proxy.twilio():
                pass  # as a client does that looks at the certificate after the handshake
            with proxy.twilio() as wire:
                assert wire.send(message()).everything()
            with proxy.wire().tunnel() as wire, pytest.raises(ssl.SSLCertVerificationError):
                wire.tls(Path(certifi.where()), "api.twilio.com")
            asked = http("GET", "/ringback/health", host=f"127.0.0.1:{proxy.port}")
            with proxy.wire() as wire:
                health = wire.send(asked).response().json()
            assert (health["silent"], health["distrusted"], health["answered"]) == (1, 1, 1)


def test_a_tunnel_wants_the_password(tmp_path: Path) -> None:
    password = {"RINGBACK_PROXY_PASSWORD": "s3cret"}
    with inside(tmp_path, environment=password, reverse=None, seed=SEED) as proxy:
        for password, expected in (("s3cret", b"HTTP/1.1 200 "), ("wrong", b"HTTP/1.1 407 ")):
            given = base64.b64encode(f"name:{password}".encode())
            with proxy.wire().tunnel(more=b"Proxy-Authorization: Basic " + given + b"\r\n") as wire:
                assert wire.connect_reply.startswith(expected)
        with proxy.wire().tunnel() as wire:
            assert wire.connect_reply.startswith(b"HTTP/1.1 407 ")


# -- what mitmproxy leaves open: here it must at least be Twilio-shaped, or a clean end

MALFORMED = {
    "no version": b"POST /\r\n\r\n",
    "garbage": b"\x00\x01\x02garbage\r\n\r\n",
    "nul in a header": http(headers=(("X-Note", "a\0b"),)),
    "space before the colon": b"POST / HTTP/1.1\r\nHost : api.twilio.com\r\n\r\n",
    "no colon": b"POST / HTTP/1.1\r\nHost\r\n\r\n",
    "two lengths": http(headers=(("Content-Length", "1"), ("Content-Length", "2")), body=b"aa"),
    "length and chunks": http(headers=(("Content-Length", "1"), ("Transfer-Encoding", "chunked"))),
    "negative length": http(headers=(("Content-Length", "-1"),)),
    "length is no number": http(headers=(("Content-Length", "many"),)),
    "bad chunk": http(headers=(("Transfer-Encoding", "chunked"),)) + b"zz\r\n",
    "no such method": b"BREW / HTTP/1.1\r\nHost: api.twilio.com\r\n\r\n",
    "a scheme of its own": http(target="ftp://api.twilio.com" + path()),
    "chunks in http/1.0": http(headers=(("Transfer-Encoding", "chunked"),)).replace(b"/1.1", b"/1.0"),
    "target is no url": b"POST api.twilio.com HTTP/1.1\r\nHost: api.twilio.com\r\n\r\n",
    "http/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_not_http_is_refused_in_twilios_shape(server: Inside, data: bytes) -> None:
    with server.twilio() as wire:
        got = wire.send(data).response()
        assert got.status in {400, 403}
        assert got.error()["code"] == {400: 20001, 403: 20008}[got.status]
        assert wire.everything() == b""


def test_an_empty_line_before_a_request_is_ignored(server: Inside) -> None:
    assert server.everything(b"\r\n" + message(Body="after")).startswith(b"HTTP/1.1 201 ")


def test_an_endless_head_is_refused_before_it_ends(server: Inside) -> None:
    with server.twilio() as wire:
        head = b"POST / HTTP/1.1\r\nHost: api.twilio.com\r\nX-Endless: "
        got = wire.send(head + b"x" * 200_000).response()
    assert (got.status, got.error()["code"]) == (431, 20001)


def test_a_body_over_the_limit_is_refused_before_it_is_sent(server: Inside) -> None:
    headers = (("Expect", "100-continue"), ("Content-Length", "10000000"))
    with server.twilio() as wire:
        got = wire.send(http(headers=headers)).response()
        assert (got.status, got.error()["code"]) == (413, 20001)
        assert wire.everything() == b""


def test_expect_100_continue_is_answered_before_the_body(server: Inside) -> None:
    with server.twilio() as wire:
        head = http(headers=(("Expect", "100-continue"), ("Content-Length", str(len(FORM)))))
        assert wire.send(head).response().status == 100
        assert wire.send(FORM).response().status == 201


def test_a_client_that_stops_sending_still_gets_its_answer(server: Inside) -> None:
    with server.wire().tunnel() as wire:
        plain = wire.sock
        wire.tls(server.ca)
        wire.send(http(form=GOOD["Messages"]))
        # A half-closed connection below TLS: no good-bye, only the end.
        duplicate = socket.socket(fileno=socket.dup(wire.sock.fileno()))
        with duplicate:
            duplicate.shutdown(socket.SHUT_WR)
        assert wire.response().status == 201
        plain.close()


def test_clients_that_end_anywhere_leave_the_proxy_whole(server: Inside) -> None:
    connect = b"CONNECT api.twilio.com:443 HTTP/1.1\r\nHost: api.twilio.com:443\r\n\r\n"
    for data in (b"", b"C", connect[:30], connect, connect + b"\x16", connect + b"\x16\x03\x01\x00\x05hello"):
        with server.wire() as wire:
            wire.send(data)
    for data in (b"", b"POST", http(form=GOOD["Messages"])[:-5]):
        with server.twilio() as wire:
            wire.send(data)
    assert server.everything(message()).startswith(b"HTTP/1.1 201 ")


def test_a_broken_record_ends_its_connection_alone(server: Inside) -> None:
    with server.wire().tunnel() as wire:
        plain = socket.socket(fileno=socket.dup(wire.sock.fileno()))
        with plain:
            wire.tls(server.ca)
            plain.sendall(b"\x17\x03\x03\x00\x05hello")
            plain.settimeout(60)
            while plain.recv(65536):
                pass
    assert server.everything(message()).startswith(b"HTTP/1.1 201 ")


def test_many_answers_wait_for_a_client_that_does_not_read(server: Inside) -> None:
    asked = 3000
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context(cafile=str(server.ca))
    tls = context.wrap_bio(incoming, outgoing, server_hostname="api.twilio.com")
    with server.wire().tunnel() as wire:
        sock = wire.sock
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                sock.sendall(outgoing.read())
                incoming.write(sock.recv(65536))
        for _ in range(asked - 1):
            tls.write(http(form=GOOD["Messages"]))
        tls.write(message())
        # 1.5 MB of requests and 4 MB of answers: more than the sockets between can hold.
        sender = threading.Thread(target=sock.sendall, args=(outgoing.read(),))
        sender.start()
        answers = b""
        while chunk := sock.recv(65536):
            incoming.write(chunk)
            with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError):
                while plain := tls.read(65536):
                    answers += plain
        sender.join()
    assert answers.count(b"HTTP/1.1 201 CREATED\r\n") == asked


def test_one_form_of_media_type_reaches_the_contract(server: Inside) -> None:
    data = http(headers=(("Content-Type", FORM_TYPE[1] + "; charset=UTF-8"), CLOSE), form=GOOD["Messages"])
    assert server.everything(data).startswith(b"HTTP/1.1 201 ")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1", "[::1]"])
def test_the_proxy_never_connects_to_itself(server: Inside, host: str) -> None:
    with server.wire() as wire:
        got = wire.send(http("GET", f"http://{host}:{server.socks_port}/", host="example.com")).response()
    assert got.status == 502
    assert b"Ringback does not forward to itself" in got.body


def test_no_name_leads_back_to_the_proxy(tmp_path: Path) -> None:
    """A client from another machine would look like one of this machine."""
    with inside(tmp_path, names={"own.example": "127.0.0.1"}, seed=SEED) as server:
        health = http("GET", "/ringback/health", host="localhost")
        with server.wire().tunnel(f"own.example:{server.port}") as wire:
            assert wire.send(health).everything() == b""
        with server.wire() as wire:
            target = f"http://own.example:{server.port}/ringback/health"
            got = wire.send(http("GET", target, host="localhost")).response()
        assert (got.status, b"Ringback does not forward to itself" in got.body) == (502, True)


def test_a_silent_connection_is_closed_in_the_end(tmp_path: Path) -> None:
    with inside(tmp_path, idle_timeout=3.0, seed=SEED) as proxy:
        with proxy.wire() as idle, proxy.twilio() as tunnel:
            assert idle.everything() == b""
            assert tunnel.everything() == b""
        assert proxy.everything(message()).startswith(b"HTTP/1.1 201 ")
