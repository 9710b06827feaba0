"""The fields of a success answer, one by one: there, of the right type and shape, of the promised value."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Final

from ringback.contract import numbers
from ringback.drift import shapes
from ringback.drift.checks import Difference
from ringback.drift.claims import field_rule, field_severity
from ringback.drift.trees import Leaf, escape

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ringback.contract import Basis, Format
    from ringback.contract.schema import Field
    from ringback.drift.checks import Notes
    from ringback.drift.findings import Kind, Severity
    from ringback.drift.knowledge import Slip
    from ringback.drift.trees import Tree

_ALIKE: Final = 0.5  # how alike two names must be for a field to count as renamed
_TRUTH: Final = ("true", "false")
_NEW: Final = "not mentioned"


@dataclass(frozen=True, slots=True)
class Context:
    """What the fields of one answer are held against.

    Attributes:
        resource: Whose answer it is.
        format: Its format.
        account: The account in the request's path.
        form: The form that was sent.
        expected: The offline answer's leaves by pointer, in JSON.
        slips: The page's own mistakes about this resource.
        judged: Whether test credentials asked, so that promised values count.
    """

    resource: str
    format: Format
    account: str
    form: Mapping[str, str]
    expected: Mapping[str, Leaf]
    slips: Sequence[Slip]
    judged: bool


def look(context: Context, fields: Sequence[Field], tree: Tree, notes: Notes) -> None:
    """Check every field of `tree` against `fields`."""
    sid = tree.get("sid")
    _Look(context, notes, sid.text if isinstance(sid, Leaf) else "").level(fields, tree, "")


def names(context: Context, sid: str = "") -> dict[str, str]:
    """What of a text belongs to this one exchange: replaced in causes by its name."""
    known = {"account": context.account, "sid": sid}
    for name, value in context.form.items():
        known[name] = value
        if name in {"To", "From", "PhoneNumber"}:
            known |= {f"{name} in E.164": numbers.e164(value), f"{name} formatted": numbers.national(value)}
    return {name: value for name, value in known.items() if value}


@dataclass(frozen=True, slots=True)
class _Look:
    context: Context
    notes: Notes
    sid: str

    def level(self, fields: Sequence[Field], tree: Tree, prefix: str) -> None:
        """One object and what is in it."""
        claimed = {field.json for field in fields}
        new = {name: inner for name, inner in tree.items() if name not in claimed}
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
            self._new(f"{prefix}/{escape(name)}", inner)

    def _new(self, pointer: str, inner: Leaf | Tree) -> None:
        observed = "new field" + (
            f" ({inner.kind})" if isinstance(inner, Leaf) and inner.kind != "text" else ""
        )
        rule = field_rule(self.context.resource, pointer)
        difference = Difference("added", "info", self.context.resource, pointer, _NEW, observed, "added")
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
        for slip in self.context.slips:
            if slip.pointer == pointer and isinstance(seen, Leaf) and self._slipped(slip, seen):
                if not self._as_expected(pointer, seen):
                    self.notes.known.add(slip.id)
                self._note(field, pointer)
                return
        difference = self._difference(field, pointer, seen)
        if difference is None and field.line is None and field.basis == "recorded":
            self.notes.known.add(field_rule(self.context.resource, pointer))
        general = "format.date" if field.value == "$now" else None
        self.notes.add(field_rule(self.context.resource, pointer), difference, general)

    def _slipped(self, slip: Slip, seen: Leaf) -> bool:
        if slip.format not in {None, self.context.format}:
            return False
        known = {"account": self.context.account, "sid": self.sid}
        text = shapes.template(seen.text.removesuffix(".json"), {k: v for k, v in known.items() if v})
        return (None if seen.kind == "null" else text) in slip.also

    def _as_expected(self, pointer: str, seen: Leaf) -> bool:
        expected = self.context.expected.get(pointer)
        return expected is not None and expected.text == seen.text

    def _difference(self, field: Field, pointer: str, seen: Leaf | Tree) -> Difference | None:
        """How the value of a field that is there differs."""
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

    def _null(self, field: Field, pointer: str, seen: Leaf) -> Difference | None:
        if seen.kind == "null" or not self.context.judged:
            return None
        known = names(self.context, self.sid)
        cause = shapes.template(seen.text, known) if field.type is None else "no longer null"
        return self._differs(
            field, pointer, "value", str(seen), cause, severity="info", wanted="null", lexical=seen.text
        )

    def _date(self, field: Field, pointer: str, seen: Leaf) -> Difference | None:
        if seen.kind not in {"string", "text"}:
            what = "null" if seen.kind == "null" else f"{seen.kind} {seen}"
            shape = shapes.date_format(seen.text)
            return self._differs(field, pointer, "type", what, seen.kind, lexical=shape)
        if shapes.DATE.fullmatch(seen.text):
            return None
        shape = shapes.date_format(seen.text)
        return self._differs(
            field, pointer, "value", f"{shape}: {seen}", shape, severity="warning", lexical=shape
        )

    def _text(self, field: Field, pointer: str, seen: Leaf, expected: Leaf) -> Difference | None:
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
            agrees = not self.context.judged or seen.text == expected.text
        if agrees:
            return None
        cause = shapes.template(seen.text, names(self.context, self.sid))
        lexical = seen.text if cause == seen.text else None
        return self._differs(field, pointer, "value", str(seen), cause, severity="warning", lexical=lexical)

    def _identifier(self, field: Field, pointer: str, seen: Leaf, prefix: str) -> Difference | None:
        if shapes.is_sid(seen.text, prefix):
            return None
        shape = shapes.identifier(seen.text)
        return self._differs(field, pointer, "type", shape, shape)

    def _is_uri(self, seen: Leaf, expected: Leaf) -> bool:
        """Whether a path is the documented one of what was made, under whatever sid that has."""
        known = self.context.expected["/sid"].text
        wanted = expected.text.removesuffix(".json") if self.context.format == "xml" else expected.text
        start, _, end = wanted.partition(known)
        if shapes.is_sid(self.sid, known[:2]):
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
    ) -> Difference:
        basis: Basis = "documented" if field.line else field.basis
        if severity is None:
            severity = field_severity(field)
        elif field.basis == "assumed":
            severity = "info"
        documented = wanted or self._described(field, pointer)
        return Difference(
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
    """What the documentation says about a field, for people."""
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
    """Whether a value is of the type of the documented one; XML tells only booleans and integers apart."""
    if seen.kind != "text":
        return seen.kind == expected.kind or (seen.kind == "null" and not expected.text)
    if expected.kind == "boolean":
        return seen.text in _TRUTH
    return expected.kind != "integer" or seen.is_integer
