from __future__ import annotations

import pytest

from ringback.launch.environment import without_twilio


@pytest.mark.parametrize(
    "entry",
    [
        "*",
        ".",
        ".com",
        "com",
        "COM",
        "o.com",
        "*.com",
        "twilio.com",
        ".twilio.com",
        "*.twilio.com",
        "api.twilio.com",
        "Api.Twilio.Com.",
        "api.twilio.com:443",
        "api.dublin.ie1.twilio.com",
        "api.*.com",
        ".com:443",
        "0.0.0.0/0",
        "0.0.0.0/1",
        "11.0.0.0/8",
        "172.0.0.0/8",
        "::/0",
        "2000::/3",
    ],
)
@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
def test_what_could_match_twilio_goes(name: str, entry: str) -> None:
    assert (
        without_twilio({name: f"a.example,{entry}, b.example"})
        == "a.example,b.example,localhost,127.0.0.1,::1"
    )


@pytest.mark.parametrize(
    "entry",
    [
        "example.com",
        ".internal",
        "nottwilio.com",
        "twilio.com.example",
        "10.0.0.0/8",
        "172.20.0.0/16",
        "192.0.2.7:8080",
        "[::1]:80",
        "fd00::/8",
        "<local>",
        "db",
    ],
)
def test_everything_else_stays(entry: str) -> None:
    assert without_twilio({"NO_PROXY": entry}).split(",")[0] == entry


def test_both_spellings_and_all_separators_become_one_list() -> None:
    found = without_twilio({"no_proxy": "a.example b.example", "NO_PROXY": "b.example,\tc.example"})
    assert found == "a.example,b.example,c.example,localhost,127.0.0.1,::1"
