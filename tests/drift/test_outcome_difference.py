from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from ringback.drift.compare import compare
from ringback.drift.monitor import outcome_difference
from ringback.drift.observation import Observation
from ringback.upstream.forwarder import live_error_code
from support.clients import GOOD, better, live_answer, send
from support.drifting import ACCOUNT, CLAIM_SET, NOW, documented, failing, probe

if TYPE_CHECKING:
    from collections.abc import Callable

    from ringback.exchange import Answer

OK = send("Messages", GOOD["Messages"])
FAILED = send("Messages", better("Messages", To="+15005550001"))
CREATED = documented(probe("example.message.sent").request(ACCOUNT))
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
    assert outcome_difference(OK, live_answer(201, "Sure", (), b"{}")) is None
    assert (
        outcome_difference(FAILED, live_answer(400, "", (), b'{"code": 21211, "message": "other words"}'))
        is None
    )
    assert outcome_difference(FAILED, live_answer(400, "", (), XML % 21211)) is None


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
    found = outcome_difference(FAILED, reply)
    assert found is not None
    assert found.startswith(f"{FAILED.source.rule}: expected 400 with code 21211, ")
    assert found.endswith(said)


# The checks of a body from which the code cannot be read.
OUTCOMES = ("error.code", "format.body")


@pytest.mark.parametrize("claim", ["example.message.sent", "Messages.to.blocked", "Messages.from.queue-full"])
@pytest.mark.parametrize(
    "change",
    [
        lambda answer: answer,
        failing(21211),
        failing(30003),
        failing(21610, 429),
        lambda answer: replace(answer, status=200),
        lambda answer: replace(answer, body=b""),
        lambda answer: replace(answer, status=201, body=CREATED.body),
    ],
)
def test_the_answer_s_own_header_never_disagrees_with_the_drift_report(
    claim: str, change: Callable[[Answer], Answer]
) -> None:
    request = probe(claim).request(ACCOUNT)
    live = change(documented(request))
    compared = compare(CLAIM_SET, Observation(request, live, "", NOW, "proven"))
    assert not compared.skipped
    differing = [check for check in compared.checks if check.difference is not None]
    differs = bool(compared.outcome and compared.outcome.difference) or any(
        check.difference.kind == "status" or check.general in OUTCOMES or check.specific in OUTCOMES
        for check in differing
        if check.difference is not None and (live.status >= 400 or check.difference.kind == "status")
    )
    assert (outcome_difference(CLAIM_SET.offline(request), live) is not None) == differs
