"""JSON and XML as one tree."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from ringback.drift.body import ERROR_NAMES, BodyError, Leaf, escape_pointer, flatten, leaf, read_body, snake
from support.drifting import CLAIM_SET

if TYPE_CHECKING:
    from ringback.contract import Format

(MESSAGES,) = (item for item in CLAIM_SET.contract.resources if item.resource == "Messages")


def inside(text: str) -> bytes:
    return f"<TwilioResponse>{text}</TwilioResponse>".encode()


def test_both_formats_of_an_error_have_the_same_names() -> None:
    as_json = read_body(b'{"code": 21211, "message": "m", "status": 400}', "json", (), ERROR_NAMES)
    text = "<RestException><Code>21211</Code><Message>m</Message><Status>400</Status></RestException>"
    as_xml = read_body(inside(text), "xml", (), ERROR_NAMES)
    assert list(as_json.tree) == list(as_xml.tree) == ["code", "message", "status"]
    assert as_json.tree["code"] == Leaf("integer", "21211")
    assert as_xml.tree["code"] == Leaf("text", "21211")
    assert (as_json.element, as_xml.element) == (None, "RestException")


def test_elements_have_the_names_of_the_contract_s_fields() -> None:
    found = read_body(inside("<Message><Sid>SM1</Sid><NewThing/></Message>"), "xml", MESSAGES.answer, {})
    assert found.tree == {"sid": Leaf("text", "SM1"), "new_thing": Leaf("null", "")}


def test_an_element_that_is_spelled_otherwise_than_its_field_is_not_that_field() -> None:
    assert list(read_body(inside("<Message><SID>1</SID></Message>"), "xml", MESSAGES.answer, {}).tree) == [
        "SID"
    ]
    assert list(read_body(inside("<Message><sid>1</sid></Message>"), "xml", MESSAGES.answer, {}).tree) == [
        "<sid>"
    ]


def test_several_elements_of_one_name_are_a_list() -> None:
    found = read_body(inside("<Message><Tag>1</Tag><Tag>2</Tag></Message>"), "xml", MESSAGES.answer, {})
    assert found.tree["tag"] == Leaf("list", "several elements of this name")


@pytest.mark.parametrize(
    "data, form, said",
    [
        (b"", "json", "nothing instead of JSON"),
        (b"  ", "xml", "nothing instead of XML"),
        (b"<!DOCTYPE html><p>", "json", "HTML instead of JSON"),
        (b"<HTML>", "xml", "HTML instead of XML"),
        (b"<TwilioResponse/>", "json", "no JSON, it looks like XML"),
        (b'{"a": 1}', "xml", "no XML, it looks like JSON"),
        (b'{"a": ', "json", "broken JSON"),
        (b"<TwilioResponse>", "xml", "broken XML"),
        (b"sorry", "json", "no JSON"),
        (b"[1]", "json", "a JSON list instead of an object"),
        (b"null", "json", "a JSON null instead of an object"),
        (b"<Response/>", "xml", "XML with <Response> outside instead of <TwilioResponse>"),
        (inside(""), "xml", "XML with 0 elements in <TwilioResponse> instead of one"),
        (inside("<A/><B/>"), "xml", "XML with 2 elements in <TwilioResponse> instead of one"),
        (b'<!DOCTYPE x [<!ENTITY a "b">]>' + inside("<A/>"), "xml", "XML with a document type"),
        (inside("<a>" * 60 + "</a>" * 60), "xml", "nested too deeply"),
        (b'{"a":' * 60 + b"1" + b"}" * 60, "json", "nested too deeply"),
    ],
)
def test_what_is_no_body_is_said(data: bytes, form: Format, said: str) -> None:
    with pytest.raises(BodyError) as caught:
        read_body(data, form, (), {})
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    "value, kind, text, shown",
    [
        (None, "null", "", "null"),
        (True, "boolean", "true", "true"),
        (0, "integer", "0", "0"),
        (1.5, "number", "1.5", "1.5"),
        ([1], "list", "[1]", "[1]"),
        ('a"b', "string", 'a"b', '"a\\"b"'),
        ("\ud800x", "string", "?x", '"?x"'),  # half a character: JSON can spell it, no file can hold it
    ],
)
def test_a_leaf_has_its_type_and_can_be_shown(value: object, kind: str, text: str, shown: str) -> None:
    found = leaf(value)
    assert (found.kind, found.text, str(found)) == (kind, text, shown)
    (read_back,) = read_body(json.dumps({"a": value}).encode(), "json", (), {}).tree.values()
    assert read_back == found


@pytest.mark.parametrize(
    "text, whole",
    [("12", True), ("-3", True), ("1.0", False), ("", False), ("\u0663", False), ("9" * 30, False)],
)
def test_whole_numbers(text: str, whole: bool) -> None:
    assert Leaf("text", text).is_integer is whole


def test_pointers() -> None:
    tree = read_body(b'{"a": {"b/c": 1, "d~": null}, "e": 2}', "json", (), {}).tree
    assert list(flatten(tree)) == ["/a/b~1c", "/a/d~0", "/e"]
    assert escape_pointer("~/") == "~0~1"


@pytest.mark.parametrize("element, name", [("DateCreated", "date_created"), ("Sid", "sid"), ("URI", "uri")])
def test_names_in_json_s_spelling(element: str, name: str) -> None:
    assert snake(element) == name
