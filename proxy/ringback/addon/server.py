"""Running the proxy inside this process: a mitmproxy master with the addons that it needs, and no others."""

from __future__ import annotations

import asyncio
import gc
import logging
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from mitmproxy import exceptions
from mitmproxy.options import Options
from mitmproxy.proxy.mode_servers import ServerInstance

from ringback.addon import direct
from ringback.addon.front import Front
from ringback.addon.handlers import RingbackAddon
from ringback.addon.plumbing import Core, DisableH2C, Master, NextLayer, Proxyserver, TlsConfig
from ringback.addon.tls import Contexts
from ringback.addon.tunnels import is_this_machine
from ringback.contract import numbers
from ringback.net import LOOPBACK, LOOPBACK_6

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from mitmproxy.proxy.layer import NextLayer as NextLayerData
    from mitmproxy.proxy.server_hooks import ServerConnectionHookData

    from ringback.addon.front import Handler, Opening
    from ringback.addon.workers import Moves

logger = logging.getLogger(__name__)

_BACKLOG = 1024  # connections that wait to be accepted: a load test opens many at once
_ADOPTED: set[asyncio.Task[None]] = set()  # asyncio itself keeps no task alive
_PATIENCE = 600.0  # seconds; mitmproxy 11 has no option for it


class Protocols(Protocol):
    """Makes the protocol of a new connection, of which `received` has come already."""

    def __call__(self, received: bytes = b"") -> asyncio.BaseProtocol:
        """The protocol."""


class StartError(Exception):
    """The proxy could not start; the message says why and what to do."""


@dataclass(frozen=True)
class Listen:
    """Where and how the proxy listens.

    Attributes:
        confdir: mitmproxy's directory, with the CA.
        host: The address to bind.
        port: The port, or 0 for one that the kernel chooses.
        socks: Whether a SOCKS5 listener is opened beside the HTTP one.
        options: Further mitmproxy options, among them `ringback_…`.
        flows: Whether every request goes through mitmproxy's layers and becomes a flow.
        socks_port: The SOCKS5 listener's port, or 0.
        shared: Whether other processes listen on the same ports.
        moves: How connections are given to them, or None.
        patience: Seconds of silence after which a connection is closed; None for mitmproxy's own.
        reverse: The port of a listener in the place of Twilio's API, 0 for any, None for no such listener.
        transparent: The same for connections that the kernel redirects; always on loopback.
    """

    confdir: Path
    host: str = "127.0.0.1"
    port: int = 0
    socks: bool = False
    options: dict[str, Any] = field(default_factory=dict)
    flows: bool = False
    socks_port: int = 0
    shared: bool = False
    moves: Moves | None = None
    patience: float | None = None
    reverse: int | None = None
    transparent: int | None = None


@dataclass(frozen=True)
class Listening:
    """Where a proxy accepts connections.

    Attributes:
        host: The address it listens on.
        port: The HTTP proxy's port.
        socks_port: The SOCKS5 proxy's port, or None.
        reverse_port: The reverse listener's port, or None.
        transparent_port: The transparent listener's port, or None.
    """

    host: str
    port: int
    socks_port: int | None
    reverse_port: int | None = None
    transparent_port: int | None = None


@dataclass(frozen=True)
class Running(Listening):
    """A proxy of this process that accepts requests.

    Attributes:
        addon: The addon, with its responder and counts.
    """

    addon: RingbackAddon = field(kw_only=True)


@asynccontextmanager
async def serve(listen: Listen) -> AsyncIterator[Running]:
    """Run the proxy for as long as the context is open.

    Raises:
        StartError: An option is refused, or the port cannot be bound.
    """
    addon = RingbackAddon()
    server, tls, ready = Proxyserver(), TlsConfig(), _Ready()
    master = Master(Options())
    captured = _Captured()
    logging.getLogger("mitmproxy").addHandler(captured)
    task: asyncio.Task[None] | None = None
    listeners: list[asyncio.Server] = []
    front: Front | None = None
    try:
        try:
            master.addons.add(Core(), server, NextLayer(), tls, DisableH2C(), addon, ready)
            master.options.update(
                confdir=str(listen.confdir),
                server=False,  # this module listens
                mode=["regular"],
                listen_host=listen.host,
                listen_port=listen.port,
                keep_host_header=True,  # a reverse client's own words are judged
                **listen.options,
            )
        except exceptions.OptionsError as error:
            raise StartError(str(error)) from None
        task = asyncio.create_task(master.run())
        started = asyncio.create_task(ready.event.wait())
        await asyncio.wait([task, started], return_when=asyncio.FIRST_COMPLETED)
        if not ready.event.is_set():
            raise StartError(captured.last or "the proxy did not start")
        _refuse_open(listen, addon)

        contexts = Contexts(tls.certstore, addon.responder.contract.is_twilio)
        front = Front(
            addon,
            contexts,
            listen.patience or _patience(master),
            listen.moves.move if listen.moves else None,
        )
        front.start()
        http = _protocols(listen, front.http, ServerInstance.make("regular", server))
        socks = _protocols(listen, front.socks, ServerInstance.make("socks5", server))
        listeners.append(await _listen(http, listen, listen.port))
        if listen.socks:
            listeners.append(await _listen(socks, listen, listen.socks_port))
        await _listen_directly(listen, server, front, listeners)
        if listen.moves:
            listen.moves.start(partial(_adopt, http, socks))
        # What has been made so far lives as long as the proxy: the collector need not look at it each time.
        gc.enable()
        gc.freeze()
        # A client's program takes longer to start than this takes here.
        asyncio.get_running_loop().call_soon(_warm, contexts)
        ready.ports = [listener.sockets[0].getsockname()[1] for listener in listeners]
        yield Running(listen.host, *_in_order(listen, ready.ports), addon=addon)
    finally:
        gc.unfreeze()
        for listener in listeners:
            listener.close()
        if listen.moves:
            listen.moves.stop()
        if front is not None:
            front.stop()
        master.should_exit.set()
        if task is not None:
            await asyncio.wait([task])
        logging.getLogger("mitmproxy").removeHandler(captured)


def _protocols(
    listen: Listen, make: Callable[[Handler, bytes], Opening], instance: ServerInstance[Any]
) -> Protocols:
    """What makes the protocol of each new connection; `instance` is mitmproxy's side of the listener."""
    if listen.flows:
        return _handled(instance)
    return lambda received=b"": make(instance.handle_stream, received)


def _handled(instance: ServerInstance[Any]) -> Protocols:
    """Every connection is mitmproxy's."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.CancelledError):  # at the end; asyncio of Python 3.11 tells it as an error
            await instance.handle_stream(reader, writer)

    return lambda _=b"": asyncio.StreamReaderProtocol(asyncio.StreamReader(), handle)


async def _listen_directly(
    listen: Listen, server: Proxyserver, front: Front, listeners: list[asyncio.Server]
) -> None:
    """Add the listeners for clients that know of no proxy."""
    here = [LOOPBACK, LOOPBACK_6] if direct.has_address(LOOPBACK_6) else [LOOPBACK]
    for mode, way, hosts, port in (
        (direct.REVERSE, direct.reverse_way, [listen.host], listen.reverse),
        (direct.TRANSPARENT, direct.transparent_way, here, listen.transparent),
    ):
        if port is not None:
            instance: ServerInstance[Any] = ServerInstance.make(mode, server)
            protocols = _protocols(listen, partial(front.direct, way), instance)
            listeners.append(await _listen(protocols, listen, port, hosts))


def _in_order(listen: Listen, ports: list[int]) -> list[Any]:
    """The ports listened on, with None for listeners that are not there."""
    left = iter(ports)
    there = (True, listen.socks, listen.reverse is not None, listen.transparent is not None)
    return [next(left) if each else None for each in there]


def _refuse_open(listen: Listen, addon: RingbackAddon) -> None:
    """Raise StartError if a listener would be open to somebody who gives no password."""
    settings = addon.settings
    why = direct.reverse_refusal(settings, listen.host) if listen.reverse is not None else None
    if why is None and listen.transparent is not None:
        why = direct.transparent_refusal(settings)
    if why is not None:
        raise StartError(why)


def _warm(contexts: Contexts) -> None:
    """Have ready what the first answer needs: a certificate, and what is known of phone numbers."""
    contexts.of("api.twilio.com")
    numbers.is_valid("+14105550100")


def _adopt(http: Protocols, socks: Protocols, sock: socket.socket, received: bytes, by_socks: bool) -> None:
    """Go on with a connection that another process accepted."""
    sock.settimeout(0)
    make = partial(socks if by_socks else http, received)
    task = asyncio.get_running_loop().create_task(_go_on(make, sock))
    _ADOPTED.add(task)
    task.add_done_callback(_ADOPTED.discard)


async def _go_on(make: Callable[[], asyncio.BaseProtocol], sock: socket.socket) -> None:
    with suppress(OSError):  # its client may have gone
        await asyncio.get_running_loop().connect_accepted_socket(make, sock)


async def _listen(
    protocols: Protocols, listen: Listen, port: int, hosts: list[str] | None = None
) -> asyncio.Server:
    """Listen on every address of `hosts`, by default the one to listen on, on the same port.

    Raises:
        StartError: The port cannot be bound.
    """
    loop = asyncio.get_running_loop()
    host, shared = hosts or [listen.host], listen.shared or None
    try:
        listener = await loop.create_server(protocols, host, port, backlog=_BACKLOG, reuse_port=shared)
        chosen = {sock.getsockname()[1] for sock in listener.sockets}
        if len(chosen) > 1:  # the kernel chose one for IPv4 and another one for IPv6
            listener.close()
            listener = await loop.create_server(protocols, host, min(chosen), backlog=_BACKLOG)
    except OSError as error:
        why = error.strerror or str(error)
        raise StartError(f"cannot listen on {' and '.join(host)}:{port}: {why}") from None
    return listener


def _patience(master: Master) -> float:
    """Seconds of silence after which mitmproxy closes a connection, and so does the shorter way."""
    return float(master.options.tcp_timeout) if "tcp_timeout" in master.options else _PATIENCE


class _Ready:
    """An addon that tells when mitmproxy runs, and keeps it from connecting to its own listeners."""

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.ports: list[int] = []
        self._dialled: set[Any] = set()  # addresses of this process's own connections

    def running(self) -> None:
        self.event.set()

    def server_connected(self, data: ServerConnectionHookData) -> None:
        self._dialled.add(data.server.sockname)

    def server_disconnected(self, data: ServerConnectionHookData) -> None:
        self._dialled.discard(data.server.sockname)

    def next_layer(self, data: NextLayerData) -> None:
        context = data.context
        if direct.is_transparent(context.client) and context.client.peername in self._dialled:
            # Rules that redirect this process too: each round would open another connection.
            context.server.address = (direct.API, 443)  # to which no connection is opened
            logger.error(
                "connections of the proxy itself are redirected to it: redirect the program's user alone"
            )

    def server_connect(self, data: ServerConnectionHookData) -> None:
        address = data.server.address
        if not address or address[1] not in self.ports:
            return
        redirected = direct.is_transparent(data.client)  # its sockname is where it was going
        if (address[0] == data.client.sockname[0] and not redirected) or is_this_machine(address[0]):
            data.server.error = "Ringback does not forward to itself"


class _Captured(logging.Handler):
    """Keeps the last error that mitmproxy logged, to tell why it did not start."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.last = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.last = record.getMessage()
