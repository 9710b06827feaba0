"""What was answered is kept, found, waited for, and holds no secret."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import re
from urllib.parse import quote

import pytest
from msgspec.structs import replace

from ringback.contract import Answer, Names, Request, Source, load
from ringback.contract.render import SeededStamps
from ringback.journal import HIDDEN, Journal
from ringback.records import Filter
from ringback.responder import Responder
from support.clients import ACCOUNT, FORM_TYPE, GOOD, basic, post, respond

SECRET = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
NAMES = Names("api.twilio.com")


@pytest.fixture
def journal() -> Journal:
    return Journal()


@pytest.fixture
def responder(journal: Journal) -> Responder:
    return Responder(load(), stamps=SeededStamps(1), journal=journal)


def message(to: str = "+14105550101", body: str = "hello", **more: str) -> Request:
    return post("Messages", {"From": "+15005550006", "To": to, "Body": body, **more})


def test_an_answer_is_kept_with_what_was_asked(responder: Responder, journal: Journal) -> None:
    respond(responder, message(body="Your code: 123456 😀"), NAMES, "alice")
    respond(responder, message(to="+15005550001"), NAMES)
    failed, sent = journal.find(Filter())
    assert (sent.number, sent.session, sent.resource, sent.status) == (1, "alice", "Messages", 201)
    assert sent.field("Body") == "Your code: 123456 😀"
    assert sent.sid == json.loads(sent.answer)["sid"]
    assert (sent.source, sent.rule, sent.code, sent.message) == (
        "contract",
        "Messages.from.valid",
        None,
        None,
    )
    assert (failed.code, failed.session) == (21211, "default")
    assert failed.message == json.loads(failed.answer)["message"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", sent.time)


def test_xml_is_read_too(responder: Responder, journal: Journal) -> None:
    respond(responder, replace(message(), target=message().target.removesuffix(".json")), NAMES)
    respond(responder, post("Messages", {"To": "+15005550001"}, extension=""), NAMES)
    failed, sent = journal.find(Filter())
    assert (sent.resource, (sent.sid or "")[:2]) == ("Messages", "SM")
    assert failed.code is not None
    assert failed.message


@pytest.mark.parametrize(
    "wanted, numbers",
    [
        (Filter(), [4, 3, 2, 1]),
        (Filter(resource="messages"), [4, 2, 1]),
        (Filter(to=" 14105550102"), [2]),
        (Filter(to="+1 (410) 555-0101"), [4, 1]),
        (Filter(sender="+15005550006", resource="Calls"), [3]),
        (Filter(body=re.compile(r"\d{6}")), [2]),
        (Filter(code=21212), [3]),
        (Filter(code=0), [2, 1]),
        (Filter(rule="Messages.*"), [2, 1]),
        (Filter(session="bob"), [2]),
        (Filter(source="gate"), [4]),
        (Filter(since=2), [4, 3]),
    ],
)
def test_filters(responder: Responder, journal: Journal, wanted: Filter, numbers: list[int]) -> None:
    respond(responder, message(), NAMES)
    respond(responder, message(to="+14105550102", body="code 123456"), NAMES, "bob")
    call = {**GOOD["Calls"], "From": "+15005550001"}
    respond(responder, post("Calls", call), NAMES)
    respond(responder, replace(message(), method="GET"), NAMES)
    if wanted.sender:
        respond(responder, post("Calls", GOOD["Calls"]), NAMES)
        numbers = [5]
    assert [record.number for record in journal.find(wanted)] == numbers


def test_the_oldest_go_first(responder: Responder) -> None:
    responder.journal = journal = Journal(3)
    for _ in range(5):
        respond(responder, message(), NAMES)
    assert [entry.number for entry in journal] == [3, 4, 5]
    assert journal.get(2) is None
    assert [entry.number for entry in [journal.get(4)] if entry] == [4]
    assert [entry.number for entry in journal.after(4)] == [5]


def test_bytes_are_bounded(responder: Responder) -> None:
    responder.journal = journal = Journal(max_bytes=100_000)
    for _ in range(100):
        respond(responder, message(body="x" * 10_000), NAMES)
    assert 5 < len(journal) < 10


def test_a_journal_of_none_keeps_nothing(responder: Responder) -> None:
    responder.journal = journal = Journal(0)
    respond(responder, message(), NAMES)
    assert (len(journal), journal.last) == (0, 0)


def test_numbers_go_on_after_clearing(responder: Responder, journal: Journal) -> None:
    for user in ("a", "b", "a"):
        respond(responder, message(), NAMES, user)
    assert journal.clear("a") == 2
    assert [entry.session for entry in journal] == ["b"]
    assert journal.clear() == 1
    respond(responder, message(), NAMES)
    assert [entry.number for entry in journal] == [4]


PLANTS = {
    "authorization": message(),
    "form": message(body=f"the token is {SECRET}!"),
    "form, every character escaped": post(
        "Messages",
        b"From=%2B15005550006&To=%2B14105550101&Body=" + b"".join(b"%%%02x" % ord(char) for char in SECRET),
    ),
    "form name": message(**{SECRET: "x"}),
    "magic input": message(to=SECRET),
    "query": replace(message(), target=message().target + f"?x={SECRET}"),
    "escaped query": replace(message(), target=message().target + "?x=%30" + SECRET[1:]),
    "query that is no text": replace(message(), target=message().target + f"?x={SECRET}&y=\udc9c"),
    "path": replace(message(), target=f"/2010-04-01/Accounts/{ACCOUNT}/{SECRET}.json"),
    "header": replace(message(), headers=(basic(ACCOUNT, SECRET), FORM_TYPE, ("X-Api-Key", SECRET))),
    "user agent": replace(
        message(), headers=(basic(ACCOUNT, SECRET), FORM_TYPE, ("User-Agent", f"a {SECRET}"))
    ),
    "cookie": replace(message(), headers=(basic(ACCOUNT, SECRET), FORM_TYPE, ("Cookie", f"a={SECRET}"))),
    "other body": replace(
        message(),
        headers=(basic(ACCOUNT, SECRET), ("Content-Type", "application/json")),
        body=json.dumps({"token": SECRET}).encode(),
    ),
    "other body, escaped": replace(
        message(),
        headers=(basic(ACCOUNT, SECRET), ("Content-Type", "text/plain")),
        body=b"%30" + SECRET[1:].encode(),
    ),
    "basic in the form": message(body=base64.b64encode(f"{ACCOUNT}:{SECRET}".encode()).decode()),
    "basic in the form, escaped in lower case": post(
        "Messages",
        b"From=%2B15005550006&To=%2B14105550101&Body="
        + quote(base64.b64encode(f"{ACCOUNT}:{SECRET}".encode()), safe="").replace("%3D", "%3d").encode(),
    ),
    "half of it escaped": message().with_body(
        b"From=%2B15005550006&To=%2B14105550101&Body="
        + "".join(f"%{ord(char):02X}" if at % 2 else char for at, char in enumerate(SECRET)).encode()
    ),
    "base64 in the form": message(body=base64.b64encode(SECRET.encode()).decode()),
}


@pytest.mark.parametrize("where", PLANTS)
def test_no_secret_is_kept(responder: Responder, where: str) -> None:
    file = io.StringIO()
    responder.journal = journal = Journal(file=file)
    request = PLANTS[where]
    headers = tuple(
        basic(ACCOUNT, SECRET) if name == "Authorization" else (name, value)
        for name, value in request.headers
    )
    respond(responder, replace(request, headers=headers), NAMES)
    (entry,) = journal
    spellings = (
        SECRET,
        base64.b64encode(SECRET.encode()).decode().rstrip("="),
        basic(ACCOUNT, SECRET)[1][6:],
    )
    shown = f"{entry!r} {journal.find(Filter())!r} {file.getvalue()}"
    assert not any(spelling in shown or quote(spelling) in shown for spelling in spellings)
    assert "%30" + SECRET[1:] not in shown
    assert "".join(f"%{ord(char):02x}" for char in SECRET) not in shown
    assert HIDDEN in shown


def test_what_an_answer_sets_and_the_proxys_own_secrets_are_not_kept() -> None:
    journal = Journal(hidden=("proxy-password",))
    fields = (("Content-Type", "application/json"), ("Set-Cookie", "session=opaque"))
    answer = Answer(201, "CREATED", fields, b'{"sid": "SM1", "x": "proxy-password"}', Source("live"))
    journal.add(message(body="proxy-password"), answer)
    shown = f"{journal.find(Filter())!r}"
    assert "opaque" not in shown
    assert "proxy-password" not in shown


def test_short_tokens_do_not_hide_half_of_every_text(responder: Responder, journal: Journal) -> None:
    respond(responder, replace(message(), headers=(basic(ACCOUNT, "e"), FORM_TYPE)), NAMES)
    assert journal.find(Filter())[0].field("Body") == "hello"


def test_bodies_that_are_no_form_are_shown_as_text(responder: Responder, journal: Journal) -> None:
    odd = replace(message(), headers=(basic(), ("Content-Type", "application/json")), body=b'{"a": "\xff"}')
    respond(responder, odd, NAMES)
    (record,) = journal.find(Filter())
    assert (record.form, record.body, record.rule) == (None, '{"a": "\ufffd"}', "form.type")


def test_waiting_counts_what_came_before_and_ends_with_what_comes(
    responder: Responder, journal: Journal
) -> None:
    async def main() -> None:
        respond(responder, message(), NAMES)
        wanted = Filter(to="+14105550101")
        assert [record.number for record in await journal.wait(wanted, 1, 0)] == [1]
        waiting = asyncio.create_task(journal.wait(wanted, 2, 60))
        await asyncio.sleep(0)
        respond(responder, message(to="+14105550102"), NAMES)
        await asyncio.sleep(0)
        assert not waiting.done()
        respond(responder, message(), NAMES)
        assert [record.number for record in await waiting] == [1, 3]
        assert not journal.listeners

    asyncio.run(main())


def test_waiting_ends_with_the_time(journal: Journal) -> None:
    async def main() -> None:
        assert await journal.wait(Filter(), 1, 0.01) == []
        assert not journal.listeners

    asyncio.run(main())


def test_twenty_clients_wait_for_their_own(responder: Responder, journal: Journal) -> None:
    async def main() -> None:
        waiting = [asyncio.create_task(journal.wait(Filter(session=f"s{n}"), 1, 60)) for n in range(20)]
        await asyncio.sleep(0)
        for n in reversed(range(20)):
            respond(responder, message(body=f"for {n}"), NAMES, f"s{n}")
        found = await asyncio.gather(*waiting)
        assert [[record.field("Body") for record in records] for records in found] == [
            [f"for {n}"] for n in range(20)
        ]

    asyncio.run(main())


def test_the_file_has_one_line_a_request(responder: Responder) -> None:
    file = io.StringIO()
    responder.journal = Journal(file=file)
    respond(responder, message(body="line\nbreak"), NAMES)
    respond(responder, message(), NAMES)
    first, second = map(json.loads, file.getvalue().splitlines())
    assert (first["number"], second["number"]) == (1, 2)
    assert first["form"] == [["From", "+15005550006"], ["To", "+14105550101"], ["Body", "line\nbreak"]]
    assert first["answer"]


def test_a_file_that_cannot_be_written_ends_no_answer(responder: Responder, journal: Journal) -> None:
    class Full(io.StringIO):
        def write(self, _: str) -> int:
            raise OSError("no space left on device")

    responder.journal = journal = Journal(file=Full())
    assert respond(responder, message(), NAMES).status == 201
    assert respond(responder, message(), NAMES).status == 201
    assert len(journal) == 2
