"""Matching: which requests are the same, so that one is answered with what was recorded for another.

Equal are method, host class, path without the account, and the body by its value: the fields of a query or a
form (the order counts among fields of one name only, such as several MediaUrl), a JSON document whatever its
spacing and the order of its members, the parts of a multipart body whatever its boundary, other bytes as they
are. Not looked at: account, credentials, user agent, header order, percent-encoding and content coding. So
what one language or SDK generation recorded replays for another.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from operator import itemgetter
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import parse_qsl, unquote

from ringback.bounds import LinearPattern
from ringback.cassettes import bodies
from ringback.cassettes.files import CodingError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ringback.exchange import Request

Fields: TypeAlias = tuple[tuple[str, str], ...]

NO_URI: Final = re.compile(r"[\x00-\x1f\x7f]")
ACCOUNT_PLACEHOLDER: Final = "AC" + 32 * "0"
MATCHING_VERSION: Final = 2  # stands in a cassette's metadata: another version's keys are made again
FORM_TYPE: Final = "application/x-www-form-urlencoded"
API_HOST: Final = "api.twilio.com"
_API: Final = re.compile(r"api(?:\.[a-z0-9-]+){0,2}\.twilio\.com")  # also of an edge and a region
_ACCOUNT: Final = re.compile(r"(?<=/Accounts/)[^/]+?(?=\.[a-z]+$|/|$)")
_ABSENT: Final = "(absent)"
_IGNORED: Final = "(ignored)"
_MOST_COMPARED: Final = 200  # fields of a form or a query that likeness looks at
_SHOWN: Final = 200  # characters of a value, and values of a field, that a difference shows
_LONGEST_DOCUMENT: Final = 4 * 1024 * 1024  # bytes of JSON that are compared by value
_MOST_PARTS: Final = 1000  # of a multipart body
_PART: Final = re.compile(rb'\b(name|filename)="([^"]{0,500})"')


class MatchIgnoreError(ValueError):
    """A rule of `--match-ignore` that cannot be read; the text says why."""


@dataclass(frozen=True)
class MatchIgnore:
    """Fields, and parts of values, that do not count when requests are compared.

    A rule is `FIELD`, or `FIELD=PATTERN` for the parts of the field's values that the regular expression
    finds, such as one-time codes: `Body=[0-9]{6}`. Fields are those of queries and forms, and top-level
    members of JSON documents.

    Attributes:
        rules: The rules as the user wrote them.
    """

    rules: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for rule in self.rules:
            name, equals, pattern = rule.partition("=")
            if not name.strip() or (equals and not pattern):
                raise MatchIgnoreError(f"{rule!r} is no rule: write FIELD or FIELD=PATTERN")
            try:
                LinearPattern(pattern)
            except ValueError as error:
                raise MatchIgnoreError(f"{pattern!r} is no regular expression: {error}") from None

    @classmethod
    def from_metadata(cls, value: object) -> MatchIgnore:
        """Make the rules of a cassette's metadata; what is no rule there is left out."""
        found: list[str] = []
        for rule in value if isinstance(value, list) else []:
            with suppress(MatchIgnoreError):
                if isinstance(rule, str):
                    found += cls((rule,)).rules
        return cls(tuple(found))

    @classmethod
    def parse(cls, texts: Iterable[str]) -> MatchIgnore:
        """Make the rules that options give: names may share a text, with commas; a pattern has its own.

        Raises:
            MatchIgnoreError: A rule cannot be read.
        """
        rules = [rule for text in texts for rule in ([text] if "=" in text else text.split(","))]
        return cls(tuple(rule.strip() for rule in rules))

    def __or__(self, other: MatchIgnore) -> MatchIgnore:
        """Join two sets of rules."""
        return MatchIgnore(tuple(dict.fromkeys((*self.rules, *other.rules))))

    @cached_property
    def _patterns(self) -> dict[str, LinearPattern | None]:
        whole: dict[str, LinearPattern | None] = {}
        parts: dict[str, list[str]] = {}
        for rule in self.rules:
            name, _, pattern = rule.partition("=")
            if pattern:
                parts.setdefault(name.strip(), []).append(f"(?:{pattern})")
            else:
                whole[name.strip()] = None
        return {name: LinearPattern("|".join(found)) for name, found in parts.items()} | whole

    def fields(self, fields: Fields) -> Fields:
        """Return `fields` without what does not count."""
        kept = []
        for name, value in fields:
            if name not in self._patterns:
                kept.append((name, value))
            elif (pattern := self._patterns[name]) is not None:
                kept.append((name, pattern.sub(_IGNORED, value)))
        return tuple(kept)

    def document(self, text: str) -> str:
        """Return the canonical JSON document `text` without the top-level members that do not count."""
        data = json.loads(text)
        if not isinstance(data, dict) or not self._patterns.keys() & data.keys():
            return text
        for name, pattern in self._patterns.items():
            if pattern is None:
                data.pop(name, None)
            elif isinstance(data.get(name), str):
                data[name] = pattern.sub(_IGNORED, data[name])
        return _canonical(data)


@dataclass(frozen=True, eq=False)
class MatchKey:
    """The parts of a request that count in matching; keys with one digest are equal.

    Attributes:
        method: Upper case.
        host: The host class: every edge and region of the API counts as `api.twilio.com`.
        path: Decoded, with `{account}` in place of the account.
        query: The query's fields in order.
        form: The form's fields in order; None for a body that is no form.
        body: The digest of a body that is no form, else empty.
        document: A JSON body in canonical spelling, else empty; `body` is its digest.
    """

    method: str
    host: str
    path: str
    query: Fields
    form: Fields | None
    body: str = ""
    document: str = ""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MatchKey) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def without(self, ignored: MatchIgnore) -> MatchKey:
        """Return the key without what `ignored` says does not count."""
        if not ignored.rules:
            return self
        query = ignored.fields(self.query)
        if self.document:
            document = ignored.document(self.document)
            return replace(self, query=query, document=document, body=_digest(document.encode()))
        return replace(self, query=query, form=None if self.form is None else ignored.fields(self.form))

    @cached_property
    def digest(self) -> str:
        """32 hex digits that stand for this key on disk."""
        query = _ordered(self.query)
        form = None if self.form is None else _ordered(self.form)
        parts = [self.method, self.host, self.path, query, form, self.body]
        text = json.dumps(parts, separators=(",", ":"))
        return blake2b(text.encode(), digest_size=16).hexdigest()

    @property
    def label(self) -> str:
        """The request in a few words, for people."""
        fields = ", ".join(f"{name}={value}" for name, value in (*self.query, *(self.form or ())))
        return f"{self.method} {self.path}" + (f" ({fields})" if fields else "")


@dataclass(frozen=True, slots=True)
class Difference:
    """One field in which two keys differ.

    Attributes:
        field: What differs, such as `To`.
        asked: What the request has.
        recorded: What the recording has.
    """

    field: str
    asked: str
    recorded: str


def plain_key(request: Request) -> MatchKey:
    """The key of a request that is redacted already."""
    path, _, query = request.target.partition("?")
    form = form_fields(request)
    body = b"" if form is not None else decoded_body(request)
    return key_of(request, path, parse_fields(query), form, body)


def key_of(request: Request, path: str, query: Fields, form: Fields | None, body: bytes) -> MatchKey:
    """The key of a request whose parts are redacted and taken apart already.

    Args:
        request: Its method and host.
        path: Its path, percent-encoded.
        query: The fields of its query.
        form: The fields of its form, None for a body that is no form.
        body: Its body without content coding.
    """
    document = ""
    if form is None:
        kind = (request.header("Content-Type") or "").lower()
        if "json" in kind:
            document = canonical_json(body)
            body = document.encode() if document else body
        elif kind.startswith("multipart/"):
            body = _parts_of(body)
    return MatchKey(
        method=request.method.upper(),
        host=host_class(request.host),
        path=_ACCOUNT.sub("{account}", unquote(path)),
        query=query,
        form=form,
        body="" if form is not None else _digest(body),
        document=document,
    )


def _digest(body: bytes) -> str:
    return blake2b(body, digest_size=16).hexdigest()


def _ordered(fields: Fields) -> list[tuple[str, str]]:
    """Sort by name alone: fields of one name keep their order."""
    return sorted(fields, key=itemgetter(0))


def canonical_json(body: bytes) -> str:
    """Return the JSON document `body` in one spelling, empty where it is none or is too large to be read."""
    if len(body) > _LONGEST_DOCUMENT:
        return ""
    try:
        text = body.decode()
        return _canonical(json.loads(text))
    except (ValueError, RecursionError):
        return ""


def _canonical(data: object) -> str:
    return json.dumps(data, sort_keys=True, separators=(",", ":"))


def _parts_of(body: bytes) -> bytes:
    """Return the parts of a multipart `body`, sorted by name, in a form that has no boundary in it.

    The boundary is read from the first line, because redaction may have changed it in the header field. A
    body that does not begin with a boundary is returned as it is.
    """
    boundary, newline, _ = body.partition(b"\r\n")
    if not newline or not boundary.startswith(b"--") or len(boundary) > 100:
        return body
    pieces = (b"\r\n" + body).split(b"\r\n" + boundary)[1:]
    if len(pieces) > _MOST_PARTS or not pieces or not pieces[-1].startswith(b"--"):
        return body
    parts = []
    for piece in pieces[:-1]:
        head, _, content = piece.partition(b"\r\n\r\n")
        found = {name: value.decode("latin-1") for name, value in _PART.findall(head[:2000])}
        parts.append((found.get(b"name", ""), found.get(b"filename"), _digest(content)))
    return json.dumps(sorted(parts, key=itemgetter(0))).encode()


def host_class(host: str) -> str:
    """`host`, or `api.twilio.com` for every edge and region of it."""
    return API_HOST if _API.fullmatch(host) else host


def account_of(path: str) -> str | None:
    """The account that `path` names, or None."""
    found = _ACCOUNT.search(path)
    return found[0] if found else None


def decoded_body(request: Request) -> bytes:
    """The body without content coding; as it is where the coding cannot be opened."""
    try:
        return bodies.decode(request.body, request.header("Content-Encoding"))
    except CodingError:
        return request.body


def form_fields(request: Request) -> Fields | None:
    """The fields of the form in order, or None for a body that is no form.

    A missing Content-Type counts as a form: hand-written clients often leave it out.
    """
    if not request.body:
        return ()
    given = request.header("Content-Type") or FORM_TYPE
    if given != FORM_TYPE and given.partition(";")[0].strip().lower() != FORM_TYPE:
        return None
    return parse_fields(decoded_body(request).decode("utf-8", "surrogateescape"))


def parse_fields(text: str) -> Fields:
    """The fields of a urlencoded `text`: order, repeats, blanks and bytes that are no UTF-8 are kept."""
    if not text:
        return ()
    return tuple(parse_qsl(text, keep_blank_values=True, errors="surrogateescape"))


def differences(asked: MatchKey, recorded: MatchKey) -> tuple[Difference, ...]:
    """List the differences between `asked` and `recorded`, field by field."""
    found = [
        Difference(name, getattr(asked, name), getattr(recorded, name))
        for name in ("method", "host", "path")
        if getattr(asked, name) != getattr(recorded, name)
    ]
    found += _field_differences("query ", asked.query, recorded.query)
    if asked.form is None or recorded.form is None:
        if (asked.form, asked.body) != (recorded.form, recorded.body):
            found += _document_differences(asked, recorded) or [
                Difference("body", _body_kind(asked), _body_kind(recorded))
            ]
    else:
        found += _field_differences("", asked.form, recorded.form)
    return tuple(found)


def likeness(asked: MatchKey, recorded: MatchKey) -> float:
    """Return the similarity of two keys, 0 to 1: the path weighs most, then every field."""
    mine, theirs = (
        {*(one.form or ())[:_MOST_COMPARED], *one.query[:_MOST_COMPARED]} for one in (asked, recorded)
    )
    fields = len(mine & theirs) / len(mine | theirs) if mine | theirs else float(asked.body == recorded.body)
    names = {name for name, _ in mine}, {name for name, _ in theirs}
    named = len(names[0] & names[1]) / len(names[0] | names[1]) if names[0] | names[1] else fields
    weighed = 5 * (asked.path == recorded.path) + (asked.method == recorded.method) + 3 * fields + named
    return weighed / 10


def _body_kind(one: MatchKey) -> str:
    if one.form is not None:
        return f"a form of {len(one.form)} fields"
    return f"other bytes, digest {one.body[:12]}"


def _document_differences(asked: MatchKey, recorded: MatchKey) -> list[Difference]:
    """Compare two JSON objects member by member; an empty list where one of them is none."""
    if not asked.document or not recorded.document:
        return []
    documents = json.loads(asked.document), json.loads(recorded.document)
    if not all(isinstance(one, dict) for one in documents):
        return []
    mine, theirs = (
        tuple((name, value if isinstance(value, str) else _canonical(value)) for name, value in one.items())
        for one in documents
    )
    return _field_differences("", mine, theirs)


def _field_differences(prefix: str, asked: Fields, recorded: Fields) -> list[Difference]:
    found = []
    values: dict[str, tuple[list[str], list[str]]] = {}
    for place, fields in enumerate((asked, recorded)):
        for name, value in fields:
            values.setdefault(name, ([], []))[place].append(value)
    for name, (mine, theirs) in values.items():
        if mine != theirs:
            found.append(Difference(prefix + name, _values(mine), _values(theirs)))
    return found


def _values(values: list[str]) -> str:
    if not values:
        return _ABSENT
    shown = ", ".join(json.dumps(value[:_SHOWN], ensure_ascii=False) for value in values[:_SHOWN])
    return shown if len(values) <= _SHOWN else f"{shown}, ..."
