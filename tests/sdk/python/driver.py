# ruff: noqa: ANN001, ANN002, ANN003, ANN201, T201 - a user's program, as short as one
"""Send every case with twilio-python 6 to 9 and print what the SDK made of each answer, a JSON object a line.

Usage: driver.py CASES.json. Nothing in it knows a proxy.
"""

import json
import sys
from pathlib import Path

import twilio
from telling import MOVED, SID, TOKEN, arguments, made, raised
from twilio.rest import Client

CREATE = {
    "IncomingPhoneNumbers": lambda client: client.incoming_phone_numbers.create,
    "Messages": lambda client: client.messages.create,
    "Calls": lambda client: client.calls.create,
}
# What test credentials cannot reach, in the SDK's words.
OTHERS = {
    "fetch-message": lambda client: client.messages("SM" + "0" * 32).fetch(),
    "list-calls": lambda client: client.calls.list(limit=1),
    "fetch-account": lambda client: client.api.accounts(SID).fetch(),
    "lookup": lambda client: client.lookups.v1.phone_numbers("+14105550100").fetch(),
}


def told(name, call, *positional, **named):
    try:
        return made(name, call(*positional, **named))
    except Exception as error:  # noqa: BLE001 - whatever the SDK raises is what the test wants to know
        return raised(name, error)


def main():
    client = Client(SID, TOKEN)
    print(json.dumps({"id": "version", "version": twilio.__version__}))
    for case in json.loads(Path(sys.argv[1]).read_text()):
        create = CREATE[case["resource"]](client)
        print(json.dumps(told(case["id"], create, **arguments(case["form"]))))
    for name, call in OTHERS.items():
        print(json.dumps(told(name, call, client)))
    moved = Client(SID, TOKEN, region="ie1", edge="dublin")
    print(json.dumps(told("edge", moved.messages.create, **MOVED)))


main()
