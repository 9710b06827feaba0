"""JSON and XML bodies as one tree, and the shapes of values that differ from answer to answer.

A tree is a mapping of names to leaves and further trees. Names of the contract's fields are JSON's, whichever
format they came in; an XML element that no field claims gets its name in JSON's spelling. The order of keys
is lost on purpose.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ringback.contract.schema import Field, Format


LeafKind: TypeAlias = Literal["string", "integer", "number", "boolean", "null", "list", "text"]

_CAPITAL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_LONGEST_NUMBER = 20  # digits; codes have five
_DEEPEST = 40  # Twilio's answers have two levels


@dataclass(frozen=True, slots=True)
class Leaf:
    """A value.

    Attributes:
        kind: Its type; `text` is XML's, which could be any of them, and an empty element is `null`.
        text: How it is written in XML, or would be.
    """

    kind: LeafKind
    text: str

    def __str__(self) -> str:
        if self.kind == "null":
            return "null"
        return json.dumps(self.text, ensure_ascii=False) if self.kind in {"string", "text"} else self.text

    @property
    def is_integer(self) -> bool:
        """True if it is written as a whole number of ordinary length."""
        digits = self.text.removeprefix("-")
        return digits.isascii() and digits.isdigit() and len(digits) < _LONGEST_NUMBER


Tree: TypeAlias = "dict[str, Leaf | Tree]"

ERROR_NAMES = {"Code": "code", "Message": "message", "MoreInfo": "more_info", "Status": "status"}


class BodyError(Exception):
    """The body is not of the format that it should have; the text says what it is."""


@dataclass(frozen=True, slots=True)
class Body:
    """A body as a tree.

    Attributes:
        tree: Its fields.
        element: XML's element around them, None for JSON.
    """

    tree: Tree
    element: str | None = None


def read_body(data: bytes, form: Format, fields: Sequence[Field], names: Mapping[str, str]) -> Body:
    """The tree of `data`; `fields`, or `names` where there are none, say what the XML elements are called.

    Raises:
        BodyError: Not a JSON object, or not XML in a TwilioResponse.
    """
    return _json(data) if form == "json" else _xml(data, fields, names)


def leaf(value: Any) -> Leaf:
    """The leaf of a JSON value that is no object."""
    if value is None:
        return Leaf("null", "")
    if isinstance(value, bool):
        return Leaf("boolean", "true" if value else "false")
    if isinstance(value, int):
        return Leaf("integer", str(value))
    if isinstance(value, float):
        return Leaf("number", repr(value))
    if isinstance(value, list):
        return Leaf("list", json.dumps(value))
    return Leaf("string", _whole(str(value)))


def tree_of_json(value: Mapping[str, Any], depth: int = 0) -> Tree:
    """The tree of a JSON object.

    Raises:
        BodyError: Nested too deeply.
    """
    if depth > _DEEPEST:
        raise BodyError("nested too deeply")
    return {
        _whole(name): tree_of_json(inner, depth + 1) if isinstance(inner, dict) else leaf(inner)
        for name, inner in value.items()
    }


def flatten(tree: Tree, prefix: str = "") -> dict[str, Leaf]:
    """Every leaf of `tree` under its JSON pointer."""
    found: dict[str, Leaf] = {}
    for name, inner in tree.items():
        pointer = f"{prefix}/{escape_pointer(name)}"
        if isinstance(inner, Leaf):
            found[pointer] = inner
        else:
            found |= flatten(inner, pointer)
    return found


def escape_pointer(name: str) -> str:
    """`name` as a step of a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


def snake(name: str) -> str:
    """An XML element's name in JSON's spelling: `DateCreated` is `date_created`."""
    return _CAPITAL.sub("_", name).lower()


def _whole(text: str) -> str:
    """`text` without halves of characters, which JSON can spell and no file can hold."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _json(data: bytes) -> Body:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise BodyError(_nature(data, "JSON")) from None
    if not isinstance(value, dict):
        raise BodyError(f"a JSON {leaf(value).kind} instead of an object")
    return Body(tree_of_json(value))


def _xml(data: bytes, fields: Sequence[Field], names: Mapping[str, str]) -> Body:
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise BodyError("XML with a document type, which Twilio never sends")
    try:
        root = ET.fromstring(data)  # noqa: S314 - without a document type there are no entities
    except (ET.ParseError, ValueError, LookupError):
        raise BodyError(_nature(data, "XML")) from None
    if root.tag != "TwilioResponse":
        raise BodyError(f"XML with <{root.tag}> outside instead of <TwilioResponse>")
    children = list(root)
    if len(children) != 1:
        raise BodyError(f"XML with {len(children)} elements in <TwilioResponse> instead of one")
    return Body(_elements(children[0], fields, names), children[0].tag)


def _elements(element: ET.Element, fields: Sequence[Field], names: Mapping[str, str], depth: int = 0) -> Tree:
    if depth > _DEEPEST:
        raise BodyError("nested too deeply")
    known = {field.xml: field for field in fields}
    taken = {field.json for field in fields} | set(names.values())
    tree: Tree = {}
    for child in element:
        field = known.get(child.tag)
        name = field.json if field else names.get(child.tag) or snake(child.tag)
        if not field and child.tag not in names and name in taken:
            # Spelled otherwise than the field it resembles, so it is not that field.
            name = f"<{child.tag}>" if child.tag in taken else child.tag
        if name in tree:
            tree[name] = Leaf("list", "several elements of this name")
        elif len(child):
            tree[name] = _elements(child, field.fields if field else (), {}, depth + 1)
        else:
            text = child.text or ""
            tree[name] = Leaf("text", text) if text.strip() else Leaf("null", "")
    return tree


def _nature(data: bytes, wanted: str) -> str:
    """Describe what `data` is, if it is not what was wanted."""
    start = data.lstrip()[:200].lower()
    if not start:
        return f"nothing instead of {wanted}"
    if start.startswith((b"<!doctype html", b"<html")):
        return f"HTML instead of {wanted}"
    if start.startswith(b"<"):
        return f"no {wanted}, it looks like XML" if wanted == "JSON" else f"broken {wanted}"
    if start.startswith((b"{", b"[")):
        return f"no {wanted}, it looks like JSON" if wanted == "XML" else f"broken {wanted}"
    return f"no {wanted}"


# RFC 2822 as Twilio's bodies have it: `Wed, 10 Oct 2012 21:36:14 +0000` (page, line 308).
DATE = re.compile(
    r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d{2} "
    r"(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} \d{2}:\d{2}:\d{2} \+0000",
    re.ASCII,
)
_DATES = (
    ("ISO 8601", re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}.*", re.ASCII)),
    ("a date without a time", re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)),
    ("seconds since 1970", re.compile(r"\d{9,11}(\.\d+)?", re.ASCII)),
    ("milliseconds since 1970", re.compile(r"\d{12,14}", re.ASCII)),
    ("RFC 2822 with another zone", re.compile(r"\w{3}, \d{1,2} \w{3} \d{4} \d{2}:\d{2}:\d{2} \S+", re.ASCII)),
)
_SID = re.compile(r"([A-Z]{2})([0-9a-f]+)", re.ASCII)
_ANY_SID = re.compile(r"\b[A-Z]{2}[0-9a-f]{32}\b", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_CLASSES = (
    ("digits", re.compile(r"\d+", re.ASCII)),
    ("hex digits", re.compile(r"[0-9a-f]+", re.ASCII)),
    ("capital hex digits", re.compile(r"[0-9A-F]+", re.ASCII)),
    ("letters and digits", re.compile(r"[0-9A-Za-z]+", re.ASCII)),
)


def is_sid(text: str, prefix: str) -> bool:
    """Report whether `text` is a sid with this prefix: two letters and 32 hexadecimal digits."""
    found = _SID.fullmatch(text)
    return found is not None and found[1] == prefix and len(found[2]) == 32


def identifier_shape(text: str) -> str:
    """The shape of an identifier, e.g. `SM and 34 hex digits`; never the identifier itself."""
    if _UUID.fullmatch(text):
        return "a UUID"
    prefix, rest = (text[:2], text[2:]) if re.match(r"[A-Z]{2}", text) else ("", text)
    for name, pattern in _CLASSES:
        if pattern.fullmatch(rest):
            return f"{prefix} and {len(rest)} {name}" if prefix else f"{len(rest)} {name}"
    return f"{prefix} and other text" if prefix else "other text"


def date_format(text: str) -> str:
    """The name of the format of a date, as far as it is a known one."""
    return next((name for name, pattern in _DATES if pattern.fullmatch(text)), "another format")


def templated(text: str, known: Mapping[str, str]) -> str:
    """`text` with every value of `known` replaced by its `{name}`, the longest first.

    What is left is the same from run to run, whatever number, sid or account was used.
    """
    for name, value in sorted(known.items(), key=lambda item: -len(item[1])):
        if len(value) > 2:
            text = text.replace(value, "{" + name + "}")
    return _ANY_SID.sub("{another sid}", text)
