"""What goes wrong between the proxy and the live API: told in `online`, bridged in `auto`."""

from __future__ import annotations

import itertools
import socket
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from support.clients import GOOD, Response, basic, http, path
from support.proxying import serve
from support.upstream import CREATED, HANG, RESET, arguments, loopback_upstream, response, twilio

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.proxying import Serving
    from support.upstream import LoopbackUpstream, Seen, ThrowAway

    Pairs = Callable[[], tuple[str, str]]

NUMBERS = itertools.count()


@dataclass(frozen=True)
class Fault:
    """Something that an upstream does, and what is answered.

    Attributes:
        rule: The refusal in online, and the reason for falling back in auto.
        said: A word of its detail.
        answer: What it answers, or nothing to answer.
        before_tls: What it does before TLS.
    """

    rule: str
    said: str
    answer: bytes | None = CREATED
    before_tls: str = ""


FAULTS = {
    "closing": Fault("upstream.closed", "closed", None),
    "resetting": Fault("upstream.closed", "reset", RESET),
    "resetting before TLS": Fault("upstream.tls", "handshake", before_tls="reset"),
    "garbage before TLS": Fault("upstream.tls", "", before_tls="garbage"),
    "garbage": Fault("upstream.invalid", "", b"\x00\x01\x02 this is no HTTP\r\n\r\n"),
    "half a head": Fault("upstream.closed", "closed", b"\0closeHTTP/1.1 201 CREATED\r\nContent-Le"),
    "half a body": Fault(
        "upstream.closed", "closed", b"\0closeHTTP/1.1 201 CREATED\r\nContent-Length: 9\r\n\r\n{"
    ),
    "half a chunk": Fault(
        "upstream.closed", "closed", b"\0closeHTTP/1.1 201 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"
    ),
    "a chunk without a size": Fault(
        "upstream.invalid", "", b"HTTP/1.1 201 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
    ),
    "another protocol": Fault(
        "upstream.invalid",
        "",
        b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    ),
    "a length of 2^63": Fault(
        "upstream.invalid", "bytes", b"HTTP/1.1 201 OK\r\nContent-Length: 9223372036854775808\r\n\r\n{"
    ),
    "an endless head": Fault("upstream.invalid", "", b"HTTP/1.1 201 OK\r\n" + b"X: y\r\n" * 50_000),
    "endless interim answers": Fault("upstream.invalid", "parts", b"HTTP/1.1 100 C\r\n\r\n" * 100_001),
    "an endless answer": Fault("upstream.invalid", "bytes", response(201, b"x" * (16 * 1024 * 1024 + 1))),
}


def asked(serving: Serving, pair: tuple[str, str], **form: str) -> Response:
    data = http(
        target=path(account=pair[0]),
        form={**GOOD["Messages"], "Body": f"number {next(NUMBERS)}", **form},  # in no cassette
        headers=[basic(*pair)],
        authorized=False,
    )
    return serving.ask(data)


def is_told(got: Response, rule: str, said: str = "", status: int = 424) -> None:
    error = got.error()
    assert (got.status, got.header("Ringback-Source")) == (status, f"gate; rule={rule}; basis=assumed")
    assert said in error["message"], error
    assert error["code"] in {20503, 20504}


def is_bridged(got: Response, rule: str) -> None:
    assert got.status == 201
    assert got.json()["status"] == "queued"
    source = got.header("Ringback-Source") or ""
    assert (source.startswith("contract; rule=Messages."), source.endswith(f"; fallback={rule}")) == (
        True,
        True,
    )
    assert got.header("Ringback-Fallback")


@pytest.mark.parametrize("probing", [True, False], ids=["probe", "request"])
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_reported_online_and_bridged_in_auto(
    online: Serving, auto: Serving, upstream: LoopbackUpstream, pair: Pairs, name: str, probing: bool
) -> None:
    fault = FAULTS[name]
    who = pair()
    if not probing:
        for serving in (online, auto):
            assert asked(serving, who).status == 201
    upstream.drop()
    upstream.before_tls = fault.before_tls
    upstream.rule = upstream.probe = lambda _: fault.answer
    upstream.seen.clear()
    is_told(asked(online, who), fault.rule, fault.said)
    assert len(upstream.seen) <= 1  # nothing is sent twice
    is_bridged(asked(auto, who), fault.rule)
    # Both go back by themselves as soon as there is an answer.
    upstream.reset()
    for serving in (online, auto):
        assert asked(serving, who).header("Ringback-Source") == "live"


def test_nobody_listens(home: Path, tmp_path: Path, pair: Pairs) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    where = ["--upstream", f"https://127.0.0.1:{port}", "--cassettes", str(tmp_path / "cassettes")]
    for mode in ("online", "auto"):
        (tmp_path / mode).mkdir()
        with serve(home, tmp_path / mode, "--mode", mode, *where) as running:
            got = asked(running, pair())
            if mode == "online":
                is_told(got, "upstream.connect", "refused")
            else:
                is_bridged(got, "upstream.connect")
        log = running.stderr()
        assert ("1 x answered offline instead, upstream.connect" in log) == (mode == "auto")


def test_an_upstream_that_is_killed_and_comes_back(
    home: Path, tmp_path: Path, upstream_ca: ThrowAway, pair: Pairs
) -> None:
    who = pair()
    with loopback_upstream(upstream_ca) as first:
        port = first.port
        with serve(home, tmp_path, *arguments(first, "auto")) as running:
            assert asked(running, who).header("Ringback-Source") == "live"
            first.stop()
            is_bridged(asked(running, who), "upstream.connect")
            is_bridged(asked(running, who), "upstream.connect")
            with loopback_upstream(upstream_ca, port=port) as second:
                assert asked(running, who).header("Ringback-Source") == "live"
                assert (len(second.forwarded), second.probes) == (1, [])  # the proof still holds
    log = running.stderr()
    assert log.count("answering offline (upstream.connect)") == 1  # told once, summed up at the end
    assert "2 x answered offline instead, upstream.connect" in log


def test_a_name_that_does_not_resolve(home: Path, tmp_path: Path, pair: Pairs) -> None:
    # Names that are too long for any resolver to be asked: no test needs one.
    for number, name in enumerate((".".join(["long"] * 60), "x" * 70)):
        options = ["--mode", "online", "--upstream", f"https://{name}", "--cassettes", str(tmp_path)]
        (tmp_path / str(number)).mkdir()
        with serve(home, tmp_path / str(number), *options) as running:
            is_told(asked(running, pair()), "upstream.dns", name[:30])


@pytest.mark.parametrize("which", ["expired", "unknown CA", "another name"])
def test_a_certificate_that_is_not_trusted(
    home: Path, tmp_path: Path, upstream_ca: ThrowAway, pair: Pairs, which: str
) -> None:
    names = ("localhost",) if which == "another name" else None
    said = {"expired": "expired", "unknown CA": "issuer", "another name": "not valid for 'api.twilio.com'"}[
        which
    ]
    with loopback_upstream(upstream_ca, expired=which == "expired", names=names) as server:
        for mode in ("online", "auto"):
            options = arguments(server, mode)
            if which == "unknown CA":
                options = [
                    "--mode",
                    mode,
                    "--upstream",
                    server.url,
                    "--cassettes",
                    str(tmp_path / "cassettes"),
                ]
            (tmp_path / mode).mkdir()
            with serve(home, tmp_path / mode, *options) as running:
                got = asked(running, pair())
                if mode == "online":
                    is_told(got, "upstream.tls", said)
                else:
                    is_bridged(got, "upstream.tls")
        assert server.seen == []


@pytest.mark.parametrize("where", ["before TLS", "before the answer", "within the answer"])
def test_an_upstream_that_hangs(
    home: Path, tmp_path: Path, upstream_ca: ThrowAway, pair: Pairs, where: str
) -> None:
    limits = ["--connect-timeout", "0.4", "--timeout", "0.4"]
    with loopback_upstream(upstream_ca) as server:
        for mode in ("online", "auto"):
            server.reset()
            who = pair()
            (tmp_path / mode).mkdir()
            with serve(home, tmp_path / mode, *arguments(server, mode), *limits) as running:
                if where == "before TLS":
                    server.before_tls = "hang"
                elif where == "before the answer":
                    server.rule = lambda _: HANG
                else:
                    server.rule = lambda _: HANG + CREATED[:-5]
                got = asked(running, who)
                if mode == "online":
                    is_told(got, "upstream.timeout", "within 0.4 seconds")
                    assert got.error()["code"] == 20504
                else:
                    is_bridged(got, "upstream.timeout")
                    # For as long as it was waited for, it is left alone.
                    before = server.connections
                    is_bridged(asked(running, who), "upstream.timeout")
                    assert server.connections == before


def test_a_slow_upstream_is_waited_for(online: Serving, upstream: LoopbackUpstream, pair: Pairs) -> None:
    arrived, go = threading.Event(), threading.Event()

    def slow(_: Seen) -> bytes:
        arrived.set()
        assert go.wait(30)
        return CREATED

    who = pair()
    upstream.rule = slow
    with online.twilio() as wire:
        data = http(
            target=path(account=who[0]), form=GOOD["Messages"], headers=[basic(*who)], authorized=False
        )
        wire.send(data)
        assert arrived.wait(30)
        # Nobody else waits meanwhile.
        assert online.ask(http("GET", path("Queues"))).status == 403
        go.set()
        assert wire.response().status == 201


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_server_error_is_bridged_in_auto_alone(
    online: Serving, auto: Serving, upstream: LoopbackUpstream, pair: Pairs, status: int
) -> None:
    who = pair()
    upstream.rule = lambda _: response(status, b"oops", reason="Oops")
    assert (asked(online, who).status, asked(online, who).body) == (status, b"oops")
    is_bridged(asked(auto, who), "upstream.server-error")
    assert len(upstream.forwarded) == 3
    upstream.rule = lambda _: CREATED
    assert asked(auto, who).header("Ringback-Source") == "live"


def test_too_many_requests_is_bridged_and_a_full_queue_is_an_answer(
    online: Serving, auto: Serving, upstream: LoopbackUpstream, pair: Pairs
) -> None:
    who = pair()
    upstream.rule = lambda _: twilio(429, 20429)
    assert asked(online, who).json()["code"] == 20429
    is_bridged(asked(auto, who), "upstream.rate-limited")
    upstream.rule = lambda _: twilio(429, 21611)
    for serving in (online, auto):
        got = asked(serving, who, From="+15005550008")
        assert (got.status, got.json()["code"]) == (429, 21611)
        assert got.header("Ringback-Source") == "live"


@pytest.mark.parametrize("answer", [response(503, b"later"), twilio(429, 20429)])
def test_a_probe_without_a_verdict_is_bridged_in_auto_and_forwards_nothing(
    online: Serving, auto: Serving, upstream: LoopbackUpstream, pair: Pairs, answer: bytes
) -> None:
    upstream.probe = lambda _: answer
    who = pair()
    got = asked(online, who)
    assert (got.status, got.error()["code"]) == (403, 20006)
    assert asked(auto, who).status == 201
    assert upstream.forwarded == []


def test_the_budget(home: Path, tmp_path: Path, upstream: LoopbackUpstream, pair: Pairs) -> None:
    for mode in ("online", "auto"):
        upstream.reset()
        (tmp_path / mode).mkdir()
        who = pair()
        with serve(home, tmp_path / mode, *arguments(upstream, mode, "--max-live", "2")) as running:
            got = [asked(running, who) for _ in range(4)]
        assert [answer.header("Ringback-Source") for answer in got[:2]] == ["live"] * 2
        for answer in got[2:]:
            is_bridged(answer, "upstream.budget")
        assert (len(upstream.forwarded), len(upstream.probes)) == (2, 1)
        log = running.stderr()
        assert log.count("answering offline (upstream.budget)") == 1
        assert "2 x answered offline instead, upstream.budget" in log


def test_a_budget_of_nothing_asks_nobody(
    home: Path, tmp_path: Path, upstream: LoopbackUpstream, pair: Pairs
) -> None:
    with serve(home, tmp_path, *arguments(upstream, "online", "--max-live", "0")) as running:
        is_bridged(asked(running, pair()), "upstream.budget")
    assert upstream.connections == 0


def test_the_summary_counts_agreements_and_differences(
    home: Path, tmp_path: Path, upstream: LoopbackUpstream, pair: Pairs
) -> None:
    who = pair()
    with serve(home, tmp_path, *arguments(upstream, "online")) as running:
        asked(running, who)
        upstream.rule = lambda _: twilio(400, 21217)
        for _ in range(2):
            asked(running, who, To="+15005550001")
    log = running.stderr()
    assert "3 Twilio requests answered, online (live 3)" in log
    assert "live answers: 1 with the documented status and code, 2 with others" in log
    assert "expected 400 with code 21211, live answered 400 with code 21217" in log
    assert log.count("2 x different Messages.") == 1
