"""Reading a form body: strict, limited, and with fields in order, repeats and blanks kept."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import unquote_to_bytes

from ringback.contract.remembering import remembered

if TYPE_CHECKING:
    from ringback.exchange import Request

Fields: TypeAlias = tuple[tuple[str, str], ...]

MAX_BODY = 1024 * 1024  # bytes; a message's text has at most 1,600 characters, TwiML 4,000
MAX_FIELDS = 1000
MAX_HEADERS = 32 * 1024  # bytes, names and values
FORM_TYPE = "application/x-www-form-urlencoded"
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


def read(request: Request) -> Fields:
    """The form fields of `request`, in order.

    A missing Content-Type counts as a form: hand-written clients often leave it out.

    Raises:
        FormError: Too large, of another media type or content coding, or not decodable.
    """
    if request.header_size > MAX_HEADERS:
        raise FormError("headers.too-large", f"{request.header_size} bytes, the limit is {MAX_HEADERS}")
    if len(request.body) > MAX_BODY:
        raise FormError("form.too-large", f"{len(request.body)} bytes, the limit is {MAX_BODY}")
    if not request.body:
        return ()
    given = request.header("Content-Type")
    media_type = FORM_TYPE if given == FORM_TYPE else (given or FORM_TYPE).partition(";")[0].strip().lower()
    if media_type != FORM_TYPE:
        raise FormError("form.type", media_type or "nothing")
    coding = request.header("Content-Encoding")
    if coding and (coding := coding.strip().lower()) != "identity":
        raise FormError("form.coding", coding)
    return parse(request.body)


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
        fields = tuple([_pair(pair) for pair in text.split("&") if pair])
    except UnicodeDecodeError:
        raise FormError("form.malformed", "a percent-encoded value is not UTF-8") from None
    if "\0" in text or "%00" in text:
        for name, value in fields:
            if "\0" in name or "\0" in value:
                raise FormError("form.malformed", f"a NUL character in {name!r}")
    return fields


def _check_escapes(text: str) -> None:
    broken = _BAD_ESCAPE.search(text)
    if broken:
        raise FormError("form.malformed", f"broken percent-encoding at byte {broken.start()}")


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return _decoded(name), _decoded(value)


def _decoded(text: str) -> str:
    if "+" in text:
        text = text.replace("+", " ")
    return _unquoted(text) if "%" in text else text


@remembered
def _unquoted(text: str) -> str:
    return unquote_to_bytes(text).decode("utf-8")
