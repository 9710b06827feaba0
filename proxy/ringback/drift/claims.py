"""The documentation as claims, the facts behind them, and the requests that show whether they hold.

The facts besides the contract (other resources, sentences, header fields, errata) stand in `drift/data`.
"""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from dataclasses import dataclass
from datetime import (
    UTC,
    date,
    datetime,
)
from functools import cache, cached_property
from importlib import resources
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypeVar
from urllib.parse import urlencode

import msgspec
import yaml

from ringback import contract as contracts
from ringback.contract import AnswerStamp, Names, Request
from ringback.contract.contract import NO_NUMBER, OTHER, Decision
from ringback.contract.render import Writer
from ringback.drift.body import flatten, tree_of_json
from ringback.drift.observation import outside_id, plain
from ringback.exchange import Basis, error_code

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from ringback.contract import Answer, Contract, Format
    from ringback.contract.contract import Citation
    from ringback.contract.form import Fields
    from ringback.contract.schema import Example, Field, Resource
    from ringback.drift.body import Leaf
    from ringback.drift.observation import Severity


T = TypeVar("T")


class OutsideResource(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A resource that test credentials cannot use; one that newer editions open is refused by assumption."""

    host: str
    path: str
    line: int | None = None
    basis: Basis = "documented"


class OutsideFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The resources that answer 403, and the line that says so."""

    line: int
    resources: tuple[OutsideResource, ...]


class Sentence(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something the page says in prose, and a request that shows whether it holds."""

    id: str
    resource: str
    base: str
    says: str
    form: dict[str, str | None]
    line: int | None = None


class SentenceFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file of sentences."""

    requests: tuple[Sentence, ...]


class HeaderField(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """A header field that the live API's answers have.

    Attributes:
        name: Its name.
        since: The date of the oldest recording that has it.
        evidence: Where it was seen.
        shape: What its value looks like, as a regular expression.
        media: Whether its value is the media type of the format.
        status: The only status that has it.
    """

    name: str
    since: date
    evidence: str
    shape: str | None = None
    media: bool = False
    status: int | None = None

    @cached_property
    def pattern(self) -> re.Pattern[str] | None:
        """`shape`, compiled."""
        return None if self.shape is None else re.compile(self.shape, re.ASCII)


class HeaderFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Header fields of the API, and those that say nothing about it."""

    headers: tuple[HeaderField, ...]
    transport: tuple[str, ...]


class AnswerErratum(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An erratum of the page, as it would look in an answer that follows the page to the letter.

    Attributes:
        id: The erratum's name in the contract.
        resource: Whose answers.
        pointer: The field.
        also: The page's own values for it.
        pattern: A regular expression for the page's own value.
        element: XML's outer element.
        code: Only in errors of this code.
        format: Only in this format.
    """

    id: str
    resource: str | None = None
    pointer: str | None = None
    also: tuple[str | None, ...] = ()
    pattern: str | None = None
    element: str | None = None
    code: int | None = None
    format: Literal["json", "xml"] | None = None


class AnswerErrata(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file of errata."""

    errata: tuple[AnswerErratum, ...]


class Facts(msgspec.Struct, frozen=True):
    """All of it."""

    outside: OutsideFile
    sentences: tuple[Sentence, ...]
    headers: HeaderFile
    errata: tuple[AnswerErratum, ...]


@cache
def load_facts() -> Facts:
    """Load the facts that ship with the project."""
    return Facts(
        outside=_read("outside.yaml", OutsideFile),
        sentences=_read("requests.yaml", SentenceFile).requests,
        headers=_read("headers.yaml", HeaderFile),
        errata=_read("errata.yaml", AnswerErrata).errata,
    )


def _read(name: str, kind: type[T]) -> T:
    text = (resources.files("ringback.drift") / "data" / name).read_text(encoding="utf-8")
    raw: Any = yaml.safe_load(text)
    return msgspec.convert(raw, kind)


Form: TypeAlias = tuple[tuple[str, str], ...]

_API: Final = "api.twilio.com"
_TYPE: Final = ("Content-Type", "application/x-www-form-urlencoded")
_OTHER_NUMBER: Final = "+14105550100"  # fictional: of the range that is never assigned
FORMATS: Final[tuple[Format, ...]] = ("json", "xml")


@dataclass(frozen=True, slots=True)
class ClaimProbe:
    """A request that shows whether some claims hold.

    Attributes:
        id: Its name: that of the first claim, with the format.
        claims: The ids of the claims about its outcome.
        method: Its method.
        host: Its host.
        path: Its path, with `{account}` for the caller's account.
        form: Its form.
        format: The format that it asks for.
    """

    id: str
    claims: tuple[str, ...]
    method: str
    host: str
    path: str
    form: tuple[tuple[str, str], ...]
    format: Format

    def request(self, account: str) -> Request:
        """The request for the credentials of `account`, without an Authorization field."""
        target = self.path.replace("{account}", account)
        body = urlencode(self.form).encode() if self.method == "POST" else b""
        headers = (_TYPE, ("Content-Length", str(len(body)))) if self.method == "POST" else ()
        return Request(self.method, self.host, target, headers, body)


def probes_of(contract: Contract, known: Facts) -> Iterator[ClaimProbe]:
    """A request for every claim about an outcome, in both formats; equal requests are one."""
    asked: dict[tuple[str, str, str, Form], list[str]] = {}
    for claim, method, host, path, form in _asked(contract, known):
        asked.setdefault((method, host, path, form), []).append(claim)
    for (method, host, path, fields), claims in asked.items():
        for kind in FORMATS if host == _API else FORMATS[:1]:
            path_in = _with_format(path, kind)
            yield ClaimProbe(f"{claims[0]}.{kind}", tuple(claims), method, host, path_in, fields, kind)


def _asked(contract: Contract, known: Facts) -> Iterator[tuple[str, str, str, str, Form]]:
    """Claim, method, host, path and form of everything that is asked."""
    examples = {example.id: example for example in contract.examples}
    for resource in contract.resources:
        base = _base(resource, contract.examples)
        path = f"/{contract.gate.version}/Accounts/{{account}}/{resource.path}"
        for row in resource.magic:
            form = _with(base, {row.parameter: _example_value(resource, row.parameter, row.value, base)})
            yield f"{resource.resource}.{row.id}", "POST", _API, path, form
        for need in resource.required:
            form = _with(base, dict.fromkeys((need.parameter, *need.alternatives)))
            yield f"{resource.resource}.{need.id}", "POST", _API, path, form
        for example in contract.examples:
            if example.resource == resource.resource:
                yield f"example.{example.id}", "POST", _API, path, example.form
        for sentence in known.sentences:
            if sentence.resource == resource.resource:
                form = _with(examples[sentence.base].form, sentence.form)
                yield sentence.id, "POST", _API, path, form
    for outside in known.outside.resources:
        rule = outside_id("GET", outside.host, outside.path)
        yield rule, "GET", outside.host, _filled(outside.path), ()


def _base(resource: Resource, examples: tuple[Example, ...]) -> Form:
    """The form of the resource's example that succeeds."""
    return next(
        example.form
        for example in examples
        if example.resource == resource.resource and example.expect is None
    )


def _with(form: Form, changes: dict[str, str | None]) -> Form:
    """`form` with fields replaced, added or (None) taken away; AreaCode takes PhoneNumber's place."""
    if "AreaCode" in changes:
        changes = {"PhoneNumber": None, **changes}
    kept = [(name, changes.get(name, value)) for name, value in form]
    kept += [(name, value) for name, value in changes.items() if name not in dict(form)]
    return tuple((name, "x" * 1601 if value == "x*1601" else value) for name, value in kept if value)


def _example_value(resource: Resource, parameter: str, value: str, base: Form) -> str:
    """A value for a row: the row's own, or for "any other" one that no row names."""
    if value != OTHER:
        return value
    sent = dict(base).get(parameter, "")
    named = {row.value for row in resource.magic if row.parameter == parameter}
    if sent and sent not in named:
        return sent
    return "415" if parameter == "AreaCode" else _OTHER_NUMBER


def _filled(path: str) -> str:
    """`path` with sids that do not exist."""
    start, found, rest = path.partition("{sid:")
    return f"{start}{rest[:2]}{'0' * 32}{rest[3:]}" if found else path


def _with_format(path: str, form: Format) -> str:
    return f"{path}.json" if form == "json" and path.startswith("/2010-04-01/") else path


ERROR_FIELDS: Final = ("code", "message", "more_info", "status")
# Outcomes that no row is about, so nothing is asked for them; recordings may have them.
_UNASKED: Final = (".malformed", f".{NO_NUMBER}")
_FAMILIES: Final = ("error", "format", "header", "outside", "status", "text")


@dataclass(frozen=True, slots=True)
class Claim:
    """One thing that the documentation says.

    Attributes:
        id: Its name; `--only` selects by it.
        says: What it says.
        severity: How bad it is if it does not hold.
        line: The line of the page, or None where the page does not speak of it.
        basis: How well it is known.
    """

    id: str
    says: str
    severity: Severity
    line: int | None = None
    basis: Basis = "documented"


def claims_of(contract: Contract, known: Facts) -> Iterator[Claim]:
    """Every claim of `contract` and of what is known besides."""
    for resource in contract.resources:
        name = resource.resource
        for row in resource.magic:
            says = f"{name} with {row.parameter}={_value(row.value)} "
            says += "passes" if row.error is None else f"fails with {row.error}"
            yield Claim(f"{name}.{row.id}", says, outcome_severity(row.basis), row.line, row.basis)
        for need in resource.required:
            either = " or ".join((need.parameter, *need.alternatives))
            says = f"{name} without {either} fails with {need.error}"
            yield Claim(f"{name}.{need.id}", says, outcome_severity(need.basis), need.line, need.basis)
        for refused in resource.refused:
            says = f"{name} with {refused.parameter} fails"
            yield Claim(f"{name}.{refused.id}", says, "error", refused.line, "documented")
        for pointer, field in fields_of(resource.answer):
            says = f"the answer of {name} has {pointer}"
            yield Claim(field_rule(name, pointer), says, field_severity(field), field.line, field.basis)
    yield from _texts(contract)
    yield from _general(contract, known)


def _texts(contract: Contract) -> Iterator[Claim]:
    newer = {text.replaces or text.code: text for text in contract.newer}
    for text in contract.errors:
        if text.variant is None:
            rule = text_rule(text.code, text.resource)
            severity: Severity = "info" if text.basis == "assumed" else "warning"
            says = f"{text.code} reads: {text.message}"
            if text.code in newer:
                later = newer[text.code]
                says += f" (asked first: live credentials get {later.code}: {later.message})"
            yield Claim(rule, says, severity, text.line, text.basis)


def _general(contract: Contract, known: Facts) -> Iterator[Claim]:
    failing = next((example for example in contract.examples if example.expect), None)
    line = failing.json_line if failing else None
    for offset, name in zip((3, 2, 4, 1), ERROR_FIELDS, strict=True):
        where = line + offset if line else None
        yield Claim(f"error.{name}", f"an error has /{name}", "error", where)
    for example in contract.examples:
        what = f"fails with {example.expect}" if example.expect else "succeeds"
        yield Claim(f"example.{example.id}", f"the example {example.id} {what}", "error", example.line)
    for sentence in known.sentences:
        basis: Basis = "documented" if sentence.line else "recorded"
        yield Claim(sentence.id, sentence.says, "error", sentence.line, basis)
    for outside in known.outside.resources:
        rule = outside_id("GET", outside.host, outside.path)
        says = f"GET {outside.path} on {outside.host} answers 403"
        line_of = (outside.line or known.outside.line) if outside.basis == "documented" else None
        yield Claim(rule, says, outcome_severity(outside.basis), line_of, outside.basis)
    refusal = contract.refusals["resource.unsupported"]
    yield Claim(
        text_rule(refusal.code, None),
        f"{refusal.code} reads: {refusal.message}",
        "warning",
        None,
        "recorded",
    )
    yield Claim("resource.unsupported", "every other resource answers 403", "error", known.outside.line)
    yield Claim("format.date", "dates are RFC 2822 with +0000", "warning", _date_line(contract))
    yield Claim("format.body", "an answer is JSON for .json, else XML", "error", line)
    yield Claim("format.element", "XML has the resource's element", "error", line)
    yield Claim("header.api", "an answer has the API's own header fields", "warning", None, "recorded")
    for header in known.headers.headers:
        rule = f"header.{header.name.lower()}"
        yield Claim(rule, f"an answer has {header.name}", "warning", None, "recorded")
    for status in sorted({201, 403, *(text.status for text in contract.errors)}):
        basis = "documented" if status in {400, 403} else "recorded"
        at = {400: line + 1 if line else None, 403: known.outside.line}.get(status)
        yield Claim(f"status.{status}", f"HTTP status {status}", "warning", at, basis)


def _date_line(contract: Contract) -> int | None:
    for resource in contract.resources:
        for _, field in fields_of(resource.answer):
            if field.value == "$now":
                return field.line
    return None


def fields_of(entries: tuple[Field, ...], prefix: str = "") -> Iterator[tuple[str, Field]]:
    """Every field with its JSON pointer, an object before its own fields."""
    for entry in entries:
        pointer = f"{prefix}/{entry.json}"
        yield pointer, entry
        yield from fields_of(entry.fields, pointer)


def field_rule(resource: str, pointer: str) -> str:
    """The claim that an answer of `resource` has the field at `pointer`."""
    return f"{resource}.answer{pointer.replace('/', '.')}"


def text_rule(code: int, resource: str | None) -> str:
    """The claim about the text of an error code."""
    return f"text.{code}.{resource}" if resource else f"text.{code}"


def outcome_severity(basis: Basis) -> Severity:
    """Return the severity of another outcome than `basis` documents; an undocumented one cannot be broken."""
    return "info" if basis == "assumed" else "error"


def field_severity(field: Field) -> Severity:
    """Return the severity of `field` missing or having another type."""
    if field.basis == "assumed":
        return "info"
    return "warning" if field.basis == "recorded" and field.line is None else "error"


def may_be_rule(glob: str, resources: Collection[str]) -> bool:
    """Report whether `glob` can match a finding although it matches no claim: it is narrower, or new.

    Args:
        glob: As given to `--only`.
        resources: The names of the documented resources.
    """
    first, _, rest = glob.partition(".")
    of_resource = f"{rest}.".startswith("answer.") or rest.endswith(_UNASKED)
    return bool(rest) and (first in _FAMILIES or (first in resources and of_resource))


def _value(value: str) -> str:
    return "any other" if value == OTHER else value


_STAMP: Final = AnswerStamp("0" * 32, "0" * 32, datetime(2012, 10, 10, 21, 36, 14, tzinfo=UTC), 0.1)
_KEPT: Final = 2048  # offline answers; a run asks for about two hundred


class ClaimSet:
    """A contract as claims.

    Args:
        contract: The contract; the documented one by default.
    """

    def __init__(self, contract: Contract | None = None) -> None:
        self.contract = contract or contracts.load()
        self.facts: Facts = load_facts()
        self._offline: OrderedDict[Request, Answer] = OrderedDict()
        self._successes: OrderedDict[tuple[str, Fields, str], dict[str, Leaf]] = OrderedDict()

    def offline(self, request: Request) -> Answer:
        """Return the contract's answer to `request`, always with the same sid and date."""
        asked = plain(request)
        found = self._offline.get(asked)
        if found is None:
            found = contracts.answer(self.contract, asked, Names(asked.host), contracts.Credentials(), _STAMP)
            self._offline[asked] = found
            if len(self._offline) > _KEPT:
                self._offline.popitem(last=False)
        return found

    def success(self, resource: Resource, form: Fields, account: str) -> dict[str, Leaf]:
        """The leaves of the answer that `form` gets where it succeeds, even where the contract refuses it."""
        key = (resource.resource, form, account)
        found = self._successes.get(key)
        if found is None:
            outcome = Decision(resource, resource.resource, "documented")
            written = Writer(self.contract, "json", _STAMP).success(outcome, form, account)
            found = flatten(tree_of_json(json.loads(written.body)))
            self._successes[key] = found
            if len(self._successes) > _KEPT:
                self._successes.popitem(last=False)
        return found

    def cite(self, line: int | None) -> Citation | None:
        """Return the place on the page that `line` is in, or None where the page has no such line."""
        try:
            return self.contract.cite(line) if line else None
        except KeyError:
            return None  # a line of a user's own row

    @cached_property
    def claims(self) -> dict[str, Claim]:
        """Every claim by its id."""
        return {claim.id: claim for claim in claims_of(self.contract, self.facts)}

    @cached_property
    def probes(self) -> tuple[ClaimProbe, ...]:
        """Every request, in the order in which they are sent: first those whose text may have changed."""
        changed = {text.replaces or text.code for text in self.contract.newer}
        probes = probes_of(self.contract, self.facts)
        return tuple(sorted(probes, key=lambda probe: self._code(probe) not in changed))

    def _code(self, probe: ClaimProbe) -> int | None:
        """Return the error code that the contract answers to `probe`, or None."""
        return error_code(self.offline(probe.request(f"AC{'0' * 32}")).body)
