"""Looking for secrets in an interaction that is on disk already, and showing it without them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from ringback.cassettes import codings, matching
from ringback.cassettes.errors import CodingError
from ringback.cassettes.patterns import PATTERNS, REDACTED, is_secret_header, is_secret_name
from ringback.cassettes.redaction import Redaction
from ringback.cassettes.strings import rewrite_body

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ringback.cassettes.interactions import Interaction
    from ringback.cassettes.matching import Fields
    from ringback.exchange import Headers

_CREDENTIALS: Final = frozenset(("authorization", "proxy-authorization", "cookie"))
_SHORTEST: Final = 8  # of values that are secret whatever they look like


def secrets_in(one: Interaction, known: Iterable[str] = ()) -> dict[str, str]:
    """What looks like a secret in `one`, in the order in which it stands there.

    Args:
        one: The interaction.
        known: Values that are secret whatever they look like.

    Returns:
        What it is and where, such as `auth token in the answer's body`, with the value itself, by which its
        line is found; never to be shown.
    """
    search = _Search(tuple(secret for secret in known if len(secret) >= _SHORTEST))
    path, _, query = one.request.target.partition("?")
    search.text(unquote(path), "", "the request's path")
    search.fields(matching.parse_fields(query), "the request's query")
    form = matching.form_fields(one.request)
    if form is None:
        search.body(matching.decoded_body(one.request), "the request's body")
    else:
        search.fields(form, "the request's form")
    search.headers(one.request.headers, "the request's header", _CREDENTIALS.__contains__)
    search.body(_plain_body(one), "the answer's body")
    search.headers(one.answer.headers, "the answer's header", is_secret_header)
    return search.found


def masked(one: Interaction, known: Iterable[str] = ()) -> Interaction:
    """`one` as people may see it: with `REDACTED` or a placeholder for what `secrets_in` finds, decoded."""
    exchange = Redaction(secrets=frozenset(known)).scrub(one.request)
    request = replace(
        exchange.request,
        headers=_masked(one.request.headers, exchange.text, _CREDENTIALS.__contains__),
    )
    answer = replace(
        one.answer,
        headers=_masked(one.answer.headers, exchange.text, is_secret_header),
        body=rewrite_body(_plain_body(one), exchange.text),
    )
    return replace(one, request=request, answer=answer)


def _masked(headers: Headers, clean: Callable[[str], str], is_secret: Callable[[str], bool]) -> Headers:
    return tuple((name, REDACTED if is_secret(name.lower()) else clean(value)) for name, value in headers)


def _plain_body(one: Interaction) -> bytes:
    """The answer's body without content coding, as far as it can be opened."""
    with suppress(CodingError):  # some of vcrpy's stubs keep the field of a coding that they have opened
        return codings.decode(one.answer.body, one.answer.header("Content-Encoding"))
    return one.answer.body


@dataclass
class _Search:
    known: tuple[str, ...]
    found: dict[str, str] = field(default_factory=dict)

    def text(self, text: str, name: str, where: str) -> None:
        for secret in self.known:
            if secret in text:
                self._note(f"a configured secret in {where}", secret)
        if name and text and text != REDACTED and is_secret_name(name):
            self._note(f"a secret by its name in {where} ({name[:40]})", text)
        for kind, pattern in PATTERNS.items():
            for match in pattern.finditer(text):
                if REDACTED not in match[0]:
                    self._note(f"{kind} in {where}", match[0])

    def fields(self, fields: Fields, where: str) -> None:
        for name, value in fields:
            self.text(name, "", where)
            self.text(value, name, where)

    def body(self, body: bytes, where: str) -> None:
        def look(text: str, name: str) -> str:
            self.text(text, name, where)
            return text

        rewrite_body(body, look)

    def headers(self, headers: Headers, where: str, is_secret: Callable[[str], bool]) -> None:
        for name, value in headers:
            if is_secret(name.lower()):
                self._note(f"{where} {name[:40]}", value)
            else:
                self.text(value, "", f"{where} {name[:40]}")

    def _note(self, what: str, value: str) -> None:
        self.found.setdefault("".join(char if char.isprintable() else "?" for char in what), value)
