"""Status callbacks: what Twilio would tell a program about its sent messages and calls, on request.

Test credentials make none, so they are made with `--callbacks` alone, and to loopback and private addresses
alone: a name is resolved, its addresses are judged, and a judged one is dialled. The order of statuses, their
fields and the signature follow Twilio's public description of status callbacks; test credentials never showed
them, so all of this is assumed. None is sent again, and no redirection is followed.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import os
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote, urlencode, urlsplit

import h11

from ringback.contract.gate import canonical_host
from ringback.exchange import basic_auth
from ringback.journal import HIDDEN
from ringback.net import is_loopback, is_private
from ringback.records import Callback, record_of, resource_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from ringback.contract import Answer, Contract, Request
    from ringback.contract.schema import MagicRow
    from ringback.journal import Journal
    from ringback.records import Record

logger = logging.getLogger(__name__)

HOLD: Final = "hold"
DELAY: Final = 0.2  # seconds before each status
TIMEOUT: Final = 15.0  # seconds for one callback, as Twilio's own limit
UNDELIVERED: Final = 30003  # unreachable destination handset
FAILED: Final = 30008  # unknown error

# The statuses of a message and of a call, for each way to end.
_MESSAGES: Final = {
    "delivered": ("queued", "sent", "delivered"),
    "read": ("queued", "sent", "delivered", "read"),
    "undelivered": ("queued", "sent", "undelivered"),
    "failed": ("queued", "failed"),
}
_CALLS: Final = {
    "completed": ("initiated", "ringing", "in-progress", "completed"),
    "busy": ("initiated", "ringing", "busy"),
    "no-answer": ("initiated", "ringing", "no-answer"),
    "canceled": ("initiated", "ringing", "canceled"),
    "failed": ("initiated", "failed"),
}
OUTCOMES: Final = {"Messages": _MESSAGES, "Calls": _CALLS}
_DEFAULT: Final = {"Messages": "delivered", "Calls": "completed"}
# Where `hold` stops.
_HELD_AFTER: Final = {"Messages": ("queued", "sent"), "Calls": ("initiated", "ringing")}
_CODES: Final = {"undelivered": UNDELIVERED, "failed": FAILED}
_EVENTS: Final = {"initiated": "initiated", "ringing": "ringing", "in-progress": "answered"}
_URL_SAFE: Final = "%/:=&?~#+!$,;'@()*[]"
_MOST_OPEN: Final = 16  # callbacks at the same time
_MOST_PENDING: Final = 10_000  # messages and calls whose statuses are still to be reported
_MOST_KNOWN: Final = 20_000  # of which it is known how they ended
_LONGEST_ANSWER: Final = 64 * 1024  # bytes that are read of a receiver's answer


class CallbackError(ValueError):
    """A callback that cannot be made, or an outcome that cannot be set; the message says why."""


@dataclass(frozen=True, slots=True)
class Ending:
    """The end of a message or a call.

    Attributes:
        status: The last status, or `hold` for none until somebody decides.
        code: The error code that is reported with it, or None.
    """

    status: str
    code: int | None = None

    @classmethod
    def of(cls, resource: str, status: str, code: int | None = None) -> Ending:
        """Make an outcome of a resource, with the usual error code where none is given.

        Raises:
            CallbackError: The resource has no such status.
        """
        known = (*OUTCOMES[resource], HOLD)
        if status not in known:
            raise CallbackError(f"{status!r} is no outcome of {resource}; there are {', '.join(known)}")
        usual = _CODES.get(status) if resource == "Messages" else None
        return cls(status, code or usual)


@dataclass(eq=False)
class Delivery:
    """A sent message or call whose statuses are reported.

    Attributes:
        sid: Its sid.
        number: The number of its request in the journal; 0 without a journal.
        session: The session of its request.
        resource: `Messages` or `Calls`.
        url: Where its statuses are reported to.
        method: POST or GET.
        events: For a call, the events that are reported.
        fields: The form fields that every report has.
        outcome: How it ends.
        reported: The statuses so far, also those of events that are not reported.
        decided: Set when somebody decides how it ends.
    """

    sid: str
    number: int
    session: str
    resource: str
    url: str
    method: str
    events: frozenset[str]
    fields: tuple[tuple[str, str], ...]
    token: str = field(repr=False)
    outcome: Ending
    reported: list[str] = field(default_factory=list)
    sequence: int = 0
    decided: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """Its name for people."""
        return "message" if self.resource == "Messages" else "call"

    def next_status(self) -> str | None:
        """Return the status that comes next, or None at the end or while it is held."""
        held = self.outcome.status == HOLD
        way = _HELD_AFTER[self.resource] if held else OUTCOMES[self.resource][self.outcome.status]
        for status in way[:-1]:
            if status not in self.reported:
                return status
        return None if way[-1] in self.reported else way[-1]


class StatusCallbacks:
    """Reports the statuses of sent messages and calls.

    Args:
        journal: Where each callback is noted.
        hosts: Hosts that are called wherever they are, beside loopback and private addresses.
        is_twilio: Reports whether a host name is Twilio's; those are never called.
        delay: Seconds before each status.
        hold: Whether a message stays at `sent`, and a call at `ringing`, until somebody decides.

    Attributes:
        own_ports: The ports of this proxy, which no callback goes to.
    """

    def __init__(
        self,
        journal: Journal,
        hosts: Sequence[str] = (),
        *,
        is_twilio: Callable[[str], bool] = lambda _: False,
        delay: float = DELAY,
        hold: bool = False,
    ) -> None:
        self._is_twilio = is_twilio
        self.own_ports: set[int] = set()
        self._journal = journal
        self._hosts = frozenset(host.strip("[]").rstrip(".").lower() for host in hosts)
        self._delay = delay
        self._hold = hold
        self._sent: dict[str, Delivery] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._open = asyncio.Semaphore(_MOST_OPEN)
        self._tls: ssl.SSLContext | None = None

    # -- what is reported

    def follow(self, request: Request, answer: Answer, session: str, contract: Contract) -> None:
        """Report the statuses of what `request` sent from now on, if it names a StatusCallback.

        Must be called in the proxy's event loop.
        """
        resource = resource_of(request.target)
        if request.method != "POST" or answer.status >= 300 or resource not in OUTCOMES:
            return
        if b"StatusCallback" not in request.body:
            return
        sent = self._made(resource, request, answer, session, contract)
        if sent is None:
            return
        if len(self._tasks) >= _MOST_PENDING:
            logger.warning("no status callbacks for %s: %s others are not done yet", sent.sid, _MOST_PENDING)
            return
        self._sent.pop(sent.sid, None)
        self._sent[sent.sid] = sent
        while len(self._sent) > _MOST_KNOWN:
            del self._sent[next(iter(self._sent))]
        sent.task = self._start(self._report(sent, answer.delay))

    def _made(
        self, resource: str, request: Request, answer: Answer, session: str, contract: Contract
    ) -> Delivery | None:
        last = record_of(request, answer, session)
        url = last.field("StatusCallback")
        if not url or last.sid is None:
            return None
        pair = basic_auth(request.header("Authorization") or "", errors="replace")
        form = {name: value for name, value in last.form or () if value}
        row = contract.outcome_row(resource, form)
        asked = " ".join(value for name, value in last.form or () if name == "StatusCallbackEvent")
        method = form.get("StatusCallbackMethod", "POST").upper() if resource == "Calls" else "POST"
        return Delivery(
            sid=last.sid,
            number=self._journal.last if self._journal.capacity else 0,
            session=session,
            resource=resource,
            url=quote(url.strip().partition("#")[0], safe=_URL_SAFE),
            method=method,
            events=frozenset(asked.lower().split()) or frozenset({"completed"}),
            fields=_fields(resource, last, request.target),
            token=pair[1] if pair else "",
            outcome=self._outcome(resource, row),
        )

    def _outcome(self, resource: str, row: MagicRow | None) -> Ending:
        if row is not None and row.outcome is not None:
            return Ending.of(resource, row.outcome, row.outcome_code)
        return Ending(HOLD if self._hold else _DEFAULT[resource])

    def decide(self, sid: str, status: str, code: int | None = None) -> Delivery:
        """Let a message or call end so: what is still missing is reported, in order.

        After the end, a last status is reported again, which Twilio would not do.

        Args:
            sid: Its sid.
            status: The last status, as rows name it.
            code: The error code, or None for the usual one.

        Raises:
            CallbackError: It is not known, or has no such status.
        """
        sent = self._sent.get(sid)
        if sent is None:
            raise CallbackError(f"{sid} is not known: it named no StatusCallback, or is not kept any more")
        outcome = Ending.of(sent.resource, status, code)
        ended = sent.task is None or sent.task.done()
        sent.outcome = outcome
        if ended:
            with suppress(ValueError):
                sent.reported.remove(status)
            sent.task = self._start(self._report(sent, 0))
        else:
            sent.decided.set()
        return sent

    def status_of(self, sid: str | None) -> str | None:
        """Return the last status of a message or call, or None if it is not known."""
        sent = self._sent.get(sid or "")
        return sent.reported[-1] if sent is not None and sent.reported else None

    def outcomes_of(self, sid: str | None) -> list[str]:
        """Return how a message or call can end; nothing where its statuses are not reported."""
        sent = self._sent.get(sid or "")
        return list(OUTCOMES[sent.resource]) if sent is not None else []

    def reset(self, session: str | None = None) -> None:
        """Report nothing more about a session's messages and calls, or about any."""
        for sent in list(self._sent.values()):
            if session is None or sent.session == session:
                if sent.task is not None:
                    sent.task.cancel()
                del self._sent[sent.sid]

    def close(self) -> None:
        """Give up what is not reported yet."""
        for task in self._tasks:
            task.cancel()
        self._sent.clear()

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("Ringback failed on a status callback", exc_info=error)

    async def _report(self, sent: Delivery, before: float) -> None:
        """Report the statuses one after the other, each after the answer to the one before."""
        await asyncio.sleep(before)
        while True:
            sent.decided.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._delay):  # a decision need not wait for the rest of it
                    await sent.decided.wait()
            status = sent.next_status()
            if status is not None:
                sent.reported.append(status)
                if sent.resource == "Messages" or _EVENTS.get(status, "completed") in sent.events:
                    await self._call(sent, status)
            elif sent.outcome.status == HOLD:
                await sent.decided.wait()
            else:
                return

    # -- one callback

    async def _call(self, sent: Delivery, status: str) -> None:
        form = _status_fields(sent, status)
        sent.sequence += 1
        url, body = sent.url, urlencode(form).encode()
        if sent.method == "GET":
            url, body = f"{url}{'&' if '?' in url else '?'}{body.decode()}", b""
        signed = signature(url, form if sent.method == "POST" else (), sent.token)
        got: int | None = None
        error: str | None = None
        try:
            async with self._open, asyncio.timeout(TIMEOUT):
                got = await self._send(sent.method, url, body, signed)
        except TimeoutError:
            error = f"no answer within {TIMEOUT:g} s"
        except (OSError, h11.ProtocolError, EOFError, ValueError) as problem:
            error = _reason(problem)
        self._journal.add_callback(
            Callback(
                request=sent.number,
                session=sent.session,
                sid=sent.sid,
                resource=sent.resource,
                status=status,
                url=_without_password(url),
                method=sent.method,
                form=form,
                answered=got,
                error=error,
            ),
            secret=sent.token,
        )

    async def _send(self, method: str, url: str, body: bytes, signed: str) -> int:
        """Send one callback; return the status of its answer.

        Raises:
            CallbackError, OSError, h11.ProtocolError, EOFError, ValueError: It could not be sent.
        """
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise CallbackError(f"{parts.scheme}: is not called, http and https are")
        host = parts.hostname
        tls = parts.scheme == "https"
        port = parts.port or (443 if tls else 80)
        if self._is_twilio(canonical_host(unquote(host))):
            raise CallbackError(f"{host} is Twilio's: no callback goes there")
        addresses = await self._addresses(host, port)
        if tls and self._tls is None:
            self._tls = ssl.create_default_context()
        secured: dict[str, Any] = {"ssl": self._tls, "server_hostname": host} if tls else {}
        reader, writer = await _connect(addresses, port, secured)
        try:
            writer.write(_written(method, url, body, signed))
            return await _status(reader)
        finally:
            writer.close()

    async def _addresses(self, host: str, port: int) -> list[str]:
        """Resolve `host` and return the addresses that may be called.

        Raises:
            CallbackError: There is none.
        """
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise CallbackError(f"{host} cannot be resolved: {error.strerror or error}") from None
        addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
        if host.rstrip(".").lower() not in self._hosts:
            allowed = [address for address in addresses if is_private(address)]
            if not allowed:
                raise CallbackError(
                    f"{host} is {addresses[0]}, which is neither loopback nor private: it needs "
                    f"--callbacks-to {host}"
                )
            addresses = allowed
        if port in self.own_ports and any(is_loopback(address) for address in addresses):
            raise CallbackError(f"port {port} is this proxy's own")
        return addresses


async def _connect(
    addresses: list[str], port: int, secured: dict[str, Any]
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to the first address where somebody listens: `localhost` is ::1 first, and programs are not.

    Raises:
        OSError: Nobody listens, or TLS failed.
    """
    for address in addresses[:-1]:
        try:
            return await asyncio.open_connection(address, port, **secured)
        except OSError as error:
            if isinstance(error, ssl.SSLError):
                raise
    return await asyncio.open_connection(addresses[-1], port, **secured)


def signature(url: str, form: Sequence[tuple[str, str]], token: str) -> str:
    """Return the `X-Twilio-Signature` of a request: HMAC-SHA1 over the URL and the sorted form fields.

    Source: Twilio's public page about the security of webhooks; its SDKs' validators check it.
    """
    text = url + "".join([name + value for name, value in sorted(set(form))])
    made = hmac.new(token.encode("utf-8", "surrogateescape"), text.encode("utf-8"), hashlib.sha1)
    return base64.b64encode(made.digest()).decode()


def _fields(resource: str, record: Record, target: str) -> tuple[tuple[str, str], ...]:
    """Return the form fields that every status of one message or call has."""
    try:
        answered = json.loads(record.answer)
    except (ValueError, RecursionError):
        answered = {}
    answered = answered if isinstance(answered, dict) else {}
    to = str(answered.get("to") or record.field("To"))
    sender = str(answered.get("from") or record.field("From"))
    account = target.partition("/Accounts/")[2].partition("/")[0]
    sid = record.sid or ""
    if resource == "Messages":
        service = record.field("MessagingServiceSid")
        return (
            ("SmsSid", sid),
            ("To", to),
            *([("MessagingServiceSid", service)] if service else []),
            ("MessageSid", sid),
            ("AccountSid", account),
            ("From", sender),
            ("ApiVersion", "2010-04-01"),
        )
    return (
        ("CallSid", sid),
        ("AccountSid", account),
        ("From", sender),
        ("To", to),
        ("Caller", sender),
        ("Called", to),
        ("Direction", "outbound-api"),
        ("ApiVersion", "2010-04-01"),
        ("CallbackSource", "call-progress-events"),
    )


def _status_fields(sent: Delivery, status: str) -> tuple[tuple[str, str], ...]:
    """Return all form fields of one status."""
    if sent.resource == "Messages":
        last = sent.outcome.code is not None and status == sent.outcome.status
        code = (("ErrorCode", str(sent.outcome.code)),) if last else ()
        return (("SmsStatus", status), ("MessageStatus", status), *sent.fields, *code)
    duration = (("CallDuration", "1"), ("Duration", "1")) if status == "completed" else ()
    return (
        ("CallStatus", status),
        *sent.fields,
        *duration,
        ("SequenceNumber", str(sent.sequence)),
        ("Timestamp", format_datetime(datetime.now(UTC))),
    )


def _written(method: str, url: str, body: bytes, signed: str) -> bytes:
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    host = parts.netloc.rpartition("@")[2]
    fields = [
        ("Host", host),
        ("User-Agent", "TwilioProxy/1.1"),
        ("Accept", "*/*"),
        ("X-Twilio-Signature", signed),
        ("Ringback-Source", "callback"),
        ("Connection", "close"),
    ]
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        fields.append(("Authorization", f"Basic {base64.b64encode(pair).decode()}"))
    if method == "POST":
        fields.append(("Content-Type", "application/x-www-form-urlencoded; charset=UTF-8"))
        fields.append(("Content-Length", str(len(body))))
    connection = h11.Connection(h11.CLIENT)
    return (
        (connection.send(h11.Request(method=method, target=target, headers=fields)) or b"")
        + ((connection.send(h11.Data(data=body)) or b"") if body else b"")
        + (connection.send(h11.EndOfMessage()) or b"")
    )


async def _status(reader: asyncio.StreamReader) -> int:
    """Read an answer to its end, or to the limit; return its status."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "callback")]))
    connection.send(h11.EndOfMessage())
    status, read = 0, 0
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            data = await reader.read(16 * 1024)
            read += len(data)
            if read > _LONGEST_ANSWER and status:
                return status
            connection.receive_data(data)
        elif isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.EndOfMessage):
            return status
        elif isinstance(event, h11.ConnectionClosed):
            raise EOFError("the connection was closed without an answer")


def _reason(problem: Exception) -> str:
    if isinstance(problem, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {problem.verify_message}"
    if isinstance(problem, ssl.SSLError):
        return f"it speaks no TLS that fits: {(problem.reason or str(problem)).lower().replace('_', ' ')}"
    if isinstance(problem, h11.ProtocolError):
        return f"it answers no HTTP: {problem}"
    if isinstance(problem, OSError) and (problem.errno or 0) > 0:
        return os.strerror(problem.errno or 0)  # asyncio's own text says less
    return str(problem) or type(problem).__name__


def _without_password(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return url  # no host, so no password for one
    if parts.password is None:
        return url
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{parts.username}:{HIDDEN}@{host}").geturl()
