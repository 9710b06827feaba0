from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import pytest
from msgspec.structs import replace

from ringback import contract
from ringback.contract import Names
from ringback.drift.monitor import outcome_difference
from ringback.exchange import Answer, Forward
from ringback.responder import Mode, Responder
from ringback.upstream import forwarder as forwarding
from ringback.upstream.forwarder import Forwarder, Gateway
from ringback.upstream.http1 import UpstreamError
from ringback.upstream.proof import NotProvenError, Proof
from ringback.upstream.routes import Routes
from support.clients import ACCOUNT, ERROR_KEYS, GOOD, TOKEN, basic, error_of, live_answer, post

if TYPE_CHECKING:
    from ringback.exchange import Request
    from ringback.upstream.client import UpstreamClient
    from ringback.upstream.routes import UpstreamRoute

REQUEST = post("Messages", GOOD["Messages"])
TEST = live_answer(403, "FORBIDDEN", (), b'{"code": 20008}')
CREATED = live_answer(201, "CREATED", (("Content-Type", "application/json"),), b'{"sid": "SM1"}')


def error(status: int, code: int) -> Answer:
    return live_answer(status, "", (("Content-Type", "application/json"),), b'{"code": %d}' % code)


@dataclass
class Scripted:
    """An upstream that answers what it is told to: probes as test credentials unless told otherwise."""

    replies: list[Answer | Exception]
    probe: Answer | Exception = TEST
    asked: list[Request] = field(default_factory=list)

    async def exchange(self, route: UpstreamRoute, request: Request) -> Answer:
        assert route.host == request.host
        self.asked.append(request)
        reply = self.probe if request.method == "GET" else self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply

    @property
    def forwarded(self) -> int:
        return sum(request.method == "POST" for request in self.asked)

    def close(self) -> None:
        pass


def gateway(upstream: Scripted) -> Gateway:
    return Gateway(cast("UpstreamClient", upstream), Routes())


def forwarder_for(responder: Responder, upstream: Scripted, **more: Any) -> Forwarder:
    return Forwarder(
        gateway(upstream),
        refuse=responder.refusal,
        tally=responder.tally,
        compare=outcome_difference,
        auto=responder.mode == "auto",
        **more,
    )


def run(upstream: Scripted, mode: Mode, requests: int = 1, **more: Any) -> tuple[list[Answer], Responder]:
    responder = Responder(contract.load(), mode=mode)

    async def main() -> list[Answer]:
        forwarder = forwarder_for(responder, upstream, **more)
        answers = []
        for _ in range(requests):
            decided = responder.decide(REQUEST, Names(REQUEST.host))
            assert isinstance(decided, Forward)
            answers.append(await forwarder.forward(decided))
        return answers

    return asyncio.run(main()), responder


def source(answer: Answer) -> str:
    return answer.source.headers()[0][1]


# -- the second lock


@pytest.mark.parametrize("made_up", [True, False])
def test_the_gateway_takes_nothing_without_the_proof_for_it(made_up: bool) -> None:
    upstream = Scripted([CREATED])

    async def main() -> None:
        way, other = gateway(upstream), gateway(Scripted([]))
        proof = Proof(REQUEST.host, ACCOUNT, b"\0" * 64) if made_up else await other.prove(REQUEST)
        with pytest.raises(NotProvenError, match=r"credentials\.unproven"):
            await way.send(REQUEST, proof)
        mine = await way.prove(REQUEST)
        with pytest.raises(NotProvenError, match=r"credentials\.unproven"):
            await way.send(post_as("another"), mine)
        assert upstream.forwarded == 0
        assert (await way.send(REQUEST, mine)) == CREATED

    asyncio.run(main())


def post_as(token: str) -> Request:
    return replace(REQUEST, headers=(basic(ACCOUNT, token), *REQUEST.headers[1:]))


# -- answers


@pytest.mark.parametrize(
    "reply, probe, more, count",
    [
        (CREATED, TEST, {}, 0),
        (error(400, 21211), TEST, {}, 0),
        (UpstreamError("upstream.timeout", "no answer"), TEST, {}, 1),
        (error(503, 20500), TEST, {}, 1),
        (error(429, 20429), TEST, {}, 1),
        (CREATED, error(503, 20500), {}, 1),
        (CREATED, TEST, {"max_live": 0}, 1),
        (CREATED, error(401, 20003), {}, 0),  # the live API never answers these
        (CREATED, live_answer(200, "OK", (), b"{}"), {}, 0),
    ],
)
def test_what_the_live_api_did_not_answer_is_reported_with_its_client(
    reply: Answer | Exception, probe: Answer, more: dict[str, int], count: int
) -> None:
    told: list[tuple[str | None, bool]] = []
    run(
        Scripted([reply], probe),
        "online",
        unanswered=lambda _, user, *, waits: told.append((user, waits)),
        **more,
    )
    assert {user for user, _ in told} == {"default"}  # the cassette of clients that name none
    assert sum(1 if waits else -1 for _, waits in told) == count


def test_what_fails_unforeseen_has_no_answer() -> None:
    told: list[bool] = []
    with pytest.raises(ZeroDivisionError):
        run(Scripted([ZeroDivisionError()]), "online", unanswered=lambda *_, waits: told.append(waits))
    assert told == [True]


@pytest.mark.parametrize("mode", ["online", "auto"])
def test_the_live_answer_and_what_is_said_of_it(mode: Mode) -> None:
    upstream = Scripted([CREATED, error(400, 21211)])
    (first, second), responder = run(upstream, mode, 2)
    assert (first.status, first.body, source(first)) == (201, CREATED.body, "live")
    assert dict(first.source.headers())["Ringback-Contract"] == "agrees"
    said = dict(second.source.headers())["Ringback-Contract"]
    assert said.startswith("differs; Messages.")
    assert said.endswith("expected 201, live answered 400 with code 21211")
    assert (responder.tally.agreed, responder.tally.differences.total(), responder.tally.probes) == (1, 1, 1)


@pytest.mark.parametrize(
    "failure, rule",
    [
        (UpstreamError("upstream.connect", "refused"), "upstream.connect"),
        (UpstreamError("upstream.closed", "reset"), "upstream.closed"),
        (error(503, 0), "upstream.server-error"),
        (error(429, 20429), "upstream.rate-limited"),
    ],
)
def test_auto_falls_back_and_goes_back(failure: Answer | Exception, rule: str) -> None:
    told: list[str] = []
    upstream = Scripted([failure, failure, CREATED])
    (first, second, third), responder = run(upstream, "auto", 3, warn=told.append)
    for answer in (first, second):
        assert answer.status == 201
        assert source(answer).startswith("contract; rule=Messages.")
        assert source(answer).endswith(f"; fallback={rule}")
        assert dict(answer.source.headers())["Ringback-Fallback"]
    assert source(third) == "live"
    assert (len(told), responder.tally.fallbacks) == (1, {rule: 2})


def test_a_full_queue_is_an_answer() -> None:
    [answer], responder = run(Scripted([error(429, 21611)]), "auto")
    assert (answer.status, source(answer)) == (429, "live")
    assert not responder.tally.fallbacks


@pytest.mark.parametrize("mode", ["online", "auto"])
@pytest.mark.parametrize(
    "probe, rule, status",
    [
        (live_answer(200, "", (), b"{}"), "credentials.live", 403),
        (live_answer(401, "", (), b""), "credentials.wrong", 401),
        (live_answer(404, "", (), b"{}"), "credentials.unclear", 403),
    ],
)
def test_credentials_that_are_none_are_refused_in_every_mode(
    mode: Mode, probe: Answer, rule: str, status: int
) -> None:
    upstream = Scripted([], probe)
    [answer], _ = run(upstream, mode)
    assert (answer.status, source(answer).partition("; basis")[0]) == (status, f"gate; rule={rule}")
    assert upstream.forwarded == 0
    assert TOKEN not in str(answer)


@pytest.mark.parametrize("mode", ["online", "auto"])
@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"code": 20008}', b'{"code": 20003}', b"<html>", b"[" * 100_000, b"\xff\0"]
)
def test_a_probe_answered_by_any_status_forwards_only_with_403_and_20008(mode: Mode, body: bytes) -> None:
    for status in range(200, 1000):
        upstream = Scripted([CREATED], live_answer(status, "", (), body))
        [answer], _ = run(upstream, mode)
        proven = status == 403 and body == b'{"code": 20008}'
        assert upstream.forwarded == proven, status
        if not proven and not (mode == "auto" and status >= 500):
            assert 400 <= answer.status < 500
            assert list(error_of(answer.body, answer.header("Content-Type"))) == ERROR_KEYS


def test_after_a_timeout_it_is_left_alone_for_a_while() -> None:
    upstream = Scripted([UpstreamError("upstream.timeout", "late"), CREATED])
    answers, responder = run(upstream, "auto", 3, pause=3600.0)
    assert [source(answer).rpartition("=")[2] for answer in answers] == ["upstream.timeout"] * 3
    assert upstream.forwarded == 1
    assert responder.tally.fallbacks == {"upstream.timeout": 3}
    # Online there is nothing to fall back on: each request asks.
    upstream = Scripted([UpstreamError("upstream.timeout", "late"), CREATED])
    answers, _ = run(upstream, "online", 2, pause=3600.0)
    assert [answer.status for answer in answers] == [424, 201]


@pytest.mark.parametrize("mode", ["online", "auto"])
@pytest.mark.parametrize("most", [0, 1])
def test_the_budget(mode: Mode, most: int) -> None:
    upstream = Scripted([CREATED] * 3)
    answers, _ = run(upstream, mode, 3, max_live=most)
    assert [source(answer).partition(";")[0] for answer in answers] == ["live"] * most + ["contract"] * (
        3 - most
    )
    assert upstream.forwarded == most
    assert len(upstream.asked) == 2 * most


def test_concurrent_requests_do_not_overdraw_the_budget() -> None:
    upstream = Scripted([CREATED] * 64)
    responder = Responder(contract.load(), mode="online")

    async def main() -> list[Answer]:
        forwarder = forwarder_for(responder, upstream, max_live=5)
        decided = responder.decide(REQUEST, Names(REQUEST.host))
        assert isinstance(decided, Forward)
        return await asyncio.gather(*(forwarder.forward(decided) for _ in range(64)))

    assert sum(source(answer) == "live" for answer in asyncio.run(main())) == 5
    assert upstream.forwarded == 5


# -- recording


def test_live_answers_are_recorded_before_they_are_given() -> None:
    kept: list[tuple[Request, Answer, str | None]] = []

    async def record(request: Request, answer: Answer, user: str | None) -> str:
        await asyncio.sleep(0)
        kept.append((request, answer, user))
        return "mine#1"

    upstream = Scripted([CREATED, error(503, 0), error(429, 20429), error(400, 21211)])
    answers, _ = run(upstream, "online", 4, record=record)
    assert [answer.status for _, answer, _ in kept] == [201, 400]
    assert (kept[0][0], kept[0][1].body, kept[0][1].source.kind) == (REQUEST, CREATED.body, "live")
    said = [dict(answer.source.headers()).get("Ringback-Cassette") for answer in answers]
    assert said == ["mine#1", None, None, "mine#1"]


def test_live_answers_are_observed_after_they_are_given() -> None:
    seen: list[tuple[int, str]] = []
    upstream = Scripted([CREATED, error(503, 0), error(429, 20429), error(400, 21211)])
    responder = Responder(contract.load(), mode="online")

    async def record(*_: object) -> str:
        return "mine#1"

    async def main() -> None:
        forwarder = forwarder_for(
            responder,
            upstream,
            record=record,
            observe=lambda _, answer, where, __: seen.append((answer.status, where)),
        )
        decided = responder.decide(REQUEST, Names(REQUEST.host))
        assert isinstance(decided, Forward)
        for _ in range(4):
            await forwarder.forward(decided)
            assert seen == []
        forwarder.close()  # at the end at the latest, in their order
        assert seen == [(201, "mine#1"), (400, "mine#1")]

    asyncio.run(main())


def test_answers_are_observed_when_no_client_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarding, "_AFTER_ANSWER", 0.0)
    monkeypatch.setattr(forwarding, "_MOST_UNOBSERVED", 2)
    seen: list[str] = []
    last = asyncio.Event()
    places = iter(("#1", "#2", "#3", "#4", "#5"))
    responder = Responder(contract.load(), mode="online")

    async def record(*_: object) -> str:
        place = next(places)
        if place == "#1":
            await last.wait()  # the disk is slow for one of them
        return place

    async def turns() -> list[str]:
        for _ in range(50):
            await asyncio.sleep(0)
        return seen

    async def main() -> None:
        forwarder = forwarder_for(
            responder,
            Scripted([CREATED] * 5),
            record=record,
            observe=lambda _, __, where, ___: seen.append(where),
        )
        decided = responder.decide(REQUEST, Names(REQUEST.host))
        assert isinstance(decided, Forward)
        slow = asyncio.create_task(forwarder.forward(decided))
        await turns()
        for _ in range(2):
            await forwarder.forward(decided)
        assert await turns() == []
        for _ in range(2):
            await forwarder.forward(decided)
        assert await turns() == ["#2", "#3"]  # no more than two wait
        last.set()
        await slow
        assert await turns() == ["#2", "#3", "#4", "#5", "#1"]
        forwarder.close()

    asyncio.run(main())


def test_an_observer_that_fails_takes_no_answer_away() -> None:
    seen: list[int] = []
    failures: list[object] = []
    done = asyncio.Event()

    def observe(_request: Request, answer: Answer, _where: str, _expected: Answer) -> None:
        seen.append(answer.status)
        if len(seen) == 1:
            raise ZeroDivisionError
        done.set()

    responder = Responder(contract.load(), mode="online")

    async def main() -> list[Answer]:
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: failures.append(context["exception"])
        )
        forwarder = forwarder_for(responder, Scripted([CREATED, CREATED]), observe=observe)
        decided = responder.decide(REQUEST, Names(REQUEST.host))
        assert isinstance(decided, Forward)
        answers = [await forwarder.forward(decided) for _ in range(2)]
        async with asyncio.timeout(20):
            await done.wait()
        return answers

    assert [answer.status for answer in asyncio.run(main())] == [201, 201]
    assert (len(failures), seen) == (1, [201, 201])


@pytest.mark.parametrize(
    "source", ["contract; rule=Messages.from.valid", "gate; rule=resource.unsupported", "cassette"]
)
def test_an_offline_ringback_on_the_way_is_not_taken_for_the_live_api(source: str) -> None:
    there = gateway(Scripted([], probe=replace(TEST, headers=(("Ringback-Source", source),))))
    with pytest.raises(UpstreamError, match="another Ringback"):
        asyncio.run(there.prove(REQUEST))


def test_one_that_forwards_is_a_proxy_like_any_other() -> None:
    there = gateway(Scripted([], probe=replace(TEST, headers=(("Ringback-Source", "live"),))))
    assert asyncio.run(there.prove(REQUEST))
