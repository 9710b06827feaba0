"""The types of parameters; test_data drives those of the three resources through the whole contract."""

from __future__ import annotations

import json
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringback.contract import load, values
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


# -- every parameter of the contract, by what its type promises

PARAMETERS = [entry for resource in load().resources for entry in resource.parameters.values()]
RANGES = [entry for entry in PARAMETERS if entry.type == "integer" and entry.maximum is not None]


@given(st.sampled_from(RANGES), st.integers())
def test_a_whole_number_fits_where_it_is_in_the_range(parameter: Parameter, number: int) -> None:
    assert parameter.minimum is not None
    assert parameter.maximum is not None
    inside = parameter.minimum <= number <= parameter.maximum
    assert fits(str(number), parameter) == inside
    assert not fits(f"{number}.0", parameter)


@given(st.decimals(min_value=-(10**6), max_value=10**6, places=4))
def test_every_plain_decimal_is_a_price(price: object) -> None:
    assert fits(f"{price:f}", Parameter(type="number"))


@given(st.text())
def test_a_price_that_python_does_not_read_is_none(text: str) -> None:
    try:
        float(text)
    except ValueError:
        assert not fits(text, Parameter(type="number"))


JSON = st.recursive(st.none() | st.booleans() | st.text() | st.integers(), st.lists, max_leaves=5)


@given(st.dictionaries(st.text(), JSON, max_size=4), JSON, st.text(max_size=5))
def test_content_variables_are_a_json_object(variables: dict[str, object], other: object, text: str) -> None:
    kind = Parameter(type="json-object")
    assert fits(json.dumps(variables), kind)
    assert not fits(json.dumps(other), kind)
    assert not fits(json.dumps(variables)[:-1] + text.replace("}", ""), kind)


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])), st.text(max_size=9))
def test_twiml_is_one_xml_element(said: str, text: str) -> None:
    kind = Parameter(type="xml")
    plain = "".join(char for char in said if char not in "\ufffe\uffff")
    assert fits(f"<Response><Say>{escape(plain)}</Say></Response>", kind)
    assert not fits(f"<Response><Say>{escape(plain)}</Response>", kind)
    assert "<" in text or not fits(text, kind)


@given(
    st.sampled_from([entry for entry in PARAMETERS if entry.type == "sid"]), st.text("0123456789abcdefABCDEF")
)
def test_a_sid_is_its_letters_and_32_digits(parameter: Parameter, digits: str) -> None:
    assert fits(parameter.prefix + digits, parameter) == (len(digits) == 32)
    assert fits(parameter.prefix + (digits + "0" * 32)[:32], parameter)
    assert not fits("XX" + (digits + "0" * 32)[:32], parameter)


# -- numbers


@pytest.mark.parametrize(
    "sent, wanted",
    [
        ("+15005550006", "5005550006"),
        ("15005550006", "5005550006"),
        ("+5005550006", "5005550006"),
        ("5005550006", "5005550006"),
        (" (500) 555 - 0006 ", "5005550006"),
        ("+1 (500) 555\u20110006", "5005550006"),
        ("500KKJ0006", "5005550006"),
        ("25005550006", "25005550006"),
        ("500", "500"),
        (" name! ", "name!"),
        ("", ""),
    ],
)
def test_magic_key(sent: str, wanted: str) -> None:
    assert values.magic_key(sent) == wanted


@pytest.mark.parametrize(
    "sent, wanted",
    [
        ("1-800-FLOWERS", "18003569377"),
        ("+1 410 867 5309", "+14108675309"),
        ("abc", "222"),
        ("pqrs wxyz", "77779999"),
        ("a+b", None),
        ("client:alice", None),
        ("", None),
        ("+", None),
        ("\u0661\u0662", None),
        ("555\x000006", None),
    ],
)
def test_letters_become_digits(sent: str, wanted: str | None) -> None:
    assert values.keypad(sent) == wanted


@pytest.mark.parametrize(
    "sent, valid, possible",
    [
        ("+14108675309", True, True),
        ("4108675309", True, True),
        ("+442079460000", True, True),
        ("+61491570156", True, True),
        ("1111111", False, True),
        ("33", False, False),
        ("+15005550006", True, True),
        ("+999123456789", False, False),
        ("+1", False, False),
        ("client:x", False, False),
    ],
)
def test_valid_and_possible(sent: str, valid: bool, possible: bool) -> None:
    assert (values.is_valid(sent), values.is_possible(sent)) == (valid, possible)


@pytest.mark.parametrize(
    "sent, wanted, national",
    [
        ("5005550009", "+15005550009", "(500) 555-0009"),
        ("+5005550009", "+15005550009", "(500) 555-0009"),
        ("4108675309", "+14108675309", "(410) 867-5309"),
        ("+442079460000", "+442079460000", "020 7946 0000"),
        ("client:alice", "client:alice", "client:alice"),
        ("", "", ""),
    ],
)
def test_e164_and_national(sent: str, wanted: str, national: str) -> None:
    assert values.e164(sent) == wanted
    assert values.national(sent) == national
