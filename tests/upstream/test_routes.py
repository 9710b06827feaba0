from __future__ import annotations

import re

import pytest

from ringback.net import is_loopback
from ringback.upstream.routes import Address, Egress, Routes, UpstreamRoute, mock_upstream

NAMES = (
    "https_proxy",
    "HTTPS_PROXY",
    "http_proxy",
    "HTTP_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
)


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    "url, address",
    [
        ("https://127.0.0.1:8443", Address("https", "127.0.0.1", 8443)),
        ("https://mock-upstream.example/", Address("https", "mock-upstream.example", 443)),
        ("http://[::1]:80", Address("http", "::1", 80)),
        ("proxy.example:3128", Address("http", "proxy.example", 3128)),
        ("http://u%20ser:p%40ss@proxy", Address("http", "proxy", 80, "u ser:p@ss")),
        ("http://user@proxy", Address("http", "proxy", 80, "user:")),
    ],
)
def test_an_address(url: str, address: Address) -> None:
    assert Address.parse(url) == address


@pytest.mark.parametrize(
    "url, said",
    [
        ("ftp://host", "neither https nor http"),
        ("https://", "no host"),
        ("https://host/v1", "path"),
        ("https://host/?x", "path"),
        ("https://host:0x1bb", "port"),
        ("https://host:99999", "port"),
    ],
)
def test_what_is_no_address_is_said(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Address.parse(url)


def test_no_password_in_words() -> None:
    address = Address.parse("http://user:secret@proxy:1")
    assert "secret" not in f"{address} {address!r}"


def test_a_host_is_its_own_route() -> None:
    assert Routes().of("api.ie1.twilio.com") == UpstreamRoute("api.ie1.twilio.com", 443, "api.ie1.twilio.com")


@pytest.mark.parametrize(
    "url, wrong",
    [
        ("foo", "it is no URL; write https://HOST:PORT"),
        ("foo:4010", "it is no URL; write https://HOST:PORT"),
        ("http://foo:4010", "credentials go to this machine alone without TLS; write https://HOST:PORT"),
    ],
)
def test_what_can_be_no_stand_in_says_why(url: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(wrong)}$"):
        mock_upstream(url)


@pytest.mark.parametrize("url", ["127.0.0.1:4010", "http://localhost:4010", "https://foo"])
def test_what_can_stand_in(url: str) -> None:
    assert mock_upstream(url) == Address.parse(url)


def test_a_stand_in_takes_every_hosts_place_under_its_name() -> None:
    routes = Routes(Address.parse("https://127.0.0.1:8443"))
    assert routes.of("api.twilio.com") == UpstreamRoute("127.0.0.1", 8443, "api.twilio.com")
    assert Routes(Address.parse("http://127.0.0.1:1")).of("api.twilio.com").server_name is None


def test_the_environments_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("HTTP_PROXY", "http://other.example:3128")
    monkeypatch.setenv("NO_PROXY", "internal.example, .corp, 10.0.0.0/8,192.168.1.1")
    egress = Egress.from_environment()
    assert str(egress.proxy("api.twilio.com")) == "http://proxy.example:3128"
    assert str(egress.proxy("service.example", "http")) == "http://other.example:3128"
    for host in ("internal.example", "a.internal.example", "x.corp", "10.1.2.3", "192.168.1.1"):
        assert egress.proxy(host) is None
    for host in ("notinternal.example", "11.1.2.3", "192.168.1.2"):
        assert egress.proxy(host) is not None
    for host in ("127.0.0.1", "localhost", "::1", "127.8.8.8"):
        assert egress.proxy(host) is None
    routes = Routes(egress=egress)
    assert str(routes.of("api.twilio.com").proxy) == "http://proxy.example:3128"
    assert Routes(Address.parse("https://127.0.0.1:1"), egress).of("api.twilio.com").proxy is None


def test_no_proxy_for_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "*")
    assert Egress.from_environment().proxy("api.twilio.com") is None


def test_all_proxy_is_the_last_resort(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://all.example:1")
    assert str(Egress.from_environment().proxy("api.twilio.com")) == "http://all.example:1"
    monkeypatch.setenv("HTTPS_PROXY", "http://https.example:1")
    assert str(Egress.from_environment().proxy("api.twilio.com")) == "http://https.example:1"


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080", "http://localhost:8080", "socks5://x:1", "http://"])
def test_this_very_program_and_what_cannot_be_used_are_left_out(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", url)
    egress = Egress.from_environment({8080})
    assert egress.proxy("api.twilio.com") is None
    assert len(egress.unusable) == (":8080" not in url)


def test_what_cannot_be_used_is_reported_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks5h://user:p4ssw0rd@proxy.example:1080")
    monkeypatch.setenv("HTTP_PROXY", "http://user:p4ssw0rd@[bad")
    told = Egress.from_environment().unusable
    assert sorted(line.split(" ")[0] for line in told) == ["HTTPS_PROXY", "HTTP_PROXY"]
    assert "the scheme 'socks5h' is neither https nor http" in " ".join(told)
    assert "p4ssw0rd" not in " ".join(told)


def test_the_users_own_proxy_is_used_whatever_no_proxy_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    egress = Egress.of("http://proxy.example:1")
    assert str(egress.proxy("api.twilio.com")) == "http://proxy.example:1"
    assert egress.proxy("127.0.0.1") is None


def test_loopback() -> None:
    assert all(is_loopback(host) for host in ("localhost", "a.localhost", "127.0.0.1", "::1"))
    assert not any(is_loopback(host) for host in ("localhost.example", "10.0.0.1", "x"))
