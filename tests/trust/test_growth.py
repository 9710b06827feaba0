"""No input is slower than linear: processor time at two sizes, for functions that take foreign bytes.

Each function is timed with texts of one shape at the ends of a range, where the larger text is `RANGE` times
the smaller one. Linear time grows by `RANGE`, quadratic time by its square. Between the two lies room for a
noisy machine: `STEEPEST` is their geometric middle, the smaller text is repeated until it is measurable,
of several runs the quickest counts, and a failure is measured again. Nothing may take longer than `LONGEST`.
At the large scale there are two sizes more in between, and each step is judged as well.

The functions of the package that a case reaches are noted. At the large scale, every one that takes bytes
must be reached, or be in `APART` with the reason why nobody else chooses its bytes or their number.
"""

from __future__ import annotations

import ast
import asyncio
import base64
import gc
import gzip
import os
import re
import sys
import time
import zlib
from contextlib import suppress
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import Mock
from urllib.parse import quote

import brotli  # type: ignore[import-untyped]  # its types are in no package
import pytest
import zstandard

import ringback
from ringback.cassettes import layout, matching, redaction, vcr_format
from ringback.cassettes.bodies import decode, rewrite_body
from ringback.cassettes.files import CassetteError
from ringback.cassettes.formats import ForeignFileError, read, recognise_flows, to_ruby_vcr
from ringback.cassettes.layout import ForeignLayoutError, scan
from ringback.cassettes.object_store import StoredObject
from ringback.cassettes.redaction import Redaction
from ringback.cassettes.remote import _count, _items, compose
from ringback.cassettes.vcr_format import Interaction, dump
from ringback.cassettes.verify import load as load_file
from ringback.cassettes.verify import secrets_in
from ringback.contract import Answer, Names, Request, Source, load
from ringback.contract.render import SeededStamps
from ringback.contract.values import (
    channel,
    e164,
    is_possible,
    is_valid,
    judge_url,
    keypad,
    magic_key,
    national,
)
from ringback.control import Control
from ringback.drift.monitor import DriftMonitor
from ringback.journal import Journal
from ringback.launch.certificates import read_certificates
from ringback.launch.trust import bundle_of, read_pem_blocks
from ringback.responder import Responder
from ringback.server.destination import Destination
from ringback.server.http1 import Heads, Http1
from ringback.server.tls import parse_client_hello
from ringback.server.tunnel import first_bytes
from ringback.upstream.client import _ConnectRequest
from ringback.upstream.http1 import AnswerParser, UpstreamError
from support.clients import ACCOUNT, GOOD, post
from support.exchanges import FORM, JSON, Shelf, answer, missed, request

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType

    from ringback.cassettes.misses import Miss
    from ringback.contract import Admitted

PROMISE = "no input is slower than linear"
TRIED = "processor time over a range of 64 times the size"
LARGE_SCALE = "TRUST_SCALE" in os.environ
LARGEST = 1 << (22 if LARGE_SCALE else 20)
SMALLER = LARGEST // 4  # for what is tried in many shapes
RANGE = 64
STEEPEST = RANGE**1.5
STEEPEST_STEP = 4**1.75  # a step has less room than the range, and the same noise
MEASURABLE = 0.02
LONGEST = 30.0
ATTEMPTS = 3
KEY = b"k" * 32
PACKAGE = str(Path(ringback.__file__).parent)
REACHED: set[str] = set()  # functions of the package that a case called


OWN = "bytes that this project made, of a size that it chose"
DIGEST = "a digest or a key, of a fixed size"
FEW = "gets 64 KB at the most: the limit of a head and of a ClientHello"
ON = "hands the bytes on, unread, to what is measured or to the system"
APART = {
    "drift/history.py:_run_of": "reads a report of this project's by json, once",
    "launch/ca.py:_validity": "hands its text to read_certificates, which is measured",
    "launch/shims/witness.py:queried": "gets one DNS packet",
    "launch/shims/witness.py:report": "sends a line of this project's",
    "cassettes/layout.py:_vouched": "takes one checksum of one item, by zlib",
    "server/listener.py:Handshake.data_received": FEW,
    "server/listener.py:HttpProxyHandshake._read_absolute": FEW,
    **dict.fromkeys(
        (
            "callbacks.py:StatusCallbacks._send",
            "cassettes/object_store.py:Bucket._put",
            "cassettes/object_store.py:Bucket.put",
            "cassettes/object_store.py:Bucket.replace",
            "cassettes/remote.py:RemoteCassettes._install",
            "cassettes/remote.py:RemoteCassettes._keep",
            "cassettes/store.py:keep_beside",
            "cassettes/store.py:write_all",
            "cassettes/store.py:write_whole",
            "cli/cassettes.py:_message",
            "cli/cassettes.py:_write",
            "drift/monitor.py:AgreedExchanges.add",
            "launch/directory.py:write_file",
            "mitmproxy_engine.py:Engine.take",
            "mitmproxy_engine.py:_WithoutReplies.__init__",
            "mitmproxy_engine.py:_WithoutReplies.write",
            "mitmproxy_flows.py:is_origin_form",
            "mitmproxy_view.py:TwilioView.__call__",
            "mitmproxy_view.py:TwilioView.prettify",
            "mitmproxy_view.py:TwilioView.render_priority",
            "net.py:write_atomically",
            "server/connection.py:HttpConnection._write",
            "server/connection.py:HttpConnection.data_received",
            "server/connection.py:MitmproxyEngine.take",
            "server/connection.py:TlsConnection._write",
            "server/connection.py:TlsConnection.data_received",
            "server/tunnel.py:Side.data_received",
            "server/tunnel.py:Side.leave_kernel",
            "server/tunnel.py:Tunnel.__init__",
            "upstream/client.py:UpstreamConnection._settle",
            "upstream/client.py:UpstreamConnection._take",
            "upstream/client.py:UpstreamConnection._write",
            "upstream/client.py:UpstreamConnection.ask",
            "upstream/client.py:UpstreamConnection.data_received",
        ),
        ON,
    ),
    **dict.fromkeys(
        (
            "callbacks.py:_written",
            "cassettes/layout.py:CassetteReader._note",
            "cassettes/remote.py:RemoteCassettes.append",
            "cassettes/remote.py:RemoteCassettes.publish",
            "cassettes/remote.py:RemoteFile.append",
            "cassettes/remote.py:RemoteFile.append_locally",
            "cassettes/remote.py:RemoteRerecordedFile.append",
            "cassettes/store.py:CassetteFile._create",
            "cassettes/store.py:CassetteFile.append",
            "cassettes/store.py:CassetteFile.append_locked",
            "cassettes/store.py:RerecordedFile.append",
            "cassettes/store.py:offsets_of",
            "cli/setup.py:_write",
            "journal.py:_cleaned",
            "launch/certificates.py:export",
            "launch/trust.py:Bundles._write",
            "launch/trust.py:jks",
            "launch/trust.py:usual_bundle",
            "server/http1.py:Heads.remember",
            "server/http1.py:Http1._do",
            "server/listener.py:Handshake._go_to",
            "server/listener.py:Handshake._reply",
            "server/listener.py:HttpProxyHandshake._connect",
            "server/tls.py:LeafIssuer.__init__",
            "state.py:State.follow",
            "state.py:State.publish",
            "state_redis.py:RedisState._add_all",
            "state_redis.py:RedisState._follow",
            "state_redis.py:RedisState.follow",
            "state_redis.py:RedisState.publish",
            "upstream/http1.py:_check_framing",
        ),
        OWN,
    ),
    **dict.fromkeys(
        (
            "cassettes/pseudonyms.py:key_id",
            "cassettes/redaction.py:check_key",
            "cassettes/redaction.py:with_key",
            "state.py:Uses.take",
            "state.py:Verdicts.settle",
            "state_redis.py:RedisUses.take",
            "state_redis.py:RedisVerdicts._checked",
            "state_redis.py:RedisVerdicts._signed",
            "state_redis.py:RedisVerdicts.settle",
        ),
        DIGEST,
    ),
}


def repeated(unit: bytes) -> Callable[[int], bytes]:
    return lambda size: unit * (size // len(unit))


def field(unit: bytes) -> Callable[[int], bytes]:
    return lambda size: b"To=%2B14105550100&Body=" + unit * (size // len(unit))


def many_fields(pattern: str) -> Callable[[int], bytes]:
    return lambda size: "&".join(pattern % n for n in range(size // len(pattern % 10000))).encode()


TEXTS = {
    "web tokens that are none": b"eyJ-",
    "web tokens without an end": b"eyJaaaaaaaa.",
    "words with eyJ inside": b"xeyJ_",
    "Basic": b"Basic ",
    "basic words": b"basic a-a-a-",
    "token": b"token ",
    "token=": b"token= ",
    "schemes": b"://",
    "URLs": b"://aaaa",
    "keys that do not end": b"-----BEGIN " + b"PRIVATE KEY-----",
    "keys that do not begin": b"-----BEGIN A ",
    "hex": b"a0" * 16 + b" ",
    "account SIDs": b"AC" + b"0a" * 16,
    "digits": b"1-",
    "spaces": b" ",
    "letters": b"a",
    "bytes that are no UTF-8": bytes(range(128, 256)),
}
DOCUMENTS = {
    "brackets": (b"[", b""),
    "members": (b'{"a":', b""),
    "quotes": (b'"', b""),
    "an open string of escapes": (b'\\"', b'"'),
    "backslashes": (b"\\", b'["'),
    "strings": (b'"a",', b"["),
    "strings without commas": (b'"a" ', b'{"token":'),
    "spaces after a string": (b" ", b'["a"'),
    "less-than": (b"<", b""),
    "open tags": (b"<a", b""),
    "one open tag": (b"a", b"<"),
    "tags": (b"<a>x", b""),
    "open CDATA": (b"<![CDATA[", b""),
    "references": (b"&#65;", b"<a>"),
    "attributes": (b"<a b='>' ", b""),
    "lines": (b"\n", b""),
}
FORMS = {
    "ampersands": repeated(b"&"),
    "blank fields": repeated(b"a&"),
    "other names": many_fields("n%07d=1"),
    "one name": many_fields("To=%07d"),
    "one pair": repeated(b"To=1&"),
    "escapes": field(b"%41"),
}


def seconds(function: Callable[[bytes], object], data: bytes, times: int = 1) -> float:
    """Return the processor time that some calls take together."""
    gc.collect()
    gc.freeze()  # else a collection during the call looks at all that other tests have left
    try:
        before = time.process_time()
        for _ in range(times):
            with suppress(CassetteError, ForeignLayoutError):  # a refusal is a good answer, if it comes soon
                function(data)
        return time.process_time() - before
    finally:
        gc.unfreeze()


def quickest(function: Callable[[bytes], object], data: bytes) -> float:
    """Return the shortest of three times of a call that may be too short to measure alone."""
    times = 1
    while (taken := seconds(function, data, times)) < MEASURABLE:
        times *= 2 if taken > MEASURABLE / 4 else 4
    return min(taken, *(seconds(function, data, times) for _ in range(2))) / times


def assert_linear(
    function: Callable[[bytes], object], make: Callable[[int], bytes], largest: int = LARGEST
) -> None:
    """Fail if time grows faster than size, in each of a few attempts."""
    steps = (RANGE, 16, 4, 1) if LARGE_SCALE else (RANGE, 1)
    texts = [make(largest // step) for step in steps]
    note_calls(function, texts[0])
    for _ in range(ATTEMPTS):
        slow = seconds(function, texts[-1])
        if slow < MEASURABLE:
            return  # so short that no growth of it can be felt
        times = [*(quickest(function, text) for text in texts[:-1]), slow]
        whole = slow < LONGEST and slow < times[0] * STEEPEST
        if whole and all(one < before * STEEPEST_STEP for before, one in pairwise(times) if LARGE_SCALE):
            return
    told = ", ".join(f"{taken:.3f} s for {len(text)}" for taken, text in zip(times, texts, strict=True))
    pytest.fail(f"{RANGE} times the size takes {slow / times[0]:.0f} times as long: {told} bytes")


def note_calls(function: Callable[[bytes], object], data: bytes) -> None:
    """Call `function`, and note the functions of the package that it calls."""

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            called.add(frame.f_code)

    called: set[CodeType] = set()
    before = sys.getprofile()
    sys.setprofile(note)
    try:
        seconds(function, data)
    finally:
        sys.setprofile(before)
    REACHED.update(
        f"{code.co_filename[len(PACKAGE) + 1 :]}:{code.co_qualname.replace('.<locals>', '')}"
        for code in called
    )


@pytest.mark.parametrize("name", TEXTS)
def test_redaction_of_a_form(name: str) -> None:
    assert_linear(lambda body: Redaction().redact(request(body)).key.digest, field(TEXTS[name]))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_rewriting_of_a_body(name: str) -> None:
    unit, begin = DOCUMENTS[name]
    assert_linear(
        lambda body: rewrite_body(body, lambda text, _: redaction.redact_patterns(text)),
        lambda size: begin + unit * (size // len(unit)),
    )


@pytest.mark.parametrize("name", DOCUMENTS)
def test_redaction_of_another_body(name: str) -> None:
    unit, begin = DOCUMENTS[name]
    assert_linear(
        lambda body: Redaction().redact(request(body, headers=(JSON,))).key.digest,
        lambda size: begin + unit * (size // len(unit)),
    )


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("fields", [(), ("To", "Body")], ids=["plain", "pseudonyms"])
def test_matching_of_a_form(fields: tuple[str, ...], name: str) -> None:
    wanted = Redaction(fields, KEY if fields else b"")
    assert_linear(lambda body: wanted.redact(request(body)).key.digest, FORMS[name])


@pytest.mark.parametrize("unit", [b"1", b"%2B1-", b"(", b"tel:", b"+"], ids=str)
def test_pseudonyms_of_a_long_value(unit: bytes) -> None:
    wanted = Redaction(("Body",), KEY)

    def restored(body: bytes) -> object:
        return wanted.redact(request(body)).restore(answer({"body": "hello", "to": "+14105550100"}))

    assert_linear(restored, field(unit))


@pytest.mark.parametrize("name", FORMS)
def test_the_nearest_recording(tmp_path: Path, name: str) -> None:
    shelf = Shelf(tmp_path)
    shelf.write(*((request({"Body": str(n), "To": "+14105550100"}), answer(number=n)) for n in range(300)))
    with shelf.library() as library:
        cassette = library.open()

        def explained(body: bytes) -> str:
            found: Miss = missed(cassette, request(body))
            return found.text

        assert_linear(explained, FORMS[name])


@pytest.mark.parametrize("name", [*TEXTS, "items", "comments", "damage"])
def test_reading_of_a_file(name: str) -> None:
    units = {
        **TEXTS,
        "items": b"- request:\n  x: y\n" * 40,
        "comments": b"# ringback key=\n",
        "damage": b"- x: [\n" + b"  y\n" * 100,
    }
    head = b"version: 1\ninteractions:\n"
    assert_linear(
        lambda data: scan(data, damaged=[]), lambda size: head + units[name] * (size // len(units[name]))
    )


def test_opening_of_many_gzip_members() -> None:
    member = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x03\x00" + bytes(8)
    assert_linear(lambda body: decode(body, "gzip"), repeated(member))


def test_differences_of_large_forms() -> None:
    other = matching.plain_key(request({"Body": "hello"}, headers=(FORM,)))
    assert_linear(
        lambda body: matching.differences(matching.plain_key(request(body)), other), FORMS["other names"]
    )


def test_the_measure_finds_quadratic_time() -> None:
    pattern = re.compile(rb"\beyJ[\w-]{8,}\.[\w-]{8,}")
    with pytest.raises(pytest.fail.Exception, match="64 times the size takes"):
        assert_linear(pattern.search, repeated(b"eyJ-"), 1 << 15)


HEAD = b"POST /2010-04-01/Accounts/%s/Messages.json HTTP/1.1\r\nHost: api.twilio.com\r\n" % ACCOUNT.encode()
STREAMS: dict[str, Callable[[int], bytes]] = {
    "chunks of a byte": lambda size: (
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * (size // 6) + b"0\r\n\r\n"
    ),
    "a chunk extension": lambda size: HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"x" * size,
    "a trailer": lambda size: HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"x" * size,
    "fields": lambda size: HEAD + b"a: b\r\n" * (size // 6) + b"\r\n",
    "a field": lambda size: HEAD + b"X: " + b"a" * size + b"\r\n\r\n",
    "a target": lambda size: b"GET /" + b"a" * size + b" HTTP/1.1\r\n\r\n",
    "empty lines": repeated(b"\r\n"),
    "requests": repeated(HEAD + b"Content-Length: 0\r\n\r\n"),
    "requests without a host": repeated(b"GET / HTTP/1.1\r\n\r\n"),
}


@pytest.mark.parametrize("piece", [1, 1000, 1 << 30])
@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_of_http(name: str, piece: int) -> None:
    answering = Responder(load(), stamps=SeededStamps(1))
    heads = Heads(answering, partial(Destination("connect", "api.twilio.com", 443).names, sni=None), "https")

    def handled(asked: Request, names: Names, *, admitted: Admitted | None = None) -> Answer:
        decided = answering.decide(asked, names, None, admitted)  # in this thread, however large it is
        assert isinstance(decided, Answer)
        return answering.finish(asked, decided)

    def received(data: bytes) -> None:
        side = Http1(handled, answering, heads)
        for at in range(0, len(data), piece):
            side.receive(data[at : at + piece])

    assert_linear(received, STREAMS[name], SMALLER if piece > 1 else SMALLER // 8)


def answered_here(body: bytes) -> None:
    """Answer a message with `body`, all of it in this thread."""
    answering, asked = Responder(load(), stamps=SeededStamps(1)), post("Messages", body)
    decided = answering.decide(asked, Names("api.twilio.com"))
    assert isinstance(decided, Answer)
    answering.finish(asked, decided)


@pytest.mark.parametrize("name", FORMS)
def test_an_answer_of_the_contract_and_its_journal(name: str) -> None:
    assert_linear(answered_here, FORMS[name], SMALLER)


@pytest.mark.parametrize("name", [*TEXTS, *DOCUMENTS])
def test_a_form_of_one_long_value(name: str) -> None:
    unit = TEXTS[name] if name in TEXTS else DOCUMENTS[name][0]
    assert_linear(answered_here, field(quote(unit).encode()), SMALLER)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_request_for_the_proxy_itself(name: str) -> None:
    unit, begin = DOCUMENTS[name]
    control = Control(Responder(load(), stamps=SeededStamps(1)))

    def handled(data: bytes) -> object:
        fields = (("Host", "127.0.0.1:8080"),)
        for way in ("outcome", "session"):
            found = control.handle(
                Request("POST", "127.0.0.1", f"/ringback/{way}", fields, data, "http"), "127.0.0.1"
            )
            if not isinstance(found, Answer) and hasattr(found, "close"):
                found.close()
        return None

    assert_linear(handled, lambda size: begin + unit * (size // len(unit)), SMALLER)


@pytest.mark.parametrize(
    "unit", [b"1", b"+", b"(", b"tel:", b"+1-", b"a", b" ", b";ext=1", "\u0661".encode()], ids=repr
)
@pytest.mark.parametrize(
    "function", [e164, national, is_valid, is_possible, keypad, magic_key, judge_url, channel]
)
def test_texts_that_should_be_numbers_or_addresses(function: Callable[[str], object], unit: bytes) -> None:
    assert_linear(lambda data: function(data.decode()), repeated(unit), SMALLER)


@pytest.mark.parametrize(
    "unit",
    [b"\x16\3\1\0\1\1", b"\x16\3\1\0\0", b"\r\n", b"GET ", b"GET / HTTP/1.1\r\nhost:\r\n", b"\x80"],
    ids=repr,
)
def test_first_bytes_of_a_tunnel(unit: bytes) -> None:
    def looked_at(data: bytes) -> None:
        with suppress(ValueError):
            first_bytes(data)

    assert_linear(looked_at, repeated(unit), SMALLER)


@pytest.mark.parametrize(
    "unit", [b"<%", b"{{", b"<<<<<<< a\n", b"- x: {{\n", b'{"log":{"entries":[', b'"', b"3:", b"\n"], ids=repr
)
def test_a_file_of_a_foreign_form(unit: bytes) -> None:
    def looked_at(data: bytes) -> None:
        with suppress(ForeignFileError):
            read(data, Path("a.yaml"))

    assert_linear(looked_at, repeated(unit), SMALLER)


@pytest.mark.parametrize(
    "coding, pack",
    [
        ("br", brotli.compress),
        ("zstd", zstandard.ZstdCompressor().compress),
        ("deflate", zlib.compress),
        ("deflate, gzip, br", lambda data: brotli.compress(gzip.compress(zlib.compress(data)))),
    ],
    ids=["br", "zstd", "deflate", "three"],
)
def test_opening_of_what_unpacks_to_much(coding: str, pack: Callable[[bytes], bytes]) -> None:
    assert_linear(lambda body: decode(body, coding), lambda size: pack(b"a" * size))


ANSWER = b"HTTP/1.1 201 CREATED\r\nContent-Type: application/json\r\n"
ANSWERS: dict[str, Callable[[int], bytes]] = {
    "a body": lambda size: ANSWER + b"Content-Length: %d\r\n\r\n" % size + b"x" * size,
    "a body until the end": lambda size: ANSWER + b"\r\n" + b"x" * size,
    "chunks of a byte": lambda size: (
        ANSWER + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * (size // 6) + b"0\r\n\r\n"
    ),
    "a chunk extension": lambda size: ANSWER + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"x" * size,
    "fields": lambda size: ANSWER + b"a: b\r\n" * (size // 6) + b"\r\n",
    "a field": lambda size: ANSWER + b"X: " + b"a" * size + b"\r\n\r\n",
    "a reason": lambda size: b"HTTP/1.1 200 " + b"a" * size,
    "interim answers": repeated(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "empty lines": repeated(b"\r\n"),
}


@pytest.mark.parametrize("piece", [1, 1000, 1 << 30])
@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_of_an_upstream(name: str, piece: int) -> None:
    def received(data: bytes) -> None:
        parser = AnswerParser("POST")
        with suppress(UpstreamError):
            for at in range(0, len(data), piece):
                parser.feed(data[at : at + piece])
            parser.end()

    assert_linear(received, ANSWERS[name], SMALLER if piece > 1 else SMALLER // 8)


@pytest.mark.parametrize("kind", ["application/json", "application/xml"])
@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_comparison_of_a_live_answer(name: str, kind: str) -> None:
    unit, begin = DOCUMENTS[name]
    monitor = DriftMonitor(load())
    asked = post("Messages", GOOD["Messages"], extension=".json" if "json" in kind else "")

    expected = Responder(load(), stamps=SeededStamps(1)).handle(asked, Names(asked.host))
    assert isinstance(expected, Answer)

    def observed(body: bytes) -> None:
        live = Answer(201, "CREATED", (("Content-Type", kind),), body, Source("live"))
        monitor.observe(asked, live, "", expected)

    assert_linear(observed, lambda size: begin + unit * (size // len(unit)), SMALLER)


@pytest.mark.parametrize("unit", [ACCOUNT.encode(), b"%41", b"token", b"%", b"+", b'{"a":'], ids=str)
def test_an_entry_of_the_journal(unit: bytes) -> None:
    """The token stands at the end of what is asked and answered, so that all of it is searched."""
    secret = b"5ec2e75ec2e75ec2e75ec2e75ec2e75e"
    authorization = ("Authorization", "Basic " + base64.b64encode(b"AC:" + secret).decode())

    def kept(data: bytes) -> None:
        journal = Journal()
        for media in ("application/json", "application/x-www-form-urlencoded"):
            fields = (authorization, ("Content-Type", media))
            asked = Request("POST", "api.twilio.com", "/" + data[:1000].hex(), fields, data + secret)
            journal.add(asked, Answer(201, "CREATED", (), data + secret, Source("live")))
        for entry in journal:
            entry.record().as_dict(details=True)
            journal.take("request", entry.packed())
        journal.take("request", data)

    assert_linear(kept, repeated(unit), SMALLER)


@pytest.mark.parametrize(
    "unit",
    [
        b"\x16\x03\x01\x00\x01\x01",
        b"\x16\x03\x01\x40\x00\x01\xff\xff\xff" + bytes(16380),
        b"\x16\x03\x01\x00\x00",
    ],
    ids=["records of a byte", "a long message", "empty records"],
)
def test_a_client_hello(unit: bytes) -> None:
    def parsed(data: bytes) -> None:
        with suppress(ValueError):
            parse_client_hello(data)

    assert_linear(parsed, repeated(unit), SMALLER)


@pytest.mark.parametrize(
    "extension", [b"\x00\x00\x00\x00", b"\x00\x10\x00\x00", b"\xff\xff\x00\x00"], ids=repr
)
def test_a_client_hello_of_many_extensions(extension: bytes) -> None:
    def hello(size: int) -> bytes:
        content = extension * (min(size, 60_000) // 4)
        body = b"\x03\x03" + bytes(32) + b"\x00" + b"\x00\x02\x13\x01" + b"\x01\x00"
        body += len(content).to_bytes(2) + content
        message = b"\x01" + len(body).to_bytes(3) + body
        return b"".join(
            b"\x16\x03\x01" + len(part).to_bytes(2) + part
            for part in (message[at : at + 16000] for at in range(0, len(message), 16000))
        )

    def parsed(data: bytes) -> None:
        with suppress(ValueError):
            parse_client_hello(data)

    assert_linear(parsed, hello)


ITEM = b"- request:\n    uri: https://api.twilio.com/\n    body: '"


@pytest.mark.parametrize(
    "unit", [b"''", b"a", b" ", b"\n\n", b"\\\\", b"&a *a ", b"[", b"? ", b"- "], ids=repr
)
def test_an_item_of_a_cassette(unit: bytes) -> None:
    def parsed(data: bytes) -> None:
        for begin in (b"", ITEM, ITEM.replace(b"'", b'"')):
            for read_item in (vcr_format.parse, vcr_format.parse_request):
                with suppress(CassetteError, vcr_format.InteractionError):
                    read_item(begin + data)

    assert_linear(parsed, repeated(unit), SMALLER // 4)


def test_a_cassette_with_keys_of_another_version() -> None:
    item = dump(Interaction(request({"Body": "x"}), answer()))
    one = layout.entry(b"k" * 16, item)
    metadata = {"ringback": {"matching": 1, "redaction": {"version": 1}}}

    def renewed(data: bytes) -> None:
        layout.upgraded(data, scan(data))

    assert_linear(renewed, lambda size: layout.head(metadata) + one * (size // len(one)), SMALLER)


@pytest.mark.parametrize("name", [*TEXTS, *DOCUMENTS])
def test_a_search_for_secrets(name: str) -> None:
    unit, begin = (TEXTS[name], b"") if name in TEXTS else DOCUMENTS[name]

    def searched(body: bytes) -> None:
        secrets_in(Interaction(request(body, headers=(JSON,)), answer(body)))
        to_ruby_vcr([(request({"Body": "x"}), answer(body), "")], "1")
        Redaction().redact(request({"Body": "x"})).answer(answer(body))

    assert_linear(searched, lambda size: begin + unit * (size // len(unit)), SMALLER)


@pytest.mark.parametrize("unit", [b"-----BEGIN CERTIFICATE-----\n", b"-----BEGIN ", b"a\n", b"-"], ids=repr)
def test_a_file_of_certificates(tmp_path: Path, unit: bytes) -> None:
    file = tmp_path / "roots.pem"

    def found(data: bytes) -> None:
        file.write_bytes(data)
        with suppress(ValueError, OSError):
            bundle_of(read_pem_blocks(file), data)
        with suppress(ValueError):
            read_certificates(data)

    assert_linear(found, repeated(unit), SMALLER)


@pytest.mark.parametrize("unit", ["plain", "torn", "cut", "another tool's"])
def test_a_check_of_a_file(tmp_path: Path, unit: str) -> None:
    file = tmp_path / "a.yaml"
    one = Interaction(request({"Body": "x"}), answer())
    item = dump(one)
    units = {
        "plain": item,
        "torn": layout.entry(b"k" * 16, item)
        + b"# ringback key="
        + b"00" * 16
        + b" crc=00000000 bytes=99\n- req\n",
        "another tool's": b"http_interactions:\n- x: y\n",
    }

    def looked_at(data: bytes) -> None:
        file.write_bytes(data)
        with suppress(CassetteError, layout.DamageError, ValueError):
            load_file(file)
        with suppress(CassetteError):
            layout.refuse_other_format(data, file)
        recognise_flows(data)
        with suppress(CassetteError, layout.DamageError):
            compose("a", {StoredObject("a.yaml", "1"): data, StoredObject("a/1.done", "2"): data})
        for function in (_count, partial(_items, "a", "a.yaml")):
            with suppress(CassetteError, layout.DamageError, ValueError):
                function(data)

    def cut(size: int) -> bytes:
        """Make a file whose one item lacks its end."""
        whole = dump(Interaction(request({"Body": "x " * (size // 2)}), answer()))
        return layout.head({}) + layout.entry(b"k" * 16, whole)[:-10]

    head = b"interactions:\n" if unit == "plain" else layout.head({})
    make = cut if unit == "cut" else lambda size: head + units[unit] * (size // len(units[unit]))
    assert_linear(looked_at, make, SMALLER // 4)


@pytest.mark.parametrize("unit", [b"--b\r\n\r\n\r\n", b"\r\n--b", b'name="', b"--b\r\n"], ids=repr)
def test_a_body_of_many_parts(unit: bytes) -> None:
    kind = (("Content-Type", "multipart/form-data; boundary=b"),)
    assert_linear(
        lambda body: Redaction().redact(request(body, headers=kind)).key.digest,
        lambda size: b"--b\r\n" + unit * (size // len(unit)) + b"\r\n--b--",
        SMALLER,
    )


@pytest.mark.parametrize("unit", [b"a: b\r\n", b"a", b"\r\n"], ids=repr)
def test_the_answer_of_an_egress_proxy(unit: bytes) -> None:
    async def answered(data: bytes) -> None:
        asked = _ConnectRequest("api.twilio.com:443", None)
        asked.connection_made(Mock(spec=asyncio.Transport))
        for at in range(0, len(data), 1000):
            asked.data_received(data[at : at + 1000])
        if asked.granted.done():
            asked.granted.exception()

    def came(data: bytes) -> None:
        asyncio.run(answered(b"HTTP/1.1 200 OK\r\n" + data))

    assert_linear(came, repeated(unit), SMALLER)


def functions_with_bytes() -> set[str]:
    """Every function of the package with a parameter for bytes, as `file:Class.function`."""
    found = set()

    def look(node: ast.AST, file: str, inside: str) -> None:
        for one in ast.iter_child_nodes(node):
            if isinstance(one, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                name = f"{inside}.{one.name}" if inside else one.name
                if not isinstance(one, ast.ClassDef) and takes_bytes(one):
                    found.add(f"{file}:{name}")
                look(one, file, name)

    for path in Path(PACKAGE).rglob("*.py"):
        look(ast.parse(path.read_text(encoding="utf-8")), str(path.relative_to(PACKAGE)), "")
    return found


def takes_bytes(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    given = function.args
    types = [one.annotation for one in (*given.posonlyargs, *given.args, *given.kwonlyargs) if one.annotation]
    return any({"bytes", "Buffer"} & set(re.findall(r"\w+", ast.unparse(one))) for one in types)


def test_every_function_that_takes_bytes_is_measured(request: pytest.FixtureRequest) -> None:
    if not LARGE_SCALE:
        pytest.skip("large scale: scripts/test.py --trust")
    if request.config.option.keyword or any("::" in one for one in request.config.args):
        pytest.skip("only a part of this file runs")
    left = functions_with_bytes() - REACHED - set(APART)
    assert not left, sorted(left)
    assert set(APART) <= functions_with_bytes()
    assert not set(APART) & REACHED
