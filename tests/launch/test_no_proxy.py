from __future__ import annotations

import pytest

from ringback.launch.no_proxy import Upstream, upstream, without_twilio


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
        "0.0.0.0/0",
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


def test_nobody_used_a_proxy() -> None:
    assert upstream({"HTTP_PROXY": "http://only-http.example"}) is None


@pytest.mark.parametrize("name", ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])
def test_the_parents_proxy_is_found(name: str) -> None:
    found = upstream({name: "proxy.example:3128", "NO_PROXY": ".internal"})
    assert found == Upstream("http://proxy.example:3128", (".internal",))


@pytest.mark.parametrize(
    "no_proxy, host, reached",
    [
        ("", "example.com", True),
        ("*", "example.com", False),
        (".com", "example.com", False),
        ("example.com", "example.com", False),
        ("example.com", "Sub.Example.com.", False),
        ("example.com", "notexample.com", True),
        ("10.0.0.0/8", "10.1.2.3", False),
        ("10.0.0.0/8", "11.1.2.3", True),
        ("10.0.0.0/8", "example.com", True),
        ("example.com:443", "example.com", False),
    ],
)
def test_the_parents_no_proxy_goes_on_to_hold(no_proxy: str, host: str, reached: bool) -> None:
    found = upstream({"HTTPS_PROXY": "http://proxy.example", "no_proxy": no_proxy})
    assert found is not None
    assert found.reaches(host) is reached
