"""The forwarder that the options ask for, against a real stand-in."""

from __future__ import annotations

import asyncio
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from ringback import contract
from ringback.addon.forwarding import forwarder, gateway
from ringback.cassettes.manager import CassetteManager, CassetteOptions
from ringback.contract import Answer, Names
from ringback.drift.monitor import DriftMonitor
from ringback.exchange import Forward
from ringback.responder import Responder
from ringback.settings import Settings
from support.clients import GOOD, post
from support.upstream import HANG, module_upstream, twilio, upstream, upstream_ca

if TYPE_CHECKING:
    from pathlib import Path

    from support.upstream import StandIn

__all__ = ["module_upstream", "upstream", "upstream_ca"]

REQUEST = post("Messages", GOOD["Messages"])


def settings(upstream: StandIn, directory: Path) -> Settings:
    return Settings(
        mode="auto",
        upstream=upstream.url,
        upstream_ca=upstream.ca,
        connect_timeout=20,
        timeout=20,
        cassettes=directory,
    )


def answers(given: Settings, count: int, told: list[str]) -> tuple[list[Answer], DriftMonitor]:
    """What `count` equal requests get."""
    responder = Responder(contract.load(), mode=given.mode)
    drift = DriftMonitor(responder.contract, "x", told.append)
    replay = CassetteManager(CassetteOptions(given.cassettes), given.mode, report=told.append)

    async def main() -> list[Answer]:
        way = forwarder(responder, given, replay, drift, told.append)
        got = []
        for _ in range(count):
            decided = responder.decide(REQUEST, Names(REQUEST.host))
            assert isinstance(decided, Forward)
            got.append(await way.forward(decided))
        way.close()
        return got

    try:
        return asyncio.run(main()), drift
    finally:
        replay.close()


def source(answer: Answer) -> str:
    return answer.source.headers()[0][1]


def test_what_comes_back_is_recorded_and_looked_at(upstream: StandIn, tmp_path: Path) -> None:
    told: list[str] = []
    ([got], drift) = answers(settings(upstream, tmp_path), 1, told)
    assert (got.status, source(got)) == (201, "live")
    assert b"Twilio-Request-Id" in (tmp_path / "default.yaml").read_bytes()
    assert drift.compared == 1
    assert "Messages.answer.body" in {one.rule for one in drift.findings()}  # the stand-in's has a sid only


def test_the_budget_counts(upstream: StandIn, tmp_path: Path) -> None:
    given = replace(settings(upstream, tmp_path), max_live=1)
    told: list[str] = []
    got, _ = answers(given, 2, told)
    assert [source(one).partition(";")[0] for one in got] == ["live", "contract"]
    assert len(upstream.forwarded) == 1
    assert told


def test_roots_that_do_not_know_the_live_api_are_a_fallback(upstream: StandIn, tmp_path: Path) -> None:
    given = replace(settings(upstream, tmp_path), upstream_ca=None)
    ([got], _) = answers(given, 1, [])
    assert "fallback=upstream.tls" in source(got)
    assert upstream.seen == []


def test_who_did_not_answer_in_time_is_left_alone_for_that_long(upstream: StandIn, tmp_path: Path) -> None:
    upstream.rule = lambda _: HANG
    given = replace(settings(upstream, tmp_path), connect_timeout=20, timeout=0.2)
    got, _ = answers(given, 2, [])
    assert ["fallback=upstream.timeout" in source(one) for one in got] == [True, True]
    assert len(upstream.forwarded) == 1


@pytest.mark.parametrize("status", [200, 403])
def test_each_gateway_asks_for_its_own_proof(upstream: StandIn, tmp_path: Path, status: int) -> None:
    upstream.probe = lambda _: twilio(status, 20008 if status == 403 else None)
    given = replace(settings(upstream, tmp_path), mode="online")
    for count in (1, 2):
        ([got], _) = answers(given, 1, [])
        assert (source(got) == "live") == (status == 403)
        assert len(upstream.probes) == count
    assert gateway(given) is not gateway(given)


def test_a_finding_is_shown_again_by_a_command_that_asks_the_same_api(
    upstream: StandIn, tmp_path: Path
) -> None:
    own = tmp_path / "own rows.yaml"
    given = replace(settings(upstream, tmp_path), contract=(own,))
    _, drift = answers(given, 1, [])
    words = shlex.split(drift.findings()[0].reproduce)
    assert words[:2] == ["ringback", "drift"]
    for option, value in (
        ("--upstream", upstream.url),
        ("--upstream-ca", str(upstream.ca)),
        ("--contract", str(own)),
    ):
        assert words[words.index(option) + 1] == value
    _, plain = answers(replace(given, contract=(), upstream_ca=None), 1, [])
    assert plain.arguments == ("--upstream", upstream.url)
