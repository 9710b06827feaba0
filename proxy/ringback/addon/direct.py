"""Clients that know of no proxy: a listener in the place of Twilio's API, and connections redirected here.

Reverse: the client's address for Twilio is this listener's, by a hosts entry or a container's alias (TLS), or
by a base URL of its own (plain HTTP). Transparent: the kernel redirects connections, and only it knows where
they were going. Neither client can say a proxy password, so here other things decide who may ask:
`reverse_refusal` and `transparent_refusal`.
"""

from __future__ import annotations

import logging
import socket
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from mitmproxy import platform
from mitmproxy.proxy.mode_specs import ReverseMode, TransparentMode

from ringback.addon import flows
from ringback.addon.tunnels import is_this_machine
from ringback.contract import Names
from ringback.net import is_loopback
from ringback.upstream.client import handshaking

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from mitmproxy import http
    from mitmproxy.connection import Client
    from mitmproxy.tls import ClientHelloData

    from ringback.addon.handlers import RingbackAddon, ShortWay
    from ringback.contract import Admitted, Answer, Request
    from ringback.settings import Settings

logger = logging.getLogger(__name__)

API: Final = "api.twilio.com"
REVERSE: Final = f"reverse:https://{API}"  # the mode of mitmproxy's that is this module's
TRANSPARENT: Final = "transparent"


def is_reverse(client: Client) -> bool:
    """Whether the client takes this listener for Twilio's API."""
    mode = client.proxy_mode
    return isinstance(mode, ReverseMode) and mode.address[0] == API


def is_transparent(client: Client) -> bool:
    """Whether the kernel redirected the client's connection."""
    return isinstance(client.proxy_mode, TransparentMode)


def knows_no_proxy(client: Client) -> bool:
    """Whether the client came in one of the two ways."""
    return is_reverse(client) or is_transparent(client)


def is_own_address(host: str) -> bool:
    """Whether `host`, an address, is one of this machine's interfaces: nothing else can be bound to."""
    return is_loopback(host) or has_address(host.removeprefix("::ffff:"))


def has_address(host: str) -> bool:
    """Whether a socket can be bound to `host`, an address."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return True


# -- who may ask


def reverse_refusal(settings: Settings, host: str) -> str | None:
    """Why a reverse listener at `host` would be open to somebody, or None.

    Test credentials in every request are the only password that its clients can give.
    """
    if settings.credentials.token is not None or (settings.password is None and is_loopback(host)):
        return None
    who = "a way around the proxy password" if is_loopback(host) else f"open to other machines at {host}"
    return (
        f"the reverse listener would be {who}: its clients can give no proxy password. "
        "Set RINGBACK_TEST_ACCOUNT_SID and RINGBACK_TEST_AUTH_TOKEN, then only requests with these are "
        "answered"
    )


def transparent_refusal(settings: Settings) -> str | None:
    """Why a transparent listener would be open to somebody, or None; it is this machine's alone."""
    if settings.password is None:
        return None
    return "transparent clients can give no proxy password: use --transparent without one"


def client_refusal(client: Client, settings: Settings) -> str | None:
    """Why `client` is not taken, or None."""
    peer = client.peername[0]
    if is_reverse(client):
        return peer_refusal(peer, settings)
    if is_own_address(peer):
        return transparent_refusal(settings)
    return f"{peer} is another machine: a transparent listener takes this machine's connections alone"


def request_refusal(flow: http.HTTPFlow, is_twilio: Callable[[str], bool]) -> str | None:
    """Status and sentence for a request that a reverse listener does not take, or None."""
    client = flow.client_conn
    if not is_reverse(client):
        return None
    # The request's scheme is that of the API, whatever the client speaks.
    if not client.tls_established and not is_own_address(client.peername[0]):
        return "403 Ringback takes credentials from another machine by TLS alone"
    said = [name for name in (*names(flow).host.split(" and "), client.sni) if name]
    if any(is_twilio(name) for name in said):
        return None
    return f"421 This port is for twilio.com and for this machine's own address, not for {said[0]}"


def peer_refusal(peer: str, settings: Settings) -> str | None:
    """Why a reverse client at the address `peer` is not taken, or None."""
    return reverse_refusal(settings, "127.0.0.1" if is_own_address(peer) else peer)


class Way(NamedTuple):
    """How a client's requests are answered without a flow for each.

    Attributes:
        answer: Who answers.
        agree: Makes the names from what a request calls its host and the TLS server name.
        kind: What else the names depend on.
    """

    answer: ShortWay
    agree: Callable[..., Names]
    kind: str


def reverse_way(addon: RingbackAddon, transport: asyncio.Transport, sni: str) -> Way | None:
    """The way of a reverse client that names `sni`; None where mitmproxy has to see the connection."""
    peer, own = transport.get_extra_info("peername")[0], transport.get_extra_info("sockname")[0]
    if not _is_short(addon, sni) or peer_refusal(peer, addon.settings):
        return None
    return Way(partial(_answer, addon), partial(reverse_names, own=own), f"reverse {own}")


def transparent_way(addon: RingbackAddon, transport: asyncio.Transport, sni: str) -> Way | None:
    """The same of a redirected client."""
    peer = transport.get_extra_info("peername")[0]
    if not _is_short(addon, sni) or not is_own_address(peer) or transparent_refusal(addon.settings):
        return None
    try:
        assert platform.original_addr is not None
        going = platform.original_addr(transport.get_extra_info("socket"))
    except (AssertionError, OSError, RuntimeError):  # mitmproxy tells it
        return None
    return Way(addon.answer, partial(transparent_names, going=going), f"transparent {going}")


def _is_short(addon: RingbackAddon, sni: str) -> bool:
    return addon.settings.mode == "offline" and addon.responder.contract.is_twilio(sni)


def _answer(addon: RingbackAddon, request: Request, names: Names, admitted: Admitted | None = None) -> Answer:
    if is_own_path(request.path):
        from ringback.control import at_once  # noqa: PLC0415 - as in the responder

        return at_once(addon.responder.own(request))
    return addon.answer(request, names, admitted=admitted)


# -- what they ask


def names(flow: http.HTTPFlow) -> Names:
    """The names that such a connection and its request give to the host.

    Nobody chose a CONNECT target here. A reverse client may call the API by the listener's own address, and
    its port is the listener's; a redirected one chose its port.
    """
    client, request = flow.client_conn, flow.request
    said = [*request.headers.get_all("Host"), request.data.authority.decode("utf-8", "surrogateescape")]
    if is_transparent(client):
        return transparent_names(said, client.sockname, client.sni)
    return reverse_names(said, client.sockname[0], client.sni)


def transparent_names(said: list[str], going: tuple[str, int], sni: str | None) -> Names:
    """The same of a redirected client, which was going to that address."""
    return replace(flows.agreed_names(said, going, sni), connect=None)


def reverse_names(said: list[str], own: str, sni: str | None) -> Names:
    """The same of a reverse client, which came to this machine's address `own`."""
    agreed = flows.agreed_names(said, (API, 443), sni)
    hosts = {API if is_this_machine(host) or host == own else host for host in agreed.host.split(" and ")}
    return Names(" and ".join(sorted(hosts)), None, agreed.sni, None)


def is_own_request(flow: http.HTTPFlow) -> bool:
    """Whether a reverse client asks for the proxy itself, such as its health."""
    return is_reverse(flow.client_conn) and is_own_path(flow.request.path)


def is_own_path(path: str) -> bool:
    """Whether the proxy itself answers a reverse client's `path`."""
    return path.startswith("/ringback/")


def to_request(flow: http.HTTPFlow, names: Names) -> Request:
    """The request, addressed to the host that it means."""
    request = flows.to_request(flow, names)
    if not is_reverse(flow.client_conn) or " and " in names.host:
        return request
    headers = [(name, value) for name, value in request.headers if name.lower() != "host"]
    return replace(request, headers=(("Host", names.host), *headers))


def judge_hello(data: ClientHelloData, is_twilio: Callable[[str], bool]) -> None:
    """Take TLS apart for Twilio's names; others' stays untouched; redirected without a name it is closed.

    The address that a nameless handshake was going to may be Twilio's, so it goes nowhere.
    """
    client, sni = data.context.client, data.client_hello.sni
    reverse = is_reverse(client)
    if client.peername in handshaking:
        logger.error(
            "%s leads back to this proxy: have the hosts entry or the redirection for the clients alone", sni
        )
        sni = None
    elif sni and is_twilio(sni):
        # The CA vouches for no address, so the certificate must not have the one that was dialled.
        data.context.server.address = (flows.canonical_host_name(sni), client.sockname[1])
        return
    elif reverse and not sni:
        return
    data.ignore_connection = True
    if not sni:
        data.context.server.address = (API, 443)  # to which no connection is opened
