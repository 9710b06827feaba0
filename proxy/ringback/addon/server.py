"""Running the proxy inside this process: a mitmproxy master with the addons that it needs, and no others."""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mitmproxy import exceptions
from mitmproxy.addons import core, disable_h2c, next_layer, proxyserver, tlsconfig
from mitmproxy.master import Master
from mitmproxy.options import Options

from ringback.addon.handlers import RingbackAddon

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


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
    """

    confdir: Path
    host: str = "127.0.0.1"
    port: int = 0
    socks: bool = False
    options: dict[str, Any] = field(default_factory=dict)


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
    ready = _Ready()
    master = Master(Options())
    captured = _Captured()
    logging.getLogger("mitmproxy").addHandler(captured)
    task: asyncio.Task[None] | None = None
    try:
        try:
            master.addons.add(
                core.Core(),
                proxyserver.Proxyserver(),
                next_layer.NextLayer(),
                tlsconfig.TlsConfig(),
                disable_h2c.DisableH2C(),
                addon,
                ready,
            )
            master.options.update(
                confdir=str(listen.confdir),
                mode=["regular", f"socks5@{_free_port(listen.host)}"] if listen.socks else ["regular"],
                listen_host=listen.host,
                listen_port=listen.port,
                **listen.options,
            )
        except exceptions.OptionsError as error:
            raise StartError(str(error)) from None
        task = asyncio.create_task(master.run())
        started = asyncio.create_task(ready.event.wait())
        await asyncio.wait([task, started], return_when=asyncio.FIRST_COMPLETED)
        yield _running(master, addon, listen, captured)
    finally:
        master.should_exit.set()
        if task is not None:
            await asyncio.wait([task])
        logging.getLogger("mitmproxy").removeHandler(captured)


def _running(master: Master, addon: RingbackAddon, listen: Listen, captured: _Captured) -> Running:
    server = master.addons.get("proxyserver")
    ports: dict[str, int] = {}
    for instance in server.servers:
        for address in instance.listen_addrs:
            ports.setdefault(instance.mode.type_name, address[1])
    if "regular" not in ports or (listen.socks and "socks5" not in ports):
        why = captured.last or "the proxy did not start"
        raise StartError(f"cannot listen on {listen.host}:{listen.port}: {why}")
    return Running(addon, listen.host, ports["regular"], ports.get("socks5"))


def _free_port(host: str) -> int:
    """A free port: mitmproxy refuses two listeners that both leave the choice to the kernel."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


class _Ready:
    """An addon that tells when mitmproxy accepts connections."""

    def __init__(self) -> None:
        self.event = asyncio.Event()

    def running(self) -> None:
        self.event.set()


class _Captured(logging.Handler):
    """Keeps the last error that mitmproxy logged, to tell why it did not start."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.last = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.last = record.getMessage()
