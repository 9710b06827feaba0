"""Servers of other hosts: HTTPS with a throw-away certificate, and plain HTTP."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from support.throwaway import by_itself

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BLOCK = bytes(range(256)) * 4096  # 1 MB


@dataclass(frozen=True)
class Elsewhere:
    """A server that is not Twilio's.

    Attributes:
        port: Its port on 127.0.0.1.
        certificate: Its certificate in PEM, which clients can trust; None for plain HTTP.
        seen: The requests that came, each as its first line.
        bodies: Their bodies.
        headers: Their header fields.
    """

    port: int
    certificate: Path | None
    seen: list[str]
    bodies: list[bytes]
    headers: list[dict[str, str]]


@contextlib.contextmanager
def elsewhere(directory: Path | None = None) -> Iterator[Elsewhere]:
    """Run such a server, over TLS if there is a `directory` for its certificate.

    `/big/N` gets N megabytes, `/reset` no answer at all, everything else `elsewhere` and the request's body.
    """
    seen: list[str] = []
    bodies: list[bytes] = []
    headers: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            seen.append(self.requestline)
            bodies.append(body)
            headers.append(dict(self.headers.items()))
            if self.path.startswith("/reset"):
                self.close_connection = True
                return
            blocks = int(self.path.removeprefix("/big/")) if self.path.startswith("/big/") else 0
            self.send_response(200)
            self.send_header("Content-Length", str(blocks * len(BLOCK) or len(body) + 9))
            self.send_header("X-Own", "elsewhere")
            self.end_headers()
            for _ in range(blocks):
                self.wfile.write(BLOCK)
            if not blocks:
                self.wfile.write(b"elsewhere" + body)

        do_POST = do_GET  # noqa: N815 - the standard library's name

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        certificate = None
        if directory is not None:
            context, certificate = by_itself(directory, "elsewhere.example", "localhost", "127.0.0.1")
            server.socket = context.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield Elsewhere(server.server_address[1], certificate, seen, bodies, headers)
        finally:
            server.shutdown()
            thread.join()
