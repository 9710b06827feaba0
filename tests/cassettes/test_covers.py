"""Values and what stands in their place, inside longer texts."""

from __future__ import annotations

import pytest

from ringback.cassettes.pseudonyms import Replacement, Replacements, replacements_for

KEY = b"a key for tests, long enough"
NUMBER = "+14105550100"


def substitute(text: str, name: str, replacements: list[Replacement]) -> str:
    return Replacements(replacements).put(text, name)


def put(text: str, name: str = "message", value: str = NUMBER, under: str = "To") -> str:
    return substitute(text, name, replacements_for(under, value, KEY))


def test_a_value_goes_wherever_it_stands_alone() -> None:
    replacement = [Replacement("secret word", "other", "body")]
    assert substitute("secret word", "x", replacement) == "other"
    assert substitute("said: secret word.", "x", replacement) == "said: other."
    assert substitute("secret words", "x", replacement) == "secret words"
    assert substitute("", "body", replacement) == ""


@pytest.mark.parametrize(
    "spelling", ["+14105550100", "(410) 555-0100", "410-555-0100", "1 410 555 0100", "4105550100"]
)
def test_a_number_goes_in_every_spelling_and_keeps_it(spelling: str) -> None:
    text = put(f"{spelling} is not a valid number")
    assert spelling not in text
    assert "5550100" not in "".join(filter(str.isdigit, text))
    assert [char for char in text if not char.isdigit()] == [
        char for char in f"{spelling} is not a valid number" if not char.isdigit()
    ]


def test_all_spellings_of_a_number_get_the_same_one() -> None:
    digits = {"".join(filter(str.isdigit, put(text)))[-10:] for text in (NUMBER, "(410) 555-0100 is taken")}
    assert len(digits) == 1


@pytest.mark.parametrize("name, covered", [("Body", True), ("body", True), ("message", True), ("sid", False)])
def test_a_short_value_goes_only_where_its_own_field_is_echoed(name: str, covered: bool) -> None:
    assert ("hi" not in substitute("oh hi there", name, [Replacement("hi", "xx", "body")])) == covered
    assert substitute("hi", name, [Replacement("hi", "xx", "body")]) == "xx"
    assert ("hey" not in substitute("oh hey there", name, [Replacement("hey", "xx", "body")])) == covered
    assert substitute("oh hear it", name, [Replacement("hear", "xx", "body")]) == "oh xx it"


def test_none_is_put_into_another() -> None:
    replacements = [Replacement("inner", "AAAA", "a"), Replacement("inner part", "has inner", "a")]
    assert substitute("an inner part, inner", "a", replacements) == "an has inner, AAAA"


def test_the_way_back() -> None:
    there = replacements_for("To", NUMBER, KEY)
    back = [replacement.reversed() for replacement in there]
    for text in ("To (410) 555-0100: no", NUMBER, "nothing of it"):
        assert substitute(substitute(text, "message", there), "message", back) == text
