"""Facts that the drift check needs besides the contract: other resources, sentences, header fields, errata.

The YAML files stand in `drift/data`; the classes here are their schema.
"""

from __future__ import annotations

import re
from datetime import date  # noqa: TC003 - msgspec reads the annotations at run time
from functools import cache, cached_property
from importlib import resources
from typing import Any, Literal, TypeVar

import msgspec
import yaml

T = TypeVar("T")


class OutsideResource(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A resource that test credentials cannot use."""

    host: str
    path: str
    line: int | None = None


class OutsideFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The resources that answer 403, and the line that says so."""

    line: int
    resources: tuple[OutsideResource, ...]


class Sentence(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something the page says in prose, and a request that shows whether it holds."""

    id: str
    resource: str
    base: str
    says: str
    form: dict[str, str | None]
    line: int | None = None


class SentenceFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file of sentences."""

    requests: tuple[Sentence, ...]


class HeaderField(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """A header field that the live API's answers have.

    Attributes:
        name: Its name.
        since: The date of the oldest recording that has it.
        evidence: Where it was seen.
        shape: What its value looks like, as a regular expression.
        media: Whether its value is the media type of the format.
        status: The only status that has it.
    """

    name: str
    since: date
    evidence: str
    shape: str | None = None
    media: bool = False
    status: int | None = None

    @cached_property
    def pattern(self) -> re.Pattern[str] | None:
        """`shape`, compiled."""
        return None if self.shape is None else re.compile(self.shape, re.ASCII)


class HeaderFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Header fields of the API, and those that say nothing about it."""

    headers: tuple[HeaderField, ...]
    transport: tuple[str, ...]


class AnswerErratum(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An erratum of the page, as it would look in an answer that follows the page to the letter.

    Attributes:
        id: The erratum's name in the contract.
        resource: Whose answers.
        pointer: The field.
        also: The page's own values for it.
        pattern: A regular expression for the page's own value.
        element: XML's outer element.
        code: Only in errors of this code.
        format: Only in this format.
    """

    id: str
    resource: str | None = None
    pointer: str | None = None
    also: tuple[str | None, ...] = ()
    pattern: str | None = None
    element: str | None = None
    code: int | None = None
    format: Literal["json", "xml"] | None = None


class AnswerErrata(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file of errata."""

    errata: tuple[AnswerErratum, ...]


class Facts(msgspec.Struct, frozen=True):
    """All of it."""

    outside: OutsideFile
    sentences: tuple[Sentence, ...]
    headers: HeaderFile
    errata: tuple[AnswerErratum, ...]


@cache
def load_facts() -> Facts:
    """Load the facts that ship with the project."""
    return Facts(
        outside=_read("outside.yaml", OutsideFile),
        sentences=_read("requests.yaml", SentenceFile).requests,
        headers=_read("headers.yaml", HeaderFile),
        errata=_read("errata.yaml", AnswerErrata).errata,
    )


def _read(name: str, kind: type[T]) -> T:
    text = (resources.files("ringback.drift") / "data" / name).read_text(encoding="utf-8")
    raw: Any = yaml.safe_load(text)
    return msgspec.convert(raw, kind)
