"""Phone numbers and the other addresses that Twilio takes.

Magic inputs are looked up first, on a normalised form of their own: `phonenumbers` calls +15005550006
possible but +5005550006 invalid, and Twilio takes both for the same number (recorded). It is imported when
the first number is looked at: it takes a tenth of the time that the proxy needs to start.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ringback.exchange import cached_text

if TYPE_CHECKING:
    import phonenumbers

DEFAULT_REGION = "US"  # a number without a country code is taken for a US one (recorded)
_KEYPAD = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "22233344455566677778889999")
_SEPARATORS = re.compile(r"[\s().\-/\u2010-\u2015]+")
_NUMBER = re.compile(r"\+?[0-9A-Z]+", re.ASCII)


def keypad(value: str) -> str | None:
    """`value` without separators and with letters as keypad digits, or None if something else is in it.

    Source: the page, line 595 (letters in a number become digits).
    """
    compact = _SEPARATORS.sub("", value.strip()).upper()
    return compact.translate(_KEYPAD) if _NUMBER.fullmatch(compact) else None


@cached_text
def magic_key(value: str) -> str:
    """The form in which magic inputs are compared: ten digits where it is a US number, else `value` trimmed.

    Source: recorded; `5005550006`, `15005550006`, `+5005550006`, `+15005550006` are one magic number.
    """
    digits = keypad(value)
    if digits is None:
        return value.strip()
    digits = digits.removeprefix("+")
    return digits[1:] if len(digits) == 11 and digits.startswith("1") else digits


@cached_text
def _parsed(value: str) -> phonenumbers.PhoneNumber | None:
    import phonenumbers  # noqa: PLC0415 - see the module

    digits = keypad(value)
    if digits is None:
        return None
    try:
        return phonenumbers.parse(digits, DEFAULT_REGION)
    except phonenumbers.NumberParseException:
        return None


@cached_text
def is_valid(value: str) -> bool:
    """Report whether `value` can be a phone number: right country, right length, assigned range."""
    import phonenumbers  # noqa: PLC0415 - see the module

    number = _parsed(value)
    return number is not None and phonenumbers.is_valid_number(number)


@cached_text
def is_possible(value: str) -> bool:
    """Report whether `value` has the form of a phone number; it need not be assigned."""
    import phonenumbers  # noqa: PLC0415 - see the module

    number = _parsed(value)
    return number is not None and phonenumbers.is_possible_number(number)


@cached_text
def e164(value: str) -> str:
    """`value` in E.164, with the US as default country; unchanged where it is no number.

    A magic number is +1 and its ten digits, whatever `phonenumbers` thinks of the 500 range.
    """
    key = magic_key(value)
    if key.startswith("500555000") and len(key) == 10:
        return f"+1{key}"
    import phonenumbers  # noqa: PLC0415 - see the module

    number = _parsed(value)
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164) if number else value


@cached_text
def national(value: str) -> str:
    """`value` as people write it: `(500) 555-0006` for a North American number, else the national format."""
    import phonenumbers  # noqa: PLC0415 - see the module

    try:
        number = phonenumbers.parse(e164(value), DEFAULT_REGION)
    except phonenumbers.NumberParseException:
        return value
    if number.country_code == 1 and len(str(number.national_number)) == 10:
        digits = str(number.national_number)
        return f"({digits[:3]}) {digits[3:6]}-{digits[6:]}"
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.NATIONAL)
