"""The two halves of an HTTP exchange, as plain values.

Every part of the project speaks in these: the proxy side makes a `Request` of what a client sent, the
contract and the cassettes answer it with an `Answer`. Nothing here knows a socket or mitmproxy.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass, field
from functools import lru_cache, wraps
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypeVar
from urllib.parse import quote, quote_plus

import msgspec
from msgspec.structs import force_setattr, replace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Generator

    Result = TypeVar("Result")

Headers: TypeAlias = tuple[tuple[str, str], ...]
Basis: TypeAlias = Literal["documented", "recorded", "assumed", "user"]
Mode: TypeAlias = Literal["offline", "auto", "online"]
SourceKind: TypeAlias = Literal["contract", "cassette", "live", "gate"]

LARGE: Final = 16 * 1024  # bytes of a message; work on more may keep the event loop for too long
LARGEST_ERROR: Final = 64 * 1024  # bytes; Twilio's errors have some hundred
PROVENANCE_PREFIX: Final = "ringback-"
MOCK: Final = "mock"  # the `Ringback-Source` of a mock upstream's answers, and of recordings of them
_XML_CODE: Final = re.compile(rb"<Code>[ \t\r\n]{0,16}([0-9]{4,6})[ \t\r\n]{0,16}</Code>")
_DIGITS: Final = re.compile(r"[0-9]{4,6}")
CACHED_TEXTS: Final = 4096  # results kept of each function
CACHED_LENGTH: Final = 128  # characters; the results of longer texts are not kept
_LONGEST_VALUE: Final = 400  # a header that quotes the request must not grow with it


class Request(msgspec.Struct, frozen=True, eq=False, gc=False):
    """One request, as the client sent it.

    A `Struct`, because it is made for each request: a frozen dataclass takes five times as long.

    Attributes:
        method: The method, upper case.
        host: The host that the gate agreed upon: lower case, without port and trailing dot.
        target: Path and query, percent-encoding untouched.
        headers: All header fields in order, names as sent.
        body: The bytes after transfer coding, before content coding is removed.
        scheme: `https` or `http`.
    """

    method: str
    host: str
    target: str
    headers: Headers = ()
    body: bytes = b""
    scheme: str = "https"
    _known: _HeaderIndex | None = None

    def __eq__(self, other: object) -> bool:
        """Compare what the client sent."""
        return isinstance(other, Request) and self._sent() == other._sent()

    def __hash__(self) -> int:
        """Hash what the client sent."""
        return hash(self._sent())

    def _sent(self) -> tuple[object, ...]:
        return self.method, self.host, self.target, self.headers, self.body, self.scheme

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """The part of the target after its first question mark."""
        return self.target.partition("?")[2]

    @property
    def header_size(self) -> int:
        """Bytes of all header fields' names and values, about."""
        known = self._known
        return (known if known and known.headers is self.headers else self._look()).size

    def header(self, name: str) -> str | None:
        """The first value of the header field `name` (any case), or None."""
        known = self._known
        return (known if known and known.headers is self.headers else self._look()).fields.get(name.lower())

    def with_body(self, body: bytes) -> Request:
        """The same request with another body."""
        known = self._known or self._look()
        return Request(self.method, self.host, self.target, self.headers, body, self.scheme, known)

    def _look(self) -> _HeaderIndex:
        made = _HeaderIndex(
            self.headers,
            {key.lower(): value for key, value in reversed(self.headers)},
            sum([len(key) + len(value) for key, value in self.headers]),
        )
        force_setattr(self, "_known", made)
        return made


class _HeaderIndex(msgspec.Struct, frozen=True, eq=False):
    """Header fields that are needed several times in every request.

    Attributes:
        headers: The fields that are meant: a copy of a request with other fields (`replace`) has this too.
        fields: The first value of each, by its name in lower case.
        size: Bytes of all names and values, about.
    """

    headers: Headers
    fields: dict[str, str]
    size: int


@dataclass(frozen=True, slots=True)
class Source:
    """Provenance of an answer; becomes the `Ringback-…` response headers.

    Attributes:
        kind: Which part answered.
        rule: The contract's row or rule, the cassette's interaction, or the gate's rule.
        basis: How well the outcome is known; None for what the live API itself said.
        reason: One line that a user can act on, for refusals.
        line: The line of the documentation page, if it speaks of this; for those who have its text.
        text: How well the wire text is known, where that differs from the outcome.
        page: The anchor of the page's section that speaks of this, e.g. `test-sms-messages-parameters-To`.
        origin: The URL of the mock upstream that gave the answer, or that gave it when it was recorded; None
            for the live API itself.
        years: The years in which the wire text was recorded or quoted, e.g. `2014-2020`.
    """

    kind: SourceKind
    rule: str = ""
    basis: Basis | None = None
    reason: str | None = None
    line: int | None = None
    text: Basis | None = None
    page: str | None = None
    origin: str | None = None
    years: str | None = None
    _written: Headers | None = field(default=None, init=False, repr=False, compare=False)

    def headers(self) -> Headers:
        """The `Ringback-Source` and `Ringback-Reason` fields that tell a client all this."""
        if self._written is None:
            # The contract's sources are made once for each row.
            object.__setattr__(self, "_written", self._fields())
        return self._written or ()

    def _fields(self) -> Headers:
        parts: list[str] = [self.kind]
        parts += [
            f"{name}={value}"
            for name, value in (
                ("rule", self.rule),
                ("basis", self.basis),
                ("text", self.age()),
                ("page", self.page),
                ("origin", None if self.kind == "live" else self.origin),
            )
            if value
        ]
        fields = [("Ringback-Source", header_value("; ".join(parts)))]
        if self.origin and self.kind == "live":
            fields.append(("Ringback-Origin", header_value(self.origin)))
        if self.reason:
            fields.append(("Ringback-Reason", header_value(self.reason)))
        return tuple(fields)

    def age(self) -> str | None:
        """Basis and years of the wire text, or None if they add nothing to `basis`."""
        if self.text is None or (self.text == self.basis and not self.years):
            return None
        return f"{self.text} {self.years}" if self.years else self.text


class Answer(msgspec.Struct, frozen=True, gc=False):
    """One response, ready to be sent: body decoded, lengths right, provenance beside it.

    A `Struct`, because it is made for each request: a frozen dataclass takes five times as long.

    Attributes:
        status: HTTP status.
        reason: HTTP/1 reason phrase.
        headers: Response header fields in order, without the `Ringback-…` ones.
        body: The body, without content coding.
        source: Where it came from.
        delay: Seconds that the server waits before it sends the answer.
    """

    status: int
    reason: str
    headers: Headers
    body: bytes
    source: Source
    delay: float = 0

    def header(self, name: str) -> str | None:
        """The first value of the header field `name` (any case), or None."""
        return first_header(self.headers, name)

    def with_source(self, source: Source) -> Answer:
        """The same answer with another provenance."""
        return replace(self, source=source)


def is_large(request: Request, answer: Answer | None = None) -> bool:
    """Report whether work on all of an exchange may keep the event loop for too long.

    A large request takes a fraction of a second; so does a small body whose content coding makes it large.
    """
    if len(request.body) + len(request.target) > LARGE:
        return True
    if answer is None:
        return False
    coded = answer.header("Content-Encoding") is not None
    return len(answer.body) > (LARGE // 16 if coded else LARGE)


@dataclass(frozen=True, slots=True)
class Forward:
    """A request that passed the gate and that the live API shall answer.

    It is no permission yet: it is sent only with the proof that its credentials are test credentials.

    Attributes:
        request: The request.
        expected: The contract's answer.
        user: The cassette of the client, or None.
        fallback: Makes the answer where there is no live one, or None for the contract's.
    """

    request: Request
    expected: Answer
    user: str | None = None
    fallback: Callable[[], Answer] | None = None

    def fallback_answer(self) -> Answer:
        """Return the answer that takes the place of a missing live one."""
        return self.fallback() if self.fallback else self.expected


@dataclass(frozen=True, slots=True)
class Stream:
    """A response whose body is sent piece by piece, without a length, until it ends or the client goes.

    Attributes:
        status: HTTP status.
        reason: Reason phrase.
        headers: Header fields, without a length.
        chunks: The body; must be closed (`aclose`) when the client has gone.
    """

    status: int
    reason: str
    headers: Headers
    chunks: AsyncIterator[bytes]


class Poll:
    """An answer that is waited for and that nobody needs once its client has gone; cancelled then.

    Args:
        answer: The answer, to be awaited once, or closed.
    """

    def __init__(self, answer: Coroutine[Any, Any, Answer]) -> None:
        self._answer = answer

    def __await__(self) -> Generator[Any, None, Answer]:
        return self._answer.__await__()

    def close(self) -> None:
        """Give it up before anybody waits."""
        self._answer.close()


def first_header(headers: Headers, name: str) -> str | None:
    """The first value of `name` (any case) in `headers`, or None."""
    wanted, length = name.lower(), len(name)
    for key, value in headers:
        if len(key) == length and key.lower() == wanted:
            return value
    return None


def header_value(text: str) -> str:
    """`text` as a header value: printable ASCII on one line, so that nothing quoted can add a field."""
    if text.isascii() and text.isprintable() and len(text) <= _LONGEST_VALUE:
        return text
    safe = "".join(char if " " <= char <= "~" else "?" for char in text)
    return safe if len(safe) <= _LONGEST_VALUE else safe[: _LONGEST_VALUE - 3] + "..."


def error_code(body: bytes) -> int | None:
    """Twilio's error code in a decoded JSON or XML body, or None.

    Codes have four to six digits. One written as a string counts as the number, because clients read it so; a
    boolean, a fraction, and a code that is not the error's own member do not. A body of more than
    `LARGEST_ERROR` bytes is no error and is not parsed.
    """
    if len(body) > LARGEST_ERROR:
        return None
    start = body.lstrip()[:1]
    if start == b"<":
        inside = body.find(b"<RestException>")
        found = _XML_CODE.search(body, inside) if inside >= 0 else None
        return int(found[1]) if found else None
    if start != b"{":
        return None
    try:
        code = json.loads(body).get("code")
    except (ValueError, RecursionError):
        return None
    if isinstance(code, bool) or not isinstance(code, (int, str)) or not _DIGITS.fullmatch(str(code)):
        return None
    return int(code)


def basic_auth(header: str, *, errors: str = "strict") -> tuple[str, str] | None:
    """User name and password of a Basic `Authorization` or `Proxy-Authorization` value, or None.

    White space around the header and its Base64 text is ignored, as HTTP libraries do. The text must be
    strict Base64 of UTF-8 with a colon in it; `errors` says what becomes of other bytes (see `bytes.decode`).
    """
    scheme, _, encoded = header.strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        decoded = base64.b64decode(encoded.strip(), validate=True).decode("utf-8", errors)
    except (binascii.Error, ValueError):
        return None
    user, colon, password = decoded.partition(":")
    return (user, password) if colon else None


SHORTEST_SECRET: Final = 8  # characters; shorter texts stand in others by chance


def _secrets_in(given: str) -> tuple[str, ...]:
    """The token in the value of an Authorization field, and what follows the scheme."""
    pair = basic_auth(given, errors="replace")
    return (pair[1] if pair else "", given.partition(" ")[2].strip())


def spellings(secret: str) -> tuple[str, ...]:
    """`secret` as it is, in a JSON string, in a URL, in a form and in Base64; none if it is too short."""
    if len(secret) < SHORTEST_SECRET:
        return ()
    try:
        plain = secret.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a JSON file may hold half a pair of surrogates
        plain = secret.encode("utf-8", "surrogatepass")
    coded = base64.b64encode(plain).decode().rstrip("=")
    return tuple(
        dict.fromkeys((secret, json.dumps(secret)[1:-1], quote(plain, safe=""), quote_plus(plain), coded))
    )


def secret_spellings(request: Request) -> tuple[str, ...]:
    """The texts that authorize `request`, in each spelling."""
    return _secret_spellings(request.header("Authorization") or "")


@lru_cache(256)  # a client sends the same credentials every time
def _secret_spellings(given: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for secret in _secrets_in(given) for text in spellings(secret)))


def without_secrets(text: str, request: Request) -> str:
    """`text` with `token` in the place of what authorizes `request`."""
    for spelling in secret_spellings(request):
        text = text.replace(spelling, "token")
    return text


def cached_text(function: Callable[[str], Result]) -> Callable[[str], Result]:
    """Keep the last results of a pure function of one text, for short texts only."""
    kept = lru_cache(CACHED_TEXTS)(function)

    @wraps(function)
    def call(text: str) -> Result:
        return kept(text) if len(text) <= CACHED_LENGTH else function(text)

    return call
