"""Recordings of other tools: which format a file has, its interactions as plain values, and the way back.

Read are Ruby VCR, betamax, go-vcr, HAR, nock, PHP-VCR, WireMock, Hoverfly, keploy and vcrpy before 1.0; the
flow files of mitmproxy are recognised here and read by mitmproxy's own reader. YAML is read without types and
without tags that make objects; what is too large, too deep or multiplied by aliases is refused.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import yaml

from ringback.cassettes.format_readers import (
    FORMATS,
    LARGEST,
    READ_ERRORS,
    Format,
    LeftOutError,
    Parts,
    Pattern,
    as_bytes,
    as_pairs,
    as_text,
    cut,
)
from ringback.cassettes.matching import ACCOUNT_PLACEHOLDER, FORM_TYPE, NO_URI, parse_fields
from ringback.contract.yaml_files import too_deep
from ringback.exchange import Answer, Request, Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from ringback.exchange import Headers

FLOWS: Final = "mitmproxy flow file"
_FLOW_FILE: Final = re.compile(rb"\d{1,9}:\d{1,9}:")  # two nested strings of netstrings
_EXPANDED: Final = 16  # characters that aliases may make of one character of a file
_EXPANDED_LEAST: Final = 1024 * 1024
_MOST_VALUES: Final = 1_000_000  # of a YAML file: each takes half a kilobyte of memory, or more
_NODE: Final = 8  # characters that each value counts at least
_MOST_REASONS: Final = 200
_TWILIO: Final = ("twilio.com", ".twilio.com")


class ForeignFileError(ValueError):
    """The file is too large or too deep, or no file of a known format; the text says why."""


@dataclass(frozen=True, slots=True)
class ForeignInteraction:
    """An interaction that another tool recorded.

    Attributes:
        number: Its place in the file, from 1.
        request: The request.
        answer: The answer.
        recorded: Its time as `2026-07-05T09:00:00Z`; empty where the file has none.
        changes: The parts that had to be assumed.
    """

    number: int
    request: Request
    answer: Answer
    recorded: str = ""
    changes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ForeignFile:
    """A file of another tool.

    Attributes:
        title: The format's name.
        stubs: Whether such files are usually written by people, so that they prove nothing about Twilio.
        total: The number of its interactions.
        taken: Those of Twilio's hosts.
        left: The number and the reason of each of the others.
    """

    title: str
    stubs: bool
    total: int
    taken: tuple[ForeignInteraction, ...]
    left: tuple[tuple[int, str], ...]


# -- the whole file


def recognise_flows(data: bytes) -> bool:
    """Report whether a file that begins with `data` is one of mitmproxy's flow files."""
    return _FLOW_FILE.match(data) is not None


def recognise(data: bytes) -> str:
    """Return the name of the format that a file with `data` has; empty for none that is known."""
    if recognise_flows(data):
        return FLOWS
    try:
        found = _find(_parse(data))
    except ForeignFileError:
        return ""
    return found[0].title if found else ""


def read(data: bytes, path: Path) -> ForeignFile:
    """Read the interactions in a file of another tool.

    Args:
        data: The file; not one of mitmproxy's.
        path: Its path, beside which WireMock's bodies lie.

    Raises:
        ForeignFileError: It cannot be read, or has no known format.
    """
    found = _find(_parse(data))
    if found is None:
        raise ForeignFileError("it is no recording of a known format")
    kind, items = found
    return collect(
        kind.title, ((number, _Reader(kind, item, path)) for number, item in enumerate(items, 1)), kind.stubs
    )


@dataclass(frozen=True)
class _Reader:
    kind: Format
    item: Any
    path: Path

    def __call__(self) -> ForeignInteraction:
        return _interaction(self.kind.read(self.item, self.path))


def collect(
    title: str, readers: Iterable[tuple[int, Callable[[], ForeignInteraction]]], stubs: bool = False
) -> ForeignFile:
    """Read each interaction; one that cannot be read, or is of another host, is left out with its reason."""
    taken: list[ForeignInteraction] = []
    left: list[tuple[int, str]] = []
    total = 0
    for number, reader in readers:
        total += 1
        try:
            one = reader()
        except LeftOutError as error:
            left.append((number, str(error)))
        except RecursionError:
            left.append((number, "it is nested too deeply"))
        except KeyError as error:
            left.append((number, f"`{cut(error.args[0])}` is missing"))
        except READ_ERRORS:
            left.append((number, f"it has not the form of a {title} interaction"))
        else:
            host = one.request.host
            if host == _TWILIO[0] or host.endswith(_TWILIO[1]):
                taken.append(replace(one, number=number))
            else:
                left.append((number, f"another host: {cut(host)}"))
    return ForeignFile(title, stubs, total, tuple(taken), tuple(left[:_MOST_REASONS]))


_NULL_ALONE: Final = {
    first: kept
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    if (kept := [one for one in resolvers if one[0].endswith(":null")])
}


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # libyaml may be absent
    """A loader for which everything is text, null, a list or a mapping; merge keys are ordinary keys."""

    yaml_implicit_resolvers = _NULL_ALONE


def _construct(loader: Any, suffix: str, node: yaml.Node) -> Any:
    """Make the value of a node with a tag that only another language knows."""
    if isinstance(node, yaml.ScalarNode):
        text = loader.construct_scalar(node)
        if suffix.endswith("regexp"):
            return Pattern(text)
        if suffix.endswith("binary"):
            return base64.b64decode(text, validate=False)
        return text
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_mapping(node, deep=True)


_Loader.add_multi_constructor("", _construct)
for _type in ("int", "float", "bool", "timestamp"):  # given by an explicit tag
    _Loader.add_constructor(f"tag:yaml.org,2002:{_type}", lambda loader, node: loader.construct_scalar(node))


def _parse(data: bytes) -> Any:
    if len(data) > LARGEST:
        raise ForeignFileError(f"it has {len(data)} bytes, at most {LARGEST} are read")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ForeignFileError(f"byte {error.start} is not UTF-8") from None
    is_json = text.lstrip()[:1] in ("{", "[")
    if not is_json and text.count("\n") + text.count(",") > _MOST_VALUES:
        raise ForeignFileError(f"it has more than {_MOST_VALUES} lines and commas, too many for YAML")
    if too_deep(text):
        raise ForeignFileError("it is nested too deeply")
    try:
        if is_json:
            return json.loads(text)
        documents = list(yaml.load_all(text, Loader=_Loader))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        erb = "; it has ERB (<%= … %>): render it with Ruby first" if _has_erb(text) else ""
        raise ForeignFileError(f"line {line} is no YAML: {error.problem or 'unreadable'}{erb}") from None
    except json.JSONDecodeError as error:
        raise ForeignFileError(f"line {error.lineno} is no JSON: {error.msg}") from None
    except (yaml.YAMLError, RecursionError, *READ_ERRORS):
        raise ForeignFileError("it is neither YAML nor JSON") from None
    found = documents[0] if len(documents) == 1 else documents
    _weigh(found, _EXPANDED * len(text) + _EXPANDED_LEAST)
    return found


def _weigh(data: Any, most: int) -> None:
    """Refuse data in which aliases stand for far more than the file has."""
    waiting = [data]
    while waiting:
        one = waiting.pop()
        if isinstance(one, Mapping):
            waiting += [*one.keys(), *one.values()]
        elif isinstance(one, list):
            waiting += one
        most -= _NODE + (len(one) if isinstance(one, (str, bytes)) else 0)
        if most < 0:
            raise ForeignFileError("its YAML aliases stand for far more text than the file has")


def _find(data: Any) -> tuple[Format, list[Any]] | None:
    for kind in FORMATS:
        with suppress(*READ_ERRORS):
            items = kind.items(data)
            if isinstance(items, list):
                return kind, items
    return None


# -- one interaction


def _interaction(parts: Parts) -> ForeignInteraction:
    asked = as_pairs(parts.asked_headers)
    body = as_bytes(parts.asked_body)
    changes = list(parts.changes)
    url = parts.url
    if isinstance(url, Pattern):
        url = _url_of(url)
        changes.append("its URI is a regular expression; taken is the shortest URL that it is for")
    if url is None or isinstance(parts.asked_body, Pattern):
        raise LeftOutError("its URI or body is a regular expression, which is no recorded request")
    for one in (str(url), body.decode("utf-8", "replace"), *(value for _, value in asked)):
        if _has_erb(one):
            raise LeftOutError("it has ERB (<%= … %>), which Ruby has to render first")
    answered = as_bytes(parts.body)
    if b"<%" in answered and _has_erb(answered.decode("utf-8", "replace")):
        changes.append("the answer's body has ERB (<%= … %>), kept as it stands")
    uri = urlsplit(str(url))
    if uri.scheme not in ("http", "https") or not uri.hostname or NO_URI.search(str(url)):
        raise LeftOutError(f"its URL is none of http or https: {cut(url)}")
    request = Request(
        str(parts.method).lstrip(":").upper(),
        uri.hostname.rstrip("."),
        (uri.path or "/") + (f"?{uri.query}" if uri.query else ""),
        asked,
        body,
        uri.scheme,
    )
    status = int(parts.status)
    if not 200 <= status <= 599:
        raise LeftOutError("it has no answer" if status == 0 else f"its status is {status}")
    answer = Answer(status, as_text(parts.reason), as_pairs(parts.headers), answered, Source("cassette"))
    return ForeignInteraction(0, request, answer, _time(parts.recorded), tuple(changes))


# A regular expression as Ruby writes it, without its delimiters and anchors; what stands for any account in
# it; and one that says a text, in which only an escape means another character than it says.
_RUBY_PATTERN = re.compile(r"/?(?:\^|\\A)?(.*?)(?:\$|\\[zZ])?(?:/[imxounse]*)?", re.DOTALL)
_ANY_ACCOUNT = re.compile(r"(?<=/Accounts/)\(?(?:\.|\[\^/\]|\\w|\\S)[*+]\??\)?(?=[/.\\])")
_SAYS_A_TEXT = re.compile(r"(?:\\[^\w\s]|[^\\*+?()\[\]{}|^$])*")


def _url_of(pattern: Pattern) -> str | None:
    """Return the shortest URL that `pattern` is for if nothing but the account is left open in it."""
    found = _RUBY_PATTERN.fullmatch(pattern.text.strip())
    text = found[1].replace("\\/", "/") if found else ""
    text = _ANY_ACCOUNT.sub(ACCOUNT_PLACEHOLDER, text)
    if not text.startswith(("https:", "http:")) or not _SAYS_A_TEXT.fullmatch(text):
        return None
    return re.sub(r"\\(.)", r"\1", text)


def _has_erb(text: str) -> bool:
    """Report whether `text` has a tag of ERB, in linear time."""
    begin = text.find("<%")
    return begin >= 0 and text.find("%>", begin) >= 0


def _time(value: Any) -> str:
    text = as_text(value)
    when = None
    with suppress(ValueError):
        when = datetime.fromisoformat(text)
    if when is None:
        with suppress(*READ_ERRORS):
            when = parsedate_to_datetime(text)
    if when is None and text.isdigit() and len(text) <= 10:
        when = datetime.fromtimestamp(int(text), UTC)
    if when is None:
        return ""
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    with suppress(OverflowError):
        return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return ""


# -- the other way


def to_har(found: Iterable[tuple[Request, Answer, str]], version: str) -> str:
    """Return exchanges, each with its time or an empty text, as a HAR 1.2 document.

    Args:
        found: Request, answer (its body without content coding) and time of each.
        version: The version of Ringback.
    """
    entries = [_har_entry(*one) for one in found]
    log = {"version": "1.2", "creator": {"name": "Ringback", "version": version}, "entries": entries}
    return json.dumps({"log": log}, indent=2, ensure_ascii=False) + "\n"


def _har_entry(request: Request, answer: Answer, recorded: str) -> dict[str, Any]:
    asked: dict[str, Any] = {
        "method": request.method,
        "url": f"{request.scheme}://{request.host}{request.target}",
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": _named(request.headers),
        "queryString": _named(parse_fields(request.query)),
        "headersSize": -1,
        "bodySize": len(request.body),
    }
    if request.body:
        kind = request.header("Content-Type") or FORM_TYPE
        asked["postData"] = {"mimeType": kind, "text": request.body.decode("utf-8", "replace"), "params": []}
    content: dict[str, Any] = {"size": len(answer.body), "mimeType": answer.header("Content-Type") or ""}
    try:
        content["text"] = answer.body.decode()
    except UnicodeDecodeError:
        content |= {"text": base64.b64encode(answer.body).decode(), "encoding": "base64"}
    answered = {
        "status": answer.status,
        "statusText": answer.reason,
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": _named(answer.headers),
        "content": content,
        "redirectURL": answer.header("Location") or "",
        "headersSize": -1,
        "bodySize": len(answer.body),
    }
    return {
        "startedDateTime": recorded or "1970-01-01T00:00:00Z",
        "time": 0,
        "request": asked,
        "response": answered,
        "cache": {},
        "timings": {"send": 0, "wait": 0, "receive": 0},
    }


def _named(fields: Headers) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in fields]


def to_ruby_vcr(found: Iterable[tuple[Request, Answer, str]], version: str) -> str:
    """Return exchanges as a cassette of Ruby's VCR; the arguments are those of `to_har`."""
    items = []
    for request, answer, recorded in found:
        when = datetime.fromisoformat(recorded) if recorded else datetime.fromtimestamp(0, UTC)
        status = {"code": answer.status, "message": answer.reason}
        items.append(
            {
                "request": {
                    "method": request.method.lower(),
                    "uri": f"{request.scheme}://{request.host}{request.target}",
                    "body": _ruby_text(request.body),
                    "headers": _by_name(request.headers),
                },
                "response": {
                    "status": status,
                    "headers": _by_name(answer.headers),
                    "body": _ruby_text(answer.body),
                },
                "recorded_at": format_datetime(when, usegmt=True),
            }
        )
    data = {"http_interactions": items, "recorded_with": f"Ringback {version}"}
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, explicit_start=True)


def _ruby_text(body: bytes) -> dict[str, Any]:
    try:
        return {"encoding": "UTF-8", "string": body.decode()}
    except UnicodeDecodeError:
        return {"encoding": "ASCII-8BIT", "base64_string": base64.b64encode(body).decode()}


def _by_name(headers: Headers) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for name, value in headers:
        grouped.setdefault(name, []).append(value)
    return grouped
