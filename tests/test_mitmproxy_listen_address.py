from __future__ import annotations

import pytest

from ringback.mitmproxy_addon import exposed, listen_host, rebound
from ringback.net import is_loopback
from support.mitm import loaded


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost", "::ffff:127.0.0.1"])
def test_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["", "0.0.0.0", "::", "192.0.2.1", "fe80::1%eth0", "::ffff:192.0.2.1", "example.com"]
)
def test_not_loopback(host: str) -> None:
    assert not is_loopback(host)


def test_an_empty_listen_host_means_loopback_here() -> None:
    with loaded() as context:
        context.options.update(listen_host="")
        assert listen_host(context.options) == "127.0.0.1"
        assert exposed(context.options) is None


@pytest.mark.parametrize(
    "options, host",
    [
        ({"listen_host": "0.0.0.0"}, "0.0.0.0"),
        ({"mode": ["regular", "socks5@192.0.2.7:1080"]}, "192.0.2.7"),
        ({"listen_host": "::1"}, None),
    ],
)
def test_an_address_that_others_can_reach_is_named(options: dict[str, object], host: str | None) -> None:
    with loaded() as context:
        context.options.update(**options)
        assert exposed(context.options) == host


def test_a_listener_on_every_interface_is_moved_by_naming_its_address() -> None:
    with loaded() as context:
        context.options.update(mode=["regular", "socks5@1080"], listen_port=8081)
        assert rebound(context.options, ["0.0.0.0", "::"]) == [
            "regular@127.0.0.1:8081",
            "socks5@127.0.0.1:1080",
        ]


def test_a_listener_on_loopback_stays() -> None:
    with loaded() as context:
        assert rebound(context.options, ["127.0.0.1"]) is None
