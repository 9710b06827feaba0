"""HTTP/1 without a socket: whatever comes in whichever pieces, answers come out or a refusal does."""

from __future__ import annotations

import asyncio
import itertools
import re
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringback import contract
from ringback.contract import Answer, Credentials
from ringback.contract.form import MAX_BODY
from ringback.contract.render import SeededStamps
from ringback.responder import Responder
from ringback.server.destination import Destination
from ringback.server.http1 import MAX_DISCARDED, MAX_HEAD, Heads, Http1
from support.clients import GOOD, http

STATUS = re.compile(rb"HTTP/1\.1 ([0-9]{3}) ")
DESTINATION = Destination("connect", "api.twilio.com", 443)


def responder() -> Responder:
    return Responder(contract.load(), stamps=SeededStamps(1))


def heads_of(answering: Responder) -> Heads:
    return Heads(answering, partial(DESTINATION.names, sni="api.twilio.com"), "https")


def connection(answering: Responder | None = None, heads: Heads | None = None) -> Http1:
    answering = answering or responder()
    return Http1(answering.handle, answering, heads or heads_of(answering))


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


def test_waiting_reports_whether_a_request_is_under_way() -> None:
    side = connection()
    assert not side.in_request
    data = message()
    side.receive(data[:40])
    assert side.in_request
    side.receive(data[40:-3])
    assert side.in_request
    assert side.receive(data[-3:])
    assert not side.in_request


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


@pytest.mark.parametrize("rest", [b"GET /x\r\n\r\n", b"GET /w2 HTTP/0.9\r\n\r\n", b"junk", message()])
def test_nothing_after_a_refused_target_is_answered(rest: bytes) -> None:
    """Whether it comes in the same bytes or later."""
    refused = b"HEAD *Messages.json HTTP/1.1\r\n\r\n"
    together, apart = connection(), connection()
    assert STATUS.findall(together.receive(refused + rest)) == [b"400"]
    assert STATUS.findall(apart.receive(refused) + apart.receive(rest)) == [b"400"]


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


def test_a_client_of_http_1_0_is_reported_nothing_in_between() -> None:
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

    answering = responder()
    side = connection(answering)
    monkeypatch.setattr(answering, "decide", fail)
    got = side.receive(message())
    assert STATUS.findall(got) == [b"400"]
    assert b"rule=proxy.error" in got
    assert b"on purpose" not in got
    assert "on purpose" in caplog.text


@pytest.mark.parametrize("codings", ["gzip, chunked", "chunked, chunked", "identity", "x"])
def test_a_transfer_coding_other_than_chunked_is_refused(codings: str) -> None:
    side = connection()
    got = side.receive(http(headers=(("Transfer-Encoding", codings),)) + b"0\r\n\r\n")
    assert STATUS.findall(got) == [b"400"]
    assert side.closed


# -- answers that are awaited


async def later(answer: Answer) -> Answer:
    return answer


def test_what_follows_an_awaited_answer_waits_for_it() -> None:
    answering = responder()
    asked: list[str] = []

    def handle(request: Any, names: Any, *, admitted: Any = None) -> Any:
        asked.append(request.body.decode())
        answer = answering.handle(request, names, admitted=admitted)
        assert isinstance(answer, Answer)
        return later(answer) if len(asked) == 2 else answer

    side = Http1(handle, answering, heads_of(answering))
    one, two, three = (message(Body=body) for body in ("one", "two", "three"))
    got = side.receive(one + two + three + b"GARBAGE\r\n\r\n")
    assert STATUS.findall(got) == [b"201"]
    assert len(asked) == 2, "the third is not even asked before the second is answered"
    assert side.pending is not None
    rest = side.resume(asyncio.run(side.pending))  # type: ignore[arg-type] # a coroutine, see `later`
    assert STATUS.findall(rest) == [b"201", b"201", b"400"]
    assert side.pending is None
    assert side.closed


# -- heads that came before


FIRST = message(Body="one")
SAME_HEAD = message(Body="two")


def with_and_without(*pieces: bytes) -> tuple[bytes, bytes]:
    """Return the answers of a connection that remembers heads, and of one that remembers none."""
    known, anew = connection(), connection()
    remembered = b"".join([known.receive(piece) for piece in pieces])
    fresh = b""
    for piece in pieces:
        anew._heads._remembered.cache_clear()
        anew._heads._known.clear()
        fresh += anew.receive(piece)
    assert known.closed == anew.closed
    assert known.in_request == anew.in_request
    return remembered, fresh


@pytest.mark.parametrize("cut", [0, 1, FIRST.index(b"\r\n\r\n") + 4, len(FIRST) - 1])
def test_a_head_is_remembered_however_it_is_written(cut: int) -> None:
    answering = responder()
    heads = heads_of(answering)
    side = connection(answering, heads)
    for data in (FIRST, SAME_HEAD, FIRST, SAME_HEAD):
        got = side.receive(data[:cut]) + side.receive(data[cut:])
        assert STATUS.findall(got) == [b"201"]
    found = heads._remembered.cache_info()
    in_one_piece = cut in {0, FIRST.index(b"\r\n\r\n") + 4, len(FIRST) - 1}
    # By its bytes, else by its parsed fields.
    assert (found.misses, found.hits) == (1, 0 if in_one_piece else 3)
    assert len(heads._known) == in_one_piece
    assert b'"body": "two"' in got


REQUESTS = (
    FIRST,
    SAME_HEAD,
    http("/2010-04-01/Accounts/x/Calls/CA1.json", form={"To": "1"}),
    http(authorized=False, form={"To": "1"}),
    http("/x", form={"To": "1"}),
    http(headers=(("Transfer-Encoding", "chunked"),)) + b"4\r\nTo=1\r\n0\r\n\r\n",
    http(headers=(("Expect", "100-continue"),), form={"To": "1"}),
    b"HEAD /2010-04-01/Accounts.json HTTP/1.1\r\nHost: api.twilio.com\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: api.twilio.com\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: api.twilio.com\r\nContent-Length: 0\r\n\r\n",
)


HEAD, _, BODY = FIRST.partition(b"\r\n\r\n")
ODD = (
    b"\r\n" + FIRST,
    b"\r\n\r\n" + FIRST,
    HEAD.replace(b"\r\n", b"\n") + b"\n\n" + BODY,
    HEAD + b"\n\r\n\r\n" + BODY,
    HEAD.replace(b"\r\nHost", b"\r\nX: 1\r\n 2\r\nHost") + b"\r\n\r\n" + BODY,
    HEAD + b"\r\nContent-Length: 3\r\n\r\n" + BODY,
    HEAD + b"\r\nTransfer-Encoding: chunked\r\n\r\n" + BODY,
    HEAD + b"\r\nConnection: close\r\n\r\n" + BODY,
    HEAD + b"\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n" + BODY,
    HEAD.replace(b"HTTP/1.1", b"HTTP/1.0") + b"\r\n\r\n" + BODY,
    HEAD + b"\r\n\r\n" + BODY[:5],
)


@given(
    order=st.lists(st.sampled_from([FIRST, SAME_HEAD, *ODD]), max_size=6), cuts=st.lists(st.integers(0, 3000))
)
@settings(max_examples=200, deadline=None)
def test_an_odd_head_is_never_taken_for_a_known_one(order: list[bytes], cuts: list[int]) -> None:
    sent = FIRST + b"".join(order)
    places = sorted({0, len(sent), *(cut for cut in cuts if cut < len(sent))})
    pieces = [sent[one:other] for one, other in itertools.pairwise(places)]
    remembered, fresh = with_and_without(FIRST, SAME_HEAD, *pieces)
    assert remembered == fresh


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_head_is_parsed_each_time(odd: bytes) -> None:
    side = connection()
    side.receive(odd)
    assert side._heads._known == {}


@given(order=st.lists(st.sampled_from(REQUESTS), max_size=9), cut=st.integers(0, 400))
@settings(max_examples=100, deadline=None)
def test_remembering_changes_no_answer(order: list[bytes], cut: int) -> None:
    pieces = [piece for data in order for piece in (data[:cut], data[cut:]) if piece]
    remembered, fresh = with_and_without(*order, *pieces)
    assert remembered == fresh


def test_credentials_are_still_compared() -> None:
    answering = responder()
    answering.credentials = Credentials("AC" + "f" * 32, "right")
    heads = heads_of(answering)
    for _ in range(3):
        assert STATUS.findall(connection(answering, heads).receive(FIRST)) == [b"401"]


def test_many_different_or_long_heads_do_not_pile_up() -> None:
    answering = responder()
    heads = heads_of(answering)
    side = connection(answering, heads)
    for number in range(600):
        for _ in range(2):
            side.receive(http(headers=(("X-Number", str(number)),), form={"To": "1"}))
    assert heads._remembered.cache_info().currsize <= 256
    assert len(heads._known) <= 256
    for _ in range(3):
        side.receive(http(headers=(("X-Long", "x" * 5000),), form=GOOD["Messages"]))
    assert heads._remembered.cache_info().misses == 600


def test_a_known_head_ends_a_connection_of_one_answer_too() -> None:
    answering = responder()
    heads = heads_of(answering)
    for _ in range(2):  # parsed, then known by its bytes
        side = Http1(answering.handle, answering, heads, once=True)
        assert STATUS.findall(side.receive(FIRST + FIRST)) == [b"201"]
        assert side.closed
