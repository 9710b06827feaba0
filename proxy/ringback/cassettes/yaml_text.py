"""Block YAML of recordings, byte for byte as PyYAML's emitter writes it, at a tenth of its cost.

A proxy that records spends more time in a general emitter than in anything else. Here is the part of
libyaml's emitter that recordings need: mappings with plain keys, lists of text, text of printable ASCII,
integers and null. Everything else is left to PyYAML.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import yaml
import yaml.resolver

from ringback.exchange import CACHED_LENGTH, CACHED_TEXTS, cached_text

if TYPE_CHECKING:
    from collections.abc import Mapping

_WIDTH: Final = 80  # columns after which a line is folded at the next space
_PRINTABLE: Final = re.compile(r"[\x20-\x7e]*")
_KEY: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,99}")
# What no plain scalar has: an indicator at its beginning, `: ` or ` #` inside, a space at one of its ends.
_NOT_PLAIN: Final = re.compile(
    r"[#,\[\]{}&*!|>'\"%@`\x20]|[-?:](?:\x20|$)|---|\.\.\.|.*(?:\x20#|:\x20|[:\x20]$)"
)
_TEXT: Final = "tag:yaml.org,2002:str"
_RESOLVER: Final = yaml.resolver.Resolver()


class UnusualError(ValueError):
    """Data that PyYAML has to write."""


def block(data: Mapping[str, Any], indent: int) -> str:
    """Return `data` as lines of a block mapping.

    Args:
        data: Not empty; keys are sorted.
        indent: The column of the keys.

    Raises:
        UnusualError: It is none of what this module writes.
    """
    lines: list[str] = []
    _block(data, indent, lines)
    return "".join(lines)


def _block(data: Mapping[str, Any], indent: int, lines: list[str]) -> None:
    margin = " " * indent
    for name in sorted(data):
        value = data[name]
        start = f"{margin}{_key(name)}:"
        if isinstance(value, str):
            lines.append(f"{start} {_scalar(value, len(start) + 1, indent + 2)}\n")
        elif not value and isinstance(value, dict):
            lines.append(f"{start} {{}}\n")
        elif isinstance(value, dict):
            lines.append(f"{start}\n")
            _block(value, indent + 2, lines)
        elif isinstance(value, list) and value:
            one = value[0]
            if len(value) == 1 and isinstance(one, str) and len(one) <= CACHED_LENGTH:
                lines.append(_single(name, one, indent))  # as most header fields are, in every recording
                continue
            lines.append(f"{start}\n")
            lines += [f"{margin}- {_item(one, indent + 2)}\n" for one in value]
        elif value is None:
            lines.append(f"{start} null\n")
        elif type(value) is int:
            lines.append(f"{start} {value}\n")
        else:
            raise UnusualError


@lru_cache(CACHED_TEXTS)
def _single(name: str, value: str, indent: int) -> str:
    """Return the lines of a list of one text."""
    margin = " " * indent
    return f"{margin}{_key(name)}:\n{margin}- {_scalar(value, indent + 2, indent + 2)}\n"


def _item(value: object, indent: int) -> str:
    if not isinstance(value, str):
        raise UnusualError
    return _scalar(value, indent, indent)


@lru_cache(1024)
def _key(name: str) -> str:
    if not _KEY.fullmatch(name) or not _is_text(name):
        raise UnusualError
    return name


def _scalar(text: str, column: int, indent: int) -> str:
    """Return `text` as a plain or a single-quoted scalar, folded.

    Args:
        text: The text.
        column: Where it begins.
        indent: Where its further lines begin.
    """
    scalar = _one_line(text)
    if column + len(scalar) <= _WIDTH:
        return scalar
    if scalar[0] == "'":
        return f"'{_folded(scalar[1:-1], column + 1, indent, len(scalar) - 3)}'"
    return _folded(scalar, column, indent, len(scalar))


@cached_text
def _one_line(text: str) -> str:
    if not _PRINTABLE.fullmatch(text):
        raise UnusualError
    if text and not _NOT_PLAIN.match(text) and _is_text(text):
        return text
    return "'" + text.replace("'", "''") + "'"


def _is_text(text: str) -> bool:
    """Report whether YAML takes a plain `text` for text, and not for a number, a date, true or null."""
    found: str = _RESOLVER.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call] # its stubs
    return found == _TEXT


def _folded(text: str, column: int, indent: int, end: int) -> str:
    """Return `text` with each single space after column 80, before `end`, in the place of a line's end."""
    lines, begin, at = [], 0, max(1, _WIDTH + 1 - column)
    margin = "\n" + " " * indent
    while (at := text.find(" ", at, end)) >= 0:
        if text[at - 1] == " " or text[at + 1 : at + 2] == " ":
            at += 1
            continue
        lines.append(text[begin:at])
        begin = at + 1
        at += 1 + max(1, _WIDTH + 1 - indent)
    lines.append(text[begin:])
    return margin.join(lines)
