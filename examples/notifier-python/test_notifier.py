"""The notifier's tests: `pip install -r requirements.txt`, then `pytest --ringback`."""

import pytest
from fastapi.testclient import TestClient
from notifier import app

http = TestClient(app)


def shipped(phone):
    return http.post("/orders/1204/shipped", json={"phone": phone})


def test_the_customer_gets_a_text(ringback):
    assert shipped("+14105550100").json()["by"] == "text"
    assert ringback.messages == [{"to": "+14105550100", "body": "Your order 1204 is on its way."}]


def test_a_landline_gets_a_call(ringback):
    assert shipped("+15005550009").json()["by"] == "call"
    assert ringback.messages == []
    assert ringback.calls == [{"to": "+15005550009", "url": "https://example.com/shipped.xml"}]


def test_who_answered_stop_gets_nothing(ringback):
    assert shipped("+15005550004").status_code == 409
    assert (ringback.messages, ringback.calls) == ([], [])


def test_a_wrong_number_is_reported():
    answer = shipped("+15005550001")
    assert answer.status_code == 502
    assert "not a valid phone number" in answer.json()["detail"]


def test_a_failure_of_a_moment_is_tried_again(ringback):
    assert shipped("+14105550153").json()["by"] == "text"
    assert [request.status for request in ringback.requests] == [503, 201]


def test_a_failure_that_stays_is_reported(ringback):
    ringback.row("Messages", to="+14105550154", error=20503, status=503)
    assert shipped("+14105550154").status_code == 502
    assert len(ringback.requests) == 3


@pytest.mark.parametrize("phone", ["+14105550101", "+14105550102"])
def test_each_test_sees_its_own_messages_alone(ringback, phone):
    shipped(phone)
    assert ringback.messages == [{"to": phone}]
