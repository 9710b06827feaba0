"""Names of form fields: how they are compared, and which ones a user may mean."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from ringback.contract.remembering import remembered

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ringback.contract.compiled import Contract

_FIELD: Final = re.compile(r"[A-Za-z0-9_.-]*[A-Za-z0-9][A-Za-z0-9_.-]*")
_SHOWN: Final = 40  # characters of a name that is none


class NamingError(ValueError):
    """What is named is no form field; the message says what can be."""


@remembered
def plain_name(name: str) -> str:
    """`name` as names are compared: lower case, without punctuation."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def parameters_named(loaded: Contract, texts: Iterable[str]) -> tuple[str, ...]:
    """The parameters that `texts` name, with commas between them: each once, as Twilio spells it.

    Raises:
        NamingError: No resource has such a parameter.
    """
    known = {plain_name(name): name for resource in loaded.resources for name in resource.parameters}
    named = [name.strip() for text in texts for name in text.split(",") if name.strip()]
    return tuple(dict.fromkeys(_parameter(name, known) for name in named))


def _parameter(name: str, known: dict[str, str]) -> str:
    shown = ascii(name[:_SHOWN])
    if not _FIELD.fullmatch(name):
        raise NamingError(
            f"{shown} cannot name a form field: use letters, digits, '_', '.' and '-', "
            "and commas between names"
        )
    plain = plain_name(name)
    if plain in known:
        return known[plain]
    from difflib import get_close_matches  # noqa: PLC0415 - slow to import, and only for a mistake

    nearest = get_close_matches(plain, known, n=1)
    advice = f", did you mean {known[nearest[0]]}?" if nearest else "."
    raise NamingError(
        f"{shown} is no parameter of any resource{advice} There are: {', '.join(sorted(known.values()))}"
    )
