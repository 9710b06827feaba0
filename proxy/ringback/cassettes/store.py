"""Durable writing of cassette files: appending, rerecording, and the queue before both.

One append is: lock the file, cut what a crash has left at its end, write, fsync, unlock. What is cut is kept
in a file beside. A file comes into being, and is rewritten, under another name first; only whole files ever
carry the cassette's name. Several processes may append to one file.
"""

from __future__ import annotations

import os
import shlex
import threading
import zlib
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ringback import system
from ringback.cassettes import layout, redaction, vcr_format
from ringback.cassettes.files import (
    NEW_SUFFIX,
    SUFFIX,
    CassetteBusyError,
    CassetteError,
    RedactionError,
    free_path,
    recording_error,
)
from ringback.cassettes.redaction import Redaction, known_of, redacted_fields_of
from ringback.cassettes.vcr_format import FIELD_RECORDED, FIELD_SOURCE, Interaction, recorded_source
from ringback.tally import many

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from concurrent.futures import Executor
    from datetime import datetime
    from pathlib import Path

    from ringback.cassettes.layout import ItemIndex
    from ringback.cassettes.matching import MatchKey
    from ringback.exchange import Answer, Request


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
        OSError: The disk refuses; nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}.tmp")
    handle = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | system.OPEN, 0o666)
    try:
        system.lock(handle)
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
    handle = os.open(path, os.O_RDONLY | system.OPEN)
    try:
        system.lock(handle)
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
        OSError: The disk refuses; nothing is left behind.
    """
    number = 1
    while (kept := path.with_name(f"{path.name}.{why}-{number}")).exists():
        number += 1
    handle = os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_EXCL | system.OPEN, 0o666)
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


def cut_torn(path: Path, handle: int, index: ItemIndex) -> str:
    """Cut the torn tail of the file `handle`, locked and at `path`; returns what is to be reported."""
    kept = keep_beside(path, "torn", system.pread(handle, index.torn, index.end))
    os.ftruncate(handle, index.end)
    os.fsync(handle)
    return layout.torn_message(path, index.torn, len(index), f"cut, and kept in {kept}")


def write_all(handle: int, data: bytes) -> None:
    """Write all of `data`, however often the system takes only a part."""
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def sync_directory(directory: Path) -> None:
    """Make a new name in `directory` last."""
    system.sync_directory(directory)


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """Options of a cassette that is written.

    Attributes:
        metadata: The metadata that a new file gets.
        redaction: What is taken out of interactions that are written again.
        report: Called with a line for people when something was repaired or replaced.
    """

    metadata: dict[str, Any]
    redaction: Redaction
    report: Callable[[str], None]


class CassetteFile:
    """Appends to one file, shared with other processes that do the same.

    Args:
        path: The file.
        options: How it is written.
        carried: A cassette in another format whose interactions a new file begins with.
    """

    def __init__(self, path: Path, options: WriteOptions, carried: Path | None = None) -> None:
        self.path = path
        self._carried = carried
        self._redaction = options.redaction
        self.metadata = options.metadata
        self.report = options.report
        self.handle = -1
        self.size = -1  # what the file had after our last append

    def append(self, new: Sequence[bytes]) -> tuple[int, list[int]]:
        """Append entries; when this returns they last.

        Returns:
            The file's inode, and the offset of each entry.

        Raises:
            RecordingError: The disk refuses; the file is as it was.
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
            RecordingError: The disk refuses.
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
                    self.handle = os.open(self.path, os.O_RDWR | os.O_APPEND | system.OPEN)
                except FileNotFoundError:
                    yield False
                    return
                self.size = -1
            system.lock(self.handle)
            if same_file(self.handle, self.path):
                break
            self.close()  # it was replaced meanwhile
        try:
            yield True
        finally:
            if self.handle >= 0:
                system.unlock(self.handle)

    def _create(self, new: Sequence[bytes]) -> tuple[int, list[int]]:
        carried: list[bytes] = []
        if self._carried is not None and self._carried.is_file():
            found, _ = vcr_format.read_foreign(self._carried)
            carried = layout.entries(found, self._redaction)
            self.report(f"{self._carried}: {many(len(carried), 'interaction')} carried over into {self.path}")
        parts = [layout.head(self.metadata), *carried, *new]
        handle = write_whole(self.path, parts, overwrite=False)
        self.close()
        self.handle = handle
        system.unlock(handle)
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
            index = layout.scan_file(self.path, self.handle)
        except layout.ForeignLayoutError:
            return self._rewrite()
        theirs, ours = (Redaction(redacted_fields_of(one)).names for one in (index.metadata, self.metadata))
        if "ringback" in index.metadata and theirs != ours:
            raise RedactionError(
                f"not recorded in {self.path}: another process records there with other fields for --redact"
            )
        if index.torn:
            self.report(cut_torn(self.path, self.handle, index))
            size = index.end
        if known_of(index.metadata) and not layout.is_current(index.metadata):
            return self._upgrade(index)
        if index.unended:
            write_all(self.handle, b"\n")
            return size + 1
        return size

    def _upgrade(self, index: layout.ItemIndex) -> int:
        """Write a file whose match keys are of another version with keys of this one; returns its size."""
        data = system.pread(self.handle, index.end, 0)
        handle = write_whole(self.path, layout.upgraded(data, index), overwrite=True)
        self.close()
        self.handle = handle  # locked since before it had the name
        return os.fstat(handle).st_size

    def _rewrite(self) -> int:
        found, metadata = vcr_format.read_foreign(self.path)
        parts = layout.entries(found, redaction.remaining_redaction(metadata, self._redaction))
        head = layout.head({**metadata, **self.metadata})
        handle = write_whole(self.path, [head, *parts], overwrite=True)
        self.close()
        self.handle = handle  # locked since before it had the name
        self.report(
            f"{self.path}: rewritten so that it can be appended to ({many(len(parts), 'interaction')} kept)"
        )
        return os.fstat(handle).st_size


def same_file(handle: int, path: Path) -> bool:
    """Report whether the open file `handle` is the one at `path`."""
    try:
        named = path.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(handle), named)


def offsets_of(start: int, new: Sequence[bytes]) -> list[int]:
    """Return the offset of each of `new` when the first is at `start`."""
    offsets = []
    for part in new:
        offsets.append(start)
        start += len(part)
    return offsets


class RerecordedFile(CassetteFile):
    """Records afresh: into `NAME.yaml.new`, which takes the cassette's name at the end.

    Args:
        final: The cassette's file.
        options: How it is written.
        old: The file that the cassette has been read from so far, where that is another one.
    """

    def __init__(self, final: Path, options: WriteOptions, old: Path | None = None) -> None:
        if final.is_symlink():  # the file that it leads to is what is recorded
            final = final.resolve()
        super().__init__(final.with_name(final.name + NEW_SUFFIX), options)
        self.final = final
        self._old = old or final
        self._before = _identity(final)

    def append(self, new: Sequence[bytes]) -> tuple[int, list[int]]:
        """As `CassetteFile.append`.

        Raises:
            CassetteBusyError: Another process records this cassette afresh at this moment.
        """
        if self.handle >= 0:  # ours alone, and locked, until the end
            try:
                return self.append_locked(new)
            except OSError as error:
                raise recording_error(self.path, error) from error
        try:
            adopt_interrupted(self.final, self.report)
            self.handle = write_whole(self.path, [layout.head(self.metadata), *new], overwrite=False)
        except FileExistsError:
            raise _busy(self.final) from None
        except OSError as error:
            raise recording_error(self.path, error) from error
        status = os.fstat(self.handle)
        self.size = status.st_size
        return status.st_ino, offsets_of(status.st_size - sum(map(len, new)), new)

    def finish(self, recorded: int, partial: str = "") -> str:
        """Give the recording the cassette's name; nothing recorded leaves the old cassette in place.

        Args:
            recorded: How many interactions it has.
            partial: Why they may not be all, so that an old cassette keeps its name; empty if they are.

        Returns:
            The name of the cassette that the recording became instead, or an empty string.

        Raises:
            RecordingError: The disk refuses; the recording stays under its other name.
        """
        if self.handle < 0:
            return ""
        aside = ""
        held = _held(self._old)
        try:
            with locked(self.final) if self.final.exists() else nullcontext():
                if (
                    _identity(self.final) != self._before
                ):  # another process has added to the old one: keep both
                    kept = self._keep("online")
                    aside = kept.stem
                    self.report(
                        f"{self.final}: changed by another process meanwhile; kept as cassette {kept.stem!r}"
                    )
                elif held and partial:
                    kept = self._keep("interrupted")
                    aside = kept.stem
                    self.report(
                        f"{self._old}: kept with its {held}, because {partial}; the new one has {recorded} "
                        f"and is cassette {kept.stem!r}: record again, or use it by "
                        f"`{shlex.join(['mv', str(kept), str(self.final)])}`"
                    )
                else:
                    self.path.replace(self.final)
                    if held:
                        whose = "" if self._old == self.final else f" of {self._old}"
                        self.report(f"{self.final}: recorded afresh, {held}{whose} replaced by {recorded}")
            sync_directory(self.final.parent)
        except OSError as error:
            raise recording_error(self.final, error) from error
        finally:
            self.close()
        return aside

    def _keep(self, why: str) -> Path:
        """Make the recording a cassette of its own."""
        kept = free_path(self.final.parent, self.final.stem, why)
        self.path.replace(kept)
        return kept


def adopt_interrupted(final: Path, report: Callable[[str], None]) -> Path | None:
    """Make a cassette of its own of an interrupted recording of `final`; None if there is none.

    Raises:
        CassetteBusyError: It is not interrupted: another process is still recording.
    """
    left = final.with_name(final.name + NEW_SUFFIX)
    try:
        handle = os.open(left, os.O_RDWR | system.OPEN)
    except FileNotFoundError:
        return None
    try:
        try:
            system.lock(handle, wait=False)
        except BlockingIOError:
            raise _busy(final) from None
        if not same_file(handle, left):
            return None
        kept = free_path(final.parent, final.name.removesuffix(SUFFIX), "interrupted")
        left.rename(kept)
        sync_directory(kept.parent)
    finally:
        os.close(handle)
    report(f"{final}: an earlier recording was interrupted; what it had is kept as cassette {kept.stem!r}")
    return kept


def _held(old: Path) -> str:
    """Describe the number of recordings in the cassette at `old`; an empty string if it has none."""
    try:
        index, handle = layout.read(old)
    except FileNotFoundError:
        return ""
    except layout.ForeignLayoutError:
        try:
            count = len(vcr_format.read_foreign(old)[0])
        except (CassetteError, OSError):
            return "unreadable interactions"
    except (CassetteError, OSError):
        return "unreadable interactions"
    else:
        os.close(handle)
        count = len(index)
    return many(count, "interaction") if count else ""


def _busy(final: Path) -> CassetteBusyError:
    return CassetteBusyError(
        f"{final}: another process is recording this cassette afresh; wait for it, or use another --cassette"
    )


def _identity(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


@dataclass(frozen=True, slots=True)
class WrittenInteraction:
    """An interaction that lasts.

    Attributes:
        key: Its match key.
        start: The offset of its item in the file.
        size: The length of its item.
        checksum: The CRC-32 of its item.
    """

    key: MatchKey
    start: int
    size: int
    checksum: int


class InteractionWriter:
    """Appends interactions to one file, one batch at a time, in a thread of `executor`.

    Args:
        file: The file.
        redaction: What is taken out.
        clock: Gives the time that is noted with an interaction.
        executor: Where writing is done.
        written: Called with the file's inode and the batch after each fsync; returns the recordings' names.
        failed: Called with each interaction's error.
    """

    def __init__(  # noqa: PLR0913 - what a cassette hands over, once
        self,
        file: CassetteFile,
        redaction: Redaction,
        clock: Callable[[], datetime],
        executor: Executor,
        written: Callable[[int, Sequence[WrittenInteraction]], Sequence[str]],
        failed: Callable[[Exception], None],
    ) -> None:
        self._file = file
        self._redaction = redaction
        self._clock = clock
        self._executor = executor
        self._written = written
        self._failed = failed
        self._lock = threading.Lock()
        self._pending: list[tuple[Request, Answer, Future[str]]] = []
        self._draining = False

    def submit(self, request: Request, answer: Answer) -> Future[str]:
        """Queue an interaction; the future is done when it lasts, with its name or the error."""
        done: Future[str] = Future()
        done.set_running_or_notify_cancel()  # who gives up waiting does not take back what is being written
        with self._lock:
            self._pending.append((request, answer, done))
            if self._draining:
                return done
            self._draining = True
        self._executor.submit(self._drain)
        return done

    def _drain(self) -> None:
        while True:
            with self._lock:
                batch, self._pending = self._pending, []
                if not batch:
                    self._draining = False
                    return
            self._write(batch)

    def _write(self, batch: list[tuple[Request, Answer, Future[str]]]) -> None:
        ready: list[tuple[MatchKey, bytes, Future[str]]] = []
        for request, answer, done in batch:
            try:
                ready.append((*self._serialised(request, answer), done))
            except Exception as error:  # noqa: BLE001 - whatever it is, the one who waits has to hear it
                self._fail(error, [done])
        if not ready:
            return
        waiting = [done for _, _, done in ready]
        parts = [layout.entry(bytes.fromhex(key.digest), item) for key, item, _ in ready]
        try:
            inode, offsets = self._file.append(parts)
            names = self._written(
                inode,
                [
                    WrittenInteraction(key, offset + len(part) - len(item), len(item), zlib.crc32(item))
                    for offset, part, (key, item, _) in zip(offsets, parts, ready, strict=True)
                ],
            )
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(error, waiting)
            return
        for name, done in zip(names, waiting, strict=True):
            done.set_result(name)

    def _serialised(self, request: Request, answer: Answer) -> tuple[MatchKey, bytes]:
        clean = self._redaction.redact(request)
        fields = (
            (FIELD_RECORDED, self._clock().strftime("%Y-%m-%dT%H:%M:%SZ")),
            (FIELD_SOURCE, recorded_source(answer.source)),
        )
        item = vcr_format.dump(Interaction(clean.request, clean.answer(answer), fields))
        return clean.key, item

    def _fail(self, error: Exception, waiting: Sequence[Future[str]]) -> None:
        for done in waiting:
            self._failed(error)
            done.set_exception(error)
