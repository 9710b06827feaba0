"""Form bodies and the names of their fields.

Reading is strict and limited; order, repeats and blanks are kept.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import unquote_to_bytes

from ringback.exchange import cached_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ringback.contract.contract import Contract
    from ringback.exchange import Request

Fields: TypeAlias = tuple[tuple[str, str], ...]

MAX_BODY = 1024 * 1024  # bytes; a message's text has at most 1,600 characters, TwiML 4,000
MAX_FIELDS = 1000
MAX_HEADERS = 32 * 1024  # bytes, names and values
FORM_TYPE = "application/x-www-form-urlencoded"
_FIELD: Final = re.compile(r"[A-Za-z0-9_.-]*[A-Za-z0-9][A-Za-z0-9_.-]*")
_SHOWN: Final = 40  # characters of a name that is none
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


class FormError(Exception):
    """A body that is no form.

    Attributes:
        rule: The gate's refusal that answers it.
        detail: What is wrong with it, for people.
    """

    def __init__(self, rule: str, detail: str) -> None:
        super().__init__(detail)
        self.rule = rule
        self.detail = detail


def limit_exceeded(headers: int, body: int) -> FormError | None:
    """The limit that a request exceeds with so many bytes of header fields and of body, or None."""
    if headers > MAX_HEADERS:
        return FormError("headers.too-large", f"{headers} bytes, the limit is {MAX_HEADERS}")
    if body > MAX_BODY:
        return FormError("form.too-large", f"{body} bytes, the limit is {MAX_BODY}")
    return None


def has_too_many_fields(request: Request) -> bool:
    """Report whether the form of `request` is one that `read` refuses for its number of fields."""
    return request.body.count(b"&") >= MAX_FIELDS and _media_type(request.header("Content-Type")) == FORM_TYPE


def _media_type(given: str | None) -> str:
    return (given or FORM_TYPE).partition(";")[0].strip().lower()


def read(request: Request) -> Fields:
    """The form fields of `request`, in order.

    A missing Content-Type counts as a form: hand-written clients often leave it out.

    Raises:
        FormError: Too large, of another media type or content coding, or not decodable.
    """
    body = request.body
    exceeded = limit_exceeded(request.header_size, len(body))
    if exceeded is not None:
        raise exceeded
    if not body:
        return ()
    given = request.header("Content-Type")
    if given != FORM_TYPE and (media_type := _media_type(given)) != FORM_TYPE:
        raise FormError("form.type", media_type or "nothing")
    coding = request.header("Content-Encoding")
    if coding and (coding := coding.strip().lower()) != "identity":
        raise FormError("form.coding", coding)
    return parse(body)


def parse(body: bytes) -> Fields:
    """The fields of a urlencoded `body`, repeats and blanks kept.

    Raises:
        FormError: Bytes outside ASCII and UTF-8, a broken percent escape, a NUL, or too many fields.
    """
    if not body:
        return ()
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormError("form.malformed", f"byte {error.start} is not UTF-8") from None
    if text.count("&") >= MAX_FIELDS:
        _check_escapes(text)
        raise FormError("form.malformed", f"more than {MAX_FIELDS} fields")
    if "%" in text:
        _check_escapes(text)
    try:
        fields = _pairs(text)
    except UnicodeDecodeError:
        raise FormError("form.malformed", "a percent-encoded value is not UTF-8") from None
    if "\0" in text or "%00" in text:
        for name, value in fields:
            if "\0" in name or "\0" in value:
                raise FormError("form.malformed", f"a NUL character in {name!r}")
    return tuple(fields)


def _pairs(text: str) -> list[tuple[str, str]]:
    """Take a form apart: a loop without calls of its own, because every request goes through it."""
    found = []
    for pair in text.replace("+", " ").split("&"):
        if pair:
            name, _, value = pair.partition("=")
            if "%" in pair:
                name = _unquoted(name) if "%" in name else name
                value = _unquoted(value) if "%" in value else value
            found.append((name, value))
    return found


def _check_escapes(text: str) -> None:
    broken = _BAD_ESCAPE.search(text)
    if broken:
        raise FormError("form.malformed", f"broken percent-encoding at byte {broken.start()}")


@cached_text
def _unquoted(text: str) -> str:
    return unquote_to_bytes(text).decode("utf-8")


class NamingError(ValueError):
    """A name that is no form field; the message says which names are."""


@cached_text
def plain_name(name: str) -> str:
    """`name` as names are compared: lower case, without punctuation."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def parameters_named(loaded: Contract, texts: Iterable[str]) -> tuple[str, ...]:
    """The parameters that `texts` name, with commas between them: each once, as Twilio spells it.

    Raises:
        NamingError: No resource has such a parameter.
    """
    known = {plain_name(name): name for resource in loaded.resources for name in resource.parameters}
    named = [name.strip() for text in texts for name in text.split(",") if name.strip()]
    return tuple(dict.fromkeys(_parameter(name, known) for name in named))


def _parameter(name: str, known: dict[str, str]) -> str:
    shown = ascii(name[:_SHOWN])
    if not _FIELD.fullmatch(name):
        raise NamingError(
            f"{shown} cannot name a form field: use letters, digits, '_', '.' and '-', "
            "and commas between names"
        )
    plain = plain_name(name)
    if plain in known:
        return known[plain]
    from difflib import get_close_matches  # noqa: PLC0415 - slow to import, and only for a mistake

    nearest = get_close_matches(plain, known, n=1)
    advice = f", did you mean {known[nearest[0]]}?" if nearest else "."
    raise NamingError(
        f"{shown} is no parameter of any resource{advice} There are: {', '.join(sorted(known.values()))}"
    )
