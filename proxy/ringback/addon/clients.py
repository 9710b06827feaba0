"""What is known of each client connection: where its tunnel goes, who it is, and which host it means."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from ringback.addon import direct, flows
from ringback.addon.tunnels import Tunnel, is_this_machine, proxy_credentials

if TYPE_CHECKING:
    from collections.abc import Callable

    from mitmproxy.connection import Client, Connection
    from mitmproxy.http import HTTPFlow

    from ringback.contract import Names

_ORIGIN_FORM = re.compile(rb"[A-Z]{1,16} /")


class Clients:
    """The client connections that are open.

    Args:
        is_twilio: Whether a name is a host of Twilio's.
    """

    def __init__(self, is_twilio: Callable[[str], bool]) -> None:
        self._is_twilio = is_twilio
        self._tunnels: dict[str, Tunnel] = {}
        self._meant: set[tuple[str | int, ...]] = set()

    def tunnel(self, client: Client) -> Tunnel | None:
        """The tunnel that `client` opened with CONNECT, or None."""
        return self._tunnels.get(client.id)

    def opened(self, client: Client, target: tuple[str, int], user: str | None) -> None:
        """Note that `client`, who calls itself `user`, has a tunnel to `target`."""
        self._tunnels[client.id] = Tunnel(target, user)

    def heard(self, client: Connection) -> None:
        """Note that `client` has asked for something in its tunnel, or said why it does not."""
        tunnel = self._tunnels.get(client.id)
        if tunnel is not None:
            tunnel.heard = True

    def is_silent(self, client: Client) -> bool:
        """Whether `client` has a tunnel, and TLS inside, and nothing to tell of."""
        tunnel = self.tunnel(client)
        return tunnel is not None and not tunnel.heard and client.tls_established

    def meant(self, peer: tuple[str | int, ...]) -> None:
        """Note that `peer` asks as one asks a server: it means this proxy, whatever host it names.

        mitmproxy shows its hooks no difference between that and a request to a proxy.
        """
        self._meant.add(peer)

    def forget(self, client: Client) -> None:
        """Forget a connection that has ended."""
        self._tunnels.pop(client.id, None)
        self._meant.discard(client.peername)

    def user(self, flow: HTTPFlow) -> str | None:
        """The name that the client gave to the proxy: its cassette."""
        tunnel = self.tunnel(flow.client_conn)
        if tunnel is not None:
            return tunnel.user
        return proxy_credentials(flow.request.headers.get("Proxy-Authorization", ""))[0]

    def names(self, flow: HTTPFlow) -> Names:
        """Every name that the client gave to the host that it wants."""
        if direct.knows_no_proxy(flow.client_conn):
            return direct.names(flow)
        tunnel = self.tunnel(flow.client_conn)
        names = flows.to_names(flow, tunnel.target if tunnel else None)
        if tunnel is None and names.port == flow.client_conn.sockname[1]:
            # The client came to this port by another name (a hosts entry): it could not choose the port.
            return replace(names, port=None)
        return names

    def wants_twilio(self, flow: HTTPFlow) -> bool:
        """Whether any of the names is a host of Twilio's."""
        names = self.names(flow)
        told = [*names.host.split(" and "), names.connect, names.sni]
        return any(self._is_twilio(name) for name in told if name)

    def wants_proxy(self, flow: HTTPFlow) -> bool:
        """Whether the request is for the proxy itself."""
        client = flow.client_conn
        if direct.knows_no_proxy(client):
            return direct.is_own_request(flow)
        if self.tunnel(client) is not None or self.wants_twilio(flow):
            return False
        return client.peername in self._meant or is_own(client, self.names(flow).host, flow.request.port)


def asks_a_server(data: bytes) -> bool:
    """Whether a connection begins with a request in origin form, as a server is asked, not a proxy."""
    return _ORIGIN_FORM.match(data) is not None


def is_own(client: Client, host: str, port: int) -> bool:
    """Whether `host` and `port` are where `client` is connected to: this proxy."""
    own = client.sockname
    return bool(port == own[1] and (host.strip("[]") == own[0] or is_this_machine(host)))
