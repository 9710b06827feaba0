"""An exchange side by side: documented, live, offline."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ringback.drift.compare import compare
from ringback.drift.evidence import rows
from ringback.drift.observe import Observation
from support.drifting import ACCOUNT, BOOK, NOW, documented, edit, failing, look, probe

if TYPE_CHECKING:
    from ringback.drift.findings import Row

SENT, BLOCKED = probe("example.message.sent"), probe("Messages.to.blocked")


def table(item: Any, *change: Any) -> dict[str, Row]:
    return {row.pointer: row for row in rows(BOOK, look(item, *change))}


def test_an_answer_as_documented_has_no_mark() -> None:
    found = table(SENT)
    assert {row.mark for row in found.values()} == {None}
    assert (found["HTTP status"].documented, found["HTTP status"].live) == ("201 CREATED", "201 CREATED")
    assert found["/status"].documented == found["/status"].live == found["/status"].offline == '"queued"'


def test_a_difference_is_marked_where_it_is_and_has_its_line() -> None:
    found = table(SENT, edit(status="accepted", sid=..., tags=1))
    assert [name for name, row in found.items() if row.mark] == ["/sid", "/status", "/tags"]
    assert (found["/status"].mark, found["/status"].live) == ("value", '"accepted"')
    assert found["/status"].line == BOOK.claims["Messages.answer.status"].line
    assert (found["/sid"].mark, found["/sid"].live) == ("removed", "\u2014")
    assert (found["/tags"].documented, found["/tags"].offline) == ("not mentioned", "\u2014")


def test_another_code_is_marked_at_the_code() -> None:
    found = table(BLOCKED, failing(30003))
    assert [name for name, row in found.items() if row.mark] == ["/code"]
    assert (found["/code"].documented, found["/code"].live, found["/code"].mark) == ("21610", "30003", "code")
    assert found["/code"].line == 859


def test_success_where_an_error_is_documented_is_marked_at_the_status() -> None:
    good = documented(SENT.request(ACCOUNT))
    found = table(BLOCKED, lambda _: good)
    assert (found["HTTP status"].mark, found["HTTP status"].line) == ("allowed", 859)
    assert found["HTTP status"].documented.startswith("400 ")


def test_another_status_has_the_line_of_the_status() -> None:
    found = table(SENT, lambda answer: replace(answer, status=200, reason="OK"))["HTTP status"]
    assert (found.mark, found.live) == ("status", "200 OK")


def test_a_text_that_the_page_does_not_have_says_so() -> None:
    assert "(not on the page: " in table(BLOCKED)["/message"].documented
    assert "(not on the page: " in table(SENT)["/num_media"].documented


def test_nothing_shows_the_account_and_nothing_is_endless() -> None:
    found = table(SENT, edit(body="x" * 5000))
    assert not any(ACCOUNT in f"{row.documented} {row.live} {row.offline}" for row in found.values())
    assert max(len(row.live) for row in found.values()) == 300


def test_a_body_that_is_none_is_said_in_its_place() -> None:
    found = table(SENT, lambda answer: replace(answer, body=b"sorry"))
    assert found["/"].live == "no JSON"


def test_header_fields_follow() -> None:
    new = look(SENT, lambda answer: replace(answer, headers=(*answer.headers, ("X-New", "1"))))
    last = rows(BOOK, new)[-1]
    assert (last.pointer, last.live, last.mark) == ("header", "X-New: 1", "header")


def test_an_error_of_nobody_knows_whom_is_not_judged() -> None:
    request = SENT.request(ACCOUNT)
    answer = failing(21606)(documented(request))
    comparison = compare(BOOK, Observation(request, answer, "x", NOW))
    said = {row.pointer: row.documented for row in rows(BOOK, comparison)}
    assert said["/status"] == "not judged: who asked is not known"
