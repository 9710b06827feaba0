"""All cassettes of one process: a directory, a mode, and a session for each cassette that a client names."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
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

_WRITERS: Final = 8  # threads that wait for fsync, for all cassettes together


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
            redaction=Redaction(tuple(redact), b"", frozenset(secrets)),
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

    def close(self, partial: str = "") -> tuple[CassetteError, ...]:
        """Wait for what is being written, finish `online` recordings, give all files back.

        Args:
            partial: Why recordings may not be whole, so that old cassettes keep their names.

        Returns:
            What went wrong; each was told already.
        """
        self._executor.shutdown(wait=True)
        wrong: list[CassetteError] = []
        for session in self.sessions:
            try:
                session.close(partial)
            except CassetteError as error:
                self._settings.tell(str(error))
                wrong.append(error)
        return tuple(wrong)

    def _fetch_key(self) -> bytes:
        if self._key is None:
            self._key = pseudonyms.load_key(self._environ)
        return self._key
