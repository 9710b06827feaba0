"""A cassette file byte by byte: where each interaction stands, found without reading any YAML.

Our own layout is a vcrpy version-1 file whose list comes last, with a comment before each item::

    version: 1
    metadata:
      ringback: ...
    interactions:
    # ringback key=<match key> crc=<CRC-32 of the item> bytes=<its length>
    - request: ...

YAML indents whatever is inside an item, so that nothing recorded can look like such a comment. An item whose
comment does not fit (somebody edited it) is parsed for its key; what stands at the end and is no whole item
was torn off by a crash.
"""

from __future__ import annotations

import re
import zlib
from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ringback.cassettes import interactions, matching
from ringback.cassettes.interactions import InteractionError

if TYPE_CHECKING:
    import mmap

    Buffer: TypeAlias = bytes | mmap.mmap

_HEAD: Final = re.compile(
    rb"version: 1\n(metadata:(?: \{\})?\n(?:[ #][^\n]*\n|\n)*)?interactions:\n", re.MULTILINE
)
_COMMENT: Final = re.compile(rb"# ringback key=([0-9a-f]{32}) crc=([0-9a-f]{8}) bytes=(\d{1,10})\n")
_NEXT: Final = re.compile(rb"\n(?=# ringback |- )")
_PASSED_OVER: Final = re.compile(rb"#[^\n]*\n|[ \t]*\n")  # comments that are not ours, blank lines
_TOP_LEVEL: Final = re.compile(rb"^[A-Za-z_\"'.]", re.MULTILINE)  # a key after the list: vcrpy's own order
_LONGEST_HEAD: Final = 256 * 1024
_KEY_SIZE: Final = 16


class ForeignLayoutError(Exception):
    """Not our layout: vcrpy itself has to read this file."""


class DamageError(Exception):
    """An item in the middle of the file is no interaction.

    Attributes:
        offset: Where it starts.
        detail: What is wrong with it.
    """

    def __init__(self, offset: int, detail: str) -> None:
        super().__init__(detail)
        self.offset = offset
        self.detail = detail


@dataclass
class Index:
    """Where everything stands.

    Attributes:
        metadata: The file's metadata.
        starts: The offset of each item's text, without its comment.
        sizes: The length of each item's text.
        keys: The match key of each item, 16 bytes each, one after another.
        end: Where the next item goes: after the last whole one.
        size: The size of the file when it was read; beyond `end` stands a torn tail.
    """

    metadata: dict[str, Any] = field(default_factory=dict)
    starts: array[int] = field(default_factory=lambda: array("Q"))
    sizes: array[int] = field(default_factory=lambda: array("L"))
    keys: bytearray = field(default_factory=bytearray)
    end: int = 0
    size: int = 0

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def torn(self) -> int:
        """Bytes after the last whole item."""
        return self.size - self.end

    def key(self, number: int) -> bytes:
        """The digest of the key of item `number`, 0-based."""
        return bytes(self.keys[number * _KEY_SIZE : (number + 1) * _KEY_SIZE])

    def add(self, key: bytes, start: int, size: int) -> None:
        """Append an item."""
        self.keys += key
        self.starts.append(start)
        self.sizes.append(size)
        self.end = start + size


def head(metadata: dict[str, Any]) -> bytes:
    """What a file starts with."""
    return b"version: 1\n" + interactions.dump_mapping({"metadata": metadata}) + b"interactions:\n"


def entry(key: bytes, item: bytes) -> bytes:
    """An item with its comment, as it is appended."""
    return b"# ringback key=%s crc=%08x bytes=%d\n" % (key.hex().encode(), zlib.crc32(item), len(item)) + item


def read_head(data: Buffer) -> tuple[dict[str, Any], int]:
    """The metadata of a file of our layout, and where its items begin.

    Raises:
        ForeignLayoutError: Another layout.
    """
    found = _HEAD.match(data, 0, _LONGEST_HEAD)
    if found is None:
        raise ForeignLayoutError
    try:
        metadata = interactions.load_mapping(found[1] or b"").get("metadata")
    except InteractionError:
        raise ForeignLayoutError from None
    return metadata if isinstance(metadata, dict) else {}, found.end()


def scan(data: Buffer, *, trust_keys: bool = True, damaged: list[tuple[int, int]] | None = None) -> Index:
    """The index of a whole file.

    Args:
        data: The file.
        trust_keys: Take the keys from the comments; False makes them afresh from the items.
        damaged: Takes the beginning and end of each item in the middle that is no interaction.

    Raises:
        ForeignLayoutError: Not our layout.
        DamageError: An item in the middle that is no interaction, and nobody took `damaged`.
    """
    metadata, position = read_head(data)
    if metadata.get("ringback", {}).get("matching") != matching.MATCHING_VERSION:
        trust_keys = False
    index = Index(metadata=metadata, end=position, size=len(data))
    view = memoryview(data)
    try:
        while position < index.size:
            comment = _COMMENT.match(data, position)
            passed = None if comment else _PASSED_OVER.match(data, position)
            if passed:
                position = passed.end()
                if position == index.size:
                    index.end = position
            else:
                began = position
                try:
                    position = _next_item(data, view, position, comment, index, trust_keys)
                except DamageError:
                    if damaged is None:
                        raise
                    found = _NEXT.search(data, position + 1 if comment is None else comment.end())
                    position = found.end() if found else index.size
                    damaged.append((began, position))
    finally:
        view.release()
    return index


def _next_item(  # noqa: PLR0913 - one step of `scan`, which shares its state
    data: Buffer,
    view: memoryview,
    position: int,
    comment: re.Match[bytes] | None,
    index: Index,
    trust_keys: bool,
) -> int:
    """Add the item at `position` to `index`; returns where the one after it begins."""
    start = comment.end() if comment else position
    if comment and trust_keys:
        size = int(comment[3])
        end = start + size
        whole = end <= index.size and data[start : start + 2] == b"- "
        if whole and zlib.crc32(view[start:end]) == int(comment[2], 16):
            index.add(bytes.fromhex(comment[1].decode()), start, size)
            return end
    found = _NEXT.search(data, start + 1)
    end = found.end() if found else index.size
    _add_unsure(bytes(data[start:end]), position, start, index, is_last=found is None)
    return end


def _add_unsure(item: bytes, position: int, start: int, index: Index, *, is_last: bool) -> None:
    """Parse what no comment vouches for, and add it; leave `index.end` before it if it was torn off.

    A torn tail is a beginning of an entry, or the zeros that a file system leaves after a crash.
    """
    if (item and item[:1] not in (b"#", b"-", b"\0")) or _TOP_LEVEL.search(item):
        raise ForeignLayoutError
    try:
        found = interactions.parse(item if item.endswith(b"\n") or not is_last else b"")
    except InteractionError as error:
        if is_last:
            return
        raise DamageError(position, str(error)) from None
    index.add(bytes.fromhex(matching.plain_key(found.request).digest), start, len(item))
