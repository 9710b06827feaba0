"""Running the proxy inside this process: its listeners, from the first to the last request."""

from __future__ import annotations

import asyncio
import errno
import gc
import importlib
import logging
import math
import os
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ringback.contract import values
from ringback.control import Control
from ringback.net import LOOPBACK, LOOPBACK_6, is_loopback
from ringback.responder import Responder, SetupError
from ringback.server.connection import ServerState
from ringback.server.destination import has_address, reverse_refusal, transparent_refusal
from ringback.server.listener import (
    Handshake,
    HttpProxyHandshake,
    ReverseHandshake,
    SocksHandshake,
    TransparentHandshake,
)
from ringback.server.tls import Contexts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from ringback.server.connection import MitmproxyEngine
    from ringback.settings import Settings

logger = logging.getLogger(__name__)

_BACKLOG: Final = 1024  # connections that wait to be accepted: a load test opens many at once
IDLE_TIMEOUT: Final = 600.0  # seconds
_EXHAUSTED: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
_REPORTED_EACH: Final = 60.0  # seconds
# Seconds after the start. A client's program takes longer to begin; one that asks sooner has it made for it,
# and a command that asks for nothing, such as a build without tests, need not pay for it.
_WARM_AFTER: Final = 0.1


class StartError(Exception):
    """The proxy could not start; the message says why and what to do."""


@dataclass(frozen=True)
class ProxyConfig:
    """Configuration of the proxy: settings, CA, listening addresses and timeouts.

    Attributes:
        settings: The settings in force.
        authority: The CA's directory, which is mitmproxy's confdir too.
        host: The address to bind.
        port: The port, or 0 for one that the kernel chooses.
        socks: Whether a SOCKS5 listener is opened beside the HTTP one.
        socks_port: The SOCKS5 listener's port, or 0.
        reverse: The port of a listener in the place of Twilio's API, 0 for any, None for no such state.
        transparent: The same for connections that the kernel redirects; always on loopback.
        idle_timeout: Seconds of silence after which a connection is closed.
        silence: Seconds after which a silent client of another host waits for that host's first words.
    """

    settings: Settings
    authority: Path
    host: str = LOOPBACK
    port: int = 0
    socks: bool = False
    socks_port: int = 0
    reverse: int | None = None
    transparent: int | None = None
    idle_timeout: float = IDLE_TIMEOUT
    silence: float = 1.0


@dataclass(frozen=True)
class BoundPorts:
    """The ports on which a proxy accepts connections; None for a listener that is not there.

    Attributes:
        host: The address it listens on.
        port: The HTTP proxy's port.
        socks_port: The SOCKS5 proxy's port.
        reverse_port: The reverse listener's port.
        transparent_port: The transparent listener's port.
    """

    host: str
    port: int
    socks_port: int | None
    reverse_port: int | None = None
    transparent_port: int | None = None


@dataclass(frozen=True)
class RunningProxy(BoundPorts):
    """A proxy of this process that accepts requests.

    Attributes:
        responder: Answers them, and counts.
        control: Answers requests for the proxy itself.
    """

    responder: Responder = field(kw_only=True)
    control: Control = field(kw_only=True)


@asynccontextmanager
async def serve(config: ProxyConfig) -> AsyncIterator[RunningProxy]:
    """Run the proxy for as long as the context is open.

    Raises:
        StartError: A setting cannot be used, or a port cannot be bound.
    """
    _refuse_open(config)
    try:
        responder = Responder.open(config.settings)
    except SetupError as error:
        raise StartError(str(error)) from None
    control = Control(responder, config.settings.password)
    control.ca = config.authority / "mitmproxy-ca-cert.pem"
    contexts = Contexts(config.authority / "mitmproxy-ca.pem", responder.contract.is_twilio)
    state = ServerState(responder, control, config.settings, contexts, config.idle_timeout, config.silence)
    engine = _Engine(config, control, state.ports)
    state.engine = engine.get
    servers: list[asyncio.Server] = []
    asyncio.get_running_loop().set_exception_handler(_Exhaustion(servers).handle)
    try:
        state.start()
        ports = await _open_listeners(config, state, servers)
        state.ports.update(port for port in ports.values() if port is not None)
        if responder.callbacks is not None:
            responder.callbacks.own_ports = state.ports
        # What has been made so far lives as long as the proxy: the collector need not look at it each time.
        gc.enable()
        gc.freeze()
        asyncio.get_running_loop().call_later(_WARM_AFTER, _warm, contexts)
        yield RunningProxy(
            config.host,
            ports["http"] or 0,
            ports["socks"],
            ports["reverse"],
            ports["transparent"],
            responder=responder,
            control=control,
        )
    finally:
        gc.unfreeze()
        for server in servers:
            server.close()
        state.stop()
        await engine.stop()
        responder.close()


class _Exhaustion:
    """Reports that there are no descriptors left in one line, and not with a traceback for each connection.

    asyncio stops accepting for a second then; clients wait in the system's queue.
    """

    def __init__(self, servers: list[asyncio.Server]) -> None:
        self._servers = servers
        self._reported = -math.inf

    def handle(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Report what a callback of the loop raised."""
        error = context.get("exception")
        if isinstance(error, OSError) and error.errno in _EXHAUSTED:
            if loop.time() - self._reported >= _REPORTED_EACH:
                self._reported = loop.time()
                reason = os.strerror(error.errno or 0)
                logger.warning("new connections wait: %s; ulimit -n raises a limit of open files", reason)
        elif not (isinstance(error, ValueError) and all(not server.sockets for server in self._servers)):
            # Not a listener that was closed while asyncio waited to accept again.
            loop.default_exception_handler(context)


async def _open_listeners(
    config: ProxyConfig, state: ServerState, servers: list[asyncio.Server]
) -> dict[str, int | None]:
    loopback = [LOOPBACK, LOOPBACK_6] if has_address(LOOPBACK_6) else [LOOPBACK]
    wanted: tuple[tuple[str, type[Handshake], list[str], int | None], ...] = (
        ("http", HttpProxyHandshake, [config.host], config.port),
        ("socks", SocksHandshake, [config.host], config.socks_port if config.socks else None),
        ("reverse", ReverseHandshake, [config.host], config.reverse),
        ("transparent", TransparentHandshake, loopback, config.transparent),
    )
    ports: dict[str, int | None] = {}
    for name, handshake, hosts, port in wanted:
        ports[name] = None
        if port is not None:
            server = await _bind(partial(handshake, state), hosts, port)
            servers.append(server)
            ports[name] = server.sockets[0].getsockname()[1]
    return ports


async def _bind(make: Callable[[], Handshake], hosts: list[str], port: int) -> asyncio.Server:
    """Listen on every address of `hosts`, on the same port.

    Raises:
        StartError: The port cannot be bound.
    """
    loop = asyncio.get_running_loop()
    try:
        server = await loop.create_server(make, hosts, port, backlog=_BACKLOG)
        chosen = {sock.getsockname()[1] for sock in server.sockets}
        if len(chosen) > 1:  # the kernel chose one for IPv4 and another one for IPv6
            server.close()
            server = await loop.create_server(make, hosts, min(chosen), backlog=_BACKLOG)
    except OSError as error:
        why = error.strerror or str(error)
        raise StartError(f"cannot listen on {' and '.join(hosts)}:{port}: {why}") from None
    return server


def _refuse_open(config: ProxyConfig) -> None:
    """Raise StartError if a listener would be open to somebody who gives no password."""
    settings = config.settings
    why = None
    if settings.password is None and not is_loopback(config.host):
        why = (
            f"{config.host} is reachable from other machines: set RINGBACK_PROXY_PASSWORD and give it as the "
            "proxy URL's password, or listen on 127.0.0.1"
        )
    if why is None and config.reverse is not None:
        why = reverse_refusal(settings.credentials, settings.password, config.host)
    if why is None and config.transparent is not None:
        why = transparent_refusal(settings.password)
    if why is not None:
        raise StartError(why)


def _warm(contexts: Contexts) -> None:
    """Make what the first answer needs: a certificate, and the tables of phone numbers."""
    contexts.context_for("api.twilio.com")
    values.is_valid("+14105550100")


class _Engine:
    """mitmproxy, imported and started when something first comes that this server does not speak."""

    def __init__(self, config: ProxyConfig, control: Control, ports: set[int]) -> None:
        self._config = config
        self._control = control
        self._ports = ports
        self._task: asyncio.Task[MitmproxyEngine] | None = None

    async def get(self) -> MitmproxyEngine:
        if self._task is None:
            self._task = asyncio.create_task(self._start())
        return await asyncio.shield(self._task)

    async def _start(self) -> MitmproxyEngine:
        # Half a second of imports must not hold up the other connections. By name, because mitmproxy's side
        # imports this package and not the other way round.
        engine = await asyncio.to_thread(importlib.import_module, "ringback.mitmproxy_engine")
        started: MitmproxyEngine = await engine.Engine.start(
            self._config.authority, self._config.settings, self._control, self._ports
        )
        return started

    async def stop(self) -> None:
        if self._task is None:
            return
        try:
            engine = await self._task
        except Exception:  # noqa: BLE001 - it was logged where it was needed
            return
        await engine.stop()
