from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from support.clients import GOOD, Response, basic, http, path
from support.proxying import serve
from support.upstream import Seen, arguments, response, twilio

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.proxying import Serving
    from support.upstream import LoopbackUpstream

    Pairs = Callable[[], tuple[str, str]]

LIVE = twilio(200, None, sid="AC")
WRONG = twilio(401, 20003, ("WWW-Authenticate", 'Basic realm="Twilio API"'), message="Authenticate")


@pytest.fixture(params=["online", "auto"])
def serving(request: pytest.FixtureRequest) -> Serving:
    found: Serving = request.getfixturevalue(request.param)
    return found


NUMBERS = itertools.count()


def new_form() -> dict[str, str]:
    """A form that is in no cassette yet."""
    return {**GOOD["Messages"], "Body": f"number {next(NUMBERS)}"}


def asked(serving: Serving, pair: tuple[str, str], extension: str = ".json") -> Response:
    data = http(
        target=path(extension=extension, account=pair[0]),
        form=new_form(),
        headers=[basic(*pair)],
        authorized=False,
    )
    return serving.ask(data)


def test_test_credentials_are_asked_about_once(
    serving: Serving, upstream: LoopbackUpstream, pair: Pairs
) -> None:
    who = pair()
    assert [asked(serving, who).status for _ in range(3)] == [201] * 3
    [probe] = upstream.probes
    assert (probe.line, probe.pair) == (f"GET /2010-04-01/Accounts/{who[0]}.json HTTP/1.1", who)
    assert len(upstream.forwarded) == 3
    # Another token is another pair.
    assert asked(serving, (who[0], "other")).status == 201
    assert len(upstream.probes) == 2


def test_64_concurrent_first_requests_ask_once(
    serving: Serving, upstream: LoopbackUpstream, pair: Pairs
) -> None:
    who, together = pair(), threading.Barrier(64)

    def one(_: int) -> int:
        with serving.twilio() as wire:
            together.wait(30)
            data = http(
                target=path(account=who[0]),
                form=new_form(),
                headers=[basic(*who)],
                authorized=False,
            )
            return wire.send(data).response().status

    with ThreadPoolExecutor(64) as pool:
        assert list(pool.map(one, range(64))) == [201] * 64
    assert (len(upstream.probes), len(upstream.forwarded)) == (1, 64)


def test_live_credentials_are_refused_in_words_and_never_asked_about_again(
    serving: Serving, upstream: LoopbackUpstream, pair: Pairs
) -> None:
    upstream.probe = lambda _: LIVE
    who = pair()
    for extension in (".json", "", ".json"):
        got = asked(serving, who, extension)
        assert (got.status, got.error()["code"]) == (403, 20006)
        assert "live credentials" in got.error()["message"]
        assert "was not sent" in got.error()["message"]
        assert (got.header("Ringback-Source") or "").startswith("gate; rule=credentials.live")
        assert who[1] not in str(got)
    assert (len(upstream.probes), upstream.forwarded) == (1, [])


def test_wrong_credentials_get_twilios_401(serving: Serving, upstream: LoopbackUpstream, pair: Pairs) -> None:
    upstream.probe = lambda _: WRONG
    got = asked(serving, pair())
    assert (got.status, got.error()["code"], got.error()["message"]) == (401, 20003, "Authenticate")
    assert got.header("WWW-Authenticate") == 'Basic realm="Twilio API"'
    assert upstream.forwarded == []


@pytest.mark.parametrize(
    "answer",
    [
        twilio(403, 20006, message="Access denied"),
        response(403, b"<html>blocked by your company</html>", ("Content-Type", "text/html")),
        response(200, b"<html>please log in</html>", ("Content-Type", "text/html")),
        response(302, b"", ("Location", "https://login.example/")),
        twilio(404, 20404),
        response(200, b"[]"),
        response(403, b'{"code": "20008"}'),
        response(201, b"{}"),
    ],
)
def test_an_unclear_answer_forwards_nothing(
    serving: Serving, upstream: LoopbackUpstream, pair: Pairs, answer: bytes
) -> None:
    upstream.probe = lambda _: answer
    who = pair()
    got = asked(serving, who)
    assert (got.status, got.error()["code"]) == (403, 20006)
    assert (got.header("Ringback-Source") or "").startswith("gate; rule=credentials.unclear")
    assert upstream.forwarded == []
    # It is no verdict: the next request asks again.
    upstream.probe = lambda _: twilio(403, 20008)
    assert asked(serving, who).status == 201


def test_an_api_key_is_refused_without_asking(serving: Serving, upstream: LoopbackUpstream) -> None:
    got = serving.ask(http(form=new_form(), headers=[basic("SK" + "0" * 32, "secret")], authorized=False))
    assert (got.status, got.error()["code"]) == (401, 20003)
    assert upstream.seen == []


def test_the_configured_pair_is_asked_about_too(
    upstream: LoopbackUpstream, home: Path, tmp_path: Path, pair: Pairs
) -> None:
    who = pair()
    upstream.probe = lambda _: LIVE
    names = {"RINGBACK_TEST_ACCOUNT_SID": who[0], "RINGBACK_TEST_AUTH_TOKEN": who[1]}
    with serve(home, tmp_path, *arguments(upstream, "online"), more=names) as running:
        assert asked(running, who).error()["code"] == 20006
        assert asked(running, pair()).status == 401
    assert (len(upstream.probes), upstream.forwarded) == (1, [])


def test_offline_asks_nobody(upstream: LoopbackUpstream, home: Path, tmp_path: Path, pair: Pairs) -> None:
    upstream.probe = lambda _: LIVE
    with serve(home, tmp_path, *arguments(upstream, "offline")) as running:
        assert asked(running, pair()).status == 201
    assert upstream.connections == 0


# Every way that was thought of to get a request past the proxy: with live credentials, or one that is not of
# the contract with any. Each gets (account, the header that says who) and returns bytes.
def _good(
    account: str, who: str, more: str = "", *, target: str | None = None, host: str = "api.twilio.com"
) -> bytes:
    body = "From=%2B15005550006&To=%2B14105550100&Body=hi"
    return (
        f"POST {target or path(account=account)} HTTP/1.1\r\nHost: {host}\r\n{who}\r\n{more}"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


TRICKS: dict[str, Callable[[str, str], bytes]] = {
    "plainly": _good,
    "another resource": lambda account, who: _good(account, who, target=path("Queues", account=account)),
    "another method": lambda account, who: _good(account, who).replace(b"POST", b"DELETE"),
    "below a message": lambda account, who: _good(account, who, target=path("Messages/SM1", account=account)),
    "the account itself": lambda account, who: _good(account, who, target=path("", account=account)),
    "dots": lambda account, who: _good(
        account, who, target=path(account=account).replace("Messages", "Messages/../Queues")
    ),
    "escaped slash": lambda account, who: _good(
        account, who, target=path("Queues%2f..%2fMessages", account=account)
    ),
    "doubled slash": lambda account, who: _good(account, who, target="/" + path(account=account)),
    "another account": lambda account, who: _good(account, who, target=path(account="AC" + "9" * 32)),
    "absolute form, another host": lambda account, who: _good(
        account, who, target="https://studio.twilio.com" + path(account=account)
    ),
    "another Host": lambda account, who: _good(account, who, host="verify.twilio.com"),
    "two Hosts": lambda account, who: _good(account, who, "Host: verify.twilio.com\r\n"),
    "Host with a port": lambda account, who: _good(
        account, who, host="api.twilio.com:8443@verify.twilio.com"
    ),
    "WebSocket": lambda account, who: _good(
        account, who, "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    ),
    "h2c": lambda account, who: _good(
        account, who, "Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n"
    ),
    "HTTP/2 by knowledge": lambda *_: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0",
    "CONNECT inside": lambda _, who: (
        f"CONNECT api.twilio.com:443 HTTP/1.1\r\nHost: api.twilio.com:443\r\n{who}\r\n\r\n".encode()
    ),
    "two lengths": lambda account, who: _good(account, who, "Content-Length: 4\r\n"),
    "length and chunks": lambda account, who: _good(account, who, "Transfer-Encoding: chunked\r\n"),
    "no HTTP": lambda *_: b"\x00\x01 what is this\r\n\r\n",
    "bad line": lambda account, who: _good(account, who).replace(b" HTTP/1.1", b"", 1),
}


def play(serving: Serving, trick: str, account: str, token: str) -> None:
    """Play a trick on the proxy, and wait until it has answered all of it."""
    with serving.twilio() as wire:
        name, value = basic(account, token)
        wire.send(TRICKS[trick](account, f"{name}: {value}"))
        wire.send(http("GET", "/2010-04-01/nothing", headers=[("Connection", "close")]))
        wire.everything()


@pytest.mark.parametrize("trick", TRICKS)
def test_live_credentials_reach_the_upstream_by_no_trick(
    serving: Serving, upstream: LoopbackUpstream, pair: Pairs, trick: str
) -> None:
    upstream.probe = lambda _: LIVE
    play(serving, trick, *pair())
    assert upstream.forwarded == []
    assert len(upstream.probes) <= 1
    # The proxy outlives it.
    assert serving.health()["status"] == "ok"


# The upgrade is taken out, and a request of the contract remains.
HARMLESS = {"plainly", "h2c"}


@pytest.mark.parametrize("trick", [name for name in TRICKS if name not in HARMLESS])
def test_test_credentials_reach_nothing_outside_the_contract(
    serving: Serving, upstream: LoopbackUpstream, pair: Pairs, trick: str
) -> None:
    play(serving, trick, *pair())
    assert upstream.seen == []


@pytest.mark.parametrize(
    "target, name",
    [
        ("api.twilio.com:8443", "api.twilio.com"),
        ("api.twilio.com:22", "api.twilio.com"),
        ("studio.twilio.com:443", "studio.twilio.com"),
        ("api.twilio.com:443", "verify.twilio.com"),
        ("verify.twilio.com:443", "api.twilio.com"),
        ("127.0.0.1:443", "api.twilio.com"),
        ("api.twilio.com.:443", "studio.twilio.com"),
    ],
)
def test_names_and_ports_that_do_not_agree_are_refused(
    serving: Serving, upstream: LoopbackUpstream, pair: Pairs, target: str, name: str
) -> None:
    account, token = pair()
    with serving.wire() as wire:
        wire.tunnel(target).tls(None, name)
        for host in ("api.twilio.com", name):
            data = http(
                target=path(account=account),
                form=GOOD["Messages"],
                headers=[basic(account, token)],
                authorized=False,
                host=host,
            )
            assert wire.send(data).response().error()["code"] == 20008
    assert upstream.connections == 0


def test_a_second_pair_beside_the_proven_one_goes_nowhere(
    serving: Serving, upstream: LoopbackUpstream, pair: Pairs
) -> None:
    account, token = pair()
    assert asked(serving, (account, token)).status == 201
    upstream.seen.clear()
    for more in (
        [basic(account, token), basic(*pair())],
        [basic(account, token), ("authorization", "Bearer x")],
        [("Authorization", basic(account, token)[1] + " ,Basic x")],
    ):
        data = http(target=path(account=account), form=GOOD["Messages"], headers=more, authorized=False)
        assert serving.ask(data).error()["code"] == 20003
    assert upstream.seen == []


def test_a_verdict_that_comes_late_serves_everybody_who_waits(
    online: Serving, upstream: LoopbackUpstream, pair: Pairs
) -> None:
    arrived, go = threading.Event(), threading.Event()

    def slow(_: Seen) -> bytes:
        arrived.set()
        assert go.wait(30)
        return LIVE

    upstream.probe = slow
    who = pair()
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(asked, online, who) for _ in range(4)]
        assert arrived.wait(30)
        go.set()
        assert [job.result(30).status for job in waiting] == [403] * 4
    assert len(upstream.probes) == 1
