"""No input is slower than linear: processor time at two sizes, for functions that take foreign bytes.

Each function is timed with texts of one shape at the ends of a range, where the larger text is `RANGE` times
the smaller one. Linear time grows by `RANGE`, quadratic time by its square. Between the two lies room for a
noisy machine: `STEEPEST` is their geometric middle, the smaller text is repeated until it is measurable,
of several runs the quickest counts, and a failure is measured again. Nothing may take longer than `LONGEST`.
"""

from __future__ import annotations

import gc
import os
import re
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from ringback.cassettes import matching, redaction
from ringback.cassettes.bodies import decode, rewrite_body
from ringback.cassettes.files import CassetteError
from ringback.cassettes.formats import ForeignFileError, read
from ringback.cassettes.layout import ForeignLayoutError, scan
from ringback.cassettes.redaction import Redaction
from ringback.contract import Answer, Names, Request, load
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
from ringback.responder import Responder
from ringback.server.destination import Destination
from ringback.server.http1 import Heads, Http1
from ringback.server.tunnel import first_bytes
from support.clients import ACCOUNT, post
from support.exchanges import FORM, JSON, Shelf, answer, missed, request

if TYPE_CHECKING:
    from collections.abc import Callable

    from ringback.cassettes.misses import Miss

PROMISE = "no input is slower than linear"
TRIED = "processor time over a range of 64 times the size"
LARGEST = 1 << (22 if "TRUST_SCALE" in os.environ else 20)
SMALLER = LARGEST // 4  # for what is tried in many shapes
RANGE = 64
STEEPEST = RANGE**1.5
MEASURABLE = 0.02
LONGEST = 30.0
ATTEMPTS = 3
KEY = b"k" * 32


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
    before = time.process_time()
    for _ in range(times):
        with suppress(CassetteError, ForeignLayoutError):  # a refusal is a good answer, if it comes soon
            function(data)
    return time.process_time() - before


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
    small, large = make(largest // RANGE), make(largest)
    for _ in range(ATTEMPTS):
        slow = seconds(function, large)
        if slow < MEASURABLE:
            return  # so short that no growth of it can be felt
        quick = quickest(function, small)
        if slow < LONGEST and slow < quick * STEEPEST:
            return
    pytest.fail(
        f"{RANGE} times the size takes {slow / quick:.0f} times as long: {slow:.2f} s for {largest} bytes"
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

    def received(data: bytes) -> None:
        side = Http1(answering.handle, answering, heads)
        for at in range(0, len(data), piece):
            side.receive(data[at : at + piece])

    assert_linear(received, STREAMS[name], SMALLER if piece > 1 else SMALLER // 8)


@pytest.mark.parametrize("name", FORMS)
def test_an_answer_of_the_contract_and_its_journal(name: str) -> None:
    answering = Responder(load(), stamps=SeededStamps(1))
    assert_linear(
        lambda body: answering.handle(post("Messages", body), Names("api.twilio.com")), FORMS[name], SMALLER
    )


@pytest.mark.parametrize("name", [*TEXTS, *DOCUMENTS])
def test_a_form_of_one_long_value(name: str) -> None:
    unit = TEXTS[name] if name in TEXTS else DOCUMENTS[name][0]
    answering = Responder(load(), stamps=SeededStamps(1))
    body = field(quote(unit).encode())
    assert_linear(
        lambda data: answering.handle(post("Messages", data), Names("api.twilio.com")), body, SMALLER
    )


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
