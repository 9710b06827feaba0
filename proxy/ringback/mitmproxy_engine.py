"""mitmproxy inside this process, for what the proxy's own server does not speak."""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Self

from mitmproxy.addons.core import Core
from mitmproxy.addons.disable_h2c import DisableH2C
from mitmproxy.addons.next_layer import NextLayer
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.addons.tlsconfig import TlsConfig
from mitmproxy.master import Master
from mitmproxy.options import Options
from mitmproxy.proxy.mode_servers import ServerInstance

from ringback.mitmproxy_addon import RingbackAddon
from ringback.server.destination import API, is_own_address

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection
    from pathlib import Path

    from mitmproxy.proxy.server_hooks import ServerConnectionHookData

    from ringback.control import Control
    from ringback.settings import Settings

    Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

logger = logging.getLogger(__name__)

_MODES: Final = {
    "http": "regular",
    "socks": "socks5",
    "reverse": f"reverse:https://{API}",
    "transparent": "transparent",
}


class Engine:
    """A running mitmproxy without listeners: connections are given to it."""

    def __init__(self, master: Master, server: Proxyserver, task: asyncio.Task[None]) -> None:
        self._master = master
        self._server = server
        self._task = task

    @classmethod
    async def start(cls, confdir: Path, settings: Settings, control: Control, ports: Collection[int]) -> Self:
        """Start it.

        Args:
            confdir: mitmproxy's directory, with the CA.
            settings: The settings in force.
            control: Answers requests for the proxy itself, and knows the responder.
            ports: The ports that this process listens on, to which it never connects.
        """
        server, ready = Proxyserver(), _Ready(ports)
        master = Master(Options())
        addon = RingbackAddon(control, settings)
        master.addons.add(Core(), server, NextLayer(), TlsConfig(), DisableH2C(), addon, ready)
        master.options.update(
            confdir=str(confdir),
            server=False,
            mode=["regular"],
            connection_strategy="lazy",
            keep_host_header=True,  # a reverse client's own words are judged
        )
        task = asyncio.create_task(master.run())
        started = asyncio.create_task(ready.event.wait())
        await asyncio.wait([task, started], return_when=asyncio.FIRST_COMPLETED)
        return cls(master, server, task)

    async def take(self, way: str, transport: asyncio.Transport, received: bytes, replied: bytes) -> None:
        """Take a connection over, from its first byte on and without the replies that its client has.

        Args:
            way: The listener that it came to.
            transport: The connection, paused.
            received: All bytes that came.
            replied: The bytes that were sent.
        """
        instance: ServerInstance[Any] = ServerInstance.make(_MODES[way], self._server)
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(loop=loop)

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            # The first writer is kept: asyncio closes the connection when it forgets one.
            repeated = _WithoutReplies(transport, protocol, reader, loop, replied)
            with suppress(asyncio.CancelledError):  # at the end; asyncio of Python 3.11 logs it as an error
                await instance.handle_stream(reader, repeated if replied else writer)

        protocol = asyncio.StreamReaderProtocol(reader, handle, loop=loop)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        reader.feed_data(received)
        transport.resume_reading()

    async def stop(self) -> None:
        """Stop it, with its connections."""
        self._master.should_exit.set()
        await asyncio.wait([self._task])


class _WithoutReplies(asyncio.StreamWriter):
    """A writer that leaves out replies which the client has already.

    Args:
        replied: Those replies.
    """

    def __init__(
        self,
        transport: asyncio.WriteTransport,
        protocol: asyncio.BaseProtocol,
        reader: asyncio.StreamReader,
        loop: asyncio.AbstractEventLoop,
        replied: bytes,
    ) -> None:
        super().__init__(transport, protocol, reader, loop)
        self._replied = replied

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write what is new in `data`."""
        known = len(self._replied)
        if known and bytes(data[:known]) == self._replied[: len(data)]:
            self._replied, data = self._replied[len(data) :], data[known:]
        else:
            self._replied = b""
        if data:
            super().write(data)


class _Ready:
    """An addon that reports when mitmproxy runs, and keeps it from connecting to this process.

    Args:
        ports: The ports that this process listens on.
    """

    def __init__(self, ports: Collection[int]) -> None:
        self.event = asyncio.Event()
        self._ports = ports

    def running(self) -> None:
        self.event.set()

    async def server_connect(self, data: ServerConnectionHookData) -> None:
        address = data.server.address
        if address is None or address[1] not in self._ports:
            return
        found = []
        with suppress(OSError, UnicodeError):  # mitmproxy says what is wrong with the name
            found = await asyncio.get_running_loop().getaddrinfo(*address[:2], type=socket.SOCK_STREAM)
        if any(is_own_address(str(one[4][0])) for one in found):
            data.server.error = "Ringback does not forward to itself"
