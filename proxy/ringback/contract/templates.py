"""Templates of success bodies: the constant text is written once, the fields are filled in.

A template gives the same bytes as walking the resource's fields and writing them one by one would.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii as _quoted
from operator import itemgetter
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ringback.contract.schema import Field, Format, Resource, Scalar

    Known: TypeAlias = Mapping[str, Scalar]
    Form: TypeAlias = Mapping[str, str]
    Reference: TypeAlias = tuple[str, Scalar]
    Value: TypeAlias = Callable[[Known, Form], Scalar]
    Write: TypeAlias = Callable[[list[Scalar]], tuple[str, ...]]

XML_HEAD = "<?xml version='1.0' encoding='UTF-8'?>\n"
# XML 1.0 has no way to write these; a lone surrogate is no character at all.
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_REFERENCES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"})  # a bare CR reads as LF
_SPECIAL = re.compile("[&<>\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class Template:
    """The success body of one resource in one format.

    Attributes:
        needs: What must be known to fill it.
        text: The body, with `%s` for each field.
        values: How to get what the fields hold, each once.
        written: How to write these, and which of them each `%s` is.
    """

    needs: frozenset[str]
    text: str
    values: Values
    written: Write

    def fill(self, known: Known, form: Form, uri: tuple[str, str]) -> bytes:
        """The body.

        Args:
            known: Under each name in `needs` its value.
            form: The parameters sent, without blank ones.
            uri: The new resource's uri, without and with what follows it (the extension).
        """
        return (self.text % self.written(self.values.of(known, form, uri))).encode()


class Values:
    """Values of a body's fields: those of one kind are read together.

    Args:
        references: The fields' `$references`, each with its default.
    """

    def __init__(self, references: Iterable[Reference]) -> None:
        known, below, plain, others = {}, {}, {}, {}
        for reference in dict.fromkeys(references):
            value, default = reference
            name = value.removeprefix("$form.")
            if value.startswith("$uri/"):
                below[reference] = value.removeprefix("$uri")
            elif not value.startswith("$form."):
                known[reference] = value[1:]
            elif isinstance(default, bool):
                others[reference] = _boolean(name, default)
            elif isinstance(default, str) and default.startswith("$"):
                others[reference] = _or_known(name, default[1:])
            else:
                plain[reference] = name, default
        self.place = {each: at for at, each in enumerate([*known, *below, *plain, *others])}
        self._known, self._below = tuple(known.values()), tuple(below.values())
        self._plain = tuple(name for name, _ in plain.values())
        self._defaults = tuple(default for _, default in plain.values())
        self._others = tuple(others.values())

    def of(self, known: Known, form: Form, uri: tuple[str, str]) -> list[Scalar]:
        """All values, each at its `place`."""
        found = list(map(known.__getitem__, self._known))
        if self._below:
            stem, extension = uri
            found += [f"{stem}{below}{extension}" for below in self._below]
        found += map(form.get, self._plain, self._defaults)
        if self._others:
            found += [value(known, form) for value in self._others]
        return found


def _boolean(name: str, default: bool) -> Value:
    return lambda _known, form: form[name].lower() == "true" if name in form else default


def _or_known(name: str, reference: str) -> Value:
    return lambda known, form: form[name] if name in form else known[reference]


def compile_template(resource: Resource, answer_format: Format) -> Template:
    """The template of `resource`."""
    if answer_format == "json":
        pieces = _json_object(resource.answer)
    else:
        inner = [piece for field in resource.answer for piece in _xml_field(field)]
        start = f"{XML_HEAD}<TwilioResponse><{resource.element}>"
        pieces = [start, *inner, f"</{resource.element}></TwilioResponse>"]
    text = "".join([piece.replace("%", "%%") if isinstance(piece, str) else "%s" for piece in pieces])
    fields = [piece for piece in pieces if not isinstance(piece, str)]
    values = Values((str(field.value), field.default) for field in fields)
    places = [values.place[str(field.value), field.default] for field in fields]
    names = [field.xml for field in fields]
    written = _as_json(places) if answer_format == "json" else _as_xml(names, places)
    return Template(frozenset(_needs(resource.answer)), text, values, written)


def _as_json(places: list[int]) -> Write:
    pick: Callable[[list[str]], tuple[str, ...]] = (
        itemgetter(*places) if len(places) > 1 else lambda made: tuple([made[place] for place in places])
    )
    # Each value once, however often the body has it.
    return lambda values: pick(
        [
            _quoted(value) if isinstance(value, str) else "null" if value is None else _literal(value)
            for value in values
        ]
    )


def _literal(value: float) -> str:
    """Write a number or a truth value as JSON does, without the encoder's own start."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _as_xml(names: list[str], places: list[int]) -> Write:
    fields = list(zip(names, places, strict=True))
    return lambda values: tuple([element(name, values[place]) for name, place in fields])


def element(name: str, value: Scalar) -> str:
    """An XML element that holds `value`, as Twilio writes it."""
    text = _text(value)
    return f"<{name}>{text}</{name}>" if text else f"<{name}/>"


def _json_object(fields: tuple[Field, ...]) -> list[str | Field]:
    pieces: list[str | Field] = []
    for number, field in enumerate(fields):
        pieces.append(f"{', ' if number else '{'}{json.dumps(field.json)}: ")
        if field.fields:
            pieces += _json_object(field.fields)
        else:
            pieces.append(field if _is_reference(field.value) else json.dumps(field.value))
    return [*pieces, "}"]


def _xml_field(field: Field) -> list[str | Field]:
    name = field.xml
    if field.fields:
        inner = [piece for child in field.fields for piece in _xml_field(child)]
        return [f"<{name}>", *inner, f"</{name}>"]
    return [field if _is_reference(field.value) else element(name, field.value)]


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


def _text(value: Scalar) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    if _SPECIAL.search(text) is None:
        return text
    return _NOT_XML.sub("\ufffd", text).translate(_REFERENCES)
