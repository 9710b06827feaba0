"""Recordings as observations: cassettes, by whatever writes vcrpy's format."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

from ringback.cassettes.files import cassettes_below
from ringback.drift.observation import Observation, form_of, who_asked
from ringback.exchange import MOCK, Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from ringback.contract import Answer, Contract, Headers, Request
    from ringback.drift.observation import Who

_ITEM: Final = re.compile(r"^- ", re.MULTILINE)
_JSON_ITEM: Final = re.compile(r'"request"\s*:\s*\{')
# Answers that the live API never gave, by their source.
_NOT_LIVE: Final = {
    "contract": "answered by Ringback itself",
    "gate": "answered by Ringback itself",
    "documentation": "written down from the documentation, not recorded",
}


class RecordedInteraction(Protocol):
    """An exchange as a cassette keeps it."""

    @property
    def request(self) -> Request:
        """The recorded request."""

    @property
    def answer(self) -> Answer:
        """The recorded answer, without content coding."""

    @property
    def provenance(self) -> Headers:
        """The `Ringback-...` fields that were recorded with it."""


class UnreadableCassetteError(Exception):
    """A file or directory that holds no recording.

    Attributes:
        where: The path, with the line where that is known.
        why: The reason, for people.
    """

    def __init__(self, where: Path | str, why: str) -> None:
        super().__init__(f"{where}: {why}")
        self.where = str(where)
        self.why = why


@dataclass(frozen=True, slots=True)
class FoundRecording:
    """An exchange in a file.

    Attributes:
        observation: The exchange, or None if it says nothing about the live API.
        where: File and line.
        why: Why it says nothing.
        harmless: Whether the run is complete without it; it is not without a file that was named.
    """

    observation: Observation | None
    where: str
    why: str = ""
    harmless: bool = True


def read_recordings(
    paths: Iterable[Path],
    contract: Contract,
    load: Callable[..., tuple[Sequence[RecordedInteraction], dict[str, Any]]],
    *,
    assume_test: bool = False,
) -> Iterator[FoundRecording]:
    """Every exchange in the cassettes at `paths`: files, or directories that are searched.

    Args:
        paths: Files and directories.
        contract: Tells by a magic From that test credentials asked.
        load: Reads the text of a cassette (`ringback.cassettes.vcr_format.load_foreign`).
        assume_test: Take every exchange for one with test credentials.

    Raises:
        UnreadableCassetteError: There is no such file, nothing like a cassette in the directory, or the only
            file is no cassette. One among many is yielded without an observation.
    """
    files = [(file, path.is_dir()) for path in paths for file in _files(path)]
    for file, searched in files:
        try:
            found = _file(file, contract, load, assume_test=assume_test)
        except UnreadableCassetteError as error:
            if len(files) == 1:
                raise
            yield FoundRecording(None, error.where, error.why, harmless=searched)
        else:
            yield from found


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        found = cassettes_below(path)
        if not found:
            raise UnreadableCassetteError(path, "no cassette (*.yaml, *.yml, *.json) in this directory")
        return found
    if not path.exists():
        raise UnreadableCassetteError(path, "no such file or directory")
    if not path.is_file():  # a pipe would be waited for
        raise UnreadableCassetteError(path, "no regular file")
    return [path]


def _file(
    path: Path,
    contract: Contract,
    load: Callable[..., tuple[Sequence[RecordedInteraction], dict[str, Any]]],
    *,
    assume_test: bool,
) -> list[FoundRecording]:
    try:
        text = path.read_text(encoding="utf-8")
        interactions, metadata = load(text, as_json=path.suffix == ".json")
    except OSError as error:
        raise UnreadableCassetteError(path, f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UnreadableCassetteError(path, f"no cassette: byte {error.start} is not UTF-8") from None
    except ValueError as error:
        line = getattr(error, "line", 0)
        raise UnreadableCassetteError(
            f"{path}{f':{line}' if line else ''}", f"no cassette: {error}"
        ) from None
    lines = item_lines(text, len(interactions))
    found = []
    for number, interaction in enumerate(interactions):
        where = f"{path}:{lines[number]}" if lines else f"{path}#{number + 1}"
        hidden = _pseudonyms(interaction.request, metadata, contract)
        if hidden:
            why = f"{' and '.join(hidden)} recorded as pseudonyms (--redact), which get other answers"
            found.append(FoundRecording(None, where, why))
            continue
        kind = _source(interaction)
        if kind in _NOT_LIVE:
            found.append(FoundRecording(None, where, _NOT_LIVE[kind]))
            continue
        observation = _observation(interaction, where, contract, kind, assume_test=assume_test)
        found.append(FoundRecording(observation, where))
    return found


def _pseudonyms(request: Request, metadata: dict[str, Any], contract: Contract) -> list[str]:
    """The fields of `request` that decide its answer and are not what was sent; any text does for a text."""
    own = metadata.get("ringback")
    redaction = own.get("redaction") if isinstance(own, dict) else None
    fields = redaction.get("fields") if isinstance(redaction, dict) else None
    redacted = {str(name).lower() for name in fields} if isinstance(fields, list) else set()
    texts = {
        name
        for resource in contract.resources
        for name, parameter in resource.parameters.items()
        if parameter.type == "string" and parameter.pattern is None
    }
    sent = dict.fromkeys(name for name, value in form_of(request) if value)
    return [name for name in sent if name.lower() in redacted and name not in texts]


def _source(interaction: RecordedInteraction) -> str:
    """Return the name of the source of the answer; empty if the interaction does not say."""
    return (_said(interaction.provenance, "ringback-source") or "").partition(";")[0].strip()


def _observation(
    interaction: RecordedInteraction, where: str, contract: Contract, kind: str, *, assume_test: bool
) -> Observation:
    request, answer = interaction.request, interaction.answer
    who: Who = who_asked(contract, request, answer)
    if kind in {"live", MOCK}:
        who = "proven"
    elif assume_test:
        who = "test"
    recorded = _said(interaction.provenance, "ringback-recorded") or answer.header("Date")
    if kind == MOCK:
        said = _said(interaction.provenance, "ringback-source") or ""
        origin = said.partition("origin=")[2].partition(";")[0].strip() or "a mock upstream"
        answer = answer.with_source(Source("live", origin=origin))
    return Observation(request, answer, where, _moment(recorded), who)


def _said(fields: Headers, name: str) -> str | None:
    return next((value for field, value in fields if field.lower() == name), None)


def _moment(text: str | None) -> datetime | None:
    """A date of HTTP or of ISO 8601, in UTC."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        try:
            found = parsedate_to_datetime(text)
        except ValueError:
            return None
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def item_lines(text: str, count: int) -> list[int]:
    """The line on which each interaction begins; empty if that cannot be told."""
    pattern, start = (_JSON_ITEM, 0) if text.lstrip().startswith("{") else (_ITEM, text.find("interactions:"))
    places = [found.start() for found in pattern.finditer(text, max(start, 0))]
    if len(places) != count:
        return []
    return [text.count("\n", 0, place) + 1 for place in places]
