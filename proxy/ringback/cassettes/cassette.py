"""Cassettes in use: a `CassetteDirectory` and its `Cassette`s."""

from __future__ import annotations

import os
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from ringback.cassettes import files, layout, matching, pseudonyms
from ringback.cassettes.files import (
    CassetteError,
    RedactionError,
    cassette_path,
    existing_path,
    reading_error,
)
from ringback.cassettes.layout import CassetteReader
from ringback.cassettes.matching import MatchIgnore
from ringback.cassettes.misses import Miss, Nearest, nearest_of
from ringback.cassettes.redaction import (
    Redaction,
    check_key,
    known_of,
    match_ignore_of,
    provenance,
    redacted_fields,
    with_key,
)
from ringback.cassettes.store import CassetteFile, InteractionWriter, RerecordedFile, WriteOptions
from ringback.cassettes.vcr_format import FIELD_RECORDED
from ringback.exchange import LARGE, is_large
from ringback.state import Uses
from ringback.tally import many

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from concurrent.futures import Executor, Future
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from ringback.cassettes.matching import MatchKey
    from ringback.cassettes.redaction import RedactedExchange
    from ringback.cassettes.remote import RemoteCassettes
    from ringback.cassettes.store import WrittenInteraction
    from ringback.exchange import Answer, Mode, Request

Repeats: TypeAlias = Literal["last", "error"]

_MOST_JUDGED: Final = 5000  # unused interactions that are judged one by one
_LONGEST_LABEL: Final = 120  # characters
_MOST_WAITING: Final = 256  # requests whose match key is kept until they are answered
_MOST_REPORTED: Final = 10  # different reasons why something was not recorded


@dataclass(frozen=True, slots=True)
class CassetteSettings:
    """Settings that all cassettes of a directory share.

    Attributes:
        directory: Where the cassettes are.
        mode: `offline` replays, `auto` adds what is new, `online` records afresh.
        repeats: What a request gets after its last interaction: that one again, or nothing.
        ignored: Fields that do not count when requests are compared.
        max_age: Days after which an interaction is old; 0 for never.
        redaction: What the user asked to be taken out; without its key, which is fetched when it is needed.
        fetch_key: Gives the key of pseudonyms.
        clock: Gives the time that is noted with an interaction.
        report: Called with each line that the user should see.
        remote: The store whose local copies the directory has, or None.
        uses: Gives the places of replay of a cassette.
    """

    directory: Path
    mode: Mode
    repeats: Repeats
    ignored: MatchIgnore
    max_age: int
    redaction: Redaction
    fetch_key: Callable[[], bytes]
    clock: Callable[[], datetime]
    report: Callable[[str], None]
    remote: RemoteCassettes | None = None
    uses: Callable[[str], Uses] = lambda _name: Uses()


@dataclass(frozen=True, slots=True)
class UnusedInteraction:
    """An interaction that no request of this cassette was answered from.

    Attributes:
        number: Which interaction of the cassette, 1-based.
        line: Its line in the file, 0 where the file keeps no lines.
        label: The request in a few words, printable.
    """

    number: int
    line: int
    label: str


class Cassette:
    """A client's place in the cassette `name`; thread-safe. Made by `CassetteDirectory.cassette`.

    Attributes:
        name: The cassette.
        path: Its file, which need not exist.
        replayed: How many requests were answered from it.
        missed: How many were not.
        recorded: How many interactions were recorded and last.
        failed: How many could not be recorded.
        old: How many were answered from interactions older than the settings allow.
        refused: How many requests were refused although an interaction of theirs is in it.
        put_aside: The cassette that an `online` recording became because this one kept its name; or empty.
    """

    def __init__(
        self, name: str, settings: CassetteSettings, executor: Executor, path: Path | None = None
    ) -> None:
        self.name = name
        self.replayed = self.missed = self.recorded = self.failed = self.refused = self.old = 0
        self._unanswered: Counter[str] = Counter()  # by match key
        self._waiting_keys: dict[int, tuple[Request, str]] = {}  # those of requests that wait, by identity
        self.put_aside = ""
        self._settings = settings
        self._executor = executor
        self._lock = threading.Lock()
        self._uses = settings.uses(name)
        self._reached: dict[bytes, int] = {}  # the most uses before a `rewind`
        self._reported: set[str] = set()
        source = path or existing_path(settings.directory, name)
        self.path = path or cassette_path(settings.directory, name)
        self._reader = CassetteReader(source)
        self._redaction = settings.redaction
        ignored = settings.ignored
        if settings.mode != "online":
            self._open()
        else:
            ignored |= self._inherit(source)
        if self._redaction.fields and not self._redaction.key:
            self._redaction = with_key(self._redaction, settings.fetch_key())
        metadata = {"ringback": provenance(self._redaction, ignored=ignored)}
        self._file = self._open_file(metadata, source if source != self.path else None)
        self._writer = InteractionWriter(
            self._file, self._redaction, settings.clock, executor, self._take_in, self._count_failure
        )
        if self._reader.torn:
            self._report_torn()

    def _open_file(self, metadata: dict[str, Any], other: Path | None) -> CassetteFile:
        """Return what appends to this cassette; `other` is the file that it is read from, if another one."""
        settings, online = self._settings, self._settings.mode == "online"
        options = WriteOptions(metadata, self._redaction, settings.report)
        if settings.remote is None:
            make = RerecordedFile if online else CassetteFile
            return make(self.path, options, other)
        from ringback.cassettes.remote import RemoteFile, RemoteRerecordedFile  # noqa: PLC0415 - few need it

        made = RemoteRerecordedFile if online else RemoteFile
        return made(settings.remote, self.name, self.path, options)

    def __len__(self) -> int:
        return len(self._reader)

    @property
    def foreign(self) -> bool:
        """True if the file is in vcrpy's own layout; the first append rewrites it."""
        return self._reader.foreign

    @property
    def has_large(self) -> bool:
        """True if an interaction is so large that reading it may keep the event loop for too long."""
        return self._reader.largest > LARGE

    def lookup(self, request: Request) -> Answer | Miss:
        """The answer recorded for `request`: the k-th equal request gets the k-th, later ones the last again.

        `online` never answers from a cassette.

        Raises:
            CassetteFormatError: The file was changed while it was in use.
        """
        if not len(self._reader):
            with self._lock:
                self.missed += 1
            return self._miss(lambda: self._redaction.redact(request), 0)
        clean = self._redaction.redact(request)
        key = bytes.fromhex(clean.key.without(self._reader.ignored).digest)
        with self._lock:
            numbers = self._reader.numbers(key)
            use = self._uses.take(key) if numbers else 0
            if use >= len(numbers) and not (numbers and self._settings.repeats == "last"):
                self.missed += 1
                return self._miss(lambda: clean, len(numbers))
            number = numbers[min(use, len(numbers) - 1)]
            answer = self._reader.answer(number)
            self.replayed += 1
            if self._settings.max_age and self._is_old(number):
                self.old += 1
        return clean.restore(answer)

    def rewind(self) -> None:
        """Answer each request from its first interaction on again; what was used stays used."""
        with self._lock:
            for key, use in self._uses.items():
                self._reached[key] = max(use, self._reached.get(key, 0))
            self._uses.rewind()

    def reload(self) -> None:
        """Read the file again, which others have changed; the places of replay stay.

        Raises:
            CassetteError: It is no cassette, or cannot be read; what was read before stays.
        """
        if self._settings.mode == "online":
            return
        fresh = CassetteReader(existing_path(self._settings.directory, self.name))
        try:
            fresh.open(self._redaction, self._settings.ignored)
        except OSError as error:
            raise reading_error(fresh.path, error) from error
        with self._lock:
            self._reader.close()
            self._reader = fresh

    def record(self, request: Request, answer: Answer) -> Future[str]:
        """Append the interaction; redacted, and without blocking the caller.

        Concurrent interactions share one fsync. Wait for the future before the client gets its answer
        (`await asyncio.wrap_future(...)`, or `.result()`): then the interaction lasts. The client is served
        also when it fails.

        Returns:
            Where it is, such as `default#3`. Its exceptions: RecordingError (the disk), CodingError (a body
            that cannot be searched for secrets), CassetteBusyError, CassetteFormatError.
        """
        return self._writer.submit(request, answer)

    def _is_old(self, number: int) -> bool:
        recorded = self._reader.interaction(number).provenance_value(FIELD_RECORDED)
        try:
            when = datetime.fromisoformat(recorded or "")
        except ValueError:
            return False  # nobody knows
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        return self._settings.clock() - when > timedelta(days=self._settings.max_age)

    def number_of(self, request: Request) -> int:
        """Return the number, from 1, of the first interaction of `request`; 0 if there is none."""
        clean = self._redaction.redact(request)
        key = bytes.fromhex(clean.key.without(self._reader.ignored).digest)
        with self._lock:
            return next(iter(self._reader.numbers(key)), -1) + 1

    def count_refused(self) -> None:
        """Note that a request was refused although the cassette has an interaction for it."""
        with self._lock:
            self.refused += 1

    def unused(
        self, limit: int | None = None, usable: Callable[[Request], bool] | None = None
    ) -> tuple[int, tuple[UnusedInteraction, ...]]:
        """Count the interactions that no request was answered from, and list the first `limit` of them.

        Args:
            limit: How many are listed.
            usable: Tells whether a recorded request could be answered at all; the others do not count.
        """
        with self._lock:
            left = self._left(usable)
            shown = tuple(
                UnusedInteraction(
                    number + 1,
                    self._reader.line(number),
                    _shown(self._reader.match_key(number).label),
                )
                for number in left[:limit]
            )
        return len(left), shown

    def _left(self, usable: Callable[[Request], bool] | None) -> list[int]:
        if self._settings.mode == "online":
            return []
        left = sorted(
            number
            for key, numbers in self._reader.keys().items()
            for number in numbers[max(self._uses.get(key), self._reached.get(key, 0)) :]
        )
        if usable is not None and len(left) <= _MOST_JUDGED:
            left = [number for number in left if usable(self._reader.request(number))]
        return left

    def save_usage(self, environ: Mapping[str, str], usable: Callable[[Request], bool] | None) -> None:
        """Note for `ringback cassettes prune` what was not used; `usable` as for `unused`."""
        with self._lock:
            if self._settings.mode != "online" and len(self._reader):
                unused = [number + 1 for number in self._left(usable)]
                files.save_usage(self._reader.path, unused, environ)

    def count_unanswered(self, request: Request, *, waits: bool = True) -> None:
        """Note that `request` has no live answer: what `online` records lacks it.

        Args:
            request: The request.
            waits: False if it has one, and with it all that are equal to it; or can never have any.
        """
        key = self._waiting_key(request, keep=waits)
        with self._lock:
            if waits:
                self._unanswered[key] += 1
            else:
                self._unanswered.pop(key, None)

    def _waiting_key(self, request: Request, *, keep: bool) -> str:
        """Return what `request` is counted by; `keep` it for the second call with the same one."""
        with self._lock:
            known = self._waiting_keys.pop(id(request), None)
        if known is None or known[0] is not request:
            known = request, matching.plain_key(request).without(self._settings.ignored).digest
        if keep and not is_large(request):
            with self._lock:
                self._waiting_keys[id(request)] = known
                if len(self._waiting_keys) > _MOST_WAITING:  # those whose answer never came
                    del self._waiting_keys[next(iter(self._waiting_keys))]
        return known[1]

    @property
    def unanswered(self) -> int:
        """The number of requests that have no live answer that could be recorded."""
        with self._lock:
            return self._unanswered.total()

    def close(self, partial: str = "") -> None:
        """Give the files back, and an `online` recording the cassette's name; all futures must be done.

        Args:
            partial: Why the recording may not have all that the old cassette has, so that this one keeps its
                name; empty if it has. A request without a live answer or an interaction that could not be
                recorded is reason enough.

        Raises:
            RecordingError: The recording could not take the cassette's name.
        """
        if not partial and self.unanswered:
            partial = f"{many(self.unanswered, 'request')} had no live answer"
        elif not partial and self.failed:
            partial = f"{many(self.failed, 'interaction')} could not be recorded"
        try:
            if isinstance(self._file, RerecordedFile):
                self.put_aside = self._file.finish(self.recorded, partial)
        finally:
            self._file.close()
            self._reader.close()

    # --- opening ---

    def _open(self) -> None:
        asked = self._redaction
        try:
            with_its_key = with_key(asked, self._settings.fetch_key()) if asked.fields else asked
            self._reader.open(with_its_key, self._settings.ignored)
        except OSError as error:
            raise reading_error(self._reader.path, error) from error
        known = self._reader.metadata.get("ringback")
        if not isinstance(known, dict) or not len(self._reader):
            return
        fields, wanted = redacted_fields(known)
        if asked.fields and asked.names != Redaction(fields).names and self._settings.mode == "auto":
            recorded = f"--redact {','.join(fields)}" if fields else "no --redact"
            wish = f"--redact {','.join(asked.fields)}"
            raise RedactionError(
                f"{self._reader.path} was recorded with {recorded}, asked for is {wish}: change "
                f"it with `ringback cassettes redact {self.name} {wish}`, or record afresh with --mode online"
            )
        self._redaction = Redaction(fields, b"", asked.secrets)
        if fields:
            self._redaction = with_key(self._redaction, self._settings.fetch_key())
            check_key(self._reader.path, wanted, self._redaction.key)

    def _inherit(self, source: Path) -> MatchIgnore:
        """Redact what the cassette that is recorded afresh has redacted; return its match-ignore rules."""
        old = CassetteReader(source)
        try:
            old.open(Redaction())
        except (CassetteError, OSError):
            return MatchIgnore()  # it is replaced, or put aside, whatever is in it
        finally:
            old.close()
        fields, _ = redacted_fields(known_of(old.metadata))
        asked = self._redaction
        self._redaction = Redaction((*asked.fields, *fields), asked.key, asked.secrets)
        return match_ignore_of(old.metadata)

    def _report_torn(self) -> None:
        if self._settings.mode == "auto":
            try:
                self._file.repair()
            except CassetteError as error:
                self._settings.report(str(error))
            else:
                return
        done = "passed over; `ringback cassettes verify --repair` cuts it"
        self._settings.report(layout.torn_message(self._reader.path, self._reader.torn, len(self), done))

    # --- misses ---

    def _miss(self, redact: Callable[[], RedactedExchange], recorded: int) -> Miss:
        def find(asked: MatchKey) -> Nearest | None:
            with self._lock:
                return self._nearest(asked)

        return Miss(
            self.name, self._reader.path, recorded, len(self._reader), self._reader.ignored, redact, find
        )

    def _nearest(self, asked: MatchKey) -> Nearest | None:
        found = nearest_of(asked, self._reader.likely(asked))
        if found is None:
            return None
        number, recorded = found
        digest = bytes.fromhex(recorded.digest)
        return Nearest(
            number=number + 1,
            line=self._reader.line(number),
            used=number in self._reader.numbers(digest)[: self._uses.get(digest)],
            key=recorded,
            differences=matching.differences(asked, recorded),
        )

    # --- what the recorder reports, from its thread ---

    def _take_in(self, inode: int, batch: Sequence[WrittenInteraction]) -> Sequence[str]:
        """Make what was appended known to `lookup`; returns the names of the interactions."""
        with self._lock:
            self.recorded += len(batch)
            total = self.recorded
            if self._settings.mode != "online":
                for one in batch:  # who recorded it has had its answer
                    digest = bytes.fromhex(one.key.without(self._reader.ignored).digest)
                    self._uses.take(digest)
                if self._reader.is_same_file(inode):
                    for one in batch:
                        self._reader.add(one.key, one.start, one.size, one.checksum)
                else:
                    self._reader.close()
                    self._reader = CassetteReader(self.path)
                    self._reader.open(self._redaction, self._settings.ignored)
                total = len(self._reader)
        return [f"{self.name}#{total - len(batch) + place}" for place in range(1, len(batch) + 1)]

    def _count_failure(self, error: Exception) -> None:
        with self._lock:
            self.failed += 1
            message = str(error) if isinstance(error, CassetteError) else f"not recorded: {error!r}"
            new = message not in self._reported and len(self._reported) < _MOST_REPORTED
            self._reported.add(message)
        if new:
            self._settings.report(message)


def _shown(label: str) -> str:
    printable = "".join(char if char.isprintable() else "?" for char in label)
    return printable if len(printable) <= _LONGEST_LABEL else printable[: _LONGEST_LABEL - 3] + "..."


_WRITERS: Final = 8  # threads that wait for fsync, for all cassettes together


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _ignore(_line: str) -> None:
    """Discard the message."""


class CassetteDirectory:
    """Cassettes in a directory, used in one mode. Thread-safe; a context manager that closes itself.

    Args:
        directory: Where they are; made with the first interaction.
        mode: `offline` replays, `auto` adds what is new, `online` records afresh.
        repeats: After its last interaction a request gets that one again (`last`), or misses (`error`).
        ignored: Fields that do not count when requests are compared.
        max_age: Days after which an interaction counts as old; 0 for never.
        redact: Form fields whose values get pseudonyms; a cassette that exists already keeps its own.
        secrets: Values to search for besides each request's own credentials, such as a configured token.
        environ: The environment variables, for RINGBACK_REDACT_KEY.
        report: Called, from any thread, with each line that the user should see.
        clock: Gives the time that is noted with an interaction, in UTC.
        remote: The store whose local copies `directory` has; what is recorded goes there too.
        uses: Gives the places of replay of a cassette.
    """

    def __init__(  # noqa: PLR0913 - they are options, all named, all with a default
        self,
        directory: Path,
        *,
        mode: Mode = "offline",
        repeats: Repeats = "last",
        ignored: MatchIgnore | None = None,
        max_age: int = 0,
        redact: Iterable[str] = (),
        secrets: Iterable[str] = (),
        environ: Mapping[str, str] = os.environ,
        report: Callable[[str], None] = _ignore,
        clock: Callable[[], datetime] = _utc_now,
        remote: RemoteCassettes | None = None,
        uses: Callable[[str], Uses] = lambda _name: Uses(),
    ) -> None:
        self.directory = directory
        self.mode = mode
        self._lock = threading.Lock()
        self._key: bytes | None = None
        self._environ = environ
        self._cassettes: dict[str, Cassette] = {}
        self._executor = ThreadPoolExecutor(_WRITERS, thread_name_prefix="ringback-cassettes")
        self._settings = CassetteSettings(
            directory=directory,
            mode=mode,
            repeats=repeats,
            ignored=ignored or MatchIgnore(),
            max_age=max_age,
            redaction=Redaction(tuple(redact), b"", frozenset(secrets)),
            fetch_key=self._fetch_key,
            clock=clock,
            report=report,
            remote=remote,
            uses=uses,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def opened(self) -> tuple[Cassette, ...]:
        """All cassettes so far, in the order in which they began."""
        with self._lock:
            return tuple(self._cassettes.values())

    def open(self, name: str = files.DEFAULT_NAME, path: Path | None = None) -> Cassette:
        """Return the cassette `name`: opened by the first call, the same ever after.

        Args:
            name: Its name.
            path: Its file, or None for the one of that name in the directory.

        Raises:
            CassetteNameError: The name is no slug.
            CassetteFormatError: The file is no cassette, or cannot be read.
            RedactionError: The cassette was redacted otherwise, or with another key.
        """
        files.check_name(name)
        with self._lock:
            known = self._cassettes.get(name)
            if known is None:
                known = self._cassettes[name] = Cassette(name, self._settings, self._executor, path)
            return known

    def close(self, partial: str = "") -> tuple[CassetteError, ...]:
        """Wait for what is being written, finish `online` recordings, give all files back.

        Args:
            partial: Why recordings may not be whole, so that old cassettes keep their names.

        Returns:
            What went wrong; each was reported already.
        """
        self._executor.shutdown(wait=True)
        wrong: list[CassetteError] = []
        for cassette in self.opened:
            try:
                cassette.close(partial)
            except CassetteError as error:
                self._settings.report(str(error))
                wrong.append(error)
        return tuple(wrong)

    def _fetch_key(self) -> bytes:
        if self._key is None:
            self._key = pseudonyms.load_key(self._environ)
        return self._key
