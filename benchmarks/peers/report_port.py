"""Script for mitmdump that reports the port, and does nothing else."""

from __future__ import annotations

import json

from mitmproxy import ctx


def running() -> None:
    """Report the port."""
    (server,) = ctx.master.addons.get("proxyserver").servers
    print(json.dumps({"port": server.listen_addrs[0][1]}), flush=True)
