"""A first test: `ringback run -- pytest examples/test_sms.py`, with twilio-python and pytest installed."""

import pytest
from twilio.base.exceptions import TwilioRestException
from twilio.rest import Client

client = Client("AC" + "0" * 32, "anytoken")


def test_a_text_is_queued() -> None:
    sent = client.messages.create(from_="+15005550006", to="+14105550100", body="hi")
    assert sent.status == "queued"


def test_a_landline_gets_no_text() -> None:
    with pytest.raises(TwilioRestException) as error:
        client.messages.create(from_="+15005550006", to="+15005550009", body="hi")
    assert error.value.code == 21614
