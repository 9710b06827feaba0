"""Heads seen before: what they give is what parsing them again would."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringback.contract.form import MAX_BODY
from ringback.contract.gate import Credentials
from ringback.contract.stamps import SeededStamps
from support.clients import ACCOUNT, GOOD, basic, http
from support.mitm import loaded  # noqa: F401 - imports mitmproxy with its dependencies' warnings off

from ringback.addon.flows import agreed_names  # isort: skip - after the import above
from ringback.addon.handlers import RingbackAddon  # isort: skip - as above
from ringback.addon.heads import MAX_KEPT, Head, Heads  # isort: skip - as above
from ringback.addon.layer import Http1  # isort: skip - as above

TARGET, SNI = ("api.twilio.com", 443), "api.twilio.com"
FIRST = http(form={**GOOD["Messages"], "Body": "one"})
SAME_HEAD = http(form={**GOOD["Messages"], "Body": "two"})


class Kept(Heads):
    """Counts what was found."""

    def __init__(self) -> None:
        super().__init__()
        self.found = 0

    def find(self, data: bytes) -> tuple[Head, bytes] | None:
        found = super().find(data)
        self.found += found is not None
        return found


def connection(heads: Heads, addon: RingbackAddon | None = None) -> Http1:
    addon = addon or RingbackAddon()
    addon.responder.stamps = SeededStamps(1)
    return Http1(addon, addon.answer, partial(agreed_names, target=TARGET, sni=SNI), heads)


def both(*pieces: bytes) -> tuple[bytes, bytes, int]:
    """The answers where heads are remembered, those where none is, and how many were."""
    heads = Kept()
    with_them, without = connection(heads), connection(Heads())
    known = b"".join([with_them.receive(piece) for piece in pieces])
    anew = b""
    for piece in pieces:
        without._heads = Heads()
        anew += without.receive(piece)
    assert with_them.closed == without.closed
    assert with_them.waiting == without.waiting
    return known, anew, heads.found


def test_a_head_seen_before_is_not_parsed_again() -> None:
    known, anew, found = both(FIRST, SAME_HEAD, FIRST, SAME_HEAD)
    assert known == anew
    assert found == 2  # kept when it came for the second time
    assert known.count(b"HTTP/1.1 201 ") == 4
    assert b'"body": "two"' in known


def test_another_connection_knows_it_too() -> None:
    heads = Kept()
    for _ in range(3):
        assert b" 201 " in connection(heads).receive(SAME_HEAD)
    assert heads.found == 1


REFUSED = (
    http("/2010-04-01/Accounts/" + ACCOUNT + "/Calls/CA1.json", form={"To": "1"}),
    http(headers=(basic("ACother"),), form={"To": "1"}),
    http("/x", form={"To": "1"}),
)
UNUSUAL = (
    http(headers=(("Transfer-Encoding", "chunked"),)) + b"0\r\n\r\n",
    http(headers=(("Transfer-Encoding", "chunked"),)) + b"4\r\nTo=1\r\n0\r\n\r\n",
    http(headers=(("Expect", "100-continue"),), form={"To": "1"}),
    http(headers=(("Upgrade", "websocket"), ("Connection", "Upgrade")), form={"To": "1"}),
    http(headers=(("Connection", "close"),), form={"To": "1"}),
    http(form={"To": "1"}).replace(b"HTTP/1.1", b"HTTP/1.0"),
    http(headers=(("Content-Length", str(MAX_BODY + 1)),)) + b"a" * (MAX_BODY + 1),
    b"GET /2010-04-01/Accounts.json HTTP/1.1\r\nHost: api.twilio.com\r\n\r\n",
    b"HEAD /2010-04-01/Accounts.json HTTP/1.1\r\nHost: api.twilio.com\r\n\r\n",
    b"\r\n" + FIRST,
    b"\r\n\r\n" + FIRST,
    FIRST + SAME_HEAD,
    FIRST + b"\r\n",
    FIRST[:-1],
    FIRST + b"x",
    b"\r\n\r\n",
    b"x\r\n\r\n",
)


@pytest.mark.parametrize("data", [*REFUSED, *UNUSUAL])
def test_whatever_is_sent_twice_is_answered_alike_twice(data: bytes) -> None:
    known, anew, _found = both(data, data, data, data)
    assert known == anew


PIECES = [FIRST, SAME_HEAD, *REFUSED, *UNUSUAL[:4], *UNUSUAL[7:]]


@given(order=st.lists(st.sampled_from(PIECES), max_size=9), cut=st.integers(0, 400))
@settings(max_examples=150, deadline=None)
def test_the_order_does_not_matter_nor_do_pieces(order: list[bytes], cut: int) -> None:
    pieces = [piece for data in order for piece in (data[:cut], data[cut:]) if piece]
    known, anew, _found = both(*order, *pieces)
    assert known == anew


def test_a_body_of_another_length_is_not_taken_for_a_whole_request() -> None:
    side = connection(Kept())
    side.receive(FIRST + FIRST)
    side.receive(FIRST)
    side.receive(FIRST)
    assert side.receive(SAME_HEAD[:-1]) == b""
    assert side.waiting
    assert b'"body": "two"' in side.receive(SAME_HEAD[-1:])


def test_a_long_head_is_not_kept() -> None:
    heads = Kept()
    side = connection(heads)
    data = http(headers=(("X-Long", "x" * MAX_KEPT),), form=GOOD["Messages"])
    assert side.receive(data).count(b" 201 ") == 1
    side.receive(data)
    side.receive(data)
    assert heads.found == 0


def test_credentials_are_still_compared() -> None:
    addon = RingbackAddon()
    addon.responder.credentials = Credentials("AC" + "f" * 32, "right")
    heads = Kept()
    for _ in range(3):
        assert b" 401 " in connection(heads, addon).receive(FIRST)
    assert heads.found == 1


def test_many_different_heads_do_not_pile_up() -> None:
    heads = Heads()
    side = connection(heads)
    for number in range(600):
        for _ in range(2):
            side.receive(http(headers=(("X-Number", str(number)),), form={"To": "1"}))
    assert 0 < len(heads._known) <= 256
    assert len(heads._seen) <= 256


def test_the_end_of_a_head_is_never_taken_for_a_head() -> None:
    begun, rest = FIRST[:60], FIRST[60:]
    known, anew, found = both(begun, rest, begun, rest, begun, rest, rest)
    assert known == anew
    assert found == 0
    assert b"request.malformed" in known
