"""Cassettes in an object store or behind a web address, kept as a local copy.

An object store has two kinds of objects for the cassette `NAME`::

    NAME.yaml                       one vcrpy file, as a directory would have it
    NAME.segments/TIME-RANDOM.yaml  what one recorder appended at once: a whole vcrpy file too

A recorder writes a new segment for each batch of interactions and never touches another object, so two
recorders cannot lose one another's. A reader puts `NAME.yaml` and the segments together, in the order of
their names. `compact` makes one `NAME.yaml` of them: its metadata lists the segments that it contains, so a
reader that sees both counts nothing twice.

A recording afresh (`online`) writes segments named `run-ID-…`. They do not count until `run-ID.done` is
there, which lists what they replace.

A thread looks at the store every ten seconds. Answers come from the local copies and wait for nothing, except
for the first look at a name behind `https://`, where there is no list of names.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import platformdirs

from ringback.cassettes import layout, matching, store, vcr_format
from ringback.cassettes.files import SUFFIX, CassetteError, RecordingError, RedactionError, is_name
from ringback.cassettes.object_store import Bucket, GoneError, RemoteError, StoredObject
from ringback.cassettes.redaction import Redaction, known_of, redacted_fields
from ringback.cassettes.store import CassetteFile, RerecordedFile
from ringback.net import write_atomically
from ringback.tally import many

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from ringback.cassettes.store import WriteOptions

REFRESH: Final = 10.0  # seconds between two looks at the store
COMPACTED: Final = "compacted"  # key of the metadata: the segments that a file contains
MOST_COMPACTED: Final = 1000  # segments of one round of `compact`, whose names the file's metadata lists

_SEGMENTS: Final = ".segments/"
_RUN: Final = "run-"
_DONE: Final = ".done"
_RUN_ID: Final = 16  # characters
_TRIES: Final = 5  # of a look at objects that change meanwhile
_LISTING: Final = "listing.json"
_AT_ONCE: Final = 16  # objects that are fetched at the same time
_HEAD: Final = 256 * 1024  # bytes that a file's metadata has at most


class RemoteCassettes:
    """The cassettes at a URL, and their local copies. Thread-safe.

    Args:
        url: The address, as `check_url` lets it pass.
        report: Takes sentences for people, from any thread.
        refresh: Seconds between two looks at the store; 0 looks only when `pull` is called.
        cache: Where objects are kept from one start to the next; the user's cache directory by default.
        environ: The environment variables.

    Attributes:
        directory: The local copies, of this process alone; removed by `close`.
        read_only: True where nothing can be recorded.

    Raises:
        RemoteError: The extra is not installed, or the URL cannot be used.
    """

    def __init__(
        self,
        url: str,
        *,
        report: Callable[[str], None] = lambda _: None,
        refresh: float = REFRESH,
        cache: Path | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self.url = url
        self.read_only = urlsplit(url).scheme in {"http", "https"}
        self._report = report
        self._refresh = refresh
        self._cache = (cache or _cache_directory()) / hashlib.sha256(url.encode()).hexdigest()[:32]
        self._bucket = Bucket(url, environ)
        self.directory = Path(tempfile.mkdtemp(prefix="ringback-cassettes-"))
        self._guard = threading.Lock()  # of `_locks`
        self._locks: dict[
            str, threading.Lock
        ] = {}  # of a cassette's local copy, and of what follows, by name
        self._composed: dict[str, frozenset[StoredObject]] = {}
        self._versions: dict[str, int] = {}
        self._written: dict[str, dict[StoredObject, float]] = {}  # own segments, and when each was written
        self._asked: set[str] = set()  # names, where the store cannot list
        self._reported: set[str] = set()
        self._away = ""
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    # -- life

    def start(self, recording: bool = False) -> None:
        """Take the copies, and keep them fresh from now on.

        A store that is away is reported, and what was copied before is used.

        Args:
            recording: Whether something is to be recorded.

        Raises:
            RemoteError: The store is away, and nothing was copied before; or it can only be read.
        """
        if recording and self.read_only:
            raise RemoteError(
                f"{self.url} can only be read: use --mode offline, or record into s3://, gs:// or az://"
            )
        try:
            self.pull()
        except RemoteError as error:
            if self.read_only or not self._from_cache():
                raise
            self._away = str(error)
            self._report(f"{error}; the copies of an earlier run are used")
        if self._refresh:
            self._thread = threading.Thread(target=self._keep_fresh, name="ringback-remote", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Stop looking at the store, and remove the local copies."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        shutil.rmtree(self.directory, ignore_errors=True)

    def _keep_fresh(self) -> None:
        while not self._stop.wait(self._refresh):
            try:
                self.pull()
            except (CassetteError, OSError) as error:
                if str(error) != self._away:
                    self._report(f"{error}; the local copies answer meanwhile")
                self._away = str(error)
            else:
                if self._away:
                    self._report(f"{self.url}: reached again")
                self._away = ""

    # -- reading

    def version(self, name: str) -> int:
        """Return a number that changes with the local copy of the cassette `name`; 0 if there is none.

        The first question for a name behind `https://` waits for the server.
        """
        if self.read_only and name not in self._asked and is_name(name):
            self._asked.add(name)
            try:
                self.pull((name,))
            except CassetteError as error:
                self._report(str(error))
        return self._versions.get(name, 0)

    def pull(self, names: Iterable[str] | None = None) -> None:
        """Make the local copies agree with the store.

        Args:
            names: Cassettes; None for all.

        Raises:
            RemoteError: The store is away, or says no.
            CassetteError: An object is no cassette.
        """
        if self.read_only:
            for name in sorted(self._asked if names is None else names):
                self._pull_file(name)
            return
        for _ in range(_TRIES):
            if self._stop.is_set():
                return
            began = monotonic()
            found = self.objects()
            self._keep(_LISTING, _listing(one for objects in found.values() for one in objects))
            try:
                for name in {*found, *self._composed} if names is None else names:
                    if self._stop.is_set():
                        return
                    self._take(name, found.get(name, frozenset()), began)
            except _ChangedError:
                continue
            return
        raise RemoteError(f"{self.url}: its objects change faster than they can be read")

    def _take(self, name: str, objects: frozenset[StoredObject], began: float) -> None:
        """Make the local copy of `objects`, and of what was written here since the look that `began`."""
        if objects == self._composed.get(name, frozenset()):
            return
        contents = self._contents(objects)
        with self._lock(name):
            written = self._written.get(name, {})
            self._written[name] = {one: when for one, when in written.items() if when >= began}
            contents |= self._contents(self._written[name])
            try:
                made = compose(name, contents)
            except CassetteError:  # of NAME.yaml itself: whoever opens it hears what is wrong
                base = next(data for one, data in contents.items() if one.path == f"{name}{SUFFIX}")
                made = Composition([base], frozenset(), {}, frozenset())
            self._install(name, made.parts)
            self._composed[name] = frozenset(contents)
        for path, why in made.left.items():
            if path not in self._reported:
                self._reported.add(path)
                self._report(f"{self.url}/{path}: left out, {why}")

    def _lock(self, name: str) -> threading.Lock:
        with self._guard:
            return self._locks.setdefault(name, threading.Lock())

    def _install(self, name: str, parts: Sequence[bytes]) -> None:
        path = self.directory / f"{name}{SUFFIX}"
        if parts:
            os.close(store.write_whole(path, parts, overwrite=True))
        else:
            path.unlink(missing_ok=True)
        self._versions[name] = self._versions.get(name, 0) + 1

    def _pull_file(self, name: str) -> None:
        """Ask a web server for one file, unless it is the one that is here."""
        path = f"{name}{SUFFIX}"
        known = next(iter(self._composed.get(name, ())), None) or self._kept(path)
        try:
            got = self._bucket.get(path, known.etag if known else None)
        except GoneError:
            if self._composed.pop(name, None):
                self._install(name, ())
            return
        except RemoteError:
            if known is not None and name not in self._composed:  # of an earlier run
                self._install(name, [self._content(known)])
                self._composed[name] = frozenset({known})
            raise
        if got is None and known in self._composed.get(name, ()):
            return
        if got is None:
            assert known is not None, "the server was asked about an ETag"
            one, data = known, self._content(known)
        else:
            data, etag = got
            one = StoredObject(path, etag)
            self._keep(_cached(one), data)
            self._keep(f"{name}.etag", etag.encode())
        with self._lock(name):
            self._install(name, [data])
            self._composed[name] = frozenset({one})

    def _kept(self, path: str) -> StoredObject | None:
        """Return the file of an earlier run, if it is there."""
        try:
            one = StoredObject(path, (self._cache / f"{path.removesuffix(SUFFIX)}.etag").read_text())
        except OSError:
            return None
        return one if (self._cache / _cached(one)).is_file() else None

    def objects(self) -> dict[str, frozenset[StoredObject]]:
        """List the objects of each cassette.

        Raises:
            RemoteError: The store is away, or says no.
        """
        found: dict[str, set[StoredObject]] = {}
        for one in self._bucket.list():
            name = _name_of(one.path)
            if name:
                found.setdefault(name, set()).add(one)
        return {name: frozenset(objects) for name, objects in found.items()}

    def _contents(self, objects: Collection[StoredObject]) -> dict[StoredObject, bytes]:
        """Return the bytes of objects; those that are not here are fetched, several at once."""
        found = {one: self._copy(one) for one in objects}
        missing = [one for one, data in found.items() if data is None]
        if len(missing) > 1:
            with ThreadPoolExecutor(_AT_ONCE, "ringback-fetch") as pool:
                found.update(zip(missing, pool.map(self._content, missing), strict=True))
        else:
            found.update((one, self._content(one)) for one in missing)
        return {one: data for one, data in found.items() if data is not None}

    def _copy(self, one: StoredObject) -> bytes | None:
        """Return the local copy of an object with its ETag, if there is one."""
        with suppress(OSError):
            return (self._cache / _cached(one)).read_bytes()
        return None

    def _content(self, one: StoredObject) -> bytes:
        """Return an object's bytes, from the local copy if its ETag is the same."""
        copy = self._copy(one)
        if copy is not None:
            return copy
        if self._stop.is_set():
            raise _ChangedError
        try:
            got = self._bucket.get(one.path)
        except GoneError:
            raise _ChangedError from None
        assert got is not None, "no ETag was given"
        data, etag = got
        if etag != one.etag:
            raise _ChangedError
        self._keep(_cached(one), data)
        return data

    def _keep(self, name: str, data: bytes) -> None:
        """Keep a copy for the next start; without a cache directory that can be written, there is none."""
        with suppress(OSError):
            self._cache.mkdir(parents=True, exist_ok=True)
            write_atomically(self._cache / name, data)

    def _from_cache(self) -> bool:
        """Compose what an earlier run copied; False if there is nothing, or not all of it."""
        try:
            listing = json.loads((self._cache / _LISTING).read_text())
            found: dict[str, set[StoredObject]] = {}
            for path, etag in listing:
                found.setdefault(_name_of(path), set()).add(StoredObject(path, etag))
            for name, objects in found.items():
                self._take(name, frozenset(objects), monotonic())
        except (OSError, ValueError, CassetteError, _ChangedError):
            return False
        return bool(self._composed)

    # -- recording

    def publish(
        self, name: str, metadata: dict[str, Any], new: Sequence[bytes], run: str = ""
    ) -> StoredObject:
        """Write a segment with the entries `new`; it lasts when this returns.

        Args:
            name: The cassette.
            metadata: The segment's metadata.
            new: The entries.
            run: The recording afresh that it belongs to, or an empty string.

        Raises:
            RecordingError: The store is away, or says no.
        """
        moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        began = f"run-{run}-" if run else ""
        path = f"{name}{_SEGMENTS}{began}{moment}-{os.urandom(4).hex()}{SUFFIX}"
        data = b"".join([layout.head(metadata), *new])
        try:
            written = StoredObject(path, self._bucket.put(path, data))
        except RemoteError as error:
            raise RecordingError(Path(f"{name}{SUFFIX}"), str(error)) from None
        if not run:
            self._keep(_cached(written), data)
        return written

    def append(self, file: RemoteFile, name: str, new: Sequence[bytes]) -> tuple[int, list[int]]:
        """Publish entries, and append them to the local copy; see `CassetteFile.append`."""
        with self._lock(name):  # or a look at the store could take them in before they are appended
            theirs = _metadata_of(self.directory / f"{name}{SUFFIX}")
            ours = redacted_fields(known_of(file.metadata))
            if theirs is not None and redacted_fields(known_of(theirs)) != ours:
                raise RedactionError(
                    f"not recorded in {self.url}/{name}: it has other fields for --redact, or another key"
                )
            written = self.publish(name, file.metadata, new)
            self._written.setdefault(name, {})[written] = monotonic()
            self._composed[name] = self._composed.get(name, frozenset()) | {written}
            return file.append_locally(new)

    def finish(self, name: str, run: str, replaced: frozenset[StoredObject]) -> None:
        """Let the recording `run` of `name` count, in the place of `replaced`.

        Raises:
            RecordingError: The store is away, or says no.
        """
        path = f"{name}{_SEGMENTS}run-{run}{_DONE}"
        try:
            self._bucket.put(path, _listing(replaced))
        except RemoteError as error:
            raise RecordingError(Path(f"{name}{SUFFIX}"), str(error)) from None

    def known(self, name: str) -> frozenset[StoredObject]:
        """Return the objects of `name` at the last look at the store."""
        return self._composed.get(name, frozenset())

    # -- compacting

    def compact(self, name: str, *, unended: bool = False) -> tuple[int, int, int]:
        """Make one object of all objects of the cassette `name`, and remove the segments.

        Args:
            name: The cassette.
            unended: Take in recordings afresh that have not ended: they were interrupted.

        Returns:
            The number of interactions, of segments that were taken in, and of those that are left because
            their recording afresh has not ended.

        Raises:
            RemoteError: There is no such cassette, the store is away or says no, or somebody else compacts
                it at this moment.
            CassetteError: An object is no cassette, or a segment has other pseudonyms than the rest.
        """
        taken = 0
        while True:
            objects, made = self.composition(name, unended=unended, compacting=True)
            for path, why in made.left.items():
                before = f"{many(taken, 'segment')} taken in before it" if taken else "nothing was changed"
                raise CassetteError(f"{self.url}/{path}: {why}; {before}")
            data = b"".join(made.parts)
            base = next((one for one in objects if one.path == f"{name}{SUFFIX}"), None)
            if made.taken:
                if data:
                    self._bucket.replace(f"{name}{SUFFIX}", data, base.etag if base else None)
                # The lists of what is replaced go last: without them, what is left of it would count again.
                lists = {path for path in made.taken if path.endswith(_DONE)}
                self._bucket.delete(sorted(made.taken - lists))
                self._bucket.delete(sorted(lists))
                taken += len(made.taken) - len(lists)
            if not made.more:
                return _count(data), taken, len(made.running)

    def composition(
        self, name: str, *, unended: bool = False, compacting: bool = False
    ) -> tuple[frozenset[StoredObject], Composition]:
        """Return the objects of the cassette `name`, and what they make together; see `compose`.

        Raises:
            RemoteError: There is no such cassette, or the store is away.
            CassetteError: An object is no cassette.
        """
        for _ in range(_TRIES):
            base = self._bucket.find(f"{name}{SUFFIX}")
            found = {one for one in self._bucket.list(f"{name}.segments") if _name_of(one.path) == name}
            if self._bucket.find(f"{name}{SUFFIX}") != base:
                continue  # somebody has compacted it meanwhile
            objects = frozenset(found | ({base} if base else set()))
            if not objects:
                raise RemoteError(f"{self.url} has no cassette {name!r}")
            with suppress(_ChangedError):
                contents = self._contents(objects)
                return objects, compose(name, contents, unended=unended, compacting=compacting)
        raise RemoteError(f"{self.url}/{name}: its objects change faster than they can be read")


class RemoteFile(CassetteFile):
    """Appends to a cassette of the store: a segment there first, then the local copy.

    Args:
        remote: The store.
        name: The cassette.
        path: The local copy.
        options: How segments and the copy are written.
    """

    def __init__(self, remote: RemoteCassettes, name: str, path: Path, options: WriteOptions) -> None:
        super().__init__(path, options)
        self._remote = remote
        self._name = name

    def append(self, new: Sequence[bytes]) -> tuple[int, list[int]]:
        """As `CassetteFile.append`; RecordingError also where the store is away."""
        return self._remote.append(self, self._name, new)

    def append_locally(self, new: Sequence[bytes]) -> tuple[int, list[int]]:
        """Append to the local copy alone."""
        return super().append(new)


class RemoteRerecordedFile(RerecordedFile):
    """Records a cassette of the store afresh; arguments as for `RemoteFile`."""

    def __init__(self, remote: RemoteCassettes, name: str, path: Path, options: WriteOptions) -> None:
        super().__init__(path, options)
        self._remote = remote
        self._name = name
        self._run = os.urandom(8).hex()
        self._replaced = remote.known(name)

    def append(self, new: Sequence[bytes]) -> tuple[int, list[int]]:
        """Write a segment that does not count yet; the offsets mean nothing, as nothing is read back."""
        self._remote.publish(self._name, self.metadata, new, self._run)
        return 0, [0] * len(new)

    def finish(self, recorded: int, partial: str = "") -> str:
        """As `RerecordedFile.finish`; a recording that may lack something is added to the old one."""
        if not recorded:
            return ""
        where = f"{self._remote.url}/{self._name}"
        self._remote.finish(self._name, self._run, frozenset() if partial else self._replaced)
        if partial and self._replaced:
            self.report(f"{where}: the old interactions stay beside {recorded} new ones, because {partial}")
        elif self._replaced:
            self.report(f"{where}: recorded afresh, {many(recorded, 'interaction')}")
        return ""


class _ChangedError(Exception):
    """An object is not any more what a listing said: look again."""


# -- putting objects together


@dataclass(frozen=True)
class Composition:
    """One file of all objects of a cassette.

    Attributes:
        parts: The file's bytes, in parts; empty if the objects have no interaction.
        taken: The segments that are in it, or that a recording afresh has replaced.
        left: The segments that are not, each with the reason; not those of recordings that go on.
        running: The segments of recordings afresh that have not ended.
        more: Whether compacting has left segments for another round.
    """

    parts: list[bytes]
    taken: frozenset[str]
    left: dict[str, str]
    running: frozenset[str]
    more: bool = False


def compose(
    name: str, contents: Mapping[StoredObject, bytes], *, unended: bool = False, compacting: bool = False
) -> Composition:
    """Put the objects of the cassette `name` together.

    Args:
        name: The cassette.
        contents: The bytes of its objects.
        unended: Whether recordings afresh that have not ended count.
        compacting: Whether the file is to list the segments that it contains; not more than fit in its head.

    Raises:
        CassetteError: An object is no cassette.
    """
    base_path = f"{name}{SUFFIX}"
    found = _sort(base_path, contents, unended)
    base, segments, taken = found.base, sorted(found.segments), set[str]()
    more = compacting and len(segments) > MOST_COMPACTED
    if more:
        del segments[MOST_COMPACTED:]
    if base is not None and not segments and not compacting:
        return Composition([base], found.replaced, {}, found.running)
    metadata, parts = _items(name, base_path, base) if base is not None else (None, [])
    contained = frozenset(known_of(metadata or {}).get(COMPACTED) or ())
    left: dict[str, str] = {}
    for _, path, data in segments:
        if path in contained:
            taken.add(path)
            continue
        try:
            theirs, items = _items(name, path, data)
        except CassetteError as error:
            left[path] = str(error)
            continue
        if metadata is None:
            metadata = theirs
        if redacted_fields(known_of(theirs)) != redacted_fields(known_of(metadata)):
            left[path] = f"it has other fields for --redact, or another key, than cassette {name}"
            continue
        taken.add(path)
        parts += items
    gone = frozenset(taken if more else taken | found.replaced)
    if metadata is None:
        return Composition([], gone, left, found.running, more)
    known = {key: value for key, value in known_of(metadata).items() if key != COMPACTED}
    if compacting and taken:
        known[COMPACTED] = sorted(taken)
    head = layout.head({**metadata, "ringback": known})
    return Composition([head, *parts], gone, left, found.running, more)


@dataclass(frozen=True)
class _Sorted:
    base: bytes | None
    segments: list[tuple[str, str, bytes]]  # moment, path and content
    replaced: frozenset[str]
    running: frozenset[str]


def _sort(base_path: str, contents: Mapping[StoredObject, bytes], unended: bool) -> _Sorted:
    """Sort the objects of a cassette by what becomes of them; arguments as for `compose`."""
    ended = {_run_of(one.path) for one in contents if one.path.endswith(_DONE)}
    replaced = _replaced(contents)
    base: bytes | None = None
    segments: list[tuple[str, str, bytes]] = []
    gone, running = set[str](), set[str]()
    for one, data in contents.items():
        run = _run_of(one.path)
        if one in replaced or one.path.endswith(_DONE):
            gone.add(one.path)
        elif one.path == base_path:
            base = data
        elif run and run not in ended and not unended:
            running.add(one.path)
        else:
            segments.append((_moment(one.path), one.path, data))
    return _Sorted(base, segments, frozenset(gone - {base_path}), frozenset(running))


def _items(name: str, path: str, data: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """Return an object's metadata, and its interactions as entries of our layout, with current keys."""
    try:
        index = layout.scan(data)
    except layout.DamageError as error:
        raise CassetteError(f"{path} of cassette {name} is damaged: {error}") from None
    except layout.ForeignLayoutError:
        try:
            found, metadata = vcr_format.load_foreign(data.decode("utf-8", "replace"))
        except vcr_format.InteractionError as error:
            raise CassetteError(f"{path} of cassette {name} is no cassette: {error}") from None
        return metadata, layout.entries(found, Redaction())
    if not layout.is_current(index.metadata):
        _, *parts = layout.upgraded(data, index)
        known = {**known_of(index.metadata), "matching": matching.MATCHING_VERSION}
        return {**index.metadata, "ringback": known}, parts
    _, start = layout.read_head(data)
    end = data[start : index.end]
    return index.metadata, [end if not end or end.endswith(b"\n") else end + b"\n"]


def _replaced(contents: Mapping[StoredObject, bytes]) -> frozenset[StoredObject]:
    """Return what recordings afresh have replaced; a list that cannot be read replaces nothing."""
    found = set[StoredObject]()
    for one, data in contents.items():
        if one.path.endswith(_DONE):
            with suppress(ValueError, TypeError):
                found.update([StoredObject(path, etag) for path, etag in json.loads(data)])
    return frozenset(found)


def _run_of(path: str) -> str:
    """Return the id of the recording afresh that an object belongs to, or an empty string."""
    file = path.rpartition(_SEGMENTS)[2]
    return file[len(_RUN) : len(_RUN) + _RUN_ID] if _SEGMENTS in path and file.startswith(_RUN) else ""


def _listing(objects: Iterable[StoredObject]) -> bytes:
    return json.dumps(sorted([one.path, one.etag] for one in objects)).encode()


def _cached(one: StoredObject) -> str:
    """Return the name of an object's copy in the cache."""
    return hashlib.sha256(f"{one.path}\0{one.etag}".encode()).hexdigest()


def _moment(path: str) -> str:
    """Return the part of a segment's path that orders it: its time, and what is random."""
    file = path.rpartition(_SEGMENTS)[2]
    return file[len(_RUN) + _RUN_ID + 1 :] if _run_of(path) else file


def _name_of(path: str) -> str:
    """Return the cassette that an object belongs to, or an empty string."""
    name, found, rest = path.partition(_SEGMENTS)
    if found:
        return name if is_name(name) and "/" not in rest and rest.endswith((SUFFIX, _DONE)) else ""
    name = path.removesuffix(SUFFIX)
    return name if name != path and is_name(name) else ""


def _metadata_of(path: Path) -> dict[str, Any] | None:
    """Return the metadata of the local copy at `path`; None if there is none."""
    try:
        with path.open("rb") as file:
            data = file.read(_HEAD)
    except FileNotFoundError:
        return None
    try:
        return layout.read_head(data)[0]
    except layout.ForeignLayoutError:
        return {}


def _count(data: bytes) -> int:
    """Count the interactions of a file."""
    try:
        return len(layout.scan(data)) if data else 0
    except layout.ForeignLayoutError:
        return len(vcr_format.load_foreign(data.decode("utf-8", "replace"))[0])


def _cache_directory() -> Path:
    return Path(platformdirs.user_cache_dir("ringback")) / "cassettes"
