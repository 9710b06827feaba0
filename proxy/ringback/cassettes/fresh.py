"""Recording afresh: beside the old cassette, whose name the new one takes at the end, if it is whole."""

from __future__ import annotations

import fcntl
import os
import shlex
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final

from ringback.cassettes import layout, reading
from ringback.cassettes.appending import (
    CassetteFile,
    locked,
    offsets_of,
    same_file,
    sync_directory,
    write_whole,
)
from ringback.cassettes.errors import CassetteBusyError, CassetteError, recording_error
from ringback.cassettes.names import SUFFIX, free_path
from ringback.counting import many

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ringback.cassettes.redaction import Redaction

NEW_SUFFIX: Final = ".new"  # a recording that is not finished, or was interrupted


class FreshFile(CassetteFile):
    """Records afresh: into `NAME.yaml.new`, which takes the cassette's name at the end.

    Args:
        final: The cassette's file.
        metadata: What the new file gets as its metadata.
        redaction: As in `CassetteFile`.
        tell: Called with a line for people.
        old: The file that the cassette has been read from so far, where that is another one.
    """

    def __init__(
        self,
        final: Path,
        metadata: dict[str, Any],
        redaction: Redaction,
        tell: Callable[[str], None],
        old: Path | None = None,
    ) -> None:
        if final.is_symlink():  # the file that it leads to is what is recorded
            final = final.resolve()
        super().__init__(final.with_name(final.name + NEW_SUFFIX), metadata, redaction, tell)
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
            adopt_interrupted(self.final, self.tell)
            self.handle = write_whole(self.path, [layout.head(self.metadata), *new], overwrite=False)
        except FileExistsError:
            raise _busy(self.final) from None
        except OSError as error:
            raise recording_error(self.path, error) from error
        status = os.fstat(self.handle)
        self.size = status.st_size
        return status.st_ino, offsets_of(status.st_size - sum(map(len, new)), new)

    def finish(self, recorded: int, partial: str = "") -> None:
        """Give the recording the cassette's name; nothing recorded leaves the old cassette in place.

        Args:
            recorded: How many exchanges it has.
            partial: Why they may not be all, so that an old cassette keeps its name; empty if they are.

        Raises:
            RecordingError: The disk said no; the recording stays under its other name.
        """
        if self.handle < 0:
            return
        held = _held(self._old)
        try:
            with locked(self.final) if self.final.exists() else nullcontext():
                if (
                    _identity(self.final) != self._before
                ):  # another process has added to the old one: keep both
                    kept = self._keep("online")
                    self.tell(
                        f"{self.final}: changed by another process meanwhile; kept as cassette {kept.stem!r}"
                    )
                elif held and partial:
                    kept = self._keep("interrupted")
                    self.tell(
                        f"{self._old}: kept with its {held}, because {partial}; the new one has {recorded} "
                        f"and is cassette {kept.stem!r}: record again, or use it by "
                        f"`{shlex.join(['mv', str(kept), str(self.final)])}`"
                    )
                else:
                    self.path.replace(self.final)
                    if held:
                        whose = "" if self._old == self.final else f" of {self._old}"
                        self.tell(f"{self.final}: recorded afresh, {held}{whose} replaced by {recorded}")
            sync_directory(self.final.parent)
        except OSError as error:
            raise recording_error(self.final, error) from error
        finally:
            self.close()

    def _keep(self, why: str) -> Path:
        """Make the recording a cassette of its own."""
        kept = free_path(self.final.parent, self.final.stem, why)
        self.path.replace(kept)
        return kept


def adopt_interrupted(final: Path, tell: Callable[[str], None]) -> Path | None:
    """Make a cassette of its own of an interrupted recording of `final`; None if there is none.

    Raises:
        CassetteBusyError: It is not interrupted: another process is still recording.
    """
    left = final.with_name(final.name + NEW_SUFFIX)
    try:
        handle = os.open(left, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _busy(final) from None
        if not same_file(handle, left):
            return None
        kept = free_path(final.parent, final.name.removesuffix(SUFFIX), "interrupted")
        left.rename(kept)
        sync_directory(kept.parent)
    finally:
        os.close(handle)
    tell(f"{final}: an earlier recording was interrupted; what it had is kept as cassette {kept.stem!r}")
    return kept


def _held(old: Path) -> str:
    """How many recordings the cassette at `old` has, in words; empty if it has none."""
    try:
        index, handle = reading.read(old)
    except FileNotFoundError:
        return ""
    except layout.ForeignLayoutError:
        try:
            count = len(reading.read_foreign(old)[0])
        except (CassetteError, OSError):
            return "unreadable recordings"
    except (CassetteError, OSError):
        return "unreadable recordings"
    else:
        os.close(handle)
        count = len(index)
    return many(count, "recording") if count else ""


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
