"""How many SMS segments a text takes.

Source: 3GPP TS 23.038 for the alphabet; 160 GSM-7 characters fit one segment and 153 each of several, 70 and
67 UTF-16 units otherwise.
"""

from __future__ import annotations

import re
from typing import Final

_BASIC: Final = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENDED: Final = frozenset("\f^{}\\[~]|€")  # two septets each, never split over two segments
_ALL: Final = _BASIC | _EXTENDED
_PLAIN: Final = re.compile(r"""[A-Za-z0-9 \n\r!"#$%&'()*+,./:;<=>?@_-]*""")  # what of it is ASCII
_GSM_SINGLE: Final = 160
_GSM_PART: Final = 153
_UCS2_SINGLE: Final = 70
_UCS2_PART: Final = 67


def count(text: str) -> int:
    """The number of segments of `text`, at least 1."""
    if len(text) <= _GSM_SINGLE and _PLAIN.fullmatch(text):
        return 1  # nearly every message
    if _BASIC.issuperset(text):
        return _even(len(text), _GSM_SINGLE, _GSM_PART)
    if _ALL.issuperset(text):
        return _packed([1 if char in _BASIC else 2 for char in text], _GSM_SINGLE, _GSM_PART)
    if max(text) <= "\uffff":
        return _even(len(text), _UCS2_SINGLE, _UCS2_PART)
    return _packed([2 if char > "\uffff" else 1 for char in text], _UCS2_SINGLE, _UCS2_PART)


def _even(length: int, single: int, part: int) -> int:
    """Segments needed for so many characters of width 1."""
    return 1 if length <= single else -(-length // part)


def _packed(widths: list[int], single: int, part: int) -> int:
    """Segments needed for characters of these widths, none of which may be cut in two."""
    if sum(widths) <= single:
        return 1
    segments, room = 1, part
    for width in widths:
        if width > room:
            segments, room = segments + 1, part
        room -= width
    return segments
