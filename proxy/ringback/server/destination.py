"""Destinations of client connections, the names that they give to a host, and the rules of who may connect.

Pure: knows no socket beyond asking whether an address is this machine's.
"""

from __future__ import annotations

import ipaddress
import socket
import sys
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from ringback.contract import Names
from ringback.contract.gate import canonical_host
from ringback.net import is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ringback.contract import Credentials

API: Final = "api.twilio.com"
NOWHERE: Final = "255.255.255.255"  # to which the Java agent resolves Twilio's names
NO_HOST_NAME: Final = "a host name is ASCII without percent signs; write an international one as xn--..."
HEALTH_PREFIX: Final = "/ringback/"  # the proxy's own pages

Way: TypeAlias = Literal["connect", "socks", "absolute", "server", "reverse", "transparent"]


@dataclass(frozen=True, slots=True)
class Destination:
    """Destination of a connection, as the client named it.

    Attributes:
        way: How it said so: CONNECT, SOCKS5, an absolute-form request (plain HTTP by proxy), a request in
            origin form to the proxy's own port, the reverse listener, or a redirected connection.
        host: The host name or address, canonical; for `server` and `reverse` the listener's own address.
        port: The port.
        user: The name that the client gave to the proxy: its cassette, or None.
    """

    way: Way
    host: str
    port: int
    user: str | None = None

    def names(self, hosts: Iterable[str], sni: str | None) -> Names:
        """Return every name that the connection and one of its requests give to the host.

        Args:
            hosts: The request's Host fields, and the authority of an absolute target.
            sni: The server name of the TLS handshake, or None.
        """
        if self.way == "reverse":
            # A reverse client may call the API by the listener's own address, and chose no port.
            agreed = agreed_names(hosts, (API, 443), sni)
            named = {
                API if is_this_machine(host) or host == self.host else host
                for host in agreed.host.split(" and ")
            }
            return Names(" and ".join(sorted(named)), None, agreed.sni, None)
        agreed = agreed_names(hosts, (self.host, self.port), sni)
        if self.way == "server":  # a hosts entry: the client could not choose the port
            return Names(agreed.host, None, agreed.sni, None)
        if self.way == "transparent":
            return Names(agreed.host, None, agreed.sni, agreed.port)
        return agreed


def agreed_names(hosts: Iterable[str], target: tuple[str, int], sni: str | None) -> Names:
    """Return the names of a connection and of a request in it.

    Args:
        hosts: The request's own words for its host, in Host fields and in an absolute target.
        target: Host and port that the connection is for.
        sni: The server name of the TLS handshake, or None.
    """
    named = {canonical_host(name) for name in hosts if name}
    connected = canonical_host_name(target[0])
    # Several different Host fields become one name that cannot agree with anything.
    host = " and ".join(sorted(named)) if named else (canonical_host_name(sni) if sni else connected)
    return Names(host=host, connect=connected, sni=canonical_host_name(sni) if sni else None, port=target[1])


def is_host_name(name: str) -> bool:
    """Report whether a resolver or a proxy is asked for exactly `name`: ASCII, and `%` in IPv6 zones alone.

    Of other names it is not certain which host they end at: `api.twilio.com` in full-width letters, or with
    `%00` and more behind it, is one host for one reader and another for the next.
    """
    return name.isascii() and ("%" not in name or ":" in name)


def canonical_host_name(name: str) -> str:
    """Return a host name without port as the gate compares it."""
    return name.lower().rstrip(".")


def is_this_machine(host: str) -> bool:
    """Report whether `host` is this machine's loopback in any spelling, also `127.1` and `0`."""
    host = host.strip("[]")
    if is_loopback(host):
        return True
    try:
        address = ipaddress.IPv4Address(socket.inet_aton(host))
    except (OSError, ValueError):
        return host == "::"
    return address.is_loopback or address.is_unspecified


def is_own_address(host: str) -> bool:
    """Report whether `host`, an address, belongs to one of this machine's interfaces."""
    return is_loopback(host) or has_address(host.removeprefix("::ffff:"))


@lru_cache(64)
def has_address(host: str) -> bool:
    """Report whether a socket can be bound to `host`, an address."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return True


def leads_back(peer: tuple[str | int, ...]) -> bool:
    """Report whether the connection from `peer` was opened by this very process, on its way to Twilio."""
    client = sys.modules.get("ringback.upstream.client")  # not imported: then nothing was dialled
    return client is not None and peer in client.handshaking


# -- who may connect


def client_refusal(peer: str, own: str, password: str | None) -> str | None:
    """Return why a client of the HTTP or SOCKS5 proxy is not served, or None.

    Args:
        peer: The client's address.
        own: The address that it connected to.
        password: The proxy password in force, or None.
    """
    if password is not None or is_loopback(peer) or is_loopback(own):
        return None
    return f"{peer} is another machine, and Ringback was started without a password"


def reverse_refusal(credentials: Credentials, password: str | None, host: str) -> str | None:
    """Return why a reverse listener at `host` would be open to somebody, or None.

    Test credentials in every request are the only password that its clients can give.
    """
    if credentials.token is not None or (password is None and is_loopback(host)):
        return None
    who = "a way around the proxy password" if is_loopback(host) else f"open to other machines at {host}"
    return (
        f"the reverse listener would be {who}: its clients can give no proxy password. "
        "Set RINGBACK_TEST_ACCOUNT_SID and RINGBACK_TEST_AUTH_TOKEN, then only requests with these are "
        "answered"
    )


def reverse_client_refusal(credentials: Credentials, password: str | None, peer: str) -> str | None:
    """Return why a reverse client at the address `peer` is not served, or None."""
    return reverse_refusal(credentials, password, "127.0.0.1" if is_own_address(peer) else peer)


def transparent_refusal(password: str | None) -> str | None:
    """Return why a transparent listener would be open to somebody, or None; it is this machine's alone."""
    if password is None:
        return None
    return "transparent clients can give no proxy password: use --transparent without one"


def transparent_client_refusal(password: str | None, peer: str) -> str | None:
    """Return why a redirected client at the address `peer` is not served, or None."""
    if is_own_address(peer):
        return transparent_refusal(password)
    return f"{peer} is another machine: a transparent listener takes this machine's connections alone"


def reverse_request_refusal(
    names: Names, peer: str, is_twilio: Callable[[str], bool], *, tls: bool
) -> str | None:
    """Return status and sentence for a request that a reverse listener does not answer, or None.

    Args:
        names: The names of the request.
        peer: The client's address.
        is_twilio: Whether a name is a host of Twilio's.
        tls: Whether the request came by TLS.
    """
    if not tls and not is_own_address(peer):
        return "403 Ringback takes credentials from another machine by TLS alone"
    named = [name for name in (*names.host.split(" and "), names.sni) if name]
    if any(is_twilio(name) for name in named):
        return None
    return f"421 This port is for twilio.com and for this machine's own address, not for {named[0]}"
