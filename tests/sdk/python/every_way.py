# ruff: noqa: T201 - a user's program
"""Ask Twilio in every way in which a client can: the SDK, other methods, HTTP/2, plain HTTP, other hosts.

Prints one JSON object: what each way got.
"""

import base64
import json
import os
import socket
import ssl
from urllib.parse import urlencode, urlsplit

import h2.connection
import h2.events
import httpx
from twilio.base.exceptions import TwilioRestException
from twilio.rest import Client

SID = "AC" + "0123456789abcdef" * 2
TOKEN = "a-test-token"
MESSAGES = f"api.twilio.com/2010-04-01/Accounts/{SID}/Messages.json"
FORM = {"From": "+15005550006", "To": "+14105550100", "Body": "every way"}

# name: (method, URL)
WAYS = {
    "post": ("POST", f"https://{MESSAGES}"),
    "plain": ("POST", f"http://{MESSAGES}"),
    "head": ("HEAD", f"https://{MESSAGES}"),
    "options": ("OPTIONS", f"https://{MESSAGES}"),
    "region": ("POST", f"https://{MESSAGES.replace('api.', 'api.dublin.ie1.', 1)}"),
    "product": ("GET", "https://lookups.twilio.com/v1/PhoneNumbers/+14105550100"),
    "no such host": ("GET", "https://no-such-name.twilio.com/"),
}


def http2() -> int:
    """The status of a POST by a client that speaks HTTP/2 alone."""
    proxy = urlsplit(os.environ["HTTPS_PROXY"])
    assert proxy.hostname
    assert proxy.port
    context = ssl.create_default_context()
    context.set_alpn_protocols(["h2"])
    plain = socket.create_connection((proxy.hostname, proxy.port))
    plain.sendall(b"CONNECT api.twilio.com:443 HTTP/1.1\r\nHost: api.twilio.com:443\r\n\r\n")
    assert plain.recv(4096).endswith(b"\r\n\r\n")
    with context.wrap_socket(plain, server_hostname="api.twilio.com") as secure:
        assert secure.selected_alpn_protocol() == "h2"
        connection = h2.connection.H2Connection()
        connection.initiate_connection()
        credentials = base64.b64encode(f"{SID}:{TOKEN}".encode()).decode()
        host, _, path = MESSAGES.partition("/")
        fields = [(":method", "POST"), (":scheme", "https"), (":authority", host), (":path", f"/{path}")]
        fields += [("authorization", f"Basic {credentials}")]
        fields += [("content-type", "application/x-www-form-urlencoded")]
        connection.send_headers(1, fields)
        connection.send_data(1, urlencode(FORM).encode(), end_stream=True)
        while True:
            secure.sendall(connection.data_to_send())
            for event in connection.receive_data(secure.recv(65536)):
                if isinstance(event, h2.events.ResponseReceived):
                    return int(dict(event.headers)[b":status"])


got = {"http/2": http2()}
for name, (method, url) in WAYS.items():
    answer = httpx.request(method, url, auth=(SID, TOKEN), data=FORM if method == "POST" else None)
    got[name] = answer.status_code

sdk = Client(SID, TOKEN)
got["sdk"] = sdk.messages.create(from_=FORM["From"], to=FORM["To"], body="every way").status
try:
    sdk.messages.create(from_=FORM["From"], to="+15005550001", body="every way")
except TwilioRestException as error:
    got["sdk error"] = error.code
print(json.dumps(got))
