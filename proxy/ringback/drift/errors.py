"""Error answers: the four fields, the text, the link."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ringback.contract.rules import fill
from ringback.drift import shapes
from ringback.drift.checks import Difference
from ringback.drift.claims import ERROR_FIELDS, text_rule
from ringback.drift.trees import Leaf, escape

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ringback.contract import Basis
    from ringback.drift.book import Book
    from ringback.drift.checks import Notes
    from ringback.drift.findings import Kind
    from ringback.drift.trees import Tree

_TYPES: Final = {
    "code": ("integer", "text"),
    "message": ("string", "text"),
    "more_info": ("string", "text"),
    "status": ("integer", "text"),
}


@dataclass(frozen=True, slots=True)
class Text:
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


def look(book: Book, tree: Tree, status: int, narrow: str, notes: Notes) -> None:
    """Check the fields of an error body.

    Args:
        book: The claims.
        tree: The body.
        status: The HTTP status that came with it.
        narrow: What makes a claim about all errors one about this error: its code.
        notes: Where to note it.
    """
    error = _Error(book, tree, status, notes)
    for name in ERROR_FIELDS:
        notes.add(f"error.{name}.{narrow}", error.difference(name), f"error.{name}")
    for name in tree:
        if name not in ERROR_FIELDS:
            pointer = f"/{escape(name)}"
            new = Difference("added", "info", "*", pointer, "not mentioned", "new field", "added")
            notes.add(f"error.{name}.{narrow}", new, f"error.{name}")


@dataclass(frozen=True, slots=True)
class _Error:
    """The body of an error."""

    book: Book
    tree: Tree
    status: int
    notes: Notes

    def difference(self, name: str) -> Difference | None:
        """How the field `name` differs."""
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

    def _link(self, seen: Leaf) -> Difference | None:
        code = code_in(self.tree)
        link = self.book.contract.gate.more_info
        if code is None or seen.text == link.format(code=code):
            return None
        cause = seen.text.replace(str(code), "{code}")
        for slip in self.book.knowledge.slips:
            if slip.resource is None and slip.pointer == "/more_info" and cause in slip.also:
                self.notes.known.add(slip.id)
                return None
        return self._differs("more_info", "value", cause, cause, link)

    def _differs(self, name: str, kind: Kind, observed: str, cause: str, documented: str = "") -> Difference:
        claim = self.book.claims[f"error.{name}"]
        severity = "warning" if kind == "value" else claim.severity
        wanted = documented or f"a {_TYPES[name][0]}"
        pointer = f"/{name}"
        return Difference(kind, severity, "*", pointer, wanted, observed, cause, claim.line, "documented")


def look_at_text(book: Book, text: Text, tree: Tree, known: Mapping[str, str], notes: Notes) -> None:
    """Check the wording of an error; `known` is what in it belongs to this one request."""
    seen = tree.get("message")
    if not isinstance(seen, Leaf) or seen.kind not in _TYPES["message"]:
        return
    if seen.text == text.message:
        notes.add(text.rule)
        return
    code = int(text.rule.split(".")[1])
    for slip in book.knowledge.slips:
        if slip.code == code and slip.pattern and re.fullmatch(slip.pattern, seen.text):
            notes.known.add(slip.id)
            notes.add(text.rule)
            return
    difference = Difference(
        kind="value",
        severity="info" if text.basis == "assumed" else "warning",
        resource=text.resource,
        pointer="/message",
        documented=text.template,
        observed=shapes.template(seen.text, known),
        cause=shapes.template(seen.text, known),
        line=text.line,
        basis=text.basis,
    )
    notes.add(text.rule, difference)


def text_of(book: Book, code: int, resource: str, known: Mapping[str, str]) -> Text | None:
    """The documented text of `code` for a request with the form `known`; None where there is none."""
    try:
        entry = book.contract.text(code, resource)
    except KeyError:
        return None
    if "{parameter}" in entry.message or "{value}" in entry.message:
        return None
    rule = text_rule(entry.code, entry.resource)
    return Text(rule, resource, fill(entry.message, known), entry.message, entry.basis, entry.line)
