# ruff: noqa: ANN001, ANN002, ANN003, ANN201, T201 - a user's program, as short as one
"""The same as driver.py with twilio-python 5, under the Pythons that can import it (2.7, 3.6, 3.7)."""

from __future__ import print_function  # noqa: UP010 - Python 2.7 needs it

import json
import sys

import twilio
from telling import SID, TOKEN, arguments, made, raised
from twilio.rest import TwilioRestClient

CREATE = {
    "IncomingPhoneNumbers": lambda client: client.phone_numbers.purchase,
    "Messages": lambda client: client.messages.create,
    "Calls": lambda client: client.calls.create,
}
OTHERS = {
    "fetch-message": lambda client: client.messages.get("SM" + "0" * 32),
    "list-calls": lambda client: client.calls.list(),
    "fetch-account": lambda client: client.accounts.get(SID),
}


def told(name, call, *positional, **named):
    try:
        return made(name, call(*positional, **named))
    except Exception as error:  # noqa: BLE001 - whatever the SDK raises is what the test wants to know
        return raised(name, error)


def main():
    with open(sys.argv[1]) as file:  # noqa: PTH123 - Python 2.7 has no pathlib
        cases = json.load(file)
    client = TwilioRestClient(SID, TOKEN)
    print(json.dumps({"id": "version", "version": twilio.__version__}))
    for case in cases:
        create = CREATE[case["resource"]](client)
        print(json.dumps(told(case["id"], create, **arguments(case["form"]))))
    for name, call in OTHERS.items():
        print(json.dumps(told(name, call, client)))


main()
