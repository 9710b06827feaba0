"""The API at the proxy's own address, `/ringback/…`: what was sent, as JSON, live events and a web page.

Knows no socket: `Control.handle` turns a request into an answer, into one that has to be awaited (a long
poll), or into a `Stream`. docs/api/openapi.yaml describes it, and a test holds that file to `ROUTES`.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import re
import tempfile
from collections import Counter, deque
from contextlib import suppress
from hmac import compare_digest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias
from urllib.parse import parse_qsl

from msgspec import structs

from ringback import __version__, contract
from ringback.bounds import BusyError, LinearPattern
from ringback.contract import ContractError
from ringback.exchange import Answer, Headers, Poll, Request, Source, Stream, basic_auth, is_large
from ringback.net import is_loopback
from ringback.records import Filter, Record, cited_by, created_by, row_of
from ringback.responder import log_failure
from ringback.tally import prometheus

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from ringback.contract import Contract
    from ringback.records import Callback, Entry
    from ringback.responder import Responder


PREFIX: Final = "/ringback/"
MAX_WAIT: Final = 300.0  # seconds of a long poll
DEFAULT_WAIT: Final = 5.0
DEFAULT_LIMIT: Final = 100
MOST_WAITING: Final = 1_000  # clients of the long poll and of the event stream together
KEEP_ALIVE: Final = 15.0  # seconds after which a silent event stream sends a comment

_JSON: Final = "application/json"
_UI: Final = Path(__file__).parent / "ui"
_UI_FILES: Final = {
    "": ("index.html", "text/html; charset=utf-8"),
    "inbox.css": ("inbox.css", "text/css; charset=utf-8"),
    "inbox.js": ("inbox.js", "text/javascript; charset=utf-8"),
    "icon.svg": ("icon.svg", "image/svg+xml"),
}
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_SAFE_HEADERS: Final = (
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Content-Security-Policy", _POLICY),
)
_PHRASES: Final = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found"}
_PHRASES_MORE: Final = {
    405: "Method Not Allowed",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}
_LONGEST_PATTERN: Final = 200
_BATCH: Final = 50  # entries of one chunk of the event stream
_BATCH_SIZE: Final = 256 * 1024  # bytes of them, about
_UNREAD: Final = 2_000  # callbacks, and drifts, that a client of the event stream may be behind
_FEW: Final = 200  # entries that are taken apart at once
_MOST_SESSIONS: Final = 10_000  # that have rows of their own
_SESSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_LONGEST_COMMAND: Final = 2000  # characters
_FILTERS: Final = ("resource", "to", "from", "body", "body~", "code", "rule", "session", "source", "since")


Response: TypeAlias = "Answer | Stream | Awaitable[Answer]"


def at_once(response: Response) -> Answer:
    """Return `response` if it is an answer, else a refusal: for servers that can neither wait nor stream."""
    if isinstance(response, Answer):
        return response
    if isinstance(response, Poll):
        response.close()
    return _problem(503, "this listener neither waits nor streams: ask at the proxy's own port")


class Route(NamedTuple):
    """One operation of the API.

    Attributes:
        method: The HTTP method; HEAD is allowed wherever GET is.
        path: The path below `/ringback/`; `{n}` stands for a number.
        parameters: The query's parameters.
        handle: The name of the method of `Control` that answers.
    """

    method: str
    path: str
    parameters: tuple[str, ...]
    handle: str


ROUTES: Final = (
    Route("GET", "requests", (*_FILTERS, "limit"), "_requests"),
    Route("DELETE", "requests", ("session",), "_clear"),
    Route("GET", "requests/wait", (*_FILTERS, "count", "timeout"), "_wait"),
    Route("GET", "requests/{n}", (), "_request"),
    Route("GET", "events", ("since",), "_events"),
    Route("GET", "callbacks", ("session", "sid", "since"), "_callbacks"),
    Route("POST", "outcome", (), "_outcome"),
    Route("GET", "messages", (*_FILTERS, "limit"), "_messages"),
    Route("GET", "calls", (*_FILTERS, "limit"), "_calls"),
    Route("GET", "numbers", (*_FILTERS, "limit"), "_numbers"),
    Route("GET", "session", (), "_session"),
    Route("POST", "session", (), "_set_session"),
    Route("POST", "reset", ("session",), "_reset"),
    Route("GET", "contract/rows", ("session",), "_rows"),
    Route("PUT", "contract/rows", ("session",), "_put_rows"),
    Route("DELETE", "contract/rows", ("session",), "_delete_rows"),
    Route("GET", "health", (), "_health"),
    Route("GET", "ca.pem", (), "_ca"),
    Route("GET", "metrics", (), "_metrics"),
)
_BY_KEY: Final = {(route.method, route.path): route for route in ROUTES}


class UsageError(Exception):
    """A request that is understood and wrong; the message tells how to put it right."""


class Control:
    """Answers requests for the proxy itself.

    Args:
        responder: The handler of Twilio requests, with its journal, contract and sessions.
        password: What clients from other machines must give, or None where there are none.

    Attributes:
        responder: The responder.
        ca: The PEM file of the CA that clients trust, or None if it is not known.
    """

    def __init__(self, responder: Responder, password: str | None = None) -> None:
        self.ca: Path | None = None
        self.responder = responder
        self._password = password
        self._made: dict[int, bytes] = {}  # events, by number
        if responder.state.shared:
            responder.state.follow(responder.journal.take, self._change)

    def handle(self, request: Request, peer: str | None = None) -> Response:
        """Answer a request for the proxy's own address.

        Args:
            request: The request.
            peer: The client's IP address; None if it is not known, and may be another machine's.
        """
        path = request.path.removeprefix(PREFIX) if request.path.startswith(PREFIX) else None
        refused = self._refuse(request, peer) if path is not None else None
        if refused is not None:
            return refused
        method = "GET" if request.method == "HEAD" else request.method
        file = _UI_FILES.get(path) if path is not None and method == "GET" else None
        if file is not None:
            return _fit(request, _page(*file))
        route, number = _route(method, path)
        if route is None:
            possible = _methods(path)
            if possible:
                return _problem(405, f"here is no {request.method}, but {possible}", (("Allow", possible),))
            known = {"path": request.path}
            stamp = self.responder.stamps.of(request)
            return contract.refuse(self.responder.contract, "proxy.not-found", "json", stamp, **known)
        answer: Response
        try:
            query = _query(request, route.parameters) if path != "health" else {}
            if number is not None:
                answer = self._request(number)
            else:
                answer = getattr(self, route.handle)(request, query)
        except UsageError as error:
            answer = _problem(400, str(error))
        except Exception as error:  # noqa: BLE001 - the proxy outlives everything
            log_failure(request, error)
            answer = _problem(500, "unexpected error: see the proxy's log")
        return _fit(request, answer)

    # -- who may ask

    def _refuse(self, request: Request, peer: str | None) -> Answer | None:
        """Refuse other machines without the password, foreign names for this address, and foreign pages."""
        local = is_loopback(peer) if peer is not None else self._password is None
        if not local and not self._authorized(request):
            challenge = (("WWW-Authenticate", 'Basic realm="Ringback", charset="UTF-8"'),)
            return _problem(401, "give the proxy's password as Basic or Bearer", challenge)
        if request.path == f"{PREFIX}health" and request.method in {"GET", "HEAD"}:
            return None
        if local and not _is_own_host(request.host):
            # A name of somebody else's that leads here (DNS rebinding) would let their pages read all this.
            return _problem(403, f"the Host {request.host} is not this proxy's: use 127.0.0.1 or localhost")
        host = (request.header("Host") or request.host).lower()
        navigation = request.method == "GET" and request.header("Sec-Fetch-Mode") == "navigate"
        foreign = any(one.partition("://")[2].lower() != host for one in _values(request, "origin"))
        sites = {one.lower() for one in _values(request, "sec-fetch-site")}
        if foreign or (not sites.isdisjoint({"cross-site", "same-site"}) and not navigation):
            return _problem(403, "requests of other sites' pages are not answered")
        return None

    def _authorized(self, request: Request) -> bool:
        if self._password is None:
            return False
        for name in ("Authorization", "Proxy-Authorization"):
            value = request.header(name) or ""
            scheme, _, token = value.partition(" ")
            pair = basic_auth(value, errors="replace")
            given = pair[1] if pair else token.strip() if scheme.lower() == "bearer" else ""
            if compare_digest(given.encode("utf-8", "replace"), self._password.encode()):
                return True
        return False

    # -- requests

    def _requests(self, _request: Request, query: dict[str, str]) -> Response:
        return self._found("requests", _filter(query), _limit(query), Record.as_dict)

    def _request(self, number: int) -> Answer:
        entry = self.responder.journal.get(number)
        if entry is None:
            return _problem(404, f"there is no request {number}, or it is not kept any more")
        record = entry.record()
        details = record.as_dict(details=True)
        details["row"] = row_of(self.responder.contract_of(record.session), record)
        details["cited"] = cited_by(self.responder.contract, record.line)
        details["drift"] = self.responder.journal.drift.get(number, [])
        made = self.responder.journal.callbacks(sid=record.sid) if record.sid else []
        details["callbacks"] = [one.as_dict() for one in made if one.request == number]
        callbacks = self.responder.callbacks
        details["outcomes"] = callbacks.outcomes_of(record.sid) if callbacks is not None else []
        return _json(details)

    def _clear(self, _request: Request, query: dict[str, str]) -> Answer:
        return _json({"deleted": self.responder.journal.clear(query.get("session"))})

    def _wait(self, _request: Request, query: dict[str, str]) -> Response:
        capacity = self.responder.journal.capacity
        if not capacity:
            raise UsageError("this proxy keeps no requests to wait for: it was started with --journal 0")
        count = _integer(query, "count", 1, 1, capacity)
        wanted, timeout = _filter(query), _seconds(query)
        return self._crowded() or Poll(self._waited(wanted, count, timeout))

    async def _waited(self, wanted: Filter, count: int, timeout: float) -> Answer:  # noqa: ASYNC109 - the client's own limit
        records = await self.responder.journal.wait(wanted, count, timeout)
        made = self._envelope("requests", [record.as_dict() for record in records])
        if len(records) >= count:
            return _json(made)
        recent = self.responder.journal.find(Filter(), 5)
        made["error"] = f"{len(records)} of {count} came within {timeout:g} s; the last requests were: " + (
            "; ".join(_brief(record) for record in recent) or "none"
        )
        return _json(made, 504)  # browsers ask again by themselves after a 408

    def _crowded(self) -> Answer | None:
        """Refuse one more client that waits: each costs a little time for every request."""
        if len(self.responder.journal.listeners) < MOST_WAITING:
            return None
        return _problem(503, f"{MOST_WAITING:,} clients wait or follow already")

    def _events(self, request: Request, query: dict[str, str]) -> Response:
        since = _integer(query, "since", 0, 0)
        instance, _, number = (request.header("Last-Event-ID") or "").partition("-")
        if instance:
            same = instance == self.responder.journal.instance
            since = int(number) if same and number.isascii() and number.isdigit() else 0
        headers = (("Content-Type", "text/event-stream; charset=utf-8"), *_SAFE_HEADERS)
        return self._crowded() or Stream(200, "OK", headers, self._follow(since))

    async def _follow(self, last: int) -> AsyncIterator[bytes]:
        """Yield every entry after `last` as an event, those of now and those to come."""
        journal = self.responder.journal
        came = asyncio.Event()
        dropped = False
        callbacks = deque(journal.callbacks(), _UNREAD)
        drifted = deque(journal.drift, _UNREAD)

        def listen(entry: Entry | None) -> None:
            nonlocal dropped
            dropped = dropped or entry is None
            came.set()

        def listen_callback(callback: Callback) -> None:
            callbacks.append(callback)
            came.set()

        def listen_drift(number: int) -> None:
            drifted.append(number)
            came.set()

        journal.listeners.add(listen)
        journal.callback_listeners.add(listen_callback)
        journal.drift_listeners.add(listen_drift)
        try:
            yield f"retry: 1000\nevent: hello\ndata: {json.dumps(self._hello())}\n\n".encode()
            while True:
                if dropped:
                    dropped = False
                    yield b"event: cleared\ndata: {}\n\n"
                entries = _portion(journal.after(last))
                if entries:
                    last = entries[-1].number
                    yield b"".join([self._event(entry) for entry in entries])
                    await asyncio.sleep(0)  # others have their turn
                    continue
                if callbacks:
                    batch = [callbacks.popleft().as_dict() for _ in range(min(len(callbacks), _BATCH))]
                    yield "".join([f"event: callback\ndata: {json.dumps(one)}\n\n" for one in batch]).encode()
                    continue
                if drifted:
                    yield f"event: drift\ndata: {json.dumps({'number': drifted.popleft()})}\n\n".encode()
                    continue
                came.clear()
                try:
                    async with asyncio.timeout(KEEP_ALIVE):
                        await came.wait()
                except TimeoutError:
                    yield b": still here\n\n"
        finally:
            journal.listeners.discard(listen)
            journal.callback_listeners.discard(listen_callback)
            journal.drift_listeners.discard(listen_drift)

    def _hello(self) -> dict[str, Any]:
        journal = self.responder.journal
        known = {"instance": journal.instance, "last": journal.last, "version": __version__}
        return known | {"callbacks": self.responder.callbacks is not None}

    def _event(self, entry: Entry) -> bytes:
        """Return an entry as an event, made once for all who follow."""
        made = self._made.get(entry.number)
        if made is None:
            journal = self.responder.journal
            data = json.dumps(journal.record(entry).as_dict())
            made = f"id: {journal.instance}-{entry.number}\nevent: request\ndata: {data}\n\n".encode()
            self._made[entry.number] = made
            if len(self._made) > 2 * _BATCH:
                del self._made[next(iter(self._made))]
        return made

    # -- status callbacks

    def _callbacks(self, _request: Request, query: dict[str, str]) -> Answer:
        since = _integer(query, "since", 0, 0)
        found = self.responder.journal.callbacks(query.get("session"), query.get("sid"), since)
        return self._listed("callbacks", [one.as_dict() for one in found])

    def _outcome(self, request: Request, _query: dict[str, str]) -> Answer:
        callbacks = self.responder.callbacks
        if callbacks is None:
            raise UsageError("this proxy makes no status callbacks: start it with --callbacks")
        wanted = _body(request)
        sid, status, code = wanted.get("sid"), wanted.get("status"), wanted.get("code")
        if not isinstance(sid, str) or not isinstance(status, str):
            raise UsageError('send {"sid": SID, "status": "delivered"}, and "code": 30003 if it fails')
        if code is not None and (isinstance(code, bool) or not isinstance(code, int)):
            raise UsageError('"code" is an error code, such as 30003')
        try:
            sent = callbacks.decide(sid, status, code)
        except ValueError as error:
            raise UsageError(str(error)) from None
        return _json({"sid": sid, "resource": sent.resource, "status": status, "code": sent.outcome.code})

    # -- what was sent

    def _messages(self, _request: Request, query: dict[str, str]) -> Response:
        return self._sent("Messages", "messages", query)

    def _calls(self, _request: Request, query: dict[str, str]) -> Response:
        return self._sent("Calls", "calls", query)

    def _numbers(self, _request: Request, query: dict[str, str]) -> Response:
        return self._sent("IncomingPhoneNumbers", "numbers", query)

    def _sent(self, resource: str, name: str, query: dict[str, str]) -> Response:
        """List what succeeded for one resource, newest first."""
        wanted = _filter({**query, "resource": resource, "code": "0"})
        callbacks = self.responder.callbacks

        def shown(record: Record) -> dict[str, Any] | None:
            if not record.succeeded:
                return None
            one = created_by(record)
            if callbacks is not None:
                one["status"] = callbacks.status_of(one["sid"]) or one["status"]
            return one

        return self._found(name, wanted, _limit(query), shown)

    def _found(
        self, name: str, wanted: Filter, limit: int, shown: Callable[[Record], dict[str, Any] | None]
    ) -> Response:
        """List the records that match, newest first; of many, others' requests are answered in between.

        Args:
            name: The name of the list.
            wanted: The conditions.
            limit: How many are listed.
            shown: Makes an item of a record, or None where it does not count.
        """
        journal = self.responder.journal
        if len(journal) > _FEW:
            return self._found_slowly(name, wanted, limit, shown)
        items = [item for record in journal.find(wanted) if (item := shown(record)) is not None]
        return self._listed(name, items[:limit])

    async def _found_slowly(
        self, name: str, wanted: Filter, limit: int, shown: Callable[[Record], dict[str, Any] | None]
    ) -> Answer:
        items: list[str] = []
        async for record in self.responder.journal.search(wanted):
            if len(items) >= limit:
                break
            if (item := shown(record)) is not None:
                items.append(json.dumps(item))
        head = json.dumps(self._envelope(name, []))
        return _answer(200, _JSON, f"{head[:-2]}{', '.join(items)}]}}".encode())

    # -- sessions, rows, reset

    def _session(self, _request: Request, _query: dict[str, str]) -> Answer:
        counts = Counter(entry.session for entry in self.responder.journal)
        sessions = [{"name": name, "requests": count} for name, count in counts.items()]
        return _json({"cassette": self.responder.session, "sessions": sessions})

    def _set_session(self, request: Request, _query: dict[str, str]) -> Answer:
        wanted = _body(request)
        name, user = wanted.get("cassette"), wanted.get("user")
        if not (isinstance(name, str) and _SESSION.fullmatch(name)) and not (name is None and user):
            raise UsageError('send {"cassette": NAME}: letters, digits, ".", "_" and "-"')
        share = self.responder.state.put
        if user is None:
            self.responder.session = str(name)
            return _shared(share("session", "", str(name)), {"cassette": name})
        if not isinstance(user, str) or not _SESSION.fullmatch(user):
            raise UsageError('"user" is the user name of a proxy URL: letters, digits, ".", "_" and "-"')
        self.responder.bind(user, name, _cassette_file(wanted.get("file")), _command(wanted.get("command")))
        counts = {"distrusted": self.responder.tally.distrusted, "last": self.responder.journal.last}
        return _shared(share("binding", user, name), {"cassette": name, "user": user, **counts})

    def _reset(self, _request: Request, query: dict[str, str]) -> Answer:
        session = query.get("session")
        deleted = self.responder.journal.clear(session)
        names = list(self.responder.rows) if session is None else [session]
        self.responder.rewind(session)
        known = [self.responder.state.put("rows", name, None) for name in names]
        return _shared(all(known), {"deleted": deleted})

    def _rows(self, _request: Request, query: dict[str, str]) -> Answer:
        return _json(self.responder.rows.get(query.get("session", ""), {}))

    def _put_rows(self, request: Request, query: dict[str, str]) -> Response:
        rows = _body(request)
        session = query.get("session", "")
        if session and not _SESSION.fullmatch(session):
            raise UsageError('a session is named by letters, digits, ".", "_" and "-"')
        if session not in self.responder.rows and len(self.responder.rows) >= _MOST_SESSIONS:
            raise UsageError(f"{_MOST_SESSIONS:,} sessions have rows already: reset those that have ended")
        if is_large(request):
            return self._put_many_rows(session, rows)
        return self._lay_over(session, _overlaid(self.responder.contract, rows), rows)

    async def _put_many_rows(self, session: str, rows: dict[str, Any]) -> Answer:
        loaded = self.responder.contract
        try:
            laid = await self.responder.work.run(lambda: _overlaid(loaded, rows))
        except UsageError as error:
            return _problem(400, str(error))
        except BusyError as error:
            return _problem(429, f"{error}; send it again")
        return self._lay_over(session, laid, rows)

    def _lay_over(self, session: str, laid: Contract, rows: dict[str, Any]) -> Answer:
        self.responder.lay_over(session, laid, rows)
        return _shared(self.responder.state.put("rows", session, rows), rows)

    def _delete_rows(self, _request: Request, query: dict[str, str]) -> Answer:
        session = query.get("session", "")
        self.responder.lay_over(session, None, {})
        return _shared(self.responder.state.put("rows", session, None), {})

    def _change(self, kind: str, name: str, value: Any) -> None:
        """Take over what was set at another replica."""
        responder = self.responder
        if kind == "session" and isinstance(value, str):
            responder.session = value
        elif kind == "binding":
            responder.bind(name, value)
        elif kind == "rows" and isinstance(value, dict):
            with suppress(UsageError):  # it was read where it was set; this may be another version
                responder.lay_over(name, _overlaid(responder.contract, value), value)
        elif kind == "rows":
            responder.lay_over(name, None, {})

    # -- the proxy

    def _health(self, _request: Request, _query: dict[str, str]) -> Answer:
        responder = self.responder
        state = {"status": "ok", "version": __version__, "mode": responder.mode, **responder.tally.as_dict()}
        state["callbacks"] = responder.callbacks is not None
        if responder.state.shared:
            state["shared_state"] = "away" if responder.state.away else "ok"
        state |= {"journal": len(responder.journal), "listeners": len(responder.journal.listeners)}
        return _json({**state, "instance": responder.journal.instance})

    def _ca(self, _request: Request, _query: dict[str, str]) -> Answer:
        with suppress(OSError):
            if self.ca is not None:
                return _answer(200, "application/x-pem-file", self.ca.read_bytes())
        return _problem(404, "this proxy's CA is not known here: see `ringback ca`")

    def _metrics(self, _request: Request, _query: dict[str, str]) -> Answer:
        text = prometheus(self.responder.tally, len(self.responder.journal))
        if self.responder.state.shared:
            text += "# HELP ringback_shared_state_up 0 while this replica goes on alone.\n"
            text += "# TYPE ringback_shared_state_up gauge\n"
            text += f"ringback_shared_state_up {int(not self.responder.state.away)}\n"
        return _answer(200, "text/plain; version=0.0.4; charset=utf-8", text.encode())

    def _listed(self, name: str, items: list[dict[str, Any]]) -> Answer:
        return _json(self._envelope(name, items))

    def _envelope(self, name: str, items: list[dict[str, Any]]) -> dict[str, Any]:
        journal = self.responder.journal
        return {"instance": journal.instance, "last": journal.last, name: items}


# -- requests


def _route(method: str, path: str | None) -> tuple[Route | None, int | None]:
    """Find the route of a request, and the number in its path."""
    if path is None:
        return None, None
    found = _BY_KEY.get((method, path))
    if found is not None:
        return found, None
    below = path.removeprefix("requests/")
    if below != path and method == "GET" and re.fullmatch(r"[0-9]{1,15}", below):
        return _BY_KEY["GET", "requests/{n}"], int(below)
    return None, None


def _methods(path: str | None) -> str:
    """Return the methods that a path of the API has, or an empty string if there is none."""
    if path is not None and re.fullmatch(r"requests/[0-9]{1,15}", path):
        path = "requests/{n}"
    found = [route.method for route in ROUTES if route.path == path] or (["GET"] if path in _UI_FILES else [])
    return ", ".join(["HEAD", *found] if "GET" in found else found)


def _query(request: Request, allowed: tuple[str, ...]) -> dict[str, str]:
    query = dict(parse_qsl(request.query, keep_blank_values=True))
    unknown = [name for name in query if name not in allowed]
    if unknown:
        raise UsageError(
            f"there is no parameter {unknown[0]!r} here; {', '.join(allowed) or 'none'} can be given"
        )
    return query


def _command(given: object) -> str:
    """Return the command line that records a session's cassette, with MODE for the mode; or an empty text."""
    if given is None:
        return ""
    if not isinstance(given, str) or len(given) > _LONGEST_COMMAND or not given.isprintable():
        raise UsageError('"command" is a command line, with MODE in the place of the mode')
    return given


def _cassette_file(name: object) -> Path | None:
    """Return the file of a cassette below the working directory, or None where none is named."""
    if name is None:
        return None
    path = Path(str(name).replace("\0", ""))
    if path.suffix not in {".yaml", ".yml", ".json"} or not path.resolve().is_relative_to(Path.cwd()):
        raise UsageError('"file" is a cassette below the working directory of the proxy')
    return path


def _body(request: Request) -> dict[str, Any]:
    try:
        found = json.loads(request.body)
    except (ValueError, RecursionError):
        raise UsageError("the body is not JSON") from None
    if not isinstance(found, dict):
        raise UsageError("the body is not a JSON object")
    return found


def _filter(query: dict[str, str]) -> Filter:
    pattern = query.get("body~")
    if len(pattern or query.get("body", "")) > 2 * _LONGEST_PATTERN:
        raise UsageError(f"body~ is longer than {_LONGEST_PATTERN} characters")
    body: re.Pattern[str] | LinearPattern | None = None
    try:
        if pattern is not None:
            LinearPattern(pattern)  # what is wrong with it is said of what was given
            body = LinearPattern(f"(?s){pattern}")
        elif "body" in query:
            body = re.compile(re.escape(query["body"]))
    except ValueError as error:
        raise UsageError(f"body~ is no regular expression: {error}") from None
    code = None if query.get("code") is None or query["code"] == "none" else _integer(query, "code", 0, 0)
    return Filter(
        resource=query.get("resource"),
        to=query.get("to"),
        sender=query.get("from"),
        body=body,
        code=0 if query.get("code") == "none" else code,
        rule=query.get("rule"),
        session=query.get("session"),
        source=query.get("source"),
        since=_integer(query, "since", 0, 0),
    )


def _limit(query: dict[str, str]) -> int:
    return _integer(query, "limit", DEFAULT_LIMIT, 0, 1_000_000)


def _integer(query: dict[str, str], name: str, default: int, least: int, most: int = 10**15) -> int:
    text = query.get(name, str(default))
    number = int(text) if re.fullmatch(r"[0-9]{1,15}", text) else -1
    if not least <= number <= most:
        raise UsageError(f"{name}={text!r} is not a whole number from {least} to {most}")
    return number


def _seconds(query: dict[str, str]) -> float:
    text = query.get("timeout", str(DEFAULT_WAIT))
    if not re.fullmatch(r"[0-9]{1,4}(?:\.[0-9]{1,6})?", text) or float(text) > MAX_WAIT:
        raise UsageError(f"timeout={text!r} is not a number of seconds from 0 to {MAX_WAIT:g}")
    return float(text)


def _values(request: Request, wanted: str) -> list[str]:
    return [value.strip() for name, value in request.headers if name.lower() == wanted]


def _is_own_host(host: str) -> bool:
    """Report whether `host` is a name that nobody else can give to this machine."""
    if is_loopback(host):
        return True
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


# -- answers


def _answer(status: int, media_type: str, body: bytes, more: Headers = ()) -> Answer:
    phrase = _PHRASES.get(status) or _PHRASES_MORE[status]
    headers = (("Content-Type", media_type), ("Content-Length", str(len(body))), *_SAFE_HEADERS, *more)
    return Answer(status, phrase, headers, body, Source("gate", "proxy.control"))


def _json(value: Any, status: int = 200) -> Answer:
    return _answer(status, _JSON, json.dumps(value).encode())


def _shared(known: bool, value: Any) -> Answer:
    """Answer with `value`, or with a 503 if only this replica knows it."""
    if known:
        return _json(value)
    return _problem(503, "the shared state is away: this counts in this replica alone, do it again later")


def _problem(status: int, text: str, more: Headers = ()) -> Answer:
    return _answer(status, _JSON, json.dumps({"error": text}).encode(), more)


def _page(name: str, media_type: str) -> Answer:
    return _answer(200, media_type, (_UI / name).read_bytes())


def _fit(request: Request, answer: Response) -> Response:
    """Take the body away from the answer to a HEAD request."""
    if request.method != "HEAD" or isinstance(answer, Stream):
        return answer
    return structs.replace(answer, body=b"") if isinstance(answer, Answer) else _without_body(answer)


async def _without_body(answer: Awaitable[Answer]) -> Answer:
    return structs.replace(await answer, body=b"")


def _portion(entries: list[Entry]) -> list[Entry]:
    """Return the first of `entries`, so few that taking them apart keeps nobody waiting."""
    size = 0
    for place, entry in enumerate(entries[:_BATCH]):
        size += entry.size
        if size > _BATCH_SIZE and place:
            return entries[:place]
    return entries[:_BATCH]


def _brief(record: Record) -> str:
    address = record.field("To", "PhoneNumber", "AreaCode")
    return " ".join(
        filter(None, [record.method, record.resource, address, str(record.code or record.status)])
    )


def _overlaid(loaded: Contract, rows: dict[str, Any]) -> Contract:
    """Lay rows that came as JSON over `loaded`, as a file of `--contract` is (JSON is YAML)."""
    from ringback.contract.yaml_files import overlaid  # noqa: PLC0415 - PyYAML is imported with it

    with tempfile.TemporaryDirectory(prefix="ringback-rows-") as directory:
        file = Path(directory) / "rows"
        file.write_text(json.dumps(rows), encoding="utf-8")
        try:
            return overlaid(loaded, file)
        except ContractError as error:
            raise UsageError(re.sub(r"^.*?rows:\d+: ", "", str(error))) from None
