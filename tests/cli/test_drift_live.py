"""Asking the live API: with the pair that was given, recorded on the way, each answer in its place."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from ringback.cli.drift import progress, send_all
from ringback.drift.sources import choose
from support.drifting import ACCOUNT, CLAIM_SET, TOKEN
from support.upstream import module_upstream, twilio, upstream, upstream_ca

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ringback.drift.sources import Asked
    from support.upstream import LoopbackUpstream

__all__ = ["module_upstream", "upstream", "upstream_ca"]

PROBES = choose(CLAIM_SET, ["Messages.to.blocked", "Messages.to.no-sms"], ["json"])


def asked(server: LoopbackUpstream, directory: Path, **more: Any) -> Sequence[Asked]:
    options = {
        "upstream": server.url,
        "upstream_ca": server.ca,
        "egress_proxy": None,
        "connect_timeout": 10.0,
        "timeout": 30.0,
        "cassette": directory / "drift-answers.yaml",
        "rate": None,
        **more,
    }
    return asyncio.run(send_all(PROBES, (ACCOUNT, TOKEN), options))


def test_every_probe_is_sent_with_the_pair_and_points_to_where_it_was_recorded(
    upstream: LoopbackUpstream, tmp_path: Path
) -> None:
    upstream.rule = lambda seen: twilio(400, 21610, message=dict(seen.form)["To"])
    got = asked(upstream, tmp_path)
    assert [seen.pair for seen in upstream.seen] == [(ACCOUNT, TOKEN)] * 3
    assert [dict(seen.form) for seen in upstream.forwarded] == [dict(probe.form) for probe in PROBES]
    text = (tmp_path / "drift-answers.yaml").read_text()
    assert TOKEN not in text
    lines = text.split("\n")
    for item, probe in zip(got, PROBES, strict=True):
        assert item.observation is not None
        assert dict(probe.form)["To"].encode() in item.observation.answer.body
        path, _, line = item.observation.where.rpartition(":")
        assert (path, lines[int(line) - 1]) == (str(tmp_path / "drift-answers.yaml"), "- request:")
    assert len({item.observation.where for item in got if item.observation}) == len(got)


@pytest.mark.parametrize(
    "status, code, said",
    [(200, None, "is a live account, which is never used here"), (401, 20003, "do not belong together")],
)
def test_a_pair_that_is_not_of_test_credentials_sends_nothing_else(
    upstream: LoopbackUpstream, tmp_path: Path, status: int, code: int | None, said: str
) -> None:
    upstream.probe = lambda _: twilio(status, code)
    got = asked(upstream, tmp_path)
    assert upstream.forwarded == []
    assert [said in item.reason for item in got] == [True] * len(PROBES)
    assert not (tmp_path / "drift-answers.yaml").exists()


def test_one_without_an_answer_is_reported_and_the_others_are_asked(
    upstream: LoopbackUpstream, tmp_path: Path
) -> None:
    lost = dict(PROBES[0].form)["To"]
    upstream.rule = lambda seen: None if dict(seen.form)["To"] == lost else twilio(400, 21612)
    first, second = asked(upstream, tmp_path)
    assert (first.observation, first.reason.startswith("no answer (upstream.closed)")) == (None, True)
    assert second.observation is not None
    assert second.observation.where.startswith(str(tmp_path / "drift-answers.yaml"))


def test_without_a_network_the_first_failed_proof_ends_the_run(
    upstream: LoopbackUpstream, tmp_path: Path
) -> None:
    upstream.probe = lambda _: None
    got = asked(upstream, tmp_path)
    assert len(upstream.seen) == 1
    (reason,) = {item.reason for item in got}
    assert reason.startswith("the credentials cannot be proven, no answer (upstream.closed)")
    assert [item.harmless for item in got] == [False] * len(PROBES)


def test_nothing_moves_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("asking", 2) as step:
        step()
    assert capsys.readouterr() == ("", "")
