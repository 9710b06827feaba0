from __future__ import annotations

import gzip
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringback.cassettes.matching import (
    MatchIgnore,
    MatchIgnoreError,
    MatchKey,
    differences,
    host_class,
    likeness,
)
from ringback.cassettes.redaction import Redaction
from support.exchanges import FORM, OTHER_SID, SID, basic, request

if TYPE_CHECKING:
    from random import Random

NOTHING = Redaction()
# Characters that every client can send in a form; lone surrogates are no text.
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
FIELDS = st.lists(st.tuples(TEXT.filter(bool), TEXT), max_size=6)


def key_of(*args: object, **more: object) -> MatchKey:
    return NOTHING.redact(request(*args, **more)).key  # type: ignore[arg-type]  # handed through


def in_full(fields: list[tuple[str, str]]) -> bytes:
    """The form with every byte percent-encoded in lower case, as no client writes it but each may."""

    def escaped(text: str) -> str:
        return "".join(f"%{byte:02x}" for byte in text.encode())

    return "&".join(f"{escaped(name)}={escaped(value)}" for name, value in fields).encode()


@given(FIELDS)
def test_the_spelling_of_a_form_does_not_count(fields: list[tuple[str, str]]) -> None:
    assert key_of(fields) == key_of(in_full(fields))
    assert key_of(fields).digest == key_of(in_full(fields)).digest


def by_name(fields: list[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in fields:
        found.setdefault(name, []).append(value)
    return found


@given(FIELDS, FIELDS)
def test_two_forms_are_equal_when_their_fields_are(
    one: list[tuple[str, str]], other: list[tuple[str, str]]
) -> None:
    assert (key_of(one) == key_of(other)) == (by_name(one) == by_name(other))
    assert (key_of(one).digest == key_of(other).digest) == (by_name(one) == by_name(other))


@given(FIELDS, st.randoms(use_true_random=False))
def test_the_order_of_fields_with_different_names_does_not_count(
    fields: list[tuple[str, str]], random: Random
) -> None:
    grouped = list(by_name(fields).items())
    random.shuffle(grouped)
    shuffled = [(name, value) for name, values in grouped for value in values]
    assert key_of(shuffled) == key_of(fields)


def test_the_order_of_fields_with_one_name_counts() -> None:
    two = [
        ("MediaUrl", "https://example.com/1"),
        ("To", "+14105550100"),
        ("MediaUrl", "https://example.com/2"),
    ]
    assert key_of(two) == key_of([two[1], two[0], two[2]])
    assert key_of(two) != key_of(two[::-1])


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
def test_blank_missing_and_repeated_fields_are_reported_apart(other: list[tuple[str, str]]) -> None:
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
    assert NOTHING.redact(same).key == key_of()  # type: ignore[arg-type]  # a Request


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
    assert NOTHING.redact(other).key != key_of()  # type: ignore[arg-type]  # a Request


def test_a_compressed_form_is_the_same_form() -> None:
    packed = request(
        gzip.compress(b"To=%2B14105550100&Body=hello"), headers=(FORM, ("Content-Encoding", "gzip"))
    )
    assert NOTHING.redact(packed).key == key_of()


JSON = (("Content-Type", "application/json"),)


@pytest.mark.parametrize(
    "one,other,same",
    [
        (b'{"a": 1, "b": [1, 2]}', b'{"b":[1,2],"a":1}', True),
        (b'{"a": "\\u00e9"}', '{"a": "\u00e9"}'.encode(), True),
        (b'{"a": [1, 2]}', b'{"a": [2, 1]}', False),
        (b'{"a": 1}', b'{"a": "1"}', False),
        (b'{"a": 1', b'{"a":1', False),
        (b"[" * 100_000, b" " + b"[" * 100_000, False),
    ],
)
def test_json_bodies_are_compared_by_value(one: bytes, other: bytes, *, same: bool) -> None:
    assert (key_of(one, headers=JSON) == key_of(other, headers=JSON)) == same
    assert key_of(one, headers=JSON) == key_of(one, headers=JSON, sid=OTHER_SID)


def test_other_bodies_are_compared_as_bytes() -> None:
    kind = (("Content-Type", "application/octet-stream"),)
    assert key_of(b"\xff\x00", headers=kind) != key_of(b"\xfe\x00", headers=kind)
    assert key_of(b'{"a": 1}', headers=kind) != key_of(b'{"a":1}', headers=kind)
    assert key_of(b"a=1", headers=kind) != key_of(b"a=1")


def multipart(boundary: str, *parts: tuple[str, str]) -> MatchKey:
    pieces = [f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in parts]
    body = "".join(f"--{boundary}\r\n{piece}" for piece in pieces) + f"--{boundary}--\r\n"
    return key_of(body.encode(), headers=(("Content-Type", f"multipart/form-data; boundary={boundary}"),))


def test_multipart_bodies_are_compared_by_their_parts() -> None:
    parts = ("To", "+14105550100"), ("Body", "hello")
    hex_like = "0123456789abcdef" * 2  # as urllib3 makes them; it has the shape of a token
    assert multipart("x1", *parts) == multipart(hex_like, *parts) == multipart("y", *parts[::-1])
    assert multipart("x1", *parts) != multipart("x1", parts[0], ("Body", "other"))
    assert multipart("x1", *parts) != multipart("x1", parts[0])


CODES = [("To", "+14105550100"), ("Body", "Your code is 123456, 7 minutes"), ("Sent", "now")]


@pytest.mark.parametrize(
    "rules,fields,same",
    [
        (["Sent"], [*CODES[:2], ("Sent", "later")], True),
        (["Sent"], CODES[:2], True),
        (["To,Sent"], [("To", "+14105550199"), CODES[1]], True),
        (["Body=[0-9]{6}"], [CODES[0], ("Body", "Your code is 654321, 7 minutes"), CODES[2]], True),
        (["Body=[0-9]{6}"], [CODES[0], ("Body", "Your code is 654321, 8 minutes"), CODES[2]], False),
        (
            ["Body=[0-9]{6}", "Body=[78] min"],
            [CODES[0], ("Body", "Your code is 1, 8 minutes"), CODES[2]],
            False,
        ),
        ([], [*CODES[:2], ("Sent", "later")], False),
    ],
)
def test_match_ignore(rules: list[str], fields: list[tuple[str, str]], *, same: bool) -> None:
    ignored = MatchIgnore.parse(rules)
    assert (key_of(CODES).without(ignored) == key_of(fields).without(ignored)) == same


def test_match_ignore_looks_into_json_documents() -> None:
    ignored = MatchIgnore.parse(["id", "text=[0-9]+"])
    one, other = (key_of(body, headers=JSON) for body in (b'{"id": 1, "text": "n 1"}', b'{"text": "n 22"}'))
    assert one != other
    assert one.without(ignored) == other.without(ignored)


@pytest.mark.parametrize("rule", ["", "=x", "Body=", "Body=[", "A,,B"])
def test_a_rule_that_is_none(rule: str) -> None:
    with pytest.raises(MatchIgnoreError):
        MatchIgnore.parse([rule])


@pytest.mark.parametrize("value", [None, "Body", 5, {"a": 1}, [None, 5, "=", ["x"]]])
def test_odd_metadata_ignores_nothing(value: object) -> None:
    assert MatchIgnore.from_metadata(value).rules == ()


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
    assert NOTHING.redact(bare).key.path == "/2010-04-01/Accounts/{account}/Messages.json"


def test_the_account_itself_is_a_resource() -> None:
    path = f"/2010-04-01/Accounts/{SID}.json"
    asked = request()
    fetched = type(asked)("GET", asked.host, path, (basic(),))
    assert NOTHING.redact(fetched).key.path == "/2010-04-01/Accounts/{account}.json"


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


def test_differences_are_reported_field_by_field() -> None:
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


def test_json_documents_differ_member_by_member() -> None:
    one, other = (key_of(body, headers=JSON) for body in (b'{"a": 1, "b": "x"}', b'{"b": "y"}'))
    reported = [(it.field, it.asked, it.recorded) for it in differences(one, other)]
    assert reported == [("a", '"1"', "(absent)"), ("b", '"x"', '"y"')]


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
