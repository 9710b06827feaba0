"""No way past the addon in mitmproxy's own programs: a server at an address gets nothing that names Twilio.

A client asks the proxy for a tunnel to an address, which may be Twilio's for all that the proxy knows. What
it sends names one of Twilio's hosts, in a form that mitmproxy alone would relay unread. The server is one of
this test's own, and keeps what comes.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import pytest

from support.clients import GOOD, Wire, http, path
from support.programs import free_port, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.programs import Program

PROMISE = "nothing that names Twilio passes mitmproxy's programs"
TRIED = "requests and TLS in odd forms to an address"
BANNER = b"SSH-2.0-control\r\n"


@dataclass
class Elsewhere:
    """A server that keeps what each of its connections brings, and answers nothing.

    Attributes:
        came: What came, one item for each connection that ended.
    """

    came: list[bytes] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._ended = threading.Condition()
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._read, args=(connection,), daemon=True).start()

    def _read(self, connection: socket.socket) -> None:
        data = b""
        with connection, contextlib.suppress(OSError):
            while chunk := connection.recv(65536):
                data += chunk
        with self._ended:
            self.came.append(data)
            self._ended.notify_all()

    def until(self, data: bytes) -> list[bytes]:
        """Return what came before a connection that brought `data`, which is waited for, and forget it."""
        with self._ended:
            assert self._ended.wait_for(lambda: data in self.came, 60)
            came, self.came = self.came, []
        came.remove(data)
        return came


def client_hello(name: str = "api.twilio.com") -> bytes:
    outgoing = ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def byte_by_byte(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


HELLO = client_hello()
POST = http(target=path(), form=GOOD["Messages"], headers=[("Connection", "close")])
ALERT = b"\x15\x03\x01\x00\x02\x01\x00"
# An SSL 2.0 ClientHello: version 3.1, one cipher, no session, 16 bytes of challenge; and the name after it.
SSLV2 = b"\x80\x1f\x01\x03\x01\x00\x03\x00\x00\x00\x10\x00\x00\x2f" + bytes(16) + b"api.twilio.com"
IN_RECORDS = b"".join(
    b"\x16\x03\x01" + len(part).to_bytes(2) + part
    for part in (HELLO[5:][at : at + 40] for at in range(0, len(HELLO) - 5, 40))
)
SHAPES: dict[str, list[bytes]] = {
    "TLS": [HELLO],
    "TLS byte by byte": byte_by_byte(HELLO),
    "TLS in many records": [IN_RECORDS],
    "TLS in many records, byte by byte": byte_by_byte(IN_RECORDS),
    "record version 3.4": [b"\x16\x03\x04" + HELLO[3:]],
    "record version 4.0": [b"\x16\x04\x00" + HELLO[3:]],
    "record version 4.0, byte by byte": byte_by_byte(b"\x16\x04\x00" + HELLO[3:]),
    "after an alert": [ALERT + HELLO],
    "after an alert, byte by byte": byte_by_byte(ALERT + HELLO),
    "after application data": [b"\x17\x03\x03\x00\x01x" + HELLO],
    "SSL 2.0": [SSLV2],
    "SSL 2.0, byte by byte": byte_by_byte(SSLV2),
    "clear text": [POST],
    "clear text byte by byte": byte_by_byte(POST),
    "clear text after an empty line": [b"\r\n" + POST],
    "clear text after two, byte by byte": byte_by_byte(b"\n\r\n" + POST),
    "clear text after a hundred": [b"\r\n" * 100 + POST],
    "clear text with a folded field": [POST.replace(b"Host: ", b"Host:\r\n ")],
    "clear text with a large field": [POST.replace(b"Host: ", b"Cookie: %s\r\nHost: " % (b"c" * 20000))],
    "endless lines": [b"\r\n" * 50000],
    "clear text in lower case": [b"post" + POST[4:]],
    "lower case, byte by byte": byte_by_byte(b"post" + POST[4:]),
    "clear text with a URL": [POST.replace(b" /", b" http://api.twilio.com/", 1)],
}


@pytest.fixture(scope="module", params=["mitmdump", "mitmweb"])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    web = ["--set", f"web_port={free_port()}"] if request.param == "mitmweb" else []
    socks = ["--mode", "regular", "--mode", f"socks5@{free_port()}"]
    with running(request.param, tmp_path_factory.mktemp(request.param), *web, *socks) as started:
        yield started


def through(program: Program, way: str, to: int, pieces: list[bytes], *, answered: bool = False) -> bytes:
    """Send pieces through a tunnel to a port of this machine; what came back until the proxy closed it."""
    at = {"connect": 0, "socks": 1}[way]
    with Wire(program.addresses[at][1]) as wire:
        if way == "connect":
            wire.send(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % (to, to))
            assert b" 200" in wire.sock.recv(4096)
        else:
            assert wire.send(b"\x05\x01\0").sock.recv(2) == b"\x05\0"
            wire.send(b"\x05\x01\0\x01\x7f\0\0\x01" + to.to_bytes(2)).sock.recv(10)
        wire.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for piece in pieces:
                wire.send(piece)
        if answered:
            return wire.answer_or_end()
        # A connection that mitmproxy leaves open is of no interest: what came to the server is looked at.
        wire.finish().sock.settimeout(5)
        with contextlib.suppress(TimeoutError):
            return wire.everything()
        return b""


@pytest.mark.parametrize("way", ["connect", "socks"])
@pytest.mark.parametrize("shape", SHAPES)
def test_nothing_that_names_twilio_reaches_an_address(program: Program, shape: str, way: str) -> None:
    with Elsewhere() as server:
        answered = "clear text" in shape
        got = through(program, way, server.port, SHAPES[shape], answered=answered)
        assert through(program, way, server.port, [BANNER]) == b""
        assert server.until(BANNER) == []
    assert got.startswith(b"HTTP/1.1 4" if answered else b"")


@pytest.mark.parametrize("way", ["connect", "socks"])
def test_what_names_nobody_or_another_host_passes_whole(program: Program, way: str) -> None:
    other = client_hello("elsewhere.example")
    with Elsewhere() as server:
        for pieces in ([other], byte_by_byte(other), [b"\0\1\2", b"api.twilio.com"], byte_by_byte(BANNER)):
            through(program, way, server.port, pieces)
            assert server.until(b"".join(pieces)) == []
