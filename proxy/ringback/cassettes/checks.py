"""`verify`: what is wrong with cassettes, each finding with its file and line."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from ringback.cassettes import documented, interactions, layout, reading
from ringback.cassettes.errors import CassetteError, CassetteFormatError, reading_error
from ringback.cassettes.fresh import NEW_SUFFIX
from ringback.cassettes.names import READ_SUFFIXES
from ringback.cassettes.patterns import ACCOUNT_PLACEHOLDER
from ringback.cassettes.provenance import redacted_fields_of
from ringback.cassettes.redaction import Redaction
from ringback.cassettes.searching import secrets_in
from ringback.contract import Identity
from ringback.counting import many
from ringback.exchange import error_code

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from ringback.cassettes.interactions import Interaction
    from ringback.contract import Contract

_IDENTITY: Final = Identity("0" * 32, "0" * 32, datetime(2012, 10, 10, tzinfo=UTC), 0.1)
_DRAFT: Final = re.compile(r"\..+\.tmp")


@dataclass(frozen=True, order=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        path: The file.
        line: The line, 1-based.
        rule: `format`, `torn`, `interrupted`, `draft`, `secret` or `contract`.
        detail: What is wrong; quotes no secret.
    """

    path: Path
    line: int
    rule: str
    detail: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}: {self.detail}"


@dataclass(frozen=True)
class Placed:
    """An interaction and where it stands.

    Attributes:
        interaction: What was recorded.
        line: Where its item begins, 1-based.
        text: The item's YAML.
    """

    interaction: Interaction
    line: int
    text: str

    def line_of(self, value: str) -> int:
        """The line in which `value` stands; the item's first one if it is folded or escaped there."""
        at = self.text.find(value[:24])
        return self.line + self.text.count("\n", 0, at) if at > 0 else self.line


@dataclass(frozen=True)
class Cassette:
    """A whole cassette, read.

    Attributes:
        path: The file.
        metadata: Its metadata.
        placed: Its interactions.
        ours: Whether it has our layout.
        torn: Bytes at its end that are no whole exchange.
        last_line: Its last line.
    """

    path: Path
    metadata: dict[str, Any]
    placed: tuple[Placed, ...]
    ours: bool
    torn: int = 0
    last_line: int = 1

    @property
    def fields(self) -> tuple[str, ...]:
        """The form fields that have pseudonyms in it."""
        return redacted_fields_of(self.metadata)


def load(path: Path) -> Cassette:
    """The whole cassette at `path`.

    Raises:
        CassetteError: It is no cassette, is damaged, or cannot be read.
    """
    try:
        data = path.read_bytes()
        try:
            index = layout.scan(data)
        except layout.ForeignLayoutError:
            return _load_foreign(path, data)
        except layout.DamageError as error:
            line = data.count(b"\n", 0, error.offset) + 1
            raise CassetteFormatError(
                path, line, f"{error.detail}; correct it, or --repair takes it out"
            ) from None
    except OSError as error:
        raise reading_error(path, error) from error
    placed, line, before = [], 1, 0
    for start, size in zip(index.starts, index.sizes, strict=True):
        line += data.count(b"\n", before, start)
        before = start
        text = data[start : start + size]
        placed.append(Placed(interactions.parse(text), line, text.decode("utf-8", "replace")))
    last = data.count(b"\n", 0, index.end) + 1
    return Cassette(path, index.metadata, tuple(placed), ours=True, torn=index.torn, last_line=last)


def _load_foreign(path: Path, data: bytes) -> Cassette:
    found, metadata = reading.read_foreign(path)
    text = data.decode("utf-8", "replace")
    starts = reading.item_starts(text)
    if len(starts) != len(found):
        placed = [Placed(one, 1, "") for one in found]
    else:
        ends = [*starts[1:], len(text)][: len(starts)]
        placed = [
            Placed(one, text.count("\n", 0, start) + 1, text[start:end])
            for one, start, end in zip(found, starts, ends, strict=True)
        ]
    return Cassette(path, metadata, tuple(placed), ours=False)


def files_of(paths: Iterable[Path]) -> Iterator[Path]:
    """All files that `paths`, directories or files, hold and that have to do with cassettes."""
    for path in paths:
        if path.is_dir():
            yield from sorted(
                file
                for file in path.iterdir()
                if file.is_file()
                and (
                    file.suffix in READ_SUFFIXES
                    or file.name.endswith(NEW_SUFFIX)
                    or _DRAFT.fullmatch(file.name)
                )
            )
        else:
            yield path


def check(
    path: Path,
    loaded: Contract,
    secrets: Sequence[str] = (),
    tell_unjudged: Callable[[str], None] = lambda _: None,
) -> list[Finding]:
    """Everything that is wrong with the file at `path`, in the order of its lines.

    Args:
        path: A cassette, or what an interrupted recording left.
        loaded: The contract that its answers are held against.
        secrets: Values that are secret whatever they look like.
        tell_unjudged: Takes a sentence if its answers cannot be held against the contract.
    """
    if path.name.endswith(NEW_SUFFIX):
        detail = "a recording that was not finished; --repair makes it a cassette"
        return [Finding(path, 1, "interrupted", detail)]
    if _DRAFT.fullmatch(path.name):
        return [Finding(path, 1, "draft", "a draft that was not finished; --repair removes it")]
    try:
        cassette = load(path)
    except CassetteFormatError as error:
        return [Finding(path, error.line, "format", error.detail)]
    except CassetteError as error:
        return [Finding(path, 1, "format", str(error))]
    found = []
    if cassette.fields and cassette.placed:
        tell_unjudged(
            f"{', '.join(cassette.fields)} were recorded as pseudonyms (--redact), which get other answers "
            "than what was sent"
        )
    for placed in cassette.placed:
        for what, value in secrets_in(placed.interaction, secrets).items():
            found.append(Finding(path, placed.line_of(value), "secret", what))
        found += _held(placed, cassette, loaded)
    if cassette.torn:
        detail = (
            f"it ends in {many(cassette.torn, 'byte')} of an exchange that is not whole; --repair cuts them"
        )
        found.append(Finding(path, cassette.last_line, "torn", detail))
    return sorted(found)


def _held(placed: Placed, cassette: Cassette, loaded: Contract) -> Iterator[Finding]:
    """Whether the recorded outcome is the contract's; only its fields tell, so pseudonyms are not judged."""
    request, answer = placed.interaction.request, placed.interaction.answer
    clean = Redaction().scrub(request).request
    if (
        not loaded.is_api(clean.host)
        or f"/Accounts/{ACCOUNT_PLACEHOLDER}" not in clean.path
        or cassette.fields
    ):
        return
    expected = documented.answer(loaded, clean, _IDENTITY)
    outcome = (answer.status, error_code(answer.body)), (expected.status, error_code(expected.body))
    if outcome[0] != outcome[1]:
        line = placed.line_of("      code: ") if placed.text else placed.line
        rule = expected.source.rule
        recorded, wanted = (f"{status} {code or ''}".strip() for status, code in outcome)
        detail = f"recorded is {recorded}, the contract says {wanted} (rule {rule})"
        yield Finding(cassette.path, line, "contract", detail)
