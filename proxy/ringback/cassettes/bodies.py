r"""Message bodies: content codings opened, and every string inside a JSON, XML or plain body rewritten.

Rewriting leaves the rest byte for byte. Escapes are opened before a string is shown to the rewriting
function, so that `\u0041` or `&#65;` hide nothing.
"""

from __future__ import annotations

import json
import re
import zlib
from typing import TYPE_CHECKING, Final, Protocol
from xml.sax.saxutils import escape, unescape

import brotli  # type: ignore[import-untyped]  # its types are in no package
import zstandard

from ringback.cassettes.files import CodingError

if TYPE_CHECKING:
    from collections.abc import Callable

LARGEST: Final = 64 * 1024 * 1024  # bytes after decoding; a few kilobytes of input can ask for much more
_CHUNK: Final = 16 * 1024
_MOST_MEMBERS: Final = 64  # of one gzip body
_MOST_CODINGS: Final = 8


def decode(body: bytes, coding: str | None, most: int | None = None) -> bytes:
    """`body` without the content codings that a `Content-Encoding` of `coding` names.

    Raises:
        CodingError: An unknown coding, broken data, or more than `most` bytes (`LARGEST` by default).
    """
    if not coding:
        return body
    for name in reversed(_names(coding)):  # they are named in the order in which they were applied
        opener = _OPENERS.get(name)
        if opener is None:
            raise CodingError(f"the content coding {name[:40]!a} is not known, so it cannot be searched")
        if body:
            try:
                body = opener(body, LARGEST if most is None else most)
            except (zlib.error, brotli.error, zstandard.ZstdError, EOFError) as error:
                raise CodingError(f"the body is no {name} data: {error}") from None
    return body


def is_known(coding: str) -> bool:
    """Report whether every coding that `coding`, a `Content-Encoding` value, names can be decoded."""
    return all(name in _OPENERS for name in _names(coding))


def _names(coding: str) -> list[str]:
    names = [name.strip().lower() for name in coding.split(",", _MOST_CODINGS)]  # what is beyond is unknown
    return [
        name for name in names if name not in ("", "identity", "utf-8")
    ]  # the last one is a common mistake


def _limited(size: int, most: int) -> None:
    if size > most:
        raise CodingError(f"the decoded body has more than {most} bytes")


def _inflate(body: bytes, window: int, most: int) -> bytes:
    parts: list[bytes] = []
    while body:  # gzip allows several members after another
        if len(parts) == _MOST_MEMBERS:
            raise CodingError(f"it has more than {_MOST_MEMBERS} gzip members")
        inflater = zlib.decompressobj(window)
        parts.append(inflater.decompress(body, most + 1))
        _limited(sum(map(len, parts)), most)
        if not inflater.eof:
            raise EOFError("it ends too early")
        body = inflater.unused_data
    return b"".join(parts)


def _gzip(body: bytes, most: int) -> bytes:
    return _inflate(body, 16 + zlib.MAX_WBITS, most)


def _deflate(body: bytes, most: int) -> bytes:
    try:
        return _inflate(body, zlib.MAX_WBITS, most)
    except zlib.error:  # half of the world sends it without the zlib wrapper
        return _inflate(body, -zlib.MAX_WBITS, most)


def _brotli(body: bytes, most: int) -> bytes:
    opener = brotli.Decompressor()
    decoded = bytearray()
    for start in range(0, len(body), _CHUNK):
        decoded += opener.process(body[start : start + _CHUNK])
        _limited(len(decoded), most)
    if not opener.is_finished():
        raise EOFError("it ends too early")
    return bytes(decoded)


def _zstd(body: bytes, most: int) -> bytes:
    opener = zstandard.ZstdDecompressor().decompressobj()
    decoded = bytearray()
    for start in range(0, len(body), _CHUNK):
        decoded += opener.decompress(body[start : start + _CHUNK])
        _limited(len(decoded), most)
    if not opener.eof:
        raise EOFError("it ends too early")
    return bytes(decoded)


_OPENERS: Final[dict[str, Callable[[bytes, int], bytes]]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "br": _brotli,
    "zstd": _zstd,
}


class Rewrite(Protocol):
    """Takes a string and the name that it stands under (a JSON key, an XML element, or empty)."""

    def __call__(self, text: str, name: str) -> str:
        """The string to put in its place."""
        ...  # a protocol has no body


# Each of these reads every character a bounded number of times: what is not closed goes on to the end.
_JSON_STRING: Final = re.compile(r'"((?:[^"\\]++|\\.)*+)("?)(\s*+:)?', re.DOTALL)
_XML_PART: Final = re.compile(
    r"<([\w:.-]++)[^<>]*+>([^<]++)|<!\[CDATA\[(.*?)(\]\]>|\Z)|<[^<>]*+>|[^<]++|<", re.DOTALL
)
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
        raw, close, colon = found[1], found[2], found[3]
        plain = _json_plain(raw)
        new = rewrite(plain, "" if colon else name)
        if new == plain:
            parts.append(found[0])
        else:
            quoted = _json_quoted(new, raw)
            parts.append(f"{quoted if close else quoted[:-1]}{colon or ''}")
        name = plain if colon else ""
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
            parts.append(f"<![CDATA[{rewrite(cdata, '')}{found[4]}")
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
