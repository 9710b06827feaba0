"""An exchange side by side: documented, live, offline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from ringback.drift.compare import compare
from ringback.drift.findings import side_by_side
from ringback.drift.observation import Observation
from support.drifting import ACCOUNT, CLAIM_SET, NOW, documented, edit, failing, look, probe

if TYPE_CHECKING:
    from ringback.contract import Answer
    from ringback.drift.findings import SideBySideRow

SENT, BLOCKED = probe("example.message.sent"), probe("Messages.to.blocked")


def table(item: Any, *change: Any) -> dict[str, SideBySideRow]:
    return {row.pointer: row for row in side_by_side(CLAIM_SET, look(item, *change))}


def test_an_answer_as_documented_has_no_mark() -> None:
    found = table(SENT)
    assert {row.mark for row in found.values()} == {None}
    assert (found["HTTP status"].documented, found["HTTP status"].live) == ("201 CREATED", "201 CREATED")
    assert found["/status"].documented == found["/status"].live == found["/status"].offline == '"queued"'


def test_a_difference_is_marked_where_it_is_and_has_its_line() -> None:
    found = table(SENT, edit(status="accepted", sid=..., tags=1))
    assert [name for name, row in found.items() if row.mark] == ["/sid", "/status", "/tags"]
    assert (found["/status"].mark, found["/status"].live) == ("value", '"accepted"')
    assert found["/status"].line == CLAIM_SET.claims["Messages.answer.status"].line
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


@pytest.mark.parametrize("item", [SENT, BLOCKED])
def test_a_body_that_is_none_is_the_row_that_is_marked(item: Any) -> None:
    found = table(item, lambda answer: replace(answer, body=b"sorry"))
    assert [name for name, row in found.items() if row.mark] == ["body"]
    row = found["body"]
    assert (row.documented, row.live, row.offline) == ("JSON for .json, else XML", "no JSON", "JSON")
    assert (row.mark, row.line) == ("type", CLAIM_SET.claims["format.body"].line)
    assert row.line is not None
    assert "/" not in found


def test_another_outer_element_is_the_row_that_is_marked() -> None:
    def renamed(answer: Answer) -> Answer:
        return replace(answer, body=answer.body.replace(b"RestException", b"Oops"))

    found = table(probe("Messages.to.blocked", "xml"), renamed)
    assert [name for name, row in found.items() if row.mark] == ["outer element"]
    row = found["outer element"]
    assert (row.documented, row.live, row.offline) == ("<RestException>", "<Oops>", "<RestException>")


def test_another_status_of_the_same_error_leaves_its_code_unmarked() -> None:
    found = table(BLOCKED, lambda answer: replace(answer, status=422))
    assert [name for name, row in found.items() if row.mark] == ["HTTP status", "/status"]


@pytest.mark.parametrize(
    "name, value, said",
    [
        ("X-New", "1", ("not mentioned", "1", "\u2014", "added")),
        ("Content-Type", "text/plain", ("application/json", "text/plain", "application/json", "value")),
        ("X-Powered-By", None, ("recording 2014-2023", "\u2014", "AT-5000", "removed")),
        ("X-Long", ACCOUNT * 40, ("not mentioned", "{account}" * 33 + "{a\u2026", "\u2014", "added")),
    ],
)
def test_header_fields_come_before_the_body_under_their_names(
    name: str, value: str | None, said: tuple[str, ...]
) -> None:
    def change(answer: Answer) -> Answer:
        kept = tuple(field for field in answer.headers if field[0] != name)
        return replace(answer, headers=kept if value is None else (*kept, (name, value)))

    row = side_by_side(CLAIM_SET, look(SENT, change))[1]
    assert (row.pointer, row.documented, row.live, row.offline, row.mark) == (name, *said)


def test_an_error_of_nobody_knows_whom_is_not_judged() -> None:
    request = SENT.request(ACCOUNT)
    answer = failing(21606)(documented(request))
    comparison = compare(CLAIM_SET, Observation(request, answer, "x", NOW))
    said = {row.pointer: row.documented for row in side_by_side(CLAIM_SET, comparison)}
    assert said["/status"] == "not judged: who asked is not known"
