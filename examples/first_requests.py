"""Three requests as an SDK sends them, with Python's standard library alone.

Nothing here knows Ringback: run it as `ringback run -- python examples/first_requests.py`.
"""

from __future__ import annotations

import base64
import json
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

ACCOUNT = "AC" + "0" * 32  # any test AccountSid and token will do
API = f"https://api.twilio.com/2010-04-01/Accounts/{ACCOUNT}"


def send(what: str, path: str, form: dict[str, str] | None) -> None:
    """Send one request and print what came back, and from where."""
    method = "POST" if form else "GET"
    basic = base64.b64encode(f"{ACCOUNT}:anytoken".encode()).decode()
    data = urlencode(form).encode() if form else None
    request = Request(f"{API}/{path}", data, {"Authorization": f"Basic {basic}"}, method=method)
    try:
        answer = urlopen(request)
    except HTTPError as error:
        answer = error
    with answer:
        body = json.load(answer)
    print(f"{what}\n  {method} {path} {form or ''}")
    print(f"  {answer.status} {answer.reason}   {answer.headers['Ringback-Source']}")
    for key in ("sid", "status", "to", "code", "message"):
        if key in body:
            print(f"    {key}: {body[key]}")
    if "Ringback-Reason" in answer.headers:
        print(f"  why: {answer.headers['Ringback-Reason']}")
    print()


hello = {"From": "+15005550006", "To": "+14105550100", "Body": "All in the game"}
send("An SMS from the magic number that passes every check:", "Messages.json", hello)
send("The same to a number that cannot receive SMS:", "Messages.json", hello | {"To": "+15005550009"})
send("A resource that test credentials cannot use:", "Recordings.json", None)
