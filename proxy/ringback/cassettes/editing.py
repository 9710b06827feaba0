"""Whole cassettes changed and made: repair, redact, merge, delete, and the documented examples."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from msgspec import structs

from ringback import system
from ringback.cassettes import layout, store, vcr_format, verify
from ringback.cassettes.files import (
    NEW_SUFFIX,
    CassetteError,
    CassetteFormatError,
    CodingError,
    RedactionError,
    read_whole,
    reading_error,
    recording_error,
    rewritten_path,
)
from ringback.cassettes.matching import ACCOUNT_PLACEHOLDER, FORM_TYPE, MATCHING_VERSION
from ringback.cassettes.redaction import (
    Redaction,
    check_key,
    known_of,
    provenance,
    redacted,
    redacted_fields,
)
from ringback.cassettes.vcr_format import DOCUMENTED, FIELD_RECORDED, FIELD_SOURCE, IMPORTED, Interaction
from ringback.cassettes.verify import documented_answer
from ringback.contract import AnswerStamp, Request
from ringback.contract.form import plain_name
from ringback.exchange import MOCK, PROVENANCE_PREFIX, header_value
from ringback.tally import many

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from ringback.cassettes.formats import ForeignFile, ForeignInteraction
    from ringback.contract import Contract
    from ringback.contract.schema import Example

_SHOWN_NUMBERS: Final = 5
_LEFT_OUT: Final = "{}: {} left out; the requests that follow have the answers"


def repair(path: Path, report: Callable[[str], None]) -> None:
    """Mend what can be mended of the file at `path`: a torn tail, damage, what an interruption left.

    Raises:
        CassetteError: It cannot be mended; the text says why.
    """
    try:
        if path.name.endswith(NEW_SUFFIX):
            store.adopt_interrupted(path.with_name(path.name.removesuffix(NEW_SUFFIX)), report)
        elif path.name.endswith(".tmp"):
            _remove_draft(path, report)
        else:
            _mend(path, report)
    except OSError as error:
        raise recording_error(path, error) from error


def _remove_draft(path: Path, report: Callable[[str], None]) -> None:
    handle = os.open(path, os.O_RDONLY | system.OPEN)
    try:
        system.lock(handle, wait=False)  # whoever writes it holds the lock
        path.unlink()
    except BlockingIOError:
        return
    finally:
        os.close(handle)
    report(f"{path}: removed")


def _mend(path: Path, report: Callable[[str], None]) -> None:
    with store.locked(path):
        data = path.read_bytes()
        damaged: list[tuple[int, int]] = []
        try:
            index = layout.scan(data, damaged=damaged)
        except layout.ForeignLayoutError:
            return  # vcrpy's own files are whole, or nobody knows where their items begin
        if damaged:
            layout.refuse_other_format(data, path)
        if index.torn:
            with path.open("r+b") as file:
                report(store.cut_torn(path, file.fileno(), index))
        if not damaged:
            return
        kept = store.keep_beside(path, "damaged", b"".join(data[start:end] for start, end in damaged))
        starts, ends = [0, *(end for _, end in damaged)], [*(start for start, _ in damaged), index.end]
        parts = [data[start:end] for start, end in zip(starts, ends, strict=True)]
        os.close(store.write_whole(path, parts, overwrite=True))
    report(
        f"{path}: {many(len(damaged), 'damaged interaction')} taken out, kept in {kept}; "
        f"{many(len(index), 'whole interaction')} left"
    )


def redact(path: Path, redaction: Redaction, report: Callable[[str], None] = lambda _: None) -> int:
    """Rewrite the cassette at `path` without secrets, and with pseudonyms for `redaction.fields`.

    Fields that have pseudonyms already keep them. A file with another ending becomes a `.yaml` beside it, and
    is removed: its secrets are not to stay.

    Args:
        path: The file.
        redaction: What is taken out.
        report: Takes a sentence if interactions are left out.

    Returns:
        How many interactions it has.

    Raises:
        RedactionError: It was redacted with another key.
        CassetteError: It is no cassette, or cannot be read or written.
    """
    target = rewritten_path(path)
    try:
        with store.locked(path):
            cassette = verify.load(path)
            if cassette.torn:
                raise CassetteFormatError(
                    path, cassette.last_line, "torn; `ringback cassettes verify --repair` first"
                )
            found, metadata = [placed.interaction for placed in cassette.placed], cassette.metadata
            known = metadata.get("ringback")
            known = known if isinstance(known, dict) else {}
            before, key = redacted_fields(known)
            if before and redaction.key:
                check_key(path, key, redaction.key)
            had = Redaction(before).names
            new = tuple(name for name in redaction.fields if plain_name(name) not in had)
            fields = (
                provenance(Redaction(before + new, redaction.key))
                if before + new
                else provenance(Redaction())
            )
            if before and not redaction.key:
                fields["redaction"] = known["redaction"]
            redacting = Redaction(new, redaction.key, redaction.secrets)
            parts = layout.entries(found, redacting)
            if len(parts) < len(found):
                report(_LEFT_OUT.format(path, many(len(found) - len(parts), "authentication challenge")))
            head = layout.head({**metadata, "ringback": {**known, **fields}})
            os.close(store.write_whole(target, [head, *parts], overwrite=True))
            if target != path:
                path.unlink()
    except FileNotFoundError as error:
        raise reading_error(path, error) from error
    except OSError as error:
        raise recording_error(path, error) from error
    return len(parts)


def merge(paths: Sequence[Path]) -> int:
    """Write the interactions of all `paths` into the first, redacted; equal ones of two files count once.

    A file with merge conflict markers gives both sides of each conflict.

    Returns:
        How many interactions the first file has now.

    Raises:
        RedactionError: They have pseudonyms for different fields, or by different keys.
        CassetteError: One is no cassette, or cannot be read or written.
    """
    merged: list[Interaction] = []
    known: dict[str, Any] | None = None
    metadata: dict[str, Any] = {}
    try:
        for path in paths:
            for found, theirs in _both_sides(path):
                if known is not None and redacted_fields(known_of(theirs)) != redacted_fields(known):
                    raise RedactionError(f"{path} has pseudonyms (--redact) for other fields than {paths[0]}")
                if known is None:
                    known, metadata = known_of(theirs), theirs
                _join(merged, found)
        fields = {**provenance(Redaction()), **(known or {}), "matching": MATCHING_VERSION}
        parts = layout.entries(merged, Redaction())
        head = layout.head({**metadata, "ringback": fields})
        os.close(store.write_whole(paths[0], [head, *parts], overwrite=True))
    except OSError as error:
        raise recording_error(paths[0], error) from error
    return len(parts)


def _join(merged: list[Interaction], found: Sequence[Interaction]) -> None:
    """Append those of `found` that `merged` has fewer of."""
    had, seen = Counter(map(vcr_format.dump, merged)), Counter[bytes]()
    for one in found:
        item = vcr_format.dump(one)
        seen[item] += 1
        if seen[item] > had[item]:
            merged.append(one)


def _both_sides(path: Path) -> list[tuple[list[Interaction], dict[str, Any]]]:
    """Read the file at `path`; one with conflict markers as the two files that it was merged from."""
    text = read_whole(path).decode("utf-8", "replace")
    if not vcr_format.CONFLICT.search(text):
        loaded = verify.load(path)
        return [([one.interaction for one in loaded.placed], loaded.metadata)]
    sides = []
    for name, side in zip(("first", "second"), _sides(text), strict=True):
        try:
            found, metadata = vcr_format.load_foreign(side)
        except vcr_format.InteractionError as error:
            raise CassetteFormatError(path, 1, f"the {name} side of its conflicts: {error}") from None
        sides.append((list(found), metadata))
    return sides


def _sides(text: str) -> tuple[str, str]:
    """Take a text with conflict markers apart; the base of a three-way conflict is left out."""
    ours: list[str] = []
    theirs: list[str] = []
    into: tuple[list[str], ...] = (ours, theirs)
    for line in text.split("\n"):
        if line.startswith("<<<<<<< "):
            into = (ours,)
        elif line.startswith("|||||||") and into == (ours,):
            into = ()
        elif line.rstrip() == "=======" and into != (ours, theirs):
            into = (theirs,)
        elif line.startswith(">>>>>>> "):
            into = (ours, theirs)
        else:
            for side in into:
                side.append(line)
    return "\n".join(ours), "\n".join(theirs)


def delete(path: Path, numbers: Collection[int]) -> int:
    """Take the interactions `numbers`, from 1, out of the cassette at `path`; the others are redacted.

    Returns:
        How many are left.

    Raises:
        CassetteError: It has no such interaction, is no cassette, or cannot be read or written.
    """
    return _change(path, dict.fromkeys(numbers))


def replace_interactions(path: Path, new: Mapping[int, Interaction]) -> None:
    """Put the interactions `new` in the places, from 1, of others in the cassette at `path`.

    Raises:
        CassetteError: As for `delete`.
    """
    _change(path, new)


def _change(path: Path, new: Mapping[int, Interaction | None]) -> int:
    target = rewritten_path(path)
    try:
        with store.locked(path):
            loaded = verify.load(path)
            absent = [number for number in new if not 0 < number <= len(loaded.placed)]
            if absent:
                raise CassetteError(f"{path} has {many(len(loaded.placed), 'interaction')}, no {absent[0]}")
            left = [new.get(at, one.interaction) for at, one in enumerate(loaded.placed, 1)]
            parts = layout.entries([one for one in left if one is not None], Redaction())
            fields = {**provenance(Redaction()), **known_of(loaded.metadata), "matching": MATCHING_VERSION}
            head = layout.head({**loaded.metadata, "ringback": fields})
            os.close(store.write_whole(target, [head, *parts], overwrite=True))
            if path != target:
                path.unlink()
    except OSError as error:
        raise recording_error(path, error) from error
    return len(parts)


@dataclass(frozen=True)
class ImportReport:
    """The result of taking one file over.

    Attributes:
        title: The file's format.
        total: The number of its interactions.
        taken: How many are in the cassette now.
        changed: How many of those each change was made in.
        left: How many were left out for each reason, with the numbers of the first few.
    """

    title: str
    total: int
    taken: int
    changed: dict[str, int]
    left: dict[str, tuple[int, tuple[int, ...]]]


def import_recordings(
    files: Sequence[tuple[Path, ForeignFile]], target: Path, redaction: Redaction
) -> list[ImportReport]:
    """Write the interactions of other tools' `files` into the new cassette `target`, redacted.

    Nothing is written if there is nothing to take.

    Raises:
        CassetteError: There is such a cassette, or the disk refuses.
    """
    reports, parts = [], []
    for path, file in files:
        taken, report = _import_one(path, file, redaction)
        reports.append(report)
        parts += taken
    if not parts:
        return reports
    origin = [{"format": file.title, "file": path.name} for path, file in files]
    head = layout.head({"ringback": {**provenance(redaction), "imported": origin}})
    try:
        os.close(store.write_whole(target, [head, *parts], overwrite=False))
    except FileExistsError:
        raise CassetteError(
            f"{target} exists: name another cassette with --to, and join both with `ringback cassettes merge`"
        ) from None
    except OSError as error:
        raise recording_error(target, error) from error
    return reports


def _imported(one: ForeignInteraction, source: str) -> Interaction:
    """Make an interaction whose provenance is its own, where a proxy of ours wrote it, else `source`."""
    ours = [pair for pair in one.answer.headers if pair[0].lower().startswith(PROVENANCE_PREFIX)]
    headers = tuple(pair for pair in one.answer.headers if pair not in ours)
    known = {name.lower() for name, _ in ours}
    if FIELD_SOURCE.lower() not in known:
        ours.append((FIELD_SOURCE, header_value(source)))
    if one.recorded and FIELD_RECORDED.lower() not in known:
        ours.append((FIELD_RECORDED, one.recorded))
    return Interaction(one.request, structs.replace(one.answer, headers=headers), tuple(ours))


def _import_one(path: Path, file: ForeignFile, redaction: Redaction) -> tuple[list[bytes], ImportReport]:
    source = f"{MOCK}; origin={file.title} {path.name}" if file.stubs else f"{IMPORTED}; format={file.title}"
    found = [_imported(one, source) for one in file.taken]
    handshakes = layout.challenges(found)
    parts: list[bytes] = []
    changed: Counter[str] = Counter()
    left = list(file.left)
    for at, (one, interaction) in enumerate(zip(file.taken, found, strict=True)):
        if at in handshakes:
            left.append((one.number, "it is an authentication challenge; the next one has the answer"))
            continue
        try:
            parts.append(layout.make_entry(redacted(interaction, redaction)))
        except CodingError as error:
            left.append((one.number, str(error)))
            continue
        changed.update((*one.changes, *(f"taken out: {what}" for what in verify.secrets_in(interaction))))
    numbers: dict[str, list[int]] = {}
    for number, why in sorted(left):
        numbers.setdefault(why, []).append(number)
    reasons = {why: (len(all_), tuple(all_[:_SHOWN_NUMBERS])) for why, all_ in numbers.items()}
    return parts, ImportReport(file.title, file.total, len(parts), dict(changed), reasons)


_WHEN: Final = datetime(2012, 10, 10, 21, 36, 14, tzinfo=UTC)  # the date of the page's first answer
_HOST: Final = "api.twilio.com"


def documentation_cassette(loaded: Contract) -> bytes:
    """Build the cassette that ships with the project: the page's examples, in JSON and in XML.

    Made from the contract, which has the page's examples and errata as data: the page's own mistakes are
    corrected and named, and fields that the live API has added since stand beside the page's.
    """
    parts = [layout.make_entry(one) for example in loaded.examples for one in _interactions(loaded, example)]
    return layout.head({"ringback": provenance(Redaction(), DOCUMENTED) | _metadata(loaded)}) + b"".join(
        parts
    )


def _metadata(loaded: Contract) -> dict[str, Any]:
    return {
        "examples": [
            {
                "example": example.id,
                "interactions": [2 * number + 1, 2 * number + 2],
                "line": example.line,
                "answers": [example.json_line, example.xml_line],
                "errata": list(example.errata),
            }
            for number, example in enumerate(loaded.examples)
        ],
        "errata": {
            erratum.id: {"page": erratum.page, "answered": erratum.answered, "lines": list(erratum.lines)}
            for erratum in loaded.errata
        },
    }


def _interactions(loaded: Contract, example: Example) -> Iterator[Interaction]:
    for extension, line in ((".json", example.json_line), ("", example.xml_line)):
        request = Request(
            "POST",
            _HOST,
            f"/2010-04-01/Accounts/{ACCOUNT_PLACEHOLDER}/{example.resource}{extension}",
            (("Content-Type", FORM_TYPE),),
            urlencode(example.form).encode(),
        )
        digest = hashlib.sha256(f"{example.id}{extension}".encode()).hexdigest()
        stamp = AnswerStamp(digest[:32], digest[32:], _WHEN, 0.1)
        answer = documented_answer(loaded, request, stamp)
        source = f"{DOCUMENTED}; line={line}; example={example.id}"
        if example.errata:
            source += f"; errata={','.join(example.errata)}"
        yield redacted(Interaction(request, answer, ((FIELD_SOURCE, source),)), Redaction())
