"""Provenance of recordings: a file's metadata, and the `Ringback-...` fields of an interaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ringback.cassettes.errors import RedactionError
from ringback.cassettes.matching import MATCHING_VERSION, MatchIgnore
from ringback.cassettes.pseudonyms import KEY_VARIABLE, key_id
from ringback.cassettes.redaction import REDACTION_VERSION, Redaction
from ringback.cassettes.vcr_format import FIELD_SOURCE
from ringback.exchange import MOCK, Source

if TYPE_CHECKING:
    from pathlib import Path

    from ringback.cassettes.vcr_format import Interaction
    from ringback.exchange import Basis

DOCUMENTED: Final = "documentation"


def provenance(
    redaction: Redaction, source: str | None = None, ignored: MatchIgnore | None = None
) -> dict[str, Any]:
    """Build the `ringback` entry of a cassette's metadata."""
    said: dict[str, Any] = {
        "matching": MATCHING_VERSION,
        "redaction": {"version": REDACTION_VERSION},
    }
    if redaction.fields:
        said["redaction"] |= {"fields": list(redaction.fields), "key": key_id(redaction.key)}
    if ignored and ignored.rules:
        said["match_ignore"] = list(ignored.rules)
    if source:
        said["source"] = source
    return said


def redacted_fields(known: dict[str, Any]) -> tuple[tuple[str, ...], str]:
    """The fields that a cassette with the metadata `known` has pseudonyms for, and the id of their key."""
    redaction = known.get("redaction")
    if not isinstance(redaction, dict):
        return (), ""
    fields = redaction.get("fields")
    names = fields if isinstance(fields, list) else []
    return tuple(name for name in names if isinstance(name, str)), str(redaction.get("key") or "")


def redacted_fields_of(metadata: dict[str, Any]) -> tuple[str, ...]:
    """The fields that a cassette with `metadata` has pseudonyms for."""
    return redacted_fields(known_of(metadata))[0]


def known_of(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return a file's `ringback` mapping; empty where something else stands there."""
    known = metadata.get("ringback")
    return known if isinstance(known, dict) else {}


def match_ignore_of(metadata: dict[str, Any]) -> MatchIgnore:
    """Return the rules of a file's metadata for what does not count in matching."""
    return MatchIgnore.from_metadata(known_of(metadata).get("match_ignore"))


def with_key(redaction: Redaction, key: bytes) -> Redaction:
    """`redaction` with the key of its pseudonyms."""
    return Redaction(redaction.fields, key, redaction.secrets)


def check_key(path: Path, wanted: str, key: bytes) -> None:
    """Hold `key` against the id in a cassette's metadata.

    Raises:
        RedactionError: It is another key.
    """
    if wanted != key_id(key):
        raise RedactionError(
            f"{path} was redacted with the key {wanted}, the key here is {key_id(key)}: set "
            f"{KEY_VARIABLE} to the key it was recorded with"
        )


def recorded_source(source: Source) -> str:
    """Return the recorded `Ringback-Source` of an answer: `live`, or the mock upstream that gave it."""
    return f"{MOCK}; origin={source.origin}" if source.origin else source.kind


def origin_of(found: Interaction) -> str | None:
    """Return the URL of the mock upstream that gave a recorded answer, or None."""
    kind, *rest = [part.strip() for part in (found.said(FIELD_SOURCE) or "").split(";")]
    if kind != MOCK:
        return None
    return next((part[7:] for part in rest if part.startswith("origin=")), "") or "a mock upstream"


def source_of(name: str, number: int, found: Interaction) -> Source:
    """Build the `Source` of an answer from recording `number` (0-based) of the cassette `name`."""
    basis: Basis = "recorded"
    line = None
    said = found.said(FIELD_SOURCE) or ""
    kind, *rest = [part.strip() for part in said.split(";")]
    if kind == DOCUMENTED:
        basis = "documented"
        line = next((int(part[5:]) for part in rest if part.startswith("line=") and part[5:].isdigit()), None)
    return Source("cassette", f"{name}#{number + 1}", basis, line=line, origin=origin_of(found))
