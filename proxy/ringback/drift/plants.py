"""The kinds of change that can be planted, each with what it must be reported as.

What a change must be reported as is written here, and nowhere read from the code that is being shown.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from ringback.contract import Answer, Source
from ringback.drift.changes import HEAD, edit, fail, put
from ringback.drift.claims import fields_of

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from ringback.contract import Format
    from ringback.contract.schema import Field, Resource
    from ringback.drift.book import Book
    from ringback.drift.changes import Change, Edit
    from ringback.drift.findings import Finding, Severity
    from ringback.drift.probes import Probe


ACCOUNT: Final = "AC" + "0123456789abcdef" * 2
HEADERS: Final = ("Content-Type", "Twilio-Request-Id", "X-API-Domain", "X-Powered-By", "X-Shenanigans")
_OTHER_CODES: Final = (20001, 21219, 21629, 30003, 63007)
_STATUSES: Final = {400: (403, 404, 422), 429: (400, 403), 201: (200, 202)}
# Where the page itself is wrong, both its answer and the corrected one count as documented.
_UNSURE: Final = ("/body", "/uri", "/to_formatted", "/direction", "/api_version")


@dataclass(frozen=True)
class Plant:
    """One change.

    Attributes:
        kind: Which kind of change.
        what: Where, for people.
        severity: As what it must be reported.
        place: The pointer or claim that the finding must name.
        probes: The requests whose answers it changes.
        change: Changes one answer.
    """

    kind: str
    what: str
    severity: Severity
    place: str
    probes: frozenset[str]
    change: Change

    def found_by(self, finding: Finding) -> bool:
        """Whether `finding` is about this change, and as bad as it must be."""
        places = {finding.rule, finding.pointer, *finding.claims, *finding.pointers}
        named = any(place == self.place or place.startswith(f"{self.place}.") for place in places)
        return named and finding.severity == self.severity


# -- what can be changed


def _rows(book: Book, *, fails: bool) -> list[tuple[Resource, str, int | None]]:
    """The page's rows that fail, or pass: resource, claim and code."""
    return [
        (resource, f"{resource.resource}.{row.id}", row.error)
        for resource in book.contract.resources
        for row in resource.magic
        if row.basis == "documented" and (row.error is not None) == fails
    ]


def _fields(book: Book, wanted: Callable[[Field], bool]) -> list[tuple[Resource, str, Field]]:
    """The page's fields of the kind that is wanted, with their pointers."""
    return [
        (resource, pointer, field)
        for resource in book.contract.resources
        for pointer, field in fields_of(resource.answer)
        if field.line is not None and not field.fields and pointer not in _UNSURE and wanted(field)
    ]


def _of_claim(book: Book, claim: str) -> frozenset[str]:
    return frozenset(probe.id for probe in book.probes if claim in probe.claims)


def _successes(book: Book, resource: Resource, only: Format | None = None) -> frozenset[str]:
    """Every request to `resource` that succeeds."""
    return frozenset(
        probe.id
        for probe in book.probes
        if probe.method == "POST"
        and f"/{resource.path}" in probe.path
        and only in {None, probe.format}
        and book.offline(probe.request(ACCOUNT)).status < 400
    )


# -- the kinds


def _code(book: Book, rng: random.Random) -> Plant:
    _, claim, code = rng.choice(_rows(book, fails=True))
    other = rng.choice([number for number in _OTHER_CODES if number != code])
    return Plant("another error code", claim, "error", claim, _of_claim(book, claim), fail(other))


def _lost(book: Book, rng: random.Random) -> Plant:
    resource, claim, _ = rng.choice(_rows(book, fails=True))
    probe = next(probe for probe in book.probes if probe.id in _successes(book, resource, "json"))
    good = {form: answers_in(book, probe, form) for form in ("json", "xml")}

    def change(_: Answer, form: Format) -> Answer:
        return good[form]

    return Plant("an error that is gone", claim, "error", claim, _of_claim(book, claim), change)


def _new(book: Book, rng: random.Random) -> Plant:
    _, claim, _ = rng.choice(_rows(book, fails=False))
    change = fail(rng.choice(_OTHER_CODES))
    return Plant("a new error", claim, "error", claim, _of_claim(book, claim), change)


def _wording(book: Book, rng: random.Random) -> Plant:
    known = [row for row in _rows(book, fails=True) if _text_of(book, row).basis != "assumed"]
    row = rng.choice(known)
    text = rng.choice(("Reworded: ", "Error - "))

    def how(inner: dict[str, Any], name: str, _: Format) -> None:
        inner[name] = text + inner[name]

    probes = frozenset(
        probe.id
        for probe in book.probes
        if book.offline(probe.request(ACCOUNT)).source.rule in _same_text(book, row)
    )
    return Plant("another text", row[1], "warning", "/message", probes, edit("/message", ("Message",), how))


def _status(book: Book, rng: random.Random) -> Plant:
    _, claim, _ = rng.choice(_rows(book, fails=True) + _rows(book, fails=False))
    probes = _of_claim(book, claim)
    first = next(probe for probe in book.probes if probe.id in probes)
    documented = book.offline(first.request(ACCOUNT)).status
    status = rng.choice(_STATUSES[documented])

    def change(answer: Answer, form: Format) -> Answer:
        changed = replace(answer, status=status)
        return edit("/status", ("Status",), put(status))(changed, form) if status >= 400 else changed

    return Plant("another HTTP status", claim, "warning", f"status.{documented}", probes, change)


def _text_of(book: Book, row: tuple[Resource, str, int | None]) -> Any:
    assert row[2] is not None
    return book.contract.text(row[2], row[0].resource)


def _same_text(book: Book, row: tuple[Resource, str, int | None]) -> set[str]:
    return {
        claim for resource, claim, code in _rows(book, fails=True) if (resource, code) == (row[0], row[2])
    }


def _on_field(
    kind: str, severity: Severity, wanted: Callable[[Field], bool], how: Callable[[random.Random, Field], Any]
) -> Callable[[Book, random.Random], Plant]:
    """A kind of change of one field, in every success of its resource."""

    def plant(book: Book, rng: random.Random) -> Plant:
        resource, pointer, field = rng.choice(_fields(book, wanted))
        names = _elements(resource.answer, pointer)
        change = edit(pointer, names, how(rng, field))
        what = f"{resource.resource} {pointer}"
        return Plant(kind, what, severity, pointer, _successes(book, resource), change)

    return plant


def _elements(fields: tuple[Field, ...], pointer: str) -> list[str]:
    names = []
    for step in pointer.strip("/").split("/"):
        field = next(field for field in fields if field.json == step)
        names.append(field.xml)
        fields = field.fields
    return names


def _drop(_: random.Random, __: Field) -> Edit:
    def how(inner: dict[str, Any], name: str, _: Format) -> None:
        del inner[name]

    return how


def _rename(rng: random.Random, field: Field) -> Edit:
    suffix = rng.choice(("_v2", "_new", "_x"))

    def how(inner: dict[str, Any], name: str, form: Format) -> None:
        new = field.json + suffix if form == "json" else field.xml + suffix.replace("_", "").capitalize()
        inner[new] = inner.pop(name)

    return how


def _retype(rng: random.Random, field: Field) -> Edit:
    value: Any = rng.choice((7, ["a"])) if field.value is not False else rng.choice(("perhaps", 7))
    return put(value)


def _add(book: Book, rng: random.Random) -> Plant:
    resource = rng.choice(book.contract.resources)
    name = rng.choice(("routing_region", "carrier_hint", "trace_id"))
    element = "".join(part.capitalize() for part in name.split("_"))
    change = edit(f"/{name}", (element,), put("value"))
    what = f"{resource.resource} /{name}"
    return Plant("a field that is new", what, "info", f"/{name}", _successes(book, resource), change)


def _header(book: Book, rng: random.Random) -> Plant:
    name = rng.choice(HEADERS)
    resource = rng.choice(book.contract.resources)

    def change(answer: Answer, _: Format) -> Answer:
        return replace(answer, headers=tuple(field for field in answer.headers if field[0] != name))

    place = f"header.{name.lower()}"
    return Plant("a header that is gone", name, "warning", place, _successes(book, resource), change)


def _opened(book: Book, rng: random.Random) -> Plant:
    claim = rng.choice(
        [claim for probe in book.probes for claim in probe.claims if claim.startswith("outside.")]
    )

    def change(_: Answer, form: Format) -> Answer:
        body = b'{"page": 0}' if form == "json" else HEAD + b"<TwilioResponse><Page/></TwilioResponse>"
        return Answer(200, "OK", _.headers, body, Source("live"))

    return Plant("a resource that opened", claim, "error", claim, _of_claim(book, claim), change)


def _element(book: Book, rng: random.Random) -> Plant:
    resource, pointer, _ = rng.choice(_fields(book, lambda field: field.value is not None))
    names = _elements(resource.answer, pointer)

    def how(inner: dict[str, Any], name: str, _: Format) -> None:
        inner[name.upper() if name.upper() != name else name.lower()] = inner.pop(name)

    probes = _successes(book, resource, "xml")
    what = f"{resource.resource} {names[-1]}"
    return Plant("an XML element renamed", what, "error", pointer, probes, edit(pointer, names, how))


def answers_in(book: Book, probe: Probe, form: Format) -> Answer:
    """The offline answer to `probe` in one format."""
    path = probe.path.removesuffix(".json") + (".json" if form == "json" else "")
    return book.offline(replace(probe, path=path, format=form).request(ACCOUNT))


def _is_text(field: Field) -> bool:
    return isinstance(field.value, str) and not field.value.startswith(("$now", "$sid", "$account", "$uri"))


def _promised(field: Field) -> bool:
    return _is_text(field) and field.default != "" and field.default is not False


def _filled(field: Field) -> bool:
    return field.value is not None and field.default != ""


def _sid_shape(rng: random.Random, _: Field) -> Edit:
    return put(
        rng.choice(("SM0123", "0198c7a2-7b1e-7cc4-8a3f-0123456789ab", "XX" + "0" * 32, "SM" + "g" * 32))
    )


def _date_format(rng: random.Random, _: Field) -> Edit:
    return put(rng.choice(("2026-01-02T03:04:05Z", "1767323045", "Fri, 2 Jan 2026 03:04:05 GMT")))


KINDS: Final[dict[str, Callable[[Book, random.Random], Plant]]] = {
    "another error code": _code,
    "an error that is gone": _lost,
    "a new error": _new,
    "another text": _wording,
    "another HTTP status": _status,
    "a field that is gone": _on_field("a field that is gone", "error", lambda _: True, _drop),
    "a field that is new": _add,
    "a field of another type": _on_field(
        "a field of another type",
        "error",
        lambda field: field.value is False or field.default is False or field.value == "$now",
        _retype,
    ),
    "a field renamed": _on_field("a field renamed", "error", _filled, _rename),
    "null where it was not": _on_field(
        "null where it was not", "error", _filled, lambda _, __: put(None)
    ),
    "another promised value": _on_field(
        "another promised value", "warning", _promised, lambda _, __: put("something else")
    ),
    "a sid of another shape": _on_field(
        "a sid of another shape", "error", lambda field: field.value == "$sid", _sid_shape
    ),
    "a date of another format": _on_field(
        "a date of another format", "warning", lambda field: field.value == "$now", _date_format
    ),
    "a header that is gone": _header,
    "a resource that opened": _opened,
    "an XML element renamed": _element,
}  # fmt: skip
