"""A compiled body is the one that walking the fields would give."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import pytest

from ringback.contract import load
from ringback.contract.templates import compile_template, element

if TYPE_CHECKING:
    from ringback.contract.schema import Field, Format

CONTRACT = load()
URI = ("/stem", ".ext")


def _walk(fields: tuple[Field, ...], key: str, form: dict[str, str], known: dict[str, object]) -> object:
    found: dict[str, object] = {}
    for field in fields:
        if field.fields:
            found[getattr(field, key)] = _walk(field.fields, key, form, known)
            continue
        value = field.value
        if isinstance(value, str) and value.startswith("$form."):
            value = form.get(value[6:], field.default)
            if isinstance(field.default, bool) and isinstance(value, str):
                value = value.lower() == "true"
        if isinstance(value, str) and value.startswith("$uri/"):
            value = "/stem" + value[4:] + ".ext"
        elif isinstance(value, str) and value.startswith("$"):
            value = known[value[1:]]
        found[getattr(field, key)] = value
    return found


@pytest.mark.parametrize("name", ["Messages", "Calls", "IncomingPhoneNumbers"])
@pytest.mark.parametrize("sent", [False, True])
def test_json_holds_every_field_in_order(name: str, sent: bool) -> None:
    resource = CONTRACT.resource(name)
    form = {parameter: f'50% "{parameter}" \u263a\n' for parameter in resource.parameters} if sent else {}
    template = compile_template(resource, "json")
    known = {need: f"<{need}> %s" for need in template.needs}
    wanted = _walk(resource.answer, "json", form, dict(known))
    assert template.fill(known, form, URI) == json.dumps(wanted).encode()


@pytest.mark.parametrize("name", ["Messages", "Calls", "IncomingPhoneNumbers"])
def test_xml_holds_every_field_in_order(name: str) -> None:
    resource = CONTRACT.resource(name)
    form = dict.fromkeys(resource.parameters, "a<b>&\x01")
    template = compile_template(resource, "xml")
    known = {need: f"<{need}>" for need in template.needs}

    def flat(node: ET.Element) -> object:
        return {child.tag: flat(child) for child in node} if len(node) else (node.text or "")

    def texts(value: object) -> object:
        if isinstance(value, dict):
            return {key: texts(child) for key, child in value.items()}
        if value is None:
            return ""
        return str(value).lower() if isinstance(value, bool) else str(value).replace("\x01", "\ufffd")

    root = ET.fromstring(template.fill(known, form, URI))
    assert (root.tag, root[0].tag) == ("TwilioResponse", resource.element)
    assert flat(root[0]) == texts(_walk(resource.answer, "xml", form, dict(known)))


@pytest.mark.parametrize("answer_format", ["json", "xml"])
def test_every_need_has_a_value_at_hand(answer_format: Format) -> None:
    for resource in CONTRACT.resources:
        for need in compile_template(resource, answer_format).needs:
            with pytest.raises(KeyError, match=need.replace(".", r"\.")):
                compile_template(resource, answer_format).fill(
                    {other: "" for other in compile_template(resource, answer_format).needs if other != need},
                    {},
                    URI,
                )


@pytest.mark.parametrize(
    "value,text",
    [
        (None, "<A/>"),
        ("", "<A/>"),
        (True, "<A>true</A>"),
        (0, "<A>0</A>"),
        ("a & b\r\t", "<A>a &amp; b&#13;\t</A>"),
        ("\x00\ud800", "<A>\ufffd\ufffd</A>"),
    ],
)
def test_an_element_is_written_as_twilio_does(value: str | bool | int | None, text: str) -> None:
    assert element("A", value) == text
