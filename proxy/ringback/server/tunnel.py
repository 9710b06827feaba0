"""Tunnels to hosts that are not Twilio's: a byte pump with backpressure, and a look at the first bytes.

A direction that carries many bytes between two plain sockets is moved to the kernel where the system has
`splice` (Linux): the bytes go through a pipe and never reach this process.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import re
import socket
import struct
import sys
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from ringback.server.tls import MAX_HELLO, RECORD, ClientHello, parse_client_hello
from ringback.system import fcntl

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

_BUFFER: Final = 1024 * 1024  # bytes that may wait for a slow reader before its sender has to wait
_MANY: Final = 256 * 1024  # bytes after which a direction is moved to the kernel: it costs four descriptors
_PIPE: Final = 512 * 1024  # bytes that a direction's pipe should hold
_UNSUPPORTED: Final = frozenset({errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EOPNOTSUPP})
_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER without time: closing sends a reset
_MAX_HEAD: Final = 64 * 1024  # bytes of a plain HTTP head that are waited for
_TLS_TYPES: Final = range(0x14, 0x18)
_SSLV2: Final = 4  # bytes by which an SSL 2.0 ClientHello is known
# A line that begins as a request does; once it is whole, it must end as one does.
_REQUEST_LINE: Final = re.compile(rb"[A-Z]{1,16}(?:\Z| [^\n]*(?:\Z|HTTP/[^\n]*\n))", re.IGNORECASE)
_HEAD_END: Final = re.compile(rb"\n\r?\n")
_HOST: Final = re.compile(rb"^host[ \t]*:\s*([^\r\n]{0,300})", re.IGNORECASE | re.MULTILINE)
_TARGET: Final = re.compile(rb"[A-Z]{1,16} +https?://([^/\s]{0,300})", re.IGNORECASE)

Names: TypeAlias = tuple[str, ...]


def first_bytes(data: bytes) -> ClientHello | Names | Literal["refused"] | None:
    """Look at the first bytes of a tunnel to another host, which may name one of Twilio's all the same.

    Returns:
        The ClientHello; the host names of a plain HTTP request; an empty tuple for anything that cannot name
        a host; "refused" for what only a client that hides the host's name sends; None while more is needed.
    """
    if data[0] == RECORD:
        try:
            hello = parse_client_hello(data)
        except ValueError:
            return "refused"
        return "refused" if hello is None and len(data) > MAX_HELLO else hello
    if data[0] in _TLS_TYPES or _is_sslv2(data):
        return "refused"  # an alert or data before the handshake, or the SSL 2.0 ClientHello of 1995
    head = data.lstrip(b"\r\n")  # which servers skip
    if head and not _REQUEST_LINE.match(head):
        return None if data[0] & 0x80 and len(data) < _SSLV2 else ()
    if _HEAD_END.search(head) is None:
        return None if len(data) < _MAX_HEAD else "refused"
    found = _HOST.findall(head)
    target = _TARGET.match(head)
    return tuple(name.decode("latin-1") for name in (*found, *([target[1]] if target else [])))


def _is_sslv2(data: bytes) -> bool:
    return len(data) >= _SSLV2 and data[0] & 0x80 != 0 and data[2] == 1 and data[3] in {0, 2, 3}


def has_splice(transport: asyncio.Transport) -> bool:
    """Report whether the kernel can move this connection's bytes: on Linux, where no TLS of ours is on it."""
    return (
        fcntl is not None
        and hasattr(os, "splice")
        and transport.get_extra_info("sslcontext") is None
        and transport.get_extra_info("socket") is not None
    )


class Side(asyncio.Protocol):
    """One of a tunnel's two connections; what arrives on it is written to the other one.

    Args:
        active: Called with every piece that is relayed.
    """

    transport: asyncio.Transport
    other: Side

    def __init__(self, active: Callable[[], None]) -> None:
        self._active = active
        self._ended = False
        self._received = 0
        self._moving = False  # from asyncio to the kernel: the other side's buffer has to be empty first
        self._in_kernel: KernelPump | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.set_write_buffer_limits(_BUFFER)

    def data_received(self, data: bytes) -> None:
        """Relay `data`."""
        self._active()
        self.other.transport.write(data)
        self._received += len(data)
        if self._received >= _MANY and has_splice(self.transport) and has_splice(self.other.transport):
            self._move_to_kernel()

    def pause_writing(self) -> None:
        """Let the other side wait."""
        self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        """Let it go on."""
        if self.other._moving:  # noqa: SLF001 - the other half of the same tunnel
            self.other._start_kernel_pump()  # noqa: SLF001 - as above
        elif self.other._in_kernel is None:  # noqa: SLF001 - as above
            self.other.transport.resume_reading()

    def eof_received(self) -> bool:
        """Relay the end of one direction; the other one goes on."""
        self._ended = True
        if self.other._ended:  # noqa: SLF001 - the other half of the same tunnel
            return False
        with suppress(OSError, RuntimeError):
            if self.other.transport.can_write_eof():
                self.other.transport.write_eof()
                return True
        self.other.transport.close()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """End the other side too: what it still has to send is sent, unless this one was reset."""
        for side in (self, self.other):
            if side._in_kernel is not None:  # noqa: SLF001 - the other half of the same tunnel
                side._in_kernel.close()  # noqa: SLF001 - as above
        if exc is None:
            self.other.transport.close()
        else:
            self.other.reset()

    def reset(self) -> None:
        """End this connection by a reset: its peer must not take what it got for everything."""
        if not self.transport.is_closing():
            with suppress(OSError):
                sock = self.transport.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.transport.abort()

    # -- this direction in the kernel

    def _move_to_kernel(self) -> None:
        self._moving = True
        self.transport.pause_reading()
        to = self.other.transport
        to.set_write_buffer_limits(0)  # `resume_writing` of the other side is called when all is sent
        if not to.get_write_buffer_size():
            self._start_kernel_pump()

    def _start_kernel_pump(self) -> None:
        self._moving = False
        self.other.transport.set_write_buffer_limits(_BUFFER)
        if self.transport.is_closing() or self.other.transport.is_closing():
            return
        try:
            self._in_kernel = KernelPump(self)
        except OSError as error:  # there are no descriptors left
            logger.debug("a tunnel stays in this process: %s", error.strerror)
            self.leave_kernel(b"")

    def kernel_relayed(self) -> None:
        """Note that something was relayed."""
        self._active()

    def kernel_ended(self) -> None:
        """Go on as asyncio would after this direction's end."""
        self._in_kernel = None
        if not self.eof_received():
            self.transport.close()

    def kernel_failed(self) -> None:
        """Go on as asyncio would after an error of one of the connections."""
        self._in_kernel = None
        self.reset()
        self.other.reset()

    def leave_kernel(self, left: bytes) -> None:
        """Relay in this process again, first what the kernel still had."""
        self._in_kernel = None
        self._received = -(1 << 62)  # never again
        if left:
            self.other.transport.write(left)
        if not self.transport.is_closing():
            self.transport.resume_reading()


def _splice(source: int, sink: int, size: int) -> int:
    """Move up to `size` bytes within the kernel; the same errors as reading and writing without blocking."""
    if sys.platform == "linux":
        return os.splice(source, sink, size, flags=os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE)
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


class KernelPump:
    """One direction of a tunnel in the kernel: from a socket into a pipe, from there into the other socket.

    The pipe is filled only when it is empty, so that a slow reader stops its sender. The sockets are
    duplicates, because asyncio lets nobody watch those of its transports.

    Args:
        side: The side that the bytes come from. It reads nothing itself, and the other one has nothing left
            to write.

    Raises:
        OSError: There are no descriptors left.
    """

    def __init__(self, side: Side) -> None:
        self._side = side
        self._loop = asyncio.get_running_loop()
        self._in_pipe = 0
        with ExitStack() as stack:
            self._source, self._sink = (
                stack.enter_context(one.transport.get_extra_info("socket").dup())
                for one in (side, side.other)
            )
            self._out, self._in = os.pipe()
            for end in (self._out, self._in):
                stack.callback(os.close, end)
            if sys.platform == "linux":
                with suppress(OSError):  # more than the user may have; the pipe holds less
                    assert fcntl is not None  # see has_splice
                    fcntl.fcntl(self._in, fcntl.F_SETPIPE_SZ, _PIPE)
            stack.callback(self._loop.remove_writer, self._sink)
            stack.callback(self._loop.remove_reader, self._source)
            self._loop.add_reader(self._source, self._fill)
            self._resources = stack.pop_all()

    def close(self) -> None:
        """Give the descriptors back; what is in the pipe is lost."""
        self._resources.close()

    def _fill(self) -> None:
        try:
            moved = _splice(self._source.fileno(), self._in, _PIPE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._failed(error)
            return
        if not moved:
            self.close()
            self._side.kernel_ended()
            return
        self._side.kernel_relayed()
        self._in_pipe = moved
        if not self._drain() and self._in_pipe:
            self._loop.remove_reader(self._source)
            self._loop.add_writer(self._sink, self._go_on)

    def _go_on(self) -> None:
        if self._drain():
            self._loop.remove_writer(self._sink)
            self._loop.add_reader(self._source, self._fill)

    def _drain(self) -> bool:
        """Write what the pipe has; return whether it is empty and the pump still there."""
        try:
            while self._in_pipe:
                self._in_pipe -= _splice(self._out, self._sink.fileno(), self._in_pipe)
                self._side.kernel_relayed()
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            self._failed(error)
            return False
        return True

    def _failed(self, error: OSError) -> None:
        left = b""
        if error.errno in _UNSUPPORTED:
            while len(left) < self._in_pipe:
                left += os.read(self._out, self._in_pipe - len(left))
        self._in_pipe = 0
        self.close()
        if error.errno in _UNSUPPORTED:
            self._side.leave_kernel(left)
        else:
            self._side.kernel_failed()


class Tunnel:
    """A tunnel of a client's connection and one to its host.

    Args:
        client: The client's connection, which reads nothing yet.
        received: The bytes that came from the client and go first.
        closed: Called once the client's side is closed.
    """

    def __init__(self, client: asyncio.Transport, received: bytes) -> None:
        self.idle = 0
        self.transport = client
        self._received = received
        self.closed: Callable[[Tunnel], None] = lambda _: None
        self.client = _ClientSide(self._active, lambda: self.closed(self))
        self.host = Side(self._active)
        self.client.other, self.host.other = self.host, self.client
        self.client.transport = client  # the host may speak, or go, before the tunnel starts

    def start(self) -> None:
        """Relay from now on: the host's connection is there."""
        self.transport.set_protocol(self.client)
        self.client.connection_made(self.transport)
        if self._received:
            self.host.transport.write(self._received)
        self.transport.resume_reading()

    def _active(self) -> None:
        self.idle = 0


class _ClientSide(Side):
    def __init__(self, active: Callable[[], None], closed: Callable[[], None]) -> None:
        super().__init__(active)
        self._closed = closed

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed()
        super().connection_lost(exc)
