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

    from ringback.upstream.routes import Address, Egress


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
    """The same for a request by plain HTTP, which asks the proxy itself: few take CONNECT to port 80."""
    if flow.server_conn.via is not None or isinstance(flow.client_conn.proxy_mode, UpstreamMode):
        return
    request = flow.request
    proxy = egress.proxy(request.host, request.scheme)
    if proxy is None:
        return
    if proxy.scheme == "https":  # mitmproxy would write the proxy's scheme into the request's line
        flow.server_conn.via = _via(proxy)
        return
    host = f"[{request.host}]" if ":" in request.host else request.host
    request.authority = host if request.port == 80 else f"{host}:{request.port}"
    request.data.host, request.data.port = proxy.host, proxy.port  # the Host field stays as it is
    _authorize(request, proxy)


def authorize(flow: http.HTTPFlow, egress: Egress) -> None:
    """Give the egress proxy that a tunnel is asked of the user and password of its URL."""
    named = dict(egress.proxies)
    for proxy in (named[scheme] for scheme in ("https", "all", "http") if scheme in named):
        if flow.server_conn.address == (proxy.host, proxy.port):
            _authorize(flow.request, proxy)


def _authorize(request: http.Request, proxy: Address) -> None:
    if proxy.userinfo is not None:
        encoded = base64.b64encode(proxy.userinfo.encode()).decode()
        request.headers.setdefault("Proxy-Authorization", f"Basic {encoded}")


def _via(proxy: Address) -> ServerSpec:
    return ("https" if proxy.scheme == "https" else "http"), (proxy.host, proxy.port)
