"""A script for mitmdump: it tells the port, and nothing else."""

from __future__ import annotations

import json

from mitmproxy import ctx


def running() -> None:
    """Tell the port."""
    (server,) = ctx.master.addons.get("proxyserver").servers
    print(json.dumps({"port": server.listen_addrs[0][1]}), flush=True)
