"""Appending that lasts, also with several processes on one file.

One append is: lock the file, cut what a crash has left at its end, write, fsync, unlock. What is cut is kept
in a file beside. A file comes into being, and is rewritten, under another name first; only whole files ever
carry the cassette's name.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from ringback.cassettes import layout, reading
from ringback.cassettes.errors import RedactionError, recording_error
from ringback.cassettes.provenance import redacted_fields_of
from ringback.cassettes.redaction import Redaction
from ringback.counting import many

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from ringback.cassettes.interactions import Interaction
    from ringback.cassettes.layout import Index


def write_whole(path: Path, parts: Iterable[bytes], *, overwrite: bool) -> int:
    """Write a whole file under another name, make it last, and give it its own name.

    Args:
        path: The name it gets.
        parts: Its head and its entries.
        overwrite: False keeps a file that is there already.

    Returns:
        A descriptor of the file, locked.

    Raises:
        FileExistsError: `overwrite` is False and there is one.
        OSError: The disk said no; nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}.tmp")
    handle = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        for part in parts:
            write_all(handle, part)
        os.fsync(handle)
        if overwrite:
            draft.replace(path)
        else:
            os.link(draft, path)
        sync_directory(path.parent)
    except BaseException:
        os.close(handle)
        raise
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
    return handle


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of the file at `path`, so that no other process appends to it."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def keep_beside(path: Path, why: str, data: bytes) -> Path:
    """Write `data`, about to be cut from the file at `path`, which is locked, into a new file beside it.

    Args:
        path: The file.
        why: Stands in the new file's name: `PATH.WHY-1`.
        data: What is kept.

    Raises:
        OSError: The disk said no; nothing is left behind.
    """
    number = 1
    while (kept := path.with_name(f"{path.name}.{why}-{number}")).exists():
        number += 1
    handle = os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        write_all(handle, data)
        os.fsync(handle)
    except BaseException:
        with suppress(OSError):
            kept.unlink()
        raise
    finally:
        os.close(handle)
    sync_directory(path.parent)
    return kept


def cut_torn(path: Path, handle: int, index: Index) -> str:
    """Cut the torn tail of the file `handle`, locked and at `path`; returns what is to be told."""
    kept = keep_beside(path, "torn", os.pread(handle, index.torn, index.end))
    os.ftruncate(handle, index.end)
    os.fsync(handle)
    return reading.torn_message(path, index.torn, len(index), f"cut, and kept in {kept}")


def write_all(handle: int, data: bytes) -> None:
    """Write all of `data`, however often the system takes only a part."""
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def sync_directory(directory: Path) -> None:
    """Make a new name in `directory` last."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class CassetteFile:
    """Appends to one file, shared with other processes that do the same.

    Args:
        path: The file.
        metadata: What a new file gets as its metadata.
        redaction: What is taken out of exchanges that are written again.
        tell: Called with a line for people when something was repaired.
        carried: A cassette in another format whose exchanges a new file begins with.
    """

    def __init__(
        self,
        path: Path,
        metadata: dict[str, Any],
        redaction: Redaction,
        tell: Callable[[str], None],
        carried: Path | None = None,
    ) -> None:
        self.path = path
        self._carried = carried
        self._redaction = redaction
        self.metadata = metadata
        self.tell = tell
        self.handle = -1
        self.size = -1  # what the file had after our last append

    def append(self, new: Sequence[bytes]) -> tuple[int, list[int]]:
        """Append entries; when this returns they last.

        Returns:
            The file's inode, and the offset of each entry.

        Raises:
            RecordingError: The disk said no; the file is as it was.
            CassetteFormatError: Somebody else has damaged the file.
            RedactionError: Somebody else has made the file meanwhile, and redacts other fields.
        """
        try:
            while True:
                with self._locked() as there:
                    if there:
                        return self.append_locked(new)
                try:
                    return self._create(new)
                except FileExistsError:
                    if self.path.is_symlink() and not self.path.exists():
                        raise  # a link to nothing is there for ever, not made by another process meanwhile
        except OSError as error:
            raise recording_error(self.path, error) from error

    def repair(self) -> None:
        """Cut a torn tail now.

        Raises:
            RecordingError: The disk said no.
        """
        try:
            with self._locked() as there:
                if there:
                    self.size = self._make_whole(os.fstat(self.handle).st_size)
        except OSError as error:
            raise recording_error(self.path, error) from error

    def close(self) -> None:
        """Give the file back."""
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1

    @contextmanager
    def _locked(self) -> Iterator[bool]:
        """Hold the lock of the file that carries the name now; False if there is none."""
        while True:
            if self.handle < 0:
                try:
                    self.handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
                except FileNotFoundError:
                    yield False
                    return
                self.size = -1
            fcntl.flock(self.handle, fcntl.LOCK_EX)
            if same_file(self.handle, self.path):
                break
            self.close()  # it was replaced meanwhile
        try:
            yield True
        finally:
            if self.handle >= 0:
                fcntl.flock(self.handle, fcntl.LOCK_UN)

    def _create(self, new: Sequence[bytes]) -> tuple[int, list[int]]:
        found: tuple[Interaction, ...] = ()
        if self._carried is not None and self._carried.is_file():
            found, _ = reading.read_foreign(self._carried)
            self.tell(f"{self._carried}: {many(len(found), 'exchange')} carried over into {self.path}")
        parts = [layout.head(self.metadata), *reading.entries(found, self._redaction), *new]
        handle = write_whole(self.path, parts, overwrite=False)
        self.close()
        self.handle = handle
        fcntl.flock(handle, fcntl.LOCK_UN)
        status = os.fstat(handle)
        self.size = status.st_size
        return status.st_ino, offsets_of(status.st_size - sum(map(len, new)), new)

    def append_locked(self, new: Sequence[bytes]) -> tuple[int, list[int]]:
        """As `append`, with the lock held already; raises OSError."""
        status = os.fstat(self.handle)
        size = status.st_size
        if size != self.size:
            size = self._make_whole(size)
            status = os.fstat(self.handle)
        try:
            write_all(self.handle, b"".join(new))
            os.fsync(self.handle)
        except OSError:
            self.size = -1
            with suppress(OSError):
                os.ftruncate(self.handle, size)
            raise
        self.size = size + sum(map(len, new))
        return status.st_ino, offsets_of(size, new)

    def _make_whole(self, size: int) -> int:
        """Make a file that somebody else has written fit to be appended to; returns its size."""
        try:
            index = reading.scan(self.path, self.handle)
        except layout.ForeignLayoutError:
            return self._rewrite()
        theirs, ours = (Redaction(redacted_fields_of(one)).names for one in (index.metadata, self.metadata))
        if "ringback" in index.metadata and theirs != ours:
            raise RedactionError(
                f"not recorded in {self.path}: another process records there with other fields for --redact"
            )
        if index.torn:
            self.tell(cut_torn(self.path, self.handle, index))
            return index.end
        if index.unended:
            write_all(self.handle, b"\n")
            return size + 1
        return size

    def _rewrite(self) -> int:
        found, metadata = reading.read_foreign(self.path)
        parts = reading.entries(found, reading.left_to_do(metadata, self._redaction))
        head = layout.head({**metadata, **self.metadata})
        handle = write_whole(self.path, [head, *parts], overwrite=True)
        self.close()
        self.handle = handle  # locked since before it had the name
        self.tell(
            f"{self.path}: rewritten so that it can be appended to ({many(len(found), 'exchange')} kept)"
        )
        return os.fstat(handle).st_size


def same_file(handle: int, path: Path) -> bool:
    """Whether the open file `handle` is the one at `path`."""
    try:
        named = path.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(handle), named)


def offsets_of(start: int, new: Sequence[bytes]) -> list[int]:
    """Where each of `new` stands when the first is at `start`."""
    offsets = []
    for part in new:
        offsets.append(start)
        start += len(part)
    return offsets
