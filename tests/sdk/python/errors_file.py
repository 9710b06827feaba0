# ruff: noqa: T201, ANN001, ANN201 - a user's program, as short as one
"""Send rows of a user's own with twilio-python and print what it made of each answer, a JSON object a line.

Usage: errors_file.py CASES.json. Each case is sent until it passes, five times at most.
"""

import json
import sys
import time
from pathlib import Path

from telling import SID, TOKEN
from twilio.base.exceptions import TwilioRestException
from twilio.rest import Client

URL = "http://demo.example.com/voice.xml"


def send(client, case):
    given = {"to": "+14105550100", "from_": "+15005550006"}
    given["from_" if case["parameter"] == "From" else "to"] = case["value"]
    if case["resource"] == "Calls":
        return client.calls.create(url=URL, **given)
    return client.messages.create(body="x", **given)


def main():
    client = Client(SID, TOKEN)
    for case in json.loads(Path(sys.argv[1]).read_text()):
        tries = []
        for _ in range(case["tries"]):
            start = time.monotonic()
            try:
                send(client, case)
                got = {"status": 201}
            except TwilioRestException as error:
                got = {"status": error.status, "code": error.code, "message": error.msg}
            last = client.http_client._test_only_last_response  # where the SDK keeps its headers
            got["retry_after"] = (last.headers or {}).get("Retry-After")
            tries.append({**got, "seconds": time.monotonic() - start})
        print(json.dumps(tries))


main()
