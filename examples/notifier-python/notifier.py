"""A shop's notifier: tells a customer that an order is on its way, by text or by a call."""

import os
from typing import Annotated

from fastapi import Body, FastAPI, HTTPException
from twilio.base.exceptions import TwilioRestException
from twilio.rest import Client

LANDLINE, STOPPED = 21614, 21610
ATTEMPTS = 3

app = FastAPI()
client = Client(
    os.environ.get("TWILIO_ACCOUNT_SID", "AC" + "0" * 32), os.environ.get("TWILIO_AUTH_TOKEN", "anytoken")
)
sender = os.environ.get("TWILIO_FROM", "+15005550006")


@app.post("/orders/{order}/shipped", status_code=202)
def shipped(order: int, phone: Annotated[str, Body(embed=True)]) -> dict[str, str]:
    """Tell the customer; a landline gets a call."""
    try:
        sent = text(phone, f"Your order {order} is on its way.")
    except TwilioRestException as error:
        if error.code == STOPPED:
            raise HTTPException(409, "the customer wants no messages") from error
        if error.code != LANDLINE:
            raise HTTPException(502, f"Twilio: {error.msg}") from error
        call = client.calls.create(from_=sender, to=phone, url="https://example.com/shipped.xml")
        return {"by": "call", "sid": call.sid or ""}
    return {"by": "text", "sid": sent}


def text(phone: str, body: str) -> str:
    """Send a text; what may pass at a later attempt is tried again."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return client.messages.create(from_=sender, to=phone, body=body).sid or ""
        except TwilioRestException as error:
            if attempt == ATTEMPTS or (error.status != 429 and error.status < 500):
                raise
    raise AssertionError
