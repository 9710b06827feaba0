"""Script for mitmdump -w: sends Twilio's requests to the mock upstream and reports the port.

The environment variable UPSTREAM_PORT names the upstream. With FSYNC=1 each flow is on the disk before its
client has the answer, as with Ringback.
"""

from __future__ import annotations

import json
import os

from mitmproxy import ctx, http


def running() -> None:
    """Report the port."""
    (server,) = ctx.master.addons.get("proxyserver").servers
    print(json.dumps({"port": server.listen_addrs[0][1]}), flush=True)


def request(flow: http.HTTPFlow) -> None:
    """Send the request to the mock upstream."""
    flow.request.host, flow.request.port = "127.0.0.1", int(os.environ["UPSTREAM_PORT"])


def response(_flow: http.HTTPFlow) -> None:
    """Flush the file of -w to the disk, if asked to."""
    if os.environ.get("FSYNC") == "1":
        file = ctx.master.addons.get("save").stream.fo
        file.flush()
        os.fsync(file.fileno())
