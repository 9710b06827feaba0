"""HTTP/1 without a socket: whatever comes in whichever pieces, answers come out or a refusal does."""

from __future__ import annotations

import re
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringback.contract.form import MAX_BODY
from ringback.contract.stamps import SeededStamps
from support.clients import GOOD, http
from support.mitm import loaded  # noqa: F401 - imports mitmproxy with its dependencies' warnings off

from ringback.addon.flows import agreed_names  # isort: skip - after the import above
from ringback.addon.handlers import RingbackAddon  # isort: skip - as above
from ringback.addon.heads import Heads  # isort: skip - as above
from ringback.addon.layer import MAX_DISCARDED, MAX_HEAD, Http1  # isort: skip - as above

STATUS = re.compile(rb"HTTP/1\.1 ([0-9]{3}) ")
ADDON = RingbackAddon()


def connection() -> Http1:
    ADDON.responder.stamps = SeededStamps(1)
    agree = partial(agreed_names, target=("api.twilio.com", 443), sni="api.twilio.com")
    return Http1(ADDON, ADDON.answer, agree, Heads())


def message(**fields: str) -> bytes:
    return http(form={**GOOD["Messages"], **fields})


TWO = (
    message(Body="one")
    + http(headers=(("Transfer-Encoding", "chunked"),))
    + b"3\r\nTo=\r\n2\r\n%2\r\n1\r\nB\r\n0\r\n\r\n"
)


@given(cuts=st.lists(st.integers(0, len(TWO)), max_size=12))
@settings(max_examples=60, deadline=None)
def test_pieces_do_not_matter(cuts: list[int]) -> None:
    whole = connection().receive(TWO)
    assert STATUS.findall(whole) == [b"201", b"400"]
    side, at, got = connection(), 0, b""
    for cut in [*sorted(cuts), len(TWO)]:
        got += side.receive(TWO[at:cut])
        at = cut
    assert got == whole
    assert not side.closed


@given(data=st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_no_bytes_break_it(data: bytes) -> None:
    side = connection()
    got = side.receive(data + b"\r\n\r\n")
    assert all(status in {b"400", b"401", b"403", b"404"} for status in STATUS.findall(got))
    # A refusal of what is no HTTP ends the connection.
    assert side.closed or b"request.malformed" not in got


@given(at=st.integers(0, len(TWO) - 1), byte=st.integers(0, 255))
@settings(max_examples=200, deadline=None)
def test_no_wrong_byte_breaks_it(at: int, byte: int) -> None:
    side = connection()
    got = side.receive(TWO[:at] + bytes([byte]) + TWO[at + 1 :])
    assert all(b"200" < status < b"432" for status in STATUS.findall(got))


def test_waiting_tells_whether_a_request_is_under_way() -> None:
    side = connection()
    assert not side.waiting
    data = message()
    side.receive(data[:40])
    assert side.waiting
    side.receive(data[40:-3])
    assert side.waiting
    assert side.receive(data[-3:])
    assert not side.waiting


def test_a_body_over_the_limit_is_not_kept() -> None:
    side = connection()
    size = MAX_BODY + 1000
    side.receive(http(headers=(("Content-Length", str(size)),)))
    sent = 0
    while sent < size - 1000:
        side.receive(b"a" * 1000)
        sent += 1000
        assert sum(map(len, side._body)) <= MAX_BODY
    side.receive(b"a" * (size - sent - 1))
    assert side._body == []
    got = side.receive(b"a")
    assert STATUS.findall(got) == [b"413"]
    assert f"{size} bytes".encode() in got
    assert not side.closed


def test_an_endless_body_is_not_read_to_its_end() -> None:
    side = connection()
    side.receive(http(headers=(("Content-Length", str(10 * MAX_DISCARDED)),)))
    got, sent, chunk = b"", 0, b"a" * (1024 * 1024)
    while not side.closed:
        got += side.receive(chunk)
        sent += len(chunk)
        assert sent <= MAX_DISCARDED + 2 * len(chunk)
    assert STATUS.findall(got) == [b"413"]


@pytest.mark.parametrize(
    "head",
    [
        http(headers=(("Upgrade", "h2c"), ("Connection", "Upgrade"), ("Content-Length", str(len(TWO))))),
        http(headers=(("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Transfer-Encoding", "chunked"))),
        b"CONNECT api.twilio.com:443 HTTP/1.1\r\nHost: api.twilio.com\r\n\r\n",
    ],
)
def test_what_follows_an_upgrade_is_no_request(head: bytes) -> None:
    side = connection()
    got = side.receive(head + TWO)
    assert len(STATUS.findall(got)) == 1
    assert STATUS.findall(got)[0] >= b"400"
    assert side.closed
    assert side.receive(message()) == b""


@pytest.mark.parametrize("rest", [b"junk", message(), b"\x00", b"\r\n\r\njunk"])
def test_nothing_after_the_last_request_is_answered(rest: bytes) -> None:
    side = connection()
    got = side.receive(http(headers=(("Connection", "close"),), form=GOOD["Messages"]) + rest)
    assert STATUS.findall(got) == [b"201"]
    assert side.closed


CHUNKED = http(headers=(("Transfer-Encoding", "chunked"),))


@pytest.mark.parametrize(
    "begin", [CHUNKED + b"0\r\nX-Trailer: ", CHUNKED + b"1;x=", b"POST / HTTP/1.1\r\nX: "]
)
def test_nothing_beside_a_body_is_endless(begin: bytes) -> None:
    side = connection()
    got, sent = side.receive(begin), 0
    while not side.closed:
        got += side.receive(b"a" * 1000)
        sent += 1000
        assert sent <= MAX_HEAD + 1000
    assert STATUS.findall(got) == [b"431"]


def test_a_body_in_the_smallest_pieces_is_no_head() -> None:
    side = connection()
    got = side.receive(CHUNKED)
    for _ in range(MAX_HEAD // 6 + 100):
        got += side.receive(b"1\r\n")
        got += side.receive(b"a\r\n")
    assert STATUS.findall(got + side.receive(b"0\r\n\r\n")) == [b"400"]
    assert not side.closed


def test_a_client_of_http_1_0_is_told_nothing_in_between() -> None:
    expecting = http(headers=(("Expect", "100-continue"), ("Content-Length", "7")))
    assert STATUS.findall(connection().receive(expecting)) == [b"100"]
    assert STATUS.findall(connection().receive(expecting.replace(b"HTTP/1.1", b"HTTP/1.0"))) == []


@pytest.mark.parametrize("version,closes", [("1.1", False), ("1.0", True)])
def test_who_keeps_the_connection(version: str, closes: bool) -> None:
    side = connection()
    side.receive(message().replace(b"HTTP/1.1", f"HTTP/{version}".encode()))
    assert side.closed is closes


def test_a_failure_of_ones_own_is_an_answer_too(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("on purpose")

    side = connection()
    monkeypatch.setattr(ADDON.responder, "decide", fail)
    got = side.receive(message())
    assert STATUS.findall(got) == [b"400"]
    assert b"rule=proxy.error" in got
    assert b"on purpose" not in got
    assert "on purpose" in caplog.text
