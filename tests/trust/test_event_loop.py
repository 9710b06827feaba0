"""One request holds the event loop for 50 ms at most: longer work is done in a thread, which has a limit."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from ringback import contract
from ringback.bounds import BusyError, LinearPattern, WorkThread
from ringback.cassettes import matching
from ringback.cassettes.misses import Miss
from ringback.cassettes.redaction import RedactedExchange
from ringback.contract import Answer, Names, Request
from ringback.control import Control
from ringback.drift.monitor import DriftMonitor
from ringback.exchange import LARGE
from ringback.records import Record
from ringback.responder import Responder
from ringback.settings import Settings
from support.clients import GOOD, post
from support.exchanges import Shelf
from support.exchanges import answer as recorded
from support.exchanges import request as asked
from support.upstream import module_upstream, twilio, upstream, upstream_ca

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from support.upstream import LoopbackUpstream

__all__ = ["module_upstream", "upstream", "upstream_ca"]

PROMISE = "no request keeps the others waiting"
TRIED = "bodies of a megabyte, large cassettes, full journals, patterns that never end"
NAMES = Names("api.twilio.com")
MEGABYTE = post("Messages", b"To=%2B14105550100&From=%2B15005550006&Body=" + b"%41" * 340_000)
SMALL = post("Messages", GOOD["Messages"])
WORK: tuple[tuple[Any, str], ...] = (
    (contract, "from_contract"),
    (matching, "plain_key"),
    (Miss, "answer"),
    (RedactedExchange, "__init__"),
    (RedactedExchange, "answer"),
    (DriftMonitor, "observe"),
    (Responder, "decide"),
)


def control(method: str, path: str, body: bytes = b"") -> Request:
    return Request(method, "127.0.0.1", f"/ringback/{path}", (("Host", "127.0.0.1"),), body, "http")


async def settled(got: Answer | Awaitable[Answer]) -> Answer:
    return got if isinstance(got, Answer) else await got


@pytest.fixture
def done_at(monkeypatch: pytest.MonkeyPatch) -> dict[str, set[bool]]:
    """What of `WORK` was done, and whether in the event loop's thread."""
    found: dict[str, set[bool]] = {}

    def watched(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            found.setdefault(name, set()).add(threading.current_thread() is threading.main_thread())
            return function(*given, **named)

        return call

    for owner, name in WORK:
        where = owner.__name__.rpartition(".")[2]
        monkeypatch.setattr(owner, name, watched(f"{where}.{name}", getattr(owner, name)))
    return found


@contextmanager
def opened(settings: Settings) -> Iterator[Responder]:
    responder = Responder.open(settings)
    try:
        yield responder
    finally:
        responder.close()


def test_others_are_answered_while_a_large_request_is_worked_on(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()
    responder = Responder(contract.load())
    decide = Responder.decide

    def held(self: Responder, request: Request, *more: Any) -> object:
        if request is MEGABYTE:
            begun.set()
            assert go_on.wait(60)
        return decide(self, request, *more)

    monkeypatch.setattr(Responder, "decide", held)

    async def main() -> None:
        large = asyncio.ensure_future(settled(responder.handle(MEGABYTE, NAMES)))
        assert await asyncio.to_thread(begun.wait, 60)
        health = Control(responder).handle(control("GET", "health"), "127.0.0.1")
        small = responder.handle(SMALL, NAMES)
        assert isinstance(health, Answer)
        assert isinstance(small, Answer)
        assert (health.status, small.status) == (200, 201)
        assert not large.done()
        go_on.set()
        assert (await large).status == 400  # 21617: more than 1,600 characters

    asyncio.run(main())
    responder.close()


@pytest.mark.parametrize("mode", ["offline", "auto", "online"])
def test_nothing_of_a_large_request_is_done_in_the_event_loop(
    upstream: LoopbackUpstream,
    tmp_path: Path,
    done_at: dict[str, set[bool]],
    monkeypatch: pytest.MonkeyPatch,
    mode: Any,
) -> None:
    if mode == "offline":
        Shelf(tmp_path).write((asked({"Body": "other", "To": "+14105550100"}), recorded()))
    upstream.rule = lambda _: twilio(201, None, text="y" * 100_000)
    settings = Settings(cassettes=tmp_path, strict=mode == "offline", mode=mode)
    if mode != "offline":
        settings = replace(
            settings, upstream=upstream.url, upstream_ca=upstream.ca, connect_timeout=20, timeout=20
        )
    responder = Responder.open(settings)
    done_at.clear()
    observed = asyncio.Event()
    if responder.monitor is not None:
        note = responder._note_drift

        def noted(*given: Any) -> None:
            note(*given)
            observed.set()

        monkeypatch.setattr(responder, "_note_drift", noted)

    async def main() -> Answer:
        got = await settled(responder.handle(MEGABYTE, NAMES))
        if responder.monitor is not None:
            await asyncio.wait_for(observed.wait(), 60)
        here.extend(name for name, threads in done_at.items() if True in threads)
        responder.close()
        return got

    here: list[str] = []
    got = asyncio.run(main())
    assert got.source.kind == ("contract" if mode == "offline" else "live") or got.status >= 400
    assert not here
    wanted = {"Responder.decide", "RedactedExchange.__init__"}
    wanted |= {"Miss.answer"} if mode == "offline" else {"matching.plain_key", "DriftMonitor.observe"}
    assert wanted <= set(done_at)


def test_a_small_request_is_answered_in_the_event_loop(tmp_path: Path, done_at: dict[str, set[bool]]) -> None:
    with opened(Settings(cassettes=tmp_path)) as responder:
        assert isinstance(responder.handle(SMALL, NAMES), Answer)
        largest = post("Messages", SMALL.body + b"x" * (LARGE - len(SMALL.body) - len(SMALL.target)))
        assert isinstance(responder.handle(largest, NAMES), Answer)
    assert done_at["Responder.decide"] == {True}


@pytest.mark.parametrize("large", ["file", "interaction"])
def test_a_large_cassette_is_read_in_a_thread(
    tmp_path: Path, done_at: dict[str, set[bool]], large: str
) -> None:
    form = {"Body": "hello", "To": "+14105550100"}
    fields = [(asked({"Body": str(n), "To": "+14105550100"}), recorded(number=n)) for n in range(40)]
    body = {"n": 7, "text": "x" * (2 * LARGE if large == "interaction" else 1)}
    Shelf(tmp_path).write(*fields, (asked(form), recorded(body)))
    name = next(tmp_path.glob("*.yaml")).stem
    with opened(Settings(cassettes=tmp_path, cassette="another")) as responder:
        done_at.clear()

        async def main() -> list[Answer]:
            request = asked(form)
            return [await settled(responder.handle(request, NAMES, user=name)) for _ in range(2)]

        first, _ = asyncio.run(main())
    assert first.source.kind == "cassette"
    assert done_at["Responder.decide"] == ({False} if large == "interaction" else {False, True})


def test_too_many_large_requests_are_refused_and_not_forwarded(
    upstream: LoopbackUpstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    decide = Responder.decide

    def held(self: Responder, *given: Any) -> object:
        assert go_on.wait(60)
        return decide(self, *given)

    monkeypatch.setattr(Responder, "decide", held)
    settings = Settings(
        mode="online", upstream=upstream.url, upstream_ca=upstream.ca, cassettes=tmp_path, timeout=20
    )
    responder = Responder.open(settings)
    responder.work = WorkThread(most=2)

    async def main() -> list[Answer]:
        waiting = [asyncio.ensure_future(settled(responder.handle(MEGABYTE, NAMES))) for _ in range(5)]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        seen = len(upstream.seen)
        go_on.set()
        assert seen == 0
        got = await asyncio.gather(*waiting)
        responder.close()
        return got

    got = asyncio.run(main())
    refused = [one for one in got if one.source.rule == "proxy.busy"]
    assert [(one.status, json.loads(one.body)["code"]) for one in refused] == [(429, 20429)] * 3
    assert len(upstream.forwarded) == 2


def test_what_takes_too_long_is_given_up() -> None:
    go_on = threading.Event()
    work = WorkThread(seconds=0.0)

    async def main() -> None:
        with pytest.raises(BusyError, match="not done within 0 seconds"):
            await work.run(lambda: go_on.wait(60))
        go_on.set()
        assert await work.run(lambda: 7, limited=False) == 7

    asyncio.run(main())
    work.close()


def test_others_are_answered_while_a_long_list_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    responder = Responder(contract.load())
    for _ in range(1000):
        responder.handle(SMALL, NAMES)
    turns = [0]
    as_dict = Record.as_dict
    longest = [0]

    def counted(self: Record, **named: Any) -> dict[str, Any]:
        turns[0] += 1
        longest[0] = max(longest[0], turns[0])
        return as_dict(self, **named)

    monkeypatch.setattr(Record, "as_dict", counted)

    async def main() -> Answer:
        found = asyncio.ensure_future(
            settled(Control(responder).handle(control("GET", "requests?limit=1000"), "127.0.0.1"))
        )
        while not found.done():
            turns[0] = 0
            await asyncio.sleep(0)
        return await found

    got = asyncio.run(main())
    assert len(json.loads(got.body)["requests"]) == 1000
    assert longest[0] <= 20


def test_rows_of_a_large_body_are_read_in_a_thread() -> None:
    responder = Responder(contract.load())
    body = json.dumps({"no such key": "x" * 2 * LARGE}).encode()
    got = Control(responder).handle(control("PUT", "contract/rows", body), "127.0.0.1")
    assert not isinstance(got, Answer)
    assert asyncio.run(settled(got)).status == 400  # type: ignore[arg-type] # no stream
    responder.close()


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)+$", "(.*)(.*)(.*)(.*)(.*)(.*)x", "(?:a?){30}a{30}b"])
def test_no_pattern_of_a_user_or_a_cassette_takes_for_ever(pattern: str) -> None:
    text = "a" * 50_000 + "!"
    assert LinearPattern(pattern).search(text) is None
    ignored = matching.MatchIgnore((f"Body={pattern}",))
    assert ignored.fields((("Body", text),)) == (("Body", text),)
    responder = Responder(contract.load())
    responder.handle(post("Messages", {**GOOD["Messages"], "Body": "a" * 40 + "!"}), NAMES)
    query = pattern.replace("+", "%2B").replace("?", "%3F")
    got = Control(responder).handle(control("GET", f"requests?body~={query}"), "127.0.0.1")
    assert isinstance(got, Answer)
    assert json.loads(got.body)["requests"] == []


@pytest.mark.skipif("TRUST_SCALE" not in os.environ, reason="large scale: scripts/test.py --trust")
def test_the_longest_wait_is_shown(record_property: pytest.RecordProperty, tmp_path: Path) -> None:
    """Measure how late a timer of 1 ms is at the most while requests of a megabyte are worked on."""
    Shelf(tmp_path).write(*((asked({"Body": str(n)}), recorded(number=n)) for n in range(300)))
    late = 0.0
    with opened(Settings(cassettes=tmp_path, strict=True, redact=("To",))) as responder:

        async def watch() -> None:
            nonlocal late
            while True:
                before = time.perf_counter()
                await asyncio.sleep(0.001)
                late = max(late, time.perf_counter() - before - 0.001)

        async def main() -> None:
            watching = asyncio.ensure_future(watch())
            for unit in (b"%41", b"eyJ-", b"token%3D+", b"%22%5C%22", b"%3C", b"basic+a-a-", b"A"):
                body = b"To=%2B14105550100&Body=" + unit * (1_000_000 // len(unit))
                await asyncio.gather(
                    *(settled(responder.handle(post("Messages", body), NAMES)) for _ in range(4))
                )
            watching.cancel()

        asyncio.run(main())
    record_property("tries", 28)
    record_property("figure", f"the event loop was late by {late * 1000:.0f} ms at the most")
