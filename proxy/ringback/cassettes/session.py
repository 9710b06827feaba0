"""One client's place in one cassette: what it has replayed, what it has recorded."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from ringback.cassettes import matching, misses, reading
from ringback.cassettes.appending import CassetteFile
from ringback.cassettes.errors import CassetteError, RedactionError, reading_error
from ringback.cassettes.fresh import FreshFile
from ringback.cassettes.misses import Miss, Nearest
from ringback.cassettes.names import cassette_path, existing_path
from ringback.cassettes.provenance import check_key, provenance, redacted_fields, with_key
from ringback.cassettes.recorder import Recorder
from ringback.cassettes.recordings import Recordings
from ringback.cassettes.redaction import Redaction
from ringback.counting import many

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Executor, Future
    from datetime import datetime
    from pathlib import Path

    from ringback.cassettes.matching import MatchKey
    from ringback.cassettes.recorder import Written
    from ringback.cassettes.redaction import Scrubbed
    from ringback.exchange import Answer, Request

Mode: TypeAlias = Literal["offline", "auto", "online"]
Repeats: TypeAlias = Literal["last", "error"]

_LONGEST_LABEL: Final = 120  # characters
_MOST_TOLD: Final = 10  # different reasons why something was not recorded


@dataclass(frozen=True, slots=True)
class Settings:
    """What all sessions of a library have in common.

    Attributes:
        directory: Where the cassettes are.
        mode: `offline` replays, `auto` adds what is new, `online` records afresh.
        repeats: What a request gets after its last recording: that one again, or nothing.
        redaction: What the user asked to be taken out; without its key, which is fetched when it is needed.
        fetch_key: Gives the key of pseudonyms.
        clock: Gives the time that is noted with a recording.
        tell: Called with each line that the user should see.
    """

    directory: Path
    mode: Mode
    repeats: Repeats
    redaction: Redaction
    fetch_key: Callable[[], bytes]
    clock: Callable[[], datetime]
    tell: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Unused:
    """A recording that no request of this session was answered from.

    Attributes:
        number: Which interaction of the cassette, 1-based.
        line: Its line in the file, 0 where the file keeps no lines.
        label: The request in a few words, printable.
    """

    number: int
    line: int
    label: str


class Session:
    """A client's place in the cassette `name`; thread-safe. Made by `Library.session`.

    Attributes:
        name: The cassette.
        path: Its file, which need not exist.
        replayed: How many requests were answered from it.
        missed: How many were not.
        recorded: How many exchanges were recorded and last.
        failed: How many could not be recorded.
        unanswered: How many have no live answer that could be recorded.
    """

    def __init__(self, name: str, settings: Settings, executor: Executor) -> None:
        self.name = name
        self.replayed = self.missed = self.recorded = self.failed = self.unanswered = 0
        self._settings = settings
        self._executor = executor
        self._lock = threading.Lock()
        self._uses: dict[bytes, int] = {}
        self._told: set[str] = set()
        source = existing_path(settings.directory, name)
        self.path = cassette_path(settings.directory, name)
        self._recordings = Recordings(source)
        self._redaction = settings.redaction
        if settings.mode != "online":
            self._open()
        if self._redaction.fields and not self._redaction.key:
            self._redaction = with_key(self._redaction, settings.fetch_key())
        metadata = {"ringback": provenance(self._redaction)}
        make = FreshFile if settings.mode == "online" else CassetteFile
        other = source if source != self.path else None
        self._file = make(self.path, metadata, self._redaction, settings.tell, other)
        self._recorder = Recorder(
            self._file, self._redaction, settings.clock, executor, self._take_in, self._count_failure
        )
        if self._recordings.torn:
            self._tell_torn()

    def __len__(self) -> int:
        return len(self._recordings)

    @property
    def foreign(self) -> bool:
        """Whether the file is in vcrpy's own layout; the first append rewrites it."""
        return self._recordings.foreign

    def lookup(self, request: Request) -> Answer | Miss:
        """The answer recorded for `request`: the k-th equal request gets the k-th, later ones the last again.

        `online` never answers from a cassette.

        Raises:
            CassetteFormatError: The file was changed while it was in use.
        """
        if not len(self._recordings):
            with self._lock:
                self.missed += 1
            return self._miss(lambda: self._redaction.scrub(request), 0)
        exchange = self._redaction.scrub(request)
        key = bytes.fromhex(exchange.key.digest)
        with self._lock:
            numbers = self._recordings.numbers(key)
            use = self._uses.get(key, 0)
            if use >= len(numbers) and not (numbers and self._settings.repeats == "last"):
                self.missed += 1
                return self._miss(lambda: exchange, len(numbers))
            number = numbers[min(use, len(numbers) - 1)]
            answer = self._recordings.answer(number)
            self._uses[key] = use + 1
            self.replayed += 1
        return exchange.restore(answer)

    def record(self, request: Request, answer: Answer) -> Future[str]:
        """Append the exchange; redacted, and without blocking the caller.

        Concurrent exchanges share one fsync. Wait for the future before the client gets its answer
        (`await asyncio.wrap_future(...)`, or `.result()`): then the exchange lasts. The client is served also
        when it fails.

        Returns:
            Where it is, such as `default#3`. Its exceptions: RecordingError (the disk), CodingError (a body
            that cannot be searched for secrets), CassetteBusyError, CassetteFormatError.
        """
        return self._recorder.submit(request, answer)

    def unused(self, limit: int | None = None) -> tuple[int, tuple[Unused, ...]]:
        """How many recordings no request was answered from, and the first `limit` of them."""
        with self._lock:
            if self._settings.mode == "online":
                return 0, ()
            left = sorted(
                number
                for key, numbers in self._recordings.keys().items()
                for number in numbers[self._uses.get(key, 0) :]
            )
            shown = tuple(
                Unused(
                    number + 1,
                    self._recordings.line(number),
                    _shown(self._recordings.match_key(number).label),
                )
                for number in left[:limit]
            )
        return len(left), shown

    def count_unanswered(self, more: int) -> None:
        """Note that `more` requests (-1: one less) have no live answer: what `online` records lacks them."""
        with self._lock:
            self.unanswered += more

    def close(self, partial: str = "") -> None:
        """Give the files back, and an `online` recording the cassette's name; all futures must be done.

        Args:
            partial: Why the recording may not have all that the old cassette has, so that this one keeps its
                name; empty if it has. A request without a live answer or an exchange that could not be
                recorded is reason enough.

        Raises:
            RecordingError: The recording could not take the cassette's name.
        """
        if not partial and self.unanswered:
            partial = f"{many(self.unanswered, 'request')} had no live answer"
        elif not partial and self.failed:
            partial = f"{many(self.failed, 'exchange')} could not be recorded"
        try:
            if isinstance(self._file, FreshFile):
                self._file.finish(self.recorded, partial)
        finally:
            self._file.close()
            self._recordings.close()

    # --- opening ---

    def _open(self) -> None:
        asked = self._redaction
        try:
            self._recordings.open(with_key(asked, self._settings.fetch_key()) if asked.fields else asked)
        except OSError as error:
            raise reading_error(self._recordings.path, error) from error
        known = self._recordings.metadata.get("ringback")
        if not isinstance(known, dict) or not len(self._recordings):
            return
        fields, wanted = redacted_fields(known)
        if asked.fields and asked.names != Redaction(fields).names and self._settings.mode == "auto":
            recorded = f"--redact {','.join(fields)}" if fields else "no --redact"
            wish = f"--redact {','.join(asked.fields)}"
            raise RedactionError(
                f"{self._recordings.path} was recorded with {recorded}, asked for is {wish}: change "
                f"it with `ringback cassettes redact {self.name} {wish}`, or record afresh with --mode online"
            )
        self._redaction = Redaction(fields, b"", asked.secrets)
        if fields:
            self._redaction = with_key(self._redaction, self._settings.fetch_key())
            check_key(self._recordings.path, wanted, self._redaction.key)

    def _tell_torn(self) -> None:
        if self._settings.mode == "auto":
            try:
                self._file.repair()
            except CassetteError as error:
                self._settings.tell(str(error))
            else:
                return
        done = "passed over; `ringback cassettes verify --repair` cuts it"
        self._settings.tell(
            reading.torn_message(self._recordings.path, self._recordings.torn, len(self), done)
        )

    # --- misses ---

    def _miss(self, scrub: Callable[[], Scrubbed], recorded: int) -> Miss:
        def find(asked: MatchKey) -> Nearest | None:
            with self._lock:
                return self._nearest(asked)

        return Miss(self.name, self._recordings.path, recorded, len(self._recordings), scrub, find)

    def _nearest(self, asked: MatchKey) -> Nearest | None:
        found = misses.nearest_of(asked, self._recordings.likely(asked))
        if found is None:
            return None
        number, recorded = found
        digest = bytes.fromhex(recorded.digest)
        place = self._recordings.numbers(digest).index(number) if self._recordings.numbers(digest) else 0
        return Nearest(
            number=number + 1,
            line=self._recordings.line(number),
            used=self._uses.get(digest, 0) > place,
            key=recorded,
            differences=matching.differences(asked, recorded),
        )

    # --- what the recorder reports, from its thread ---

    def _take_in(self, inode: int, batch: Sequence[Written]) -> Sequence[str]:
        """Make what was appended known to `lookup`; returns the names of the recordings."""
        with self._lock:
            self.recorded += len(batch)
            total = self.recorded
            if self._settings.mode != "online":
                for one in batch:  # who recorded it has had its answer
                    self._uses[one.key] = self._uses.get(one.key, 0) + 1
                if self._recordings.is_same_file(inode):
                    for one in batch:
                        self._recordings.add(one.key, one.start, one.size)
                else:
                    self._recordings.close()
                    self._recordings = Recordings(self.path)
                    self._recordings.open(self._redaction)
                total = len(self._recordings)
        return [f"{self.name}#{total - len(batch) + place}" for place in range(1, len(batch) + 1)]

    def _count_failure(self, error: Exception) -> None:
        with self._lock:
            self.failed += 1
            said = str(error) if isinstance(error, CassetteError) else f"not recorded: {error!r}"
            new = said not in self._told and len(self._told) < _MOST_TOLD
            self._told.add(said)
        if new:
            self._settings.tell(said)


def _shown(label: str) -> str:
    printable = "".join(char if char.isprintable() else "?" for char in label)
    return printable if len(printable) <= _LONGEST_LABEL else printable[: _LONGEST_LABEL - 3] + "..."
