"""What differs from answer to answer, reduced to its shape."""

from __future__ import annotations

import pytest

from ringback.drift.body import DATE, date_format, identifier_shape, is_sid, templated

HEX = "1a2b3c4d" * 4


@pytest.mark.parametrize(
    "text, expected",
    [
        (f"SM{HEX}", True),
        (f"MM{HEX}", False),
        (f"SM{HEX[:-1]}", False),
        (f"SM{HEX}0", False),
        (f"SM{HEX.upper()}", False),
        ("", False),
    ],
)
def test_a_sid(text: str, expected: bool) -> None:
    assert is_sid(text, "SM") is expected


@pytest.mark.parametrize(
    "text, shape",
    [
        (f"SM{HEX}ab", "SM and 34 hex digits"),
        ("SM" + "1" * 32, "SM and 32 digits"),
        ("SM" + HEX.upper(), "SM and 32 capital hex digits"),
        ("SMxyz", "SM and 3 letters and digits"),
        ("SM-x", "SM and other text"),
        ("12", "2 digits"),
        ("-", "other text"),
        ("", "other text"),
        ("8c7a3b52-0b1c-4d5e-8f90-a1b2c3d4e5f6", "a UUID"),
    ],
)
def test_an_identifier_is_described_and_never_shown(text: str, shape: str) -> None:
    assert identifier_shape(text) == shape


@pytest.mark.parametrize(
    "text, name",
    [
        ("2026-01-02T03:04:05Z", "ISO 8601"),
        ("2026-01-02 03:04:05", "ISO 8601"),
        ("2026-01-02", "a date without a time"),
        ("1767323045", "seconds since 1970"),
        ("1767323045.5", "seconds since 1970"),
        ("1767323045000", "milliseconds since 1970"),
        ("Fri, 2 Jan 2026 03:04:05 GMT", "RFC 2822 with another zone"),
        ("yesterday", "another format"),
    ],
)
def test_the_format_of_a_date(text: str, name: str) -> None:
    assert date_format(text) == name
    assert not DATE.fullmatch(text)


def test_twilio_s_own_date() -> None:
    assert DATE.fullmatch("Wed, 10 Oct 2012 21:36:14 +0000")
    assert not DATE.fullmatch("Wed, 10 Oct 2012 21:36:14 +0100")


def test_a_text_without_what_belongs_to_one_request_the_longest_first() -> None:
    known = {"To": "+14105550100", "digits": "14105550100", "short": "is"}
    assert templated("To +14105550100 (14105550100) is", known) == "To {To} ({digits}) is"
