"""A script for mitmdump: the smallest addon that answers, with a message's bytes. The yardstick."""

from __future__ import annotations

import json

from mitmproxy import ctx, http

from benchmarks.peers.bodies import BODY


def running() -> None:
    """Report the port."""
    (server,) = ctx.master.addons.get("proxyserver").servers
    print(json.dumps({"port": server.listen_addrs[0][1]}), flush=True)


def request(flow: http.HTTPFlow) -> None:
    """Answer."""
    flow.response = http.Response.make(201, BODY, {"Content-Type": "application/json"})
