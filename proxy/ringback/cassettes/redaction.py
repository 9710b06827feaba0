"""Redaction: what must not reach the disk is taken out of an interaction, and put back when it is replayed.

Always: credentials, cookies, tokens and account SIDs, wherever they stand. On request (`--redact To,Body`):
the values of form fields, by pseudonyms. The same is done to a request before it is looked up, so that
redacted recordings match, and what was taken out of the caller's own request is put back into the answer that
the caller gets.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from hashlib import sha256
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote, urlencode

from msgspec import structs

from ringback.cassettes import bodies, matching, pseudonyms
from ringback.cassettes.bodies import rewrite_body
from ringback.cassettes.files import CodingError, RedactionError
from ringback.cassettes.matching import ACCOUNT_PLACEHOLDER, MATCHING_VERSION, MatchIgnore
from ringback.cassettes.pseudonyms import KEY_VARIABLE, Replacement, Replacements, key_id, replacements_for
from ringback.contract.form import plain_name
from ringback.exchange import (
    CACHED_LENGTH,
    CACHED_TEXTS,
    LARGE,
    SHORTEST_SECRET,
    Answer,
    Request,
    basic_auth,
    cached_text,
    header_value,
    spellings,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ringback.cassettes.matching import Fields, MatchKey
    from ringback.cassettes.vcr_format import Interaction
    from ringback.exchange import Headers

REDACTED: Final = "REDACTED"

SECRET_HEADER: Final = re.compile(
    r"cookie|authorization|token|secret|password|passwd|api-?key|session", re.IGNORECASE
)
_SECRET_NAME: Final = re.compile(
    r"(?:.*(?:password|passwd|secret|apikey|accesskey|privatekey)|pwd|(?!.*page).*token|.*credentials?"
    r"|authorization|cookie|sessionid)"
)
_BARE_HEX: Final = r"(?<![0-9A-Za-z])[0-9a-fA-F]{32}(?![0-9A-Za-z])"  # the shape of Twilio's auth tokens
_DOTTED: Final = re.compile(r"\beyJ[\w-]{8,}+\.[\w-]{8,}+\.[\w-]*+")
_WORD: Final = re.compile(r"[\w-]++")
_SECOND_PART: Final = re.compile(r"\.[\w-]{8,}+\.")
_SHORTEST_FIRST: Final = len("eyJ") + 8


class WebTokens:
    """Finds JSON web tokens as a pattern would, in linear time.

    A pattern tries every `eyJ` and reads on to the end of its word, so that a word of many of them takes
    quadratic time. Here each word is read once: what follows it decides for all places in it.
    """

    def finditer(self, text: str) -> Iterator[re.Match[str]]:
        """Yield the tokens in `text`."""
        at = end = 0
        possible = False
        while (start := text.find("eyJ", at)) >= 0:
            if start >= end:
                word = _WORD.match(text, start)
                end = word.end() if word else start
                possible = _SECOND_PART.match(text, end) is not None
            if not possible or end - start < _SHORTEST_FIRST:
                at = end
                continue
            inside = start > 0 and (text[start - 1].isalnum() or text[start - 1] == "_")
            found = None if inside else _DOTTED.match(text, start)
            if found is None:
                at = start + 1
            else:
                yield found
                at = found.end()

    def sub(self, put: Callable[[re.Match[str]], str], text: str) -> str:
        """Return `text` with what `put` makes of each token."""
        return _substituted(self.finditer(text), put, text)


_NAMES: Final = ("token", "password", "passwd", "secret", "apikey", "api_key", "api-key")
_LEAD: Final = r"(?:auth|access|refresh|api|secret)?[_-]?"  # before one of the names
_LONGEST_LEAD: Final = len("refresh_")
_VALUE: Final = r"[\"']?\s*(?:=|:)\s*[\"']?)(?!REDACTED|redacted-)([^\s\"'&,;<>]{4,}+)"
_NAMED: Final = re.compile(rf"(?i)\b({_LEAD}(?:{'|'.join(_NAMES)}){_VALUE}")
_LEADING: Final = re.compile(rf"(?i)\b{_LEAD}\Z")
_VALUED: Final = re.compile(rf"({_VALUE}")


class WordedPattern:
    """A pattern that is searched by the words that it needs.

    The pattern alone tries every word of a text; a large one would keep every client waiting for a quarter of
    a second, because nothing else runs while a pattern is searched.

    Args:
        words: The words, in lower case.
        match: Returns the match whose word stands at a place of a text, has a size, and begins after an end.
    """

    def __init__(
        self, words: tuple[str, ...], match: Callable[[str, int, int, int], re.Match[str] | None]
    ) -> None:
        self._words = words
        self._match = match

    def finditer(self, text: str) -> Iterator[re.Match[str]]:
        """Yield the matches in `text`."""
        end = 0
        for place, size in _places(_folded(text), self._words):
            found = self._match(text, place, size, end) if place >= end else None
            if found is not None:
                yield found
                end = found.end()

    def sub(self, put: Callable[[re.Match[str]], str], text: str) -> str:
        """Return `text` with what `put` makes of each match."""
        return _substituted(self.finditer(text), put, text)


def _named(text: str, place: int, size: int, end: int) -> re.Match[str] | None:
    if _VALUED.match(text, place + size) is None:
        return None
    lead = _LEADING.search(text, max(end, place - _LONGEST_LEAD), place)
    return _NAMED.match(text, lead.start() if lead else place)


# No word has a digit, nor a capital after its first letter: "your basic subscription" is none.
_CREDENTIALS: Final = re.compile(
    r"\b((?i:Basic|Bearer)\s++)(?!REDACTED)(?=[0-9]|[A-Za-z+/_.~-][A-Za-z.-]*[0-9A-Z+/_~])"
    r"[A-Za-z0-9+/_.~-]{8,}+=*"
)


def _folded(text: str) -> str:
    """`text` in lower case, each character in its place; letters count as equal that do for patterns."""
    if not text.isascii():
        for letter, plain in (("\u0130", "i"), ("\u0131", "i"), ("\u017f", "s")):
            text = text.replace(letter, plain)
    return text.lower()


def _places(text: str, words: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    """Yield the place and the length of each of `words` in `text`, in order."""
    nexts = {word: text.find(word) for word in words}
    nexts = {word: place for word, place in nexts.items() if place >= 0}
    while nexts:
        word, place = min(nexts.items(), key=itemgetter(1))
        yield place, len(word)
        nexts[word] = text.find(word, place + 1)
        if nexts[word] < 0:
            del nexts[word]


def _substituted(found: Iterator[re.Match[str]], put: Callable[[re.Match[str]], str], text: str) -> str:
    parts, end = [], 0
    for one in found:
        parts += [text[end : one.start()], put(one)]
        end = one.end()
    return "".join([*parts, text[end:]]) if end else text


_ACCOUNT_SID: Final = re.compile("AC(?!0{32})[0-9a-fA-F]{32}")
PATTERNS: Final[dict[str, re.Pattern[str] | WebTokens | WordedPattern]] = {
    "account SID": _ACCOUNT_SID,
    "private key": re.compile(
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
    ),
    "credentials in a URL": re.compile(r"(?<=://)(?!REDACTED@)[^/\s@\"'<>?#]++@"),
    "credentials": WordedPattern(
        ("basic", "bearer"), lambda text, place, _size, _end: _CREDENTIALS.match(text, place)
    ),
    "JSON web token": WebTokens(),
    "auth token": re.compile(_BARE_HEX),
    "named secret": WordedPattern(_NAMES, _named),
}


def _digested(found: re.Match[str]) -> str:
    # 128 random bits cannot be guessed from a digest, and different values stay different
    return f"redacted-{sha256(found[0].encode()).hexdigest()[:12]}"


_PUT: Final[dict[str, Callable[[re.Match[str]], str]]] = {
    "account SID": lambda _: ACCOUNT_PLACEHOLDER,
    "private key": lambda _: REDACTED,
    "credentials in a URL": lambda _: f"{REDACTED}@",
    "credentials": lambda found: found[1] + REDACTED,
    "JSON web token": _digested,
    "auth token": _digested,
    "named secret": lambda found: found[1] + REDACTED,
}

# One look that every pattern above needs to succeed, so that most strings cost no more than this.
_SUSPECT: Final = re.compile(
    r"[0-9a-fA-F]{32}|://|eyJ|PRIVATE KEY|(?i:basic|bearer|token|passw|secret|api[_-]?key)"
)
_SUSPECT_WORDS: Final = (
    "://",
    "eyj",
    "private key",
    "basic",
    "bearer",
    "token",
    "passw",
    "secret",
    "apikey",
    "api_key",
    "api-key",
)
_HEX_RUN: Final = re.compile("[0-9a-fA-F]{32}")


@cached_text
def is_secret_name(name: str) -> bool:
    """Report whether `name`, of a form field, a JSON key or an XML element, is one that secrets have."""
    return _SECRET_NAME.fullmatch(plain_name(name)) is not None


@cached_text
def is_secret_header(name: str) -> bool:
    """Report whether the response header field `name` is left out for its name."""
    lower = name.lower()
    return SECRET_HEADER.search(lower) is not None and not lower.startswith("access-control-")


def _is_suspect(text: str) -> bool:
    if len(text) <= LARGE:
        return _SUSPECT.search(text) is not None
    # One search of a large text would keep everybody waiting; each of these is short.
    folded = _folded(text)
    return any(word in folded for word in _SUSPECT_WORDS) or _HEX_RUN.search(text) is not None


# A word of each pattern and of each secret's name, without punctuation and capitals.
_HINTS: Final = (
    *(b"accesskey", b"apikey", b"authorization", b"basic", b"bearer", b"cookie", b"credential", b"eyj"),
    *(b"passw", b"privatekey", b"pwd", b"secret", b"sessionid", b"token"),
)
_LETTERS: Final = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PUNCTUATION: Final = bytes(byte for byte in range(256) if byte not in _LETTERS)
_SPACED: Final = bytes(byte if byte in _LETTERS else 0x20 for byte in range(256))


def _has_account_sids_at_most(body: bytes) -> bool:
    """Report whether a JSON body has surely nothing with the shape of a secret, account SIDs apart.

    Nothing in it is escaped, so that each of its strings stands there as it is; and what every pattern and
    every secret's name needs is nowhere. A quick look at an answer as Twilio gives them: most have no more.
    """
    if len(body) > LARGE or body[:1] != b"{" or not body.isascii() or b"\\" in body:
        return False
    if b"://" in body and b"@" in body:
        return False
    squeezed = body.lower().translate(None, _PUNCTUATION)
    for hint in _HINTS:
        if hint in squeezed:
            return False
    words = [word for word in body.translate(_SPACED).split() if len(word) == 32]
    return all(word.strip(b"0123456789abcdefABCDEF") for word in words)


def redact_patterns(text: str) -> str:
    """`text` without everything that has the shape of a secret, and with account SIDs replaced."""
    if not _is_suspect(text):
        return text
    text = _ACCOUNT_SID.sub(ACCOUNT_PLACEHOLDER, text)
    for kind, pattern in PATTERNS.items():
        text = pattern.sub(_PUT[kind], text)
    return text


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
_MOST_SECRETS: Final = 20  # of one request's header fields
# A made-up token may be the digits of its account's SID, which is replaced as a whole.
_NOT_IN_SID: Final = "(?<!AC)"
_HEX: Final = re.compile("[0-9a-fA-F]{32}")


@dataclass(frozen=True)
class Redaction:
    """Redaction rules: form fields that get pseudonyms, their key, and known secrets.

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

    def redact(self, request: Request) -> RedactedExchange:
        """`request` without what must not reach the disk, and what is needed to put it back."""
        return RedactedExchange(request, self)


def _without_secrets(text: str, name: str, secrets: re.Pattern[str] | None) -> str:
    """`text`, which stands under `name`, without `secrets` and what has the shape of one."""
    if text and name and is_secret_name(name):
        return REDACTED
    return redact_patterns(text if secrets is None else secrets.sub(REDACTED, text))


@lru_cache(16)
def _cleaner(secrets: frozenset[str]) -> Callable[[str, str], str]:
    """Return a function that takes `secrets` out of short texts, and keeps its last results.

    Most strings of an exchange stand in every one of its kind.
    """
    pattern = _secret_pattern(secrets)
    return lru_cache(CACHED_TEXTS // 4)(lambda text, name: _without_secrets(text, name, pattern))


class RedactedExchange:
    """One interaction's redaction, made from its request.

    Attributes:
        key: What it is looked up by.
    """

    def __init__(self, request: Request, redaction: Redaction) -> None:
        self._redaction = redaction
        secrets, caller = secrets_in_headers(request.headers)
        known = secrets | redaction.secrets if redaction.secrets else secrets
        self._secrets, self._spellings = _secret_pattern(known), _spellings(known)
        self._clean = _cleaner(known)
        self._account = caller or _account_in(request.path)
        self._back: dict[str, str] = {}  # a whole value as it is written, and as the caller sent it
        self._asked = request
        path, mark, query = request.target.partition("?")
        query_fields, form = matching.parse_fields(query), matching.form_fields(request)
        self._substitutes: dict[str, str] = {}
        self._replacements = Replacements(self._replacements_in((*query_fields, *(form or ()))))
        path = self._redact_path(path)
        query, query_fields = self._redact_fields(query_fields, query)
        self._target = path + mark + query
        body = matching.decoded_body(request)
        if form is None:
            self._body = rewrite_body(body, self.text)
        else:
            text, form = self._redact_fields(form, body.decode("utf-8", "surrogateescape"))
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
        asked = self._asked
        return Request(asked.method, asked.host, self._target, headers, self._body, asked.scheme)

    def text(self, text: str, name: str = "") -> str:
        """`text`, which stands under `name`, without secrets and with pseudonyms."""
        if self._replacements:
            if text and name and is_secret_name(name):
                return REDACTED
            return _without_secrets(self._replacements.put(text, name), "", self._secrets)
        if len(text) <= CACHED_LENGTH:
            return self._clean(text, name)
        return _without_secrets(text, name, self._secrets)

    def answer(self, answer: Answer) -> Answer:
        """`answer` as it may be written: body without content coding, no secrets, its length set right.

        Raises:
            CodingError: The content coding cannot be opened.
        """
        body = self._redact_body(bodies.decode(answer.body, answer.header("Content-Encoding")))
        headers = tuple(
            [(name, self.text(value)) for name, value in answer.headers if not _is_left_out(name)]
        )
        return framed(
            Answer(answer.status, self.text(answer.reason), headers, body, answer.source, answer.delay)
        )

    def _redact_body(self, body: bytes) -> bytes:
        """Return an answer's decoded body without secrets."""
        if not self._replacements and _has_account_sids_at_most(body):
            text = body.decode()
            if not any(spelling in text for spelling in self._spellings):
                return _ACCOUNT_SID.sub(ACCOUNT_PLACEHOLDER, text).encode()
        return rewrite_body(body, self.text)

    def restore(self, answer: Answer) -> Answer:
        """A recorded `answer` with the caller's own account and values in the places of the redacted ones.

        Args:
            answer: As `framed` leaves it.
        """
        body, headers = answer.body, answer.headers
        if self._replacements or self._back:
            known = [one.reversed() for one in self._replacements.whole.values()]
            more = islice(self._back.items(), pseudonyms.MOST_REPLACEMENTS - len(known))
            backward = Replacements([*known, *(Replacement(new, old, "") for new, old in more)])
            body = rewrite_body(body, backward.put)
            headers = tuple((name, backward.put(value, "")) for name, value in headers)
        if self._account:
            body = body.replace(_PLACEHOLDER_BYTES, self._account.encode())
            if any(ACCOUNT_PLACEHOLDER in value for _, value in headers):
                headers = tuple(
                    [(name, value.replace(ACCOUNT_PLACEHOLDER, self._account)) for name, value in headers]
                )
        if headers is answer.headers and len(body) == len(answer.body):
            return Answer(answer.status, answer.reason, headers, body, answer.source)
        return framed(structs.replace(answer, headers=headers, body=body))

    def _replacements_in(self, fields: Fields) -> Iterator[Replacement]:
        names = self._redaction.names
        for name, value in dict.fromkeys(fields) if names else ():
            if plain_name(name) in names:
                yield from replacements_for(name, value, self._redaction.key)

    def _redact_path(self, path: str) -> str:
        plain = unquote(path, errors="surrogateescape")
        redacted = self.text(plain)
        return path if redacted == plain else quote(redacted, errors="surrogateescape")

    def _redact_fields(self, fields: Fields, raw: str) -> tuple[str, Fields]:
        """Both without what is taken out; where that is nothing, `raw` keeps the client's spelling."""
        redacted = tuple([self._redact_field(name, value) for name, value in fields])
        if redacted == fields:
            return raw, fields
        return urlencode(redacted, errors="surrogateescape"), redacted

    def _redact_field(self, name: str, value: str) -> tuple[str, str]:
        if plain_name(name) in self._redaction.names:
            if value not in self._substitutes:
                self._substitutes[value] = pseudonyms.substitute(value, self._redaction.key)
            return self.text(name), self._substitutes[value]
        new = self.text(value, name)
        if new not in (value, REDACTED, ACCOUNT_PLACEHOLDER):
            self._back[new] = value
        return self.text(name), new


def framed(answer: Answer) -> Answer:
    """`answer` with the one Content-Length that fits its body, and no field of a former connection.

    Fields that no HTTP message can have, as a file that people edit may, are left out, and so is the body of
    an answer that has none by its status.
    """
    kept = [
        (name, value) for name, value in answer.headers if _is_written(name) and _FIELD_VALUE.fullmatch(value)
    ]
    body = answer.body
    if answer.status in _BODILESS:
        body = b""
    else:
        kept.append(("Content-Length", str(len(body))))
    reason = header_value(answer.reason)
    return Answer(answer.status, reason, tuple(kept), body, answer.source, answer.delay)


@cached_text
def _is_left_out(name: str) -> bool:
    """Report whether the field `name` of an answer is not written, whatever its value."""
    return name.lower() == "content-encoding" or is_secret_header(name)


@cached_text
def _is_written(name: str) -> bool:
    """Report whether a field may have this name, and is not about the connection that it came on."""
    return name.lower() not in _FRAMING and _FIELD_NAME.fullmatch(name) is not None


@lru_cache(maxsize=256)  # a client sends the same fields every time
def secrets_in_headers(headers: Headers) -> tuple[frozenset[str], str | None]:
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
    longest = sorted(found, key=len, reverse=True)[:_MOST_SECRETS]
    secrets = frozenset(secret for secret in longest if len(secret) >= SHORTEST_SECRET)
    return secrets, caller if caller and _ACCOUNT_SID.fullmatch(caller) else None


def _account_in(path: str) -> str | None:
    """The account that `path` names, for a caller whose credentials name none."""
    sid = matching.account_of(path)
    return sid if sid and _ACCOUNT_SID.fullmatch(sid) else None


@lru_cache(maxsize=256)  # a client sends the same credentials every time
def _spellings(secrets: frozenset[str]) -> tuple[str, ...]:
    """Return each secret in each spelling; the longest first."""
    found = {text for secret in secrets for text in spellings(secret)}
    return tuple(sorted(found, key=len, reverse=True))


@lru_cache(maxsize=256)
def _secret_pattern(secrets: frozenset[str]) -> re.Pattern[str] | None:
    """Find each spelling of each secret."""
    spelled = _spellings(secrets)
    if not spelled:
        return None
    return re.compile("|".join(_NOT_IN_SID * bool(_HEX.fullmatch(one)) + re.escape(one) for one in spelled))


def redacted(one: Interaction, redaction: Redaction) -> Interaction:
    """`one` without what must not reach the disk.

    Raises:
        CodingError: Its content coding is not known.
    """
    clean = redaction.redact(one.request)
    return replace(
        one,
        request=clean.request,
        answer=clean.answer(_settled(one.answer)),
        authority=one.authority.rpartition("@")[2],
    )


def _settled(answer: Answer) -> Answer:
    """`answer`, without its Content-Encoding if its body is not coded: some of vcrpy's stubs decode it."""
    coding = answer.header("Content-Encoding")
    if coding is None or not bodies.is_known(coding):
        return answer
    try:
        bodies.decode(answer.body, coding)
    except CodingError:
        kept = tuple((name, value) for name, value in answer.headers if name.lower() != "content-encoding")
        return structs.replace(answer, headers=kept)
    return answer


def remaining_redaction(metadata: dict[str, Any], redaction: Redaction) -> Redaction:
    """Return the part of `redaction` that a file with `metadata` needs: pseudonyms are not put in twice."""
    return replace(redaction, fields=()) if isinstance(metadata.get("ringback"), dict) else redaction


def provenance(
    redaction: Redaction, source: str | None = None, ignored: MatchIgnore | None = None
) -> dict[str, Any]:
    """Build the `ringback` entry of a cassette's metadata."""
    fields: dict[str, Any] = {
        "matching": MATCHING_VERSION,
        "redaction": {"version": REDACTION_VERSION},
    }
    if redaction.fields:
        fields["redaction"] |= {"fields": list(redaction.fields), "key": key_id(redaction.key)}
    if ignored and ignored.rules:
        fields["match_ignore"] = list(ignored.rules)
    if source:
        fields["source"] = source
    return fields


def redacted_fields(known: dict[str, Any]) -> tuple[tuple[str, ...], str]:
    """The fields that a cassette with the metadata `known` has pseudonyms for, and the id of their key."""
    redaction = known.get("redaction")
    if not isinstance(redaction, dict):
        return (), ""
    fields = redaction.get("fields")
    names = fields if isinstance(fields, list) else []
    return tuple(name for name in names if isinstance(name, str)), str(redaction.get("key") or "")


def redacted_fields_of(metadata: dict[str, Any]) -> tuple[str, ...]:
    """The fields that a cassette with `metadata` has pseudonyms for."""
    return redacted_fields(known_of(metadata))[0]


def known_of(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return a file's `ringback` mapping; empty where something else stands there."""
    known = metadata.get("ringback")
    return known if isinstance(known, dict) else {}


def match_ignore_of(metadata: dict[str, Any]) -> MatchIgnore:
    """Return the rules of a file's metadata for what does not count in matching."""
    return MatchIgnore.from_metadata(known_of(metadata).get("match_ignore"))


def with_key(redaction: Redaction, key: bytes) -> Redaction:
    """`redaction` with the key of its pseudonyms."""
    return Redaction(redaction.fields, key, redaction.secrets)


def check_key(path: Path, wanted: str, key: bytes) -> None:
    """Hold `key` against the id in a cassette's metadata.

    Raises:
        RedactionError: It is another key.
    """
    if wanted != key_id(key):
        raise RedactionError(
            f"{path} was redacted with the key {wanted}, the key here is {key_id(key)}: set "
            f"{KEY_VARIABLE} to the key it was recorded with"
        )
