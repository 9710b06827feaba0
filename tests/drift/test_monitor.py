"""Drift in what passes through a running proxy."""

from __future__ import annotations

import gzip
import json
import random
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from msgspec.structs import replace

from ringback import contract
from ringback.contract import Answer, AnswerStamp, Contract, Credentials, Names, Request, Source
from ringback.drift.monitor import AgreedExchanges, DriftMonitor
from ringback.drift.observation import plain
from support.drifting import ACCOUNT, CLAIM_SET, NOW, TOKEN, documented, edit, failing, probe, recorded
from support.exchanges import FORM, basic

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ringback.drift.findings import DriftFinding

REQUEST = probe("example.message.sent").request(ACCOUNT)
GOOD = documented(REQUEST)
CHANGED = edit(status="accepted")(GOOD)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def reports() -> list[str]:
    return []


@pytest.fixture
def drift(reports: list[str]) -> DriftMonitor:
    return DriftMonitor(CLAIM_SET.contract, "https://mock-upstream.example", reports.append)


def coded(answer: Answer, coding: str, body: bytes) -> Answer:
    return replace(answer, headers=(*answer.headers, ("Content-Encoding", coding)), body=body)


def test_nothing_seen_is_nothing_found(drift: DriftMonitor) -> None:
    assert drift.findings() == ()
    drift.observe(REQUEST, GOOD, "")
    assert drift.findings() == ()
    assert drift.report().compared == 1


def test_a_difference_is_found_once_with_how_often_and_where(drift: DriftMonitor) -> None:
    for _ in range(3):
        drift.observe(REQUEST, CHANGED, "default.yaml#1")
    (found,) = drift.findings()
    assert (found.rule, found.sightings[0].where) == ("Messages.answer.status", "default.yaml#1")
    made = drift.report()
    assert (made.source, made.origin, made.compared) == ("passive", "https://mock-upstream.example", 3)
    assert found.reproduce.startswith("ringback drift --only Messages.answer.status")


def test_a_coded_answer_is_compared_as_what_it_means(drift: DriftMonitor, reports: list[str]) -> None:
    drift.observe(REQUEST, coded(GOOD, "gzip", gzip.compress(GOOD.body)), "")
    assert (drift.findings(), drift.compared, reports) == ((), 1, [])
    drift.observe(REQUEST, coded(GOOD, "gzip", gzip.compress(CHANGED.body)), "")
    assert [one.rule for one in drift.findings()] == ["Messages.answer.status"]


def test_one_that_cannot_be_decoded_is_reported_and_left_out(drift: DriftMonitor, reports: list[str]) -> None:
    drift.observe(REQUEST, coded(GOOD, "gzip", b"no gzip"), "")
    assert drift.compared == 0
    assert [line.startswith("an answer was not compared with the documentation: ") for line in reports] == [
        True
    ]


def test_what_is_accepted_in_this_directory_is_no_finding(
    here: Path, reports: list[str], drift: DriftMonitor
) -> None:
    drift.observe(REQUEST, CHANGED, "")
    (found,) = drift.findings()
    entry = {
        "fingerprint": found.fingerprint,
        "reason": "known",
        "expires": str(date.today() + timedelta(days=9)),  # noqa: DTZ011 - a user's day
    }
    (here / "drift-accepted.yaml").write_text(json.dumps({"accepted": [entry]}))
    again = DriftMonitor(CLAIM_SET.contract, "x", reports.append)
    again.observe(REQUEST, CHANGED, "")
    assert (again.findings(), reports) == ((), [])
    assert [one.rule for one in again.report().accepted] == [found.rule]


def test_a_broken_list_of_what_is_accepted_is_reported_and_accepts_nothing(
    here: Path, reports: list[str]
) -> None:
    (here / "drift-accepted.yaml").write_text("accepted: 5")
    drift = DriftMonitor(CLAIM_SET.contract, "x", reports.append)
    assert len(reports) == 1
    assert reports[0].startswith("nothing is accepted: drift-accepted.yaml")
    drift.observe(REQUEST, failing(21606)(GOOD), "")
    assert len(drift.findings()) == 1


@pytest.mark.parametrize(
    "name, start", [("r.json", "{"), ("r.html", "<!"), ("r.XML", "<?xml"), ("r.sarif", "{")]
)
def test_the_file_s_ending_names_the_report_s_form(
    here: Path, drift: DriftMonitor, name: str, start: str
) -> None:
    drift.observe(REQUEST, CHANGED, "")
    drift.write(here / name)
    text = (here / name).read_text()
    assert text.lower().startswith(start)
    assert "Messages.answer.status" in text


def test_a_report_that_cannot_be_written_is_reported(
    here: Path, drift: DriftMonitor, reports: list[str]
) -> None:
    drift.write(here / "none" / "r.json")
    assert reports == [
        f"{here / 'none' / 'r.json'}: the drift report cannot be written: No such file or directory"
    ]


# -- the memo of exchanges that agreed


class Beside:
    """A monitor with what it remembers, and for each answer one that remembers nothing."""

    def __init__(self, known: Contract = CLAIM_SET.contract) -> None:
        self.when = NOW
        self.contract = known
        self.remembers = DriftMonitor(known, "x", clock=lambda: self.when)

    def same(self, request: Request, answer: Answer) -> tuple[DriftFinding, ...]:
        """Return the findings, which must be the same with the memo and without."""
        fresh = DriftMonitor(self.contract, "x", clock=lambda: self.when)
        fresh.claim_set = self.remembers.claim_set  # which is the same, and takes long to make
        wanted = fresh.observe(request, answer)
        for digits in ("a7b8c9d0" * 4, "0f1e2d3c" * 4):
            stamp = AnswerStamp(digits, digits[::-1], NOW, 0.1, self.when)
            expected = contract.answer(
                self.contract, plain(request), Names(request.host), Credentials(), stamp
            )
            assert self.remembers.observe(request, answer, "", expected) == wanted  # also when just seen
        return wanted

    @property
    def agreed(self) -> AgreedExchanges:
        return self.remembers._agreed


def exchanges() -> Iterator[tuple[Request, Answer]]:
    """Every request of the documentation with its documented answer, twice: with two sids and two dates."""
    for one in CLAIM_SET.probes:
        request = one.request(ACCOUNT)
        for sid in ("1a2b3c4d" * 4, "5e6f7a8b" * 4):
            answer = documented(request, sid)
            yield request, replace(answer, body=answer.body.replace(b"2026 03:04", b"2026 03:05"))
            yield request, answer


def test_the_memo_finds_what_a_comparison_finds_in_recorded_answers() -> None:
    beside = Beside()
    found = 0
    for _ in range(2):
        for one in recorded():
            asked, got = one["request"], one["response"]
            body = urlencode([tuple(field) for field in asked["form"]]).encode()
            headers = (FORM, basic(ACCOUNT, TOKEN))
            request = Request(asked["method"], "api.twilio.com", asked["path"], headers, body)
            fields = tuple(got["headers"].items())
            answer = Answer(got["status"], got["reason"], fields, got["body"].encode(), Source("live"))
            found += len(beside.same(request, answer))
    assert found


def test_the_memo_finds_what_a_comparison_finds_in_documented_and_in_changed_answers() -> None:
    beside = Beside()
    for request, answer in exchanges():
        assert beside.same(request, answer) == ()
    assert len(beside.agreed) >= 100
    rng = random.Random(13)
    plain = list(exchanges())
    found = 0
    for request, answer in rng.sample(plain, 30):
        for change in mutations(rng, answer):
            found += bool(beside.same(request, change))
    assert found > 200


def mutations(rng: random.Random, answer: Answer) -> Iterator[Answer]:
    """Yield changes of an answer's status, header fields and body, most of which are differences."""
    yield replace(answer, status=answer.status + 1)
    at = rng.randrange(len(answer.headers))
    name, value = answer.headers[at]
    others = answer.headers[:at], answer.headers[at + 1 :]
    yield replace(answer, headers=others[0] + others[1])
    for new in ((name, f"{value}x"), (f"{name}-X", value), (name, "")):
        yield replace(answer, headers=(*others[0], new, *others[1]))
    if answer.body.startswith(b"{"):
        tree = json.loads(answer.body)
        for name, value in tree.items():
            for new in (None, 5, f"{value}0", "Fri, 27 Nov 2026 09:31:27 +0000", f"SM{'9' * 32}", {"a": 1}):
                yield replace(answer, body=json.dumps({**tree, name: new}).encode())
            yield replace(answer, body=json.dumps({one: tree[one] for one in tree if one != name}).encode())
    text = answer.body.decode()
    for _ in range(3):
        at = rng.randrange(len(text))
        yield replace(answer, body=(text[:at] + rng.choice('0aZ<"}') + text[at + 1 :]).encode())


def messages(**form: str | None) -> Request:
    """A message of the form that is documented to be sent."""
    asked = dict(probe("example.message.sent").form) | form
    request = probe("example.message.sent").request(ACCOUNT)
    headers = (FORM, basic(ACCOUNT, TOKEN))
    return replace(
        request,
        headers=headers,
        body=urlencode({name: value for name, value in asked.items() if value}).encode(),
    )


def swapped(request: Request, sid: str, **fields: Any) -> Answer:
    return edit(**fields)(documented(request, sid))


def test_a_sid_that_the_request_names_is_compared() -> None:
    """Also where its spelling in the form is another one."""
    first, second = "1a2b3c4d" * 4, "5e6f7a8b" * 4
    beside = Beside()
    for spelled in (f"SM{first}", "".join(f"%{ord(one):02X}" for one in f"SM{first}")):
        request = messages(Body="BODY")
        request = replace(request, body=request.body.replace(b"BODY", spelled.encode()))
        assert beside.same(request, documented(request, first)) == ()
        assert beside.same(request, documented(request, second)) == ()
        assert beside.same(request, swapped(request, second, body=f"SM{second}")) != ()


def test_an_answer_with_a_secret_of_the_request_is_compared() -> None:
    beside = Beside()
    request = messages()
    assert beside.same(request, documented(request)) == ()
    shown = documented(request, TOKEN)
    assert beside.same(request, shown) != ()  # it is compared, and shown, without the token
    good = documented(request)
    known = tuple((name, f"RQ{TOKEN}" if "Request-Id" in name else value) for name, value in good.headers)
    assert beside.same(request, replace(good, headers=known)) != ()


def test_a_request_that_is_held_against_the_clock_is_always_compared(here: Path) -> None:
    service = "MG" + "0123456789abcdef" * 2
    row = f"{{resource: Messages, parameter: MessagingServiceSid, value: {service}, error: null}}"
    (here / "own.yaml").write_text(f"magic: [{row}]")
    beside = Beside(contract.load([here / "own.yaml"]))
    soon = (NOW + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    request = messages(From=None, MessagingServiceSid=service, ScheduleType="fixed", SendAt=soon)
    stamp = AnswerStamp("1a2b3c4d" * 4, "5e6f7a8b" * 4, NOW, 0.1)
    answer = contract.answer(beside.contract, request, Names(request.host), Credentials(), stamp)
    assert (answer.status, beside.same(request, answer)) == (201, ())
    beside.when = NOW + timedelta(hours=2)
    assert [one.kind for one in beside.same(request, answer)] == ["allowed"]


def test_a_header_field_that_is_newer_than_the_day_is_looked_for_on_the_next() -> None:
    request, answer = messages(), documented(messages())
    answer = replace(answer, headers=tuple(one for one in answer.headers if one[0] != "X-Home-Region"))
    beside = Beside()
    beside.when = datetime(2022, 12, 31, 23, 59, tzinfo=UTC)
    assert beside.same(request, answer) == ()
    beside.when += timedelta(minutes=2)
    assert [one.rule for one in beside.same(request, answer)] == ["header.x-home-region"]


def test_requests_with_other_words_are_of_one_kind() -> None:
    beside = Beside()
    for number in range(5):
        request = messages(To=f"+1410555010{number}", Body=f'text {number} \u20ac "{number}"')
        assert beside.same(request, documented(request, f"{number}a2b3c4d" * 4)) == ()
        assert len(beside.agreed) == 1
        for change in mutations(random.Random(number), documented(request)):
            beside.same(request, change)
            if len(beside.agreed) > 1:  # one that is no difference, and of another kind
                beside = Beside()
                beside.same(request, documented(request))


def test_a_member_that_python_takes_for_equal_is_found() -> None:
    """In JSON, 1 is neither true nor 1.0, and a member that comes twice is not one."""
    request = probe("example.number.bought").request(ACCOUNT)
    good = documented(request)
    assert b'"voice": true' in good.body or b'"voice_caller_id_lookup": false' in good.body
    beside = Beside()
    assert beside.same(request, good) == ()
    for name, new in (("false", "0"), ("true", "1"), ("false", "0.0"), ("null", '""')):
        body = good.body.replace(f": {name}".encode(), f": {new}".encode(), 1)
        if body != good.body:
            assert beside.same(request, replace(good, body=body)) != ()
    for twice in (b'{"sid": 5, ', b'{"account_sid": null, '):
        beside.same(request, replace(good, body=good.body.replace(b"{", twice, 1)))


def test_the_memo_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ringback.drift.monitor._MOST_AGREED", 3)
    beside = Beside()
    for _ in range(5):
        beside.when += timedelta(days=1)
        assert beside.same(messages(), documented(messages())) == ()
    assert len(beside.agreed) == 3
