"""All cassettes of one process: a directory, a mode, and a session for each cassette that a client names."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from ringback.cassettes import names, pseudonyms
from ringback.cassettes.errors import CassetteError
from ringback.cassettes.redaction import Redaction
from ringback.cassettes.session import Session, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from ringback.cassettes.session import Mode, Repeats

_UNUSED_SHOWN: Final = 10  # of each cassette
_LONGEST_LABEL: Final = 120  # characters
_WRITERS: Final = 8  # threads that wait for fsync, for all cassettes together


@dataclass(frozen=True, slots=True)
class Totals:
    """What all sessions of a library did.

    Attributes:
        replayed: Requests that were answered from a cassette.
        missed: Requests that were not.
        recorded: Exchanges that were recorded and last.
        failed: Exchanges that could not be recorded.
        unused: Recordings that no request was answered from.
    """

    replayed: int
    missed: int
    recorded: int
    failed: int
    unused: int


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _ignore(_line: str) -> None:
    """Tell nobody."""


class Library:
    """Cassettes in a directory, used in one mode. Thread-safe; a context manager that closes itself.

    Args:
        directory: Where they are; made with the first recording.
        mode: `offline` replays, `auto` adds what is new, `online` records afresh.
        repeats: After its last recording a request gets that one again (`last`), or misses (`error`).
        redact: Form fields whose values get pseudonyms; a cassette that exists already keeps its own.
        secrets: Values that are searched for besides each request's own credentials, such as a configured
        token. environ: Where RINGBACK_REDACT_KEY is looked for. tell: Called, from any thread, with each line
        that the user should see. clock: Gives the time that is noted with a recording, in UTC.
    """

    def __init__(  # noqa: PLR0913 - they are options, all named, all with a default
        self,
        directory: Path,
        *,
        mode: Mode = "offline",
        repeats: Repeats = "last",
        redact: Iterable[str] = (),
        secrets: Iterable[str] = (),
        environ: Mapping[str, str] = os.environ,
        tell: Callable[[str], None] = _ignore,
        clock: Callable[[], datetime] = _utc_now,
    ) -> None:
        self.directory = directory
        self.mode = mode
        self._lock = threading.Lock()
        self._key: bytes | None = None
        self._environ = environ
        self._sessions: dict[str, Session] = {}
        self._executor = ThreadPoolExecutor(_WRITERS, thread_name_prefix="ringback-cassettes")
        self._settings = Settings(
            directory=directory,
            mode=mode,
            repeats=repeats,
            redaction=Redaction(tuple(dict.fromkeys(redact)), b"", frozenset(secrets)),
            fetch_key=self._fetch_key,
            clock=clock,
            tell=tell,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def sessions(self) -> tuple[Session, ...]:
        """All sessions so far, in the order in which they began."""
        with self._lock:
            return tuple(self._sessions.values())

    def session(self, name: str = names.DEFAULT_NAME) -> Session:
        """The session of the cassette `name`: begun by the first call, the same ever after.

        Raises:
            CassetteNameError: The name is no slug.
            CassetteFormatError: The file is no cassette, or cannot be read.
            RedactionError: The cassette was redacted otherwise, or with another key.
        """
        names.check_name(name)
        with self._lock:
            known = self._sessions.get(name)
            if known is None:
                known = self._sessions[name] = Session(name, self._settings, self._executor)
            return known

    def totals(self) -> Totals:
        """What was done so far; ask before `close`."""
        sessions = self.sessions
        return Totals(
            replayed=sum(session.replayed for session in sessions),
            missed=sum(session.missed for session in sessions),
            recorded=sum(session.recorded for session in sessions),
            failed=sum(session.failed for session in sessions),
            unused=sum(session.unused(0)[0] for session in sessions),
        )

    def summary(self) -> list[str]:
        """The same for people: a line for each cassette that was used, and its unused recordings.

        Ask before `close`.
        """
        lines = []
        for session in self.sessions:
            done = (
                (session.replayed, "replayed"),
                (session.missed, "without a recording"),
                (session.recorded, "recorded"),
                (session.failed, "not recorded"),
            )
            if not any(count for count, _ in done):
                continue
            lines.append(
                f"cassette {session.name}: " + ", ".join(f"{count} {what}" for count, what in done if count)
            )
            count, shown = session.unused(_UNUSED_SHOWN)
            if count:
                lines.append(f"  {count} of {len(session)} recordings unused:")
                lines += [f"    {session.file}:{one.line} {_printable(one.label)}" for one in shown]
            if count > len(shown):
                lines.append(f"    and {count - len(shown)} more")
        return lines

    def close(self) -> tuple[CassetteError, ...]:
        """Wait for what is being written, finish `online` recordings, give all files back.

        Returns:
            What went wrong; each was told already.
        """
        self._executor.shutdown(wait=True)
        wrong: list[CassetteError] = []
        for session in self.sessions:
            try:
                session.close()
            except CassetteError as error:
                self._settings.tell(str(error))
                wrong.append(error)
        return tuple(wrong)

    def _fetch_key(self) -> bytes:
        if self._key is None:
            self._key = pseudonyms.load_key(self._environ)
        return self._key


def _printable(text: str) -> str:
    shown = "".join(char if char.isprintable() else "?" for char in text)
    return shown if len(shown) <= _LONGEST_LABEL else shown[: _LONGEST_LABEL - 3] + "..."
