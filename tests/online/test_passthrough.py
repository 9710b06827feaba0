from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import h2.connection
import h2.events
import pytest

from support.clients import ACCOUNT, FORM_TYPE, GOOD, SHARED, TOKEN, basic, http, path
from support.upstream import CLOSE, CREATED, response, twilio

if TYPE_CHECKING:
    from support.proxying import Serving
    from support.upstream import LoopbackUpstream

RECORDED = SHARED / "recorded" / "exchanges.jsonl"


def test_what_the_upstream_answers_is_what_the_client_gets(
    online: Serving, upstream: LoopbackUpstream
) -> None:
    got = online.ask(http(form=GOOD["Messages"]))
    assert (got.status, got.body) == (201, CREATED.partition(b"\r\n\r\n")[2])
    assert got.header("Twilio-Request-Id") == "RQ" + "0" * 32
    assert got.header("Ringback-Source") == "live"
    assert got.header("Ringback-Contract") == "agrees"
    [seen] = upstream.forwarded
    assert seen.pair == (ACCOUNT, TOKEN)
    assert seen.form == list(GOOD["Messages"].items())
    assert seen.server_name == "api.twilio.com"


def test_the_request_arrives_byte_for_byte(online: Serving, upstream: LoopbackUpstream) -> None:
    body = b"To=%2b14108675309&From=+15005550006&Body=%7e~*%C3%A9&Body=&x=1;2"
    head = (
        f"POST {path()}?a=%2f&b HTTP/1.1\r\n"
        "x-ODD-case: Kept   as it is\r\n"
        "Accept-Encoding: utf-8\r\n"
        f"authorization: {basic()[1]}\r\n"
        "X-Twice: 1\r\n"
        "X-Empty: \r\n"
        "X-Twice: 2\r\n"
        f"content-Length: {len(body)}\r\n"
        "Connection: keep-alive\r\n"
        "Host: API.twilio.com:443\r\n"
        "Content-Type: application/x-www-form-urlencoded; charset=utf-8\r\n\r\n"
    ).encode()
    assert online.ask(head + body).status == 201
    [seen] = upstream.forwarded
    assert seen.head == head
    assert seen.body == body


def test_what_was_for_the_proxy_stays_there(online: Serving, upstream: LoopbackUpstream) -> None:
    told = [("Proxy-Authorization", basic("name", "x")[1]), ("Proxy-Connection", "keep-alive")]
    assert online.ask(http(form=GOOD["Messages"], headers=told)).status == 201
    assert not any(name.lower().startswith("proxy-") for name, _ in upstream.forwarded[0].fields)


def test_a_chunked_request_arrives_whole(online: Serving, upstream: LoopbackUpstream) -> None:
    form = urlencode(GOOD["Messages"]).encode()
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (form[:7], form[7:])) + b"0\r\n\r\n"
    assert online.ask(http(body=chunks, headers=[("Transfer-Encoding", "chunked")])).status == 201
    assert upstream.forwarded[0].body == form
    assert upstream.forwarded[0].header("Transfer-Encoding") == "chunked"


@pytest.mark.parametrize(
    "answer",
    [
        twilio(500, 20500, message="An internal server error has occurred"),
        response(503, b"<html>try later</html>", ("Content-Type", "text/html"), reason="Service Unavailable"),
        twilio(429, 20429, ("Retry-After", "1"), message="Too Many Requests"),
        twilio(429, 21611, message="SMS queue is full."),
        twilio(400, 21211, message="The 'To' number 1 is not a valid phone number."),
        response(302, b"", ("Location", "https://api.twilio.com/2010-04-01/Accounts.json"), reason="FOUND"),
        response(307, b"", ("Location", "https://127.0.0.1:1/"), reason="TEMPORARY REDIRECT"),
        response(204, b"", reason="NO CONTENT", length=False),
        response(201, b"\x00\xff binary", ("Content-Type", "application/octet-stream"), reason="CREATED"),
        response(201, b"", reason=""),
        response(599, b"{}", reason="Odd Status"),
    ],
)
def test_every_answer_of_the_upstreams_own_passes_through(
    online: Serving, upstream: LoopbackUpstream, answer: bytes
) -> None:
    upstream.rule = lambda _: answer
    got = online.ask(http(form=GOOD["Messages"]))
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    _, status, reason = first.split(" ", 2)
    assert (got.status, got.reason, got.body) == (int(status), reason, body)
    ours = [field for field in got.headers if field[0].startswith("Ringback-")]
    assert [f"{name}: {value}" for name, value in got.headers if (name, value) not in ours] == lines
    assert len(upstream.forwarded) == 1  # a redirect is not followed


def test_streamed_and_compressed_bodies_survive(online: Serving, upstream: LoopbackUpstream) -> None:
    text = json.dumps({"sid": "SM" + "0" * 32, "body": "ü" * 100_000}).encode()
    coded = gzip.compress(text)
    chunked = (
        b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (coded[:10], coded[10:])) + b"0\r\n\r\n"
    )
    fields = [("Content-Type", "application/json"), ("Content-Encoding", "gzip")]
    upstream.rule = lambda _: response(
        201, chunked, *fields, ("Transfer-Encoding", "chunked"), reason="CREATED", length=False
    )
    got = online.ask(http(form=GOOD["Messages"]))
    assert (got.status, got.body, got.header("Content-Encoding")) == (201, coded, "gzip")
    assert got.header("Content-Length") == str(len(coded))
    assert got.header("Ringback-Contract") == "agrees"


def test_a_body_that_ends_with_the_connection_survives(online: Serving, upstream: LoopbackUpstream) -> None:
    upstream.rule = lambda _: CLOSE + response(201, b"to the end", reason="CREATED", length=False)
    assert online.ask(http(form=GOOD["Messages"])).body == b"to the end"
    upstream.rule = lambda _: CREATED
    assert online.ask(http(form=GOOD["Messages"])).status == 201


def test_nobody_else_says_where_an_answer_came_from(online: Serving, upstream: LoopbackUpstream) -> None:
    upstream.rule = lambda _: twilio(201, None, ("Ringback-Source", "live; rule=forged"), sid="x")
    got = online.ask(http(form=GOOD["Messages"]))
    assert [value for name, value in got.headers if name == "Ringback-Source"] == ["live"]


def test_an_offline_ringback_on_the_way_is_reported(online: Serving, upstream: LoopbackUpstream) -> None:
    upstream.rule = lambda _: twilio(201, None, ("Ringback-Source", "contract; rule=x"), sid="x")
    got = online.ask(http(form=GOOD["Messages"]))
    assert (got.status, got.error()["code"]) == (424, 20503)
    assert "another Ringback answered in place of the live API" in got.error()["message"]


def test_an_answer_that_is_not_documented_says_so(online: Serving, upstream: LoopbackUpstream) -> None:
    upstream.rule = lambda _: twilio(400, 21217)
    before = online.health()["differences"]
    got = online.ask(http(form={**GOOD["Messages"], "To": "+15005550001"}))
    said = "expected 400 with code 21211, live answered 400 with code 21217"
    assert got.status == 400
    assert (got.header("Ringback-Contract") or "").endswith(said)
    [(text, count)] = (online.health()["differences"].items()) - before.items()
    assert (said in text, count) == (True, 1)


@pytest.mark.parametrize("host", ["api.ie1.twilio.com", "api.dublin.ie1.twilio.com"])
def test_a_region_is_forwarded_to_itself(online: Serving, upstream: LoopbackUpstream, host: str) -> None:
    with online.twilio(host) as wire:
        got = wire.send(http(form=GOOD["Messages"], host=host)).response()
    assert got.status == 201
    assert {(seen.server_name, seen.header("Host")) for seen in upstream.seen} == {(host, host)}
    assert len(upstream.probes) == 1  # a proof counts for one host


def test_a_connection_to_the_upstream_is_used_again(online: Serving, upstream: LoopbackUpstream) -> None:
    for _ in range(3):
        assert online.ask(http(form=GOOD["Messages"])).status == 201
    assert len({seen.port for seen in upstream.forwarded}) == 1
    # Closed by the upstream meanwhile, as it may: the next request gets a new one, and only one.
    upstream.drop()
    assert online.ask(http(form=GOOD["Messages"])).status == 201
    assert len(upstream.forwarded) == 4


def test_bytes_behind_an_answer_are_no_answer_to_the_next_request(
    online: Serving, upstream: LoopbackUpstream
) -> None:
    upstream.rule = lambda _: CREATED + twilio(500, 20500)
    for _ in range(2):
        assert online.ask(http(form=GOOD["Messages"])).status == 201
    assert len({seen.port for seen in upstream.forwarded}) == 2


def test_http2_clients_are_forwarded_too(online: Serving, upstream: LoopbackUpstream) -> None:
    form = urlencode(GOOD["Messages"]).encode()
    with online.twilio(alpn=("h2",)) as wire:
        connection = h2.connection.H2Connection()
        connection.initiate_connection()
        pseudo = [(":method", "POST"), (":scheme", "https"), (":authority", "api.twilio.com")]
        fields = [("authorization", basic()[1]), ("content-type", FORM_TYPE[1])]
        connection.send_headers(1, [*pseudo, (":path", path()), *fields])
        connection.send_data(1, form, end_stream=True)
        wire.send(connection.data_to_send())
        events: list[h2.events.Event] = []
        while not any(isinstance(event, h2.events.StreamEnded) for event in events):
            events += connection.receive_data(wire.sock.recv(65536))
        [head] = [event for event in events if isinstance(event, h2.events.ResponseReceived)]
    assert dict(head.headers or [])[b":status"] == b"201"
    [seen] = upstream.forwarded
    assert (seen.header("Host"), seen.header("Content-Length")) == ("api.twilio.com", str(len(form)))
    assert seen.body == form


def test_an_h2c_upgrade_is_refused_as_offline(online: Serving, upstream: LoopbackUpstream) -> None:
    more = [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABk")]
    got = online.ask(http(form=GOOD["Messages"], headers=more))
    assert (got.status, "rule=host.upgrade" in (got.header("Ringback-Source") or "")) == (403, True)
    assert upstream.seen == []


def test_a_form_that_is_too_large_is_not_sent(online: Serving, upstream: LoopbackUpstream) -> None:
    got = online.ask(http(body=b"Body=" + b"x" * (1024 * 1024)))
    assert got.error()["status"] == 413
    assert upstream.seen == []


def recorded() -> list[dict[str, Any]]:
    if not RECORDED.exists():
        return []
    return [json.loads(line) for line in RECORDED.read_text(encoding="utf-8").splitlines()]


@pytest.mark.skipif(not RECORDED.exists(), reason="the recordings are not part of the repository")
def test_recorded_answers_arrive_as_they_were_sent(online: Serving, upstream: LoopbackUpstream) -> None:
    exchanges = recorded()
    assert len(exchanges) == 75
    with online.twilio() as wire:
        for exchange in exchanges:
            kept = exchange["response"]
            dropped = {"content-length", "content-encoding", "transfer-encoding", "connection"}
            fields = [(name, value) for name, value in kept["headers"].items() if name.lower() not in dropped]
            answer = response(kept["status"], kept["body"].encode(), *fields, reason=kept["reason"])
            upstream.rule = lambda _, answer=answer: answer
            target = exchange["request"]["path"].replace("ACffffffffffffffffffffffffffffffff", ACCOUNT)
            form = urlencode([tuple(field) for field in exchange["request"]["form"]]).encode()
            got = wire.send(http(target=target, body=form)).response()
            assert (got.status, got.reason, got.body) == (
                kept["status"],
                kept["reason"],
                kept["body"].encode(),
            )
            assert [field for field in got.headers if not field[0].startswith("Ringback")][:-1] == fields
