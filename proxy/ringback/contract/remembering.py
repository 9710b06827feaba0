"""Results kept for texts that come again: numbers, names, encoded values."""

from __future__ import annotations

from functools import lru_cache, wraps
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    Result = TypeVar("Result")

MOST = 4096  # results of each function
LONGEST = 128  # characters; somebody's megabytes are not kept


def remembered(function: Callable[[str], Result]) -> Callable[[str], Result]:
    """A pure function of one text, whose last results for short texts are kept."""
    kept = lru_cache(MOST)(function)

    @wraps(function)
    def call(text: str) -> Result:
        return kept(text) if len(text) <= LONGEST else function(text)

    return call
