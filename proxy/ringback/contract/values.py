"""Whether a form value is of its parameter's type.

The types are those of Twilio's published API description. How strictly test credentials check them is not
written down anywhere, so an error that comes from here is `assumed` unless its entry says otherwise.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import urlsplit

from ringback.contract import numbers
from ringback.exchange import cached_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from ringback.contract.schema import AddressKind, Parameter

Check: TypeAlias = "Callable[[str, Parameter], bool]"

_INTEGER = re.compile(r"[+-]?[0-9]+", re.ASCII)
_DECIMAL = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)", re.ASCII)
_SHORT_CODE = re.compile(r"[0-9]{3,8}", re.ASCII)
# Up to eleven characters with at least one letter (Twilio's rule for alphanumeric sender ids).
_ALPHANUMERIC = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9 +\-_&.]{1,11}", re.ASCII)
_CLIENT = re.compile(r"client:\S+", re.IGNORECASE)
_SIP = re.compile(r"sips?:[^\s@]+@[^\s@]+|sips?:[^\s@]+", re.IGNORECASE)
_NOT_URL = re.compile(r"[\s\x00-\x1f\x7f]")
_AREA_CODE = re.compile(r"[0-9]{3}", re.ASCII)


def fits(value: str, parameter: Parameter) -> bool:
    """Whether `value`, which is not blank, is of the type of `parameter`."""
    return _CHECKS[parameter.type](value, parameter)


def address_kind(value: str, parameter: Parameter) -> AddressKind | None:
    """Which of the kinds that `parameter` takes `value` is, or None."""
    for kind in parameter.kinds:
        if _KINDS[kind](value, parameter):
            return kind
    return None


def _is_number(value: str, parameter: Parameter) -> bool:
    return numbers.is_possible(value) if parameter.numbers == "possible" else numbers.is_valid(value)


def _channel(prefix: str) -> Check:
    def check(value: str, parameter: Parameter) -> bool:
        return value.lower().startswith(prefix) and _is_number(value[len(prefix) :], parameter)

    return check


def _matches(pattern: re.Pattern[str]) -> Check:
    return lambda value, _parameter: pattern.fullmatch(value) is not None


@cached_text
def _is_url(value: str) -> bool:
    if _NOT_URL.search(value):  # urlsplit drops some of them and takes the others
        return False
    try:
        parts = urlsplit(value)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _is_date(value: str) -> bool:
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def _is_string(value: str, parameter: Parameter) -> bool:
    if parameter.max_length is not None and len(value) > parameter.max_length:
        return False
    return parameter.pattern is None or re.fullmatch(parameter.pattern, value) is not None


def _is_sid(value: str, parameter: Parameter) -> bool:
    return re.fullmatch(parameter.prefix + "[0-9a-fA-F]{32}", value, re.ASCII) is not None


_KINDS: Final[dict[AddressKind, Check]] = {
    "number": _is_number,
    "short-code": _matches(_SHORT_CODE),
    "alphanumeric": _matches(_ALPHANUMERIC),
    "whatsapp": _channel("whatsapp:"),
    "messenger": lambda value, _parameter: (
        value.lower().startswith("messenger:") and len(value) > len("messenger:")
    ),
    "client": _matches(_CLIENT),
    "sip": _matches(_SIP),
}
_CHECKS: Final[dict[str, Check]] = {
    "address": lambda value, parameter: address_kind(value, parameter) is not None,
    "area-code": _matches(_AREA_CODE),
    "boolean": lambda value, _parameter: value.lower() in {"true", "false"},
    "date-time": lambda value, _parameter: _is_date(value),
    "enum": lambda value, parameter: value in parameter.values,
    "integer": _matches(_INTEGER),
    "method": lambda value, _parameter: value.upper() in {"GET", "POST"},
    "number": _matches(_DECIMAL),
    "sid": _is_sid,
    "string": _is_string,
    "url": lambda value, _parameter: _is_url(value),
}
