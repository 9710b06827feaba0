from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from ringback.drift.sources import UnansweredError, ask, choose
from support.drifting import ACCOUNT, CLAIM_SET, documented

if TYPE_CHECKING:
    from ringback.contract import Answer, Request


@pytest.mark.parametrize(
    "glob, shown",
    [
        ("Messages.to.blocked", {"Messages.to.blocked.json", "Messages.to.blocked.xml"}),
        ("outside.api.get.queues", {"outside.api.get.queues.json", "outside.api.get.queues.xml"}),
        ("text.21610", {"Messages.to.blocked.json", "Messages.to.blocked.xml"}),
    ],
)
def test_a_glob_chooses_the_requests_that_show_its_claims(glob: str, shown: set[str]) -> None:
    assert {probe.id for probe in choose(CLAIM_SET, [glob])} == shown


def test_a_field_s_claim_is_shown_by_the_answers_that_have_it() -> None:
    chosen = choose(CLAIM_SET, ["Calls.answer.sid"])
    assert chosen
    assert all("/Calls" in probe.path and probe.method == "POST" for probe in chosen)


@pytest.mark.parametrize("claim", sorted(CLAIM_SET.claims))
def test_every_claim_has_a_request_that_shows_it(claim: str) -> None:
    entries = [entry for item in CLAIM_SET.contract.resources for entry in (*item.magic, *item.required)]
    asked = {f"text.{entry.error}" for entry in entries} | {"text.20008"}
    # Codes of parameters that no row and no sentence is about, and a header that only a 401 has.
    unasked = claim == "header.www-authenticate" or (
        claim.startswith("text.") and ".".join(claim.split(".")[:2]) not in asked
    )
    assert choose(CLAIM_SET, [claim]) or unasked


def test_formats_can_be_chosen() -> None:
    assert {probe.format for probe in choose(CLAIM_SET, (), ["xml"])} == {"xml"}
    assert len(choose(CLAIM_SET)) == len(CLAIM_SET.probes)


def test_every_answer_is_an_observation_of_proven_credentials() -> None:
    told = []

    async def send(request: Request) -> tuple[Answer, str]:
        return documented(request), "c.yaml:1"

    probes = choose(CLAIM_SET, ["Messages.to.*"])
    asked = asyncio.run(ask(probes, ACCOUNT, send, report=told.append))
    assert [item.probe for item in asked] == probes
    assert told == asked
    assert {item.observation.who for item in asked if item.observation} == {"proven"}


def test_an_answer_that_fails_for_good_ends_the_asking() -> None:
    sent = []

    async def send(request: Request) -> tuple[Answer, str]:
        sent.append(request)
        raise UnansweredError("live credentials", final=True)

    asked = asyncio.run(ask(choose(CLAIM_SET, ["Messages.*"]), ACCOUNT, send))
    assert len(sent) == 1
    assert {item.reason for item in asked} == {"live credentials"}
    assert len(asked) > 10


def test_requests_are_as_far_apart_as_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    async def send(request: Request) -> tuple[Answer, str]:
        return documented(request), ""

    monkeypatch.setattr("ringback.drift.sources.asyncio.sleep", sleep)
    probes = choose(CLAIM_SET, ["Calls.to.*"])
    asyncio.run(ask(probes, ACCOUNT, send, pause=0.5))
    assert pauses == [0.5] * (len(probes) - 1)
    pauses.clear()
    asyncio.run(ask(probes, ACCOUNT, send))
    assert pauses == []


@pytest.mark.parametrize(
    "rule, some, none",
    [
        ("status.400.21610", "Messages.to.blocked", "Messages.from.valid"),
        ("error.message.21610", "Messages.to.blocked", "Messages.from.valid"),
        ("format.element.error", "Messages.to.blocked", None),
        ("header.x-new", "Messages.from.valid", None),
        ("Messages.answer.new", "Messages.from.valid", "Calls.from.valid"),
        ("text.30003", None, "Messages.to.blocked"),
        ("nothing.like.this", None, "Messages.to.blocked"),
    ],
)
def test_what_a_finding_is_called_chooses_the_requests_that_show_it(
    rule: str, some: str | None, none: str | None
) -> None:
    chosen = {claim for probe in choose(CLAIM_SET, [rule]) for claim in probe.claims}
    assert some is None or some in chosen
    assert none is None or none not in chosen
