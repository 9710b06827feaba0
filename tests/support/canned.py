"""A mitmproxy script: every request to Twilio gets the same message back. It stands in for Ringback's addon.

Tests of `ringback.launch` ask whether a client arrives, not what it is answered.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from mitmproxy import ctx, http, tls

LOG = Path(os.environ["CANNED_LOG"])
SID = "SM" + "0" * 32
# The keys that twilio-python 6.0 cannot do without.
MESSAGE = {
    "account_sid": "AC" + "0" * 32,
    "api_version": "2010-04-01",
    "body": "hello",
    "date_created": "Thu, 30 Jul 2015 20:12:31 +0000",
    "date_sent": None,
    "date_updated": "Thu, 30 Jul 2015 20:12:31 +0000",
    "direction": "outbound-api",
    "error_code": None,
    "error_message": None,
    "from": "+15005550006",
    "messaging_service_sid": None,
    "num_media": "0",
    "num_segments": "1",
    "price": None,
    "price_unit": "USD",
    "sid": SID,
    "status": "queued",
    "subresource_uris": {},
    "to": "+14105550100",
    "uri": f"/2010-04-01/Accounts/AC{'0' * 32}/Messages/{SID}.json",
}


def _is_twilio(host: str | None) -> bool:
    return f".{host}".endswith(".twilio.com")


def running() -> None:
    ports = {}
    for server in ctx.master.addons.get("proxyserver").servers:
        ports[server.mode.type_name] = server.listen_addrs[0][1]
    print(json.dumps(ports), flush=True)  # noqa: T201 - read by the process that started this one


def tls_clienthello(data: tls.ClientHelloData) -> None:
    name, port = data.context.server.address or (None, None)
    # Clients of the oldest kind send no SNI.
    name = data.client_hello.sni or name
    if not _is_twilio(name):
        data.ignore_connection = True
        return
    # No address, this machine's or a SOCKS client's, shall get into the leaf: the CA vouches for names only.
    data.context.client.sni = name
    data.context.server.address = (name, port)


def request(flow: http.HTTPFlow) -> None:
    if not _is_twilio(flow.request.pretty_host):
        return
    authorization = flow.request.headers.get("Authorization")
    with LOG.open("a") as log:
        note = {
            "method": flow.request.method,
            "url": flow.request.pretty_url,
            "agent": flow.request.headers.get("User-Agent", ""),
            "authorized": bool(authorization),
            "form": flow.request.get_text(),
        }
        log.write(json.dumps(note) + "\n")
    if not authorization:
        flow.response = http.Response.make(
            401, b"{}", {"WWW-Authenticate": 'Basic realm="Twilio API"', "Content-Type": "application/json"}
        )
        return
    flow.response = http.Response.make(201, json.dumps(MESSAGE), {"Content-Type": "application/json"})
