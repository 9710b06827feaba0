from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringback.cassettes.bodies import rewrite_body

SECRET = 'p&ss"w\\rd</é'
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=("Cs",))),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=("Cs",))), inner, max_size=3)
    ),
    max_leaves=8,
)


def hide(text: str, _name: str) -> str:
    return text.replace(SECRET, "*")


def keep(text: str, _name: str) -> str:
    return text


@given(VALUES, st.booleans())
def test_json_that_holds_nothing_comes_back_byte_for_byte(value: object, ascii_only: bool) -> None:
    body = json.dumps([value], ensure_ascii=ascii_only).encode()
    assert rewrite_body(body, keep) == body
    assert rewrite_body(body, hide) == body or SECRET in json.dumps(value, ensure_ascii=False)


@pytest.mark.parametrize("ascii_only", [True, False])
@given(VALUES)
def test_a_secret_in_json_is_found_however_it_is_escaped(ascii_only: bool, value: object) -> None:
    planted = {"before": value, "in": f"a {SECRET} b", SECRET: [SECRET]}
    body = json.dumps(planted, ensure_ascii=ascii_only).encode()
    assert json.loads(rewrite_body(body, hide)) == {"before": value, "in": "a * b", "*": ["*"]}


def test_escapes_hide_nothing() -> None:
    hidden = "".join(f"\\u{ord(char):04x}" for char in SECRET)
    assert rewrite_body(f'{{"a": "{hidden}"}}'.encode(), hide) == b'{"a": "*"}'
    slashed = b'{"a": "http:\\/\\/x\\/abc"}'
    assert rewrite_body(slashed, lambda text, _: text.replace("abc", "*")) == b'{"a": "http:\\/\\/x\\/*"}'


def test_names_come_with_the_values_under_them() -> None:
    seen: list[tuple[str, str]] = []

    def note(text: str, name: str) -> str:
        seen.append((name, text))
        return text

    rewrite_body(b'{"to": "x", "list": ["y", "z"], "n": 1, "in": {"body": "w"}, "v"', note)
    assert ("to", "x") in seen
    assert ("body", "w") in seen
    seen.clear()
    rewrite_body(b"<?xml version='1.0'?><R a='b'><To>x</To><E/><Body>y &amp; z</Body></R>", note)
    assert ("To", "x") in seen
    assert ("Body", "y & z") in seen


@given(st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff")))  # no XML
def test_xml_is_opened_and_closed_again(text: str) -> None:
    body = (
        f"<R><A>{escape(text)}</A><B>{escape(SECRET)}</B><C>{''.join(f'&#{ord(c)};' for c in SECRET)}</C></R>"
    )
    assert rewrite_body(body.encode(), keep) == body.encode()
    root = ET.fromstring(rewrite_body(body.encode(), hide))
    assert [child.text or "" for child in root[1:]] == ["*", "*"]
    assert (root[0].text or "") == hide(text, "")


def test_attributes_and_cdata_are_looked_into() -> None:
    body = b"<A href='abc'><![CDATA[x abc]]></A>tail abc"
    assert (
        rewrite_body(body, lambda text, _: text.replace("abc", "*"))
        == b"<A href='*'><![CDATA[x *]]></A>tail *"
    )


def test_what_is_no_text_keeps_its_bytes() -> None:
    body = bytes(range(256)) + b"abc" + bytes(range(256))
    expected = bytes(range(256)) + b"*" + bytes(range(256))
    assert rewrite_body(body.replace(b"abcd", b"ab-cd"), keep) == body.replace(b"abcd", b"ab-cd")
    assert rewrite_body(body, lambda text, _: text.replace("\xffabc\x00", "\xff*\x00")) == expected


@given(st.binary(max_size=200))
def test_any_bytes_come_back(body: bytes) -> None:
    assert rewrite_body(body, keep) == body


def test_text_between_the_strings_of_broken_json_is_looked_into() -> None:
    assert (
        rewrite_body(b'{"a": abc, "b": "abc', lambda text, _: text.replace("abc", "*")) == b'{"a": *, "b": "*'
    )
