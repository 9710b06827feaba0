"""Status callbacks: in order, signed, to this machine and private networks alone, none unless asked for."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

import jsonschema
import pytest
import yaml
from aiohttp import web

from ringback import callbacks
from ringback.callbacks import OUTCOMES, StatusCallbacks, signature
from ringback.contract import load, schema
from ringback.contract.gate import Names
from ringback.control import Control
from ringback.exchange import Answer, Request
from ringback.net import is_private
from ringback.responder import Responder
from ringback.settings import Settings
from support.clients import ACCOUNT, GOOD, MAGIC, TOKEN, body_of, post, respond
from support.proxying import environment, serve
from support.sdks import node_sdk, python_sdk
from support.throwaway import throw_away

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable

NAMES = Names("api.twilio.com")
TO = "+14105550101"
OPENAPI = Path(__file__).parents[1] / "docs" / "api" / "openapi.yaml"


@dataclass
class Receiver:
    """A program that takes status callbacks.

    Attributes:
        got: Method, path with query, form and signature of each.
    """

    url: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    got: list[tuple[str, str, list[tuple[str, str]], str]] = field(default_factory=list)
    came: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self, request: web.Request) -> web.Response:
        text = await request.text()
        given = request.headers
        self.got.append((request.method, request.path_qs, parse_qsl(text), given["X-Twilio-Signature"]))
        self.came.set()
        return web.Response(status=self.status, headers=self.headers)

    def statuses(self) -> list[str]:
        return [
            dict(form or parse_qsl(target.partition("?")[2]))[key]
            for _, target, form, _ in self.got
            for key in ("MessageStatus", "CallStatus")
            if key in dict(form or parse_qsl(target.partition("?")[2]))
        ]

    async def until(self, count: int) -> None:
        async with asyncio.timeout(60):
            while len(self.got) < count:
                self.came.clear()
                await self.came.wait()


@asynccontextmanager
async def receiver(tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    made = Receiver()
    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", made.take)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    where = "https://localhost" if tls else "http://127.0.0.1"
    made.url = f"{where}:{runner.addresses[0][1]}"
    try:
        yield made
    finally:
        await runner.cleanup()


def opened(**more: Any) -> Responder:
    made = Responder(load(local_urls=True))
    made.callbacks = StatusCallbacks(made.journal, **{"delay": 0, **more})
    return made


def send(responder: Responder, url: str, resource: str = "Messages", **more: str) -> str:
    """Send a message or make a call; return its sid."""
    form = [*GOOD[resource].items(), *more.items(), ("StatusCallback", url)]
    events = [("StatusCallbackEvent", one) for one in ("initiated", "ringing", "answered", "completed")]
    form = [pair for pair in form if pair[0] != "To" or "To" not in more or pair[1] == more["To"]]
    answer = respond(responder, post(resource, form + (events if resource == "Calls" else [])), NAMES)
    assert answer.status == 201, answer.body
    return str(body_of(answer)["sid"])


def ask(responder: Responder, method: str, target: str, body: Any = None) -> Answer:
    sent = b"" if body is None else json.dumps(body).encode()
    asked = Request(method, "127.0.0.1", f"/ringback/{target}", (("Host", "127.0.0.1"),), sent, "http")
    got = Control(responder).handle(asked, "127.0.0.1")
    assert isinstance(got, Answer)
    return got


async def finished(responder: Responder) -> list[dict[str, Any]]:
    """The callbacks that the API lists, once none is on its way."""
    assert responder.callbacks is not None
    async with asyncio.timeout(60):
        while responder.callbacks._tasks:
            await asyncio.wait(set(responder.callbacks._tasks))
    found = json.loads(ask(responder, "GET", "callbacks").body)["callbacks"]
    assert isinstance(found, list)
    return found


def described(operation: str, method: str, answer: Any) -> None:
    """Hold an answer to its description."""
    file = yaml.safe_load(OPENAPI.read_text(encoding="utf-8"))
    content = file["paths"][f"/ringback/{operation}"][method]["responses"]["200"]["content"]
    schema = content["application/json"]["schema"]
    jsonschema.validate(answer, {**schema, "components": file["components"]})


def play(scene: Callable[[Responder, Receiver], Awaitable[None]], **more: Any) -> Receiver:
    async def main() -> Receiver:
        async with receiver() as taking:
            responder = opened(**more)
            await scene(responder, taking)
            responder.close()
            return taking

    return asyncio.run(main())


# -- none unless asked for


def test_by_default_none_is_made_and_local_addresses_are_refused() -> None:
    responder = Responder.open(Settings())
    assert responder.callbacks is None
    form = {**GOOD["Messages"], "StatusCallback": "http://localhost:5000/status"}
    assert body_of(respond(responder, post("Messages", form), NAMES))["code"] == 21609
    assert json.loads(ask(responder, "GET", "health").body)["callbacks"] is False
    told = ask(responder, "POST", "outcome", {"sid": "SM1", "status": "delivered"})
    assert (told.status, b"--callbacks" in told.body) == (400, True)
    asked = Responder.open(Settings(callbacks=True))
    assert asked.callbacks is not None
    assert asked.contract.local_urls
    responder.close()
    asked.close()


def test_a_refused_request_and_one_without_a_callback_report_nothing() -> None:
    async def scene(responder: Responder, taking: Receiver) -> None:
        form = {"From": MAGIC, "To": "+15005550001", "Body": "x", "StatusCallback": taking.url}
        assert respond(responder, post("Messages", form), NAMES).status == 400
        assert respond(responder, post("Messages", GOOD["Messages"]), NAMES).status == 201
        assert await finished(responder) == []

    assert play(scene).got == []


# -- statuses


def rows(resource: str, outcome: str, code: int | None = None) -> dict[str, Any]:
    row = {"resource": resource, "parameter": "To", "value": TO, "error": None, "outcome": outcome}
    return {"magic": [{**row, "outcome_code": code} if code else row]}


@pytest.mark.parametrize(
    "resource, outcome, code, reported",
    [
        ("Messages", "delivered", None, ["queued", "sent", "delivered"]),
        ("Messages", "read", None, ["queued", "sent", "delivered", "read"]),
        ("Messages", "undelivered", None, ["queued", "sent", "undelivered"]),
        ("Messages", "undelivered", 30005, ["queued", "sent", "undelivered"]),
        ("Messages", "failed", None, ["queued", "failed"]),
        ("Calls", "completed", None, ["initiated", "ringing", "in-progress", "completed"]),
        ("Calls", "busy", None, ["initiated", "ringing", "busy"]),
        ("Calls", "no-answer", None, ["initiated", "ringing", "no-answer"]),
        ("Calls", "canceled", None, ["initiated", "ringing", "canceled"]),
        ("Calls", "failed", None, ["initiated", "failed"]),
    ],
)
def test_a_row_says_how_a_number_ends(
    resource: str, outcome: str, code: int | None, reported: list[str]
) -> None:
    async def scene(responder: Responder, taking: Receiver) -> None:
        assert ask(responder, "PUT", "contract/rows", rows(resource, outcome, code)).status == 200
        sid = send(responder, f"{taking.url}/status", resource, To=TO)
        listed = await finished(responder)
        assert [one["status"] for one in listed] == reported
        assert {(one["sid"], one["answered"], one["error"]) for one in listed} == {(sid, 200, None)}
        assert responder.callbacks is not None
        assert responder.callbacks.status_of(sid) == reported[-1]

    taking = play(scene)
    assert taking.statuses() == reported
    codes = [dict(form).get("ErrorCode") for _, _, form, _ in taking.got]
    last = {"undelivered": str(code or 30003), "failed": "30008"}.get(outcome)
    assert codes == [None] * (len(reported) - 1) + [last if resource == "Messages" else None]
    for _, target, form, signed in taking.got:
        assert signed == signature(taking.url + target, form, TOKEN)
        assert dict(form)["AccountSid"] == ACCOUNT
        assert dict(form)["To"] == TO


def test_every_outcome_of_a_row_has_its_statuses() -> None:
    assert {name: {*ways, callbacks.HOLD} for name, ways in OUTCOMES.items()} == {
        name: set(known) for name, known in schema.OUTCOMES.items()
    }


def test_a_call_reports_the_events_that_it_asked_for_and_by_get_where_it_says_so() -> None:
    async def scene(responder: Responder, taking: Receiver) -> None:
        more = {"StatusCallback": f"{taking.url}/a?b=c", "StatusCallbackMethod": "GET"}
        respond(responder, post("Calls", {**GOOD["Calls"], **more}), NAMES)
        await finished(responder)

    taking = play(scene)
    assert taking.statuses() == ["completed"]
    ((method, target, form, signed),) = taking.got
    assert (method, form, target[:5]) == ("GET", [], "/a?b=")
    assert signed == signature(taking.url + target, (), TOKEN)
    assert dict(parse_qsl(target.partition("?")[2]))["CallDuration"] == "1"


def test_each_status_waits_for_the_answer_to_the_one_before_and_failures_are_not_tried_again() -> None:
    async def scene(responder: Responder, taking: Receiver) -> None:
        taking.status, taking.headers = 302, {"Location": "/elsewhere"}
        send(responder, taking.url)
        assert [one["answered"] for one in await finished(responder)] == [302, 302, 302]
        with socket.socket() as unheard:
            unheard.bind(("127.0.0.1", 0))
            send(responder, f"http://127.0.0.1:{unheard.getsockname()[1]}/")
            failed = (await finished(responder))[3:]
        assert [(one["status"], one["answered"]) for one in failed] == [
            ("queued", None),
            ("sent", None),
            ("delivered", None),
        ]
        assert "refused" in failed[0]["error"].lower()

    taking = play(scene)
    assert [target for _, target, _, _ in taking.got] == ["/"] * 3


# -- decisions


def test_a_held_message_waits_for_a_decision_and_can_be_decided_again() -> None:
    async def scene(responder: Responder, taking: Receiver) -> None:
        sid = send(responder, taking.url)
        await taking.until(2)
        shown = json.loads(ask(responder, "GET", "requests/1").body)
        assert shown["outcomes"] == ["delivered", "read", "undelivered", "failed"]
        assert [one["status"] for one in shown["callbacks"]][:1] == ["queued"]
        got = ask(responder, "POST", "outcome", {"sid": sid, "status": "undelivered", "code": 30006})
        assert json.loads(got.body)["code"] == 30006
        await finished(responder)
        assert taking.statuses() == ["queued", "sent", "undelivered"]
        assert dict(taking.got[-1][2])["ErrorCode"] == "30006"
        ask(responder, "POST", "outcome", {"sid": sid, "status": "delivered"})
        await finished(responder)
        assert taking.statuses()[3:] == ["delivered"]
        (message,) = json.loads(ask(responder, "GET", "messages").body)["messages"]
        assert message["status"] == "delivered"
        for target, of in (("callbacks", "callbacks"), ("requests/1", "requests/{n}")):
            described(of, "get", json.loads(ask(responder, "GET", target).body))
        described("outcome", "post", json.loads(got.body))

    play(scene, hold=True)


@pytest.mark.parametrize(
    "body, told",
    [
        ({"sid": "SM0", "status": "delivered"}, "SM0 is not known"),
        ({"status": "busy"}, "no outcome of Messages"),
        ({"status": "undelivered", "code": "30003"}, "is an error code"),
        ({"sid": 1}, "send {"),
    ],
)
def test_a_wrong_decision_is_reported(body: dict[str, Any], told: str) -> None:
    async def scene(responder: Responder, taking: Receiver) -> None:
        sid = send(responder, taking.url)
        got = ask(responder, "POST", "outcome", {"sid": sid, **body})
        assert (got.status, told in json.loads(got.body)["error"]) == (400, True)

    play(scene, hold=True)


def test_a_reset_reports_nothing_more_about_a_session() -> None:
    async def scene(responder: Responder, taking: Receiver) -> None:
        sid = send(responder, taking.url)
        await taking.until(2)
        assert ask(responder, "POST", "reset?session=default").status == 200
        assert await finished(responder) == []
        assert ask(responder, "POST", "outcome", {"sid": sid, "status": "delivered"}).status == 400

    assert play(scene, hold=True).statuses() == ["queued", "sent"]


@pytest.mark.parametrize(
    "row, told",
    [
        ({"outcome": "busy"}, "'busy' is no outcome; there are for Messages delivered"),
        ({"outcome": "failed", "error": 21610}, "is not sent, so it has no outcome"),
    ],
)
def test_a_row_with_a_wrong_outcome_is_reported(row: dict[str, Any], told: str) -> None:
    wrong = {"resource": "Messages", "parameter": "To", "value": TO, "error": None, **row}
    got = ask(Responder(load()), "PUT", "contract/rows", {"magic": [wrong]})
    assert (got.status, told in json.loads(got.body)["error"]) == (400, True), got.body


# -- to whom


@pytest.mark.parametrize(
    "address, private",
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("10.1.2.3", True),
        ("172.31.255.255", True),
        ("172.32.0.1", False),
        ("192.168.0.9", True),
        ("fd12::1", True),
        ("fd00:ec2::254", False),
        ("fd20:ce::254", False),
        ("fd00:42::42", False),
        ("169.254.169.254", False),
        ("::ffff:169.254.169.254", False),
        ("fe80::1%eth0", False),
        ("0.0.0.0", False),
        ("100.100.100.200", False),
        ("203.0.113.5", False),
        ("localhost", False),
    ],
)
def test_private_addresses(address: str, private: bool) -> None:
    assert is_private(address) is private


def resolving(monkeypatch: pytest.MonkeyPatch, names: dict[str, list[str]]) -> list[str]:
    """Resolve names from a table; return the list of what is resolved."""
    asked: list[str] = []

    async def getaddrinfo(_loop: Any, host: str, port: int, **_more: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in names.get(host, [host])]

    monkeypatch.setattr(asyncio.base_events.BaseEventLoop, "getaddrinfo", getaddrinfo)
    return asked


def test_a_name_is_resolved_once_its_address_is_judged_and_that_address_is_dialled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = resolving(
        monkeypatch,
        {
            "app.test": ["203.0.113.5", "127.0.0.1"],
            "evil.test": ["203.0.113.5"],
            "cloud.test": ["169.254.169.254"],
            "named.test": ["127.0.0.1"],
        },
    )

    async def scene(responder: Responder, taking: Receiver) -> None:
        port = taking.url.rpartition(":")[2]
        for host in ("app.test", "evil.test", "cloud.test", "named.test"):
            send(responder, f"http://{host}:{port}/{host}")
            await finished(responder)
        listed = json.loads(ask(responder, "GET", "callbacks").body)["callbacks"]
        errors = {one["url"].rpartition("/")[2]: one["error"] for one in listed}
        assert errors["app.test"] is None
        assert errors["evil.test"] == (
            "evil.test is 203.0.113.5, which is neither loopback nor private: it needs "
            "--callbacks-to evil.test"
        )
        assert "169.254.169.254" in errors["cloud.test"]

    taking = play(scene, hosts=("named.test",))
    assert {target for _, target, _, _ in taking.got} == {"/app.test", "/named.test"}
    assert asked.count("app.test") == 3


def test_the_next_judged_address_is_dialled_where_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, {"localhost": ["127.0.0.99", "203.0.113.5", "127.0.0.1"]})

    async def scene(responder: Responder, taking: Receiver) -> None:
        send(responder, taking.url.replace("127.0.0.1", "localhost"))
        assert [one["answered"] for one in await finished(responder)] == [200, 200, 200]

    assert len(play(scene).got) == 3


def test_https_needs_a_certificate_that_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = throw_away(tmp_path)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)

    async def main() -> list[Any]:
        async with receiver(authority.context(["localhost"])) as taking:
            found = []
            for trusting in (False, True):
                if trusting:
                    monkeypatch.setenv("SSL_CERT_FILE", str(authority.pem))
                responder = opened()
                send(responder, f"{taking.url}/x")
                found.append([(one["answered"], one["error"]) for one in await finished(responder)])
                responder.close()
            return [*found, [target for _, target, _, _ in taking.got]]

    distrusted, trusted, got = asyncio.run(main())
    assert [answered for answered, _ in distrusted] == [None] * 3
    assert {error.partition(":")[0] for _, error in distrusted} == {"its certificate is not trusted"}
    assert trusted == [(200, None)] * 3
    assert got == ["/x"] * 3


def test_https_to_a_port_without_tls_is_told_as_that() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        with suppress(OSError):
            await reader.read()  # until the client goes
        writer.close()

    async def main() -> set[str]:
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            responder = opened()
            send(responder, f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/status")
            errors = {one["error"].partition(":")[0] for one in await finished(responder)}
            responder.close()
            return errors

    assert asyncio.run(main()) == {"it speaks no TLS that fits"}


def test_a_named_host_is_called_wherever_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, {"Hooks.Example": ["198.51.100.7"], "hooks.example": ["198.51.100.7"]})
    dialled = []

    async def open_connection(host: str, port: int, **_more: Any) -> Any:
        dialled.append((host, port))
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(asyncio, "open_connection", open_connection)

    async def scene(responder: Responder, _taking: Receiver) -> None:
        send(responder, "https://hooks.example/status")
        await finished(responder)

    play(scene, hosts=("Hooks.Example.",))
    assert dialled == [("198.51.100.7", 443)] * 3


@pytest.mark.parametrize(
    "host", ["api.twilio.com", "API.Twilio.com.", "hooks.twilio.com", "api%2etwilio.com"]
)
def test_twilio_is_never_called_not_even_looked_up(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = resolving(monkeypatch, {})

    async def main() -> list[dict[str, Any]]:
        with_all = Settings(callbacks=True, callbacks_delay=0, callbacks_to=("api.twilio.com", host))
        responder = Responder.open(with_all)
        request = post("Messages", {**GOOD["Messages"], "StatusCallback": f"https://{host}/x"})
        responder.finish(request, respond(Responder(load()), post("Messages", GOOD["Messages"]), NAMES))
        found = await finished(responder)
        responder.close()
        return found

    errors = {one["error"] for one in asyncio.run(main())}
    assert len(errors) == 1
    assert "Twilio's" in errors.pop()
    assert asked == []


def test_the_proxy_does_not_call_itself() -> None:
    async def scene(responder: Responder, taking: Receiver) -> None:
        assert responder.callbacks is not None
        responder.callbacks.own_ports = {int(taking.url.rpartition(":")[2])}
        send(responder, f"{taking.url}/ringback/reset")
        assert {"own" in one["error"] for one in await finished(responder)} == {True}

    assert play(scene).got == []


@pytest.mark.parametrize(
    "url",
    [
        "http://[::1",
        "http://localhost:99999/",
        "http://localhost:x/",
        "http://localhost:80:80/",
        "http://user:pass@word@localhost:1/",
        "ftp://localhost/",
        "http:///path",
        "http://" + "a" * 300 + ".test/",
        "http://b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher.invalid/",
        "http://localhost:1/\r\nX-Injected: yes",
        "http://localhost:1/ HTTP/1.1\r\n\r\n",
        "//localhost",
        "\N{NULL}",
    ],
)
def test_an_odd_url_is_noted_and_harms_nothing(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that validation would have refused, such as that of a recorded answer."""
    monkeypatch.setattr(callbacks, "TIMEOUT", 20.0)
    written: list[bytes] = []

    async def open_connection(_host: str, _port: int, **_more: Any) -> Any:
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(asyncio, "open_connection", open_connection)
    real = callbacks._written
    monkeypatch.setattr(callbacks, "_written", lambda *given: written.append(real(*given)) or written[-1])

    async def scene(responder: Responder, _taking: Receiver) -> None:
        request = post("Messages", {**GOOD["Messages"], "StatusCallback": url})
        answer = respond(Responder(load()), post("Messages", GOOD["Messages"]), NAMES)
        responder.finish(request, answer)
        assert {one["answered"] for one in await finished(responder)} <= {None}
        assert responder.journal.last == 1

    play(scene)
    assert [head for head in written if b"\nX-Injected" in head] == []


def test_xml_and_no_journal_report_too() -> None:
    async def scene(responder: Responder, taking: Receiver) -> None:
        responder.journal.capacity = 0
        form = {**GOOD["Messages"], "StatusCallback": taking.url}
        assert respond(responder, post("Messages", form, extension=""), NAMES).status == 201
        await taking.until(3)
        assert await finished(responder) == []

    taking = play(scene)
    assert taking.statuses() == ["queued", "sent", "delivered"]
    assert {dict(form)["To"] for _, _, form, _ in taking.got} == {GOOD["Messages"]["To"]}


def test_options_without_the_switch_are_told(caplog: pytest.LogCaptureFixture) -> None:
    Responder.open(Settings(callbacks_to=("a.example",))).close()
    assert "without --callbacks" in caplog.text


# -- the journal


def test_no_secret_is_noted(tmp_path: Path) -> None:
    async def scene(responder: Responder, taking: Receiver) -> None:
        url = taking.url.replace("//", "//user:password-of-mine@") + "/x?" + urlencode({"key": TOKEN})
        with (tmp_path / "journal.jsonl").open("w", encoding="utf-8") as responder.journal._file:
            send(responder, url)
            await finished(responder)
        listed = ask(responder, "GET", "callbacks").body.decode()
        kept = (tmp_path / "journal.jsonl").read_text(encoding="utf-8")
        for text in (listed, kept.partition("\n")[2]):
            assert "delivered" in text
            assert "key=[hidden]" in text
            assert TOKEN not in text
            assert "password-of-mine" not in text

    taking = play(scene)
    assert [target for _, target, _, _ in taking.got] == [f"/x?key={TOKEN}"] * 3


def test_events_report_of_each_callback() -> None:
    async def scene(responder: Responder, taking: Receiver) -> None:
        send(responder, taking.url)
        await finished(responder)
        asked = Request("GET", "127.0.0.1", "/ringback/events", (("Host", "127.0.0.1"),), b"", "http")
        stream: Any = Control(responder).handle(asked, "127.0.0.1")
        told = b""
        async for chunk in stream.chunks:
            told += chunk
            if b"delivered" in chunk:
                break
        await stream.chunks.aclose()
        assert told.count(b"event: callback\n") == 3

    play(scene)


# -- the SDKs' own validators

PYTHON_VALIDATOR = """
import json, sys
from twilio.request_validator import RequestValidator
validator = RequestValidator(sys.argv[1])
for url, form, signed in json.load(sys.stdin):
    assert validator.validate(url, dict(form), signed), url
    assert not validator.validate(url + "x", dict(form), signed), url
print("all valid")
"""
NODE_VALIDATOR = """
const { validateRequest } = require("twilio");
const [token, text] = [process.argv[2], require("fs").readFileSync(0, "utf8")];
for (const [url, form, signed] of JSON.parse(text)) {
  if (!validateRequest(token, signed, url, Object.fromEntries(form))) throw new Error(url);
  if (validateRequest(token, signed, url + "x", Object.fromEntries(form))) throw new Error(url);
}
console.log("all valid");
"""
SENDER = """
import sys
from twilio.rest import Client
url, account, token = sys.argv[1:]
client = Client(account, token)
sent = dict(from_="+15005550006", to="+14105550101")
client.messages.create(body="caf\\u00e9 & 1 + 1", status_callback=url + "/sms?x=1&y=%20", **sent)
events = ["initiated", "ringing", "answered", "completed"]
more = dict(url="http://demo.example/voice.xml", status_callback_event=events)
client.calls.create(status_callback=url + "/call", **more, **sent)
client.calls.create(status_callback=url + "/get?x=1", status_callback_method="GET", **more, **sent)
"""


def test_the_sdks_validators_accept_what_a_real_proxy_reports(home: Path, tmp_path: Path) -> None:
    python, node = python_sdk("9"), node_sdk("6")

    async def main() -> list[Any]:
        async with receiver() as taking:
            with serve(home, tmp_path, "--callbacks", "--callbacks-delay", "0") as running:
                command = [*running_python(python), "-c", SENDER, taking.url, ACCOUNT, TOKEN]
                more = {
                    **python.environment,
                    "HTTPS_PROXY": running.url,
                    "REQUESTS_CA_BUNDLE": str(running.ca),
                    "SSL_CERT_FILE": str(running.ca),
                }
                await asyncio.to_thread(
                    subprocess.run, command, env=environment(home, more), check=True, timeout=120
                )
                await taking.until(11)
            assert taking.statuses().count("delivered") == 1
            assert taking.statuses().count("completed") == 2
            return [(taking.url + target, form, signed) for _, target, form, signed in taking.got]

    got = json.dumps(asyncio.run(main()))
    script = tmp_path / "validate.cjs"
    script.write_text(NODE_VALIDATOR)
    commands = (
        ([*running_python(python), "-c", PYTHON_VALIDATOR, TOKEN], python),
        ([node.runtime, str(script), TOKEN], node),
    )
    for command, sdk in commands:
        done = subprocess.run(
            command,
            input=got,
            env=environment(home, sdk.environment),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert (done.returncode, done.stdout.strip()) == (0, "all valid"), done.stderr


def running_python(sdk: Any) -> list[str]:
    return [sdk.runtime]
