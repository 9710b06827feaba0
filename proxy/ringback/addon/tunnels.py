"""What a client tells the proxy itself: where its tunnel goes, and who it is."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass

from mitmproxy import http

from ringback.exchange import basic_auth
from ringback.net import is_loopback


@dataclass
class Tunnel:
    """What is known of a client connection.

    Attributes:
        target: Its CONNECT target.
        user: Who it says it is.
        heard: Whether it has asked for anything in its tunnel, or said why it does not.
    """

    target: tuple[str, int] | None = None
    user: str | None = None
    heard: bool = False


def is_this_machine(host: str) -> bool:
    """Whether `host` is this machine's loopback in any spelling, also `127.1`, `0` and mapped into IPv6."""
    host = host.strip("[]")
    if is_loopback(host):
        return True
    try:
        address = ipaddress.IPv4Address(socket.inet_aton(host))
    except (OSError, ValueError):
        return host == "::"
    return address.is_loopback or address.is_unspecified


def proxy_credentials(authorization: str) -> tuple[str | None, str]:
    """User name (None without any) and password of a Proxy-Authorization header's value."""
    # A name that is not UTF-8 becomes one that no cassette can have, not nobody's.
    return basic_auth(authorization, errors="replace") or (None, "")


def proxy_authentication_required() -> http.Response:
    """The answer to a client that gives no password, or a wrong one."""
    return http.Response.make(
        407,
        b"Ringback wants its proxy password: http://NAME:PASSWORD@HOST:PORT\n",
        {"Proxy-Authenticate": 'Basic realm="Ringback"', "Content-Type": "text/plain"},
    )


def refused_tunnel(text: str) -> http.Response:
    """The answer `text`, a status and a sentence, to a CONNECT or a plain-HTTP request."""
    status, _, reason = text.partition(" ")
    return http.Response.make(int(status), f"{reason}\n", {"Content-Type": "text/plain"})
