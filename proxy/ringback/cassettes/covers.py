"""Values and their pseudonyms in text, in both directions."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from ringback.cassettes import pseudonyms
from ringback.contract.naming import plain_name


@dataclass(frozen=True, slots=True)
class Cover:
    """One value and what stands in its place.

    Attributes:
        old: The value.
        new: What stands in its place.
        name: The field it came from, as names are compared.
        digits: Whether it is found as digits with separators between them.
    """

    old: str
    new: str
    name: str
    digits: bool = False

    def reversed(self) -> Cover:
        """The way back."""
        return replace(self, old=self.new, new=self.old)

    def found_in(self, text: str, name: str) -> bool:
        """Whether `text`, which stands under `name`, may hold the value."""
        # a short value stands in many places by chance: only fields of its name and error texts may echo it
        return text == self.old or len(self.old) > 3 or plain_name(name) in (self.name, "message", "detail")

    def pattern(self) -> str:
        """How the value is found inside a longer text."""
        if self.digits:
            return pseudonyms.digits_pattern(self.old)
        return rf"(?<!\w){re.escape(self.old)}(?!\w)"

    def put(self, found: str) -> str:
        """What stands in the place of `found`."""
        return pseudonyms.same_spelling(found, self.new) if self.digits else self.new


def covers_of(name: str, value: str, key: bytes) -> list[Cover]:
    """What is put in the place of `value`, and of other spellings of it that an answer may have."""
    plain = plain_name(name)
    covers = [Cover(value, pseudonyms.stand_in(value, key), plain)]
    digits = pseudonyms.national_digits(value) if pseudonyms.is_phone(value) else ""
    if len(digits) >= 7:
        covers.append(Cover(digits, pseudonyms.permuted(digits, key), plain, digits=True))
    return [cover for cover in covers if cover.old != cover.new]


def substitute(text: str, name: str, covers: list[Cover]) -> str:
    """`text` with all `covers` put in at once, the longest first, so that none is put into another."""
    if not text:
        return text
    usable = [cover for cover in covers if cover.found_in(text, name)]
    if not usable:
        return text
    for cover in usable:
        if cover.old == text:
            return cover.new
    usable.sort(key=lambda cover: len(cover.old), reverse=True)
    pattern = "|".join(f"({cover.pattern()})" for cover in usable)
    return re.sub(pattern, lambda found: usable[(found.lastindex or 1) - 1].put(found[0]), text)
