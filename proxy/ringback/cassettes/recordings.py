"""What a cassette file holds, read when it is needed: found by key, parsed one by one."""

from __future__ import annotations

import mmap
import os
from bisect import bisect_right
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote_plus

from ringback.cassettes import interactions, layout, matching, reading
from ringback.cassettes.errors import CassetteFormatError, CodingError
from ringback.cassettes.interactions import InteractionError
from ringback.cassettes.layout import Index
from ringback.cassettes.provenance import source_of
from ringback.cassettes.redaction import framed

if TYPE_CHECKING:
    from pathlib import Path

    from ringback.cassettes.interactions import Interaction
    from ringback.cassettes.matching import MatchKey
    from ringback.cassettes.redaction import Redaction
    from ringback.exchange import Answer

_READY_KEPT: Final = 2048  # answers kept for the next time, about 5 KB each
_COMPARED: Final = 200  # recordings that are compared when the nearest is looked for
_HITS_PER_VALUE: Final = 50


class Recordings:
    """The interactions of one file, numbered from 0 in the file's order.

    Attributes:
        path: The file.
        metadata: The file's metadata.
        foreign: Whether the file has another layout than ours, so that vcrpy had to read all of it.
        torn: Bytes at the end of the file that are no whole exchange.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.metadata: dict[str, Any] = {}
        self.foreign = False
        self.torn = 0
        self._index = Index()
        self._handle = -1
        self._loaded: list[Interaction] = []  # a foreign file's; ours are parsed one by one
        self._numbers: dict[bytes, int | list[int]] = {}
        self._ready: OrderedDict[int, Answer] = OrderedDict()

    def __len__(self) -> int:
        return len(self._loaded) if self.foreign else len(self._index)

    def open(self, redaction: Redaction) -> None:
        """Read the file; no file counts as an empty one.

        Args:
            redaction: What is taken out of a foreign file's exchanges, so that requests match them.

        Raises:
            CassetteFormatError: It is no cassette, or damaged.
            OSError: It cannot be read.
        """
        self.close()
        self._numbers.clear()
        self._ready.clear()
        try:
            self._index, self._handle = reading.read(self.path)
        except FileNotFoundError:
            self._index = Index()
            return
        except layout.ForeignLayoutError:
            self._open_foreign(redaction)
            return
        self.foreign, self._loaded = False, []
        self.metadata, self.torn = self._index.metadata, self._index.torn
        for number in range(len(self._index)):
            self._note(self._index.key(number), number)

    def _open_foreign(self, redaction: Redaction) -> None:
        found, self.metadata = reading.read_foreign(self.path)
        self.foreign, self.torn = True, 0
        redaction = reading.left_to_do(self.metadata, redaction)
        self._loaded = [_readable(one, redaction) for one in found]
        for number, one in enumerate(self._loaded):
            self._note(bytes.fromhex(matching.plain_key(one.request).digest), number)

    def close(self) -> None:
        """Give the file back."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def numbers(self, key: bytes) -> list[int]:
        """The recordings for `key`, in order."""
        found = self._numbers.get(key, [])
        return [found] if isinstance(found, int) else found

    def keys(self) -> dict[bytes, list[int]]:
        """All recordings by key."""
        return {key: self.numbers(key) for key in self._numbers}

    def is_same_file(self, inode: int) -> bool:
        """Whether this reads from the file with `inode`."""
        return not self.foreign and self._handle >= 0 and os.fstat(self._handle).st_ino == inode

    def add(self, key: bytes, start: int, size: int) -> None:
        """An item was appended to the file."""
        self._index.add(key, start, size)
        self._note(key, len(self._index) - 1)

    def interaction(self, number: int) -> Interaction:
        """Recording `number`.

        Raises:
            CassetteFormatError: The file was changed while it was in use.
        """
        if self.foreign:
            return self._loaded[number]
        try:
            return interactions.parse(self.text(number))
        except InteractionError:
            detail = "changed while it was in use; start again"
            raise CassetteFormatError(self.path, self.line(number), detail) from None

    def answer(self, number: int) -> Answer:
        """What is replayed of recording `number`: its answer, framed and with its provenance.

        Raises:
            CassetteFormatError: The file was changed while it was in use.
        """
        known = self._ready.get(number)
        if known is None:
            found = self.interaction(number)
            known = framed(found.answer).with_source(source_of(self.path.stem, number, found))
            self._ready[number] = known
            if len(self._ready) > _READY_KEPT:
                self._ready.popitem(last=False)
        return known

    def text(self, number: int) -> bytes:
        """The YAML of recording `number` in a file of our layout."""
        return os.pread(self._handle, self._index.sizes[number], self._index.starts[number])

    def line(self, number: int) -> int:
        """The line of recording `number`, 1-based; 0 in a foreign file."""
        if self.foreign or self._handle < 0:
            return 0
        with mmap.mmap(self._handle, 0, access=mmap.ACCESS_READ) as data:
            return data[: self._index.starts[number]].count(b"\n") + 1

    def match_key(self, number: int) -> MatchKey:
        """What recording `number` is looked up by."""
        if self.foreign:
            return matching.plain_key(self._loaded[number].request)
        return matching.plain_key(interactions.parse_request(self.text(number)))

    def likely(self, asked: MatchKey) -> list[tuple[int, MatchKey]]:
        """Some recordings that may be like `asked`, with their keys: never more than a few hundred.

        These are the first ones, and those in which a value of the request is found byte by byte; none after
        `close`.
        """
        if not self.foreign and self._handle < 0:
            return []
        chosen = dict.fromkeys(range(min(len(self), _COMPARED // 2)))
        if not self.foreign and len(self) > len(chosen):
            chosen |= dict.fromkeys(self._hits(asked))
        found = []
        for number in list(chosen)[:_COMPARED]:
            try:
                found.append((number, self.match_key(number)))
            except InteractionError:
                continue
        return found

    def _hits(self, asked: MatchKey) -> list[int]:
        hits = []
        values = sorted(
            {quote_plus(value, errors="replace") for _, value in asked.form or ()}, key=len, reverse=True
        )
        with mmap.mmap(self._handle, 0, access=mmap.ACCESS_READ) as data:
            for value in values:
                position = -1
                for _ in range(_HITS_PER_VALUE if value else 0):
                    position = data.find(value.encode(), position + 1)
                    if position < 0:
                        break
                    hits.append(bisect_right(self._index.starts, position) - 1)
        return [hit for hit in hits if hit >= 0]

    def _note(self, key: bytes, number: int) -> None:
        known = self._numbers.get(key)
        if known is None:
            self._numbers[key] = number
        elif isinstance(known, int):
            self._numbers[key] = [known, number]
        else:
            known.append(number)


def _readable(one: Interaction, redaction: Redaction) -> Interaction:
    try:
        return reading.scrubbed(one, redaction)
    except CodingError:  # replayed as it is, coding and all
        return replace(one, request=redaction.scrub(one.request).request)
