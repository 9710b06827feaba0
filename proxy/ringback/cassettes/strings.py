r"""Every string inside a JSON, XML or plain body, rewritten in place; the rest stays byte for byte.

Escapes are opened before a string is shown to the rewriting function, so that `\u0041` or `&#65;` hide
nothing.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final, Protocol
from xml.sax.saxutils import escape, unescape

if TYPE_CHECKING:
    from collections.abc import Callable


class Rewrite(Protocol):
    """Takes a string and the name that it stands under (a JSON key, an XML element, or empty)."""

    def __call__(self, text: str, name: str) -> str:
        """The string to put in its place."""
        ...  # a protocol has no body


_JSON_STRING: Final = re.compile(r'"((?:[^"\\]|\\.)*)"(\s*:)?', re.DOTALL)
_XML_PART: Final = re.compile(r"<([\w:.-]+)[^<>]*>([^<]+)|<!\[CDATA\[(.*?)\]\]>|<[^>]*>|[^<]+|<", re.DOTALL)
_XML_NUMERIC: Final = re.compile(r"&#(?:x([0-9A-Fa-f]{1,6})|([0-9]{1,7}));")
_XML_NAMED: Final = {"&quot;": '"', "&apos;": "'"}


def rewrite_body(body: bytes, rewrite: Rewrite) -> bytes:
    """`body` with `rewrite` applied to each of its strings; what it is is seen from its first character."""
    if not body:
        return body
    try:
        text = body.decode()
        encoding = "utf-8"
    except UnicodeDecodeError:
        text = body.decode(
            "latin-1"
        )  # each byte a character: ASCII secrets are found, the rest comes back whole
        encoding = "latin-1"
    start = text.lstrip()[:1]
    rewritten = _rewriter(start)(text, rewrite)
    return body if rewritten == text else rewritten.encode(encoding, "replace")


def _rewriter(start: str) -> Callable[[str, Rewrite], str]:
    if start in ("{", "[", '"'):
        return _rewrite_json
    if start == "<":
        return _rewrite_xml
    return lambda text, rewrite: rewrite(text, "")


def _rewrite_json(text: str, rewrite: Rewrite) -> str:
    parts = []
    name = ""
    end = 0
    for found in _JSON_STRING.finditer(text):
        between = text[end : found.start()]
        if "," in between or "{" in between:
            name = ""
        parts.append(
            rewrite(between, name) if between.strip(" \t\r\n,:[]{}0123456789.-+truefalsn") else between
        )
        raw, colon = found[1], found[2]
        plain = _json_plain(raw)
        new = rewrite(plain, "" if colon else name)
        parts.append(found[0] if new == plain else f"{_json_quoted(new, raw)}{colon or ''}")
        if colon:
            name = plain
        end = found.end()
    rest = text[end:]
    parts.append(rewrite(rest, "") if rest.strip(" \t\r\n,:[]{}0123456789.-+truefalsn") else rest)
    return "".join(parts)


def _json_plain(raw: str) -> str:
    if "\\" not in raw:
        return raw
    try:
        plain = json.loads(f'"{raw}"', strict=False)
    except ValueError:
        return raw
    return plain if isinstance(plain, str) else raw


def _json_quoted(text: str, raw: str) -> str:
    """`text` as a JSON string, spelled as `raw` was: escaped to ASCII or not, slashes escaped or not."""
    quoted = json.dumps(text, ensure_ascii=raw.isascii())
    return quoted.replace("/", "\\/") if "\\/" in raw else quoted


def _rewrite_xml(text: str, rewrite: Rewrite) -> str:
    parts = []
    for found in _XML_PART.finditer(text):
        name, inner, cdata = found[1], found[2], found[3]
        if cdata is not None:
            parts.append(f"<![CDATA[{rewrite(cdata, '')}]]>")
        elif name is not None:
            tag = found[0][: -len(inner)]
            parts += [_xml_string(tag, "", rewrite, tag=True), _xml_string(inner, name, rewrite)]
        else:
            parts.append(_xml_string(found[0], "", rewrite, tag=found[0].startswith("<")))
    return "".join(parts)


def _xml_string(raw: str, name: str, rewrite: Rewrite, *, tag: bool = False) -> str:
    if not raw.strip():
        return raw
    plain = raw if tag else _xml_plain(raw)
    new = rewrite(plain, name)
    if new == plain:
        return raw
    return new if tag else escape(new)


def _xml_plain(raw: str) -> str:
    if "&" not in raw:
        return raw
    return unescape(_XML_NUMERIC.sub(_xml_character, raw), _XML_NAMED)


def _xml_character(found: re.Match[str]) -> str:
    number = int(found[1], 16) if found[1] else int(found[2])
    return chr(number) if number <= 0x10FFFF else found[0]
