"""Destinations: the names that a connection and a request give to the host, and who may connect."""

from __future__ import annotations

from typing import Any

import pytest

from ringback.contract import Names
from ringback.server.destination import Destination, canonical_host_name, is_host_name, is_this_machine


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
    "said, wanted",
    [
        (["API.Twilio.com:443"], "api.twilio.com"),
        (["api.twilio.com.", "api.twilio.com"], "api.twilio.com"),
        (["", "api.twilio.com:443"], "api.twilio.com"),
    ],
)
def test_one_host_however_often_it_is_named(said: list[str], wanted: str) -> None:
    names = Destination("connect", "api.twilio.com", 443).names(said, "api.twilio.com")
    assert names == Names(wanted, "api.twilio.com", "api.twilio.com", 443)


def test_two_hosts_are_never_taken_for_one() -> None:
    names = Destination("connect", "api.twilio.com", 443).names(["api.twilio.com", "evil.example"], None)
    assert names.host not in {"api.twilio.com", "evil.example"}
    assert "evil.example" in names.host


def test_without_a_host_the_handshake_or_the_tunnel_names_it() -> None:
    assert Destination("connect", "api.twilio.com", 443).names([], "API.twilio.com").host == "api.twilio.com"
    assert Destination("connect", "Lookups.twilio.com", 443).names([], None).host == "lookups.twilio.com"


@pytest.mark.parametrize(
    "way, host, expected",
    [
        ("connect", "api.twilio.com", Names("api.twilio.com", "api.twilio.com", "api.twilio.com", 443)),
        ("socks", "127.0.0.9", Names("api.twilio.com", "127.0.0.9", "api.twilio.com", 443)),
        ("absolute", "api.twilio.com", Names("api.twilio.com", "api.twilio.com", "api.twilio.com", 443)),
        ("server", "127.0.0.1", Names("api.twilio.com", None, "api.twilio.com", None)),
        ("reverse", "127.0.0.1", Names("api.twilio.com", None, "api.twilio.com", None)),
        ("transparent", "192.0.2.1", Names("api.twilio.com", None, "api.twilio.com", 443)),
    ],
)
def test_each_way_in_names_what_its_client_chose(way: Any, host: str, expected: Names) -> None:
    assert Destination(way, host, 443).names(["api.twilio.com"], "api.twilio.com") == expected


def test_a_reverse_client_may_call_the_api_by_the_listeners_address() -> None:
    for said in ("127.0.0.1:4011", "localhost", "10.0.0.5"):
        assert Destination("reverse", "10.0.0.5", 4011).names([said], None).host == "api.twilio.com"
    assert Destination("reverse", "10.0.0.5", 4011).names(["evil.example"], None).host == "evil.example"


def test_host_names() -> None:
    assert canonical_host_name("API.Twilio.com.") == "api.twilio.com"


@pytest.mark.parametrize(
    "name, plain",
    [
        ("api.twilio.com", True),
        ("xn--bcher-kva.example", True),
        ("_sip._tcp.example", True),
        ("fe80::1%eth0", True),
        ("api.twilio.com%00.example.org", False),
        ("b\u00fccher.example", False),
        ("api.twi\u00adlio.com", False),
        ("\uff41pi.twilio.com", False),
    ],
)
def test_names_that_two_readers_take_for_different_hosts_are_no_host_names(name: str, plain: bool) -> None:
    assert is_host_name(name) is plain
