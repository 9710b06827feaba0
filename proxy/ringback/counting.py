"""Numbers in sentences for people."""

from __future__ import annotations


def many(number: int, noun: str) -> str:
    """`number` of the things that `noun` names in the singular: `1 exchange`, `2 exchanges`."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def times(number: int) -> str:
    """How often: `once`, `3 times`."""
    return "once" if number == 1 else f"{number} times"
