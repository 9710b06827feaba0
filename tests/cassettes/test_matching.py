from __future__ import annotations

import gzip
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringback.cassettes.matching import MatchKey, differences, host_class, key, likeness
from ringback.cassettes.redaction import Redaction
from support.exchanges import FORM, OTHER_SID, SID, basic, request

NOTHING = Redaction()
# Characters that every client can send in a form; lone surrogates are no text.
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
FIELDS = st.lists(st.tuples(TEXT.filter(bool), TEXT), max_size=6)


def key_of(*args: object, **more: object) -> MatchKey:
    return key(request(*args, **more), NOTHING)  # type: ignore[arg-type]  # handed through


def in_full(fields: list[tuple[str, str]]) -> bytes:
    """The form with every byte percent-encoded in lower case, as no client writes it but each may."""

    def escaped(text: str) -> str:
        return "".join(f"%{byte:02x}" for byte in text.encode())

    return "&".join(f"{escaped(name)}={escaped(value)}" for name, value in fields).encode()


@given(FIELDS)
def test_the_spelling_of_a_form_does_not_count(fields: list[tuple[str, str]]) -> None:
    assert key_of(fields) == key_of(in_full(fields))
    assert key_of(fields).digest == key_of(in_full(fields)).digest


@given(FIELDS, FIELDS)
def test_two_forms_are_equal_when_their_fields_are(
    one: list[tuple[str, str]], other: list[tuple[str, str]]
) -> None:
    assert (key_of(one) == key_of(other)) == (one == other)
    assert (key_of(one).digest == key_of(other).digest) == (one == other)


@given(st.lists(st.tuples(TEXT.filter(bool), TEXT), min_size=2, max_size=4, unique=True))
def test_the_order_of_fields_counts(fields: list[tuple[str, str]]) -> None:
    assert key_of(fields) != key_of(fields[::-1])


@pytest.mark.parametrize(
    "other",
    [
        [("To", "+14105550100")],
        [("To", "+14105550100"), ("Body", "")],
        [("To", "+14105550100"), ("Body", ""), ("Body", "")],
        [("Body", ""), ("To", "+14105550100")],
        [("To", "4105550100"), ("Body", "")],
        [("To", "+14105550100"), ("body", "")],
    ],
)
def test_blank_missing_and_repeated_fields_are_told_apart(other: list[tuple[str, str]]) -> None:
    forms = [[("To", "+14105550100"), ("Body", "x")], other]
    assert key_of(forms[0]) != key_of(forms[1])
    assert key_of(other) == key_of(list(other))


@pytest.mark.parametrize(
    "same",
    [
        request(sid=OTHER_SID),
        request(token="0" * 32),
        request(headers=(("User-Agent", "twilio-java/10"), FORM)),
        request(headers=(FORM, ("Accept", "*/*"))),
        request(headers=(("Content-Type", "application/x-www-form-urlencoded; charset=UTF-8"),)),
        request(headers=()),
        request(host="api.ie1.twilio.com"),
        request(host="api.dublin.ie1.twilio.com"),
    ],
)
def test_who_asks_and_from_where_does_not_count(same: object) -> None:
    assert key(same, NOTHING) == key_of()  # type: ignore[arg-type]  # a Request


@pytest.mark.parametrize(
    "other",
    [
        request(method="PUT"),
        request(resource="Calls.json"),
        request(resource="Messages.xml"),
        request(resource="Messages"),
        request(query="Page=1"),
        request(host="lookups.twilio.com"),
        request(host="api.twilio.com.example"),
    ],
)
def test_what_is_asked_counts(other: object) -> None:
    assert key(other, NOTHING) != key_of()  # type: ignore[arg-type]  # a Request


def test_a_compressed_form_is_the_same_form() -> None:
    packed = request(
        gzip.compress(b"To=%2B14105550100&Body=hello"), headers=(FORM, ("Content-Encoding", "gzip"))
    )
    assert key(packed, NOTHING) == key_of()


def test_other_bodies_are_compared_as_bytes() -> None:
    kind = (("Content-Type", "application/json"),)
    assert key_of(b'{"a": 1}', headers=kind) == key_of(b'{"a": 1}', headers=kind, sid=OTHER_SID)
    assert key_of(b'{"a": 1}', headers=kind) != key_of(b'{"a":1}', headers=kind)
    assert key_of(b"\xff\x00", headers=kind) != key_of(b"\xfe\x00", headers=kind)
    assert key_of(b"a=1", headers=kind) != key_of(b"a=1")


def test_bytes_that_are_no_utf8_stay_apart() -> None:
    assert key_of(b"Body=%ff") != key_of(b"Body=%fe")
    assert key_of(b"Body=%ff").digest != key_of(b"Body=%fe").digest
    assert key_of(b"Body=%ff") == key_of(b"Body=\xff")


def test_the_account_may_be_percent_encoded_and_stand_in_a_value() -> None:
    def with_callback(sid: str) -> MatchKey:
        return key_of({"StatusCallback": f"https://example.com/{sid}/done"}, sid=sid)

    assert with_callback(SID) == with_callback(OTHER_SID)
    assert key_of(resource=quote("Messages", safe="") + ".json") == key_of()
    bare = request(sid="%41" + SID[1:])
    assert key(bare, NOTHING).path == "/2010-04-01/Accounts/{account}/Messages.json"


def test_the_account_itself_is_a_resource() -> None:
    path = f"/2010-04-01/Accounts/{SID}.json"
    asked = request()
    fetched = type(asked)("GET", asked.host, path, (basic(),))
    assert key(fetched, NOTHING).path == "/2010-04-01/Accounts/{account}.json"


@pytest.mark.parametrize(
    "host,expected",
    [
        ("api.twilio.com", "api.twilio.com"),
        ("api.au1.twilio.com", "api.twilio.com"),
        ("api.sydney.au1.twilio.com", "api.twilio.com"),
        ("api.a.b.c.twilio.com", "api.a.b.c.twilio.com"),
        ("evilapi.twilio.com", "evilapi.twilio.com"),
        ("api-twilio.com", "api-twilio.com"),
    ],
)
def test_host_classes(host: str, expected: str) -> None:
    assert host_class(host) == expected


def test_differences_are_told_field_by_field() -> None:
    asked = key_of(
        [("To", "+14105550101"), ("Body", "hello"), ("MediaUrl", "a"), ("MediaUrl", "b")], query="x=1"
    )
    recorded = key_of([("To", "+14105550100"), ("Body", "hello"), ("MediaUrl", "a"), ("From", "")])
    reported = {one.field: (one.asked, one.recorded) for one in differences(asked, recorded)}
    assert reported == {
        "query x": ('"1"', "(absent)"),
        "To": ('"+14105550101"', '"+14105550100"'),
        "MediaUrl": ('"a", "b"', '"a"'),
        "From": ("(absent)", '""'),
    }


def test_another_order_is_a_difference_of_its_own() -> None:
    (reported,) = differences(key_of([("A", "1"), ("B", "2")]), key_of([("B", "2"), ("A", "1")]))
    assert (reported.field, reported.asked, reported.recorded) == ("order of fields", "A, B", "B, A")


def test_other_bodies_differ_in_one_line() -> None:
    kind = (("Content-Type", "application/json"),)
    (reported,) = differences(key_of(b"{}", headers=kind), key_of())
    assert (reported.field, reported.recorded) == ("body", "a form of 2 fields")


@given(FIELDS, FIELDS)
def test_differences_are_empty_for_equal_keys_only(
    one: list[tuple[str, str]], other: list[tuple[str, str]]
) -> None:
    assert (differences(key_of(one), key_of(other)) == ()) == (key_of(one) == key_of(other))


def test_the_path_weighs_more_than_the_fields() -> None:
    asked = key_of()
    near, far = key_of({"To": "+14105550999"}), key_of(resource="Calls.json")
    assert likeness(asked, asked) == 1
    assert likeness(asked, near) > likeness(asked, far)
