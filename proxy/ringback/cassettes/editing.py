"""Changing whole cassettes: `verify --repair` and `redact`."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from ringback.cassettes import layout, store, verify
from ringback.cassettes.errors import CassetteFormatError, reading_error, recording_error
from ringback.cassettes.metadata import check_key, provenance, redacted_fields
from ringback.cassettes.names import SUFFIX
from ringback.cassettes.redaction import Redaction
from ringback.cassettes.store import NEW_SUFFIX
from ringback.contract.form import plain_name
from ringback.counting import many

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


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
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # whoever writes it holds the lock
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


def redact(path: Path, redaction: Redaction) -> int:
    """Rewrite the cassette at `path` without secrets, and with pseudonyms for `redaction.fields`.

    Fields that have pseudonyms already keep them. A file with another ending becomes a `.yaml` beside it, and
    is removed: its secrets are not to stay.

    Returns:
        How many interactions it has.

    Raises:
        RedactionError: It was redacted with another key.
        CassetteError: It is no cassette, or cannot be read or written.
    """
    target = path.with_suffix(SUFFIX)
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
            said = (
                provenance(Redaction(before + new, redaction.key))
                if before + new
                else provenance(Redaction())
            )
            if before and not redaction.key:
                said["redaction"] = known["redaction"]
            redacting = Redaction(new, redaction.key, redaction.secrets)
            parts = layout.entries(found, redacting)
            head = layout.head({**metadata, "ringback": {**known, **said}})
            os.close(store.write_whole(target, [head, *parts], overwrite=True))
            if target != path:
                path.unlink()
    except FileNotFoundError as error:
        raise reading_error(path, error) from error
    except OSError as error:
        raise recording_error(path, error) from error
    return len(parts)
