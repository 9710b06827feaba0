"""What is wrong with the data of a file that is no cassette: which interaction, which key, what is there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Sequence

OLD: Final = "an old cassette without a version: run `python -m vcr.migration FILE` once"

_MISSING: Final = object()
_KINDS: Final[tuple[tuple[type | tuple[type, ...], str], ...]] = (
    (type(None), "empty"),
    (bool, "true or false"),
    ((int, float), "a number"),
    ((str, bytes), "text"),
    (Mapping, "a mapping"),
    ((list, tuple), "a list"),
)


class FaultError(ValueError):
    """The data is no cassette's.

    Attributes:
        number: Which interaction, 1-based; 0 where it is the file as a whole.
    """

    def __init__(self, detail: str, number: int = 0) -> None:
        super().__init__(detail)
        self.number = number


def check(data: Any) -> None:
    """Look at what YAML or JSON made of a cassette, before anybody relies on its shape.

    Raises:
        FaultError: It is no cassette; says where and why.
    """
    if isinstance(data, list) and data and isinstance(data[0], Mapping) and "request" in data[0]:
        raise FaultError(OLD)
    if not isinstance(data, Mapping):
        raise FaultError(f"it is {_kind(data)}, a cassette is a mapping with `interactions`")
    found = data.get("interactions", _MISSING)
    if not isinstance(found, list):
        raise FaultError(f"`interactions` {_is(found)}, it must be a list")
    for number, interaction in enumerate(found, 1):
        detail = _interaction(interaction)
        if detail:
            raise FaultError(detail, number)


def _interaction(one: Any) -> str:
    """What is wrong with one interaction, or an empty string."""
    if not isinstance(one, Mapping):
        return f"it is {_kind(one)}, it must be a mapping with `request` and `response`"
    return (
        _must(one, ["request"], Mapping, "a mapping")
        or _request(one["request"])
        or _must(one, ["response"], Mapping, "a mapping")
        or _response(one["response"])
    )


def _request(request: Mapping[str, Any]) -> str:
    wrong = (
        _must(request, ["method"], str, "text", "request")
        or _must(request, ["uri"], str, "text", "request")
        or _must(request, ["headers"], (Mapping, type(None)), "a mapping", "request")
        or _body(request.get("body", _MISSING), "request.body")
    )
    if wrong:
        return wrong
    try:
        urlsplit(request["uri"])
    except ValueError:
        return "`request.uri` is no URL"
    unknown = [name for name in request if name not in {"method", "uri", "headers", "body"}]
    return f"`request.{unknown[0]}` is nothing that a request has" if unknown else ""


def _response(response: Mapping[str, Any]) -> str:
    if "status_code" in response:  # how older vcrpy wrote what httpx received
        return (
            _status(response["status_code"], "response.status_code")
            or _must(response, ["headers"], (Mapping, type(None)), "a mapping", "response")
            or _body(response.get("content", _MISSING), "response.content")
        )
    return (
        _must(response, ["status"], Mapping, "a mapping", "response")
        or _status(response["status"].get("code", _MISSING), "response.status.code")
        or _must(response, ["status", "message"], (str, bytes, type(None)), "text", "response")
        or _must(response, ["headers"], (Mapping, type(None)), "a mapping", "response")
        or _must(response, ["body"], (Mapping, type(None)), "a mapping", "response")
        or (
            _body(response["body"].get("string", _MISSING), "response.body.string")
            if response["body"]
            else ""
        )
    )


def _must(
    data: Mapping[str, Any], keys: Sequence[str], kind: type | tuple[type, ...], wanted: str, inside: str = ""
) -> str:
    """What is wrong with the value under `keys`, which must be a `kind`."""
    value: Any = data
    for key in keys:
        value = value.get(key, _MISSING)
    name = ".".join([*([inside] if inside else []), *keys])
    return "" if isinstance(value, kind) else f"`{name}` {_is(value)}, it must be {wanted}"


def _status(code: Any, name: str) -> str:
    if isinstance(code, int) and not isinstance(code, bool) and 200 <= code <= 599:
        return ""
    is_number = isinstance(code, int) and not isinstance(code, bool) and abs(code) < 10**9
    said = f"is {code}" if is_number else _is(code)
    return f"`{name}` {said}, it must be a number from 200 to 599"


def _body(value: Any, name: str) -> str:
    parts = value if isinstance(value, (list, tuple)) else [value]
    if value is None or hasattr(value, "read") or all(isinstance(part, (str, bytes)) for part in parts):
        return ""
    if isinstance(value, (int, float)):
        return f"`{name}` {_is(value)}, it must be text: put it in quotes"
    if hasattr(value, "__next__"):
        return ""  # what was sent in parts
    return f"`{name}` {_is(value)}, it must be text"


def _is(value: Any) -> str:
    return "is missing" if value is _MISSING else f"is {_kind(value)}"


def _kind(value: Any) -> str:
    return next((name for kind, name in _KINDS if isinstance(value, kind)), "something else")
