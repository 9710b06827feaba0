"""A mitmproxy script: tells by the descriptor in ANNOUNCE_FD where the proxy listens, once it does."""

from __future__ import annotations

import asyncio
import json
import os

from mitmproxy import ctx


async def running() -> None:
    """Write the addresses as one line of JSON."""
    servers = ctx.master.addons.get("proxyserver").servers
    # An addon before this one may have had them start anew.
    while servers.is_updating:  # noqa: ASYNC110 - mitmproxy tells of the end by no event
        await asyncio.sleep(0)
    addresses = [address[:2] for server in servers for address in server.listen_addrs]
    with os.fdopen(int(os.environ["ANNOUNCE_FD"]), "w") as pipe:
        pipe.write(json.dumps(addresses) + "\n")
