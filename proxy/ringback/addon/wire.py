"""The client's socket: what mitmproxy leaves as the system has it."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from mitmproxy import ctx

if TYPE_CHECKING:
    from mitmproxy.connection import Client

# Linux alone has it; elsewhere the receiver decides when to acknowledge.
_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)


def acknowledge(sock: Any) -> None:
    """Send the acknowledgement that the system would hold back for 40 ms.

    urllib3 behind a proxy writes headers and body apart with Nagle's algorithm on, so that the body waits for
    the acknowledgement of the headers. The setting is not lasting: call it whenever a request is incomplete.

    Args:
        sock: A socket, or asyncio's view of one; None and sockets of another family are left alone.
    """
    if _QUICKACK is not None and sock is not None:
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)


def client_socket(client: Client) -> Any:
    """The socket behind mitmproxy's `client`, or None where there is none (UDP, tests)."""
    server = ctx.master.addons.get("proxyserver")
    handler = server.connections.get(client.id) if server else None
    transport = handler.transports.get(client) if handler else None
    writer = transport.writer if transport else None
    return writer.get_extra_info("socket") if writer else None
