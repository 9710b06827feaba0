from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest

from ringback.addon.comparing import difference
from ringback.upstream.forwarder import live_error_code
from support.clients import GOOD, better, live_answer, send

if TYPE_CHECKING:
    from ringback.exchange import Answer

OK = send("Messages", GOOD["Messages"])
FAILED = send("Messages", better("Messages", To="+15005550001"))
XML = (
    b"<?xml version='1.0'?>\n<TwilioResponse><RestException><Code>%d</Code></RestException></TwilioResponse>"
)


def test_the_code_in_a_coded_body() -> None:
    coded = gzip.compress(b'{"code": 21211}')
    assert live_error_code(live_answer(400, "", (("content-encoding", "gzip"),), coded)) == 21211
    assert live_error_code(live_answer(400, "", (("Content-Encoding", "gzip"),), b"no gzip")) is None
    assert (
        live_error_code(live_answer(400, "", (("Content-Encoding", "unheard-of"),), b'{"code": 1}')) is None
    )


def test_status_and_code_are_compared_and_nothing_else() -> None:
    assert difference(OK, live_answer(201, "Sure", (), b"{}")) is None
    assert difference(FAILED, live_answer(400, "", (), b'{"code": 21211, "message": "other words"}')) is None
    assert difference(FAILED, live_answer(400, "", (), XML % 21211)) is None


@pytest.mark.parametrize(
    "reply, said",
    [
        (live_answer(400, "", (), b'{"code": 21217}'), "live answered 400 with code 21217"),
        (live_answer(429, "", (), b'{"code": 21211}'), "live answered 429 with code 21211"),
        (live_answer(201, "", (), b"{}"), "live answered 201"),
        (live_answer(400, "", (), b""), "live answered 400"),
    ],
)
def test_what_is_different_is_said_with_the_rule(reply: Answer, said: str) -> None:
    found = difference(FAILED, reply)
    assert found is not None
    assert found.startswith(f"{FAILED.source.rule}: expected 400 with code 21211, ")
    assert found.endswith(said)
