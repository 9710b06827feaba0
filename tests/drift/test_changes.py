"""Ways to change an answer: the same change in JSON and in XML."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

from ringback.exchange import error_code
from support.drifting import ACCOUNT, CLAIM_SET, documented, probe
from support.mutations import edit, fail, put

if TYPE_CHECKING:
    from ringback.contract import Format

FORMATS: tuple[Format, ...] = ("json", "xml")
BOUGHT = "example.number.bought"


def text(body: bytes, form: Format, *names: str) -> str | None:
    """The value under JSON keys or XML elements, as text."""
    if form == "xml":
        return ET.fromstring(body)[0].findtext("/".join(names))
    found: Any = json.loads(body)
    for name in names:
        found = found[name]
    return None if found is None else str(found)


@pytest.mark.parametrize("form", FORMATS)
def test_another_error(form: Format) -> None:
    got = fail(30003, 422)(documented(probe(BOUGHT, form).request(ACCOUNT)), form)
    assert (got.status, error_code(got.body)) == (422, 30003)
    assert b"errors/30003" in got.body
    assert b"422" in got.body


@pytest.mark.parametrize("form", FORMATS)
def test_one_field_changes_and_no_other(form: Format) -> None:
    before = documented(probe(BOUGHT, form).request(ACCOUNT))
    names = ("api_version",) if form == "json" else ("ApiVersion",)
    after = edit("/api_version", ("ApiVersion",), put("2027"))(before, form)
    assert text(after.body, form, *names) == "2027"
    back = edit("/api_version", ("ApiVersion",), put(text(before.body, form, *names)))(after, form)
    if form == "json":
        assert json.loads(back.body) == json.loads(before.body)
    else:
        assert ET.canonicalize(back.body) == ET.canonicalize(before.body)


@pytest.mark.parametrize("form", FORMATS)
def test_a_field_of_an_object(form: Format) -> None:
    (entry,) = (
        field
        for item in CLAIM_SET.contract.resources
        if item.resource == "IncomingPhoneNumbers"
        for field in item.answer
        if field.json == "capabilities"
    )
    inner = entry.fields[0]
    change = edit(f"/capabilities/{inner.json}", (entry.xml, inner.xml), put(None))
    after = change(documented(probe(BOUGHT, form).request(ACCOUNT)), form)
    names = (entry.json, inner.json) if form == "json" else (entry.xml, inner.xml)
    assert text(after.body, form, *names) == (None if form == "json" else "")


def test_values_are_spelled_in_xml_as_in_json() -> None:
    before = documented(probe(BOUGHT, "xml").request(ACCOUNT))
    for value, shown in ((True, "true"), ([1], "[1]"), (7, "7"), ("x", "x")):
        got = edit("/sid", ("Sid",), put(value))(before, "xml")
        assert text(got.body, "xml", "Sid") == shown
