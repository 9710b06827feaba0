"""Fuzz targets: functions that take foreign bytes, each with what holds for whatever comes.

A target raises for a violation and for any exception that its function does not promise. `tests/trust/corpus`
has inputs for each, one a line; `tests/trust/test_fuzzing.py` tries them in the ordinary run, and
`tests/support/fuzz.py` is the program that looks for more, guided by coverage.
"""

from __future__ import annotations

import asyncio
import re
import signal
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, NoReturn

import pytest
from msgspec.structs import replace

from ringback.cassettes import layout, vcr_format
from ringback.cassettes.bodies import decode, rewrite_body
from ringback.cassettes.files import CassetteError
from ringback.cassettes.formats import ForeignFileError, read, recognise
from ringback.cassettes.redaction import Redaction
from ringback.cassettes.vcr_format import InteractionError
from ringback.cassettes.verify import redacted_view, secrets_in
from ringback.contract import Answer, Credentials, Names, Request, load
from ringback.contract.form import FormError, parse
from ringback.contract.render import SeededStamps
from ringback.contract.values import (
    channel,
    e164,
    is_possible,
    is_valid,
    judge_url,
    keypad,
    magic_key,
    moment,
    national,
    utf16_length,
)
from ringback.control import Control
from ringback.exchange import Source
from ringback.responder import Responder
from ringback.server.destination import Destination, canonical_host_name, is_host_name
from ringback.server.http1 import Heads, Http1
from ringback.server.listener import Handshake, HttpProxyHandshake, SocksHandshake
from ringback.server.tls import parse_client_hello
from ringback.server.tunnel import first_bytes
from support.clients import ACCOUNT, basic, error_of, one_line, post
from support.drifting import CLAIM_SET, look

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

CORPUS: Final = Path(__file__).parents[1] / "trust" / "corpus"
LARGEST: Final = 4096  # bytes of an input
_KEPT: Final = 100  # inputs of a target
LONGEST: Final = 10.0  # seconds of processor time for an input; most take a thousandth of one
_ANSWERED: Final = re.compile(rb"HTTP/1\.1 ([0-9]{3}) [ -~\r\n]*?\r\nRingback-Source: ([ -~]*)\r\n")
_API: Final = Destination("connect", "api.twilio.com", 443)
_KEY: Final = b"a key for tests, long enough"
_SECRET: Final = "5f4e3d2c" * 4


class SlowError(Exception):
    """An input takes too long."""


@contextmanager
def time_limit(seconds: float = LONGEST) -> Iterator[None]:
    """Raise `SlowError` in the block after so much processor time."""

    def end(*_: object) -> NoReturn:
        raise SlowError(f"more than {seconds:g} s of processor time")

    before = signal.signal(signal.SIGVTALRM, end)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


class Failing(Responder):
    """A responder that raises what it would log."""

    def _failed(self, _request: Request, error: Exception) -> NoReturn:
        raise error


@cache
def _responder() -> tuple[Responder, SeededStamps]:
    stamps = SeededStamps(1)
    return Failing(load(), stamps=stamps), stamps


def _fresh() -> Responder:
    """Return the responder, which keeps nothing of former inputs."""
    answering, stamps = _responder()
    answering.journal.clear()
    stamps.reset()
    return answering


def _cut(data: bytes, parts: int) -> list[bytes]:
    """Return the parts of an input, between NULs; the last takes the rest."""
    found = data.split(b"\0", parts - 1)
    return found + [b""] * (parts - len(found))


def _check_answer(got: Answer, *, head: bool = False) -> None:
    for name, text in (*got.headers, *got.source.headers()):
        assert one_line(f"{name}: {text}"), (name, text)
    assert got.header("Content-Length") == str(len(got.body)) or (head and not got.body)
    assert one_line(got.reason)
    if got.status != 201 and got.body:
        assert error_of(got.body, got.header("Content-Type"))["status"] == got.status


def _received(pieces: list[bytes]) -> list[tuple[bytes, bytes]]:
    """Return the status and the rule of each answer on a connection."""
    answering = _fresh()
    heads = Heads(answering, partial(_API.names, sni="api.twilio.com"), "https")
    side = Http1(answering.handle, answering, heads)
    got = b"".join([side.receive(piece) for piece in pieces])
    # Whether a client is told to go on depends on whether its body has come.
    return _ANSWERED.findall(got.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b""))


def head(data: bytes) -> None:
    """Bytes of HTTP: cuts do not matter, and each answer is one of the contract's or a refusal."""
    whole = _received([data])
    middle = len(data) // 2
    assert _received([data[:middle], data[middle:]]) == whole
    assert all(b"200" < status < b"432" for status, _ in whole)


def body(data: bytes) -> None:
    """A body: strings that nobody changes come back byte for byte, and codings end in one error."""
    assert rewrite_body(data, lambda text, _: text) == data
    rewrite_body(data, lambda text, name: text.upper() + name)
    for coding in ("gzip", "deflate", "br", "zstd"):
        with suppress(CassetteError):
            decode(data, coding)


def form(data: bytes) -> None:
    """A form: it is read or refused, and the contract answers it in Twilio's shape."""
    with suppress(FormError):
        parse(data)
    for resource in ("Messages", "Calls", "IncomingPhoneNumbers"):
        got = _fresh().handle(post(resource, data), Names("api.twilio.com"))
        assert isinstance(got, Answer)
        _check_answer(got)


def gate(data: bytes) -> None:
    """A head: method, target, host, credentials, other names; only the contract's resources pass."""
    parts = [part.decode("utf-8", "surrogateescape") for part in _cut(data, 6)]
    method, target, host, authorization, connect, sni = parts
    headers = (("Host", host), ("Authorization", authorization), basic())
    for fields in (headers, headers[:2], headers[2:]):
        request = Request(method, host, target, fields, b"")
        got = _fresh().handle(request, Names(host, connect or None, sni or None))
        assert isinstance(got, Answer)
        _check_answer(got, head=method == "HEAD")
        if canonical_host_name(host) != "api.twilio.com" and not host.endswith("twilio.com"):
            assert got.status != 201


def numbers(data: bytes) -> None:
    """A value: number, address, date; the forms of a number are forms of the same one."""
    text = data.decode("utf-8", "surrogateescape")
    for function in (is_valid, is_possible, keypad, magic_key, judge_url, channel, moment, utf16_length):
        function(text)
    national(text)
    written = e164(text)
    assert not is_valid(text) or e164(written) == written
    is_host_name(canonical_host_name(text))


def cassette(data: bytes) -> None:
    """A file: damage is reported and not taken for an interaction; what is read can be written again."""
    with suppress(layout.ForeignLayoutError):
        damaged: list[tuple[int, int]] = []
        index = layout.scan(data, damaged=damaged)
        for start, size in zip(index.starts, index.sizes, strict=True):
            assert 0 <= start <= start + size <= len(data)
            with suppress(InteractionError):
                _written_again(vcr_format.parse(data[start : start + size]))
    with suppress(InteractionError):
        for one in vcr_format.load_foreign(data.decode("utf-8", "replace"))[0]:
            _written_again(one)


def _written_again(one: vcr_format.Interaction) -> None:
    once = vcr_format.dump(one)
    assert vcr_format.dump(vcr_format.parse(once)) == once
    secrets_in(one)
    redacted_view(one)


def formats(data: bytes) -> None:
    """A file of another tool: it is read or refused; what is read can be written again."""
    recognise(data)
    with suppress(ForeignFileError):
        for one in read(data, Path("recording.json")).taken:
            _written_again(vcr_format.Interaction(one.request, one.answer))


def redaction(data: bytes) -> None:
    """A request and its answer: no secret is kept, twice is once, and the account comes back."""
    first, second = _cut(data, 2)
    token = ("X-Auth-Token", _SECRET)
    for kind in ("application/x-www-form-urlencoded", "application/json"):
        request = post("Messages", first)
        fields = (basic(ACCOUNT, _SECRET), token, ("Content-Type", kind))
        clean = Redaction().redact(replace(request, headers=fields))
        assert Redaction().redact(clean.request).request == clean.request
        assert _SECRET.encode() not in clean.request.body + clean.request.target.encode()
        got = Answer(201, "CREATED", (("Content-Type", kind),), second, Source("live"))
        kept = clean.answer(got)
        assert _SECRET.encode() not in kept.body
        clean.restore(kept)
    Redaction(("Body", "To"), _KEY).redact(post("Messages", first)).restore(kept)


def hello(data: bytes) -> None:
    """First bytes of a connection: more bytes add to what is known of a ClientHello, and change nothing."""
    known = None
    for end in range(1, len(data) + 1):
        try:
            found = parse_client_hello(data[:end])
        except ValueError:
            with pytest.raises(ValueError, match=r"^not a"):
                parse_client_hello(data)
            break
        assert known is None or found == known
        known = found
    if data:
        first_bytes(data)


def drift(data: bytes) -> None:
    """A live answer: it is compared, whatever its body, and each difference is one line."""
    for item in CLAIM_SET.probes[:: len(CLAIM_SET.probes) // 4]:
        comparison = look(item, lambda answer: replace(answer, body=data))
        for check in comparison.checks:
            assert check.difference is None or str(check.difference)


@cache
def _control() -> Control:
    return Control(_fresh())


def control(data: bytes) -> None:
    """A request for the proxy itself: method, path, host, origin, body; each answer is JSON or a page."""
    method, path, host, origin, content = _cut(data, 5)
    texts = [part.decode("utf-8", "surrogateescape") for part in (method, path, host, origin)]
    fields = (("Host", texts[2] or "127.0.0.1:8080"), *([("Origin", texts[3])] if origin else []))
    asked = _control()
    for target in {f"/ringback/{texts[1]}", texts[1]}:
        request = Request(texts[0] or "GET", texts[2] or "127.0.0.1", target, fields, content, "http")
        for peer in ("127.0.0.1", "192.0.2.1", None):
            got = asked.handle(request, peer)
            if asyncio.iscoroutine(got):
                got.close()
            elif isinstance(got, Answer):
                assert all(one_line(f"{name}: {text}") for name, text in got.headers), got.headers
                if peer == "192.0.2.1" and target.startswith("/ringback/"):
                    assert got.status == 401


class _Transport:
    """The client's side of a connection that goes nowhere."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = False

    def get_extra_info(self, name: str) -> Any:
        return {"peername": ("127.0.0.1", 50000), "sockname": ("127.0.0.1", 8080)}.get(name)

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    abort = close


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def _handshake(kind: type[Handshake], pieces: Iterable[bytes]) -> tuple[tuple[object, ...], int]:
    """Return what becomes of a connection (fate, reply, whether it is closed), and after how many pieces."""
    fate: list[object] = []
    contract = _fresh().contract
    state = SimpleNamespace(
        connections=set(),
        ports={8080},
        silence=60,
        settings=SimpleNamespace(password=None, block_other_hosts=False, credentials=Credentials()),
        is_twilio=lambda name: contract.is_twilio(canonical_host_name(name)),
        password_fits=lambda _: True,
    )

    class Watched(kind):  # type: ignore[misc, valid-type]  # a class that is an argument
        def _start_tls(self, destination: Destination, hello: object) -> None:
            fate.append(("tls", destination, hello))

        def _answer_plain(
            self, destination: Destination, scheme: str = "http", *, once: bool = False
        ) -> None:
            fate.append(("plain", destination, scheme, once))

        def _relay(self) -> None:
            fate.append(("relay", self._destination))

        def _hand_over(self) -> None:
            fate.append("mitmproxy")

    transport = _Transport()
    handshake = Watched(state)
    taken = 0
    asyncio._set_running_loop(_loop())
    try:
        handshake.connection_made(transport)
        for piece in pieces:
            if fate or transport.closed:
                break
            handshake.data_received(piece)
            taken += 1
        handshake.connection_lost(None)
    finally:
        asyncio._set_running_loop(None)
    assert len(fate) <= 1
    return (*fate, transport.written, transport.closed), taken


def handshake(data: bytes) -> None:
    """CONNECT, a request line or SOCKS: the bytes that decide lead to the same in one piece."""
    for kind in (HttpProxyHandshake, SocksHandshake):
        by_bytes, taken = _handshake(kind, [data[at : at + 1] for at in range(len(data))])
        assert _handshake(kind, [data[:taken]] if taken else [])[0] == by_bytes


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    target.__name__: target
    for target in (
        head,
        body,
        form,
        gate,
        numbers,
        cassette,
        formats,
        redaction,
        hello,
        drift,
        control,
        handshake,
    )
}


def _line(data: bytes) -> str:
    return data.decode("latin-1").encode("unicode_escape").decode("ascii")


def corpus(target: str) -> list[bytes]:
    """Return the kept inputs of a target."""
    lines = (CORPUS / f"{target}.txt").read_text(encoding="ascii").split("\n")
    return [line.encode("ascii").decode("unicode_escape").encode("latin-1") for line in lines[:-1]]


def keep(target: str, inputs: Iterable[bytes]) -> None:
    """Write the smallest inputs of a target, each on a line of its own as Python escapes bytes."""
    lines = [_line(data) for data in sorted(set(inputs), key=lambda data: (len(data), data))[:_KEPT]]
    CORPUS.mkdir(exist_ok=True)
    (CORPUS / f"{target}.txt").write_text("".join(f"{line}\n" for line in lines), encoding="ascii")
