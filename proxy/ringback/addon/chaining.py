"""Other hosts' connections through the proxy that the environment had before Ringback took its place.

A child's HTTPS_PROXY points at Ringback; where the machine reaches the outside only through a proxy of its
company, tunnels have to go on through that one.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from mitmproxy.proxy.layers.http._upstream_proxy import HttpUpstreamProxy
from mitmproxy.proxy.mode_specs import UpstreamMode
from mitmproxy.proxy.tunnel import TunnelLayer

if TYPE_CHECKING:
    from mitmproxy import http
    from mitmproxy.net.server_spec import ServerSpec
    from mitmproxy.proxy.layer import NextLayer

    from ringback.addon.routes import Address, Egress


def chain_tunnel(data: NextLayer, egress: Egress) -> None:
    """Put the egress proxy between a tunnel and its host, once it is known what the tunnel holds."""
    server = data.context.server
    if data.layer is None or server.address is None or server.via is not None or server.connected:
        return
    if isinstance(data.context.client.proxy_mode, UpstreamMode):
        return  # mitmproxy does it itself
    proxy = egress.proxy(server.address[0])
    if proxy is None:
        return
    server.via = _via(proxy)
    stack = HttpUpstreamProxy.make(data.context, send_connect=True)
    tunnel = stack[-1]
    assert isinstance(tunnel, TunnelLayer)
    tunnel.child_layer = data.layer
    data.layer = stack[0]


def chain_request(flow: http.HTTPFlow, egress: Egress) -> None:
    """The same for a request by plain HTTP."""
    if flow.server_conn.via is None and not isinstance(flow.client_conn.proxy_mode, UpstreamMode):
        proxy = egress.proxy(flow.request.host, flow.request.scheme)
        if proxy is not None:
            flow.server_conn.via = _via(proxy)


def authorize(flow: http.HTTPFlow, egress: Egress) -> None:
    """Give the egress proxy the user and password of its URL."""
    for _, proxy in egress.proxies:
        if proxy.userinfo is not None and flow.server_conn.address == (proxy.host, proxy.port):
            encoded = base64.b64encode(proxy.userinfo.encode()).decode()
            flow.request.headers.setdefault("Proxy-Authorization", f"Basic {encoded}")


def _via(proxy: Address) -> ServerSpec:
    return ("https" if proxy.scheme == "https" else "http"), (proxy.host, proxy.port)
