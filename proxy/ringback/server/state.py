"""State that all connections of a running proxy share: who answers, the limits, and what is open."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from functools import lru_cache, partial
from hmac import compare_digest
from typing import TYPE_CHECKING, Final, Protocol

from ringback.exchange import basic_auth
from ringback.net import is_loopback
from ringback.responder import password_required, plain_answer
from ringback.server.destination import Destination, canonical_host_name, reverse_request_refusal
from ringback.server.http1 import Heads
from ringback.tally import misled_warning

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from ringback.contract import Admitted, Names, Request
    from ringback.control import Control, Response
    from ringback.responder import Responder
    from ringback.server.http1 import Handler
    from ringback.server.tls import Contexts
    from ringback.settings import Settings

logger = logging.getLogger(__name__)

_KINDS: Final = 64  # of connections whose requests' heads are remembered


class MitmproxyEngine(Protocol):
    """mitmproxy with the addon, for what this server does not speak."""

    async def stop(self) -> None:
        """Stop it, with its connections."""
        ...  # a protocol has no body

    async def take(self, way: str, transport: asyncio.Transport, received: bytes, replied: bytes) -> None:
        """Take a connection over as if it had come there.

        Args:
            way: The listener that it came to.
            transport: The connection, paused.
            received: All bytes that came.
            replied: The bytes that were sent.
        """
        ...  # a protocol has no body


class Connection(Protocol):
    """An open connection, as the sweep of idle ones sees it."""

    idle: int
    transport: asyncio.Transport


class ServerState:
    """State that the connections of all listeners share.

    Args:
        responder: Answers Twilio requests.
        control: Answers requests for the proxy itself.
        settings: The settings in force.
        contexts: The TLS contexts.
        idle_timeout: Seconds without a byte after which a connection is closed.

    Attributes:
        engine: Starts mitmproxy when it is first needed; set before the first connection.
        connections: The open ones, except those that mitmproxy has.
        ports: The ports listened on.
        dialled: The own addresses of tunnels to other hosts.
    """

    engine: Callable[[], Awaitable[MitmproxyEngine]]

    def __init__(
        self,
        responder: Responder,
        control: Control,
        settings: Settings,
        contexts: Contexts,
        idle_timeout: float,
    ) -> None:
        self.responder = responder
        self.control = control
        self.settings = settings
        self.contexts = contexts
        self.connections: set[Connection] = set()
        self.ports: set[int] = set()
        self.dialled: set[tuple[str | int, ...]] = set()
        self._idle_timeout = idle_timeout
        self._sweep: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._heads = lru_cache(_KINDS)(self._make_heads)

    # -- life

    def start(self) -> None:
        """Begin to close connections that have been idle for too long."""
        self._sweep = asyncio.get_running_loop().call_later(self._idle_timeout / 2, self._close_idle)

    def stop(self) -> None:
        """Close every connection and give up what is still awaited."""
        if self._sweep:
            self._sweep.cancel()
        left, self.connections = self.connections, set()
        for connection in left:
            connection.transport.abort()
        for task in self._tasks:
            task.cancel()

    def start_task(self, work: Coroutine[None, None, None]) -> None:
        """Run `work` beside everything else; what it raises is logged."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("Ringback failed on a connection", exc_info=error)

    def _close_idle(self) -> None:
        for connection in list(self.connections):
            # Two rounds without a byte: between one and one and a half times the timeout.
            connection.idle += 1
            if connection.idle > 2:
                connection.transport.abort()
        self.start()

    # -- what connections ask

    def is_twilio(self, name: str) -> bool:
        """Report whether `name` is a host of Twilio's."""
        return self.responder.contract.is_twilio(canonical_host_name(name))

    def password_fits(self, authorization: str) -> bool:
        """Report whether a Proxy-Authorization value has the proxy password, if one is wanted."""
        wanted = self.settings.password
        if wanted is None:
            return True
        pair = basic_auth(authorization, errors="replace")
        return pair is not None and compare_digest(pair[1].encode(), wanted.encode())

    def heads(self, destination: Destination, sni: str | None, scheme: str) -> Heads:
        """Return the memo of heads that connections to `destination` share."""
        return self._heads(replace(destination, user=None), sni, scheme)

    def _make_heads(self, destination: Destination, sni: str | None, scheme: str) -> Heads:
        return Heads(self.responder, partial(destination.names, sni=sni), scheme)

    def handler(self, destination: Destination, transport: asyncio.Transport, *, tls: bool) -> Handler:
        """Return the function that answers the requests of one connection."""
        if destination.way in {"connect", "socks", "transparent"}:
            handle: Handler = partial(self.responder.handle, user=destination.user)
            return self._counting_tunnelled(handle) if destination.way == "connect" else handle
        peer = transport.get_extra_info("peername")[0]
        if destination.way == "reverse":
            return partial(self._handle_reverse, peer, tls)
        return partial(self._handle_proxy_request, peer)

    def _counting_tunnelled(self, handle: Handler) -> Handler:
        """Wrap the handler of a CONNECT tunnel: warn of a client that takes the reply to CONNECT for answers.

        The first request is enough: such a client opens a connection for each.
        """
        counted = False

        def counting(request: Request, names: Names, *, admitted: Admitted | None = None) -> Response:
            nonlocal counted
            if not counted:
                counted = True
                client = self.responder.tally.count_tunnelled(request.header("User-Agent") or "")
                if client is not None:
                    logger.warning("%s", misled_warning(client))
            return handle(request, names, admitted=admitted)

        return counting

    def _handle_reverse(
        self, peer: str, tls: bool, request: Request, names: Names, *, admitted: Admitted | None = None
    ) -> Response:
        refused = reverse_request_refusal(names, peer, self.is_twilio, tls=tls)
        if refused is not None:
            status, _, sentence = refused.partition(" ")
            return plain_answer(int(status), sentence)
        if request.path.startswith("/ringback/"):
            return self.control.handle(request, peer)
        if " and " not in names.host:
            fields = [field for field in request.headers if field[0].lower() != "host"]
            request = replace(request, headers=(("Host", names.host), *fields))
        return self.responder.handle(request, names, admitted=admitted)

    def _handle_proxy_request(
        self, peer: str, request: Request, names: Names, *, admitted: Admitted | None = None
    ) -> Response:
        """Answer a plain request to the proxy's port: for its own page, or for Twilio by http:// or name."""
        authorization = request.header("Proxy-Authorization") or ""
        for_twilio = any(self.is_twilio(name) for name in (*names.host.split(" and "), names.connect) if name)
        if not for_twilio:
            given = authorization or request.header("Authorization") or ""
            if not is_loopback(peer) and not self.password_fits(given):
                return password_required()
            return self.control.handle(request, peer)
        if not self.password_fits(authorization):
            return password_required()
        user = (basic_auth(authorization, errors="replace") or (None, ""))[0]
        return self.responder.handle(request, names, user=user, admitted=admitted)
