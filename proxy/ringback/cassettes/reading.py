"""Cassette files, read: ours by their layout, others by vcrpy."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import re
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from ringback.cassettes import codings, interactions, layout, matching
from ringback.cassettes.errors import CassetteError, CassetteFormatError, CodingError
from ringback.cassettes.names import READ_SUFFIXES
from ringback.counting import many

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from ringback.cassettes.interactions import Interaction
    from ringback.cassettes.layout import Index
    from ringback.cassettes.redaction import Redaction
    from ringback.exchange import Answer


_ITEM: Final = re.compile(r"^- ", re.MULTILINE)


def read(path: Path) -> tuple[Index, int]:
    """The index of the file at `path`, and an open descriptor to read its items from.

    Raises:
        layout.ForeignLayoutError: Not our layout.
        CassetteFormatError: Damaged.
        OSError: It cannot be read.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if path.exists() and not path.is_file():  # such as a pipe, which would be waited for
        raise CassetteError(f"{path} cannot be read: it is no regular file")
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # not every file system has locks; without them a tail may look torn
            fcntl.flock(handle, fcntl.LOCK_SH)
        index = scan(path, handle)
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_UN)
    except BaseException:
        os.close(handle)
        raise
    return index, handle


def scan(path: Path, handle: int) -> Index:
    """The index of the open file `handle`, which is at `path`; errors as `read`."""
    if os.fstat(handle).st_size == 0:
        raise layout.ForeignLayoutError
    with mmap.mmap(handle, 0, access=mmap.ACCESS_READ) as data:
        try:
            return layout.scan(data)
        except layout.DamageError as error:
            line = data[: error.offset].count(b"\n") + 1
            detail = f"{error.detail}; correct it there, or `ringback cassettes verify --repair` takes it out"
            raise CassetteFormatError(path, line, detail) from None


def read_foreign(path: Path) -> tuple[tuple[Interaction, ...], dict[str, Any]]:
    """Everything in a file of another layout, read by vcrpy.

    Raises:
        CassetteFormatError: vcrpy cannot read it either.
        OSError: It cannot be read.
    """
    data = path.read_bytes()
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise CassetteFormatError(path, line, f"byte {error.start} is not UTF-8") from None
    if not text.strip():
        return (), {}  # vcrpy takes an empty file for a cassette that does not exist yet
    try:
        return interactions.load_foreign(text, as_json=path.suffix == READ_SUFFIXES[2])
    except interactions.InteractionError as error:
        starts = item_starts(text)
        begun = text.count("\n", 0, starts[error.number - 1]) + 1 if 0 < error.number <= len(starts) else 1
        detail = f"{error}; correct it there or take it out" if error.number else str(error)
        raise CassetteFormatError(path, error.line or begun, detail) from None


def item_starts(text: str) -> list[int]:
    """Where the items of a list stand that is written as vcrpy writes a cassette's; none if it is not."""
    return [found.start() for found in _ITEM.finditer(text, max(text.find("interactions:"), 0))]


def entries(found: Iterable[Interaction], redaction: Redaction) -> list[bytes]:
    """`found` as entries of our layout, redacted."""
    return [make_entry(scrubbed(one, redaction)) for one in found]


def scrubbed(one: Interaction, redaction: Redaction) -> Interaction:
    """`one` without what must not reach the disk.

    Raises:
        CodingError: Its content coding is not known.
    """
    exchange = redaction.scrub(one.request)
    return replace(one, request=exchange.request, answer=exchange.answer(_settled(one.answer)))


def _settled(answer: Answer) -> Answer:
    """`answer`, without its Content-Encoding if its body is not coded: some of vcrpy's stubs decode it."""
    coding = answer.header("Content-Encoding")
    if coding is None or not codings.is_known(coding):
        return answer
    try:
        codings.decode(answer.body, coding)
    except CodingError:
        kept = tuple((name, value) for name, value in answer.headers if name.lower() != "content-encoding")
        return replace(answer, headers=kept)
    return answer


def left_to_do(metadata: dict[str, Any], redaction: Redaction) -> Redaction:
    """What of `redaction` a file with `metadata` still needs: pseudonyms are not put in twice."""
    return replace(redaction, fields=()) if isinstance(metadata.get("ringback"), dict) else redaction


def make_entry(one: Interaction) -> bytes:
    """The entry of a redacted interaction."""
    return layout.entry(bytes.fromhex(matching.plain_key(one.request).digest), interactions.dump(one))


def torn_message(path: Path, torn: int, whole: int, done: str) -> str:
    """What is told about a tail of `torn` bytes, and that it was `done` with them."""
    return (
        f"{path}: it ends in {many(torn, 'byte')} of an exchange that is not whole (as an interrupted write "
        f"leaves it): {done}; {many(whole, 'whole exchange')} before that"
    )
