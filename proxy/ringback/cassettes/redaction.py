"""Redaction: what must not reach the disk is taken out of an exchange, and put back when it is replayed.

Always: credentials, cookies, tokens and account SIDs, wherever they stand. On request (`--redact To,Body`):
the values of form fields, by pseudonyms. The same is done to a request before it is looked up, so that
redacted recordings match, and what was taken out of the caller's own request is put back into the answer that
the caller gets.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, quote_plus, unquote, urlencode

from ringback.cassettes import codings, matching, pseudonyms
from ringback.cassettes.covers import Cover, covers_of, substitute
from ringback.cassettes.patterns import (
    ACCOUNT_PLACEHOLDER,
    PATTERNS,
    REDACTED,
    SECRET_HEADER,
    is_secret_header,
    is_secret_name,
    scrub_patterns,
)
from ringback.cassettes.strings import rewrite_body
from ringback.contract.naming import plain_name
from ringback.exchange import Answer, basic_auth, header_value

if TYPE_CHECKING:
    from ringback.cassettes.matching import Fields, MatchKey
    from ringback.exchange import Headers, Request

REDACTION_VERSION: Final = 1  # stands in a cassette's metadata
# Replaying needs nothing else of a request, and who knows what a program puts into fields of its own.
KEPT_REQUEST_HEADERS: Final = frozenset(
    ("accept", "accept-charset", "accept-encoding", "accept-language", "content-type", "host", "user-agent")
)
_FRAMING: Final = frozenset(
    (
        "connection",
        "content-length",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
_BODILESS: Final = (204, 304)
_PLACEHOLDER_BYTES: Final = ACCOUNT_PLACEHOLDER.encode()
_FIELD_NAME: Final = re.compile(r"[!#-'*+.0-9A-Z^-z|~-]+")
_FIELD_VALUE: Final = re.compile(r"[\t -~\x80-\xff]*")
_SHORTEST_SECRET: Final = 8  # a proxy password of "x" cannot be searched for


@dataclass(frozen=True)
class Redaction:
    """What is taken out.

    Attributes:
        fields: The form fields whose values get pseudonyms; of names that are compared as equal, the first.
        key: The key of the pseudonyms; needed when there are `fields`.
        secrets: Values that are searched for besides the request's own credentials.
    """

    fields: tuple[str, ...] = ()
    key: bytes = field(default=b"", repr=False)
    secrets: frozenset[str] = field(default=frozenset(), repr=False)

    def __post_init__(self) -> None:
        first: dict[str, str] = {}
        for name in self.fields:
            first.setdefault(plain_name(name), name)
        object.__setattr__(self, "fields", tuple(first.values()))

    @cached_property
    def names(self) -> frozenset[str]:
        """The fields' names as they are compared."""
        return frozenset(plain_name(name) for name in self.fields)

    def scrub(self, request: Request) -> Scrubbed:
        """`request` without what must not reach the disk, and what is needed to put it back."""
        return Scrubbed(request, self)


class Scrubbed:
    """One exchange's redaction, made from its request.

    Attributes:
        key: What it is looked up by.
    """

    def __init__(self, request: Request, redaction: Redaction) -> None:
        self._redaction = redaction
        secrets, caller = told_by(request.headers)
        self._secrets = _secret_pattern(secrets | redaction.secrets if redaction.secrets else secrets)
        self._account = caller or _account_in(request.path)
        self._covers: list[Cover] = []
        self._back: dict[str, str] = {}  # a whole value as it is written, and as the caller sent it
        self._asked = request
        path, mark, query = request.target.partition("?")
        query_fields, form = matching.parse_fields(query), matching.form_fields(request)
        self._find_covers(query_fields)
        self._find_covers(form or ())
        path = self._scrub_path(path)
        query, query_fields = self._scrub_fields(query_fields, query)
        self._target = path + mark + query
        body = matching.decoded_body(request)
        if form is None:
            self._body = rewrite_body(body, self.text)
        else:
            text, form = self._scrub_fields(form, body.decode("utf-8", "surrogateescape"))
            self._body = text.encode("utf-8", "surrogateescape")
        self.key: MatchKey = matching.key_of(request, path, query_fields, form, self._body)

    @cached_property
    def request(self) -> Request:
        """The request as it may be written: body without content coding, few header fields."""
        headers = tuple(
            (name, self.text(value))
            for name, value in self._asked.headers
            if name.lower() in KEPT_REQUEST_HEADERS
        )
        return replace(self._asked, target=self._target, headers=headers, body=self._body)

    def text(self, text: str, name: str = "") -> str:
        """`text`, which stands under `name`, without secrets and with pseudonyms."""
        if text and name and is_secret_name(name):
            return REDACTED
        if self._covers:
            text = substitute(text, name, self._covers)
        if self._secrets is not None:
            text = self._secrets.sub(REDACTED, text)
        return scrub_patterns(text)

    def answer(self, answer: Answer) -> Answer:
        """`answer` as it may be written: body without content coding, no secrets, its length set right.

        Raises:
            CodingError: The content coding cannot be opened.
        """
        body = rewrite_body(codings.decode(answer.body, answer.header("Content-Encoding")), self.text)
        headers = tuple(
            (name, self.text(value))
            for name, value in answer.headers
            if name.lower() != "content-encoding" and not is_secret_header(name)
        )
        return framed(replace(answer, headers=headers, body=body))

    def restore(self, answer: Answer) -> Answer:
        """A recorded `answer` with the caller's own account and values in the places of the redacted ones.

        Args:
            answer: As `framed` leaves it.
        """
        body, headers = answer.body, answer.headers
        if self._covers or self._back:
            backward = [cover.reversed() for cover in self._covers]
            backward += [Cover(new, old, "") for new, old in self._back.items()]
            body = rewrite_body(body, lambda text, name: substitute(text, name, backward))
            headers = tuple((name, substitute(value, "", backward)) for name, value in headers)
        if self._account:
            body = body.replace(_PLACEHOLDER_BYTES, self._account.encode())
            if any(ACCOUNT_PLACEHOLDER in value for _, value in headers):
                headers = tuple(
                    [(name, value.replace(ACCOUNT_PLACEHOLDER, self._account)) for name, value in headers]
                )
        if headers is answer.headers and len(body) == len(answer.body):
            return Answer(answer.status, answer.reason, headers, body, answer.source)
        return framed(replace(answer, headers=headers, body=body))

    def _find_covers(self, fields: Fields) -> None:
        names = self._redaction.names
        for name, value in fields if names else ():
            if plain_name(name) in names:
                self._covers += covers_of(name, value, self._redaction.key)

    def _scrub_path(self, path: str) -> str:
        plain = unquote(path)
        scrubbed = self.text(plain)
        return path if scrubbed == plain else quote(scrubbed)

    def _scrub_fields(self, fields: Fields, raw: str) -> tuple[str, Fields]:
        """Both without what is taken out; where that is nothing, `raw` keeps the client's spelling."""
        scrubbed = tuple([self._scrub_field(name, value) for name, value in fields])
        if scrubbed == fields:
            return raw, fields
        return urlencode(scrubbed, errors="surrogateescape"), scrubbed

    def _scrub_field(self, name: str, value: str) -> tuple[str, str]:
        if plain_name(name) in self._redaction.names:
            return self.text(name), pseudonyms.stand_in(value, self._redaction.key)
        new = self.text(value, name)
        if new not in (value, REDACTED, ACCOUNT_PLACEHOLDER):
            self._back[new] = value
        return self.text(name), new


def framed(answer: Answer) -> Answer:
    """`answer` with the one Content-Length that fits its body, and no field of a former connection.

    Fields that no HTTP message can have, as a file that people edit may, are left out, and so is the body of
    an answer that has none by its status.
    """
    kept = tuple(
        (name, value)
        for name, value in answer.headers
        if name.lower() not in _FRAMING and _FIELD_NAME.fullmatch(name) and _FIELD_VALUE.fullmatch(value)
    )
    if answer.status in _BODILESS:
        return replace(answer, reason=header_value(answer.reason), headers=kept, body=b"")
    kept += (("Content-Length", str(len(answer.body))),)
    return replace(answer, reason=header_value(answer.reason), headers=kept)


@lru_cache(maxsize=256)  # a client sends the same fields every time
def told_by(headers: Headers) -> tuple[frozenset[str], str | None]:
    """The secrets that header fields carry, and the account whose credentials are among them."""
    found, caller = set(), None
    for name, value in headers:
        lower = name.lower()
        if lower in ("authorization", "proxy-authorization"):
            found.add(value.partition(" ")[2].strip())
            user, *rest = basic_auth(value, errors="replace") or ("",)
            found.update(rest)
            if lower == "authorization" and caller is None:
                caller = user
        elif lower == "cookie":
            found.update(part.partition("=")[2].strip() for part in value.split(";"))
        elif SECRET_HEADER.search(lower):
            found.add(value)
    secrets = frozenset(secret for secret in found if len(secret) >= _SHORTEST_SECRET)
    return secrets, caller if caller and PATTERNS["account SID"].fullmatch(caller) else None


def _account_in(path: str) -> str | None:
    """The account that `path` names, for a caller whose credentials name none."""
    sid = matching.account_of(path)
    return sid if sid and PATTERNS["account SID"].fullmatch(sid) else None


@lru_cache(maxsize=256)  # a client sends the same credentials every time
def _secret_pattern(secrets: frozenset[str]) -> re.Pattern[str] | None:
    """Finds each secret as it is, percent-encoded, and in Base64."""
    spellings = set()
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET:
            encoded = base64.b64encode(secret.encode("utf-8", "surrogateescape")).decode().rstrip("=")
            spellings |= {secret, quote(secret, safe=""), quote_plus(secret), encoded}
    if not spellings:
        return None
    return re.compile("|".join(re.escape(one) for one in sorted(spellings, key=len, reverse=True)))
