from __future__ import annotations

import base64

import pytest

from ringback.addon.tunnels import is_this_machine, proxy_credentials, refused_tunnel


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "127.0.0.1",
        "127.1",
        "127.8.8.8",
        "0",
        "0.0.0.0",
        "2130706433",
        "0x7f.1",
        "[::1]",
        "::1",
        "::",
        "[::ffff:127.0.0.1]",
    ],
)
def test_this_machine_in_every_spelling(host: str) -> None:
    assert is_this_machine(host)


@pytest.mark.parametrize(
    "host", ["", "api.twilio.com", "10.0.0.1", "128.0.0.1", "localhost.example", "[2001:db8::1]"]
)
def test_others(host: str) -> None:
    assert not is_this_machine(host)


@pytest.mark.parametrize(
    "pair, found",
    [
        ("name:x", ("name", "x")),
        ("name:", ("name", "")),
        (":x", ("", "x")),
        ("a:b:c", ("a", "b:c")),
        ("ü:x", ("ü", "x")),
    ],
)
def test_who_a_client_says_it_is(pair: str, found: tuple[str, str]) -> None:
    encoded = base64.b64encode(pair.encode()).decode()
    assert proxy_credentials(f"Basic {encoded}") == proxy_credentials(f"bAsIc {encoded}") == found


@pytest.mark.parametrize("said", ["", "Basic !", "Bearer eA=="])
def test_nobody(said: str) -> None:
    assert proxy_credentials(said) == (None, "")


def test_a_name_that_is_not_utf8_is_no_cassettes_name() -> None:
    assert proxy_credentials("Basic /w==") == ("\ufffd", "")


def test_a_refused_tunnel_says_why() -> None:
    got = refused_tunnel("403 Ringback blocks x")
    assert (got.status_code, got.content) == (403, b"Ringback blocks x\n")


@pytest.mark.parametrize("value", ["Basic \xff", "Basic !", "Basic \udcff", "Bearer eDp4", ""])
def test_what_is_no_credentials_is_nobodys(value: str) -> None:
    assert proxy_credentials(value) == (None, "")
