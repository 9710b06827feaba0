"""Types of form values: phone numbers, other addresses, URLs, and what else fits a parameter.

The types are those of Twilio's published API description. How strictly test credentials check them is not
written down anywhere, so an error that comes from here is `assumed` unless its entry says otherwise.

Magic inputs are looked up first, on a normalised form of their own: `phonenumbers` calls +15005550006
possible but +5005550006 invalid, and Twilio takes both for the same number (recorded). It is imported when
the first number is looked at: it takes a tenth of the time that the proxy needs to start.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import urlsplit
from xml.parsers import expat

import msgspec

from ringback.exchange import cached_text

if TYPE_CHECKING:
    from collections.abc import Callable

    import phonenumbers

    from ringback.contract.schema import AddressKind, Parameter, UrlFault

Check: TypeAlias = "Callable[[str, Parameter], bool]"

DEFAULT_REGION = "US"  # a number without a country code is taken for a US one (recorded)
_KEYPAD = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "22233344455566677778889999")
_SEPARATORS = re.compile(r"[\s().\-/\u2010-\u2015]+")
_NUMBER = re.compile(r"\+?[0-9A-Z]+", re.ASCII)
_INTEGER = re.compile(r"[+-]?[0-9]+", re.ASCII)
_DECIMAL = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)", re.ASCII)
_SHORT_CODE = re.compile(r"[0-9]{3,8}", re.ASCII)
# Up to eleven characters with at least one letter (Twilio's rule for alphanumeric sender ids).
_ALPHANUMERIC = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9 +\-_&.]{1,11}", re.ASCII)
_CLIENT = re.compile(r"client:\S+", re.IGNORECASE)
_SIP = re.compile(r"sips?:[^\s@]+@[^\s@]+|sips?:[^\s@]+", re.IGNORECASE)
_NOT_URL = re.compile(r"[\s\x00-\x1f\x7f]")
_LABEL = re.compile(r"[\w-]+")
_NOT_PUBLIC = frozenset({"local", "localhost", "localdomain", "internal", "test", "invalid", "lan", "home"})
_LONGEST_LABEL = 63
_LONGEST_HOST = 253
_LONGEST_NUMBER = 18  # characters of an integer
_AREA_CODE = re.compile(r"[0-9]{3}", re.ASCII)


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


class UrlVerdict(msgspec.Struct, frozen=True):
    """The judgement on one URL.

    Attributes:
        fault: The cause for which Twilio refuses it, or None.
        kind: The kind of that fault, if somebody saw Twilio refuse a URL for it; else it is an assumption.
        local: The cause is that the host is not public.
        doubt: For a URL that passes: a peculiarity that nobody reported on, or None.
    """

    fault: str | None = None
    kind: UrlFault | None = None
    local: bool = False
    doubt: str | None = None


_GOOD_URL: Final = UrlVerdict()


@cached_text
def judge_url(value: str) -> UrlVerdict:
    """Judge a URL as Twilio's API does: scheme, host with a dot, well-formed labels, not localhost.

    Source: quotes of 2014 to 2026 (localhost, a host without a dot, a label that ends in a hyphen, no scheme,
    no host); the entry of a parameter says which of them are about it. Nobody reported on addresses, private
    ranges, `.local`, ports, user information, other letters and underscores: addresses that are not public
    and names that no public DNS has are refused, the rest passes, both as assumptions.
    """
    if _NOT_URL.search(value):  # urlsplit drops some of them and takes the others
        return UrlVerdict("a URL has no white space and no control characters")
    try:
        parts = urlsplit(value)
        named, port = parts.hostname or "", parts.port
    except ValueError as error:
        return UrlVerdict(f"this is no URL: {str(error)[:60]}")
    if parts.scheme not in {"http", "https"}:
        kind: UrlFault | None = None if "://" in value else "scheme"  # nobody reported ftp:// and the like
        return UrlVerdict("Twilio takes URLs that begin with http:// or https://", kind)
    host = named.removesuffix(".")
    if not host:
        return UrlVerdict("the URL names no host", "host")
    if port == 0:
        return UrlVerdict("no server has port 0")
    return _judge_host(host) or _peculiar(named, port, parts.username is not None)


def _judge_host(host: str) -> UrlVerdict | None:
    """The verdict on a host that Twilio refuses, or None."""
    address = _address(host)
    if address is not None:
        return _judge_address(address)
    last = host.rpartition(".")[2]
    if host == "localhost":
        return _not_public(host, "localhost")
    if "." not in host:
        return _not_public(f"the host {host[:60]} has no dot", "dot")
    if last in _NOT_PUBLIC:
        return _not_public(f".{last}")
    if last.isdigit() or len(host) > _LONGEST_HOST:
        return UrlVerdict("this is no host name")
    return next((fault for fault in map(_judge_label, host.split(".")) if fault is not None), None)


def _judge_address(address: IPv4Address | IPv6Address) -> UrlVerdict | None:
    """The verdict on an address that Twilio refuses, or None; nobody reported on any."""
    if not address.is_global:
        return _not_public(str(address))
    if address.version == 4:
        return None
    return UrlVerdict(f"Twilio reaches no IPv6 address: {address}", local=True)


def _judge_label(label: str) -> UrlVerdict | None:
    """The verdict on one part of a host name that Twilio refuses, or None."""
    if not label or len(label) > _LONGEST_LABEL:
        return UrlVerdict("a part of the host is empty or longer than 63 characters")
    if label.startswith("-") or label.endswith("-"):
        fault = f"a part of the host begins or ends with a hyphen: {label}"
        return UrlVerdict(fault, "hyphen" if label.endswith("-") else None)
    if not _LABEL.fullmatch(label):
        return UrlVerdict(f"a part of the host has other characters: {label}")
    return None


def _not_public(what: str, kind: UrlFault | None = None) -> UrlVerdict:
    return UrlVerdict(f"Twilio refuses URLs that are not public: {what}", kind, local=True)


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _peculiar(host: str, port: int | None, user: bool) -> UrlVerdict:
    """A passing URL, with what nobody reported on."""
    odd = [
        name
        for name, found in (
            ("an address instead of a name", host.rstrip(".")[-1].isdigit()),
            ("a final dot in its host", host.endswith(".")),
            ("a port", port is not None),
            ("user information", user),
            ("letters outside ASCII", not host.isascii()),
            ("an underscore in its host", "_" in host),
        )
        if found
    ]
    if not odd:
        return _GOOD_URL
    return UrlVerdict(
        doubt=f"nobody reported how Twilio takes a URL with {' and '.join(odd)}: assumed to pass"
    )


def advice(parameter: Parameter) -> str | None:
    """Say what a value of `parameter` must be, where a range or a format decides; else None."""
    if parameter.minimum is not None or parameter.maximum is not None:
        return f"the value must be a whole number from {parameter.minimum} to {parameter.maximum}"
    return {"json-object": "the value must be a JSON object", "xml": "the value must be XML"}.get(
        parameter.type
    )


def fits(value: str, parameter: Parameter) -> bool:
    """Report whether `value`, which is not blank, is of the type of `parameter`."""
    return _CHECKS[parameter.type](value, parameter)


def address_kind(value: str, parameter: Parameter) -> AddressKind | None:
    """Which of the kinds that `parameter` takes `value` is, or None."""
    for kind in parameter.kinds:
        if _KINDS[kind](value, parameter):
            return kind
    return None


def _is_number(value: str, parameter: Parameter) -> bool:
    return is_possible(value) if parameter.numbers == "possible" else is_valid(value)


def _channel(prefix: str) -> Check:
    def check(value: str, parameter: Parameter) -> bool:
        return value.lower().startswith(prefix) and _is_number(value[len(prefix) :], parameter)

    return check


def _matches(pattern: re.Pattern[str]) -> Check:
    return lambda value, _parameter: pattern.fullmatch(value) is not None


def _is_integer(value: str, parameter: Parameter) -> bool:
    if not _INTEGER.fullmatch(value) or len(value) > _LONGEST_NUMBER:
        return False
    low, high = parameter.minimum, parameter.maximum
    return (low is None or int(value) >= low) and (high is None or int(value) <= high)


def _is_json_object(value: str) -> bool:
    try:
        return isinstance(json.loads(value), dict)
    except (ValueError, RecursionError):
        return False


def _is_xml(value: str) -> bool:
    parser = expat.ParserCreate()
    parser.EntityDeclHandler = _refuse_entity  # one that grows when it is written out
    try:
        parser.Parse(value.encode("utf-8", "surrogatepass"), True)  # noqa: FBT003 - expat's own argument
    except (expat.ExpatError, ValueError):
        return False
    return True


def _refuse_entity(*_: object) -> None:
    raise ValueError


def moment(value: str) -> datetime | None:
    """Read an ISO 8601 date; None where `value` is none. A date without a zone is UTC (assumed)."""
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def utf16_length(text: str) -> int:
    """Count the UTF-16 code units of `text`; an emoji has two or more."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def channel(address: str) -> str:
    """Return the channel of an address, e.g. `whatsapp`; empty for a number."""
    return address.partition(":")[0].lower() if ":" in address else ""


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
    "date-time": lambda value, _parameter: moment(value) is not None,
    "enum": lambda value, parameter: value in parameter.values,
    "integer": _is_integer,
    "json-object": lambda value, _parameter: _is_json_object(value),
    "method": lambda value, _parameter: value.upper() in {"GET", "POST"},
    "number": _matches(_DECIMAL),
    "sid": _is_sid,
    "string": _is_string,
    "url": lambda value, _parameter: judge_url(value).fault is None,
    "xml": lambda value, _parameter: _is_xml(value),
}
