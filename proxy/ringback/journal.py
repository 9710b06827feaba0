"""The journal: every answered Twilio request of this process, in memory, without secrets.

Adding costs little, because most entries are never looked at: an `Entry` holds what came and went as it was,
and is taken apart (`Entry.record`) when somebody asks. Secrets are removed before anything is kept.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import secrets
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote, unquote_to_bytes, urlencode

import msgspec

from ringback.contract.form import FormError, parse
from ringback.exchange import Headers, Source, basic_auth, error_code, first_header

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import TextIO

    from ringback.exchange import Answer, Request

CAPACITY: Final = 10_000  # entries
MAX_BYTES: Final = 64 * 1024 * 1024  # of all entries, about
DEFAULT_SESSION: Final = "default"
HIDDEN: Final = "[hidden]"

_CALLBACKS: Final = 2_000  # status callbacks kept
_DRIFTED: Final = 2_000  # live answers whose differences are kept
_MAX_BODY: Final = 64 * 1024  # bytes kept of one request or answer
_OVERHEAD: Final = 2048  # bytes that an entry takes beside its texts, about
_SHORTEST_SECRET: Final = 8  # characters; a token such as `x` would hide half of every text
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
_ACCOUNT_PATH: Final = re.compile(r"/[0-9-]+/Accounts/[^/]+?/(.+?)(?:\.json|\.xml)?")
_XML_TEXT: Final = r"<{0}>([^<]{{1,2000}})</{0}>"
_ENTITIES: Final = (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&apos;", "'"), ("&amp;", "&"))
_UNRESERVED: Final = re.compile(rb"[A-Za-z0-9._~-]+")
# Letters, digits and `-._~` in percent encoding, which they do not need.
_NEEDLESS: Final = re.compile(rb"%(?:3[0-9]|[46][1-9A-Fa-f]|[57][0-9Aa]|2[DdEe]|5[Ff]|7[Ee])")
_NUMBER: Final = re.compile(r"[+0-9 ().-]{3,}")


@dataclass(frozen=True, slots=True)
class Record:
    """One answered request, taken apart.

    Attributes:
        number: Its place in the journal, from 1; never given twice in one process.
        time: When it was answered, ISO 8601 in UTC with milliseconds.
        session: The cassette's name that its client gave, or the default one.
        method: The HTTP method.
        host: The host that it was for.
        target: Path and query.
        resource: `Messages`, `Calls`, `IncomingPhoneNumbers`, another path below the account, or the path.
        user_agent: The client's User-Agent, or an empty string.
        twilio_client: The older SDKs' X-Twilio-Client, or an empty string.
        form: The form fields, decoded, in order; None where the body is no form.
        status: The HTTP status.
        code: Twilio's error code, or None.
        message: Twilio's error text, or None.
        sid: The sid in the answer, or None.
        source: Who answered: contract, cassette, live or gate.
        rule: The row or rule that decided.
        basis: How well the outcome is known, or None.
        text_basis: The same of the error's wording, where it differs.
        line: The documentation page's line, or None.
        reason: Why, in a sentence, or None.
        contract: For a live answer: whether it agrees with the contract, and the difference; else None.
        recorded: For a live answer: where it was recorded, or why not; else None.
        fallback: Why an answer took the live API's place, or None.
        request_headers: Header fields; the values of those that may hold secrets are hidden.
        answer_headers: The answer's header fields.
        body: The request's body as text, where it is no form.
        answer: The answer's body as text.
    """

    number: int
    time: str
    session: str
    method: str
    host: str
    target: str
    resource: str
    user_agent: str
    twilio_client: str
    form: tuple[tuple[str, str], ...] | None
    status: int
    code: int | None
    message: str | None
    sid: str | None
    source: str
    rule: str
    basis: str | None
    text_basis: str | None
    line: int | None
    reason: str | None
    contract: str | None
    recorded: str | None
    fallback: str | None
    request_headers: Headers
    answer_headers: Headers
    body: str | None
    answer: str

    def field(self, *names: str) -> str:
        """Return the last non-empty form value of the first of `names` that has one, or an empty string."""
        for name in names:
            found = [value for key, value in self.form or () if key == name and value]
            if found:
                return found[-1]
        return ""

    @property
    def succeeded(self) -> bool:
        """Report whether the answer is a success."""
        return self.status < 400

    def as_dict(self, *, details: bool = False) -> dict[str, Any]:
        """Return the record for JSON; `details` adds headers and bodies."""
        made: dict[str, Any] = {
            "number": self.number,
            "time": self.time,
            "session": self.session,
            "method": self.method,
            "host": self.host,
            "target": self.target,
            "resource": self.resource,
            "client": self.twilio_client or self.user_agent,
            "form": None if self.form is None else [list(pair) for pair in self.form],
            "status": self.status,
            "code": self.code,
            "message": self.message,
            "sid": self.sid,
            "source": self.source,
            "rule": self.rule,
            "basis": self.basis,
            "text_basis": self.text_basis,
            "line": self.line,
            "reason": self.reason,
            "contract": self.contract,
            "recorded": self.recorded,
            "fallback": self.fallback,
        }
        if details:
            made["request_headers"] = [list(pair) for pair in self.request_headers]
            made["answer_headers"] = [list(pair) for pair in self.answer_headers]
            made["body"] = self.body
            made["answer"] = self.answer
        return made


@dataclass(frozen=True, slots=True)
class Callback:
    """One status callback that was made, or tried.

    Attributes:
        request: The number of the request that asked for it.
        session: The session of that request.
        sid: The sid of the message or call.
        resource: `Messages` or `Calls`.
        status: The status that was reported.
        url: Where to; for GET with the fields.
        method: POST or GET.
        form: The fields.
        answered: The HTTP status of the answer, or None.
        error: Why there is no answer, or None.
        number: Its place among the callbacks, from 1; 0 until it is kept.
        time: When it ended, ISO 8601 in UTC with milliseconds.
    """

    request: int
    session: str
    sid: str
    resource: str
    status: str
    url: str
    method: str
    form: tuple[tuple[str, str], ...]
    answered: int | None
    error: str | None
    number: int = 0
    time: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        made = {one.name: getattr(self, one.name) for one in fields(self)}
        return made | {"form": [list(pair) for pair in self.form]}


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One answered request as it is kept: without secrets, not yet taken apart."""

    number: int
    moment: float
    session: str
    method: str
    host: str
    target: str
    headers: Headers
    body: bytes
    status: int
    answer_headers: Headers
    answer: bytes
    source: Source

    @property
    def size(self) -> int:
        """Return the bytes that the entry takes, about."""
        return _OVERHEAD + len(self.body) + len(self.answer) + len(self.target)

    def record(self) -> Record:
        """Take the entry apart."""
        text = _text(self.answer, first_header(self.answer_headers, "Content-Encoding"))
        code, message, sid = _facts(text)
        form = _form(self.body, first_header(self.headers, "Content-Type"))
        source, given = self.source, dict(self.source.headers())
        coding = first_header(self.headers, "Content-Encoding")
        return Record(
            number=self.number,
            time=_written_time(self.moment),
            session=self.session,
            method=self.method,
            host=self.host,
            target=self.target,
            resource=resource_of(self.target),
            user_agent=first_header(self.headers, "User-Agent") or "",
            twilio_client=first_header(self.headers, "X-Twilio-Client") or "",
            form=form,
            status=self.status,
            code=code,
            message=message,
            sid=sid,
            source=source.kind,
            rule=source.rule,
            basis=source.basis,
            text_basis=source.text if source.text != source.basis else None,
            line=source.line,
            reason=source.reason,
            contract=given.get("Ringback-Contract"),
            recorded=given.get("Ringback-Cassette"),
            fallback=given.get("Ringback-Fallback"),
            request_headers=self.headers,
            answer_headers=self.answer_headers,
            body=_text(self.body, coding) if form is None else None,
            answer=text,
        )


@dataclass(frozen=True, slots=True)
class Filter:
    """Conditions on records; None means any.

    Attributes:
        resource: The resource's name, in any case.
        to: The form's To, or the number that was bought; numbers compare by their digits.
        sender: The form's From.
        body: A regular expression that is searched in the form's Body.
        code: Twilio's error code; 0 stands for none.
        rule: The rule; `*` and `?` are wildcards.
        session: The session.
        source: Who answered.
        since: Only records with a higher number.
    """

    resource: str | None = None
    to: str | None = None
    sender: str | None = None
    body: re.Pattern[str] | None = None
    code: int | None = None
    rule: str | None = None
    session: str | None = None
    source: str | None = None
    since: int = 0

    def may_match(self, entry: Entry) -> bool:
        """Report whether `entry` has to be taken apart to know."""
        return (
            entry.number > self.since
            and (self.session is None or entry.session == self.session)
            and (self.source is None or entry.source.kind == self.source)
            and (self.rule is None or fnmatchcase(entry.source.rule, self.rule))
        )

    def matches(self, record: Record) -> bool:
        """Report whether `record`, of an entry that may match, fulfils the other conditions."""
        return (
            (self.resource is None or record.resource.lower() == self.resource.lower())
            and (self.to is None or _same(record.field("To", "PhoneNumber", "AreaCode"), self.to))
            and (self.sender is None or _same(record.field("From", "MessagingServiceSid"), self.sender))
            and (self.body is None or self.body.search(record.field("Body")) is not None)
            and (self.code is None or (record.code or 0) == self.code)
        )


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
        self.callback_listeners: set[Callable[[Callback], None]] = set()
        self.drift: dict[int, list[dict[str, str]]] = {}
        self.drift_listeners: set[Callable[[int], None]] = set()
        self._entries: deque[Entry] = deque()
        self._callbacks: deque[Callback] = deque(maxlen=_CALLBACKS)
        self._last_callback = 0
        self._bytes = 0
        self._max_bytes = max_bytes
        self._needles: tuple[bytes, ...] = ()
        self._probes: tuple[bytes, ...] = ()
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
        self._needles = tuple(needle for secret in hidden for needle in _spellings(secret))
        self._probes = _probes(self._needles)

    def __iter__(self) -> Iterator[Entry]:
        """Iterate over the entries, oldest first."""
        return iter(tuple(self._entries))

    def add(self, request: Request, answer: Answer, session: str = DEFAULT_SESSION) -> None:
        """Keep what was asked and answered, without its secrets."""
        if not self.capacity:
            return
        self.last += 1
        headers, needles, probes, planted = _headers(request.headers)
        entry = Entry(
            self.last,
            time.time(),
            session,
            request.method,
            request.host,
            request.target,
            headers,
            request.body[:_MAX_BODY],
            answer.status,
            answer.headers,
            answer.body[:_MAX_BODY],
            answer.source,
        )
        if self._needles:
            needles += self._needles
            probes += self._probes
        if planted or _holds(entry, needles, probes):
            entry = _without(entry, needles)
        self._entries.append(entry)
        self._bytes += entry.size
        while len(self._entries) > self.capacity or self._bytes > self._max_bytes:
            self._bytes -= self._entries.popleft().size
        if self._file is not None:
            self._write(entry.record().as_dict(details=True))
        for listener in tuple(self.listeners):
            listener(entry)

    def add_callback(self, callback: Callback, *, secret: str = "") -> None:
        """Keep a status callback, without the token that signed it and other secrets."""
        if not self.capacity:
            return
        self._last_callback += 1
        callback = replace(callback, number=self._last_callback, time=_written_time(time.time()))
        cleaned = _cleaned(callback.as_dict(), self._needles + _spellings(secret))
        callback = Callback(**cleaned | {"form": tuple((name, value) for name, value in cleaned["form"])})
        self._callbacks.append(callback)
        if self._file is not None:
            self._write({"callback": callback.as_dict()})
        for listener in tuple(self.callback_listeners):
            listener(callback)

    def add_drift(self, number: int, findings: list[dict[str, str]], request: Request) -> None:
        """Keep what differs in the live answer to `request`, which has that number, without secrets."""
        needles = _headers(request.headers)[1]
        self.drift[number] = [_cleaned(one, self._needles + needles) for one in findings]
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

    def clear(self, session: str | None = None) -> int:
        """Drop the entries, all or a session's; return how many. Numbers go on."""
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
        found = self.find(wanted)[::-1]
        came = asyncio.Event()

        def listen(entry: Entry | None) -> None:
            if entry is not None and wanted.may_match(entry) and wanted.matches(record := entry.record()):
                found.append(record)
                came.set()

        self.listeners.add(listen)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    while len(found) < count:
                        await came.wait()
                        came.clear()
        finally:
            self.listeners.discard(listen)
        return found

    def _write(self, line: dict[str, Any]) -> None:
        assert self._file is not None
        try:
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
        except OSError:
            self._file = None  # the disk is full: clients are answered all the same


# -- secrets


@lru_cache(256)
def _headers(headers: Headers) -> tuple[Headers, tuple[bytes, ...], tuple[bytes, ...], bool]:
    """Return the redacted header fields of a request, the secrets, their probes, and whether one remains."""
    authorization = first_header(headers, "Authorization") or ""
    pair = basic_auth(authorization, errors="replace")
    value = authorization.partition(" ")[2].strip()
    needles = _spellings(pair[1] if pair else "") + _spellings(value)
    shown = tuple([(name, text if name.lower() in _SHOWN else HIDDEN) for name, text in headers])
    written = "\n".join([f"{name}: {text}" for name, text in shown]).encode("utf-8", "surrogateescape")
    return shown, needles, _probes(needles), any(needle in written for needle in needles)


def _spellings(secret: str) -> tuple[bytes, ...]:
    if len(secret) < _SHORTEST_SECRET:
        return ()
    plain = secret.encode("utf-8", "surrogateescape")
    escaped = json.dumps(secret)[1:-1].encode()
    coded = base64.b64encode(plain).rstrip(b"=")
    return tuple(dict.fromkeys((plain, escaped, quote(secret, safe="", errors="replace").encode(), coded)))


def _probes(needles: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Return the longest part of each needle that no client need encode: a cheap first look for it."""
    return tuple(dict.fromkeys(max(_UNRESERVED.findall(needle), key=len, default=b"") for needle in needles))


def _may_hold(asked: bytes, probes: tuple[bytes, ...]) -> bool:
    """Report whether a needle may stand in `asked`.

    A secret stands there with its probe as it is, unless a client encoded what needs no encoding.
    """
    for probe in probes:
        if probe in asked:
            return True
    return b"%" in asked and _NEEDLESS.search(asked) is not None


def _holds(entry: Entry, needles: tuple[bytes, ...], probes: tuple[bytes, ...]) -> bool:
    """Report whether a secret stands in what was asked, or in an answer that is not made from that alone."""
    asked = entry.body + b"\n" + entry.target.encode("utf-8", "surrogateescape")
    texts = [asked, unquote_to_bytes(asked)] if _may_hold(asked, probes) else []
    if entry.source.kind in _FOREIGN:
        if first_header(entry.answer_headers, "Set-Cookie"):
            return True
        texts += [entry.answer, repr(entry.answer_headers).encode(), repr(entry.source).encode()]
    for needle in needles:
        for text in texts:
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
    if any(needle in unquote_to_bytes(target) for needle in needles):
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


# -- taking apart


def record_of(request: Request, answer: Answer, session: str = DEFAULT_SESSION) -> Record:
    """Take a request and its answer apart without keeping them; secrets are not removed."""
    return Entry(
        0,
        0.0,
        session,
        request.method,
        request.host,
        request.target,
        request.headers,
        request.body,
        answer.status,
        answer.headers,
        answer.body,
        answer.source,
    ).record()


def _written_time(moment: float) -> str:
    found = datetime.fromtimestamp(moment, UTC)
    return found.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _form(body: bytes, media_type: str | None) -> tuple[tuple[str, str], ...] | None:
    if media_type and media_type.partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        return None if body else ()
    try:
        return parse(body)
    except FormError:
        return None


def _text(body: bytes, coding: str | None) -> str:
    """A body for people: its content coding removed, other bytes than UTF-8 replaced."""
    if coding and coding.strip().lower() != "identity":
        from ringback.cassettes.bodies import decode  # noqa: PLC0415 - only live answers are encoded
        from ringback.cassettes.files import CodingError  # noqa: PLC0415 - as above

        try:
            body = decode(body, coding)
        except CodingError:
            return f"[{len(body)} bytes of {coding}]"
    return body.decode("utf-8", "replace")


def _facts(text: str) -> tuple[int | None, str | None, str | None]:
    """Error code, error text and sid of an answer's body."""
    code = error_code(text.encode("utf-8", "replace"))
    if text.lstrip().startswith("<"):
        message = _element(text, "Message") if code is not None else None
        return code, message, _element(text, "Sid")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return code, None, None
    if not isinstance(found, dict):
        return code, None, None
    message, sid = found.get("message"), found.get("sid")
    return (
        code,
        message if isinstance(message, str) and code is not None else None,
        sid if isinstance(sid, str) else None,
    )


def _element(text: str, name: str) -> str | None:
    found = re.search(_XML_TEXT.format(name), text)
    if found is None:
        return None
    value = found[1]
    for entity, char in _ENTITIES:
        value = value.replace(entity, char)
    return value


@lru_cache(1024)
def resource_of(target: str) -> str:
    """Return the resource that a path below an account names, or the path."""
    path = target.partition("?")[0]
    found = _ACCOUNT_PATH.fullmatch(path)
    return found[1] if found else path


def _same(value: str, wanted: str) -> bool:
    """Report whether two addresses are one: numbers by their digits (a `+` in a query is a space)."""
    if _NUMBER.fullmatch(value) and _NUMBER.fullmatch(wanted):
        return re.sub(r"\D", "", value) == re.sub(r"\D", "", wanted)
    return value.strip().casefold() == wanted.strip().casefold()
