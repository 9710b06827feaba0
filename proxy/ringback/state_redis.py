"""State shared by a Valkey or Redis server; see `ringback.state` for the interface.

The server may be away, slow or wiped, and answers go on. Each call has a time limit of half a second; after a
failure the server is left alone for some seconds. Meanwhile each replica goes on from what it knows:

* places of replay count on here, and a replica that comes back does not fall behind what it has used;
* credentials that are known here stay known, and others are proven by a probe of this replica;
* with `--max-live`, nothing is forwarded;
* what is set at run time counts in this replica alone, and whoever sets it is told;
* requests wait to be published, up to a limit.

Keys of the server begin with `ringback:`. Of credentials it has digests alone, under a key made from the
proxy password, which is not there; and a verdict counts only with a code made by that key. Without a proxy
password verdicts are not shared.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import re
import secrets
import threading
from collections import deque
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from ringback.state import Budget, State, Uses, Verdicts
from ringback.tally import many

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

PREFIX: Final = "ringback:"
TIME_LIMIT: Final = 0.5  # seconds of one call
PAUSE: Final = 5.0  # seconds for which a server that failed is left alone
MOST_WAITING: Final = 10_000  # events that wait to be published

_DAY: Final = 86400  # seconds: of a budget, of a verdict, and of places of replay after their last use
_CLAIM: Final = 20  # seconds within which the replica that probes has its answer
_POLL: Final = 0.05  # seconds between two looks for the verdict of another replica
_BLOCK: Final = 250  # milliseconds that a follower waits for events
_BATCH: Final = 500  # events of one call
_EVENTS: Final = f"{PREFIX}events"
_VALUES: Final = f"{PREFIX}values"
_BUDGET: Final = f"{PREFIX}budget"
_INSTANCE: Final = f"{PREFIX}instance"
_SENTINELS: Final = frozenset({"sentinel", "sentinels"})
_CAUSES: Final = {
    "MasterNotFoundError": "no sentinel knows a master of that name",
    "TimeoutError": "the shared state does not answer in time",
    "ConnectionError": "no connection to the shared state",
    "AuthenticationError": "the shared state wants another password",
    "AuthenticationWrongNumberOfArgsError": "the shared state wants another password",
}
_VERDICTS: Final = frozenset({"test", "live", "wrong"})

# KEYS: epoch, places. ARGV: request, the replica's count, the replica's epoch, seconds of life.
_TAKE: Final = """
local epoch = redis.call('GET', KEYS[1])
if not epoch then
  epoch = ARGV[3]
  redis.call('SET', KEYS[1], epoch)
  redis.call('DEL', KEYS[2])
end
local count = tonumber(redis.call('HGET', KEYS[2], ARGV[1]) or '0')
if epoch == ARGV[3] and count < tonumber(ARGV[2]) then count = tonumber(ARGV[2]) end
redis.call('HSET', KEYS[2], ARGV[1], count + 1)
redis.call('EXPIRE', KEYS[1], ARGV[4])
redis.call('EXPIRE', KEYS[2], ARGV[4])
return {epoch, count}
"""
# KEYS: budget. ARGV: limit, seconds of life.
_SPEND: Final = """
local spent = tonumber(redis.call('GET', KEYS[1]) or '0')
if spent >= tonumber(ARGV[1]) then return 0 end
if redis.call('INCR', KEYS[1]) == 1 then redis.call('EXPIRE', KEYS[1], ARGV[2]) end
return 1
"""


class StateError(Exception):
    """The address of the state cannot be used; the message has no password."""


class AwayError(Exception):
    """The server does not answer, or not in time."""


class RedisState(State):
    """The state that all replicas with the same server share.

    Args:
        url: `redis://` or `rediss://`, with user and password where they are wanted.
        password: The proxy password, or None.
        capacity: How many events are kept on the server.
        report: Takes sentences for people, from any thread.

    Raises:
        StateError: The extra is not installed, or the URL is not understood.
    """

    shared = True

    def __init__(
        self,
        url: str,
        *,
        password: str | None = None,
        capacity: int = MOST_WAITING,
        report: Callable[[str], None] = lambda _: None,
    ) -> None:
        super().__init__()
        self.place = _place(url)
        self.replica = secrets.token_hex(8)
        self._report = report
        self._capacity = max(capacity, 1000)
        self._client = _client(url, self.place, TIME_LIMIT)
        self._following = _client(url, self.place, _BLOCK / 1000 + 5)
        self._not_before = 0.0
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._dropped = 0
        self._guard = threading.Lock()  # of what follows
        self._published = self._sent = 0  # events
        self._behind = False  # True while events wait for a server that is away
        self._held: deque[tuple[int, asyncio.Future[None]]] = deque()  # answers, by the event they wait for
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self.verdicts = RedisVerdicts(self, password) if password else Verdicts()
        self._shared_uses: dict[str, RedisUses] = {}

    def start(self) -> None:
        """Ask the server once, and report it if it is away; answers do not depend on it."""
        with suppress(AwayError):
            self.call(self._client.ping)
        self._run(self._publish_waiting, "publish")

    # -- calls

    def call(self, operation: Callable[..., Any], *given: Any, **named: Any) -> Any:
        """Call the server.

        Raises:
            AwayError: It does not answer in time, or did not a moment ago.
        """
        if monotonic() < self._not_before:
            raise AwayError
        try:
            found = operation(*given, **named)
        except Exception as error:  # noqa: BLE001 - redis, ssl and socket have many; answers go on
            self._not_before = monotonic() + PAUSE
            if not self.away:
                self.away = True
                self._report(f"{self.place}: {_cause(error)}; this replica goes on alone, see docs/fleet.md")
            raise AwayError from None
        if self.away:
            self.away = False
            self._report(f"{self.place}: the shared state answers again")
        return found

    # -- what is shared

    def uses(self, cassette: str) -> Uses:
        """As `State.uses`, for all replicas."""
        return self._shared_uses.setdefault(cassette, RedisUses(self, cassette))

    def rewind(self, cassette: str | None) -> None:
        """As `State.rewind`, for all replicas."""
        names = {cassette} if cassette is not None else set(self._shared_uses)
        if cassette is None:
            with suppress(AwayError):
                found = self.call(lambda: list(self._client.scan_iter(f"{PREFIX}{{*}}:epoch", count=1000)))
                names |= {key.decode()[len(PREFIX) + 1 : -len("}:epoch")] for key in found}
        for name in names:
            self.uses(name).rewind()

    def budget(self, limit: int | None) -> Budget:
        """As `State.budget`, for all replicas and one day from the first request on."""
        return Budget(None) if limit is None else RedisBudget(self, limit)

    def put(self, kind: str, name: str, value: Any) -> bool:
        """As `State.put`."""
        super().put(kind, name, value)
        field = json.dumps([kind, name])
        try:
            if value is None:
                self.call(self._client.hdel, _VALUES, field)
            else:
                self.call(self._client.hset, _VALUES, field, json.dumps(value))
        except AwayError:
            return False
        self.publish("value", field.encode())
        return True

    # -- events

    def publish(self, kind: str, payload: bytes) -> None:
        """As `State.publish`."""
        with self._guard:
            if len(self._waiting) >= MOST_WAITING:
                self._waiting.popleft()
                self._dropped += 1
                self._sent += 1
            self._waiting.append((kind, payload))
            self._published += 1
        self._wake.set()

    def published(self) -> Awaitable[None] | None:
        """As `State.published`; at most for the time limit, and not at all while the server is away."""
        loop = _running_loop()
        with self._guard:
            if loop is None or self._behind or self._sent >= self._published:
                return None
            sent = loop.create_future()
            self._held.append((self._published, sent))
        return _at_most(sent, TIME_LIMIT)

    def _publish_waiting(self) -> None:
        while True:
            self._wake.wait()
            stopping = self._stop.is_set()
            self._wake.clear()
            if not self._send_waiting() and stopping:
                return
            if stopping and not self._waiting:
                return
            if self._waiting:  # the server is away
                self._stop.wait(PAUSE)
                self._wake.set()

    def _send_waiting(self) -> bool:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
            try:
                self.call(self._add_all, batch)
            except AwayError:
                with self._guard:
                    self._waiting.extendleft(reversed(batch))
                    self._behind = True
                    self._release(self._published)
                return False
            with self._guard:
                self._behind = False
                self._sent += len(batch)
                self._release(self._sent)
            if self._dropped:
                self._report(f"{many(self._dropped, 'event')} never reached the other replicas' Inbox")
                self._dropped = 0
        return True

    def _release(self, number: int) -> None:
        """Let the answers go whose events are among the first `number` ones."""
        while self._held and self._held[0][0] <= number:
            _, sent = self._held.popleft()
            with suppress(RuntimeError):  # the loop is closed: the end
                sent.get_loop().call_soon_threadsafe(_settle, sent)

    def _add_all(self, batch: list[tuple[str, bytes]]) -> None:
        pipeline = self._client.pipeline(transaction=False)
        for kind, payload in batch:
            fields = {"from": self.replica, "kind": kind, "payload": payload}
            pipeline.xadd(_EVENTS, fields, maxlen=self._capacity, approximate=True)
        pipeline.execute()

    def follow(self, take: Callable[[str, bytes], None], change: Callable[[str, str, Any], None]) -> None:
        """As `State.follow`."""
        loop = _running_loop()

        def deliver(function: Callable[..., None], *given: Any) -> None:
            if loop is None:
                function(*given)
            else:
                with suppress(RuntimeError):  # the loop is closed: the end
                    loop.call_soon_threadsafe(function, *given)

        self._run(lambda: self._follow(take, change, deliver), "follow")

    def _follow(
        self,
        take: Callable[[str, bytes], None],
        change: Callable[[str, str, Any], None],
        deliver: Callable[..., None],
    ) -> None:
        instance, last = b"", b"0"
        while not self._stop.is_set():
            try:
                found = self._instance()
                if found != instance:  # at start, or the server was wiped
                    instance, last = found, b"0"
                    self._restore()
                    self._take_values(change, deliver)
                events = self._following.xread({_EVENTS: last}, count=_BATCH, block=_BLOCK)
                for identifier, fields in events[0][1] if events else ():
                    last = identifier
                    if fields.get(b"from") == self.replica.encode():
                        continue
                    kind = fields.get(b"kind", b"").decode("ascii", "replace")
                    if kind == "value":
                        self._take_values(change, deliver)
                    else:
                        deliver(take, kind, fields.get(b"payload", b""))
            except Exception:  # noqa: BLE001 - see `call`, which reports
                self._stop.wait(1.0)

    def _instance(self) -> bytes:
        self._following.set(_INSTANCE, secrets.token_hex(8), nx=True)
        found: bytes = self._following.get(_INSTANCE) or b""
        return found

    def _restore(self) -> None:
        """Set what was set here again, where the server has lost it."""
        for (kind, name), value in self.values().items():
            self._following.hsetnx(_VALUES, json.dumps([kind, name]), json.dumps(value))

    def _take_values(self, change: Callable[[str, str, Any], None], deliver: Callable[..., None]) -> None:
        """Compare what is set with what is known here, and tell of what differs."""
        now: dict[tuple[str, str], Any] = {}
        for field, value in self._following.hgetall(_VALUES).items():
            with suppress(ValueError):
                kind, name = json.loads(field)
                now[kind, name] = json.loads(value)
        known = self.values()
        for key in {*known, *now}:
            if known.get(key) != now.get(key):
                State.put(self, *key, now.get(key))
                deliver(change, *key, now.get(key))

    # -- life

    def _run(self, work: Callable[[], None], name: str) -> None:
        thread = threading.Thread(target=work, name=f"ringback-state-{name}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def close(self) -> None:
        """Publish what waits, if the server answers, and end."""
        self._stop.set()
        self._wake.set()
        for thread in self._threads:
            thread.join(_BLOCK / 1000 + 6)
        for client in (self._client, self._following):
            with suppress(Exception):
                client.close()


class RedisUses(Uses):
    """The places of replay of one cassette, for all replicas.

    Args:
        state: The state.
        cassette: The cassette's name.
    """

    def __init__(self, state: RedisState, cassette: str) -> None:
        super().__init__()
        self._state = state
        # In one slot of a cluster, as a script needs it.
        self._keys = (f"{PREFIX}{{{cassette}}}:epoch", f"{PREFIX}{{{cassette}}}:places")
        self._epoch = b"0"
        self._script = state._client.register_script(_TAKE)  # noqa: SLF001 - of the same module

    def take(self, key: bytes) -> int:
        """As `Uses.take`, for all replicas; it waits for the server, never longer than the time limit."""
        mine = self._counts.get(key, 0)
        try:
            epoch, count = self._state.call(
                self._script, keys=self._keys, args=(key, mine, self._epoch, _DAY)
            )
        except AwayError:
            count = mine
        else:
            if epoch != self._epoch:  # somebody began anew
                self._counts.clear()
                self._epoch = epoch
        self._counts[key] = count + 1
        return int(count)

    def rewind(self) -> None:
        """Begin anew, for all replicas; while the server is away, for this one."""
        super().rewind()
        self._epoch = secrets.token_hex(8).encode()
        with suppress(AwayError):
            self._state.call(self._begin)

    def _begin(self) -> None:
        pipeline = self._state._client.pipeline(transaction=True)  # noqa: SLF001 - as above
        pipeline.set(self._keys[0], self._epoch, ex=_DAY)
        pipeline.delete(self._keys[1])
        pipeline.execute()


class RedisBudget(Budget):
    """The budget of all replicas together: `limit` requests in a day. Arguments as for `RedisUses`."""

    def __init__(self, state: RedisState, limit: int) -> None:
        super().__init__(limit)
        self._state = state
        self._used_up_until = 0.0
        self._script = state._client.register_script(_SPEND)  # noqa: SLF001 - of the same module

    @property
    def used_up(self) -> bool:
        """As `Budget.used_up`; what the server said a moment ago is believed."""
        return monotonic() < self._used_up_until

    @property
    def reason(self) -> str:
        """As `Budget.reason`."""
        if self._state.away:
            return "the budget of --max-live is shared, and the shared state is away"
        return f"the shared budget of --max-live is used up: {many(self.limit or 0, 'request')} a day"

    async def spend(self) -> bool:
        """As `Budget.spend`; False also where the server is away."""
        try:
            left = await asyncio.to_thread(
                self._state.call, self._script, keys=(_BUDGET,), args=(self.limit, _DAY)
            )
        except AwayError:
            return False
        if not left:
            self._used_up_until = monotonic() + PAUSE
        return bool(left)


class RedisVerdicts(Verdicts):
    """Verdicts that all replicas with the same proxy password believe.

    Args:
        state: The state.
        password: The proxy password.
    """

    def __init__(self, state: RedisState, password: str) -> None:
        super().__init__()
        self._state = state
        self.key = hashlib.scrypt(password.encode(), salt=b"ringback verdicts", n=2**14, r=8, p=1, dklen=32)

    async def settle(self, digest: bytes, probe: Callable[[], Awaitable[str]]) -> str:
        """As `Verdicts.settle`; of replicas that ask at once one probes, and the others wait for it."""
        name = f"{PREFIX}verdict:{digest.hex()}"
        claim = f"{name}:asking"
        client = self._state._client  # noqa: SLF001 - of the same module
        mine = os.urandom(8)
        waited = 0.0
        while True:
            try:
                known = self._checked(digest, await self._call(client.get, name))
                if known:
                    return known
                claimed = await self._call(client.set, claim, mine, nx=True, ex=_CLAIM)
            except AwayError:
                return await probe()
            if claimed or waited > _CLAIM:
                break
            await asyncio.sleep(_POLL)
            waited += _POLL
        try:
            verdict = await probe()
            with suppress(AwayError):
                await self._call(client.set, name, self._signed(digest, verdict), ex=_DAY)
        finally:
            with suppress(AwayError):
                await self._call(client.delete, claim)
        return verdict

    async def _call(self, operation: Callable[..., Any], *given: Any, **named: Any) -> Any:
        return await asyncio.to_thread(self._state.call, operation, *given, **named)

    def _signed(self, digest: bytes, verdict: str) -> bytes:
        code = hmac.new(self.key, digest + verdict.encode(), "sha256").hexdigest()
        return f"{verdict} {code}".encode()

    def _checked(self, digest: bytes, found: bytes | None) -> str:
        """Return the verdict, or an empty string if it is none that a replica of this fleet has written."""
        verdict = (found or b"").partition(b" ")[0].decode("ascii", "replace")
        if verdict not in _VERDICTS or not hmac.compare_digest(self._signed(digest, verdict), found or b""):
            return ""
        return verdict


def check_url(text: str) -> str:
    """Return `text`, the address of a server.

    Raises:
        ValueError: It is none; the message has no password.
    """
    try:
        parts = urlsplit(text)
        sentinel = parts.scheme in _SENTINELS
        host, _port = (None, None) if sentinel else (parts.hostname, parts.port)
    except ValueError:
        raise ValueError("it is no URL") from None
    if sentinel:
        _sentinels(text)
    elif parts.scheme not in {"redis", "rediss", "unix"} or not (host or parts.path):
        raise ValueError("write redis://HOST:PORT/NUMBER, or rediss:// for TLS")
    return text


def _sentinels(url: str) -> tuple[list[tuple[str, int]], str, int]:
    """Return the sentinels' hosts and ports, the master's name, and the database of a `sentinel://` URL.

    Raises:
        ValueError: It is none.
    """
    parts = urlsplit(url)
    name, _, number = parts.path.strip("/").partition("/")
    hosts = re.findall(r"(?:^|,)(\[[^\]]+\]|[^,:\[\]]+)(?::(\d+))?(?=,|$)", parts.netloc.rpartition("@")[2])
    if not hosts or not name or not (number or "0").isdigit():
        raise ValueError("write sentinel://HOST:PORT,HOST:PORT/MASTER/NUMBER, or sentinels:// for TLS")
    return [(host.strip("[]"), int(port or 26379)) for host, port in hosts], name, int(number or 0)


def _place(url: str) -> str:
    """Return the URL without user, password and query."""
    parts = urlsplit(url)
    if parts.scheme in _SENTINELS:
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    return f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}{parts.path}"


def _client(url: str, place: str, limit: float) -> Any:
    try:
        import redis  # noqa: PLC0415 - an extra, and slow to import
    except ImportError:
        raise StateError(f"state: {place} needs the extra `fleet`: pip install 'ringback[fleet]'") from None
    from redis.backoff import NoBackoff  # noqa: PLC0415 - as above
    from redis.retry import Retry  # noqa: PLC0415 - as above

    limits: dict[str, Any] = {"socket_timeout": limit, "socket_connect_timeout": min(limit, 1.0)}
    limits["retry"] = Retry(NoBackoff(), 0)
    try:
        if urlsplit(url).scheme in _SENTINELS:
            return _master(url, limits)
        return redis.Redis.from_url(url, **limits)
    except Exception as error:  # noqa: BLE001 - of its query, such as a file that is not there
        raise StateError(f"state: {place}: {_cause(error)}") from None


def _master(url: str, limits: dict[str, Any]) -> Any:
    """Return a client of the master that sentinels name, now and after a failover."""
    from redis.sentinel import Sentinel  # noqa: PLC0415 - as above

    hosts, name, database = _sentinels(url)
    user, _, password = urlsplit(url).netloc.rpartition("@")[0].partition(":")
    query = dict(parse_qsl(urlsplit(url).query))
    secured: dict[str, Any] = {}
    if urlsplit(url).scheme == "sentinels":
        secured = {"ssl": True, "ssl_ca_certs": query.get("ssl_ca_certs")}
    asking = {"password": query.get("sentinel_password"), **limits, **secured}
    known = {"username": unquote(user) or None, "password": unquote(password) or None}
    sentinel = Sentinel(hosts, sentinel_kwargs=asking, db=database, **known, **limits, **secured)
    return sentinel.master_for(name)


def _cause(error: Exception) -> str:
    """Describe an error without the address, which may have a password."""
    name = type(error).__name__
    return _CAUSES.get(name, f"the shared state fails ({name})")


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


async def _at_most(future: asyncio.Future[None], seconds: float) -> None:
    await asyncio.wait((future,), timeout=seconds)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
