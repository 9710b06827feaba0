from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from ringback.exchange import Answer, Request
from ringback.upstream.http1 import UpstreamError
from ringback.upstream.proof import NotProvenError, Proof, Proofs, plain_pair, probe, proving_host, verdict_of
from support.clients import ACCOUNT, TOKEN, live_answer, post

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

TEST = live_answer(403, "", (), b'{"code": 20008}')
REQUEST = post("Messages")


def encoded(pair: str | bytes) -> str:
    return base64.b64encode(pair.encode() if isinstance(pair, str) else pair).decode()


def saying(*fields: str, name: str = "Authorization") -> Request:
    return Request("POST", "api.twilio.com", "/", tuple((name, value) for value in fields))


def answering(*replies: Answer | Exception) -> tuple[list[Request], Callable[[Request], Awaitable[Answer]]]:
    asked: list[Request] = []
    left = list(replies)

    async def ask(request: Request) -> Answer:
        asked.append(request)
        await asyncio.sleep(0)
        reply = left.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply

    return asked, ask


@pytest.mark.parametrize(
    "status, body, verdict",
    [
        (403, b'{"code": 20008}', "test"),
        (403, b'{"code": 20003}', "unclear"),
        (403, b'{"code": "20008"}', "unclear"),
        (403, b"<html>", "unclear"),
        (403, b'{"code": 20008, "message": "%s"}' % (b"x" * 70_000), "unclear"),
        (200, b'{"message": "%s"}' % (b"x" * 70_000), "unclear"),
        (403, b"", "unclear"),
        (403, b"[20008]", "unclear"),
        (404, b'{"code": 20008}', "unclear"),
        (200, b'{"sid": "AC"}', "live"),
        (200, b"<html>log in</html>", "unclear"),
        (201, b"{}", "unclear"),
        (401, b"{}", "wrong"),
        (401, b"", "wrong"),
        (302, b"", "unclear"),
        (500, b'{"code": 20008}', "unclear"),
    ],
)
def test_what_an_answer_to_the_probe_says(status: int, body: bytes, verdict: str) -> None:
    assert verdict_of(live_answer(status, "", (), body)) == verdict


@pytest.mark.parametrize(
    "fields, pair",
    [
        ([f"Basic {encoded('AC1:token')}"], ("AC1", "token")),
        ([f"bASIC {encoded('AC1:to:ken')}"], ("AC1", "to:ken")),
        ([f"Basic {encoded('AC1:tökän')}"], ("AC1", "tökän")),
        ([], None),
        ([f"Basic {encoded('AC1:a')}", f"Basic {encoded('AC1:b')}"], None),
        ([f"Basic {encoded('AC1:a')}"] * 2, None),
        ([f"Basic  {encoded('AC1:a')}"], None),
        ([f"Basic {encoded('AC1:a')} "], None),
        ([f"Basic {encoded('AC1:abc').rstrip('=')}"], None),
        (["Basic QUMxOmF="], None),  # the last character says the same to readers that look away
        ([f"Basic {encoded(b'AC1:' + bytes([255]))}"], None),
        ([f"Basic {encoded('AC1')}"], None),
        ([f"Basic {encoded('AC1/../AC2:a')}"], None),
        (["Basic " + encoded("AC\u0661:a")], None),
        ([f"Bearer {encoded('AC1:a')}"], None),
    ],
)
def test_only_a_pair_that_everybody_reads_alike_counts(
    fields: list[str], pair: tuple[str, str] | None
) -> None:
    assert plain_pair(saying(*fields)) == pair


def test_field_names_are_compared_without_case() -> None:
    both = (*saying(f"Basic {encoded('AC1:a')}").headers, ("authorization", "Basic x"))
    assert plain_pair(Request("POST", "api.twilio.com", "/", both)) is None


def test_the_probe_asks_for_the_account_with_the_same_credentials() -> None:
    asked = probe(REQUEST, REQUEST.host, ACCOUNT)
    assert (asked.method, asked.host, asked.body) == ("GET", "api.twilio.com", b"")
    assert asked.target == f"/2010-04-01/Accounts/{ACCOUNT}.json"
    assert asked.header("Authorization") == REQUEST.header("Authorization")


def test_many_wait_for_one_probe() -> None:
    asked, ask = answering(TEST)

    async def main() -> None:
        proofs = Proofs(ask)
        got = await asyncio.gather(*(proofs.prove(REQUEST) for _ in range(64)))
        assert len(set(got)) == 1
        assert await proofs.prove(REQUEST) == got[0]
        assert proofs.covers(got[0], REQUEST)

    asyncio.run(main())
    assert len(asked) == 1


def test_one_that_gives_up_takes_nothing_from_the_others() -> None:
    asked, ask = answering(TEST)

    async def main() -> None:
        proofs = Proofs(ask)
        first = asyncio.create_task(proofs.prove(REQUEST))
        second = asyncio.create_task(proofs.prove(REQUEST))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).account == ACCOUNT

    asyncio.run(main())
    assert len(asked) == 1


@pytest.mark.parametrize("reply", [live_answer(200, "", (), b"{}"), live_answer(401, "", (), b"")])
def test_a_verdict_is_final(reply: Answer) -> None:
    asked, ask = answering(reply)

    async def main() -> None:
        proofs = Proofs(ask)
        for _ in range(3):
            with pytest.raises(NotProvenError):
                await proofs.prove(REQUEST)

    asyncio.run(main())
    assert len(asked) == 1


@pytest.mark.parametrize("first", [live_answer(500, "", (), b""), UpstreamError("upstream.closed", "x")])
def test_without_a_verdict_the_next_one_asks_again(first: Answer | Exception) -> None:
    asked, ask = answering(first, TEST)

    async def main() -> None:
        proofs = Proofs(ask)
        got = await asyncio.gather(*(proofs.prove(REQUEST) for _ in range(3)), return_exceptions=True)
        assert all(isinstance(one, (NotProvenError, UpstreamError)) for one in got)
        assert (await proofs.prove(REQUEST)).host == "api.twilio.com"

    asyncio.run(main())
    assert len(asked) == 2


def test_a_proof_covers_its_own_credentials_and_host_alone() -> None:
    _, ask = answering(TEST)

    async def main() -> None:
        proofs = Proofs(ask)
        proof = await proofs.prove(REQUEST)
        auth = REQUEST.headers[0]
        for other in (
            Request("POST", "api.ie1.twilio.com", REQUEST.target, (auth,)),
            Request("POST", "api.twilio.com", REQUEST.target, (auth, auth)),
            Request("POST", "api.twilio.com", REQUEST.target),
            saying(f"Basic {encoded(f'{ACCOUNT}:other')}"),
            saying(f"Basic {encoded(f'{ACCOUNT[:-1]}0:{TOKEN}')}"),
        ):
            assert not proofs.covers(proof, other)
        # One made elsewhere is none, and neither is one of another process.
        assert not proofs.covers(Proof("api.twilio.com", ACCOUNT, b""), REQUEST)
        assert not Proofs(ask).covers(proof, REQUEST)
        assert TOKEN not in repr(proofs.__dict__)

    asyncio.run(main())


def test_a_live_pair_is_covered_by_nothing() -> None:
    _, ask = answering(live_answer(200, "", (), b"{}"))

    async def main() -> None:
        proofs = Proofs(ask)
        with pytest.raises(NotProvenError):
            await proofs.prove(REQUEST)
        for claim in list(proofs._known):
            assert not proofs.covers(claim, REQUEST)

    asyncio.run(main())


@pytest.mark.parametrize(
    "host, method, wanted",
    [
        ("api.twilio.com", "POST", "api.twilio.com"),
        ("api.dublin.ie1.twilio.com", "POST", "api.dublin.ie1.twilio.com"),
        ("lookups.twilio.com", "GET", "api.twilio.com"),
        ("lookups.twilio.com", "POST", None),
        ("messaging.twilio.com", "DELETE", None),
    ],
)
def test_who_can_report_about_credentials(host: str, method: str, wanted: str | None) -> None:
    assert proving_host(replace(REQUEST, host=host, method=method)) == wanted
