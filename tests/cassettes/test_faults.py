"""What is wrong with a cassette's data, in words."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from ringback.cassettes.vcr_format import ShapeError, check_shape

GOOD: dict[str, Any] = {
    "request": {"method": "GET", "uri": "https://api.twilio.com/", "headers": {}, "body": None},
    "response": {"status": {"code": 200, "message": "OK"}, "headers": {}, "body": {"string": "x"}},
}
MISSING = object()


def reported(data: Any) -> tuple[int, str]:
    with pytest.raises(ShapeError) as caught:
        check_shape(data)
    return caught.value.number, str(caught.value)


def changed(place: str, value: Any) -> dict[str, Any]:
    """An interaction with another value, or none, at `place`."""
    one = copy.deepcopy(GOOD)
    *way, last = place.split(".")
    inside = one
    for key in way:
        inside = inside[key]
    if value is MISSING:
        del inside[last]
    else:
        inside[last] = value
    return one


@pytest.mark.parametrize(
    "place, value",
    [
        ("request.body", "text"),
        ("request.body", b"bytes"),
        ("request.body", ["in", b"parts"]),
        ("request.body", iter(["in", "parts"])),
        ("request.headers", None),
        ("response.headers", None),
        ("response.body", None),
        ("response.body.string", None),
        ("response.status.message", None),
        ("response", {"status_code": 200, "headers": {}, "content": b""}),
    ],
)
def test_what_vcrpy_has_ever_written_is_fine(place: str, value: Any) -> None:
    check_shape({"version": 1, "interactions": [GOOD, changed(place, value)]})


@pytest.mark.parametrize(
    "data, said",
    [
        (None, "it is empty, a cassette is a mapping with `interactions`"),
        ([1], "it is a list, a cassette is a mapping with `interactions`"),
        ("x", "it is text, a cassette is a mapping with `interactions`"),
        ({}, "`interactions` is missing, it must be a list"),
        ({"interactions": {}}, "`interactions` is a mapping, it must be a list"),
        ([GOOD], "it is a list, a cassette is a mapping with `interactions`"),
    ],
)
def test_a_file_that_is_no_cassette(data: Any, said: str) -> None:
    assert reported(data) == (0, said)


@pytest.mark.parametrize(
    "place, value, said",
    [
        ("request", MISSING, "`request` is missing, it must be a mapping"),
        ("request", [], "`request` is a list, it must be a mapping"),
        ("request.method", 5, "`request.method` is a number, it must be text"),
        ("request.uri", MISSING, "`request.uri` is missing, it must be text"),
        ("request.uri", "https://[::1", "`request.uri` is no URL of http or https"),
        ("request.headers", "x", "`request.headers` is text, it must be a mapping"),
        ("request.body", MISSING, "`request.body` is missing, it must be text"),
        ("request.body", 5, "`request.body` is a number, it must be text: put it in quotes"),
        ("request.body", [5], "`request.body` is a list, it must be text"),
        ("request.other", 1, "`request.other` is nothing that a request has"),
        ("response", None, "`response` is empty, it must be a mapping"),
        ("response.status", 200, "`response.status` is a number, it must be a mapping"),
        (
            "response.status.code",
            "200",
            "`response.status.code` is text, it must be a number from 200 to 599",
        ),
        ("response.status.code", 199, "`response.status.code` is 199, it must be a number from 200 to 599"),
        (
            "response.status.code",
            True,
            "`response.status.code` is true or false, it must be a number from 200 to 599",
        ),
        ("response.status.message", MISSING, "`response.status.message` is missing, it must be text"),
        ("response.headers", MISSING, "`response.headers` is missing, it must be a mapping"),
        ("response.body", "x", "`response.body` is text, it must be a mapping"),
        ("response.body.string", {}, "`response.body.string` is a mapping, it must be text"),
        (
            "response.body.string",
            10**13,
            "`response.body.string` is a number, it must be text: put it in quotes",
        ),
        (
            "response",
            {"status_code": None},
            "`response.status_code` is empty, it must be a number from 200 to 599",
        ),
        (
            "response",
            {"status_code": 200, "headers": {}},
            "`response.content` is missing, it must be text",
        ),
    ],
)
def test_an_interaction_that_is_none(place: str, value: Any, said: str) -> None:
    assert reported({"interactions": [GOOD, changed(place, value)]}) == (2, said)


def test_an_item_that_is_no_mapping() -> None:
    said = "it is a number, it must be a mapping with `request` and `response`"
    assert reported({"interactions": [5]}) == (1, said)
