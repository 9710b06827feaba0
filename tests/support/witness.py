"""A network and mount namespace in which the kernel is the witness of what Ringback sends, offline.

Usage: unshare -n -m PYTHON -m support.witness DIRECTORY, which writes `seen.json` there. Every address is one
of this namespace's own, so whatever is looked up or dialled becomes a packet on its loopback interface, and a
packet socket reads them all.
"""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from support.clients import GOOD, Wire, basic, http, path
from support.proxying import RINGBACK, Serving, environment, requesting, serve
from support.upstream import loopback_upstream, throw_away

if TYPE_CHECKING:
    from collections.abc import Iterator

RESOLVER = "10.9.9.53"
EGRESS = "10.9.9.9"  # where HTTPS_PROXY points in the second round
NEAR = "10.50.0.1"  # an address that could be Twilio's: only a name in the connection says so
REDIRECTED = "198.51.100.7"
TRANSPARENT = 4012
MARK = 7  # of the client's connections that the kernel redirects
NETWORK = f"""
ip link set lo up
ip route add local 0.0.0.0/0 dev lo
ip -6 route add local ::/0 dev lo 2> /dev/null || true
printf 'nameserver {RESOLVER}\\noptions timeout:1 attempts:1\\n' > "$1/resolv.conf"
printf 'hosts: files dns\\n' > "$1/nsswitch.conf"
printf '127.0.0.1 localhost\\n' > "$1/hosts"
mount --bind "$1/resolv.conf" /etc/resolv.conf
mount --bind "$1/hosts" /etc/hosts
[ ! -e /etc/nsswitch.conf ] || mount --bind "$1/nsswitch.conf" /etc/nsswitch.conf
"""
REDIRECT = f"iptables -t nat -A OUTPUT -p tcp -m mark --mark {MARK} -j REDIRECT --to-ports {TRANSPARENT}"

TWILIO = (
    "api.twilio.com",
    "API.TWILIO.COM",
    "api.twilio.com.",
    "api.twilio.com..",
    "twilio.com",
    "video.twilio.com",
    "api.dublin.ie1.twilio.com",
    "xn--api-.twilio.com",
    "-.twilio.com",
    "a" * 63 + ".twilio.com",
    "*.twilio.com",
    "_sip._tcp.twilio.com",
    "api.twi\u00adlio.com",
    "api\u3002twilio\uff0ecom",
    "\uff41pi.\uff54wilio.com",
    "api.twi\ufe0flio.com",
    "api.twilio.com%00.example.org",
)


# -- the witness


@dataclass
class Witness:
    """Every packet on loopback that is not from this machine's loopback addresses to them.

    Attributes:
        packets: One line for each.
        own: Addresses and ports of connections that the client itself makes to other addresses.
        dropped: Packets that the kernel could not keep for the witness.
    """

    packets: list[str] = field(default_factory=list)
    own: set[tuple[str, int]] = field(default_factory=set)
    dropped: int = 0

    def __enter__(self) -> Self:
        every = 3  # ETH_P_ALL
        self._raw = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(every))
        with contextlib.suppress(PermissionError):  # in a user namespace; drops are counted
            self._raw.setsockopt(socket.SOL_SOCKET, getattr(socket, "SO_RCVBUFFORCE", 33), 64 * 1024 * 1024)
        self._raw.bind(("lo", every))
        self._marker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sink.bind(("127.0.0.1", 0))
        self._seen = threading.Condition()
        self._marks = 0
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        statistics = self._raw.getsockopt(263, 6, 8)  # SOL_PACKET, PACKET_STATISTICS
        self.dropped = struct.unpack("II", statistics)[1]
        for one in (self._raw, self._marker, self._sink):
            one.close()

    def so_far(self) -> list[str]:
        """Return the packets that were sent before this call."""
        with self._seen:
            wanted = self._marks + 1
            self._marker.sendto(b"marker", self._sink.getsockname())
            assert self._seen.wait_for(lambda: self._marks >= wanted, 30)
            return [*self.packets]

    def _read(self) -> None:
        marker = self._sink.getsockname()
        with contextlib.suppress(OSError):
            while True:
                data, about = self._raw.recvfrom(65536)
                if about[2] != 0:  # PACKET_HOST: each packet is there a second time as outgoing
                    continue
                packet = _parse(data)
                if packet is None:
                    continue
                source, target, content = packet
                if target == marker:
                    with self._seen:
                        self._marks += 1
                        self._seen.notify_all()
                elif not (_is_local(source[0]) and _is_local(target[0])) and not {source, target} & self.own:
                    with self._seen:
                        self.packets.append(f"{source[0]} to {target[0]} port {target[1]}: {content!r}")


def _parse(data: bytes) -> tuple[tuple[str, int], tuple[str, int], bytes] | None:
    """Read sender, receiver and the first bytes of a packet, or None for what has no addresses."""
    version = data[0] >> 4
    if version == 4:
        length = (data[0] & 15) * 4
        names = [socket.inet_ntoa(data[start : start + 4]) for start in (12, 16)]
    elif version == 6:
        length = 40
        names = [socket.inet_ntop(socket.AF_INET6, data[start : start + 16]) for start in (8, 24)]
    else:
        return None
    ports = struct.unpack(">HH", data[length : length + 4].ljust(4, b"\0"))
    return (names[0], ports[0]), (names[1], ports[1]), data[length + 8 : length + 80]


def _is_local(name: str) -> bool:
    return name.startswith("127.") or name == "::1"


# -- requests


def _ends(wire: Wire, timeout: float = 0.2) -> bool:
    """Wait for an answer or for what the proxy may do instead, then read until it closes; whether it did."""
    if wire.sock.fileno() < 0:  # the handshake failed, and has closed it
        return True
    try:
        wire.sock.settimeout(timeout)  # a proxy that would dial has done so by then
        with contextlib.suppress(TimeoutError):
            wire.sock.recv(1)
        wire.sock.settimeout(60)
        wire.finish().everything()
    except OSError as error:
        return not isinstance(error, TimeoutError)
    return True


def plain(port: int, *pieces: bytes) -> bool:
    """Bytes on a new connection to one of the proxy's ports."""
    with Wire(port) as wire:
        for piece in pieces:
            wire.send(piece)
        return _ends(wire)


def tunnelled(port: int, target: str, *pieces: bytes) -> bool:
    """Bytes within a tunnel, without TLS of this side's."""
    with Wire(port) as wire:
        wire.sock.settimeout(60)
        wire.send(b"CONNECT %s HTTP/1.1\r\nHost: x\r\n\r\n" % target.encode())
        with contextlib.suppress(OSError):
            if b" 200" in wire.sock.recv(4096):
                for piece in pieces:
                    wire.send(piece)
        return _ends(wire)


def secured(wire: Wire, name: str | None, data: bytes) -> bool:
    """A request by TLS on a connection that is through already."""
    wire.sock.settimeout(60)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with contextlib.suppress(OSError, ValueError):
        wire.sock = context.wrap_socket(wire.sock, server_hostname=name)
        wire.send(data)
    return _ends(wire)


def by_tls(port: int, target: str, name: str | None, data: bytes) -> bool:
    with Wire(port) as wire:
        wire.sock.settimeout(60)
        wire.send(b"CONNECT %s HTTP/1.1\r\nHost: x\r\n\r\n" % target.encode())
        with contextlib.suppress(OSError):
            if b" 200" in wire.sock.recv(4096):
                return secured(wire, name, data)
        return _ends(wire)


def by_socks(port: int, address: bytes, to: int, name: str | None, data: bytes) -> bool:
    """A request through SOCKS5; by TLS where there is a name for it."""
    with Wire(port) as wire:
        wire.sock.settimeout(60)
        with contextlib.suppress(OSError):
            wire.send(b"\x05\x01\0").sock.recv(2)
            wire.send(b"\x05\x01\0" + address + struct.pack(">H", to)).sock.recv(10)
            if name:
                return secured(wire, name, data)
            wire.send(data)
        return _ends(wire)


def hello(name: str) -> bytes:
    """A ClientHello for `name`."""
    outgoing = ssl.MemoryBIO()
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name).do_handshake()
    return outgoing.read()


def in_records(data: bytes, size: int) -> bytes:
    """The handshake message of `data` in TLS records of `size` bytes."""
    body = data[5:]
    pieces = (body[start : start + size] for start in range(0, len(body), size))
    return b"".join(b"\x16\x03\x01" + struct.pack(">H", len(piece)) + piece for piece in pieces)


def request(
    method: bytes = b"GET", target: bytes = b"/", *fields: bytes, host: bytes = b"api.twilio.com"
) -> bytes:
    lines = [b"%s %s HTTP/1.1" % (method, target), b"Host: " + host, *fields, b"Content-Length: 0"]
    return b"\r\n".join(lines) + b"\r\n\r\n"


GOOD_POST = http(target=path(), form=GOOD["Messages"], headers=[("Connection", "close")])


def http_proxy(port: int) -> Iterator[bool]:
    """Odd requests to the HTTP proxy, each of them about a Twilio name."""
    for name in TWILIO:
        raw = name.encode()
        for method in (b"GET", b"POST", b"HEAD", b"OPTIONS", b"TRACE"):
            yield plain(port, request(method, b"http://%s/x" % raw, host=raw))
        yield plain(port, request(b"GET", b"https://%s/x" % raw, host=raw))
        for at in (443, 80, 8443, 25, 65535):
            yield tunnelled(port, f"{name}:{at}", request(host=raw))
        yield by_tls(port, f"{name}:443", "api.twilio.com", GOOD_POST)
        yield by_tls(port, f"{name}:443", None, request(host=raw))


def contradictions(port: int) -> Iterator[bool]:
    """Requests by TLS in which CONNECT, the server name, Host and the target name different hosts."""
    for target in (
        "api.twilio.com:443",
        "api.twilio.com:8443",
        "example.org:443",
        f"{NEAR}:443",
        "[2001:db8::1]:443",
    ):
        for host in (
            b"api.twilio.com",
            b"example.org",
            b"api.twilio.com\r\nHost: example.org",
            b"x@example.org",
            b"",
        ):
            yield by_tls(port, target, "api.twilio.com", request(host=host))
    for name in ("example.org", None):
        yield by_tls(port, "api.twilio.com:443", name, request(host=b"example.org"))
    for there in (
        b"http://example.org/",
        b"https://u:p@api.twilio.com/",
        b"//example.org/",
        b"ftp://example.org/",
        b"*",
        b"?",
        b"https://[::1]/",
    ):
        for method in (b"GET", b"POST", b"OPTIONS", b"CONNECT"):
            yield by_tls(port, "api.twilio.com:443", "api.twilio.com", request(method, there))
    for upgrade in (b"websocket", b"h2c", b"TLS/1.2"):
        fields = (b"Connection: Upgrade", b"Upgrade: " + upgrade)
        yield by_tls(port, "api.twilio.com:443", "api.twilio.com", request(b"GET", b"/", *fields))
        yield plain(port, request(b"GET", b"http://api.twilio.com/", *fields))


def handshakes(port: int) -> Iterator[bool]:
    """Pieces of ClientHello that name Twilio, and bytes that are none, to Twilio's name."""
    first = hello("api.twilio.com")
    for target in (f"{NEAR}:443", "example.org:443", "api.twilio.com:443"):
        for pieces in (
            [first[at : at + 1] for at in range(len(first))],
            [in_records(first, 1)],
            [in_records(first, 100)],
            [first[:1] + b"\x03\x02" + first[3:]],
        ):
            yield tunnelled(port, target, *pieces)
    for odd in (
        first[:50],
        b"\x80\x2e\x01\x03\x01",
        b"\x16\x03\x01\xff\xff",
        b"\0" * 100,
        b"SSH-2.0-x\r\n",
        b"\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ):
        yield tunnelled(port, "api.twilio.com:443", odd)
        yield plain(port, odd)


def socks(port: int) -> Iterator[bool]:
    """SOCKS5 with names and addresses; for an address, TLS or Host has Twilio's name."""
    for name in TWILIO:
        raw = name.encode()[:255]
        address = b"\x03" + bytes([len(raw)]) + raw
        for at in (443, 80, 25):
            yield by_socks(port, address, at, None, request())
        yield by_socks(port, address, 443, "api.twilio.com", GOOD_POST)
    for address in (b"\x01" + socket.inet_aton(NEAR), b"\x01\xff\xff\xff\xff", b"\x04" + bytes(15) + b"\x01"):
        yield by_socks(port, address, 443, "api.twilio.com", GOOD_POST)
    yield by_socks(port, b"\x01\xff\xff\xff\xff", 80, None, request())
    for command in (2, 3, 9):
        yield plain(port, b"\x05\x01\0", b"\x05" + bytes([command]) + b"\0\x03\x0eapi.twilio.com\x01\xbb")


def reverse(port: int) -> Iterator[bool]:
    """A listener in Twilio's place: plain HTTP, TLS and what is neither."""
    for odd in (
        request(),
        request(host=b"example.org"),
        request(b"GET", b"http://api.twilio.com/"),
        request(b"CONNECT", b"api.twilio.com:443"),
        hello("api.twilio.com"),
        hello("api.twilio.com")[:40],
        b"\x16\x03\x01",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\0" * 100,
        b"EHLO x\r\n",
    ):
        yield plain(port, odd)
    for name in ("api.twilio.com", "video.twilio.com", None):
        with Wire(port) as wire:
            yield secured(wire, name, GOOD_POST)


def transparent(witness: Witness) -> Iterator[bool]:
    """Connections that the kernel redirects: TLS by Twilio's name, without a name, and plain HTTP."""
    for at, name, data in (
        (443, "api.twilio.com", GOOD_POST),
        (443, "video.twilio.com", GOOD_POST),
        (443, "api.twilio.com", request(host=b"example.org")),
        (80, None, request()),
        (443, None, b"\x16\x03\x01"),
    ):
        sock = socket.socket()
        sock.settimeout(60)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, MARK)
        sock.bind((REDIRECTED, 0))
        witness.own.add(sock.getsockname())
        sock.connect((REDIRECTED, at))
        wire = object.__new__(Wire)
        wire.sock = sock
        with wire:
            if name is None:
                wire.send(data)
                yield _ends(wire)
            else:
                yield secured(wire, name, data)


# -- rounds


def left_open(running: Serving) -> Iterator[Wire]:
    """Connections in every state that the end of the proxy can meet."""
    yield Wire(running.port)
    yield Wire(running.port).send(b"CONNECT api.twi")
    yield Wire(running.port).tunnel("api.twilio.com:443")
    yield Wire(running.port).tunnel("api.twilio.com:443").send(hello("api.twilio.com")[:100])
    yield running.twilio()
    yield running.twilio().send(GOOD_POST[:60])
    yield running.twilio().send(GOOD_POST[:-1])
    yield Wire(running.ready["socks"]).send(b"\x05\x01\0")
    yield Wire(running.ready["reverse"]).send(request()[:30])


def proxy_round(
    directory: Path, home: Path, witness: Witness, redirects: bool, more: dict[str, str], *mode: str
) -> dict[str, Any]:
    """All ways in of one `ringback serve`, errors, ordinary requests after them, and its end."""
    directory.mkdir(exist_ok=True)
    (directory / "cassettes").mkdir()
    (directory / "cassettes" / "broken.yaml").write_text("interactions: [{")
    options = [*mode, "--reverse", "0", *(["--transparent", str(TRANSPARENT)] if redirects else [])]
    found: dict[str, Any] = {}
    counts: dict[str, int] = {}
    at_first = len(witness.so_far())
    with serve(home, directory, *options, "--cassettes", str(directory / "cassettes"), more=more) as running:
        found["start"] = witness.so_far()[at_first:]
        ways = {
            "http proxy": http_proxy(running.port),
            "contradictions": contradictions(running.port),
            "handshakes": handshakes(running.port),
            "socks": socks(running.ready["socks"]),
            "reverse": reverse(running.ready["reverse"]),
            **({"transparent": transparent(witness)} if redirects else {}),
        }
        for way, ended in ways.items():
            before = len(witness.so_far())
            outcomes = [*ended]
            counts[way] = len(outcomes)
            found[way] = witness.so_far()[before:]
            found[f"{way}, left waiting"] = outcomes.count(False)
        before = len(witness.so_far())
        unusable = Wire(running.port).tunnel("api.twilio.com:443", b"%s: %s\r\n" % _proxy_user("broken"))
        with unusable.tls(running.ca) as wire:
            found["broken cassette"] = wire.send(GOOD_POST).response().status
        found["ordinary"] = [running.ask(GOOD_POST).status for _ in range(3)]
        found["after errors"] = witness.so_far()[before:]
        waiting = [*left_open(running)]
        running.process.send_signal(signal.SIGTERM)
        found["exit"] = running.process.wait(60)
        for wire in waiting:
            wire.sock.close()
        found["shutdown"] = witness.so_far()[before:]
    return found | {"requests": sum(counts.values())}


def _proxy_user(name: str) -> tuple[bytes, bytes]:
    _, value = basic(name, "x")
    return b"Proxy-Authorization", value.encode()


def online_round(directory: Path, home: Path, witness: Witness, redirects: bool) -> dict[str, Any]:
    """The same with a mock upstream on loopback: it alone is reached, and only with what it may be sent."""
    directory.mkdir()
    with loopback_upstream(throw_away(directory)) as upstream:
        where = ("--upstream", upstream.url, "--upstream-ca", str(upstream.ca))
        found = proxy_round(directory, home, witness, redirects, {}, "--mode", "online", *where)
        return found | {"upstream": sorted({f"{seen.server_name} {seen.line}" for seen in upstream.seen})}


def run_round(directory: Path, home: Path, witness: Witness, more: dict[str, str]) -> dict[str, Any]:
    """`ringback run` with a program that makes a request, and with one that fails."""
    directory.mkdir()
    before = len(witness.so_far())
    printed = []
    for program in (requesting(list(GOOD["Messages"].items())), "raise SystemExit(3)"):
        done = subprocess.run(
            [*RINGBACK, "run", "--", sys.executable, "-c", program],
            env=environment(home, more),
            cwd=directory,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        printed.append([done.returncode, done.stdout.strip()])
    return {"run": witness.so_far()[before:], "printed": printed}


def control(directory: Path, home: Path, witness: Witness) -> list[str]:
    """Return the witness's records of a request to another host, to show that it is not blind."""
    directory.mkdir()
    with serve(home, directory) as running:
        before = len(witness.so_far())
        with Wire(running.port) as wire:  # answered once nobody could be found
            _ends(wire.send(request(b"GET", b"http://plain.example/", host=b"plain.example")), 30)
        by_tls(running.port, "secure.example:443", "secure.example", request(host=b"secure.example"))
        tunnelled(running.port, "raw.example:80", request(host=b"raw.example"))
        by_tls(running.port, f"{NEAR}:443", "near.example", request(host=b"near.example"))
        socks_address = b"\x03\x0dsocks.example"
        by_socks(running.ready["socks"], socks_address, 443, "socks.example", request(host=b"socks.example"))
        return witness.so_far()[before:]


def main(directory: Path) -> dict[str, Any]:
    """Run everything; what was seen by name."""
    subprocess.run(["sh", "-euc", NETWORK, "sh", str(directory)], check=True)
    redirects = subprocess.run(["sh", "-c", REDIRECT], check=False, capture_output=True).returncode == 0
    home = directory / "home"
    home.mkdir()
    behind = {f"{name}_PROXY": f"http://{EGRESS}:3128" for name in ("HTTPS", "HTTP", "ALL")}
    with Witness() as witness:
        found: dict[str, Any] = {
            "redirects": redirects,
            "direct": proxy_round(directory / "direct", home, witness, redirects, {}),
            "behind a proxy": proxy_round(directory / "behind", home, witness, redirects, behind),
            "online": online_round(directory / "online", home, witness, redirects),
            "run": run_round(directory / "run", home, witness, {}),
            "run behind a proxy": run_round(directory / "run-behind", home, witness, behind),
            "control": control(directory / "control", home, witness),
        }
    found["dropped"] = witness.dropped
    return found


if __name__ == "__main__":
    place = Path(sys.argv[1])
    (place / "seen.json").write_text(json.dumps(main(place)))
