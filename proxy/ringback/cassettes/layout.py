"""A cassette file byte by byte: where each interaction stands, found without reading any YAML.

Our own layout is a vcrpy version-1 file whose list comes last, with a comment before each item::

    version: 1
    metadata:
      ringback: ...
    interactions:
    # ringback key=<match key> crc=<CRC-32 of the item> bytes=<its length>
    - request: ...

YAML indents whatever is inside an item, so that nothing recorded can look like such a comment. An item whose
comment does not fit (somebody edited it) is parsed for its key. What ends the file was torn off by a crash
only if it is shorter than its comment says and a beginning of what `entry` writes; else it is an item, which
may lack the last newline, or damage.
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
_PASSED_OVER: Final = re.compile(rb"#[^\n]*(?:\n|\Z)|[ \t]*\n")  # comments that are not ours, blank lines
_OPENING: Final = b"# ringback key="
_LONGEST_COMMENT: Final = 128
# The lines of an item that are indented by less than six, and the one line that stands below the last of them
# before the item ends: what `interactions.dump` makes, in its order.
_OUTLINE: Final = (
    b"- request:\n",
    *(b"    body:", b"    headers:", b"    method:", b"    uri:"),
    b"  response:\n",
    *(b"    body:", b"    headers:", b"    status:\n"),
)
_DEEP: Final = b"      "
_LAST_BUT_ONE: Final = b"      code:"
_TOP_LEVEL: Final = re.compile(rb"^[A-Za-z_\"'.]", re.MULTILINE)  # a key after the list: vcrpy's own order
_LONGEST_HEAD: Final = 256 * 1024
_KEY_SIZE: Final = 16


class ForeignLayoutError(Exception):
    """Not our layout: vcrpy itself has to read this file."""


class DamageError(Exception):
    """An item is no interaction, and no beginning of one that an interrupted write has left.

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
        unended: Whether the last line of a file without such a tail lacks its newline.
    """

    metadata: dict[str, Any] = field(default_factory=dict)
    starts: array[int] = field(default_factory=lambda: array("Q"))
    sizes: array[int] = field(default_factory=lambda: array("L"))
    keys: bytearray = field(default_factory=bytearray)
    end: int = 0
    size: int = 0
    unended: bool = False

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
        damaged: Takes the beginning and end of each item that is no interaction.

    Raises:
        ForeignLayoutError: Not our layout.
        DamageError: An item that is no interaction, and nobody took `damaged`.
    """
    metadata, position = read_head(data)
    if metadata.get("ringback", {}).get("matching") != matching.MATCHING_VERSION:
        trust_keys = False
    index = Index(metadata=metadata, end=position, size=len(data))
    view = memoryview(data)
    try:
        while position < index.size:
            comment = _COMMENT.match(data, position)
            opens = comment or _is_opening(data[position : position + _LONGEST_COMMENT])
            passed = None if opens else _PASSED_OVER.match(data, position)
            if passed:
                index.end = position = passed.end()
            else:
                began = position
                try:
                    position = _next_item(data, view, position, comment, index, trust_keys)
                except DamageError:
                    if damaged is None:
                        raise
                    found = _NEXT.search(data, position + 1 if comment is None else comment.end())
                    index.end = position = found.end() if found else index.size
                    damaged.append((began, position))
    finally:
        view.release()
    index.unended = not index.torn and data[index.size - 1 : index.size] != b"\n"
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
        end = _vouched(data, view, comment)
        if end:
            index.add(bytes.fromhex(comment[1].decode()), start, end - start)
            return end
    found = _NEXT.search(data, start + 1)
    end = found.end() if found else index.size
    item = bytes(data[start:end])
    if (item and item[:1] not in (b"#", b"-", b"\0")) or _TOP_LEVEL.search(item):
        raise ForeignLayoutError
    if found is None and _is_torn(item, comment):
        return end  # `index.end` stays before it
    try:
        parsed = interactions.parse(item)
    except InteractionError as error:
        raise DamageError(position, str(error)) from None
    index.add(bytes.fromhex(matching.plain_key(parsed.request).digest), start, len(item))
    return end


def _vouched(data: Buffer, view: memoryview, comment: re.Match[bytes]) -> int:
    """Where the item after `comment` ends if it is as it was written, the last newline apart; else 0."""
    start, size, crc = comment.end(), int(comment[3]), int(comment[2], 16)
    end = start + size
    if data[start : start + 2] != b"- " or end > len(data) + 1:
        return 0
    said = zlib.crc32(view[start:end])
    if end > len(data):  # editors and shells take the last newline away
        end, said = len(data), zlib.crc32(b"\n", said)
    return end if said == crc else 0


def _is_torn(item: bytes, comment: re.Match[bytes] | None) -> bool:
    """Whether `item`, the last one, may be what an interrupted write or a crash of the file system left.

    Where it may also be an item that somebody shortened, nobody can tell.
    """
    if item.endswith(b"\0"):  # a file system's
        return True
    if comment is None:
        return _is_opening(item)
    return len(item) + 1 < int(comment[3]) and _is_beginning(item)


def _is_opening(text: bytes) -> bool:
    """Whether `text` is a comment of ours that is cut before its end."""
    return b"\n" not in text and (text.startswith(_OPENING) or _OPENING.startswith(text))


def _is_beginning(item: bytes) -> bool:
    """Whether `item` begins as `interactions.dump` writes, and does not get to its last line's end."""
    *lines, cut = item.split(b"\n")
    left = list(_OUTLINE)
    for line in lines:
        if not line or line.startswith(_DEEP):
            if not left and not line.startswith(_LAST_BUT_ONE):
                return False
        elif not left or not (line + b"\n").startswith(left.pop(0)):
            return False
    return any(cut.startswith(next_) or next_.startswith(cut) for next_ in (_DEEP, *left[:1]))
