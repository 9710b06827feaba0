"""The load generator: one process, raw sockets, nothing between two requests that could be left out.

    python -m benchmarks.load '{"port": 8080, "ca": "root.pem", …}'

It prints one JSON object: how many answers came, in what time, the latencies and its own share of a core, so
that it can be seen that it is not what is measured.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
import ssl
import sys
import time
from dataclasses import asdict, dataclass, field
from urllib.parse import urlencode

ACCOUNT = "AC" + "0123456789abcdef" * 2
_VARIANTS = 997  # different requests, so that nothing is answered by remembering the last one


@dataclass(frozen=True)
class Load:
    """One load: its target, its connections and their requests.

    Attributes:
        port: On the loopback.
        ca: PEM file to trust, or "" to verify nothing (a peer with a certificate of its own making).
        connections: How many at once.
        seconds: How long.
        fresh: Whether every request gets a connection of its own.
        proxy: Whether the port is a proxy that wants CONNECT, or the server itself.
        status: What every answer must have.
        bodies: Bytes that the message's text has, about.
        recorded: How many exchanges the cassette has that is asked for, or 0 for messages of any content.
        writes: 1 for head and body in one TLS record, 2 for one record each, as urllib3 sends them.
        resume: Whether connections resume the TLS session of the one before.
        users: How many names the connections give to the proxy in turn, or 0 for none.
        core: The core to run on, or None.
    """

    port: int
    ca: str = ""
    connections: int = 8
    seconds: float = 2.0
    fresh: bool = False
    proxy: bool = True
    status: int = 201
    bodies: int = 40
    recorded: int = 0
    resume: bool = False
    writes: int = 1
    users: int = 0
    core: int | None = None


@dataclass
class Result:
    """Result of one load.

    Attributes:
        answers: How many.
        seconds: In what time.
        wrong: Answers of another status, and broken connections.
        busy: The generator's own share of a core, 0 to 1.
        latencies: Seconds each, sorted.
    """

    answers: int = 0
    seconds: float = 0.0
    wrong: int = 0
    busy: float = 0.0
    latencies: list[float] = field(default_factory=list)

    def quantile(self, share: float) -> float:
        """The latency that `share` of the answers were faster than, in milliseconds."""
        return self.latencies[int(share * (len(self.latencies) - 1))] * 1000 if self.latencies else 0.0

    def as_dict(self) -> dict[str, float]:
        """The figures, for JSON."""
        return {
            "answers": self.answers,
            "seconds": self.seconds,
            "wrong": self.wrong,
            "busy": self.busy,
            "rate": self.answers / self.seconds if self.seconds else 0.0,
            "p50": self.quantile(0.5),
            "p99": self.quantile(0.99),
        }


def recorded_form(number: int) -> dict[str, str]:
    """The form of a cassette's exchange; it differs from every other number's."""
    return {"To": f"+1410{number:07d}", "From": "+15005550006", "Body": f"message number {number:07d}"}


def requests(load: Load) -> list[tuple[bytes, bytes]]:
    """Heads and bodies of messages: a POST of a form of about 90 bytes and `load.bodies` more."""
    if load.recorded:
        # From all over the cassette.
        asked = random.Random(load.recorded).sample(range(load.recorded), min(load.recorded, _VARIANTS))
        return [_request(recorded_form(number)) for number in asked]
    forms = []
    for number in range(_VARIANTS):
        text = f"Hello number {number} " + "x" * max(0, load.bodies - 17)
        forms.append({"From": "+15005550006", "To": f"+1410555{100 + number % 100:04d}", "Body": text})
    return [_request(form) for form in forms]


def _request(form: dict[str, str]) -> tuple[bytes, bytes]:
    body = urlencode(form).encode()
    authorization = base64.b64encode(f"{ACCOUNT}:token".encode()).decode()
    head = (
        f"POST /2010-04-01/Accounts/{ACCOUNT}/Messages.json HTTP/1.1\r\n"
        "Host: api.twilio.com\r\n"
        "User-Agent: twilio-python/9.4.1 (Linux x86_64) Python/3.13.0\r\n"
        "Accept-Encoding: gzip, deflate\r\n"
        "Accept: application/json\r\n"
        "Connection: keep-alive\r\n"
        "X-Twilio-Client: python-9.4.1\r\n"
        "Accept-Charset: utf-8\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n"
        f"Content-Length: {len(body)}\r\n"
        f"Authorization: Basic {authorization}\r\n\r\n"
    )
    return head.encode(), body


class _Client(asyncio.Protocol):
    """One connection after another, or one for all requests."""

    def __init__(self, run: _Run) -> None:
        self.run = run
        self.tls: ssl.SSLObject | None = None
        self.data = b""
        self.begun = run.opened()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        if self.run.load.proxy:
            transport.write(self.run.connect_head())
        else:
            self.start_tls()

    def start_tls(self) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = self.run.context.wrap_bio(
            self.incoming, self.outgoing, server_hostname="api.twilio.com", session=self.run.session
        )
        self.established = False
        self.step(b"")

    def data_received(self, data: bytes) -> None:
        if self.tls is None:
            self.data += data
            if b"\r\n\r\n" in self.data:
                if b" 200 " not in self.data[:20]:
                    self.run.broken(self.data[:200])
                    self.transport.abort()
                    return
                self.data = b""
                self.start_tls()
            return
        self.step(data)

    def step(self, data: bytes) -> None:
        tls = self.tls
        if data:
            self.incoming.write(data)
        try:
            if not self.established:
                tls.do_handshake()
                self.established = True
                self.ask()
            while True:
                plain = tls.read(65536)
                if not plain:
                    break
                self.data = self.data + plain if self.data else plain
                self.answered()
        except ssl.SSLWantReadError:
            pass
        out = self.outgoing.read()
        if out and not self.transport.is_closing():
            self.transport.write(out)

    def ask(self) -> None:
        if not self.run.load.fresh:
            self.begun = time.perf_counter()
        head, body = self.run.next()
        if self.run.load.writes == 1:
            self.tls.write(head + body)
            return
        self.tls.write(head)
        self.transport.write(self.outgoing.read())
        self.tls.write(body)

    def answered(self) -> None:
        data = self.data
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return
        at = data.find(b"ontent-")
        while at >= 0 and data[at + 7 : at + 14].lower() != b"length:":
            at = data.find(b"ontent-", at + 7)
        length = int(data[at + 14 : data.index(b"\r", at)]) if 0 <= at < end else 0
        if len(data) < end + 4 + length:
            return
        self.data = data[end + 4 + length :]
        self.run.record(time.perf_counter() - self.begun, data[9:12])
        if self.run.over():
            self.transport.abort()
        elif self.run.load.fresh:
            if self.run.load.resume and self.tls.session:
                self.run.session = self.tls.session
            self.transport.abort()
        else:
            self.ask()

    def connection_lost(self, exc: Exception | None) -> None:
        self.run.closed(exc)


class _Run:
    """State that the connections of one load share."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.requests = requests(load)
        self.wanted = str(load.status).encode()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if load.ca and not load.fresh:
            self.context.load_verify_locations(load.ca)
        else:  # a peer's own certificate; or the generator has a third less to do for each connection
            self.context.check_hostname, self.context.verify_mode = False, ssl.CERT_NONE
        self.session: ssl.SSLSession | None = None
        self.result = Result()
        self.at = self.named = 0
        self.ends = 0.0
        self.open = 0
        self.done = asyncio.Event()
        self.loop = asyncio.get_running_loop()
        self.tasks: set[asyncio.Task[None]] = set()

    def next(self) -> tuple[bytes, bytes]:
        self.at += 1
        return self.requests[self.at % len(self.requests)]

    def connect_head(self) -> bytes:
        head = b"CONNECT api.twilio.com:443 HTTP/1.1\r\nHost: api.twilio.com:443\r\n"
        if self.load.users:
            self.named += 1
            pair = base64.b64encode(b"client-%d:x" % (self.named % self.load.users))
            head += b"Proxy-Authorization: Basic " + pair + b"\r\n"
        return head + b"\r\n"

    def opened(self) -> float:
        self.open += 1
        return time.perf_counter()

    def over(self) -> bool:
        return time.perf_counter() >= self.ends

    def record(self, latency: float, status: bytes) -> None:
        if status != self.wanted:
            self.broken(status)
        self.result.latencies.append(latency)

    def broken(self, why: bytes) -> None:
        if not self.result.wrong:
            print(f"wrong answer: {why!r}", file=sys.stderr)
        self.result.wrong += 1

    def closed(self, exc: Exception | None) -> None:
        self.open -= 1
        if not self.over():
            if exc is not None or not self.load.fresh:
                self.broken(repr(exc).encode())
            if self.result.wrong < 1000:
                self.connect()
                return
        if not self.open:
            self.done.set()

    def connect(self) -> None:
        task = self.loop.create_task(self._connect())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _connect(self) -> None:
        try:
            await self.loop.create_connection(lambda: _Client(self), "127.0.0.1", self.load.port)
        except OSError as error:
            self.broken(str(error).encode())
            self.done.set()

    async def go(self) -> Result:
        began, cpu = time.perf_counter(), time.process_time()
        self.ends = began + self.load.seconds
        for _ in range(self.load.connections):
            self.connect()
        await asyncio.wait_for(self.done.wait(), self.load.seconds + 30)
        result = self.result
        result.seconds = time.perf_counter() - began
        result.busy = (time.process_time() - cpu) / result.seconds
        result.answers = len(result.latencies) - result.wrong
        result.latencies.sort()
        return result


def generate(load: Load) -> Result:
    """Run the load in this process."""
    if load.core is not None:
        os.sched_setaffinity(0, {load.core})

    async def main() -> Result:
        return await _Run(load).go()

    return asyncio.run(main())


def main() -> None:
    """Run the load that the only argument describes, and print its figures."""
    print(json.dumps(generate(Load(**json.loads(sys.argv[1]))).as_dict()))


def arguments(load: Load) -> list[str]:
    """The command that runs `load` in a process of its own."""
    return [sys.executable, "-m", "benchmarks.load", json.dumps(asdict(load))]


if __name__ == "__main__":
    main()
