# ruff: noqa: ANN001, ANN201, T201 - a user's program, as short as one
"""The same as driver.py with the asynchronous client (aiohttp) of twilio-python 9: all requests at once."""

import asyncio
import json
import sys
from pathlib import Path

import twilio
from telling import MOVED, SID, TOKEN, arguments, made, raised
from twilio.http.async_http_client import AsyncTwilioHttpClient
from twilio.rest import Client

CREATE = {
    "IncomingPhoneNumbers": lambda client: client.incoming_phone_numbers.create_async,
    "Messages": lambda client: client.messages.create_async,
    "Calls": lambda client: client.calls.create_async,
}
OTHERS = {
    "fetch-message": lambda client: client.messages("SM" + "0" * 32).fetch_async(),
    "list-calls": lambda client: client.calls.list_async(limit=1),
    "fetch-account": lambda client: client.api.accounts(SID).fetch_async(),
    "lookup": lambda client: client.lookups.v1.phone_numbers("+14105550100").fetch_async(),
}


async def told(name, awaitable):
    try:
        return made(name, await awaitable)
    except Exception as error:  # noqa: BLE001 - whatever the SDK raises is what the test wants to know
        return raised(name, error)


async def main(cases):
    async with AsyncTwilioHttpClient() as http, AsyncTwilioHttpClient() as other:
        client = Client(SID, TOKEN, http_client=http)
        moved = Client(SID, TOKEN, http_client=other, region="ie1", edge="dublin")
        asked = [
            told(case["id"], CREATE[case["resource"]](client)(**arguments(case["form"]))) for case in cases
        ]
        asked += [told(name, call(client)) for name, call in OTHERS.items()]
        asked.append(told("edge", moved.messages.create_async(**MOVED)))
        for answer in await asyncio.gather(*asked):
            print(json.dumps(answer))


print(json.dumps({"id": "version", "version": twilio.__version__}))
asyncio.run(main(json.loads(Path(sys.argv[1]).read_text())))
