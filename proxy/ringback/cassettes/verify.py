"""Checks of cassette files: format, torn tails, secrets, agreement with the contract."""

from __future__ import annotations

import base64
import re
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from msgspec import structs

from ringback import contract
from ringback.cassettes import bodies, layout, matching, vcr_format
from ringback.cassettes.bodies import rewrite_body
from ringback.cassettes.files import (
    DRAFT,
    NEW_SUFFIX,
    CassetteError,
    CassetteFormatError,
    CodingError,
    cassettes_below,
    leftovers_below,
    read_whole,
    reading_error,
)
from ringback.cassettes.matching import ACCOUNT_PLACEHOLDER
from ringback.cassettes.redaction import (
    PATTERNS,
    REDACTED,
    Redaction,
    is_secret_header,
    is_secret_name,
    redacted_fields_of,
)
from ringback.cassettes.vcr_format import FIELD_SOURCE, IMPORTED
from ringback.contract import AnswerStamp, Credentials, Names
from ringback.exchange import error_code
from ringback.tally import many

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from ringback.cassettes.matching import Fields
    from ringback.cassettes.vcr_format import Interaction
    from ringback.contract import Answer, Contract, Request
    from ringback.exchange import Headers

_CREDENTIALS: Final = frozenset(("authorization", "proxy-authorization", "cookie"))
# What people and tools write in place of a credential, alone or after its name or scheme.
_PLACEHOLDER: Final = re.compile(
    r"(?:.*[=:\s][\"']?)?(?:DUMMY|REDACTED|FILTERED|SCRUBBED|PLACEHOLDER|HIDDEN|X{3,}|\*{3,}|<[^<>]*>|\[[^\[\]]*\])",
    re.IGNORECASE,
)
_LONGEST_PLACEHOLDER: Final = 80  # characters
_SHORTEST: Final = 8  # of values that are secret whatever they look like


def secrets_in(one: Interaction, known: Iterable[str] = ()) -> dict[str, str]:
    """Find what looks like a secret in `one`, in the order of the interaction.

    Args:
        one: The interaction.
        known: Values that are secret whatever they look like.

    Returns:
        What it is and where, such as `auth token in the answer's body`, with the value itself, by which its
        line is found; never to be shown.
    """
    search = _Search(tuple(secret for secret in known if len(secret) >= _SHORTEST))
    path, _, query = one.request.target.partition("?")
    search.text(f"//{one.authority}".replace("//", "https://", 1), "", "the request's host")
    search.text(unquote(path), "", "the request's path")
    search.fields(matching.parse_fields(query), "the request's query")
    form = matching.form_fields(one.request)
    if form is None:
        search.body(matching.decoded_body(one.request), "the request's body")
    else:
        search.fields(form, "the request's form")
    search.headers(one.request.headers, "the request's header", _CREDENTIALS.__contains__)
    search.text(one.answer.reason, "", "the answer's reason phrase")
    search.body(_plain_body(one), "the answer's body")
    search.headers(one.answer.headers, "the answer's header", is_secret_header)
    return search.found


def redacted_view(one: Interaction, known: Iterable[str] = ()) -> Interaction:
    """`one` as people may see it: with `REDACTED` or a placeholder for what `secrets_in` finds, decoded."""
    clean = Redaction(secrets=frozenset(known)).redact(one.request)
    request = structs.replace(
        clean.request,
        headers=_masked(one.request.headers, clean.text, _CREDENTIALS.__contains__),
    )
    answer = structs.replace(
        one.answer,
        headers=_masked(one.answer.headers, clean.text, is_secret_header),
        body=rewrite_body(_plain_body(one), clean.text),
        reason=clean.text(one.answer.reason),
    )
    return replace(one, request=request, answer=answer)


def _masked(headers: Headers, clean: Callable[[str], str], is_secret: Callable[[str], bool]) -> Headers:
    return tuple((name, REDACTED if is_secret(name.lower()) else clean(value)) for name, value in headers)


def _plain_body(one: Interaction) -> bytes:
    """The answer's body without content coding, as far as it can be opened."""
    with suppress(CodingError):  # some of vcrpy's stubs keep the field of a coding that they have opened
        return bodies.decode(one.answer.body, one.answer.header("Content-Encoding"))
    return one.answer.body


@dataclass
class _Search:
    known: tuple[str, ...]
    found: dict[str, str] = field(default_factory=dict)

    def text(self, text: str, name: str, where: str) -> None:
        for secret in self.known:
            if secret in text.replace(ACCOUNT_PLACEHOLDER, ""):
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
        if len(value) <= _LONGEST_PLACEHOLDER and _PLACEHOLDER.fullmatch(value):
            return
        self.found.setdefault("".join(char if char.isprintable() else "?" for char in what), value)


_STAMP: Final = AnswerStamp("0" * 32, "0" * 32, datetime(2012, 10, 10, tzinfo=UTC), 0.1)


@dataclass(frozen=True, order=True)
class CassetteFinding:
    """One thing that is wrong.

    Attributes:
        path: The file.
        line: The line, 1-based.
        rule: `format`, `torn`, `interrupted`, `draft`, `secret` or `contract`.
        detail: What is wrong; quotes no secret.
    """

    path: Path
    line: int
    rule: str
    detail: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}: {self.detail}"


@dataclass(frozen=True)
class LocatedInteraction:
    """An interaction and where it stands.

    Attributes:
        interaction: What was recorded.
        line: Where its item begins, 1-based.
        text: The item's YAML.
    """

    interaction: Interaction
    line: int
    text: str

    def line_of(self, value: str) -> int:
        """The line in which `value` stands; the item's first one if it is folded or escaped there."""
        at = self.text.find(value[:24])
        return self.line + self.text.count("\n", 0, at) if at > 0 else self.line


@dataclass(frozen=True)
class ReadCassette:
    """A whole cassette, read.

    Attributes:
        path: The file.
        metadata: Its metadata.
        placed: Its interactions.
        ours: Whether it has our layout.
        torn: Bytes at its end that are no whole interaction.
        last_line: Its last line.
    """

    path: Path
    metadata: dict[str, Any]
    placed: tuple[LocatedInteraction, ...]
    ours: bool
    torn: int = 0
    last_line: int = 1

    @property
    def fields(self) -> tuple[str, ...]:
        """The form fields that have pseudonyms in it."""
        return redacted_fields_of(self.metadata)


def load(path: Path) -> ReadCassette:
    """The whole cassette at `path`.

    Raises:
        CassetteError: It is no cassette, is damaged, or cannot be read.
    """
    try:
        data = read_whole(path)
        try:
            index = layout.scan(data)
        except layout.ForeignLayoutError:
            return _load_foreign(path, data)
        except layout.DamageError as error:
            layout.refuse_other_format(data, path)
            line = data.count(b"\n", 0, error.slip) + 1
            raise CassetteFormatError(
                path, line, f"{error.detail}; correct it, or --repair takes it out"
            ) from None
    except OSError as error:
        raise reading_error(path, error) from error
    placed, line, before = [], 1, 0
    for start, size in zip(index.starts, index.sizes, strict=True):
        line += data.count(b"\n", before, start)
        before = start
        text = data[start : start + size]
        placed.append(LocatedInteraction(vcr_format.parse(text), line, text.decode("utf-8", "replace")))
    last = data.count(b"\n", 0, index.end) + 1
    return ReadCassette(path, index.metadata, tuple(placed), ours=True, torn=index.torn, last_line=last)


def _load_foreign(path: Path, data: bytes) -> ReadCassette:
    found, metadata = vcr_format.read_foreign(path)
    text = data.decode("utf-8", "replace")
    starts = vcr_format.item_starts(text)
    if len(starts) != len(found):
        placed = [LocatedInteraction(one, 1, "") for one in found]
    else:
        placed, line, before = [], 1, 0
        ends = [*starts[1:], len(text)][: len(starts)]
        for one, start, end in zip(found, starts, ends, strict=True):
            line += text.count("\n", before, start)
            before = start
            placed.append(LocatedInteraction(one, line, text[start:end]))
    return ReadCassette(path, metadata, tuple(placed), ours=False)


def files_of(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield the files of cassettes in `paths`: files, and directories with all below them."""
    for path in paths:
        if path.is_dir():
            yield from sorted((*cassettes_below(path), *leftovers_below(path)))
        else:
            yield path


def check(
    path: Path,
    loaded: Contract,
    secrets: Sequence[str] = (),
    report_unjudged: Callable[[str], None] = lambda _: None,
) -> list[CassetteFinding]:
    """Everything that is wrong with the file at `path`, in the order of its lines.

    Args:
        path: A cassette, or what an interrupted recording left.
        loaded: The contract that its answers are held against.
        secrets: Values that are secret whatever they look like.
        report_unjudged: Takes a sentence if its answers cannot be held against the contract.
    """
    if path.name.endswith(NEW_SUFFIX):
        detail = "a recording that was not finished; --repair makes it a cassette"
        return [CassetteFinding(path, 1, "interrupted", detail)]
    if DRAFT.fullmatch(path.name):
        return [CassetteFinding(path, 1, "draft", "a draft that was not finished; --repair removes it")]
    try:
        cassette = load(path)
    except CassetteFormatError as error:
        return [CassetteFinding(path, error.line, "format", error.detail)]
    except CassetteError as error:
        return [CassetteFinding(path, 1, "format", str(error))]
    found: list[CassetteFinding] = []
    if cassette.fields and cassette.placed:
        report_unjudged(
            f"{', '.join(cassette.fields)} were recorded as pseudonyms (--redact), which get other answers "
            "than what was sent"
        )
    else:
        unknown = [one for one in cassette.placed if not _asked_by_test_credentials(one.interaction, loaded)]
        if unknown:
            report_unjudged(
                f"{many(len(unknown), 'interaction')} that another tool recorded, because live credentials "
                "may have asked"
            )
    handshakes = layout.challenges([placed.interaction for placed in cassette.placed])
    for number, placed in enumerate(cassette.placed):
        more = interaction_findings(placed, cassette, loaded, secrets)
        found += [one for one in more if one.rule != "contract" or number not in handshakes]
    if cassette.torn:
        size = many(cassette.torn, "byte")
        detail = f"it ends in {size} of an interaction that is not whole; --repair cuts them"
        found.append(CassetteFinding(path, cassette.last_line, "torn", detail))
    return sorted(found)


def interaction_findings(
    placed: LocatedInteraction, cassette: ReadCassette, loaded: Contract, secrets: Sequence[str] = ()
) -> Iterator[CassetteFinding]:
    """Yield what is wrong with one interaction; the arguments are those of `check`."""
    for what, value in secrets_in(placed.interaction, secrets).items():
        yield CassetteFinding(cassette.path, placed.line_of(value), "secret", what)
    yield from _contract_findings(placed, cassette, loaded)


def _contract_findings(
    placed: LocatedInteraction, cassette: ReadCassette, loaded: Contract
) -> Iterator[CassetteFinding]:
    """Report a recorded outcome that is not the contract's; fields decide, so pseudonyms are not judged."""
    request, answer = placed.interaction.request, placed.interaction.answer
    clean = Redaction().redact(request).request
    if (
        not loaded.is_api(clean.host)
        or f"/Accounts/{ACCOUNT_PLACEHOLDER}" not in clean.path
        or cassette.fields
        or not _asked_by_test_credentials(placed.interaction, loaded)
    ):
        return
    expected = documented_answer(loaded, clean, _STAMP)
    outcome = (answer.status, error_code(answer.body)), (expected.status, error_code(expected.body))
    if outcome[0] != outcome[1]:
        line = placed.line_of("      code: ") if placed.text else placed.line
        rule = expected.source.rule
        recorded, wanted = (f"{status} {code or ''}".strip() for status, code in outcome)
        detail = f"recorded is {recorded}, the contract says {wanted} (rule {rule})"
        yield CassetteFinding(cassette.path, line, "contract", detail)


def _asked_by_test_credentials(one: Interaction, loaded: Contract) -> bool:
    """Report whether test credentials asked: Ringback recorded it, or the exchange shows it."""
    source = (one.provenance_value(FIELD_SOURCE) or IMPORTED).partition(";")[0].strip()
    return source != IMPORTED or contract.shows_test_credentials(loaded, one.request, one.answer)


_BASIC: Final = "Basic " + base64.b64encode(f"{ACCOUNT_PLACEHOLDER}:x".encode()).decode()


def documented_answer(loaded: Contract, request: Request, stamp: AnswerStamp) -> Answer:
    """The contract's answer to `request` of the account that stands for all; credentials are put in."""
    fields = tuple(pair for pair in request.headers if pair[0].lower() != "authorization")
    asked = structs.replace(request, headers=(("Authorization", _BASIC), *fields))
    return contract.answer(loaded, asked, Names(asked.host), Credentials(), stamp)


def passes_gate() -> Callable[[Request], bool]:
    """Make the test whether the gate lets a redacted request pass, whatever its credentials."""
    loaded = contract.load()

    def passes(request: Request) -> bool:
        kept = tuple(pair for pair in request.headers if pair[0].lower() == "content-type")
        asked = structs.replace(request, headers=(("Authorization", _BASIC), *kept))
        return not isinstance(
            contract.admit(loaded, asked, Names(asked.host), Credentials()), contract.Refused
        )

    return passes
