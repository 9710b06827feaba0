"""A mock of the live API: a real HTTPS server on loopback that answers by rules and keeps what it saw.

Its certificate is made at test time by a throw-away CA. Nothing of Ringback is used in it.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import socket
import struct
import tempfile
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import parse_qsl

import pytest

from support.throwaway import ThrowAway, throw_away

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator
    from pathlib import Path

NAMES = ("api.twilio.com", "api.ie1.twilio.com", "api.dublin.ie1.twilio.com")


@dataclass(frozen=True)
class Seen:
    """One request as it arrived, byte by byte.

    Attributes:
        head: From the method to the empty line.
        body: As framed by Content-Length or chunks, without the frame.
        server_name: The name that TLS asked for.
        port: The client's port, to tell connections apart.
    """

    head: bytes
    body: bytes
    server_name: str | None
    port: int

    @property
    def line(self) -> str:
        return self.head.partition(b"\r\n")[0].decode()

    @property
    def method(self) -> str:
        return self.line.split(" ")[0]

    @property
    def target(self) -> str:
        return self.line.split(" ")[1]

    @property
    def fields(self) -> list[tuple[str, str]]:
        lines = self.head.decode("latin-1").split("\r\n")[1:-2]
        return [(name, value) for name, value in (line.split(": ", 1) for line in lines)]

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.fields if key.lower() == name.lower()), None)

    @property
    def pair(self) -> tuple[str, str]:
        _, _, encoded = (self.header("Authorization") or "").partition(" ")
        user, _, token = base64.b64decode(encoded).decode().partition(":")
        return user, token

    @property
    def form(self) -> list[tuple[str, str]]:
        return parse_qsl(self.body.decode(), keep_blank_values=True)

    @property
    def is_probe(self) -> bool:
        return (
            self.method == "GET" and re.fullmatch(r"/2010-04-01/Accounts/\w+\.json", self.target) is not None
        )


Rule: TypeAlias = "Callable[[Seen], bytes | None]"


def response(
    status: int, body: bytes = b"", *headers: tuple[str, str], reason: str = "", length: bool = True
) -> bytes:
    """The bytes of one answer."""
    fields = [*headers, *([("Content-Length", str(len(body)))] if length else [])]
    head = f"HTTP/1.1 {status} {reason}\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields)
    return head.encode("latin-1") + b"\r\n" + body


def twilio(
    status: int, code: int | None = None, *headers: tuple[str, str], message: str = "x", **fields: Any
) -> bytes:
    """An answer in JSON as Twilio's API spells it."""
    body = dict(fields)
    if code is not None:
        link = f"https://www.twilio.com/docs/errors/{code}"
        body = {"code": code, "message": message, "more_info": link, "status": status}
    return response(status, json.dumps(body).encode(), ("Content-Type", "application/json"), *headers)


CREATED = twilio(201, None, ("Twilio-Request-Id", "RQ" + "0" * 32), sid="SM" + "0" * 32)
TEST = twilio(403, 20008, message="Resource not accessible with Test Account Credentials")


@dataclass(eq=False)
class LoopbackUpstream:
    """The server.

    Attributes:
        rule: The bytes to answer a request with; None closes the connection. Probes have a rule of their own.
        probe: The same for probes.
        seen: All requests, probes too.
        before_tls: What happens to a connection before TLS: "reset", "garbage", "hang" or nothing.
    """

    context: ssl.SSLContext | None
    ca: Path
    rule: Rule = lambda _: CREATED
    probe: Rule = lambda _: TEST
    before_tls: str = ""
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0
    port: int = 0
    host: str = "127.0.0.1"
    held: threading.Event = field(default_factory=threading.Event)
    _open: set[socket.socket] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.listener = socket.create_server((self.host, self.port), backlog=256)
        self.port = self.listener.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    @property
    def url(self) -> str:
        return f"{'https' if self.context else 'http'}://{self.host}:{self.port}"

    @property
    def forwarded(self) -> list[Seen]:
        """The requests that are no probes."""
        return [seen for seen in self.seen if not seen.is_probe]

    @property
    def probes(self) -> list[Seen]:
        return [seen for seen in self.seen if seen.is_probe]

    def reset(self) -> None:
        """Forget what was seen, and answer as at first."""
        self.seen.clear()
        self.rule, self.probe, self.before_tls = (lambda _: CREATED), (lambda _: TEST), ""
        self.connections = 0

    def drop(self) -> None:
        """Close every connection that is open."""
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def stop(self) -> None:
        """Refuse connections from now on."""
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.held.set()
        self.drop()
        self._accepting.join(10)
        for thread in self._threads:
            thread.join(10)

    def _accept(self) -> None:
        while True:
            try:
                connection, address = self.listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                self._open.add(connection)
            thread = threading.Thread(target=self._serve, args=(connection, address[1]), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket, port: int) -> None:
        secured: socket.socket = connection
        try:
            with contextlib.suppress(OSError):
                if self.before_tls == "reset":
                    connection.recv(4096)
                    reset(connection)
                    return
                if self.before_tls == "garbage":
                    connection.recv(4096)
                    connection.sendall(b"220 this is a mail server\r\n")
                    return
                if self.before_tls == "hang":
                    self.held.wait(60)
                    return
                name: list[str | None] = [None]
                if self.context:
                    secured, name = _secure(self.context, connection)
                with self._lock:
                    self._open.discard(connection)
                    self._open.add(secured)
                self._exchanges(secured, name, port)
        finally:
            with self._lock:
                self._open.discard(secured)
            with contextlib.suppress(OSError):
                secured.close()

    def _exchanges(self, connection: socket.socket, name: list[str | None], port: int) -> None:
        with connection.makefile("rb") as stream:
            while (seen := _read(stream, name[0], port)) is not None:
                with self._lock:
                    self.seen.append(seen)
                answer = (self.probe if seen.is_probe else self.rule)(seen)
                if answer is None:
                    return
                if answer == RESET:
                    reset(connection)
                    return
                if answer.startswith(HANG):
                    connection.sendall(answer.removeprefix(HANG))
                    self.held.wait(60)
                    return
                connection.sendall(answer.removeprefix(CLOSE))
                if answer.startswith(CLOSE):
                    return


# Answers that are none.
RESET = b"\0reset"
HANG = b"\0hang"  # after what follows it
CLOSE = b"\0close"  # before an answer: close after it


def reset(connection: socket.socket) -> None:
    """Close with RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def _secure(context: ssl.SSLContext, connection: socket.socket) -> tuple[ssl.SSLSocket, list[str | None]]:
    name: list[str | None] = [None]
    secured = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
    _names[id(secured)] = name
    try:
        secured.do_handshake()
    except OSError:
        secured.close()
        raise
    finally:
        _names.pop(id(secured), None)
    return secured, name


_names: dict[int, list[str | None]] = {}


def _note_name(connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> None:
    _names[id(connection)][0] = name


def _read(stream: Any, name: str | None, port: int) -> Seen | None:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = stream.readline()
        if not line:
            return None
        head += line
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    body = b""
    if re.search(rb"(?i)\r\ntransfer-encoding: *chunked", head):
        while size := int(stream.readline(), 16):
            body += stream.read(size)
            stream.readline()
        stream.readline()
    elif length:
        body = stream.read(int(length[1]))
    return Seen(head, body, name, port)


@contextlib.contextmanager
def loopback_upstream(
    authority: ThrowAway,
    *,
    expired: bool = False,
    tls: bool = True,
    names: tuple[str, ...] | None = None,
    port: int = 0,
    host: str = "127.0.0.1",
) -> Iterator[LoopbackUpstream]:
    """A server until the block ends."""
    context = authority.context(names or NAMES, expired=expired) if tls else None
    if context:
        context.sni_callback = _note_name
    server = LoopbackUpstream(context, authority.pem, port=port, host=host)
    try:
        yield server
    finally:
        server.stop()


def arguments(server: LoopbackUpstream, mode: str, *more: str) -> list[str]:
    """The options of a proxy that takes `server` for the live API, and records into an empty directory."""
    directory = tempfile.mkdtemp(prefix="cassettes-", dir=server.ca.parent)
    there = ["--upstream", server.url, "--upstream-ca", str(server.ca), "--cassettes", directory]
    return ["--mode", mode, *there, *more]


@pytest.fixture(scope="session")
def upstream_ca(tmp_path_factory: pytest.TempPathFactory) -> ThrowAway:
    return throw_away(tmp_path_factory.mktemp("upstream-ca"))


@pytest.fixture(scope="module")
def module_upstream(upstream_ca: ThrowAway) -> Iterator[LoopbackUpstream]:
    with loopback_upstream(upstream_ca) as server:
        yield server


@pytest.fixture
def upstream(module_upstream: LoopbackUpstream) -> Iterator[LoopbackUpstream]:
    """A mock of the live API that has seen nothing yet."""
    module_upstream.reset()
    yield module_upstream
    module_upstream.reset()
