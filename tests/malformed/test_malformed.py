"""Input of every wrong kind against a running proxy: a Twilio-shaped 4xx or a clean end, and it lives on."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest

from support.clients import ACCOUNT, GOOD, basic, http, path
from support.proxying import serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.proxying import Serving

GOOD_BODY = urlencode(GOOD["Messages"]).encode()
FINE = http(body=GOOD_BODY)


@pytest.fixture(scope="module")
def bearing(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A proxy that must bear all of this."""
    with serve(home, tmp_path_factory.mktemp("malformed")) as running:
        yield running
        assert running.process.poll() is None
    assert running.process.returncode == 0
    told = running.stderr()
    assert "Traceback" not in told
    assert "Error" not in told
    assert "failed on" not in told


@pytest.fixture(autouse=True)
def still_answers(bearing: Serving) -> Iterator[None]:
    """After each of them the next client gets its answer."""
    yield
    assert bearing.ask(FINE).status == 201


def head(*lines: str | bytes, method: str = "POST", target: str | bytes | None = None) -> bytes:
    """A request's head with good credentials and Host, and `lines` as they are."""
    first = method.encode() + b" " + _bytes(target or path()) + b" HTTP/1.1"
    fields = [b"Host: api.twilio.com", ": ".join(basic()).encode(), *map(_bytes, lines)]
    return b"\r\n".join([first, *fields, b"", b""])


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1")


@dataclass(frozen=True)
class Case:
    data: bytes
    status: int
    rule: str
    code: int = 20001


TYPE = "Content-Type: application/x-www-form-urlencoded"


def sized(body: bytes, *lines: str | bytes, target: str | bytes | None = None) -> bytes:
    return head(f"Content-Length: {len(body)}", *lines, target=target) + body


# Each of these is a request that can be read to its end, and is answered.
ANSWERED = {
    "bad percent-encoding": Case(sized(b"To=%zz", TYPE), 400, "form.malformed"),
    "percent sign at the end": Case(sized(b"To=%", TYPE), 400, "form.malformed"),
    "NUL in the body": Case(sized(b"To=\0", TYPE), 400, "form.malformed"),
    "encoded NUL": Case(sized(b"To=%00", TYPE), 400, "form.malformed"),
    "body that is not UTF-8": Case(sized(b"Body=\xff\xfe", TYPE), 400, "form.malformed"),
    "encoded bytes that are not UTF-8": Case(sized(b"Body=%ff", TYPE), 400, "form.malformed"),
    "thousands of fields": Case(sized(b"a=1&" * 5000, TYPE), 400, "form.malformed"),
    "JSON body": Case(sized(b'{"To": "x"}', "Content-Type: application/json"), 415, "form.type"),
    "XML body": Case(sized(b"<To/>", "Content-Type: text/xml"), 415, "form.type"),
    "multipart body": Case(sized(b"--x", "Content-Type: multipart/form-data; boundary=x"), 415, "form.type"),
    "nonsense content type": Case(sized(b"To=1", b"Content-Type: \xff\xff"), 415, "form.type"),
    "binary with a form's type": Case(sized(bytes(range(256)), TYPE), 400, "form.malformed"),
    "gzip": Case(sized(b"\x1f\x8b\x08", TYPE, "Content-Encoding: gzip"), 415, "form.coding"),
    "unknown coding": Case(sized(b"x", TYPE, "Content-Encoding: rot13"), 415, "form.coding"),
    "JSON body called a form": Case(
        sized(b'{"To": "+15005550006"}', TYPE), 400, "Messages.from.missing", 21603
    ),
    "no Content-Length and no body": Case(head(TYPE), 400, "Messages.from.missing", 21603),
    "empty body": Case(sized(b"", TYPE), 400, "Messages.from.missing", 21603),
    "ten megabytes": Case(sized(b"Body=" + b"x" * (10 * 1024 * 1024), TYPE), 413, "form.too-large"),
    "ten megabytes, chunked": Case(
        head(TYPE, "Transfer-Encoding: chunked")
        + (b"100000\r\n" + b"x" * 0x100000 + b"\r\n") * 10
        + b"0\r\n\r\n",
        413,
        "form.too-large",
    ),
    "headers of 40 KB": Case(sized(GOOD_BODY, TYPE, "X-Long: " + "x" * 40_000), 431, "headers.too-large"),
    "600 headers": Case(
        sized(GOOD_BODY, TYPE, *[f"X-{n}: {'y' * 60}" for n in range(600)]), 431, "headers.too-large"
    ),
    "path of 10 KB": Case(sized(b"", TYPE, target=path("x" * 10_000)), 403, "resource.unsupported", 20008),
    "encoded NUL in the path": Case(
        sized(b"", target=path("Mess%00ages")), 403, "resource.unsupported", 20008
    ),
    "dots in the path": Case(
        sized(b"", target=path("../../../etc/passwd")), 403, "resource.unsupported", 20008
    ),
    "TRACE": Case(b"TRACE" + sized(b"")[4:], 403, "resource.unsupported", 20008),
    "upgrade": Case(head("Connection: Upgrade", "Upgrade: websocket"), 403, "host.upgrade", 20008),
    "another Host": Case(http(host="evil.example", body=GOOD_BODY), 403, "host.mismatch", 20008),
    "another Host of Twilio's": Case(
        http(host="lookups.twilio.com", body=GOOD_BODY), 403, "host.mismatch", 20008
    ),
    "two Hosts": Case(http(body=GOOD_BODY, headers=[("Host", "evil.example")]), 403, "host.mismatch", 20008),
    "Host that is not UTF-8": Case(
        http(host="api.twilio.com\xff", body=GOOD_BODY), 403, "host.mismatch", 20008
    ),
    "absolute target of another host": Case(
        http(target=f"https://evil.example{path()}", body=GOOD_BODY), 403, "host.mismatch", 20008
    ),
}

# Whether these count as requests is up to the parser; either way the answer is of Twilio's shape.
ODD = {
    "path that is not UTF-8": sized(b"", target=path().encode() + b"\xff\xfe"),
    "account that is not UTF-8": sized(b"", target=b"/2010-04-01/Accounts/AC\xff/Messages"),
    "unknown method": sized(b"").replace(b"POST", b"BREW", 1),
    "lower-case method": sized(b"").replace(b"POST", b"get", 1),
    "another protocol": FINE.replace(b"HTTP/1.1", b"HTTP/9.9", 1),
}

AUTHORIZATION = {
    "nothing": ("", 20003),
    "scheme alone": ("Basic", 20003),
    "broken base64": ("Basic !!!!", 20003),
    "base64 with a line too many": ("Basic QUM=QUM=", 20003),
    "base64 of no text": ("Basic " + base64.b64encode(b"\xff\xfe:x").decode(), 20003),
    "no colon": ("Basic " + base64.b64encode(b"AC1").decode(), 20003),
    "another scheme": ("Digest username=x", 20003),
    "a hundred kilobytes": ("Basic " + "QUFB" * 4000, 20003),
    "bytes beyond ASCII": ("Basic \xe9\xe9", 20003),
    "user name with a line break": ("Basic " + base64.b64encode(b"SK\r\nX-Evil: 1:x").decode(), 20003),
}


@pytest.mark.parametrize("case", ANSWERED.values(), ids=ANSWERED)
def test_a_wrong_request_gets_an_answer_of_twilios_shape(bearing: Serving, case: Case) -> None:
    with bearing.twilio() as wire:
        got = wire.send(case.data).response()
    failed = got.error()
    assert (failed["status"], failed["code"]) == (case.status, case.code)
    assert f"rule={case.rule};" in (got.header("Ringback-Source") or "")


@pytest.mark.parametrize("name", ["bad percent-encoding", "JSON body", "gzip", "NUL in the body"])
def test_in_xml_too(bearing: Serving, name: str) -> None:
    case = ANSWERED[name]
    got = bearing.ask(case.data.replace(b".json HTTP/1.1", b" HTTP/1.1"))
    assert got.header("Content-Type") == "application/xml"
    assert (got.error()["status"], got.error()["code"]) == (case.status, case.code)


@pytest.mark.parametrize(
    "name", ["bad percent-encoding", "JSON body", "ten megabytes", "600 headers", "upgrade"]
)
def test_by_plain_http_too(bearing: Serving, name: str) -> None:
    case = ANSWERED[name]
    with bearing.wire() as wire:
        wire.send(case.data.replace(b" /2010", b" http://api.twilio.com/2010", 1))
        got = wire.response().error()
    assert (got["status"], got["code"]) == (case.status, case.code)


@pytest.mark.parametrize("value, code", AUTHORIZATION.values(), ids=AUTHORIZATION)
def test_broken_credentials(bearing: Serving, value: str, code: int) -> None:
    got = bearing.ask(http(body=GOOD_BODY, headers=[("Authorization", value)], authorized=False))
    assert (got.status, got.error()["code"]) == (401, code)
    assert got.header("WWW-Authenticate") == 'Basic realm="Twilio API"'
    assert got.header("X-Evil") is None


@pytest.mark.parametrize("data", ODD.values(), ids=ODD)
def test_an_odd_request_is_refused_in_twilios_shape(bearing: Serving, data: bytes) -> None:
    assert bearing.ask(data).error()["status"] in {400, 403, 404}


@pytest.mark.parametrize("name", ["bad percent-encoding", "JSON body", "gzip", "600 headers", "TRACE"])
def test_the_connection_goes_on_after_it(bearing: Serving, name: str) -> None:
    with bearing.twilio() as wire:
        assert wire.send(ANSWERED[name].data).response().status == ANSWERED[name].status
        assert wire.send(FINE).response().status == 201


def test_an_upgrade_ends_the_connection(bearing: Serving) -> None:
    """What follows could be its body or another protocol."""
    with bearing.twilio() as wire:
        assert wire.send(ANSWERED["upgrade"].data + FINE).response().status == ANSWERED["upgrade"].status
        assert wire.sock.recv(1) == b""


# These are no requests at all: an answer of Twilio's shape or none, but the connection ends.
BROKEN = {
    "garbage": b"\x00\x01\x02\xff\xfe garbage \r\n\r\n",
    "TLS in TLS": b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1" + b"\0" * 160,
    "no version": b"POST " + path().encode() + b"\r\n\r\n",
    "no target": b"POST  HTTP/1.1\r\nHost: api.twilio.com\r\n\r\n",
    "target with a space": FINE.replace(b"/Messages.json", b"/Mess ages.json", 1),
    "NUL in the path": FINE.replace(b"/Messages.json", b"/Mess\0ages.json", 1),
    "NUL in a header": head("X-Nul: a\0b", "Content-Length: 0"),
    "header without a colon": head("nonsense", "Content-Length: 0"),
    "header name with a space": head("X Y: z", "Content-Length: 0"),
    "header without a name": head(": z", "Content-Length: 0"),
    "line that goes on": head("X-A: b", " c", "Content-Length: 0"),
    "negative length": head("Content-Length: -5", TYPE) + b"To=1",
    "length that is no number": head("Content-Length: ten", TYPE) + b"To=1",
    "length with a plus": head("Content-Length: +4", TYPE) + b"To=1",
    "two lengths that differ": head("Content-Length: 4", "Content-Length: 5", TYPE) + b"To=12",
    "lengths in one line": head("Content-Length: 4, 5", TYPE) + b"To=12",
    "length and chunked": head("Content-Length: 4", "Transfer-Encoding: chunked", TYPE)
    + b"4\r\nTo=1\r\n0\r\n\r\n",
    "unknown transfer coding": head("Transfer-Encoding: gibberish", TYPE) + b"To=1",
    "broken chunk size": head("Transfer-Encoding: chunked", TYPE) + b"zz\r\nTo=1\r\n0\r\n\r\n",
    "chunk that is too long": head("Transfer-Encoding: chunked", TYPE) + b"2\r\nTo=1\r\n0\r\n\r\n",
    "enormous length": head(f"Content-Length: {2**70}", TYPE) + b"To=1",
    "headers of 4 MB": b"POST / HTTP/1.1\r\nHost: api.twilio.com\r\nX-Long: "
    + b"x" * (4 * 1024 * 1024)
    + b"\r\n\r\n",
    "request line of 1 MB": b"POST /" + b"x" * (1024 * 1024) + b" HTTP/1.1\r\nHost: api.twilio.com\r\n\r\n",
    "path of 20 KB": sized(b"", target=path("x" * 20_000)),
    "HTTP/2 without ALPN": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0" * 100,
}


# More may follow these, and the proxy may wait for it.
UNFINISHED = {"TLS in TLS", "enormous length"}


@pytest.mark.parametrize("name, data", BROKEN.items(), ids=BROKEN)
def test_what_is_no_request_ends_the_connection_or_is_refused(
    bearing: Serving, name: str, data: bytes
) -> None:
    with bearing.twilio() as wire:
        wire.send(data)
        if name in UNFINISHED:
            wire.finish()
        first = wire.answer_or_end()
    if first:
        assert first.startswith(b"HTTP/1.1 4"), first[:100]
        assert b"Ringback-Source" in first
        assert first.count(b'"more_info"') + first.count(b"<MoreInfo>") >= 1


def test_a_request_that_never_ends_is_given_up_by_its_client(bearing: Serving) -> None:
    with bearing.twilio() as wire:
        wire.send(head("Content-Length: 100", TYPE) + b"To=1")
    with bearing.twilio() as wire:
        wire.send(head()[:-10])


@pytest.mark.parametrize(
    "chunks", [[GOOD_BODY], [GOOD_BODY[:10], GOOD_BODY[10:]], [bytes([byte]) for byte in GOOD_BODY]]
)
def test_chunked_is_fine(bearing: Serving, chunks: list[bytes]) -> None:
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    assert bearing.ask(head("Transfer-Encoding: chunked", TYPE) + body).status == 201


def test_a_request_byte_by_byte_is_fine(bearing: Serving) -> None:
    with bearing.twilio() as wire:
        for byte in FINE:
            wire.send(bytes([byte]))
        assert wire.response().status == 201


def test_pipelined_requests_are_answered_in_order(bearing: Serving) -> None:
    with bearing.twilio() as wire:
        wire.send(FINE + http("GET", path("Recordings")) + http(body=b"To=%zz") + FINE)
        assert [wire.response().status for _ in range(4)] == [201, 403, 400, 201]


def test_expect_continue(bearing: Serving) -> None:
    with bearing.twilio() as wire:
        wire.send(head("Expect: 100-continue", f"Content-Length: {len(GOOD_BODY)}", TYPE))
        assert wire.response().status == 100
        assert wire.send(GOOD_BODY).response().status == 201


@pytest.mark.parametrize(
    "data",
    [b"\x00\x01\x02\x03", b"GET / HTTP/1.1\r\n\r\n", b"SSH-2.0-x\r\n", b"\x16\x03\x01\xff\xff\x01", b""],
)
def test_bytes_in_a_tunnel_that_are_no_tls(bearing: Serving, data: bytes) -> None:
    with bearing.wire() as wire:
        wire.tunnel()
        assert wire.connect_reply.startswith(b"HTTP/1.1 200 ")
        wire.send(data).finish()
        got = wire.everything()
    # What is HTTP is refused as such; nothing else gets a word from Twilio.
    assert got == b"" or got[:2] == b"\x15\x03" or got.startswith(b"HTTP/1.1 4"), got


@pytest.mark.parametrize(
    "data",
    [
        b"CONNECT api.twilio.com HTTP/1.1\r\n\r\n",
        b"CONNECT :443 HTTP/1.1\r\n\r\n",
        b"CONNECT api.twilio.com:99999 HTTP/1.1\r\n\r\n",
        b"CONNECT api.twilio.com:x HTTP/1.1\r\n\r\n",
        b"CONNECT api\xe3\x80\x82twilio\xe3\x80\x82com:443 HTTP/1.1\r\n\r\n",
        b"CONNECT api.twilio.com:443\r\n\r\n",
        b"CONNECT " + b"a" * 70_000 + b":443 HTTP/1.1\r\n\r\n",
        b"\x05\x01\x00",
        b"\x16\x03\x01\x00\x05hello",
        b"\r\n\r\n\r\n",
        b"\0" * 1000,
    ],
)
def test_bytes_for_the_proxy_that_are_no_request(bearing: Serving, data: bytes) -> None:
    with bearing.wire() as wire:
        wire.send(data).finish()
        got = wire.everything()
    assert not got.startswith(b"HTTP/1.1 200") or b"\r\n\r\n" in got


def test_a_tls_client_that_hangs_up_in_the_handshake(bearing: Serving) -> None:
    for cut in (1, 5, 50):
        with bearing.wire() as wire:
            wire.tunnel()
            wire.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[:cut])


def test_an_http2_client_that_breaks_the_protocol(bearing: Serving) -> None:
    with bearing.twilio(alpn=("h2",)) as wire:
        wire.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 64)
        wire.finish()
        wire.everything()


def test_an_account_is_not_mixed_up_by_pipelining(bearing: Serving) -> None:
    other = "AC" + "f" * 32
    with bearing.twilio() as wire:
        wire.send(FINE + http(body=GOOD_BODY, target=path(account=other)))
        assert wire.response().json()["account_sid"] == ACCOUNT
        assert wire.response().error()["code"] == 20404


def test_the_health_answer_counts_them(bearing: Serving) -> None:
    before = bearing.health()["refused"].get("form.type", 0)
    assert bearing.ask(http(body=b"{}", headers=[("Content-Type", "application/json")])).status == 415
    assert bearing.health()["refused"]["form.type"] == before + 1
