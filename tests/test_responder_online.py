"""The responder that settings describe, in a mode that forwards, against a mock upstream."""

from __future__ import annotations

import asyncio
import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ringback import contract
from ringback.contract import Answer, Names
from ringback.drift.monitor import DriftMonitor
from ringback.responder import Responder
from ringback.settings import Settings
from support.clients import GOOD, post
from support.drifting import ACCOUNT, documented, failing, probe
from support.upstream import HANG, module_upstream, twilio, upstream, upstream_ca

if TYPE_CHECKING:
    from support.upstream import LoopbackUpstream

__all__ = ["module_upstream", "upstream", "upstream_ca"]


def settings(upstream: LoopbackUpstream, directory: Path) -> Settings:
    return Settings(
        mode="auto",
        upstream=upstream.url,
        upstream_ca=upstream.ca,
        connect_timeout=20,
        timeout=20,
        cassettes=directory,
    )


def answers(given: Settings, count: int) -> tuple[list[Answer], DriftMonitor]:
    """Return the answers to `count` equal requests, and what looked at them."""
    responder = Responder.open(given)
    assert responder.monitor is not None

    async def main() -> list[Answer]:
        got = []
        for number in range(count):
            request = post("Messages", {**GOOD["Messages"], "Body": f"number {number}"})
            answer = responder.handle(request, Names(request.host))
            assert not isinstance(answer, Answer), "it is forwarded"
            got.append(await answer)
        responder.close()
        return got

    return asyncio.run(main()), responder.monitor


def source(answer: Answer) -> str:
    return answer.source.headers()[0][1]


def test_what_comes_back_is_recorded_and_looked_at(upstream: LoopbackUpstream, tmp_path: Path) -> None:
    ([got], drift) = answers(settings(upstream, tmp_path), 1)
    assert (got.status, source(got)) == (201, "live")
    assert b"Twilio-Request-Id" in (tmp_path / "default.yaml").read_bytes()
    assert drift.compared == 1
    # The mock upstream's has a sid only.
    (missing,) = (one for one in drift.findings() if one.rule == "Messages.answer")
    assert "/body" in missing.pointers


def test_the_budget_counts(upstream: LoopbackUpstream, tmp_path: Path) -> None:
    given = replace(settings(upstream, tmp_path), max_live=1)
    got, _ = answers(given, 2)
    assert [source(one).partition(";")[0] for one in got] == ["live", "contract"]
    assert len(upstream.forwarded) == 1


def test_roots_that_do_not_know_the_live_api_are_a_fallback(
    upstream: LoopbackUpstream, tmp_path: Path
) -> None:
    given = replace(settings(upstream, tmp_path), upstream_ca=None)
    ([got], _) = answers(given, 1)
    assert "fallback=upstream.tls" in source(got)
    assert upstream.seen == []


def test_who_did_not_answer_in_time_is_left_alone_for_that_long(
    upstream: LoopbackUpstream, tmp_path: Path
) -> None:
    upstream.rule = lambda _: HANG
    given = replace(settings(upstream, tmp_path), connect_timeout=20, timeout=3.0)
    got, _ = answers(given, 2)
    assert ["fallback=upstream.timeout" in source(one) for one in got] == [True, True]
    assert len(upstream.forwarded) == 1


@pytest.mark.parametrize("status", [200, 403])
def test_each_gateway_asks_for_its_own_proof(upstream: LoopbackUpstream, tmp_path: Path, status: int) -> None:
    upstream.probe = lambda _: twilio(status, 20008 if status == 403 else None)
    given = replace(settings(upstream, tmp_path), mode="online")
    for count in (1, 2):
        ([got], _) = answers(given, 1)
        assert (source(got) == "live") == (status == 403)
        assert len(upstream.probes) == count


def test_a_finding_is_shown_again_by_a_command_that_asks_the_same_api(
    upstream: LoopbackUpstream, tmp_path: Path
) -> None:
    own = tmp_path / "own rows.yaml"
    own.write_text("magic: []\n")
    given = replace(settings(upstream, tmp_path), contract=(own,))
    _, drift = answers(given, 1)
    words = shlex.split(drift.findings()[0].reproduce)
    assert words[:2] == ["ringback", "drift"]
    for option, value in (
        ("--upstream", upstream.url),
        ("--upstream-ca", str(upstream.ca)),
        ("--contract", str(own)),
    ):
        assert words[words.index(option) + 1] == value
    elsewhere = tmp_path / "elsewhere"
    _, plain = answers(replace(given, contract=(), cassettes=elsewhere, upstream_ca=None), 1)
    assert plain.arguments == ("--upstream", upstream.url)


def asked_again(**settings: Any) -> str:
    """What a finding says of how to see it again."""
    responder = Responder.open(Settings(mode="online", **settings))
    assert responder.monitor is not None
    return " ".join(responder.monitor.arguments)


def test_findings_are_seen_again_where_they_were_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text("magic: []\n")
    assert asked_again() == ""
    upstream = "https://127.0.0.1:4010"
    found = asked_again(upstream=upstream, contract=(Path("a.yaml"), Path("b.yaml")))
    wanted = "--upstream https://127.0.0.1:4010 --contract a.yaml --contract b.yaml"
    assert found == wanted


def test_a_finding_reports_how_to_see_it_again() -> None:
    drift = DriftMonitor(contract.load(), "somebody", lambda _: None)
    request = probe("Messages.to.blocked").request(ACCOUNT)
    drift.observe(request, failing(30003)(documented(request)), "c.yaml:1")
    (finding,) = drift.findings()
    assert finding.reproduce == "ringback drift --only Messages.to.blocked"
    drift.arguments = ("--upstream", "http://127.0.0.1:1", "--contract", "a b.yaml")
    (finding,) = drift.findings()
    wanted = "ringback drift --upstream http://127.0.0.1:1 --contract 'a b.yaml' --only Messages.to.blocked"
    assert finding.reproduce == wanted


@pytest.mark.parametrize("mode", ["offline", "auto", "online"])
def test_a_form_of_too_many_fields_is_neither_looked_up_nor_forwarded(
    upstream: LoopbackUpstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    responder = Responder.open(replace(settings(upstream, tmp_path), mode=mode))
    assert responder.cassettes is not None
    monkeypatch.setattr(responder.cassettes, "lookup", None)
    request = post("Messages", b"a&" * 500_000)
    got = responder.handle(request, Names(request.host))
    responder.close()
    assert isinstance(got, Answer)
    assert (got.status, got.source.rule) == (400, "form.malformed")
    assert upstream.seen == []
