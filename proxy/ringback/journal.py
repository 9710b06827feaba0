"""The journal: every answered Twilio request of this process, in memory, without secrets.

Adding costs little, because most entries are never looked at: an `Entry` holds what came and went as it was,
and is taken apart (`records.py`) when somebody asks. Secrets are removed before anything is kept.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import time
from collections import deque
from contextlib import suppress
from dataclasses import fields, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote, unquote_to_bytes, urlencode

import msgspec

from ringback.contract.form import FormError, parse
from ringback.exchange import Headers, basic_auth, first_header, spellings
from ringback.records import DEFAULT_SESSION, ENTRY_OVERHEAD, Callback, Entry, Filter, Record, written_time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path
    from typing import TextIO

    from ringback.exchange import Answer, Request

CAPACITY: Final = 10_000  # entries
MAX_BYTES: Final = 64 * 1024 * 1024  # of all entries, about
HIDDEN: Final = "[hidden]"

_CALLBACKS: Final = 2_000  # status callbacks kept
_DRIFTED: Final = 2_000  # live answers whose differences are kept
_AT_ONCE: Final = 10  # entries that are taken apart before others have their turn
_HEADS: Final = 256  # heads of requests that are remembered, and targets for each
_LONG_TARGET: Final = 512  # characters; longer ones are not remembered
_MAX_BODY: Final = 64 * 1024  # bytes kept of one request or answer
# Header fields whose values are kept; of the others only the name is, because any of them may hold a secret.
_SHOWN: Final = frozenset(
    {
        "accept",
        "accept-charset",
        "accept-encoding",
        "accept-language",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "transfer-encoding",
        "user-agent",
        "x-twilio-client",
    }
)
_FOREIGN: Final = frozenset({"live", "cassette"})
_SECRET_FIELDS: Final = frozenset({"set-cookie", "www-authenticate"})
_UNRESERVED: Final = re.compile(rb"[A-Za-z0-9._~-]+")
# Letters, digits and `-._~` in percent encoding, which they do not need.
_NEEDLESS: Final = re.compile(r"%(?:3[0-9]|[46][1-9A-Fa-f]|[57][0-9Aa]|2[DdEe]|5[Ff]|7[Ee])")


class Journal:
    """The last answered requests.

    Args:
        capacity: How many are kept; 0 keeps none.
        max_bytes: How many bytes they may take together, about.
        hidden: Secrets of this proxy that must never be kept, such as its password.
        file: Every record is written here too, as JSON lines, each flushed.

    Attributes:
        instance: A random name of this process's journal: its numbers begin again when it is another one.
        last: The number of the newest entry ever, or 0.
        listeners: Called with each new entry, at once, and with None when entries were dropped by `clear`;
            must not raise.
        share: Called with the kind and the bytes of what other replicas are to know, or None.
        callback_listeners: Called with each status callback, at once; must not raise.
        drift: What live answers have that the documentation does not say, by the number of the request.
        drift_listeners: Called with the number of a live answer that has such a difference; must not raise.
    """

    def __init__(
        self,
        capacity: int = CAPACITY,
        *,
        max_bytes: int = MAX_BYTES,
        hidden: tuple[str, ...] = (),
        file: TextIO | None = None,
    ) -> None:
        self.capacity = capacity
        self.instance = secrets.token_hex(8)
        self.last = 0
        self.listeners: set[Callable[[Entry | None], None]] = set()
        self.share: Callable[[str, bytes], None] | None = None
        self.callback_listeners: set[Callable[[Callback], None]] = set()
        self.drift: dict[int, list[dict[str, str]]] = {}
        self.drift_listeners: set[Callable[[int], None]] = set()
        self._entries: deque[Entry] = deque()
        self._callbacks: deque[Callback] = deque(maxlen=_CALLBACKS)
        self._last_callback = 0
        self._bytes = 0
        self._max_bytes = max_bytes
        self._hidden: tuple[bytes, ...] = ()
        self._heads: dict[int, _Head] = {}
        self._taken: tuple[Entry, Record] | None = None
        self._file = file
        self.hide(*hidden)

    def __len__(self) -> int:
        return len(self._entries)

    def write_to(self, path: Path) -> None:
        """Write every record to `path` too, from now on.

        Raises:
            OSError: The file cannot be opened.
        """
        self._file = path.open("w", encoding="utf-8")

    def hide(self, *hidden: str) -> None:
        """Keep none of these secrets either, from now on."""
        self._hidden = tuple(needle for secret in hidden for needle in _needles(secret))
        self._heads.clear()

    def __iter__(self) -> Iterator[Entry]:
        """Iterate over the entries, oldest first."""
        return iter(tuple(self._entries))

    def add(self, request: Request, answer: Answer, session: str = DEFAULT_SESSION) -> None:
        """Keep what was asked and answered, without its secrets."""
        if not self.capacity:
            return
        self.last += 1
        head = self._heads.get(id(request.headers))
        if head is None or head.headers is not request.headers:
            head = self._head(request.headers)
        body, target, kept = request.body, request.target, answer.body
        if len(body) > _MAX_BODY:
            body = body[:_MAX_BODY]
        if len(kept) > _MAX_BODY:
            kept = kept[:_MAX_BODY]
        entry = Entry(
            self.last,
            time.time(),
            session,
            request.method,
            request.host,
            target,
            head.shown,
            body,
            answer.status,
            answer.headers,
            kept,
            ENTRY_OVERHEAD + len(body) + len(kept) + len(target),
            answer.source,
        )
        if head.planted or _holds(entry, head):
            entry = _without(entry, head.needles)
        self._take(entry)
        if self.share is not None:
            self.share("request", entry.packed())

    def _head(self, headers: Headers) -> _Head:
        """Return what is known of a request's header fields, for this very tuple and those equal to it."""
        if len(self._heads) >= _HEADS:
            self._heads.clear()
        known = _headers(headers, self._hidden)
        found = self._heads[id(headers)] = msgspec.structs.replace(known, headers=headers)
        return found

    def take(self, kind: str, payload: bytes) -> None:
        """Keep what another replica answered, or drop what it dropped; see `share`."""
        with suppress(ValueError):  # of another version
            if kind == "clear":
                self._drop(payload.decode() or None)
            elif kind == "request" and self.capacity:
                entry = Entry.unpacked(payload, self.last + 1)
                self.last += 1
                self._take(entry)

    def _take(self, entry: Entry) -> None:
        entries = self._entries
        entries.append(entry)
        held = self._bytes + entry.size
        while len(entries) > self.capacity or held > self._max_bytes:
            held -= entries.popleft().size
        self._bytes = held
        if self._file is not None:
            self._write(self.record(entry).as_dict(details=True))
        if self.listeners:
            for listener in tuple(self.listeners):
                listener(entry)

    def add_callback(self, callback: Callback, *, secret: str = "") -> None:
        """Keep a status callback, without the token that signed it and other secrets."""
        if not self.capacity:
            return
        self._last_callback += 1
        callback = replace(callback, number=self._last_callback, time=written_time(time.time()))
        cleaned = _cleaned(callback.as_dict(), self._hidden + _needles(secret))
        callback = Callback(**cleaned | {"form": tuple((name, value) for name, value in cleaned["form"])})
        self._callbacks.append(callback)
        if self._file is not None:
            self._write({"callback": callback.as_dict()})
        for listener in tuple(self.callback_listeners):
            listener(callback)

    def add_drift(self, number: int, findings: list[dict[str, str]], request: Request) -> None:
        """Keep what differs in the live answer to `request`, which has that number, without secrets."""
        needles = self._head(request.headers).needles
        self.drift[number] = [_cleaned(one, needles) for one in findings]
        while len(self.drift) > _DRIFTED:
            del self.drift[next(iter(self.drift))]
        for listener in tuple(self.drift_listeners):
            listener(number)

    def callbacks(self, session: str | None = None, sid: str | None = None, since: int = 0) -> list[Callback]:
        """Return the status callbacks that are kept, oldest first; of a session, of a sid, after a number."""
        return [
            one
            for one in self._callbacks
            if one.number > since and session in {None, one.session} and sid in {None, one.sid}
        ]

    def get(self, number: int) -> Entry | None:
        """Return the entry of that number, or None if it is not kept (any more)."""
        return next((entry for entry in reversed(self._entries) if entry.number == number), None)

    def after(self, number: int) -> list[Entry]:
        """Return the entries with a higher number, oldest first."""
        found = []
        for entry in reversed(self._entries):
            if entry.number <= number:
                break
            found.append(entry)
        return found[::-1]

    def find(self, wanted: Filter, limit: int | None = None) -> list[Record]:
        """Return the records that match, newest first, at most `limit`."""
        found: list[Record] = []
        for entry in reversed(self._entries):
            if entry.number <= wanted.since or (limit is not None and len(found) >= limit):
                break
            if wanted.may_match(entry) and wanted.matches(record := entry.record()):
                found.append(record)
        return found

    async def search(self, wanted: Filter) -> AsyncIterator[Record]:
        """Yield the records that match, newest first, and let others have their turn in between."""
        async for entry in self._search(wanted):
            yield self.record(entry)

    async def _search(self, wanted: Filter) -> AsyncIterator[Entry]:
        for place, entry in enumerate(tuple(reversed(self._entries))):
            if entry.number <= wanted.since:
                break
            if place % _AT_ONCE == 0:
                await asyncio.sleep(0)
            if wanted.may_match(entry) and wanted.matches(self.record(entry)):
                yield entry

    def record(self, entry: Entry) -> Record:
        """Take `entry` apart, once for all who look at it at the same time."""
        if self._taken is None or self._taken[0] is not entry:
            self._taken = entry, entry.record()
        return self._taken[1]

    def clear(self, session: str | None = None) -> int:
        """Drop the entries, all or a session's; return how many. Numbers go on."""
        if self.share is not None:
            self.share("clear", (session or "").encode())
        return self._drop(session)

    def _drop(self, session: str | None) -> int:
        kept = [] if session is None else [entry for entry in self._entries if entry.session != session]
        dropped = len(self._entries) - len(kept)
        self._entries = deque(kept)
        self._bytes = sum(entry.size for entry in kept)
        left = [one for one in self._callbacks if session is not None and one.session != session]
        self._callbacks = deque(left, maxlen=_CALLBACKS)
        left_numbers = {entry.number for entry in kept}
        self.drift = {number: found for number, found in self.drift.items() if number in left_numbers}
        for listener in tuple(self.listeners):
            listener(None)
        return dropped

    async def wait(self, wanted: Filter, count: int, timeout: float) -> list[Record]:  # noqa: ASYNC109 - the client's own limit
        """Wait until `count` records match, those before the call included.

        Args:
            wanted: The conditions.
            count: How many.
            timeout: Seconds after which the wait ends.

        Returns:
            The records that match, oldest first: fewer than `count` if the time ran out.
        """
        found: list[Entry] = []
        came = asyncio.Event()

        def listen(entry: Entry | None) -> None:
            if entry is not None and wanted.may_match(entry) and wanted.matches(self.record(entry)):
                found.append(entry)
                if len(found) >= count:
                    came.set()

        self.listeners.add(listen)
        try:
            before = [entry async for entry in self._search(wanted)]
            found[:0] = before[::-1]  # those that came meanwhile stand behind
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    if len(found) < count:
                        await came.wait()
        finally:
            self.listeners.discard(listen)
        return [entry.record() for entry in found]  # entries of the journal cost nothing while waiting

    def _write(self, line: dict[str, Any]) -> None:
        assert self._file is not None
        try:
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
        except OSError:
            self._file = None  # the disk is full: clients are answered all the same


# -- secrets


class _Head(msgspec.Struct, frozen=True, eq=False):
    """Facts about a request's header fields.

    Attributes:
        headers: The fields as they came: their identity tells one head from another cheaply.
        shown: The fields as they are kept.
        needles: The secrets in them and this proxy's own, as they may be written elsewhere.
        probes: A part of each needle.
        planted: Whether a secret remains in what is kept.
        harmless: Targets without a secret.
    """

    headers: Headers
    shown: Headers
    needles: tuple[bytes, ...]
    probes: tuple[str, ...]
    planted: bool
    harmless: set[str]


@lru_cache(_HEADS)
def _headers(headers: Headers, own: tuple[bytes, ...]) -> _Head:
    """Look at a request's header fields; `own` are the needles of this proxy's secrets."""
    authorization = first_header(headers, "Authorization") or ""
    pair = basic_auth(authorization, errors="replace")
    value = authorization.partition(" ")[2].strip()
    needles = _needles(pair[1] if pair else "") + _needles(value)
    shown = tuple([(name, text if name.lower() in _SHOWN else HIDDEN) for name, text in headers])
    written = "\n".join([f"{name}: {text}" for name, text in shown]).encode("utf-8", "surrogateescape")
    needles += own
    planted = any(needle in written for needle in needles)
    return _Head(headers, shown, needles, _probes(needles), planted, set())


def _needles(secret: str) -> tuple[bytes, ...]:
    """The bytes of each spelling of `secret`."""
    return tuple([text.encode("utf-8", "surrogateescape") for text in spellings(secret)])


def _probes(needles: tuple[bytes, ...]) -> tuple[str, ...]:
    """Return the longest part of each needle that no client need encode: a cheap first look for it."""
    parts = [max(_UNRESERVED.findall(needle), key=len, default=b"") for needle in needles]
    return tuple([part.decode("ascii") for part in dict.fromkeys(parts)])


def _may_hold(asked: str, probes: tuple[str, ...]) -> bool:
    """Report whether a needle may stand in `asked`.

    A secret stands there with its probe as it is, unless a client encoded what needs no encoding.
    """
    for probe in probes:
        if probe in asked:
            return True
    return "%" in asked and _NEEDLESS.search(asked) is not None


def _holds(entry: Entry, head: _Head) -> bool:
    """Report whether a secret stands in what was asked, or in an answer that is not made from that alone."""
    texts = []
    if _may_hold(entry.body.decode("latin-1"), head.probes):  # texts are searched faster than bytes
        texts += [entry.body, unquote_to_bytes(entry.body)]
    if entry.target not in head.harmless:
        if _may_hold(entry.target, head.probes):
            target = entry.target.encode("utf-8", "surrogateescape")
            texts += [target, unquote_to_bytes(target)]
        elif len(head.harmless) < _HEADS and len(entry.target) < _LONG_TARGET:
            head.harmless.add(entry.target)
    if entry.source.kind in _FOREIGN:
        if first_header(entry.answer_headers, "Set-Cookie"):
            return True
        texts += [entry.answer, repr(entry.answer_headers).encode(), repr(entry.source).encode()]
    for text in texts:
        for needle in head.needles:
            if needle in text:
                return True
    return False


def _without(entry: Entry, needles: tuple[bytes, ...]) -> Entry:
    """The same entry with every needle, however it is encoded, replaced."""
    mark = HIDDEN.encode()

    def clean(data: bytes) -> bytes:
        for needle in needles:
            data = data.replace(needle, mark)
        return data

    def text(value: str) -> str:
        return clean(value.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")

    try:
        form = parse(entry.body)
        body = urlencode([(text(name), text(value)) for name, value in form]).encode()
    except FormError:
        body = mark if _encoded(entry.body, needles) else clean(entry.body)
    target = text(entry.target)
    if any(needle in unquote_to_bytes(target.encode("utf-8", "surrogateescape")) for needle in needles):
        target = quote(text(unquote(target, errors="surrogateescape")), safe="/?&=:+", errors="replace")
    source = entry.source
    given = {one.name: getattr(source, one.name) for one in fields(source) if one.init}
    given = {name: text(value) if isinstance(value, str) else value for name, value in given.items()}
    return msgspec.structs.replace(
        entry,
        target=target,
        headers=tuple((text(name), text(value)) for name, value in entry.headers),
        body=body,
        answer=clean(entry.answer),
        answer_headers=tuple(
            (name, HIDDEN if name.lower() in _SECRET_FIELDS else text(value))
            for name, value in entry.answer_headers
        ),
        source=replace(source, **given),
    )


def _encoded(body: bytes, needles: tuple[bytes, ...]) -> bool:
    """Report whether a body that is no form holds a secret in percent encoding."""
    return any(needle in unquote_to_bytes(body) for needle in needles if needle not in body)


def _cleaned(value: dict[str, Any], needles: tuple[bytes, ...]) -> dict[str, Any]:
    """Return plain values without any of the needles."""
    written = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
    if not any(needle in written for needle in needles):
        return value
    for needle in needles:
        written = written.replace(needle, HIDDEN.encode())
    cleaned: dict[str, Any] = json.loads(written)
    return cleaned
