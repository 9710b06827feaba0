"""Comparison of an answer's parts: fields of a success, fields and text of an error, header fields."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Final

from ringback.contract import values
from ringback.contract.render import TRIAL_NOTICE, count_segments
from ringback.contract.rules import fill
from ringback.drift.body import DATE, Leaf, date_format, escape_pointer, identifier_shape, is_sid, templated
from ringback.drift.claims import ERROR_FIELDS, field_rule, field_severity, text_rule
from ringback.drift.observation import ClaimDifference
from ringback.exchange import PROVENANCE_PREFIX, cached_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ringback.contract import Basis, Format
    from ringback.contract.schema import Field
    from ringback.drift.body import Tree
    from ringback.drift.claims import AnswerErratum, ClaimSet, HeaderField, HeaderFile
    from ringback.drift.observation import Kind, Notes, Observation, Severity


_ALIKE: Final = 0.5  # how alike two names must be for a field to count as renamed
_TRUTH: Final = ("true", "false")
_NEW: Final = "not mentioned"
_MOST_NEW: Final = 100  # new fields of one object, or header fields of one answer, that are looked at
TRIAL_ACCOUNT: Final = "account.trial"  # known of an account whose bodies begin with the notice


@dataclass(frozen=True, slots=True)
class SuccessContext:
    """Inputs for checking the fields of one successful answer.

    Attributes:
        resource: Whose answer it is.
        format: Its format.
        account: The account in the request's path.
        form: The form that was sent.
        expected: The offline answer's leaves by pointer, in JSON.
        errata: The page's own mistakes about this resource.
        judged: Whether test credentials asked, so that promised values count.
    """

    resource: str
    format: Format
    account: str
    form: Mapping[str, str]
    expected: Mapping[str, Leaf]
    errata: Sequence[AnswerErratum]
    judged: bool


def check_fields(context: SuccessContext, fields: Sequence[Field], tree: Tree, notes: Notes) -> None:
    """Check every field of `tree` against `fields`."""
    if not any(field.json in tree for field in fields):
        # Another body altogether: one finding, and none about what each field is not.
        documented = f"{len(fields)} fields, {fields[0].json} and so on"
        difference = ClaimDifference(
            "removed", "error", context.resource, "", documented, "none of them", "removed", fields[0].line
        )
        notes.add(f"{context.resource}.answer", difference)
        return
    sid, body = tree.get("sid"), tree.get("body")
    trial = isinstance(body, Leaf) and body.text == TRIAL_NOTICE + context.form.get("Body", "")
    if trial:
        notes.known.add(TRIAL_ACCOUNT)
    checker = _FieldChecker(context, notes, sid.text if isinstance(sid, Leaf) else "", trial=trial)
    checker.level(fields, tree, "")


def own_values(context: SuccessContext, sid: str = "") -> dict[str, str]:
    """Map the values that belong to this one exchange to names that replace them in causes."""
    known = {"account": context.account, "sid": sid}
    for name, value in context.form.items():
        known[name] = value
        if name in {"To", "From", "PhoneNumber"}:
            known |= {f"{name} in E.164": values.e164(value), f"{name} formatted": values.national(value)}
    return {name: value for name, value in known.items() if value}


@dataclass(frozen=True, slots=True)
class _FieldChecker:
    context: SuccessContext
    notes: Notes
    sid: str
    trial: bool

    def level(self, fields: Sequence[Field], tree: Tree, prefix: str) -> None:
        """One object and what is in it."""
        claimed = {field.json for field in fields}
        new = dict(islice(((name, inner) for name, inner in tree.items() if name not in claimed), _MOST_NEW))
        for field in fields:
            pointer = f"{prefix}/{field.json}"
            seen = tree.get(field.json)
            if seen is None:
                self._missing(field, pointer, new)
            elif field.fields and not isinstance(seen, Leaf):
                self._note(field, pointer)
                self.level(field.fields, seen, pointer)
            else:
                self._value(field, pointer, seen)
        for name, inner in new.items():
            self._new(f"{prefix}/{escape_pointer(name)}", inner)

    def _new(self, pointer: str, inner: Leaf | Tree) -> None:
        observed = "new field" + (
            f" ({inner.kind})" if isinstance(inner, Leaf) and inner.kind != "text" else ""
        )
        rule = field_rule(self.context.resource, pointer)
        difference = ClaimDifference("added", "info", self.context.resource, pointer, _NEW, observed, "added")
        self.notes.add(rule, difference)

    def _missing(self, field: Field, pointer: str, new: dict[str, Leaf | Tree]) -> None:
        name = self._renamed(field, pointer, new)
        if name is None:
            self._note(field, pointer, "removed", "no such field", "removed")
        else:
            del new[name]
            self._note(field, pointer, "removed", f"no such field; it seems to be called {name} now", name)

    def _renamed(self, field: Field, pointer: str, new: Mapping[str, Leaf | Tree]) -> str | None:
        """The new field that is this one under another name: its value fits and its name is not far off."""
        best: tuple[float, str] | None = None
        for name, inner in new.items():
            if isinstance(inner, Leaf) == bool(field.fields):
                continue
            if isinstance(inner, Leaf) and self._difference(field, pointer, inner) is not None:
                continue
            likeness = SequenceMatcher(None, field.json, name.lower()).ratio()
            if likeness >= _ALIKE and (best is None or likeness > best[0]):
                best = likeness, name
        return best[1] if best else None

    def _value(self, field: Field, pointer: str, seen: Leaf | Tree) -> None:
        for erratum in self.context.errata:
            if erratum.pointer == pointer and isinstance(seen, Leaf) and self._follows_erratum(erratum, seen):
                if not self._as_expected(pointer, seen):
                    self.notes.known.add(erratum.id)
                self._note(field, pointer)
                return
        difference = self._difference(field, pointer, seen)
        if difference is None and field.line is None and field.basis == "recorded":
            self.notes.known.add(field_rule(self.context.resource, pointer))
        general = "format.date" if field.value == "$now" else None
        self.notes.add(field_rule(self.context.resource, pointer), difference, general)

    def _follows_erratum(self, erratum: AnswerErratum, seen: Leaf) -> bool:
        if erratum.format not in {None, self.context.format}:
            return False
        known = {"account": self.context.account, "sid": self.sid}
        text = templated(seen.text.removesuffix(".json"), {k: v for k, v in known.items() if v})
        return (None if seen.kind == "null" else text) in erratum.also

    def _as_expected(self, pointer: str, seen: Leaf) -> bool:
        expected = self.context.expected.get(pointer)
        return expected is not None and expected.text == seen.text

    def _difference(self, field: Field, pointer: str, seen: Leaf | Tree) -> ClaimDifference | None:
        """Return the difference of the value of a field that is present, or None."""
        if field.fields or not isinstance(seen, Leaf):
            what = str(seen.kind) if isinstance(seen, Leaf) else "object"
            wanted = "an object" if field.fields else self._described(field, pointer)
            return self._differs(field, pointer, "type", what, what, wanted=wanted)
        expected = self.context.expected.get(pointer, Leaf("null", ""))
        if field.value == "$now":
            return self._date(field, pointer, seen)
        if expected.kind == "null":
            return self._null(field, pointer, seen)
        if seen.kind == "null" and not (self.context.format == "xml" and not expected.text):
            return self._differs(field, pointer, "type", "null", "null", lexical="")
        if not _of_type(seen, expected):
            return self._differs(field, pointer, "type", f"{seen.kind} {seen}", seen.kind, lexical=seen.text)
        return self._text(field, pointer, seen, expected)

    def _null(self, field: Field, pointer: str, seen: Leaf) -> ClaimDifference | None:
        if seen.kind == "null" or not self.context.judged:
            return None
        known = own_values(self.context, self.sid)
        cause = templated(seen.text, known) if field.type is None else "no longer null"
        return self._differs(
            field, pointer, "value", str(seen), cause, severity="info", wanted="null", lexical=seen.text
        )

    def _date(self, field: Field, pointer: str, seen: Leaf) -> ClaimDifference | None:
        if seen.kind not in {"string", "text"}:
            what = "null" if seen.kind == "null" else f"{seen.kind} {seen}"
            shape = date_format(seen.text)
            return self._differs(field, pointer, "type", what, seen.kind, lexical=shape)
        if DATE.fullmatch(seen.text):
            return None
        shape = date_format(seen.text)
        return self._differs(
            field, pointer, "value", f"{shape}: {seen}", shape, severity="warning", lexical=shape
        )

    def _text(self, field: Field, pointer: str, seen: Leaf, expected: Leaf) -> ClaimDifference | None:
        """A value of the right type: an identifier by its shape, everything else by value."""
        if field.value == "$sid":
            return self._identifier(field, pointer, seen, expected.text[:2])
        if field.value == "$account_sid":
            if seen.text == self.context.account:
                return None
            another = "another account"
            return self._identifier(field, pointer, seen, "AC") or self._differs(
                field, pointer, "value", another, another, severity="warning"
            )
        if isinstance(field.value, str) and field.value.startswith("$uri"):
            agrees = self._is_uri(seen, expected)
        else:
            agrees = not self.context.judged or seen.text == self._promised(pointer, expected)
        if agrees:
            return None
        cause = templated(seen.text, own_values(self.context, self.sid))
        lexical = seen.text if cause == seen.text else None
        return self._differs(field, pointer, "value", str(seen), cause, severity="warning", lexical=lexical)

    def _promised(self, pointer: str, expected: Leaf) -> str:
        """The promised value; of a trial account that of the body with Twilio's notice before it."""
        if not self.trial or pointer not in {"/body", "/num_segments"}:
            return expected.text
        body = TRIAL_NOTICE + self.context.form.get("Body", "")
        return body if pointer == "/body" else str(count_segments(body))

    def _identifier(self, field: Field, pointer: str, seen: Leaf, prefix: str) -> ClaimDifference | None:
        if is_sid(seen.text, prefix):
            return None
        shape = identifier_shape(seen.text)
        return self._differs(field, pointer, "type", shape, shape)

    def _is_uri(self, seen: Leaf, expected: Leaf) -> bool:
        """Report whether a path is the documented one of the created resource, whatever its sid."""
        known = self.context.expected["/sid"].text
        wanted = expected.text.removesuffix(".json") if self.context.format == "xml" else expected.text
        start, _, end = wanted.partition(known)
        if is_sid(self.sid, known[:2]):
            return seen.text == f"{start}{self.sid}{end}"
        # That the sid is no sid is a finding of its own.
        middle = seen.text.removeprefix(start).removesuffix(end)
        return seen.text == f"{start}{middle}{end}" and middle != "" and "/" not in middle

    def _described(self, field: Field, pointer: str) -> str:
        return describe(field, self.context.expected.get(pointer, Leaf("null", "")))

    def _differs(  # noqa: PLR0913 - a difference has that many sides
        self,
        field: Field,
        pointer: str,
        kind: Kind,
        observed: str,
        cause: str,
        *,
        severity: Severity | None = None,
        wanted: str | None = None,
        lexical: str | None = None,
    ) -> ClaimDifference:
        basis: Basis = "documented" if field.line else field.basis
        if severity is None:
            severity = field_severity(field)
        elif field.basis == "assumed":
            severity = "info"
        documented = wanted or self._described(field, pointer)
        return ClaimDifference(
            kind,
            severity,
            self.context.resource,
            pointer,
            documented,
            observed,
            cause,
            field.line,
            basis,
            lexical,
        )

    def _note(
        self, field: Field, pointer: str, kind: Kind | None = None, observed: str = "", cause: str = ""
    ) -> None:
        difference = self._differs(field, pointer, kind, observed, cause) if kind else None
        self.notes.add(field_rule(self.context.resource, pointer), difference)


def describe(field: Field, expected: Leaf) -> str:
    """Describe the documentation of a field in words."""
    if field.fields:
        return "an object"
    if field.value == "$now":
        return "a date, RFC 2822 with +0000"
    if field.value == "$sid":
        return f"{expected.text[:2]} and 32 hex digits"
    if field.value == "$account_sid":
        return "the caller's AccountSid"
    if isinstance(field.value, str) and field.value.startswith("$uri"):
        return "the path of what was made" + field.value.removeprefix("$uri")
    return str(expected)


def _of_type(seen: Leaf, expected: Leaf) -> bool:
    """Report whether a value has the documented type; XML tells only booleans and integers apart."""
    if seen.kind != "text":
        return seen.kind == expected.kind or (seen.kind == "null" and not expected.text)
    if expected.kind == "boolean":
        return seen.text in _TRUTH
    return expected.kind != "integer" or seen.is_integer


_TYPES: Final = {
    "code": ("integer", "text"),
    "message": ("string", "text"),
    "more_info": ("string", "text"),
    "status": ("integer", "text"),
}


@dataclass(frozen=True, slots=True)
class DocumentedText:
    """The documented text of an error.

    Attributes:
        rule: The claim.
        resource: Whose error it is, `*` for everybody's.
        message: The text for this request.
        template: The text with its placeholders.
        basis: How well it is known.
        line: The line of the page that has it.
    """

    rule: str
    resource: str
    message: str
    template: str
    basis: Basis
    line: int | None = None


def code_in(tree: Tree) -> int | None:
    """The error code, whatever type it has."""
    code = tree.get("code")
    return int(code.text) if isinstance(code, Leaf) and code.is_integer else None


def check_error(claim_set: ClaimSet, tree: Tree, status: int, narrow: str, notes: Notes) -> None:
    """Check the fields of an error body.

    Args:
        claim_set: The claims.
        tree: The body.
        status: The HTTP status that came with it.
        narrow: What makes a claim about all errors one about this error: its code.
        notes: Where to note it.
    """
    error = _ErrorChecker(claim_set, tree, status, notes)
    if not any(name in tree for name in ERROR_FIELDS):
        missing = error.difference("code")
        assert missing is not None, "it is not in the tree"
        none = replace(missing, pointer="", documented="an error's four fields", observed="none of them")
        notes.add(f"error.code.{narrow}", none, "error.code")
        return
    for name in ERROR_FIELDS:
        notes.add(f"error.{name}.{narrow}", error.difference(name), f"error.{name}")
    for name in tree:
        if name not in ERROR_FIELDS:
            pointer = f"/{escape_pointer(name)}"
            new = ClaimDifference("added", "info", "*", pointer, "not mentioned", "new field", "added")
            notes.add(f"error.{name}.{narrow}", new, f"error.{name}")


@dataclass(frozen=True, slots=True)
class _ErrorChecker:
    """The body of an error."""

    claim_set: ClaimSet
    tree: Tree
    status: int
    notes: Notes

    def difference(self, name: str) -> ClaimDifference | None:
        """Return the difference of the field `name`, or None."""
        seen = self.tree.get(name)
        if seen is None:
            return self._differs(name, "removed", "no such field", "removed")
        if not isinstance(seen, Leaf):
            return self._differs(name, "type", "an object", "object")
        wanted = _TYPES[name]
        if seen.kind not in wanted or (wanted[0] == "integer" and not seen.is_integer):
            what = "null" if seen.kind == "null" else f"{seen.kind} {seen}"
            return self._differs(name, "type", what, seen.kind)
        if name == "status" and seen.text != str(self.status):
            what = f"{seen.text} with HTTP status {self.status}"
            return self._differs(name, "value", what, "another", "the HTTP status")
        return self._link(seen) if name == "more_info" else None

    def _link(self, seen: Leaf) -> ClaimDifference | None:
        code = code_in(self.tree)
        link = self.claim_set.contract.gate.more_info
        if code is None or seen.text == link.format(code=code):
            return None
        cause = seen.text.replace(str(code), "{code}")
        for erratum in self.claim_set.facts.errata:
            if erratum.resource is None and erratum.pointer == "/more_info" and cause in erratum.also:
                self.notes.known.add(erratum.id)
                return None
        return self._differs("more_info", "value", cause, cause, link)

    def _differs(
        self, name: str, kind: Kind, observed: str, cause: str, documented: str = ""
    ) -> ClaimDifference:
        claim = self.claim_set.claims[f"error.{name}"]
        severity = "warning" if kind == "value" else claim.severity
        wanted = documented or f"a {_TYPES[name][0]}"
        pointer = f"/{name}"
        return ClaimDifference(
            kind, severity, "*", pointer, wanted, observed, cause, claim.line, "documented"
        )


def check_text(
    claim_set: ClaimSet, text: DocumentedText, tree: Tree, known: Mapping[str, str], notes: Notes
) -> None:
    """Check the wording of an error; `known` is what in it belongs to this one request."""
    seen = tree.get("message")
    if not isinstance(seen, Leaf) or seen.kind not in _TYPES["message"]:
        return
    if seen.text == text.message:
        notes.add(text.rule)
        return
    code = int(text.rule.split(".")[1])
    for erratum in claim_set.facts.errata:
        if erratum.code == code and erratum.pattern and re.fullmatch(erratum.pattern, seen.text):
            notes.known.add(erratum.id)
            notes.add(text.rule)
            return
    difference = ClaimDifference(
        kind="value",
        severity="info" if text.basis == "assumed" else "warning",
        resource=text.resource,
        pointer="/message",
        documented=text.template,
        observed=templated(seen.text, known),
        cause=templated(seen.text, known),
        line=text.line,
        basis=text.basis,
    )
    notes.add(text.rule, difference)


def documented_text(
    claim_set: ClaimSet, code: int, resource: str, known: Mapping[str, str]
) -> DocumentedText | None:
    """The documented text of `code` for a request with the form `known`; None where there is none."""
    try:
        entry = claim_set.contract.text(code, resource)
    except KeyError:
        return None
    if "{parameter}" in entry.message or "{value}" in entry.message:
        return None
    rule = text_rule(entry.code, entry.resource)
    return DocumentedText(rule, resource, fill(entry.message, known), entry.message, entry.basis, entry.line)


_MEDIA: Final = {"json": ("application/json",), "xml": ("application/xml", "text/xml")}
_SHOWN: Final = 80
API_HEADERS: Final = "header.api"  # the claim about all fields of the API's own


def check_headers(known: HeaderFile, observation: Observation, form: str, notes: Notes) -> None:
    """Check the header fields of one answer, and note those that nobody has seen before."""
    answer = observation.answer
    given = {name.lower(): value for name, value in reversed(answer.headers)}  # the first of each name
    for field in known.headers:
        if field.status not in {None, answer.status}:
            continue
        if observation.when is not None and observation.when.date() < field.since:
            continue
        value = given.get(field.name.lower())
        own = not field.media and field.status is None
        notes.add(
            _header_rule(field.name), _header_difference(field, value, form), API_HEADERS if own else None
        )
    names = _known_headers(known)
    new = (pair for pair in answer.headers if pair[0].lower() not in names)
    for name, value in islice(new, _MOST_NEW):
        if not name.lower().startswith(PROVENANCE_PREFIX):
            observed = f"{name}: {value.replace(observation.account, '{account}')[:_SHOWN]}"
            notes.add(
                _header_rule(name),
                ClaimDifference("header", "info", "*", "", "not mentioned", observed, "new"),
            )


@cached_text
def _header_rule(name: str) -> str:
    return f"header.{name.lower()}"


@lru_cache(4)
def _known_headers(known: HeaderFile) -> frozenset[str]:
    """Every name that is no news, in lower case."""
    return frozenset(name.lower() for name in (*(field.name for field in known.headers), *known.transport))


def _header_difference(field: HeaderField, value: str | None, form: str) -> ClaimDifference | None:
    if value is None:
        documented, observed = f"{field.name}, {field.evidence}", f"no {field.name}"
        cause = "missing"
    elif field.media and value.partition(";")[0].strip().lower() not in _MEDIA[form]:
        observed, documented = f"{field.name}: {value[:_SHOWN]}", f"{field.name}: {_MEDIA[form][0]}"
        cause = value.partition(";")[0].strip().lower()
    elif field.pattern is not None and not field.pattern.fullmatch(value):
        observed, documented = f"{field.name}: {value[:_SHOWN]}", f"{field.name} like {field.shape}"
        cause = "another shape"
    else:
        return None
    return ClaimDifference("header", "warning", "*", "", documented, observed, cause, None, "recorded")
