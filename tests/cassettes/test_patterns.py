"""What counts as a secret, by its shape or by its name."""

from __future__ import annotations

import pytest

from ringback.cassettes.redaction import (
    ACCOUNT_PLACEHOLDER,
    is_secret_header,
    is_secret_name,
    redact_patterns,
)
from support.exchanges import SID, TOKEN

WEB_TOKEN = "eyJ" + "hbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"
KEY = "-----BEGIN {0}-----\nMII\n-----END {0}-----".format("EC PRIVATE KEY")


@pytest.mark.parametrize(
    "text, redacted",
    [
        (f"account {SID} is", f"account {ACCOUNT_PLACEHOLDER} is"),
        (SID.upper().replace("AC", "AC", 1), ACCOUNT_PLACEHOLDER),
        ("Authorization: Basic QUMxOnRva2Vu", "Authorization: Basic REDACTED"),
        ("authorization: bearer abcdefg1", "authorization: bearer REDACTED"),
        ("Basic dXNlcjpwYXM=", "Basic REDACTED"),
        ('Basic realm="Twilio API"', 'Basic realm="Twilio API"'),
        ("Your basic subscription ends", "Your basic subscription ends"),
        ("Basic Membership, bearer well-established", "Basic Membership, bearer well-established"),
        ("https://user:pass@example.com/x", "https://REDACTED@example.com/x"),
        ("https://example.com/@user", "https://example.com/@user"),
        (f"it was {KEY}, sorry", "it was REDACTED, sorry"),
        ("auth_token=hunter22&x=1", "auth_token=REDACTED&x=1"),
        ('{"password": "hunter22"}', '{"password": "REDACTED"}'),
        ("SM" + TOKEN, "SM" + TOKEN),  # an identifier, not a token
        ("the basics of tokens", "the basics of tokens"),
        ("", ""),
    ],
)
def test_secrets_go_and_the_rest_stays(text: str, redacted: str) -> None:
    assert redact_patterns(text) == redacted
    assert redact_patterns(redacted) == redacted


@pytest.mark.parametrize("secret", [TOKEN, WEB_TOKEN])
def test_tokens_go_and_different_ones_stay_different(secret: str) -> None:
    one, same, other = (redact_patterns(f"({text})") for text in (secret, secret, secret[:-1] + "0"))
    assert secret not in one
    assert one == same != other
    assert redact_patterns(one) == one


@pytest.mark.parametrize(
    "name, secret",
    [
        ("AuthToken", True),
        ("auth_token", True),
        ("client-secret", True),
        ("Password", True),
        ("pwd", True),
        ("SessionId", True),
        ("PageToken", False),  # where a list goes on
        ("Sid", False),
        ("Body", False),
        ("TokenCount", False),
    ],
)
def test_names_of_secrets(name: str, secret: bool) -> None:
    assert is_secret_name(name) is secret


@pytest.mark.parametrize(
    "name, secret",
    [
        ("Set-Cookie", True),
        ("X-Api-Key", True),
        ("X-Session", True),
        ("Authorization", True),
        ("WWW-Authenticate", False),
        ("Access-Control-Allow-Headers", False),
        ("Access-Control-Expose-Authorization", False),
        ("Content-Type", False),
    ],
)
def test_header_fields_that_are_left_out(name: str, secret: bool) -> None:
    assert is_secret_header(name) is secret
