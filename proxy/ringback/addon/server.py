"""Running the proxy inside this process: a mitmproxy master with the addons that it needs, and no others."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mitmproxy import exceptions
from mitmproxy.options import Options
from mitmproxy.proxy.mode_servers import ServerInstance

from ringback.addon.front import Front
from ringback.addon.handlers import RingbackAddon
from ringback.addon.plumbing import Core, DisableH2C, Master, NextLayer, Proxyserver, TlsConfig
from ringback.addon.tls import Contexts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from mitmproxy.proxy.server_hooks import ServerConnectionHookData

    from ringback.addon.front import Handler, Opening

_BACKLOG = 1024  # connections that wait to be accepted: a load test opens many at once
_OWN_NAMES = ("localhost", "127.0.0.1", "::1")
_PATIENCE = 600.0  # seconds; mitmproxy 11 has no option for it


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
    """

    confdir: Path
    host: str = "127.0.0.1"
    port: int = 0
    socks: bool = False
    options: dict[str, Any] = field(default_factory=dict)
    flows: bool = False


@dataclass(frozen=True)
class Running:
    """A proxy that accepts requests.

    Attributes:
        addon: The addon, with its responder and counts.
        host: The address it listens on.
        port: The HTTP proxy's port.
        socks_port: The SOCKS5 proxy's port, or None.
    """

    addon: RingbackAddon
    host: str
    port: int
    socks_port: int | None


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
                **listen.options,
            )
        except exceptions.OptionsError as error:
            raise StartError(str(error)) from None
        task = asyncio.create_task(master.run())
        started = asyncio.create_task(ready.event.wait())
        await asyncio.wait([task, started], return_when=asyncio.FIRST_COMPLETED)
        if not ready.event.is_set():
            raise StartError(captured.last or "the proxy did not start")

        front = Front(addon, Contexts(tls.certstore, addon.responder.contract.is_twilio), _patience(master))
        front.start()
        http = _protocols(listen, front.http, ServerInstance.make("regular", server))
        listeners.append(await _listen(http, listen.host, listen.port))
        if listen.socks:
            socks = _protocols(listen, front.socks, ServerInstance.make("socks5", server))
            listeners.append(await _listen(socks, listen.host, 0))
        ready.ports = [listener.sockets[0].getsockname()[1] for listener in listeners]
        yield Running(addon, listen.host, ready.ports[0], ready.ports[1] if listen.socks else None)
    finally:
        for listener in listeners:
            listener.close()
        if front is not None:
            front.stop()
        master.should_exit.set()
        if task is not None:
            await asyncio.wait([task])
        logging.getLogger("mitmproxy").removeHandler(captured)


def _protocols(
    listen: Listen, make: Callable[[Handler], Opening], instance: ServerInstance[Any]
) -> Callable[[], asyncio.BaseProtocol]:
    """What makes the protocol of each new connection; `instance` is mitmproxy's side of the listener."""
    if listen.flows:
        return lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader(), instance.handle_stream)
    return lambda: make(instance.handle_stream)


async def _listen(protocols: Callable[[], asyncio.BaseProtocol], host: str, port: int) -> asyncio.Server:
    """Listen on every address of `host`, on the same port.

    Raises:
        StartError: The port cannot be bound.
    """
    loop = asyncio.get_running_loop()
    try:
        listener = await loop.create_server(protocols, host, port, backlog=_BACKLOG)
        chosen = {sock.getsockname()[1] for sock in listener.sockets}
        if len(chosen) > 1:  # the kernel chose one for IPv4 and another one for IPv6
            listener.close()
            listener = await loop.create_server(protocols, host, min(chosen), backlog=_BACKLOG)
    except OSError as error:
        why = error.strerror or str(error)
        raise StartError(f"cannot listen on {host}:{port}: {why}") from None
    return listener


def _patience(master: Master) -> float:
    """Seconds of silence after which mitmproxy closes a connection, and so does the shorter way."""
    return float(master.options.tcp_timeout) if "tcp_timeout" in master.options else _PATIENCE


class _Ready:
    """An addon that tells when mitmproxy runs, and keeps it from connecting to its own listeners."""

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.ports: list[int] = []

    def running(self) -> None:
        self.event.set()

    def server_connect(self, data: ServerConnectionHookData) -> None:
        address = data.server.address
        if address and address[1] in self.ports and address[0] in {*_OWN_NAMES, data.client.sockname[0]}:
            data.server.error = "Ringback does not forward to itself"


class _Captured(logging.Handler):
    """Keeps the last error that mitmproxy logged, to tell why it did not start."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.last = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.last = record.getMessage()
