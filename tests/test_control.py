"""The API at the proxy's own address: what it lists, whom it answers, and what it changes."""

from __future__ import annotations

import asyncio
import json
import re
from inspect import isawaitable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jsonschema
import openapi_spec_validator
import pytest
import yaml
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from ringback import control
from ringback.contract import Answer, Names, Request, load
from ringback.contract.render import SeededStamps
from ringback.control import ROUTES, Control
from ringback.exchange import Source, Stream
from ringback.journal import Journal
from ringback.responder import Responder
from support.clients import GOOD, post, respond

NAMES = Names("api.twilio.com")
TO = "+14105550101"
OPENAPI = Path(__file__).parents[1] / "docs" / "api" / "openapi.yaml"
ROW = {"magic": [{"resource": "Messages", "parameter": "To", "value": TO, "error": 21610}]}


@pytest.fixture
def responder() -> Responder:
    return Responder(load(), stamps=SeededStamps(1))


def message(to: str = TO, body: str = "hello") -> Request:
    return post("Messages", {"From": "+15005550006", "To": to, "Body": body})


def request(
    method: str,
    path: str,
    body: Any = None,
    host: str = "127.0.0.1",
    headers: tuple[tuple[str, str], ...] = (),
) -> Request:
    content = b"" if body is None else json.dumps(body).encode()
    return Request(method, host, f"/ringback/{path}", (("Host", f"{host}:8080"), *headers), content, "http")


def call(responder: Responder, method: str, path: str, body: Any = None) -> Answer:
    got = Control(responder).handle(request(method, path, body), "127.0.0.1")

    async def answered() -> Answer:
        answer = await got if isawaitable(got) else got
        assert isinstance(answer, Answer)
        return answer

    return asyncio.run(answered())


def get(responder: Responder, path: str) -> Any:
    got = call(responder, "GET", path)
    assert got.status == 200, got.body
    return json.loads(got.body)


# -- what was sent


def test_requests_are_listed_newest_first_and_shown_whole(responder: Responder) -> None:
    respond(responder, message(body="code 123456"), NAMES, "alice")
    respond(responder, message("+15005550001"), NAMES)
    found = get(responder, "requests")
    assert [one["number"] for one in found["requests"]] == [2, 1]
    assert (found["last"], found["instance"]) == (2, responder.journal.instance)
    only = get(responder, "requests?" + urlencode({"to": TO, "body~": r"\d{6}", "session": "alice"}))
    assert [one["number"] for one in only["requests"]] == [1]
    assert [one["number"] for one in get(responder, "requests?code=21211&limit=1")["requests"]] == [2]
    assert [one["number"] for one in get(responder, "requests?code=none")["requests"]] == [1]
    assert get(responder, "requests?body=123.56")["requests"] == []
    shown = get(responder, "requests/2")
    assert shown["row"]["value"] == "+15005550001"
    assert json.loads(shown["answer"])["code"] == shown["row"]["error"] == 21211
    assert ["Authorization", "[hidden]"] in shown["request_headers"]
    assert call(responder, "GET", "requests/3").status == 404


def test_messages_calls_and_numbers_are_what_succeeded(responder: Responder) -> None:
    respond(responder, message(body="x" * 161), NAMES)
    respond(responder, message("+15005550001"), NAMES)
    respond(responder, post("Calls", GOOD["Calls"], extension=""), NAMES)
    respond(responder, post("IncomingPhoneNumbers", GOOD["IncomingPhoneNumbers"]), NAMES)
    (sent,) = get(responder, "messages")["messages"]
    assert (sent["to"], sent["from"], sent["segments"], sent["status"]) == (TO, "+15005550006", 2, "queued")
    assert sent["sid"].startswith("SM")
    (called,) = get(responder, "calls")["calls"]
    assert (called["url"], called["sid"][:2]) == (GOOD["Calls"]["Url"], "CA")
    (bought,) = get(responder, "numbers")["numbers"]
    assert (bought["phone_number"], bought["sid"][:2]) == ("+15005550006", "PN")


def test_requests_are_dropped_by_session_or_all(responder: Responder) -> None:
    for user in ("a", "b", "a"):
        respond(responder, message(), NAMES, user)
    assert json.loads(call(responder, "DELETE", "requests?session=a").body) == {"deleted": 2}
    assert json.loads(call(responder, "DELETE", "requests").body) == {"deleted": 1}
    assert get(responder, "requests")["requests"] == []


def test_a_long_poll_ends_with_the_message_or_reports_what_came_instead(responder: Responder) -> None:
    async def main() -> tuple[Any, Any]:
        asked = request("GET", "requests/wait?" + urlencode({"to": TO, "timeout": "60"}))
        waiting = Control(responder).handle(asked, "127.0.0.1")
        assert isawaitable(waiting)
        task = asyncio.ensure_future(waiting)
        await asyncio.sleep(0)
        respond(responder, message("+14105550102"), NAMES)
        respond(responder, message(), NAMES)
        late = Control(responder).handle(request("GET", "requests/wait?count=3&timeout=0.01"), "127.0.0.1")
        assert isawaitable(late)
        return await task, await late

    found, late = asyncio.run(main())
    assert [one["number"] for one in json.loads(found.body)["requests"]] == [2]
    told = json.loads(late.body)
    assert (late.status, len(told["requests"])) == (504, 2)
    assert told["error"].startswith(
        "2 of 3 came within 0.01 s; the last requests were: POST Messages +14105550101"
    )


# -- events


def follow(responder: Responder, *headers: tuple[str, str], path: str = "events") -> Stream:
    got = Control(responder).handle(request("GET", path, headers=headers), "127.0.0.1")
    assert isinstance(got, Stream)
    return got


def test_events_are_those_of_before_and_those_to_come(responder: Responder) -> None:
    async def main() -> None:
        respond(responder, message(), NAMES)
        stream = follow(responder)
        chunks = stream.chunks
        assert b"event: hello\n" in await anext(chunks)
        first = (await anext(chunks)).decode()
        assert f"id: {responder.journal.instance}-1\n" in first
        coming = asyncio.ensure_future(anext(chunks))
        await asyncio.sleep(0)
        respond(responder, message(body="line\nbreak <script>"), NAMES)
        second = (await coming).decode()
        (data,) = [line for line in second.split("\n") if line.startswith("data: ")]
        assert json.loads(data.removeprefix("data: "))["form"][2] == ["Body", "line\nbreak <script>"]
        dropping = asyncio.ensure_future(anext(chunks))
        await asyncio.sleep(0)
        responder.journal.clear()
        assert b"event: cleared\n" in await dropping
        await chunks.aclose()  # type: ignore[attr-defined]  # it is a generator
        assert not responder.journal.listeners

    asyncio.run(main())


def test_events_go_on_after_the_last_one_of_the_same_proxy_alone(responder: Responder) -> None:
    async def main() -> None:
        respond(responder, message(), NAMES)
        respond(responder, message(), NAMES)
        for last, first in ((f"{responder.journal.instance}-1", 2), ("another-1", 1), ("another-x", 1)):
            chunks = follow(responder, ("Last-Event-ID", last)).chunks
            await anext(chunks)
            assert f"-{first}\n" in (await anext(chunks)).decode().splitlines(keepends=True)[0]
        chunks = follow(responder, path="events?since=1").chunks
        await anext(chunks)
        assert (await anext(chunks)).count(b"event: request") == 1

    asyncio.run(main())


def test_silence_is_filled_with_comments(responder: Responder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "KEEP_ALIVE", 0.01)

    async def main() -> None:
        chunks = follow(responder).chunks
        await anext(chunks)
        assert (await anext(chunks)).startswith(b":")

    asyncio.run(main())


# -- who may ask


def status(responder: Responder, asked: Request, peer: str | None, password: str | None = None) -> int:
    got = Control(responder, password).handle(asked, peer)
    assert isinstance(got, Answer)
    return got.status


@pytest.mark.parametrize(
    "host, expected",
    [
        ("evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("127.0.0.1%evil.example", 403),
        ("localhost", 200),
        ("[::1]", 200),
        ("192.0.2.1", 200),
    ],
)
def test_another_name_for_this_address_is_refused(responder: Responder, host: str, expected: int) -> None:
    assert status(responder, request("GET", "requests", host=host), "127.0.0.1") == expected


@pytest.mark.parametrize(
    "headers, expected",
    [
        ((), 200),
        ((("Origin", "http://127.0.0.1:8080"), ("Sec-Fetch-Site", "same-origin")), 200),
        ((("Origin", "http://127.0.0.1:9999"), ("Sec-Fetch-Site", "same-site")), 403),
        ((("Origin", "https://evil.example"),), 403),
        ((("Origin", "null"),), 403),
        ((("Origin", "http://127.0.0.1:8080"), ("Origin", "https://evil.example")), 403),
        ((("Sec-Fetch-Site", "cross-site"),), 403),
        ((("sec-fetch-site", "Cross-Site"),), 403),
        ((("Sec-Fetch-Site", "none"), ("Sec-Fetch-Site", "same-site")), 403),
        ((("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate")), 403),
    ],
)
def test_other_sites_pages_change_nothing(
    responder: Responder, headers: tuple[tuple[str, str], ...], expected: int
) -> None:
    assert status(responder, request("POST", "reset", headers=headers), "127.0.0.1") == expected


def test_a_link_from_elsewhere_opens_the_page(responder: Responder) -> None:
    headers = (("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate"))
    assert status(responder, request("GET", "", headers=headers), "127.0.0.1") == 200


@pytest.mark.parametrize(
    "authorization, expected",
    [
        (None, 401),
        ("Basic OnBhc3N3b3Jk", 200),  # :password
        ("Basic eDpwYXNzd29yZA==", 200),  # x:password
        ("Bearer password", 200),
        ("Bearer Password", 401),
        ("Basic eDp3cm9uZw==", 401),
    ],
)
@pytest.mark.parametrize("peer", ["192.0.2.7", None])
def test_other_machines_need_the_password(authorization: str | None, expected: int, peer: str | None) -> None:
    responder = Responder(load())
    headers = (("Authorization", authorization),) if authorization else ()
    assert (
        status(responder, request("GET", "requests", headers=headers, host="ci.example"), peer, "password")
        == expected
    )
    assert status(responder, request("GET", "requests"), "127.0.0.1", "password") == 200
    assert status(responder, request("GET", "requests"), "::ffff:127.0.0.1", "password") == 200


def test_other_machines_are_refused_where_there_is_no_password(responder: Responder) -> None:
    headers = (("Authorization", "Basic Og=="),)
    assert status(responder, request("GET", "requests", headers=headers), "192.0.2.7") == 401


@pytest.mark.parametrize(
    "path",
    ["../control.py", "%2e%2e/control.py", "index.html", "ui/", "/etc/passwd", "requests/-1", "requests/1/2"],
)
def test_nothing_else_is_found(responder: Responder, path: str) -> None:
    assert call(responder, "GET", path).status == 404


@pytest.mark.parametrize(
    "method, path, allowed",
    [
        ("GET", "outcome", "POST"),
        ("POST", "requests", "HEAD, GET, DELETE"),
        ("DELETE", "requests/1", "HEAD, GET"),
        ("POST", "", "HEAD, GET"),
        ("POST", "health", "HEAD, GET"),
    ],
)
def test_another_method_is_told_which_there_are(
    responder: Responder, method: str, path: str, allowed: str
) -> None:
    got = call(responder, method, path)
    assert (got.status, got.header("Allow")) == (405, allowed)
    assert json.loads(got.body) == {"error": f"here is no {method}, but {allowed}"}


@pytest.mark.parametrize(
    "path, words",
    [
        ("requests?code=x", "code='x' is not a whole number"),
        ("requests?body~=(", "body~ is no regular expression"),
        ("requests?form=x", "there is no parameter 'form'"),
        ("requests?limit=-1", "limit='-1'"),
        ("requests/wait?timeout=1e9", "timeout='1e9'"),
        ("requests/wait?count=0", "count='0'"),
        ("requests/wait?code=x", "code='x'"),
        ("events?since=x", "since='x'"),
        ("requests?body~=" + "x" * 500, "longer than"),
        ("requests/wait?count=10001", "from 1 to 10000"),
    ],
)
def test_a_wrong_parameter_is_reported(responder: Responder, path: str, words: str) -> None:
    got = call(responder, "GET", path)
    assert got.status == 400
    assert words in json.loads(got.body)["error"]


def test_more_clients_than_a_proxy_can_serve_are_refused(
    responder: Responder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "MOST_WAITING", 0)
    for path in ("requests/wait", "events"):
        got = call(responder, "GET", path)
        assert (got.status, "wait or follow already" in json.loads(got.body)["error"]) == (503, True)


def test_nobody_waits_where_nothing_is_kept(responder: Responder) -> None:
    responder.journal = Journal(0)
    got = call(responder, "GET", "requests/wait?timeout=60")
    assert (got.status, "--journal 0" in json.loads(got.body)["error"]) == (400, True)


def test_a_fault_of_the_api_is_an_answer(
    responder: Responder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(responder.journal, "callbacks", None)
    got = call(responder, "GET", "callbacks")
    assert (got.status, json.loads(got.body)) == (500, {"error": "unexpected error: see the proxy's log"})
    assert "Ringback failed on GET /ringback/callbacks" in caplog.text


# -- what it changes


def test_a_row_of_ones_own_makes_the_next_message_fail(responder: Responder) -> None:
    assert respond(responder, message(), NAMES, "a").status == 201
    assert call(responder, "PUT", "contract/rows?session=a", ROW).status == 200
    got = respond(responder, message(), NAMES, "a")
    assert (got.status, json.loads(got.body)["code"], got.source.basis) == (400, 21610, "user")
    assert respond(responder, message(), NAMES, "b").status == 201
    assert get(responder, "contract/rows?session=a") == ROW
    assert get(responder, "contract/rows") == {}
    row = get(responder, "requests/2")["row"]
    assert (row["value"], row["error"]) == (TO, 21610)
    call(responder, "DELETE", "contract/rows?session=a")
    assert respond(responder, message(), NAMES, "a").status == 201


def test_a_row_for_all_sessions(responder: Responder) -> None:
    call(responder, "PUT", "contract/rows", ROW)
    assert respond(responder, message(), NAMES, "b").status == 400
    call(responder, "POST", "reset")
    assert respond(responder, message(), NAMES, "b").status == 201


@pytest.mark.parametrize(
    "rows, words",
    [
        ({"magic": [{"resource": "Messages"}]}, "missing required field"),
        ({"magic": [{**ROW["magic"][0], "error": 99999}]}, "error 99999 has no text"),
        ({"rows": []}, "unknown field"),
        ([], "not a JSON object"),
    ],
)
def test_a_wrong_row_is_reported(responder: Responder, rows: Any, words: str) -> None:
    got = call(responder, "PUT", "contract/rows", rows)
    assert (got.status, words in json.loads(got.body)["error"]) == (400, True), got.body
    assert "tmp" not in got.body.decode()


def test_rows_have_a_bound_and_a_name(responder: Responder, monkeypatch: pytest.MonkeyPatch) -> None:
    got = call(responder, "PUT", "contract/rows?session=../x", ROW)
    assert (got.status, "a session is named by" in json.loads(got.body)["error"]) == (400, True)
    monkeypatch.setattr(control, "_MOST_SESSIONS", 1)
    for session, status in (("a", 200), ("a", 200), ("b", 400)):
        assert call(responder, "PUT", f"contract/rows?session={session}", ROW).status == status
    call(responder, "POST", "reset?session=a")
    assert call(responder, "PUT", "contract/rows?session=b", ROW).status == 200


def test_a_user_name_is_bound_to_one_cassette_after_the_other(responder: Responder) -> None:
    def bind(name: str | None, **more: str) -> Answer:
        return call(responder, "POST", "session", {"user": "suite", "cassette": name, **more})

    for last, name in enumerate(("test-a", "test-b")):
        told = {"cassette": name, "user": "suite", "distrusted": 0, "last": last}
        assert json.loads(bind(name).body) == told
        respond(responder, message(), NAMES, "suite")
    assert bind(None).status == 200
    respond(responder, message(), NAMES, "suite")
    assert [one["name"] for one in get(responder, "session")["sessions"]] == ["test-a", "test-b", "suite"]
    assert get(responder, "session")["cassette"] == "default", "others are not touched"
    for wrong in ({"file": "/etc/x.yaml"}, {"file": "x.txt"}, {"file": "../x.yaml"}, {"user": "a/b"}):
        assert bind("test-a", **wrong).status == 400


def test_clients_that_name_no_cassette_get_another(responder: Responder) -> None:
    assert get(responder, "session") == {"cassette": "default", "sessions": []}
    assert call(responder, "POST", "session", {"cassette": "checkout"}).status == 200
    respond(responder, message(), NAMES)
    respond(responder, message(), NAMES, "other")
    sessions = [{"name": "checkout", "requests": 1}, {"name": "other", "requests": 1}]
    assert get(responder, "session") == {"cassette": "checkout", "sessions": sessions}
    assert call(responder, "POST", "session", {"cassette": "../x"}).status == 400
    assert call(responder, "POST", "session", {}).status == 400


def test_reset_begins_anew(responder: Responder) -> None:
    first = respond(responder, message(), NAMES)
    second = respond(responder, message(), NAMES)
    assert json.loads(call(responder, "POST", "reset").body) == {"deleted": 2}
    again = respond(responder, message(), NAMES)
    assert first.body == again.body != second.body
    assert len(responder.journal) == 1


# -- the proxy


def test_health_is_reported_by_head_too_and_by_any_name(responder: Responder) -> None:
    got = call(responder, "HEAD", "health")
    assert (got.status, got.body) == (200, b"")
    assert status(responder, request("GET", "health", host="proxy.example"), "127.0.0.1") == 200


def test_the_ca_is_handed_out_where_it_is_known(responder: Responder, tmp_path: Path) -> None:
    assert call(responder, "GET", "ca.pem").status == 404
    control = Control(responder)
    control.ca = tmp_path / "ca.pem"
    control.ca.write_text("-----BEGIN")
    got = control.handle(request("GET", "ca.pem"), "127.0.0.1")
    assert isinstance(got, Answer)
    assert got.body == b"-----BEGIN"


def test_metrics_are_prometheus_text(responder: Responder) -> None:
    for asked in (message(), message(), message("+15005550001"), replace(message(), method="GET")):
        responder.handle(asked, NAMES)
    responder.handle(post("Calls", GOOD["Calls"], extension=""), NAMES)
    text = call(responder, "GET", "metrics").body.decode()
    assert 'ringback_answers_total{source="contract",resource="Messages",code=""} 2\n' in text
    assert 'ringback_answers_total{source="contract",resource="Messages",code="21211"} 1\n' in text
    assert 'ringback_answers_total{source="contract",resource="Calls",code=""} 1\n' in text
    assert 'ringback_answers_total{source="gate",resource="Messages",code="20008"} 1\n' in text
    assert 'ringback_refused_total{rule="resource.unsupported"} 1\n' in text
    assert "ringback_journal_entries 5\n" in text
    classes = re.findall(r'ringback_answer_seconds_bucket\{source="contract",le="(.+?)"\} (\d+)', text)
    counts = [int(number) for _, number in classes]
    assert (counts, counts[-1], classes[-1][0]) == (sorted(counts), 4, "+Inf")
    assert 'ringback_answer_seconds_count{source="contract"} 4\n' in text
    seconds = re.search(r'ringback_answer_seconds_sum\{source="contract"\} ([0-9.]+)\n', text)
    assert seconds is not None
    assert float(seconds[1]) > 0
    families = {one.name: one for one in text_string_to_metric_families(text)}
    assert families["ringback_answer_seconds"].type == "histogram"
    answers = families["ringback_answers"].samples
    assert sum(one.value for one in answers if one.labels["source"] == "contract") == 4


def test_labels_of_metrics_are_bounded(responder: Responder) -> None:
    tally = responder.tally
    for number in range(3000):
        body = json.dumps({"code": 10000 + number}).encode()
        tally.count(Answer(400, "", (), body, Source("live")), f"/2010-04-01/Accounts/AC1/X{number}.json")
    assert len(tally.answers) <= 2001
    assert tally.answers["live", "other", "other"] == 1000


def test_a_request_is_asked_for_by_head_too(responder: Responder) -> None:
    respond(responder, message(), NAMES)
    got, missing = (call(responder, "HEAD", f"requests/{number}") for number in (1, 2))
    assert (got.status, got.body, missing.status) == (200, b"", 404)
    length = got.header("Content-Length")
    assert length == str(len(call(responder, "GET", "requests/1").body))


@pytest.mark.parametrize("path", ["", "inbox.js", "inbox.css", "icon.svg"])
def test_the_page_allows_nothing_from_elsewhere(responder: Responder, path: str) -> None:
    got = call(responder, "GET", path)
    assert got.status == 200
    policy = got.header("Content-Security-Policy") or ""
    assert policy.startswith("default-src 'none'; script-src 'self';")
    assert "unsafe" not in policy
    text = got.body.decode()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)
    assert not re.search(r"""(?:src|href)=["'](?:https?:)?//""", text)


# -- its description


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    found = yaml.safe_load(OPENAPI.read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def test_every_operation_is_described_with_its_parameters(described: dict[str, Any]) -> None:
    shared = described["components"]["parameters"]
    found = {}
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            given = [
                shared[one["$ref"].rpartition("/")[2]] if "$ref" in one else one
                for one in operation.get("parameters", [])
            ]
            query = {one["name"] for one in given if one["in"] == "query"}
            found[method.upper(), path.removeprefix("/ringback/")] = query
    assert found == {(route.method, route.path): set(route.parameters) for route in ROUTES}
    openapi_spec_validator.validate(described)


@pytest.mark.parametrize(
    "method, path, body",
    [
        ("GET", "requests", None),
        ("GET", "requests/1", None),
        ("GET", "requests/2", None),
        ("GET", "requests/wait", None),
        ("GET", "messages", None),
        ("GET", "calls", None),
        ("GET", "numbers", None),
        ("GET", "session", None),
        ("POST", "session", {"cassette": "a"}),
        ("POST", "reset", None),
        ("PUT", "contract/rows", ROW),
        ("GET", "contract/rows", None),
        ("GET", "health", None),
        ("DELETE", "requests", None),
    ],
)
def test_answers_are_as_described(
    responder: Responder, described: dict[str, Any], method: str, path: str, body: Any
) -> None:
    for resource in ("Messages", "Calls", "IncomingPhoneNumbers"):
        respond(responder, post(resource, GOOD[resource]), NAMES)
        respond(responder, post(resource, {"From": "+15005550001"}), NAMES)
    answer = json.loads(call(responder, method, path, body).body)
    where = described["paths"]["/ringback/" + re.sub(r"\d+$", "{n}", path)][method.lower()]
    schema = where["responses"]["200"]["content"]["application/json"]["schema"]
    jsonschema.validate(answer, {**schema, "components": described["components"]})
