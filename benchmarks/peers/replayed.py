"""A script for mitmdump --server-replay: it reports the port, and does nothing else.

    python -m benchmarks.peers.replayed FILE

writes the flow that is replayed.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from mitmproxy import connection, ctx, http, io

from benchmarks.load import ACCOUNT
from benchmarks.peers.bodies import BODY


def running() -> None:
    """Report the port."""
    (server,) = ctx.master.addons.get("proxyserver").servers
    print(json.dumps({"port": server.listen_addrs[0][1]}), flush=True)


def main() -> None:
    """Write a flow with one request and its answer."""
    client = connection.Client(peername=("127.0.0.1", 1), sockname=("127.0.0.1", 2), timestamp_start=0)
    flow = http.HTTPFlow(client, connection.Server(address=("api.twilio.com", 443)))
    url = f"https://api.twilio.com/2010-04-01/Accounts/{ACCOUNT}/Messages.json"
    flow.request = http.Request.make("POST", url, b"Body=x", {"Host": "api.twilio.com"})
    flow.response = http.Response.make(201, BODY, {"Content-Type": "application/json"})
    with Path(sys.argv[1]).open("wb") as file:
        io.FlowWriter(file).add(flow)


if __name__ == "__main__":
    main()
