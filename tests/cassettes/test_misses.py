"""What is reported about a request that has no recording."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import pytest

from ringback.cassettes.misses import Miss
from support.exchanges import OTHER_SID, SID, TOKEN, Shelf, answer, found, missed, request

A, B = (request({"Body": name}) for name in "ab")


def test_a_miss_shows_the_nearest_side_by_side(shelf: Shelf) -> None:
    near = request({"To": "+14105550100", "Body": "hello"})
    file = shelf.write((request(resource="Calls.json"), answer()), (near, answer()), (A, answer()))
    line = [number for number, text in enumerate(file.read_text().split("\n"), 1) if text == "- request:"][1]
    with shelf.library() as library:
        cassette = library.open()
        miss = missed(cassette, request({"To": "+14105550101", "Body": "hello", "MediaUrl": ""}))
        assert miss.nearest is not None
        assert (miss.nearest.number, miss.nearest.line, miss.nearest.used) == (2, line, False)
        found(cassette, near)
        again = missed(cassette, request({"To": "+14105550101", "Body": "hello", "MediaUrl": ""}))
        assert again.nearest is not None
        assert again.nearest.used
    target = "/2010-04-01/Accounts/{account}/Messages.json"
    assert miss.text.split("\n") == [
        f"No interaction for POST {target} in cassette default ({file}).",
        f"The nearest is interaction 2 at {file}:{line} (not replayed yet). They differ in:",
        "  field     this request    recorded",
        '  To        "+14105550101"  "+14105550100"',
        '  MediaUrl  ""              (absent)',
        "To record it: ringback run --mode auto --cassette default -- COMMAND",
    ]


@pytest.mark.parametrize(
    "resource,media_type", [("Messages.json", "json"), ("Messages.xml", "xml"), ("Messages", "xml")]
)
def test_the_strict_answer_is_twilio_shaped(shelf: Shelf, resource: str, media_type: str) -> None:
    shelf.write((A, answer()))
    with shelf.library() as library:
        got = missed(library.open(), request({"Body": "<&>"}, resource=resource)).answer()
    assert (got.status, got.reason, got.header("Content-Type")) == (
        404,
        "NOT FOUND",
        f"application/{media_type}",
    )
    assert got.header("Content-Length") == str(len(got.body))
    if media_type == "json":
        body = json.loads(got.body)
        assert list(body) == ["code", "message", "more_info", "status"]
        message = body["message"]
    else:
        exception = ET.fromstring(got.body)[0]
        assert [child.tag for child in exception] == ["Code", "Message", "MoreInfo", "Status"]
        message = exception[1].text or ""
    assert '"<&>"' in message
    assert "--mode auto" in message
    assert got.source.kind == "cassette"
    assert got.source.rule == "miss"


def test_a_miss_in_an_empty_cassette_says_so(shelf: Shelf) -> None:
    with shelf.library() as library:
        miss = missed(library.open("new"), A)
    assert miss.nearest is None
    assert "empty or does not exist" in miss.text
    assert "--cassette new" in miss.reason


def test_nothing_secret_is_in_a_miss(shelf: Shelf) -> None:
    shelf.write((A, answer()))
    with shelf.library() as library:
        miss = missed(library.open(), request({"Body": f"x {TOKEN}", "Url": f"https://a/{OTHER_SID}"}))
        shown = miss.text + miss.reason + repr(miss) + miss.answer().body.decode()
    for secret in (TOKEN, SID, OTHER_SID):
        assert secret not in shown


def test_a_control_character_in_a_field_does_not_reach_a_terminal(shelf: Shelf) -> None:
    shelf.write((A, answer()))
    with shelf.library() as library:
        lines = missed(library.open(), request({"Body": "\x1b[31m\r\n" + "long" * 30})).text.split("\n")
    assert all(line.isprintable() for line in lines)
    assert max(map(len, lines)) < 400


def test_a_miss_can_still_be_reported_when_the_library_is_closed(shelf: Shelf) -> None:
    shelf.write((A, answer()))
    with shelf.library() as library:
        miss = missed(library.open(), B)
    assert "in cassette default" in miss.text
    assert miss.nearest is None


def test_the_nearest_is_found_deep_in_a_large_cassette(shelf: Shelf) -> None:
    shelf.write(
        *((request({"Body": f"{n}", "To": f"+1410555{n:04d}"}), answer(number=n)) for n in range(400))
    )
    with shelf.library() as library:
        miss = missed(library.open(), request({"Body": "other", "To": "+14105550321"}))
        assert isinstance(miss, Miss)
        assert miss.nearest is not None
        assert miss.nearest.number == 322


def test_the_line_for_a_header_says_why(shelf: Shelf) -> None:
    shelf.write((A, answer()))
    with shelf.library(repeats="error") as library:
        cassette = library.open()
        assert missed(cassette, B).reason.startswith("cassette default has no interaction of this request; ")
        found(cassette, A)
        assert (
            missed(cassette, A).reason == "cassette default: the one interaction of this request is used up"
        )
        assert missed(library.open("new"), A).reason.startswith("cassette new is empty or does not exist")


def test_other_requests_that_are_nothing_like_it_are_counted(shelf: Shelf) -> None:
    shelf.write((A, answer()), (A, answer()))
    with shelf.library() as library:
        miss = missed(library.open(), B)
    assert "It has 2 interactions of other requests." in miss.text.split("\n")
