"""Which requests are the same: what a recording is looked up by.

Equal are method, host class, path without the account, and the query and form as parsed fields in order, with
repeats and blanks. Not looked at: account, credentials, user agent, header order, percent-encoding and
content coding, so that what Node recorded replays for Java.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import parse_qsl, unquote

from ringback.cassettes import bodies
from ringback.cassettes.errors import CodingError

if TYPE_CHECKING:
    from ringback.cassettes.redaction import Redaction
    from ringback.exchange import Request

Fields: TypeAlias = tuple[tuple[str, str], ...]

MATCHING_VERSION: Final = 1  # stands in a cassette's metadata: another version's keys are made afresh
FORM_TYPE: Final = "application/x-www-form-urlencoded"
API_HOST: Final = "api.twilio.com"
_API: Final = re.compile(r"api(?:\.[a-z0-9-]+){0,2}\.twilio\.com")  # also of an edge and a region
_ACCOUNT: Final = re.compile(r"(?<=/Accounts/)[^/]+?(?=\.[a-z]+$|/|$)")
_ABSENT: Final = "(absent)"


@dataclass(frozen=True)
class MatchKey:
    """What two equal requests have in common.

    Attributes:
        method: Upper case.
        host: The host class: every edge and region of the API counts as `api.twilio.com`.
        path: Decoded, with `{account}` in place of the account.
        query: The query's fields in order.
        form: The form's fields in order; None for a body that is no form.
        body: The digest of a body that is no form, else empty.
    """

    method: str
    host: str
    path: str
    query: Fields
    form: Fields | None
    body: str = ""

    @cached_property
    def digest(self) -> str:
        """32 hex digits that stand for this key on disk."""
        parts = [self.method, self.host, self.path, self.query, self.form, self.body]
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


def key(request: Request, redaction: Redaction) -> MatchKey:
    """The key of `request` as a cassette with `redaction` would have it."""
    return redaction.redact(request).key


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
    return MatchKey(
        method=request.method.upper(),
        host=host_class(request.host),
        path=_ACCOUNT.sub("{account}", unquote(path)),
        query=query,
        form=form,
        body="" if form is not None else blake2b(body, digest_size=16).hexdigest(),
    )


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
    """Where `asked` and `recorded` part ways, field by field."""
    found = [
        Difference(name, getattr(asked, name), getattr(recorded, name))
        for name in ("method", "host", "path")
        if getattr(asked, name) != getattr(recorded, name)
    ]
    found += _field_differences("query ", asked.query, recorded.query)
    if asked.form is None or recorded.form is None:
        if (asked.form, asked.body) != (recorded.form, recorded.body):
            found.append(Difference("body", _body_kind(asked), _body_kind(recorded)))
    else:
        found += _field_differences("", asked.form, recorded.form)
    return tuple(found)


def likeness(asked: MatchKey, recorded: MatchKey) -> float:
    """How near two keys are, between 0 and 1: the path weighs most, then every field."""
    mine, theirs = set(asked.form or ()) | set(asked.query), set(recorded.form or ()) | set(recorded.query)
    fields = len(mine & theirs) / len(mine | theirs) if mine | theirs else float(asked.body == recorded.body)
    names = {name for name, _ in mine}, {name for name, _ in theirs}
    named = len(names[0] & names[1]) / len(names[0] | names[1]) if names[0] | names[1] else fields
    weighed = 5 * (asked.path == recorded.path) + (asked.method == recorded.method) + 3 * fields + named
    return weighed / 10


def _body_kind(one: MatchKey) -> str:
    if one.form is not None:
        return f"a form of {len(one.form)} fields"
    return f"other bytes, digest {one.body[:12]}"


def _field_differences(prefix: str, asked: Fields, recorded: Fields) -> list[Difference]:
    found = []
    for name in dict.fromkeys(name for name, _ in (*asked, *recorded)):
        mine = [value for key, value in asked if key == name]
        theirs = [value for key, value in recorded if key == name]
        if mine != theirs:
            found.append(Difference(prefix + name, _values(mine), _values(theirs)))
    if not found and asked != recorded:
        order = [", ".join(name for name, _ in fields) for fields in (asked, recorded)]
        found.append(Difference(prefix + "order of fields", *order))
    return found


def _values(values: list[str]) -> str:
    return ", ".join(json.dumps(value, ensure_ascii=False) for value in values) if values else _ABSENT
