"""Mutation testing of the drift check: changes of answers, each of which must be found, and nothing else.

An upstream that answers like the contract is changed in one place at a time, chosen by a seed: a code, a text
or a field, a header, a resource that opens. The severity at which a change must be reported is written here,
and nowhere read from the code that is tested.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from xml.etree import ElementTree as ET

from msgspec import structs

from ringback import contract as contracts
from ringback.contract import Answer, AnswerStamp, Credentials, Names, Source
from ringback.drift.claims import fields_of
from ringback.drift.compare import compare
from ringback.drift.findings import collect_findings
from ringback.drift.observation import Observation, plain
from ringback.exchange import error_code

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ringback.contract import Format
    from ringback.contract.schema import Field, Resource
    from ringback.drift.claims import ClaimProbe, ClaimSet
    from ringback.drift.compare import Comparison
    from ringback.drift.findings import DriftFinding
    from ringback.drift.observation import Severity


Change: TypeAlias = "Callable[[Answer, Format], Answer]"
Edit: TypeAlias = "Callable[[dict[str, Any], str, Format], None]"

HEAD: Final = b"<?xml version='1.0' encoding='UTF-8'?>\n"


def fail(code: int, status: int = 400) -> Change:
    """Another error."""

    def change(_: Answer, form: Format) -> Answer:
        link = f"https://www.twilio.com/docs/errors/{code}"
        values = {"code": code, "message": "Something else", "more_info": link, "status": status}
        if form == "json":
            body = json.dumps(values).encode()
        else:
            names = ("Code", "Message", "MoreInfo", "Status")
            inner = "".join(f"<{n}>{v}</{n}>" for n, v in zip(names, values.values(), strict=True))
            text = f"<TwilioResponse><RestException>{inner}</RestException></TwilioResponse>"
            body = HEAD + text.encode()
        return structs.replace(_, status=status, reason="BAD REQUEST", body=body)

    return change


def edit(pointer: str, names: Sequence[str], how: Edit) -> Change:
    """Change the field at `pointer`, whose XML elements are `names`, by `how(object, name, format)`."""

    def change(answer: Answer, form: Format) -> Answer:
        if form == "json":
            tree = json.loads(answer.body)
            _reach(tree, pointer.strip("/").split("/"), how, form)
            return structs.replace(answer, body=json.dumps(tree).encode())
        root = ET.fromstring(answer.body)
        tree = _mapping(root[0])
        _reach(tree, names, how, form)
        del root[0][:]
        _fill(root[0], tree)
        return structs.replace(answer, body=HEAD + ET.tostring(root))

    return change


def _reach(
    tree: dict[str, Any],
    steps: Sequence[str],
    how: Edit,
    form: Format,
) -> None:
    for step in steps[:-1]:
        tree = tree[step]
    how(tree, steps[-1], form)


def _mapping(element: ET.Element) -> dict[str, Any]:
    return {child.tag: _mapping(child) if len(child) else (child.text or "") for child in element}


def _fill(element: ET.Element, tree: dict[str, Any]) -> None:
    for name, value in tree.items():
        child = ET.SubElement(element, name)
        if isinstance(value, dict):
            _fill(child, value)
        else:
            child.text = _text(value)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return json.dumps(value) if isinstance(value, (bool, list)) else str(value)


def put(value: Any) -> Edit:
    """Give a field another value."""

    def how(inner: dict[str, Any], name: str, _: Format) -> None:
        inner[name] = value

    return how


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

    def found_by(self, finding: DriftFinding) -> bool:
        """Report whether `finding` is about this change, and as bad as it must be."""
        places = {finding.rule, finding.pointer, *finding.claims, *finding.pointers}
        named = any(place == self.place or place.startswith(f"{self.place}.") for place in places)
        return named and finding.severity == self.severity


# -- what can be changed


def _rows(claim_set: ClaimSet, *, fails: bool) -> list[tuple[Resource, str, int | None]]:
    """The page's rows that fail, or pass, and what people saw refused: resource, claim and code."""
    rows = [
        (resource, f"{resource.resource}.{row.id}", row.error)
        for resource in claim_set.contract.resources
        for row in resource.magic
        if row.basis == "documented" and (row.error is not None) == fails
    ]
    return [*rows, *_reported(claim_set)] if fails else rows


def _reported(claim_set: ClaimSet) -> list[tuple[Resource, str, int | None]]:
    """The sentences that are a rule of the contract which somebody saw refuse something."""
    found = []
    for sentence in claim_set.facts.sentences:
        probe = next(it for it in claim_set.probes if sentence.id in it.claims)
        offline = claim_set.offline(probe.request(ACCOUNT))
        if (offline.source.rule, offline.source.basis) == (sentence.id, "recorded"):
            resource = claim_set.contract.resource(sentence.resource)
            found.append((resource, sentence.id, error_code(offline.body)))
    return found


def _fields(claim_set: ClaimSet, wanted: Callable[[Field], bool]) -> list[tuple[Resource, str, Field]]:
    """The page's fields of the kind that is wanted, with their pointers."""
    return [
        (resource, pointer, field)
        for resource in claim_set.contract.resources
        for pointer, field in fields_of(resource.answer)
        if field.line is not None and not field.fields and pointer not in _UNSURE and wanted(field)
    ]


def _of_claim(claim_set: ClaimSet, claim: str) -> frozenset[str]:
    return frozenset(probe.id for probe in claim_set.probes if claim in probe.claims)


def _successes(claim_set: ClaimSet, resource: Resource, only: Format | None = None) -> frozenset[str]:
    """Every request to `resource` that succeeds."""
    return frozenset(
        probe.id
        for probe in claim_set.probes
        if probe.method == "POST"
        and f"/{resource.path}" in probe.path
        and only in {None, probe.format}
        and claim_set.offline(probe.request(ACCOUNT)).status < 400
    )


# -- the kinds


def _code(claim_set: ClaimSet, rng: random.Random) -> Plant:
    _, claim, code = rng.choice(_rows(claim_set, fails=True))
    other = rng.choice([number for number in _OTHER_CODES if number != code])
    return Plant("another error code", claim, "error", claim, _of_claim(claim_set, claim), fail(other))


def _lost(claim_set: ClaimSet, rng: random.Random) -> Plant:
    resource, claim, _ = rng.choice(_rows(claim_set, fails=True))
    probe = next(probe for probe in claim_set.probes if probe.id in _successes(claim_set, resource, "json"))
    good = {form: answers_in(claim_set, probe, form) for form in ("json", "xml")}

    def change(_: Answer, form: Format) -> Answer:
        return good[form]

    return Plant("an error that is gone", claim, "error", claim, _of_claim(claim_set, claim), change)


def _new(claim_set: ClaimSet, rng: random.Random) -> Plant:
    _, claim, _ = rng.choice(_rows(claim_set, fails=False))
    change = fail(rng.choice(_OTHER_CODES))
    return Plant("a new error", claim, "error", claim, _of_claim(claim_set, claim), change)


def _wording(claim_set: ClaimSet, rng: random.Random) -> Plant:
    known = [row for row in _rows(claim_set, fails=True) if _text_of(claim_set, row).basis != "assumed"]
    row = rng.choice(known)
    text = rng.choice(("Reworded: ", "Error - "))

    def how(inner: dict[str, Any], name: str, _: Format) -> None:
        inner[name] = text + inner[name]

    probes = frozenset(
        probe.id
        for probe in claim_set.probes
        if claim_set.offline(probe.request(ACCOUNT)).source.rule in _same_text(claim_set, row)
    )
    return Plant("another text", row[1], "warning", "/message", probes, edit("/message", ("Message",), how))


def _status(claim_set: ClaimSet, rng: random.Random) -> Plant:
    _, claim, _ = rng.choice(_rows(claim_set, fails=True) + _rows(claim_set, fails=False))
    probes = _of_claim(claim_set, claim)
    first = next(probe for probe in claim_set.probes if probe.id in probes)
    documented = claim_set.offline(first.request(ACCOUNT)).status
    status = rng.choice(_STATUSES[documented])

    def change(answer: Answer, form: Format) -> Answer:
        changed = structs.replace(answer, status=status)
        return edit("/status", ("Status",), put(status))(changed, form) if status >= 400 else changed

    return Plant("another HTTP status", claim, "warning", f"status.{documented}", probes, change)


def _text_of(claim_set: ClaimSet, row: tuple[Resource, str, int | None]) -> Any:
    assert row[2] is not None
    return claim_set.contract.text(row[2], row[0].resource)


def _same_text(claim_set: ClaimSet, row: tuple[Resource, str, int | None]) -> set[str]:
    return {
        claim
        for resource, claim, code in _rows(claim_set, fails=True)
        if (resource, code) == (row[0], row[2])
    }


def _on_field(
    kind: str, severity: Severity, wanted: Callable[[Field], bool], how: Callable[[random.Random, Field], Any]
) -> Callable[[ClaimSet, random.Random], Plant]:
    """A kind of change of one field, in every success of its resource."""

    def plant(claim_set: ClaimSet, rng: random.Random) -> Plant:
        resource, pointer, field = rng.choice(_fields(claim_set, wanted))
        names = _elements(resource.answer, pointer)
        change = edit(pointer, names, how(rng, field))
        what = f"{resource.resource} {pointer}"
        return Plant(kind, what, severity, pointer, _successes(claim_set, resource), change)

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


def _add(claim_set: ClaimSet, rng: random.Random) -> Plant:
    resource = rng.choice(claim_set.contract.resources)
    name = rng.choice(("routing_region", "carrier_hint", "trace_id"))
    element = "".join(part.capitalize() for part in name.split("_"))
    change = edit(f"/{name}", (element,), put("value"))
    what = f"{resource.resource} /{name}"
    return Plant("a field that is new", what, "info", f"/{name}", _successes(claim_set, resource), change)


def _header(claim_set: ClaimSet, rng: random.Random) -> Plant:
    name = rng.choice(HEADERS)
    resource = rng.choice(claim_set.contract.resources)

    def change(answer: Answer, _: Format) -> Answer:
        return structs.replace(answer, headers=tuple(field for field in answer.headers if field[0] != name))

    place = f"header.{name.lower()}"
    return Plant("a header that is gone", name, "warning", place, _successes(claim_set, resource), change)


def _opened(claim_set: ClaimSet, rng: random.Random) -> Plant:
    claim = rng.choice(
        [
            claim
            for probe in claim_set.probes
            for claim in probe.claims
            if claim.startswith("outside.") and claim_set.claims[claim].basis == "documented"
        ]
    )

    def change(_: Answer, form: Format) -> Answer:
        body = b'{"page": 0}' if form == "json" else HEAD + b"<TwilioResponse><Page/></TwilioResponse>"
        return Answer(200, "OK", _.headers, body, Source("live"))

    return Plant("a resource that opened", claim, "error", claim, _of_claim(claim_set, claim), change)


def _element(claim_set: ClaimSet, rng: random.Random) -> Plant:
    resource, pointer, _ = rng.choice(_fields(claim_set, lambda field: field.value is not None))
    names = _elements(resource.answer, pointer)

    def how(inner: dict[str, Any], name: str, _: Format) -> None:
        inner[name.upper() if name.upper() != name else name.lower()] = inner.pop(name)

    probes = _successes(claim_set, resource, "xml")
    what = f"{resource.resource} {names[-1]}"
    return Plant("an XML element renamed", what, "error", pointer, probes, edit(pointer, names, how))


def answers_in(claim_set: ClaimSet, probe: ClaimProbe, form: Format) -> Answer:
    """The offline answer to `probe` in one format."""
    path = probe.path.removesuffix(".json") + (".json" if form == "json" else "")
    return claim_set.offline(replace(probe, path=path, format=form).request(ACCOUNT))


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


KINDS: Final[dict[str, Callable[[ClaimSet, random.Random], Plant]]] = {
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


_NOW: Final = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Tried:
    """Result of one mutation.

    Attributes:
        plant: The change.
        found: Whether it was found at the right severity.
        others: Findings about anything else.
        before: Findings without it.
    """

    plant: Plant
    found: bool
    others: int
    before: int


def try_all(claim_set: ClaimSet, count: int, seed: int) -> Iterator[Tried]:
    """Plant `count` changes one at a time, and look whether each is found.

    Every change has its own answers, with other sids and request ids, and is looked at with and without it.
    """
    rng = random.Random(seed)
    kinds = list(KINDS)
    for number in range(count):
        plant = KINDS[kinds[number % len(kinds)]](claim_set, rng)
        yield _try(claim_set, plant, rng)


def table(tried: Sequence[Tried]) -> list[tuple[str, str, int, int, int, int]]:
    """Kind, severity, planted, found, other findings, findings without the change: a row for each kind."""
    rows = []
    planted = Counter(item.plant.kind for item in tried)
    for kind in planted:
        items = [item for item in tried if item.plant.kind == kind]
        severity = "/".join(sorted({item.plant.severity for item in items}))
        found = sum(item.found for item in items)
        others, before = sum(item.others for item in items), sum(item.before for item in items)
        rows.append((kind, severity, len(items), found, others, before))
    return rows


def answers(claim_set: ClaimSet, rng: random.Random) -> dict[str, Answer]:
    """Return the answers of an upstream that behaves as documented to every request, with sids of its own."""
    found = {}
    for probe in claim_set.probes:
        request = plain(probe.request(ACCOUNT))
        stamp = AnswerStamp(rng.randbytes(16).hex(), rng.randbytes(16).hex(), _NOW, rng.uniform(0.02, 0.2))
        found[probe.id] = contracts.answer(
            claim_set.contract, request, Names(request.host), Credentials(), stamp
        )
    return found


def _try(claim_set: ClaimSet, plant: Plant, rng: random.Random) -> Tried:
    before = answers(claim_set, rng)
    looked = {probe.id: _look(claim_set, probe, before[probe.id]) for probe in claim_set.probes}
    clean = collect_findings(claim_set, looked.values())
    for probe in claim_set.probes:
        if probe.id in plant.probes:
            looked[probe.id] = _look(claim_set, probe, plant.change(before[probe.id], probe.format))
    findings = collect_findings(claim_set, looked.values())
    hits = [finding for finding in findings if plant.found_by(finding)]
    return Tried(plant, bool(hits), len(findings) - len(hits), len(clean))


def _look(claim_set: ClaimSet, probe: ClaimProbe, answer: Answer) -> Comparison:
    return compare(claim_set, Observation(probe.request(ACCOUNT), answer, probe.id, _NOW, "proven"))
