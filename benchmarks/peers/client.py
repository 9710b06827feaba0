"""A program of a user's: twilio-python sends messages one after another, over one connection.

    python -m benchmarks.peers.client '{"port": 8080, "ca": "root.pem", "messages": 200}'

Without a port there is no proxy, and vcrpy answers from a cassette (`"cassette": FILE`) in the same process.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from typing import Any

from benchmarks.load import ACCOUNT

URL = f"https://api.twilio.com/2010-04-01/Accounts/{ACCOUNT}/Messages.json"


def sender() -> tuple[Any, str]:
    """A function that sends one message, and whose it is."""
    try:
        from twilio.rest import Client  # noqa: PLC0415 - it need not be installed
    except ImportError:
        import requests  # noqa: PLC0415 - what twilio-python uses

        session = requests.Session()

        def send(number: int) -> None:
            form = {
                "From": "+15005550006",
                "To": f"+1410555{100 + number % 100:04d}",
                "Body": f"hello {number}",
            }
            session.post(URL, data=form, auth=(ACCOUNT, "token")).raise_for_status()

        return send, "requests"
    client = Client(ACCOUNT, "token")

    def create(number: int) -> None:
        to = f"+1410555{100 + number % 100:04d}"
        client.messages.create(from_="+15005550006", to=to, body=f"hello {number}")

    return create, "twilio-python"


def record(cassette: str, size: int) -> None:
    """Write a cassette of `size` messages as vcrpy does."""
    from vcr.request import Request  # noqa: PLC0415 - in the peer alone
    from vcr.serialize import serialize  # noqa: PLC0415 - as above
    from vcr.serializers import yamlserializer  # noqa: PLC0415 - as above

    pairs = []
    for number in range(size):
        body = f"From=%2B15005550006&To=%2B1410555{100 + number % 100:04d}&Body=hello+{number}"
        request = Request("POST", URL, body, {"Content-Type": ["application/x-www-form-urlencoded"]})
        answer = {
            "status": {"code": 201, "message": "CREATED"},
            "headers": {"Content-Type": ["application/json"]},
        }
        answer["body"] = {"string": json.dumps({"sid": f"SM{number:032x}", "body": f"hello {number}"})}
        pairs.append((request, answer))
    data = {"requests": [pair[0] for pair in pairs], "responses": [pair[1] for pair in pairs]}
    with open(cassette, "w", encoding="utf-8") as file:  # noqa: PTH123 - a name from the command line
        file.write(serialize(data, yamlserializer))


def main() -> None:
    """Send, and print the latencies' quantiles in milliseconds."""
    options = json.loads(sys.argv[1])
    stack = contextlib.ExitStack()
    began = time.perf_counter()
    if options.get("port"):
        os.environ |= {
            "HTTPS_PROXY": f"http://127.0.0.1:{options['port']}",
            "REQUESTS_CA_BUNDLE": options["ca"],
        }
    else:
        import vcr  # noqa: PLC0415 - in this peer alone

        record(options["cassette"], options["size"])
        began = time.perf_counter()
        stack.enter_context(
            vcr.use_cassette(
                options["cassette"],
                record_mode="none",
                allow_playback_repeats=True,
                match_on=["method", "uri", "body"],
            )
        )
    send, whose = sender()
    latencies = []
    with stack:
        loaded = time.perf_counter() - began
        for number in range(options["messages"]):
            start = time.perf_counter()
            send(number % options.get("size", 1_000_000))
            latencies.append(time.perf_counter() - start)
    latencies.sort()
    print(
        json.dumps(
            {
                "client": whose,
                "p50": latencies[len(latencies) // 2] * 1000,
                "p99": latencies[int(len(latencies) * 0.99)] * 1000,
                "rate": len(latencies) / sum(latencies),
                "loaded": loaded,
            }
        )
    )


if __name__ == "__main__":
    main()
