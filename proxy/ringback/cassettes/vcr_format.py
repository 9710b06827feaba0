"""vcrpy's cassette format, read and written by vcrpy's own classes and its safe YAML loader."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode, urlsplit

import yaml
import yaml.reader
from vcr.request import Request as VcrRequest
from vcr.serialize import deserialize, serialize
from vcr.serializers import jsonserializer, yamlserializer

from ringback.cassettes import yaml_text
from ringback.cassettes.files import READ_SUFFIXES, CassetteFormatError, read_whole
from ringback.cassettes.matching import NO_URI
from ringback.cassettes.yaml_text import UnusualError
from ringback.contract.yaml_files import too_deep
from ringback.exchange import MOCK, PROVENANCE_PREFIX, Answer, Request, Source, first_header

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ringback.exchange import Basis, Headers

_MISSING: Final = object()
_SCALARS: Final = (str, bytes, int, float, type(None))
_KINDS: Final[tuple[tuple[type | tuple[type, ...], str], ...]] = (
    (type(None), "empty"),
    (bool, "true or false"),
    ((int, float), "a number"),
    ((str, bytes), "text"),
    (Mapping, "a mapping"),
    ((list, tuple), "a list"),
)


class ShapeError(ValueError):
    """The data is no cassette's.

    Attributes:
        number: Which interaction, 1-based; 0 where it is the file as a whole.
    """

    def __init__(self, detail: str, number: int = 0) -> None:
        super().__init__(detail)
        self.number = number


def check_shape(data: Any, most: int = 2**63) -> None:
    """Look at what YAML or JSON made of a cassette, before anybody relies on its shape.

    Args:
        data: The data.
        most: Characters that all header fields and bodies together may have: YAML aliases can multiply them.

    Raises:
        ShapeError: It is no cassette; says where and why.
    """
    if not isinstance(data, Mapping):
        raise ShapeError(f"it is {_kind(data)}, a cassette is a mapping with `interactions`")
    found = data.get("interactions", _MISSING)
    if not isinstance(found, list):
        raise ShapeError(f"`interactions` {_is(found)}, it must be a list")
    for number, interaction in enumerate(found, 1):
        detail = _interaction_problem(interaction)
        if detail:
            raise ShapeError(detail, number)
        most -= _size(interaction)
        if most < 0:
            raise ShapeError("its YAML aliases stand for far more text than the file has", number)


def _interaction_problem(one: Any) -> str:
    """Return the fault of one interaction, or an empty string."""
    if not isinstance(one, Mapping):
        return f"it is {_kind(one)}, it must be a mapping with `request` and `response`"
    return (
        _must(one, ["request"], Mapping, "a mapping")
        or _request_problem(one["request"])
        or _must(one, ["response"], Mapping, "a mapping")
        or _response_problem(one["response"])
    )


def _request_problem(request: Mapping[str, Any]) -> str:
    wrong = (
        _must(request, ["method"], str, "text", "request")
        or _must(request, ["uri"], str, "text", "request")
        or _headers_problem(request.get("headers", _MISSING), "request.headers")
        or _body_problem(request.get("body", _MISSING), "request.body")
    )
    if wrong:
        return wrong
    try:
        uri = urlsplit(request["uri"])
        complete = uri.scheme in ("http", "https") and uri.hostname and (uri.port or True)
    except ValueError:
        complete = False
    if not complete or NO_URI.search(request["uri"]):
        return "`request.uri` is no URL of http or https"
    unknown = [name for name in request if name not in {"method", "uri", "headers", "body"}]
    return f"`request.{unknown[0]}` is nothing that a request has" if unknown else ""


def _response_problem(response: Mapping[str, Any]) -> str:
    if "status_code" in response:  # how older vcrpy wrote what httpx received
        return (
            _status_problem(response["status_code"], "response.status_code")
            or _headers_problem(response.get("headers", _MISSING), "response.headers")
            or _body_problem(response.get("content", _MISSING), "response.content")
        )
    return (
        _must(response, ["status"], Mapping, "a mapping", "response")
        or _status_problem(response["status"].get("code", _MISSING), "response.status.code")
        or _must(response, ["status", "message"], (str, bytes, type(None)), "text", "response")
        or _headers_problem(response.get("headers", _MISSING), "response.headers")
        or _must(response, ["body"], (Mapping, type(None)), "a mapping", "response")
        or (
            _body_problem(response["body"].get("string", _MISSING), "response.body.string")
            if response["body"]
            else ""
        )
    )


def _must(
    data: Mapping[str, Any], keys: Sequence[str], kind: type | tuple[type, ...], wanted: str, inside: str = ""
) -> str:
    """Return the fault of the value under `keys`, which must be a `kind`, or an empty string."""
    value: Any = data
    for key in keys:
        value = value.get(key, _MISSING)
    name = ".".join([*([inside] if inside else []), *keys])
    return "" if isinstance(value, kind) else f"`{name}` {_is(value)}, it must be {wanted}"


def _status_problem(code: Any, name: str) -> str:
    if isinstance(code, int) and not isinstance(code, bool) and 200 <= code <= 599:
        return ""
    is_number = isinstance(code, int) and not isinstance(code, bool) and abs(code) < 10**9
    found = f"is {code}" if is_number else _is(code)
    return f"`{name}` {found}, it must be a number from 200 to 599"


def _headers_problem(headers: Any, name: str) -> str:
    if headers is None:
        return ""
    if not isinstance(headers, Mapping):
        return f"`{name}` {_is(headers)}, it must be a mapping"
    for field, values in headers.items():
        parts = values if isinstance(values, (list, tuple)) else [values]
        odd = next((part for part in (field, *parts) if not isinstance(part, _SCALARS)), None)
        if odd is not None:
            return f"`{name}` has {_kind(odd)} in the field {str(field)[:40]!a}, it must be text"
    return ""


def _size(interaction: Mapping[str, Any]) -> int:
    """Characters of an interaction's header fields and bodies."""
    request, response = interaction["request"], interaction["response"]
    body = response.get("body") or {}
    values: list[Any] = [request.get("body"), response.get("content"), body.get("string")]
    total = 0
    for mapping in (request.get("headers") or {}, response.get("headers") or {}):
        for name, value in mapping.items():
            total += len(str(name)) + 8
            values.append(value)
    for value in values:
        for part in value.values() if isinstance(value, Mapping) else [value]:
            pieces = part if isinstance(part, (list, tuple)) else [part]
            total += sum(len(piece) if isinstance(piece, (str, bytes)) else 8 for piece in pieces)
    return total


def _body_problem(value: Any, name: str) -> str:
    if isinstance(value, Mapping) and name == "request.body":
        return _headers_problem(value, name)
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


FIELD_SOURCE: Final = "Ringback-Source"
IMPORTED: Final = "imported"  # the source of what another tool recorded
FIELD_RECORDED: Final = "Ringback-Recorded"

_TOP_LEVEL: Final = re.compile(r"^(?=[A-Za-z])", re.MULTILINE)  # what follows the list
_FIELD: Final = re.compile(r"`([a-z_]+(?:\.[a-z_]+)*)`")
_LIST: Final = "interactions:\n"
_MERGE: Final = re.compile(r"^[ -]*<<[ ]*:|[{,][ ]*<<[ ]*:", re.MULTILINE)
_EXPANDED: Final = 16  # characters that aliases may make of one character of a file
_EXPANDED_LEAST: Final = 1024 * 1024
_LONGEST_REASON: Final = 60  # one line of YAML, so that a torn one cannot look whole
_PARSE_ERRORS: Final = (yaml.YAMLError, ValueError, KeyError, TypeError, AttributeError, IndexError)


class InteractionError(ValueError):
    """The text is no interaction, or no cassette; says what is wrong, in words.

    Attributes:
        detail: What is wrong.
        number: Which interaction of a cassette, 1-based; 0 where it is all of it.
        line: The line of the text where it cannot be read on, 1-based; 0 where it can.
    """

    def __init__(self, detail: str, *, number: int = 0, line: int = 0) -> None:
        where = f"interaction {number}: " if number else ""
        super().__init__(f"{where}{detail}")
        self.detail = detail
        self.number = number
        self.line = line


@dataclass(frozen=True, slots=True)
class Interaction:
    """A recorded interaction.

    Attributes:
        request: What was asked.
        answer: What came back.
        provenance: The `Ringback-...` fields of the recorded response.
        authority: Host, port and user information as recorded in the URI; empty for the host alone.
        null_body: An empty request body is written as null, which vcrpy's stubs tell from an empty string.
    """

    request: Request
    answer: Answer
    provenance: Headers = ()
    authority: str = ""
    null_body: bool = True

    def provenance_value(self, name: str) -> str | None:
        """The first value of the provenance field `name`."""
        return first_header(self.provenance, name)


def dump(interaction: Interaction) -> bytes:
    """The YAML list item of `interaction`, from `- ` to its final newline."""
    request, answer = interaction.request, interaction.answer
    uri = f"{request.scheme}://{interaction.authority or request.host}{request.target}"
    body = None if interaction.null_body and not request.body else request.body
    headers = _grouped(request.headers)
    response = {
        "status": {"code": answer.status, "message": _one_line(answer.reason)},
        "headers": _grouped((*answer.headers, *interaction.provenance)),
        "body": {"string": answer.body},
    }
    with suppress(UnusualError, UnicodeDecodeError):
        asked = {
            "method": request.method,
            "uri": uri,
            "body": None if body is None else body.decode(),
            "headers": {name: values[:1] for name, values in headers.items()},  # as vcrpy's class keeps them
        }
        pair = {"request": asked, "response": {**response, "body": {"string": answer.body.decode()}}}
        return ("-" + yaml_text.block(pair, 2)[1:]).encode("ascii")
    recorded = VcrRequest(request.method, uri, body, headers)
    text: str = serialize({"requests": [recorded], "responses": [response]}, yamlserializer)
    start, end = text.index(_LIST) + len(_LIST), text.rindex("version:")
    return text[start:end].encode("ascii")  # vcrpy's dumper escapes everything else


def parse(item: bytes) -> Interaction:
    """The interaction of one YAML list item.

    Raises:
        InteractionError: It is none, or not whole; its line is counted in `item`.
    """
    text = item.decode("utf-8", "replace")
    try:
        found, _ = _interactions(_LIST + text, yamlserializer)
    except InteractionError as error:
        line = error.line - 1 if error.line else slip_line(text, error.detail)
        raise InteractionError(error.detail, line=line) from None  # it stands alone, so without a number
    if len(found) != 1:
        raise InteractionError(f"these are {len(found)} interactions, not one")
    return found[0]


def parse_request(item: bytes) -> Request:
    """The request of one YAML list item as `dump` writes it, without the cost of reading its answer.

    Raises:
        InteractionError: It is none.
    """
    head = item.partition(b"\n  response:\n")[0].decode("utf-8", "replace")
    _check_depth(head)
    try:
        data = yamlserializer.deserialize(head)[0]["request"]
        return _request(VcrRequest._from_dict(data))  # noqa: SLF001 - what vcr.serialize itself calls
    except _PARSE_ERRORS as error:
        raise _in_words(error) from error


def load_foreign(text: str, *, as_json: bool = False) -> tuple[tuple[Interaction, ...], dict[str, Any]]:
    """Everything in a cassette file of any layout that vcrpy reads, and the file's metadata.

    Raises:
        InteractionError: vcrpy cannot read it either; the text says why.
    """
    try:
        return _interactions(text, jsonserializer if as_json else yamlserializer)
    except InteractionError:
        other = other_format(text.encode("utf-8", "surrogatepass"))
        if other:
            raise InteractionError(other) from None
        raise


def other_format(data: bytes, path: Path | None = None) -> str:
    """Return a sentence for people about a file of another tool with `data`; empty for no known format."""
    from ringback.cassettes import formats  # noqa: PLC0415 - only for a file that is no cassette

    title = formats.recognise(data)
    if not title:
        return ""
    file = shlex.quote(str(path)) if path else "FILE"
    return f"a recording of another format ({title}): `ringback cassettes import {file}` takes it over"


def dump_mapping(mapping: Mapping[str, Any]) -> bytes:
    """`mapping` as block YAML."""
    text: str = yamlserializer.serialize(dict(mapping))
    return text.encode("ascii")


def load_mapping(text: bytes) -> dict[str, Any]:
    """The mapping in `text`, empty if it holds none.

    Raises:
        InteractionError: It is no YAML.
    """
    _check_depth(text.decode("utf-8", "replace"))
    try:
        data = yamlserializer.deserialize(text.decode())
    except _PARSE_ERRORS as error:
        raise _in_words(error) from error
    return data if isinstance(data, dict) else {}


def _interactions(text: str, serializer: Any) -> tuple[tuple[Interaction, ...], dict[str, Any]]:
    _check_depth(text)
    try:
        requests, responses, *metadata = deserialize(text, _Checked(serializer))
        found = tuple(
            _interaction(request, response) for request, response in zip(requests, responses, strict=True)
        )
    except _PARSE_ERRORS as error:
        raise _in_words(error) from error
    known = metadata[0] if metadata and isinstance(metadata[0], dict) else {}
    return found, known


def _check_depth(text: str) -> None:
    if too_deep(text):
        raise InteractionError("it is nested too deeply")
    if "<<" in text and _MERGE.search(text):
        raise InteractionError("it has YAML merge keys (<<), which multiply; no cassette needs them")


@dataclass(frozen=True)
class _Checked:
    """A serializer of vcrpy's that has its data looked at before vcrpy relies on it."""

    serializer: Any

    def deserialize(self, text: str) -> Any:
        """The data in `text`, which has a cassette's shape."""
        data = self.serializer.deserialize(text)
        check_shape(data, _EXPANDED * len(text) + _EXPANDED_LEAST)
        return data


def _in_words(error: Exception) -> InteractionError:
    """`error` for people: what is wrong there, and nothing of what Python calls it."""
    if isinstance(error, InteractionError):
        return error
    if isinstance(error, ShapeError):
        return InteractionError(str(error), number=error.number)
    cause = error.__cause__  # of a tag, which vcrpy tells in a paragraph
    detail, line = _unreadable(cause if isinstance(cause, yaml.MarkedYAMLError) else error)
    return InteractionError(detail, line=line)


def _unreadable(error: Exception) -> tuple[str, int]:
    """Why a text can be read by nobody, and its line or 0."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem:
        mark = error.problem_mark
        return f"no YAML that vcrpy reads: {error.problem}", mark.line + 1 if mark else 0
    if isinstance(error, json.JSONDecodeError):
        return f"no JSON: {error.msg}", error.lineno
    if isinstance(error, yaml.reader.ReaderError):
        number = error.character if isinstance(error.character, int) else ord(error.character)
        return f"no YAML: the character U+{number:04X} cannot stand in it", 0
    if isinstance(error, KeyError):
        return f"`{error.args[0]}` is missing", 0
    return "no YAML that vcrpy reads: a value in it is none, such as a date", 0


def _interaction(request: VcrRequest, response: Any) -> Interaction:
    if "status_code" in response:  # how older vcrpy wrote what httpx received
        response = {
            "status": {"code": response["status_code"], "message": response.get("reason", "")},
            "headers": response["headers"],
            "body": {"string": response["content"]},
        }
    status = response["status"]
    body = response["body"]["string"] if response.get("body") else b""
    headers = _pairs(response["headers"] or {})
    provenance = tuple(pair for pair in headers if pair[0].lower().startswith(PROVENANCE_PREFIX))
    answer = Answer(
        status=status["code"],
        reason=str(status["message"] or ""),
        headers=tuple(pair for pair in headers if pair not in provenance),
        body=_bytes(body),
        source=Source("cassette"),
    )
    authority = urlsplit(request.uri).netloc
    asked = _request(request)
    return Interaction(
        asked,
        answer,
        provenance,
        authority="" if authority == asked.host else authority,
        null_body=request.body is None,
    )


def _request(recorded: VcrRequest) -> Request:
    uri = urlsplit(recorded.uri)
    body = recorded.body
    if isinstance(body, Mapping):  # what vcrpy's stub of aiohttp keeps of a form
        body = urlencode([(name, _scalar(value)) for name, value in _flat(body)])
    elif hasattr(body, "read"):
        body = body.read()
    elif body is not None and not isinstance(body, (bytes, str)):
        body = b"".join(_bytes(part) for part in body)
    return Request(
        method=str(recorded.method).upper(),
        host=(uri.hostname or "").rstrip("."),
        target=(uri.path or "/") + (f"?{uri.query}" if uri.query else ""),
        headers=_pairs(recorded.headers),
        body=_bytes(body),
        scheme=uri.scheme,
    )


def _flat(mapping: Mapping[Any, Any]) -> list[tuple[str, Any]]:
    """The names and single values of a mapping whose values may be lists."""
    return [
        (_text(name), value)
        for name, values in mapping.items()
        for value in (values if isinstance(values, (list, tuple)) else [values])
    ]


def _scalar(value: Any) -> str | bytes:
    """A value of a form as its client would have sent it."""
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else value if isinstance(value, bytes) else str(value)


def _pairs(headers: Mapping[Any, Any]) -> Headers:
    """Header fields of every shape that vcrpy has written: values as a list, a string or bytes."""
    return tuple((name, _text(value)) for name, value in _flat(headers))


def _grouped(headers: Headers) -> dict[str, list[str]]:
    """Header fields by name as vcrpy keeps them; the first spelling of a name counts."""
    spelled: dict[str, str] = {}
    grouped: dict[str, list[str]] = {}
    for name, value in headers:
        grouped.setdefault(spelled.setdefault(name.lower(), name), []).append(value)
    return grouped


def _bytes(value: Any) -> bytes:
    if value is None:
        return b""
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else bytes(value)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _one_line(reason: str) -> str:
    return " ".join(reason.split())[:_LONGEST_REASON]


CONFLICT: Final = re.compile(r"^<{7} ", re.MULTILINE)
_ITEM: Final = re.compile(r"^- ", re.MULTILINE)
_JSON_ITEM: Final = re.compile(r'"request"\s*:\s*\{')


def read_foreign(path: Path) -> tuple[tuple[Interaction, ...], dict[str, Any]]:
    """Everything in a file of another layout, read by vcrpy.

    Raises:
        CassetteFormatError: vcrpy cannot read it either.
        OSError: It cannot be read.
    """
    data = read_whole(path)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        other = other_format(data, path)
        if other:
            raise CassetteFormatError(path, 1, other) from None
        line = data.count(b"\n", 0, error.start) + 1
        raise CassetteFormatError(path, line, f"byte {error.start} is not UTF-8") from None
    if not text.strip():
        return (), {}  # vcrpy takes an empty file for a cassette that does not exist yet
    serializer = jsonserializer if path.suffix == READ_SUFFIXES[2] else yamlserializer
    try:
        return _interactions(text, serializer)
    except InteractionError as error:
        other = other_format(data, path)
        if other:
            raise CassetteFormatError(path, 1, other) from None
        conflict = CONFLICT.search(text)
        if conflict:
            line = text.count("\n", 0, conflict.start()) + 1
            detail = f"it has merge conflict markers; `ringback cassettes merge {path}` keeps both sides"
            raise CassetteFormatError(path, line, detail) from None
        starts = item_starts(text)
        begun = 1
        if 0 < error.number <= len(starts):
            start = starts[error.number - 1]
            end = starts[error.number] if error.number < len(starts) else None
            begun = text.count("\n", 0, start) + slip_line(text[start:end], error.detail)
        detail = f"{error}; correct it there or take it out" if error.number else str(error)
        raise CassetteFormatError(path, error.line or begun, detail) from None


def slip_line(item: str, detail: str) -> int:
    """Return the line, from 1, of the field in a list item that `detail` begins with; 1 if there is none."""
    named = _FIELD.match(detail)
    if named is None:
        return 1
    try:
        node = yaml.compose(
            _TOP_LEVEL.split(item, maxsplit=1)[0], Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        )
    except yaml.YAMLError:
        return 1
    if not isinstance(node, yaml.SequenceNode) or len(node.value) != 1:
        return 1
    node, line = node.value[0], 1
    for name in named[1].split("."):
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        found = next(((key, value) for key, value in pairs if key.value == name), None)
        if found is None:
            break
        line, node = found[0].start_mark.line + 1, found[1]
    return line


def item_starts(text: str) -> list[int]:
    """Return the offsets of a list's items if it is written as vcrpy writes a cassette, else none.

    In JSON an item begins at its request.
    """
    if text.lstrip().startswith("{"):
        return [found.start() for found in _JSON_ITEM.finditer(text)]
    return [found.start() for found in _ITEM.finditer(text, max(text.find("interactions:"), 0))]


DOCUMENTED: Final = "documentation"


def recorded_source(source: Source) -> str:
    """Return the recorded `Ringback-Source` of an answer: `live`, or the mock upstream that gave it."""
    return f"{MOCK}; origin={source.origin}" if source.origin else source.kind


def origin_of(found: Interaction) -> str | None:
    """Return the URL of the mock upstream that gave a recorded answer, or None."""
    kind, *rest = [part.strip() for part in (found.provenance_value(FIELD_SOURCE) or "").split(";")]
    if kind != MOCK:
        return None
    return next((part[7:] for part in rest if part.startswith("origin=")), "") or "a mock upstream"


def source_of(name: str, number: int, found: Interaction) -> Source:
    """Build the `Source` of an answer from recording `number` (0-based) of the cassette `name`."""
    basis: Basis = "recorded"
    line = None
    source = found.provenance_value(FIELD_SOURCE) or ""
    kind, *rest = [part.strip() for part in source.split(";")]
    if kind == DOCUMENTED:
        basis = "documented"
        line = next((int(part[5:]) for part in rest if part.startswith("line=") and part[5:].isdigit()), None)
    return Source("cassette", f"{name}#{number + 1}", basis, line=line, origin=origin_of(found))
