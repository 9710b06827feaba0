"""Success bodies, compiled: what never changes is written once, what does is filled in.

A template gives the same bytes as walking the resource's fields and writing them one by one would.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING, TypeAlias
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ringback.contract.gate import Format
    from ringback.contract.model import Field, Resource, Scalar

    Known: TypeAlias = Mapping[str, Scalar]
    Form: TypeAlias = Mapping[str, str]
    Write: TypeAlias = Callable[["Scalar"], str]
    # What one field holds, from what is known, the form sent, and the uri's two halves.
    Value: TypeAlias = Callable[[Known, Form, tuple[str, str]], Scalar]

XML_HEAD = "<?xml version='1.0' encoding='UTF-8'?>\n"
# XML 1.0 has no way to write these; a lone surrogate is no character at all.
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_REFERENCES = {"\r": "&#13;"}  # a parser would read a bare one as a line feed
_SPECIAL = re.compile("[&<>\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class Template:
    """The success body of one resource in one format.

    Attributes:
        needs: What must be known to fill it.
        text: The body, with `%s` for each field.
        fields: How to get and how to write each of them.
    """

    needs: frozenset[str]
    text: str
    fields: tuple[tuple[Value, Write], ...]

    def fill(self, known: Known, form: Form, uri: tuple[str, str]) -> bytes:
        """The body.

        Args:
            known: Under each name in `needs` its value.
            form: The parameters sent, without blank ones.
            uri: The new resource's uri, without and with what follows it (the extension).
        """
        return (self.text % tuple([write(value(known, form, uri)) for value, write in self.fields])).encode()


def compile_template(resource: Resource, answer_format: Format) -> Template:
    """The template of `resource`."""
    if answer_format == "json":
        pieces = _json_object(resource.answer)
    else:
        inner = [piece for field in resource.answer for piece in _xml_field(field)]
        start = f"{XML_HEAD}<TwilioResponse><{resource.element}>"
        pieces = [start, *inner, f"</{resource.element}></TwilioResponse>"]
    text = "".join([piece.replace("%", "%%") if isinstance(piece, str) else "%s" for piece in pieces])
    fields = tuple(piece for piece in pieces if not isinstance(piece, str))
    return Template(frozenset(_needs(resource.answer)), text, fields)


def element(name: str, value: Scalar) -> str:
    """An XML element that holds `value`, as Twilio writes it."""
    text = _text(value)
    return f"<{name}>{text}</{name}>" if text else f"<{name}/>"


def _json_object(fields: tuple[Field, ...]) -> list[str | tuple[Value, Write]]:
    pieces: list[str | tuple[Value, Write]] = []
    for number, field in enumerate(fields):
        pieces.append(f"{', ' if number else '{'}{json.dumps(field.json)}: ")
        if field.fields:
            pieces += _json_object(field.fields)
        elif _is_reference(field.value):
            pieces.append((_value(field), _json_scalar))
        else:
            pieces.append(json.dumps(field.value))
    return [*pieces, "}"]


def _xml_field(field: Field) -> list[str | tuple[Value, Write]]:
    name = field.xml
    if field.fields:
        inner = [piece for child in field.fields for piece in _xml_field(child)]
        return [f"<{name}>", *inner, f"</{name}>"]
    if _is_reference(field.value):
        return [(_value(field), lambda value: element(name, value))]
    return [element(name, field.value)]


def _is_reference(value: Scalar) -> bool:
    return isinstance(value, str) and value.startswith("$")


def _needs(fields: tuple[Field, ...]) -> set[str]:
    found: set[str] = set()
    for field in fields:
        found |= _needs(field.fields)
        for value in (field.value, field.default):
            if isinstance(value, str) and value.startswith("$") and not value.startswith(("$form.", "$uri/")):
                found.add(value[1:])
    return found


def _value(field: Field) -> Value:
    """How to get what `field` holds."""
    assert isinstance(field.value, str)
    name = field.value[1:]
    if name.startswith("uri/"):
        below = name[3:]
        return lambda _known, _form, uri: uri[0] + below + uri[1]
    if not name.startswith("form."):
        return lambda known, _form, _uri: known[name]
    return _form_value(name[5:], field.default)


def _form_value(parameter: str, default: Scalar) -> Value:
    if isinstance(default, bool):
        return lambda _known, form, _uri: form[parameter].lower() == "true" if parameter in form else default
    if isinstance(default, str) and default.startswith("$"):
        reference = default[1:]
        return lambda known, form, _uri: form[parameter] if parameter in form else known[reference]
    return lambda _known, form, _uri: form.get(parameter, default)


def _json_scalar(value: Scalar) -> str:
    return encode_basestring_ascii(value) if isinstance(value, str) else json.dumps(value)


def _text(value: Scalar) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    if _SPECIAL.search(text) is None:
        return text
    return escape(_NOT_XML.sub("\ufffd", text), _REFERENCES)
