"""The header fields of an answer."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from ringback.drift.checks import Difference
from ringback.exchange import PROVENANCE_PREFIX, first_header

if TYPE_CHECKING:
    from ringback.drift.checks import Notes
    from ringback.drift.knowledge import HeaderField, HeaderFile
    from ringback.drift.observe import Observation

_MEDIA: Final = {"json": ("application/json",), "xml": ("application/xml", "text/xml")}
_SHOWN: Final = 80
ALL: Final = "header.api"  # the claim about all fields of the API's own


def look(known: HeaderFile, observation: Observation, form: str, notes: Notes) -> None:
    """Check the header fields of one answer, and note those that nobody has seen before."""
    answer = observation.answer
    for field in known.headers:
        if field.status not in {None, answer.status}:
            continue
        if observation.when is not None and observation.when.date() < field.since:
            continue
        value = first_header(answer.headers, field.name)
        own = not field.media and field.status is None
        notes.add(_rule(field.name), _difference(field, value, form), ALL if own else None)
    names = _names(known)
    for name, value in answer.headers:
        lower = name.lower()
        if lower not in names and not lower.startswith(PROVENANCE_PREFIX):
            observed = f"{name}: {value.replace(observation.account, '{account}')[:_SHOWN]}"
            notes.add(_rule(name), Difference("header", "info", "*", "", "not mentioned", observed, "new"))


def _rule(name: str) -> str:
    return f"header.{name.lower()}"


@lru_cache(4)
def _names(known: HeaderFile) -> frozenset[str]:
    """Every name that is no news, in lower case."""
    return frozenset(name.lower() for name in (*(field.name for field in known.headers), *known.transport))


def _difference(field: HeaderField, value: str | None, form: str) -> Difference | None:
    documented = f"{field.name}, {field.evidence}"
    if value is None:
        observed = f"no {field.name}"
        cause = "missing"
    elif field.media and value.partition(";")[0].strip().lower() not in _MEDIA[form]:
        observed, documented = f"{field.name}: {value[:_SHOWN]}", f"{field.name}: {_MEDIA[form][0]}"
        cause = value.partition(";")[0].strip().lower()
    elif field.pattern is not None and not field.pattern.fullmatch(value):
        observed, documented = f"{field.name}: {value[:_SHOWN]}", f"{field.name} like {field.shape}"
        cause = "another shape"
    else:
        return None
    return Difference("header", "warning", "*", "", documented, observed, cause, None, "recorded")
