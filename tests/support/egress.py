"""A company's egress proxy, on loopback: takes CONNECT and plain HTTP, finds every host at a port here."""

from __future__ import annotations

import contextlib
import socket
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(eq=False)
class EgressProxy:
    """The proxy.

    Attributes:
        hosts: `host:port` to the port of this machine where it is found; others are refused.
        authorization: What Proxy-Authorization must say, or None.
        seen: The target of each CONNECT; method and target of other requests.
    """

    hosts: Mapping[str, int]
    authorization: str | None = None
    seen: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self.listener.getsockname()[1]
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in self._sockets:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for connection in self._sockets:
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self._sockets.append(connection)
            self._start(self._serve, connection)

    def _start(self, function: object, *arguments: socket.socket) -> None:
        thread = threading.Thread(target=function, args=arguments, daemon=True)  # type: ignore[arg-type] # one of ours
        self._threads.append(thread)
        thread.start()

    def _serve(self, client: socket.socket) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = client.recv(1)
            if not byte:
                return
            head += byte
        method, target = head.decode().split(" ")[:2]
        tunnel = method == "CONNECT"
        self.seen.append(target if tunnel else f"{method} {target}")
        if not tunnel:
            url = urlsplit(target)
            head = head.replace(target.encode(), (url.path or "/").encode(), 1)
            target = f"{url.hostname}:{url.port or 80}"
        if (
            self.authorization
            and f"proxy-authorization: {self.authorization}".lower() not in head.decode().lower()
        ):
            _refuse(client, b"407 Who are you")
            return
        if target not in self.hosts:
            _refuse(client, b"403 Not That Host")
            return
        server = socket.create_connection(("127.0.0.1", self.hosts[target]))
        self._sockets.append(server)
        if tunnel:
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            server.sendall(head)
        self._start(_copy, client, server)
        _copy(server, client)


def _refuse(client: socket.socket, status: bytes) -> None:
    with contextlib.suppress(OSError):  # who has read the status may be gone
        client.sendall(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")
        client.shutdown(socket.SHUT_RDWR)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def egress(hosts: Mapping[str, int], authorization: str | None = None) -> Iterator[EgressProxy]:
    """An egress proxy until the block ends."""
    proxy = EgressProxy(hosts, authorization)
    try:
        yield proxy
    finally:
        proxy.stop()
