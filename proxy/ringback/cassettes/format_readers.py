"""Readers of other tools' recordings: one function for each format, from the file's types to a `Parts`."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import urlencode

from ringback.cassettes.matching import API_HOST, FORM_TYPE
from ringback.exchange import first_header

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ringback.exchange import Headers

LARGEST: Final = 32 * 1024 * 1024  # bytes of a file
READ_ERRORS: Final = (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError)
_SHOWN: Final = 60  # characters of a file's own text in a message


class LeftOutError(ValueError):
    """One interaction cannot be taken over; the text says why."""


@dataclass(frozen=True)
class Pattern:
    """A regular expression in place of a text."""

    text: str


@dataclass(frozen=True)
class Parts:
    """One interaction in the file's own types.

    Attributes:
        method: The method, in any letters.
        url: The URL with its scheme.
        asked_headers: The request's header fields.
        asked_body: The request's body.
        status: The answer's status.
        reason: Its reason phrase, or None.
        headers: Its header fields.
        body: Its body.
        recorded: The time of the recording, in any form.
        changes: The parts that had to be assumed.
    """

    method: Any
    url: Any
    asked_headers: Any
    asked_body: Any
    status: Any
    reason: Any
    headers: Any
    body: Any
    recorded: Any = None
    changes: list[str] = field(default_factory=list)


_Items: TypeAlias = "Callable[[Any], list[Any] | None]"
_Read: TypeAlias = "Callable[[Any, Path], Parts]"


@dataclass(frozen=True)
class Format:
    """A format: its name, the list of interactions in a file's data (or None), and the reader of one."""

    title: str
    items: _Items
    read: _Read
    stubs: bool = False


def cut(value: object) -> str:
    """Return `value` as printable text for a message, shortened."""
    text = "".join(char if char.isprintable() else "?" for char in str(value))
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def as_text(value: Any) -> str:
    """Return a scalar of a file as text."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return "" if value is None else str(value)


def as_bytes(value: Any) -> bytes:
    """Return a body as the bytes that were sent; objects are JSON."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    return as_text(value).encode("utf-8", "surrogatepass")


def as_pairs(headers: Any) -> Headers:
    """Header fields as any of these tools writes them."""
    found: list[tuple[str, str]] = []
    if isinstance(headers, Mapping):
        for name, values in headers.items():
            found += [
                (as_text(name), as_text(value))
                for value in (values if isinstance(values, list) else [values])
            ]
    elif isinstance(headers, list) and all(isinstance(one, Mapping) for one in headers):
        found = [(as_text(one["name"]), as_text(one["value"])) for one in headers]
    elif isinstance(headers, list) and all(isinstance(one, list) for one in headers):
        found = [(as_text(one[0]), as_text(one[1])) for one in headers]
    elif isinstance(headers, list) and all(":" in as_text(one) for one in headers):
        parted = [as_text(one).partition(":") for one in headers]
        found = [(name.strip(), value.strip()) for name, _, value in parted]
    elif isinstance(headers, list):
        found = [
            (as_text(name), as_text(value)) for name, value in zip(headers[::2], headers[1::2], strict=False)
        ]
    return tuple((name, value) for name, value in found if name and not name.startswith(":"))


def _listed(data: Any, *names: str) -> list[Any] | None:
    """The list under `names` in a mapping, or None."""
    for name in names:
        data = data.get(name) if isinstance(data, Mapping) else None
    return data if isinstance(data, list) else None


def _first_has(items: list[Any] | None, *paths: str) -> list[Any] | None:
    """Return `items` if the first has all of `paths`, such as `request.url`; an empty list has all."""
    for path in paths if items else ():
        one: Any = (items or [])[0]
        for name in path.split("."):
            if not isinstance(one, Mapping) or name not in one:
                return None
            one = one[name]
    return items


# -- Ruby VCR, betamax: one format


def _http_interactions(data: Any) -> list[Any] | None:
    return _listed(data, "http_interactions")


def _is_betamax(data: Any) -> list[Any] | None:
    by = as_text(data.get("recorded_with")) if isinstance(data, Mapping) else ""
    return _http_interactions(data) if by.startswith("betamax") else None


def _old_ruby(data: Any) -> list[Any] | None:
    """A file of VCR 1: the list itself, of structs."""
    items = data if isinstance(data, list) else None
    found = _first_has(
        items, "request.method", "request.uri", "response.status.code", "response.http_version"
    )
    return found or None


def _read_ruby(item: Any, _path: Path) -> Parts:
    request, response = item["request"], item["response"]
    status = response["status"]
    return Parts(
        request["method"],
        request["uri"],
        request.get("headers"),
        _ruby_body(request.get("body")),
        status["code"],
        status.get("message"),
        response.get("headers"),
        _ruby_body(response.get("body")),
        item.get("recorded_at"),
    )


def _ruby_body(body: Any) -> Any:
    if not isinstance(body, Mapping):
        return body
    if body.get("base64_string") is not None:
        return base64.b64decode(as_text(body["base64_string"]))
    return body.get("string")


# -- go-vcr


def _go_interactions(data: Any) -> list[Any] | None:
    found = _first_has(_listed(data, "interactions"), "request.url", "response.code")
    return found or None


def _read_go(item: Any, _path: Path) -> Parts:
    request, response = item["request"], item["response"]
    body, form = request.get("body"), request.get("form")
    if not body and isinstance(form, Mapping) and str(request["method"]).upper() != "GET":
        body = urlencode(
            [(as_text(name), as_text(one)) for name, values in form.items() for one in values or ()]
        )
    reason = as_text(response.get("status")).partition(" ")[2]
    return Parts(
        request["method"] or "GET",
        request["url"],
        request.get("headers"),
        body,
        response["code"],
        reason,
        response.get("headers"),
        response.get("body"),
    )


# -- HAR


def _har_entries(data: Any) -> list[Any] | None:
    return _first_has(_listed(data, "log", "entries"), "request.url", "response")


def _read_har(item: Any, _path: Path) -> Parts:
    request, response = item["request"], item["response"]
    post = request.get("postData") or {}
    body = post.get("text")
    if body is None and post.get("params"):
        if "multipart" in as_text(post.get("mimeType")):
            raise LeftOutError("it is a multipart form whose body was not saved")
        body = urlencode([(as_text(one["name"]), as_text(one.get("value"))) for one in post["params"]])
    content = response.get("content") or {}
    text = content.get("text")
    if text is None and int(content.get("size") or 0) > 0 and int(response["status"]) not in (204, 304):
        raise LeftOutError("the body of its answer was not saved")
    if content.get("encoding") == "base64":
        text = base64.b64decode(as_text(text))
    headers = tuple(one for one in as_pairs(response.get("headers")) if one[0].lower() != "content-encoding")
    return Parts(
        request["method"],
        request["url"],
        request.get("headers"),
        body,
        response["status"],
        response.get("statusText"),
        dict(_grouped(headers)),
        text,
        item.get("startedDateTime"),
    )


def _grouped(headers: Headers) -> Iterator[tuple[str, list[str]]]:
    for name in dict.fromkeys(name for name, _ in headers):
        yield name, [value for other, value in headers if other == name]


# -- nock


def _nock_definitions(data: Any) -> list[Any] | None:
    return _first_has(
        data if isinstance(data, list) and data else None, "scope", "method", "path", "response"
    )


def _read_nock(item: Any, _path: Path) -> Parts:
    asked = item.get("reqheaders") or {}
    body, changes = item.get("body"), []
    kind = (first_header(as_pairs(asked), "Content-Type") or FORM_TYPE).lower()
    if isinstance(body, Mapping) and kind.startswith(FORM_TYPE):
        changes.append("the request's body is an object, taken as a form")
        body = urlencode(
            [
                (as_text(name), as_text(one))
                for name, value in body.items()
                for one in (value if isinstance(value, list) else [value])
            ]
        )
    headers = item.get("rawHeaders") or item.get("headers")
    response = item["response"]
    coded = first_header(as_pairs(headers), "Content-Encoding")
    if isinstance(response, list) and coded and all(isinstance(one, str) for one in response):
        response = bytes.fromhex("".join(response))
    elif item.get("responseIsBinary") and isinstance(response, str):
        response = bytes.fromhex(response)
    scope = as_text(item["scope"]).rstrip("/")
    return Parts(
        item["method"],
        scope + as_text(item["path"]),
        asked,
        body,
        item.get("status", 200),
        "",
        headers,
        response,
        changes=changes,
    )


# -- PHP-VCR


def _php_records(data: Any) -> list[Any] | None:
    found = _first_has(
        data if isinstance(data, list) else None, "request.method", "request.url", "response.status"
    )
    return found or None


def _read_php(item: Any, _path: Path) -> Parts:
    request, response = item["request"], item["response"]
    body = request.get("body")
    fields = request.get("post_fields")
    if not body and fields:
        body = urlencode(dict(fields), doseq=True) if isinstance(fields, Mapping) else fields
    if request.get("post_files"):
        raise LeftOutError("it sends files, which PHP-VCR does not keep")
    status = response["status"]
    code, reason = (status["code"], status.get("message")) if isinstance(status, Mapping) else (status, "")
    if isinstance(code, str) and not code.isdigit():  # a status line, in the oldest files
        code, _, reason = code.partition(" ")[2].partition(" ")
    return Parts(
        request["method"],
        request["url"],
        request.get("headers"),
        body,
        code,
        reason,
        response.get("headers"),
        response.get("body"),
    )


# -- WireMock


def _wiremock_mappings(data: Any) -> list[Any] | None:
    found = _first_has(_listed(data, "mappings"), "request", "response")
    if found is not None:
        return found
    request = data.get("request") if isinstance(data, Mapping) else None
    urls = ("url", "urlPath", "urlPattern", "urlPathPattern", "urlPathTemplate")
    return [data] if isinstance(request, Mapping) and any(name in request for name in urls) else None


def _read_wiremock(item: Any, path: Path) -> Parts:
    request, response = item["request"], item["response"]
    url = request.get("url") or request.get("urlPath")
    if not url:
        raise LeftOutError("its URL is a pattern, which is no recorded request")
    method = as_text(request.get("method", "ANY"))
    if method.upper() == "ANY":
        raise LeftOutError("it is for any method")
    query = [
        (name, value)
        for name, matcher in (request.get("queryParameters") or {}).items()
        for value in _exact(matcher)
    ]
    if query:
        url = f"{url}?{urlencode(query)}"
    asked = {
        name: value for name, matcher in (request.get("headers") or {}).items() for value in _exact(matcher)
    }
    body: Any = None
    form = [
        (name, value)
        for name, matcher in (request.get("formParameters") or {}).items()
        for value in _exact(matcher)
    ]
    if form:
        body = urlencode(form)
    for matcher in request.get("bodyPatterns") or ():
        if "equalToJson" in matcher:
            body = matcher["equalToJson"]
            asked.setdefault("Content-Type", "application/json")
        else:
            body = _exact(matcher)[0]
    if any(name in response for name in ("fault", "proxyBaseUrl")):
        raise LeftOutError("it answers with a fault, or from another server")
    host, changes = _exact(request["host"])[0] if "host" in request else "", []
    if not host:
        host = API_HOST
        changes.append(f"it names no host, taken as {host}")
    return Parts(
        method,
        f"https://{host}{url}",
        asked,
        body,
        response.get("status", 200),
        response.get("statusMessage"),
        response.get("headers"),
        _wiremock_body(response, path),
        changes=changes,
    )


def _exact(matcher: Any) -> list[str]:
    """The values that a matcher of WireMock's asks for.

    Raises:
        LeftOutError: It is a pattern.
    """
    if isinstance(matcher, Mapping):
        if "equalTo" in matcher:
            return [as_text(matcher["equalTo"])]
        if "hasExactly" in matcher:
            return [value for one in matcher["hasExactly"] for value in _exact(one)]
    raise LeftOutError("it matches by a pattern, which is no recorded request")


def _wiremock_body(response: Mapping[str, Any], path: Path) -> Any:
    if "jsonBody" in response:
        return response["jsonBody"]
    if "base64Body" in response:
        return base64.b64decode(as_text(response["base64Body"]))
    name = response.get("bodyFileName")
    if name is None:
        return response.get("body")
    for base in (path.parent / "__files", path.parent.parent / "__files"):
        directory = base.resolve()
        file = (directory / as_text(name)).resolve()
        if file.is_relative_to(directory) and file.is_file() and file.stat().st_size <= LARGEST:
            return file.read_bytes()
    raise LeftOutError(f"its body is not in __files: {cut(name)}")


# -- Hoverfly


def _hoverfly_pairs(data: Any) -> list[Any] | None:
    return _first_has(_listed(data, "data", "pairs"), "request", "response")


def _read_hoverfly(item: Any, _path: Path) -> Parts:
    request, response = item["request"], item["response"]
    host = _matched(request.get("destination"))
    query = request.get("query") or request.get("deprecatedQuery")
    if isinstance(query, Mapping):
        text = urlencode([(name, value) for name, one in query.items() for value in _matched_all(one)])
    else:
        text = _matched(query)
    url = f"{_matched(request.get('scheme')) or 'https'}://{host}{_matched(request.get('path'))}"
    body = response.get("body")
    if str(response.get("encodedBody")).lower() == "true":
        body = base64.b64decode(as_text(body))
    if str(response.get("templated")).lower() == "true" and "{{" in as_text(body):
        raise LeftOutError("its answer is a template")
    kept = {}
    for name, one in (request.get("headers") or {}).items():
        with suppress(LeftOutError):  # header fields do not count in matching
            kept[name] = _matched(one) if _matchers(one) else one
    return Parts(
        _matched(request.get("method")),
        f"{url}?{text}" if text else url,
        kept,
        _matched(request.get("body")),
        response["status"],
        "",
        response.get("headers"),
        body,
    )


def _matchers(value: Any) -> bool:
    return isinstance(value, Mapping) or (
        isinstance(value, list) and bool(value) and isinstance(value[0], Mapping)
    )


def _matched_all(value: Any) -> list[str]:
    found = []
    for one in value if isinstance(value, list) else [value]:
        if not isinstance(one, Mapping):
            found.append(as_text(one))
        elif one.get("matcher", "exact") in ("exact", "json") and "value" in one:
            found.append(as_text(one["value"]))
        elif "exactMatch" in one:
            found.append(as_text(one["exactMatch"]))
        elif one.get("matcher") == "form" and isinstance(one.get("value"), Mapping):
            fields = one["value"].items()
            found.append(urlencode([(name, each) for name, value in fields for each in _matched_all(value)]))
        elif one.get("matcher") == "array" and isinstance(one.get("value"), list):
            found += [as_text(each) for each in one["value"]]
        else:
            raise LeftOutError("it matches by a pattern, which is no recorded request")
    return found


def _matched(value: Any) -> str:
    return "".join(_matched_all(value)[:1]) if value is not None else ""


# -- keploy


def _keploy_mocks(data: Any) -> list[Any] | None:
    items = data if isinstance(data, list) else [data]
    first = items[0] if items else None
    known = isinstance(first, Mapping) and as_text(first.get("version")).startswith("api.keploy.io/")
    return items if known else None


def _read_keploy(item: Any, _path: Path) -> Parts:
    if as_text(item["kind"]).lower() != "http":
        raise LeftOutError(f"its kind is {cut(item['kind'])}")
    spec = item["spec"]
    request, response = spec["req"], spec["resp"]
    when = spec.get("created") or request.get("timestamp") or spec.get("reqTimestampMock")
    return Parts(
        request["method"],
        request["url"],
        request.get("header"),
        request.get("body"),
        response["status_code"],
        response.get("status_message"),
        response.get("header"),
        response.get("body"),
        when,
    )


# -- vcrpy before 1.0


def _old_vcrpy(data: Any) -> list[Any] | None:
    items = data if isinstance(data, list) else None
    found = _first_has(items, "request.host", "request.path", "request.protocol", "response.status")
    return found or None


def _read_old_vcrpy(item: Any, _path: Path) -> Parts:
    request, response = item["request"], item["response"]
    port = f":{request['port']}" if as_text(request.get("port")) not in ("", "80", "443") else ""
    headers = request.get("headers")
    if isinstance(headers, list) and len(headers) == 1 and isinstance(headers[0], list):
        headers = headers[0]  # the argument of a frozenset
    return Parts(
        request["method"],
        f"{request['protocol']}://{request['host']}{port}{request['path']}",
        headers,
        request.get("body"),
        response["status"]["code"],
        response["status"].get("message"),
        response.get("headers"),
        response["body"].get("string") if response.get("body") else None,
    )


FORMATS: Final = (
    Format("betamax", _is_betamax, _read_ruby),
    Format("Ruby VCR", _http_interactions, _read_ruby),
    Format("Ruby VCR", _old_ruby, _read_ruby),
    Format("go-vcr", _go_interactions, _read_go),
    Format("HAR", _har_entries, _read_har),
    Format("nock", _nock_definitions, _read_nock),
    Format("PHP-VCR", _php_records, _read_php),
    Format("keploy", _keploy_mocks, _read_keploy),
    Format("vcrpy before 1.0", _old_vcrpy, _read_old_vcrpy),
    Format("Hoverfly", _hoverfly_pairs, _read_hoverfly, stubs=True),
    Format("WireMock", _wiremock_mappings, _read_wiremock, stubs=True),
)
