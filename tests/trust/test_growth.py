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
from typing import TYPE_CHECKING

import pytest

from ringback.cassettes import matching, redaction
from ringback.cassettes.bodies import decode, rewrite_body
from ringback.cassettes.files import CassetteError
from ringback.cassettes.layout import ForeignLayoutError, scan
from ringback.cassettes.redaction import Redaction
from support.exchanges import FORM, JSON, Shelf, answer, missed, request

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ringback.cassettes.misses import Miss

PROMISE = "no input is slower than linear"
TRIED = "processor time over a range of 64 times the size"
LARGEST = 1 << (22 if "TRUST_SCALE" in os.environ else 20)
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
