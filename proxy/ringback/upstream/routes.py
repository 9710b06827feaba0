"""Routes to the live API: the address that is dialled, the name that is verified, the egress proxy."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Self
from urllib.parse import unquote, urlsplit

from ringback.net import is_loopback

if TYPE_CHECKING:
    from collections.abc import Collection

_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class Address:
    """A server as its URL names it.

    Attributes:
        scheme: `https` or `http`.
        host: Name or address, without brackets.
        port: The port.
        userinfo: `user:password` of the URL, percent-encoding removed, or None.
    """

    scheme: str
    host: str
    port: int
    userinfo: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str) -> Self:
        """Parse the server that `url` names; without a scheme it is http.

        Raises:
            ValueError: It names none, or more than a server; the message quotes no password.
        """
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
        except ValueError:  # in words that quote the password
            raise ValueError("it is no URL") from None
        if parts.scheme not in _PORTS:
            raise ValueError(f"the scheme {parts.scheme!r} is neither https nor http")
        if not parts.hostname:
            raise ValueError("it names no host; write https://HOST:PORT")
        if parts.path.strip("/") or parts.query or parts.fragment:
            raise ValueError("it has a path; write https://HOST:PORT, the request's own path is kept")
        try:
            port = parts.port or _PORTS[parts.scheme]
        except ValueError:
            raise ValueError("its port is no number from 1 to 65535") from None
        userinfo = None
        if parts.username is not None:
            userinfo = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        return cls(parts.scheme, parts.hostname, port, userinfo)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class UpstreamRoute:
    """The route to one host.

    Attributes:
        host: Name or address to connect to.
        port: Its port.
        server_name: The name that TLS asks for and verifies, or None for plain HTTP to a mock upstream.
        proxy: The HTTP proxy that the connection is tunnelled through, or None.
    """

    host: str
    port: int
    server_name: str | None
    proxy: Address | None = None


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Time limits, in seconds.

    Attributes:
        connect: For the name, the connection, the egress proxy and TLS together.
        answer: From the request's first byte to the answer's last.
    """

    connect: float = 10.0
    answer: float = 30.0


@dataclass(frozen=True, slots=True)
class Egress:
    """The proxy that connections to the outside go through.

    Attributes:
        proxies: The proxy by scheme (`https`, `http`), or under `all`.
        no_proxy: NO_PROXY's text.
        forced: Whether NO_PROXY does not count, because the user named the proxy for this program.
        unusable: A sentence for each variable that names a proxy which is none for Ringback.
    """

    proxies: tuple[tuple[str, Address], ...] = ()
    no_proxy: str = ""
    forced: bool = False
    unusable: tuple[str, ...] = ()

    @classmethod
    def of(cls, url: str) -> Self:
        """Take the proxy that the user named for this program.

        Raises:
            ValueError: The URL names no proxy.
        """
        return cls((("all", Address.parse(url)),), forced=True)

    @classmethod
    def from_environment(cls, own_ports: Collection[int] = ()) -> Self:
        """Read HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY of this process.

        A proxy at one of `own_ports` of this machine is this very program, and is left out. One that cannot
        be used is left out and reported in `unusable`.
        """
        found: dict[str, Address] = {}
        unusable = []
        if not any(name.lower().endswith("_proxy") for name in os.environ):
            return cls()
        from urllib.request import getproxies_environment  # noqa: PLC0415 - http.client and email with it

        for scheme, url in getproxies_environment().items():
            if scheme not in {"https", "http", "all"}:
                continue
            try:
                address = Address.parse(url)
            except ValueError as error:
                unusable.append(
                    f"{scheme.upper()}_PROXY cannot be used ({error}): its hosts are connected to directly"
                )
                continue
            if not (is_loopback(address.host) and address.port in own_ports):
                found[scheme] = address
        no_proxy = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
        return cls(tuple(found.items()), no_proxy, unusable=tuple(unusable))

    def proxy(self, host: str, scheme: str = "https") -> Address | None:
        """Return the proxy for connections to `host`, or None; this machine's own addresses need none."""
        if is_loopback(host):
            return None
        named = dict(self.proxies)
        proxy = named.get(scheme) or named.get("all")
        if proxy is None or self.forced:
            return proxy
        return None if self._excepted(host) else proxy

    def _excepted(self, host: str) -> bool:
        from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined] # noqa: PLC0415 - see above; typeshed does not know it

        if proxy_bypass_environment(host, {"no": self.no_proxy}):
            return True
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return any(_within(address, entry.strip()) for entry in self.no_proxy.split(","))


@dataclass(frozen=True, slots=True)
class Routes:
    """The routes to all hosts.

    Attributes:
        upstream: A mock upstream that takes the place of every API host, or None.
        egress: The proxy to the outside.
    """

    upstream: Address | None = None
    egress: Egress = field(default_factory=Egress)

    @property
    def origin(self) -> str | None:
        """Return the mock upstream's URL; None where the answers are Twilio's own."""
        at = self.upstream
        if at is None or at.host == "twilio.com" or at.host.endswith(".twilio.com"):
            return None
        return str(at)

    @lru_cache(64)  # noqa: B019 - a process has few of these objects, and as long as it runs
    def of(self, host: str) -> UpstreamRoute:
        """Return the route to the API host `host`: always TLS, except to a mock upstream whose URL says http.

        The name that is verified is the client's, also where a mock upstream is dialled.
        """
        if self.upstream is None:
            return UpstreamRoute(host, 443, host, self.egress.proxy(host))
        at = self.upstream
        name = host if at.scheme == "https" else None
        return UpstreamRoute(at.host, at.port, name, self.egress.proxy(at.host, at.scheme))


def mock_upstream(url: str) -> Address:
    """Parse the URL of a mock upstream, which takes the live API's place.

    Raises:
        ValueError: It names none, or would send credentials over a network in clear text.
    """
    address = Address.parse(url)
    if address.scheme == "http" and not is_loopback(address.host):
        if "://" not in url:
            raise ValueError("it is no URL; write https://HOST:PORT")
        raise ValueError("credentials go to this machine alone without TLS; write https://HOST:PORT")
    return address


def _within(address: ipaddress.IPv4Address | ipaddress.IPv6Address, network: str) -> bool:
    try:
        return address in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False
