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

import errno
import mmap
import os
import re
import zlib
from array import array
from bisect import bisect_right
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import quote_plus

from ringback import system
from ringback.cassettes import matching, vcr_format
from ringback.cassettes.files import CassetteError, CassetteFormatError, CodingError
from ringback.cassettes.large_files import LargeFile, read_large
from ringback.cassettes.matching import MatchIgnore
from ringback.cassettes.redaction import framed, known_of, match_ignore_of, redacted, remaining_redaction
from ringback.cassettes.vcr_format import InteractionError, source_of
from ringback.tally import many

if TYPE_CHECKING:
    Buffer: TypeAlias = bytes | mmap.mmap
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from ringback.cassettes.matching import MatchKey
    from ringback.cassettes.redaction import Redaction
    from ringback.cassettes.vcr_format import Interaction
    from ringback.exchange import Answer, Request

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
_UNAUTHORIZED: Final = 401


class ForeignLayoutError(Exception):
    """Not our layout: vcrpy itself has to read this file."""


class DamageError(Exception):
    """An item is no interaction, and no beginning of one that an interrupted write has left.

    Attributes:
        offset: Where it starts.
        slip: Where the line starts that is wrong.
        detail: What is wrong with it.
    """

    def __init__(self, offset: int, slip: int, detail: str) -> None:
        super().__init__(detail)
        self.offset = offset
        self.slip = slip
        self.detail = detail


@dataclass
class ItemIndex:
    """Index of a cassette file: offsets, sizes and match keys of its items.

    Attributes:
        metadata: The file's metadata.
        starts: The offset of each item's text, without its comment.
        sizes: The length of each item's text.
        checksums: The CRC-32 of each item's text.
        keys: The match key of each item, 16 bytes each, one after another.
        end: Where the next item goes: after the last whole one.
        size: The size of the file when it was read; beyond `end` stands a torn tail.
        unended: Whether the last line of a file without such a tail lacks its newline.
    """

    metadata: dict[str, Any] = field(default_factory=dict)
    starts: array[int] = field(default_factory=lambda: array("Q"))
    sizes: array[int] = field(default_factory=lambda: array("L"))
    checksums: array[int] = field(default_factory=lambda: array("L"))
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

    def add(self, key: bytes, start: int, size: int, checksum: int) -> None:
        """Append an item."""
        self.keys += key
        self.starts.append(start)
        self.sizes.append(size)
        self.checksums.append(checksum)
        self.end = start + size


def head(metadata: dict[str, Any]) -> bytes:
    """Return the bytes that a file with `metadata` starts with."""
    return b"version: 1\n" + vcr_format.dump_mapping({"metadata": metadata}) + b"interactions:\n"


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
        metadata = vcr_format.load_mapping(found[1] or b"").get("metadata")
    except InteractionError:
        raise ForeignLayoutError from None
    return metadata if isinstance(metadata, dict) else {}, found.end()


def is_current(metadata: dict[str, Any]) -> bool:
    """Report whether the keys in a file's comments are those of this version of matching."""
    return known_of(metadata).get("matching") == matching.MATCHING_VERSION


def upgraded(data: bytes, index: ItemIndex) -> list[bytes]:
    """Return the parts of a file whose keys are of another version, with keys of this one.

    Args:
        data: The file.
        index: Its index.
    """
    known = {**known_of(index.metadata), "matching": matching.MATCHING_VERSION}
    parts = [head({**index.metadata, "ringback": known})]
    for number, (start, size) in enumerate(zip(index.starts, index.sizes, strict=True)):
        item = data[start : start + size]
        parts.append(entry(index.key(number), item if item.endswith(b"\n") else item + b"\n"))
    return parts


def scan(data: Buffer, *, trust_keys: bool = True, damaged: list[tuple[int, int]] | None = None) -> ItemIndex:
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
    if not is_current(metadata):
        trust_keys = False
    index = ItemIndex(metadata=metadata, end=position, size=len(data))
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
    index: ItemIndex,
    trust_keys: bool,
) -> int:
    """Add the item at `position` to `index`; returns where the one after it begins."""
    start = comment.end() if comment else position
    if comment and trust_keys:
        end = _vouched(data, view, comment)
        if end:
            checksum = zlib.crc32(view[start:end]) if end == index.size else int(comment[2], 16)
            index.add(bytes.fromhex(comment[1].decode()), start, end - start, checksum)
            return end
    found = _NEXT.search(data, start + 1)
    end = found.end() if found else index.size
    item = bytes(data[start:end])
    if (item and item[:1] not in (b"#", b"-", b"\0")) or _TOP_LEVEL.search(item):
        raise ForeignLayoutError
    if found is None and _is_torn(item, comment):
        return end  # `index.end` stays before it
    try:
        parsed = vcr_format.parse(item)
    except InteractionError as error:
        if "undefined alias" in str(error):  # of another item: only the whole file can be read
            raise ForeignLayoutError from None
        raise DamageError(position, start + _offset_of(item, error.line), str(error)) from None
    index.add(bytes.fromhex(matching.plain_key(parsed.request).digest), start, len(item), zlib.crc32(item))
    return end


def _offset_of(item: bytes, line: int) -> int:
    """Return where `line`, from 1, begins in `item`."""
    return sum(len(one) for one in item.splitlines(keepends=True)[: max(line - 1, 0)])


def _vouched(data: Buffer, view: memoryview, comment: re.Match[bytes]) -> int:
    """Return the end of the item after `comment`, its last newline apart; 0 if its checksum does not fit."""
    start, size, crc = comment.end(), int(comment[3]), int(comment[2], 16)
    end = start + size
    if data[start : start + 2] != b"- " or end > len(data) + 1:
        return 0
    checksum = zlib.crc32(view[start:end])
    if end > len(data):  # editors and shells take the last newline away
        end, checksum = len(data), zlib.crc32(b"\n", checksum)
    return end if checksum == crc else 0


def _is_torn(item: bytes, comment: re.Match[bytes] | None) -> bool:
    """Report whether `item`, the last one, may be what an interrupted write or a file system crash left.

    An item that a user shortened in an editor can look the same.
    """
    if item.endswith(b"\0"):  # a file system's
        return True
    if comment is None:
        return _is_opening(item)
    return len(item) + 1 < int(comment[3]) and _is_beginning(item)


def _is_opening(text: bytes) -> bool:
    """Report whether `text` is a comment of ours that is cut before its end."""
    return b"\n" not in text and (text.startswith(_OPENING) or _OPENING.startswith(text))


def _is_beginning(item: bytes) -> bool:
    """Report whether `item` begins as `interactions.dump` writes, but lacks the end of its last line."""
    *lines, cut = item.split(b"\n")
    left = list(_OUTLINE)
    for line in lines:
        if not line or line.startswith(_DEEP):
            if not left and not line.startswith(_LAST_BUT_ONE):
                return False
        elif not left or not (line + b"\n").startswith(left.pop(0)):
            return False
    return any(cut.startswith(next_) or next_.startswith(cut) for next_ in (_DEEP, *left[:1]))


_READY_KEPT: Final = 2048  # answers kept for the next time, about 5 KB each
_COMPARED: Final = 200  # recordings that are compared when the nearest is looked for
_HITS_PER_VALUE: Final = 50
_MOST_VALUES: Final = 20  # values of a request that are looked for
_LONGEST_VALUE: Final = 500  # characters of such a value


class CassetteReader:
    """The interactions of one file, numbered from 0 in the file's order.

    Attributes:
        path: The file.
        metadata: The file's metadata.
        foreign: Whether the file has another layout than ours, so that vcrpy had to read all of it.
        torn: Bytes at the end of the file that are no whole interaction.
        unusable: The interactions that can answer nothing: authentication challenges.
        ignored: Fields that do not count when requests are compared: the caller's, and those of the metadata.
        largest: The size of the largest interaction, in bytes, about.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.largest = 0
        self.metadata: dict[str, Any] = {}
        self.foreign = False
        self.torn = 0
        self.unusable: frozenset[int] = frozenset()
        self.ignored = MatchIgnore()
        self._index = ItemIndex()
        self._handle = -1
        self._loaded: Sequence[Interaction] = []  # a foreign file's; ours are parsed one by one
        self._numbers: dict[bytes, int | list[int]] = {}
        self._ready: OrderedDict[int, Answer] = OrderedDict()

    def __len__(self) -> int:
        return len(self._loaded) if self.foreign else len(self._index)

    def open(self, redaction: Redaction, ignored: MatchIgnore | None = None) -> None:
        """Read the file; no file counts as an empty one.

        Args:
            redaction: What is taken out of a foreign file's interactions, so that requests match them.
            ignored: Fields that do not count when requests are compared.

        Raises:
            CassetteFormatError: It is no cassette, or damaged.
            OSError: It cannot be read.
        """
        self.close()
        self._numbers.clear()
        self._ready.clear()
        self.ignored = ignored or MatchIgnore()
        try:
            self._index, self._handle = read(self.path)
        except FileNotFoundError:
            self._index = ItemIndex()
            return
        except ForeignLayoutError:
            self._open_foreign(redaction)
            return
        self.foreign, self._loaded, self.unusable = False, [], frozenset()
        self.metadata, self.torn = self._index.metadata, self._index.torn
        self.ignored |= match_ignore_of(self.metadata)
        self.largest = max(self._index.sizes, default=0)
        for number in range(len(self._index)):
            if self.ignored.rules:  # the keys in the comments know nothing of them
                self._note(bytes.fromhex(self.match_key(number).digest), number)
            else:
                self._note(self._index.key(number), number)

    def _open_foreign(self, redaction: Redaction) -> None:
        self.foreign, self.torn, self.unusable = True, 0, frozenset()
        large = read_large(self.path, redaction, _readable)
        if large is not None:
            self._loaded, self.metadata = large, large.metadata
            self.largest = large.largest
            self.ignored |= match_ignore_of(self.metadata)
            for number, key in enumerate(large.keys):
                self._note(bytes.fromhex(key.without(self.ignored).digest), number)
            return
        found, self.metadata = vcr_format.read_foreign(self.path)
        self.ignored |= match_ignore_of(self.metadata)
        redaction = remaining_redaction(self.metadata, redaction)
        self._loaded = [_readable(one, redaction) for one in found]
        self.largest = max((len(one.answer.body) for one in self._loaded), default=0)
        self.unusable = challenges(self._loaded)
        for number in range(len(self._loaded)):
            if number in self.unusable:
                continue
            self._note(bytes.fromhex(self.match_key(number).digest), number)

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
        """Report whether this reads from the file with `inode`."""
        return not self.foreign and self._handle >= 0 and os.fstat(self._handle).st_ino == inode

    def add(self, key: MatchKey, start: int, size: int, checksum: int) -> None:
        """Take in an item that was appended to the file."""
        self._index.add(bytes.fromhex(key.digest), start, size, checksum)
        self.largest = max(self.largest, size)
        self._note(bytes.fromhex(key.without(self.ignored).digest), len(self._index) - 1)

    def interaction(self, number: int) -> Interaction:
        """Recording `number`.

        Raises:
            CassetteFormatError: The file was changed while it was in use.
        """
        if self.foreign:
            return self._loaded[number]
        try:
            return vcr_format.parse(self.text(number))
        except InteractionError:
            detail = "changed while it was in use; start again"
            raise CassetteFormatError(self.path, self.line(number), detail) from None

    def answer(self, number: int) -> Answer:
        """Return the answer of interaction `number` (0-based) for replay, with body length and provenance.

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
        """Return the YAML of interaction `number` in a file of our layout.

        Raises:
            CassetteFormatError: The file was changed while it was in use.
        """
        text = system.pread(self._handle, self._index.sizes[number], self._index.starts[number])
        if zlib.crc32(text) != self._index.checksums[number]:
            detail = "changed while it was in use; start again"
            raise CassetteFormatError(self.path, self.line(number), detail)
        return text

    def line(self, number: int) -> int:
        """Return the line of interaction `number`, 1-based; 0 where that cannot be told, or after `close`."""
        if self.foreign:
            return self._foreign_line(number)
        if self._handle < 0:
            return 0
        with mmap.mmap(self._handle, 0, access=mmap.ACCESS_READ) as data:
            return data[: self._index.starts[number]].count(b"\n") + 1

    def _foreign_line(self, number: int) -> int:
        try:
            text = self.path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return 0
        starts = vcr_format.item_starts(text)
        return text.count("\n", 0, starts[number]) + 1 if len(starts) == len(self) else 0

    def match_key(self, number: int) -> MatchKey:
        """Return the key that interaction `number` is looked up by."""
        return matching.plain_key(self.request(number)).without(self.ignored)

    def request(self, number: int) -> Request:
        """Return the request of interaction `number`, without the cost of reading its answer."""
        if isinstance(self._loaded, LargeFile):
            return self._loaded.requests[number]
        return self._loaded[number].request if self.foreign else vcr_format.parse_request(self.text(number))

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
            except (InteractionError, CassetteFormatError):
                continue
        return found

    def _hits(self, asked: MatchKey) -> list[int]:
        hits = []
        values = sorted(
            {quote_plus(value[:_LONGEST_VALUE], errors="replace") for _, value in asked.form or ()},
            key=len,
            reverse=True,
        )[:_MOST_VALUES]
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
        return redacted(one, redaction)
    except CodingError:  # replayed as it is, coding and all
        return replace(one, request=redaction.redact(one.request).request)


def read(path: Path) -> tuple[ItemIndex, int]:
    """The index of the file at `path`, and an open descriptor to read its items from.

    Raises:
        ForeignLayoutError: Not our layout.
        CassetteFormatError: Damaged.
        OSError: It cannot be read.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if path.exists() and not path.is_file():  # such as a pipe, which would be waited for
        raise CassetteError(f"{path} cannot be read: it is no regular file")
    handle = os.open(path, os.O_RDONLY | system.OPEN)
    try:
        with suppress(OSError):  # not every file system has locks; without them a tail may look torn
            system.lock(handle, shared=True)
        index = scan_file(path, handle)
        with suppress(OSError):
            system.unlock(handle)
    except BaseException:
        os.close(handle)
        raise
    return index, handle


def scan_file(path: Path, handle: int) -> ItemIndex:
    """The index of the open file `handle`, which is at `path`; errors as `read`."""
    if os.fstat(handle).st_size == 0:
        raise ForeignLayoutError
    with mmap.mmap(handle, 0, access=mmap.ACCESS_READ) as data:
        try:
            return scan(data)
        except DamageError as error:
            refuse_other_format(bytes(data), path)
            line = data[: error.slip].count(b"\n") + 1
            detail = f"{error.detail}; correct it there, or `ringback cassettes verify --repair` takes it out"
            raise CassetteFormatError(path, line, detail) from None


def refuse_other_format(data: bytes, path: Path) -> None:
    """Raise CassetteFormatError if the damaged file at `path` is another tool's that begins as ours does."""
    other = "" if _OPENING in data else vcr_format.other_format(data, path)
    if other:
        raise CassetteFormatError(path, 1, other)


def entries(found: Iterable[Interaction], redaction: Redaction) -> list[bytes]:
    """Return `found`, without authentication challenges, as entries of our layout, redacted."""
    found = list(found)
    left_out = challenges(found)
    return [make_entry(redacted(one, redaction)) for at, one in enumerate(found) if at not in left_out]


def challenges(found: Sequence[Interaction]) -> frozenset[int]:
    """Return the places in `found` of authentication challenges.

    Some clients send a request without credentials first, and again with them when the answer is a 401. Where
    both are recorded, the first is part of that client's handshake: a client that authenticates at once must
    get the second answer. It is a challenge if a later interaction of the same request has credentials, or if
    the next one of the file is the same request and no 401 (tools may have removed the credentials).
    """
    places: dict[str, list[int]] = {}
    for at, one in enumerate(found):
        if one.answer.status == _UNAUTHORIZED and not one.request.header("Authorization"):
            places.setdefault(matching.plain_key(one.request).digest, []).append(at)
    if not places:
        return frozenset()
    later: dict[str, int] = {}  # by key, the last interaction with credentials
    for at, one in enumerate(found):
        if one.request.header("Authorization"):
            later[matching.plain_key(one.request).digest] = at
    return frozenset(
        at
        for digest, all_at in places.items()
        for at in all_at
        if later.get(digest, -1) > at or _answers_challenge(found, at + 1, digest)
    )


def _answers_challenge(found: Sequence[Interaction], at: int, digest: str) -> bool:
    if at >= len(found) or not found[at - 1].answer.header("WWW-Authenticate"):
        return False
    one = found[at]
    return one.answer.status != _UNAUTHORIZED and matching.plain_key(one.request).digest == digest


def make_entry(one: Interaction) -> bytes:
    """The entry of a redacted interaction."""
    return entry(bytes.fromhex(matching.plain_key(one.request).digest), vcr_format.dump(one))


def torn_message(path: Path, torn: int, whole: int, done: str) -> str:
    """Describe a tail of `torn` bytes, and what was `done` with them."""
    return (
        f"{path}: it ends in {many(torn, 'byte')} of an interaction that is not whole (as an interrupted "
        f"write leaves it): {done}; {many(whole, 'whole interaction')} before that"
    )
