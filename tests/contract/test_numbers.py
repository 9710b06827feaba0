import pytest

from ringback.contract import values


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
