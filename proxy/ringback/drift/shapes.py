"""What always differs from answer to answer, reduced to its shape: sids, dates, numbers in texts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

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
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_CLASSES = (
    ("digits", re.compile(r"\d+", re.ASCII)),
    ("hex digits", re.compile(r"[0-9a-f]+", re.ASCII)),
    ("capital hex digits", re.compile(r"[0-9A-F]+", re.ASCII)),
    ("letters and digits", re.compile(r"[0-9A-Za-z]+", re.ASCII)),
)


def is_sid(text: str, prefix: str) -> bool:
    """Whether `text` is a sid with this prefix: two letters and 32 hexadecimal digits."""
    found = _SID.fullmatch(text)
    return found is not None and found[1] == prefix and len(found[2]) == 32


def identifier(text: str) -> str:
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


def template(text: str, known: Mapping[str, str]) -> str:
    """`text` with every value of `known` replaced by its `{name}`, the longest first.

    What is left is the same from run to run, whatever number, sid or account was used.
    """
    for name, value in sorted(known.items(), key=lambda item: -len(item[1])):
        if len(value) > 2:
            text = text.replace(value, "{" + name + "}")
    return text
