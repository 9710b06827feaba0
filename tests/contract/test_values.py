"""The types of parameters; test_data drives those of the three resources through the whole contract."""

from __future__ import annotations

import pytest

from ringback.contract.schema import Parameter
from ringback.contract.values import address_kind, fits


@pytest.mark.parametrize(
    "kind, value, wanted",
    [
        ("boolean", "TRUE", True),
        ("boolean", "False", True),
        ("boolean", "0", False),
        ("date-time", "2030-01-02", True),
        ("date-time", "2030-01-02T03:04:05+02:00", True),
        ("date-time", "2030-02-30", False),
        ("integer", "-1", True),
        ("integer", "+007", True),
        ("integer", "-", False),
        ("integer", "1\n", False),
        ("method", "get", True),
        ("method", "Post", True),
        ("method", "HEAD", False),
        ("number", ".5", True),
        ("number", "5.", True),
        ("number", "-0.5", True),
        ("number", "nan", False),
        ("url", "HTTPS://a.example", True),
        ("url", "http://user:pass@a.example:8080/p?q#f", True),
        ("url", "http://[::1]:80/", False),
        ("url", "http://münchen.example/", True),
        ("url", "http://:80/", False),
        ("url", "http://a.example:0/", False),
        ("url", "http://a.example:65536/", False),
        ("url", "http://a.example/\n", False),
        ("url", "http://a.example/a\tb", False),
        ("url", " http://a.example/", False),
        ("url", "javascript:alert(1)", False),
        ("area-code", "500", True),
        ("area-code", "50a", False),
    ],
)
def test_types(kind: str, value: str, wanted: bool) -> None:
    assert fits(value, Parameter(type=kind)) is wanted  # type: ignore[arg-type] - the parametrisation's strings


def test_enumerations_patterns_and_lengths() -> None:
    assert fits("b", Parameter(type="enum", values=("a", "b")))
    assert not fits("B", Parameter(type="enum", values=("a", "b")))
    assert fits("1234#wW*", Parameter(type="string", pattern="[0-9#*wW]*"))
    assert not fits("1234,", Parameter(type="string", pattern="[0-9#*wW]*"))
    assert fits("ab", Parameter(type="string", max_length=2))
    assert not fits("abc", Parameter(type="string", max_length=2))
    assert fits("AP" + "aF" * 16, Parameter(type="sid", prefix="AP"))
    assert not fits("ap" + "aF" * 16, Parameter(type="sid", prefix="AP"))


@pytest.mark.parametrize(
    "value, kind",
    [
        ("+14108675309", "number"),
        ("12345", "short-code"),
        ("ACME", "alphanumeric"),
        ("A", "alphanumeric"),
        ("Client:alice", "client"),
        ("SIP:a@b", "sip"),
        ("sip:10.0.0.1", "sip"),
        ("whatsapp:+14108675309", "whatsapp"),
        ("messenger:1", "messenger"),
        ("---", None),
        ("sip:a b@c", None),
        ("sip:a@b@c", None),
        ("client:a b", None),
    ],
)
def test_kinds_of_address(value: str, kind: str | None) -> None:
    every = ("number", "short-code", "whatsapp", "messenger", "client", "sip", "alphanumeric")
    assert address_kind(value, Parameter(type="address", kinds=every)) == kind
    assert address_kind(value, Parameter(type="address", kinds=())) is None
