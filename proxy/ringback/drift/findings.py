"""Findings: from many comparisons to few differences, one for each cause, with both answers side by side.

Three rules do it. The same difference of the same claim in many exchanges, in both formats, is one finding.
Where every instance of a wider claim differs in the same way (all dates, all errors of status 400, all other
resources), the wider claim is the finding. Where one input explains why many requests have another outcome,
that input's row is.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from ringback.contract import Admitted, Credentials, Names, admit
from ringback.drift.body import ERROR_NAMES, BodyError, Leaf, flatten, read_body
from ringback.drift.claims import ERROR_FIELDS, fields_of
from ringback.drift.fields import describe
from ringback.drift.observation import SEVERITIES, form_of, plain
from ringback.exchange import first_header

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from ringback.contract import Answer, Basis, Format
    from ringback.contract.contract import Citation
    from ringback.contract.schema import Field
    from ringback.drift.claims import ClaimSet
    from ringback.drift.compare import Comparison
    from ringback.drift.observation import ClaimDifference, Kind, OutcomeCheck, Severity


_ABSENT = "\u2014"
_LONGEST = 300
_OUTCOMES: Final = ("allowed", "refused", "code")  # how an answer differs whose code is another one
_HEADER_KINDS: Final[dict[str, Kind]] = {"missing": "removed", "new": "added"}
_NAMES: Final = {"format.body": "body", "format.element": "outer element"}


@dataclass(frozen=True, slots=True)
class SideBySideRow:
    """One line of the side-by-side view.

    Attributes:
        pointer: The field, or what else is compared (`status`, a header's name).
        documented: What the documentation says there.
        line: The line of the page that says so, for those who have its text.
        live: What the live API answered.
        offline: What Ringback answers offline.
        mark: How live differs from the documentation, or None.
        cited: The place on the page that says so, or None.
    """

    pointer: str
    documented: str
    line: int | None
    live: str
    offline: str
    mark: Kind | None = None
    cited: Citation | None = None


def side_by_side(claim_set: ClaimSet, comparison: Comparison) -> tuple[SideBySideRow, ...]:
    """Every field of one exchange in three columns, with marks where live differs from the documentation."""
    observation = comparison.observation
    ours = claim_set.offline(observation.request)
    passed = admit(
        claim_set.contract, plain(observation.request), Names(observation.request.host), Credentials()
    )
    entries = passed.resource.answer if isinstance(passed, Admitted) else ()
    marks, whole, form = _marks(comparison)
    seen, made = (
        _leaves(observation.answer, comparison.format, entries),
        _leaves(ours, comparison.format, entries),
    )
    account = observation.account
    if ours.status < 400:
        page = _documented_success(claim_set, comparison, entries)
    else:
        name = passed.resource.resource if isinstance(passed, Admitted) else ""
        page = _documented_error(claim_set, made, ours.source.line, name)
    found = [_status_row(claim_set, comparison, ours, whole), *_header_rows(claim_set, comparison, ours)]
    found += _form_rows(form, comparison.format)
    for pointer in dict.fromkeys([*page, *made, *seen, *marks]):
        documented, line = page.get(pointer, ("not mentioned", None))
        mark = marks.get(pointer)
        if mark is not None:
            documented, line = mark.documented, mark.line
        elif observation.who == "unknown" and observation.answer.status >= 400 and pointer in page:
            documented, line = "not judged: who asked is not known", None
        kind = mark.kind if mark else (whole if whole in _OUTCOMES and pointer == "/code" else None)
        live = _show(seen.get(pointer), account)
        found.append(SideBySideRow(pointer, documented, line, live, _show(made.get(pointer), account), kind))
    return tuple(replace(row, cited=claim_set.cite(row.line)) for row in found)


def _marks(
    comparison: Comparison,
) -> tuple[dict[str, ClaimDifference], Kind | None, dict[str, ClaimDifference]]:
    """Differences by pointer, how the status or the outcome differs, and how the body does as a whole."""
    marks: dict[str, ClaimDifference] = {}
    whole: Kind | None = None
    form: dict[str, ClaimDifference] = {}
    for check in comparison.checks:
        difference = check.difference
        name = _NAMES.get(check.specific) or _NAMES.get(check.general or "")
        if difference is None or difference.kind == "header":
            continue
        if difference.pointer:
            marks[difference.pointer] = difference
        elif name:
            form[name] = difference
        else:
            whole = difference.kind
    if comparison.outcome is not None and comparison.outcome.difference is not None:
        whole = comparison.outcome.difference.kind
    return marks, whole, form


def _form_rows(form: dict[str, ClaimDifference], asked: Format) -> list[SideBySideRow]:
    """The body as a whole and XML's outer element, where they differ."""
    return [
        SideBySideRow(
            name,
            difference.documented,
            difference.line,
            difference.observed,
            asked.upper() if name == "body" else difference.documented,
            difference.kind,
        )
        for name, difference in form.items()
    ]


def _documented_error(
    claim_set: ClaimSet, made: dict[str, Leaf], line: int | None, resource: str
) -> dict[str, tuple[str, int | None]]:
    """Map each field of an error to the documented value and its line."""
    documented = {
        f"/{name}": (_show(made.get(f"/{name}")), claim_set.claims[f"error.{name}"].line)
        for name in ERROR_FIELDS
    }
    code = made["/code"].text
    text = claim_set.claims.get(f"text.{code}.{resource}") or claim_set.claims.get(f"text.{code}")
    message, where = documented["/message"][0], text.line if text else None
    if text and where is None:
        message += f" (not on the page: {text.basis})"
    return {**documented, "/code": (documented["/code"][0], line), "/message": (message, where)}


def _status_row(
    claim_set: ClaimSet, comparison: Comparison, ours: Answer, mark: Kind | None
) -> SideBySideRow:
    live = comparison.observation.answer
    line = ours.source.line
    differs = live.status != ours.status
    if mark == "status" or not mark or not differs:
        claim = claim_set.claims.get(f"status.{ours.status}")
        line = claim.line if claim else None
    return SideBySideRow(
        "HTTP status",
        f"{ours.status} {ours.reason}",
        line,
        f"{live.status} {live.reason}".strip(),
        f"{ours.status} {ours.reason}",
        mark if differs else None,
    )


def _documented_success(
    claim_set: ClaimSet, comparison: Comparison, entries: tuple[Field, ...]
) -> dict[str, tuple[str, int | None]]:
    """Map each field of a success to the documented value and its line."""
    expected = _leaves(claim_set.offline(comparison.observation.request), comparison.format, entries)
    documented = {}
    for pointer, entry in fields_of(entries):
        if entry.fields:
            continue
        text = describe(entry, expected.get(pointer, Leaf("null", "")))
        if entry.line is None:
            text += f" (not on the page: {entry.evidence or entry.basis})"
        documented[pointer] = (text.replace(comparison.observation.account, "{account}"), entry.line)
    return documented


def _header_rows(claim_set: ClaimSet, comparison: Comparison, ours: Answer) -> list[SideBySideRow]:
    """The header fields that differ, each under its name as somebody spells it."""
    spelled = {name.lower(): name for name, _ in comparison.observation.answer.headers}
    spelled |= {field.name.lower(): field.name for field in claim_set.facts.headers.headers}
    live = comparison.observation.answer.headers
    account = comparison.observation.account
    found = []
    for check in comparison.checks:
        difference = check.difference
        if difference is None or difference.kind != "header":
            continue
        name = spelled[check.specific.removeprefix("header.")]
        documented = difference.documented.removeprefix(name).lstrip(":, ")
        seen, made = (_shortened(first_header(headers, name), account) for headers in (live, ours.headers))
        how = _HEADER_KINDS.get(difference.cause, "value")
        found.append(SideBySideRow(name, documented, difference.line, seen, made, how))
    return found


def _leaves(answer: Answer, form: Format, entries: tuple[Field, ...]) -> dict[str, Leaf]:
    failed = answer.status >= 400
    try:
        return flatten(
            read_body(answer.body, form, () if failed else entries, ERROR_NAMES if failed else {}).tree
        )
    except BodyError:
        return {}  # what it is instead has a row of its own


def _show(value: Leaf | None, account: str = "") -> str:
    return _shortened(None if value is None else str(value), account)


def _shortened(value: str | None, account: str = "") -> str:
    if value is None:
        return _ABSENT
    text = value.replace(account, "{account}") if account else value
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "\u2026"


def fingerprint(*parts: str) -> str:
    """Twelve hexadecimal digits that name a cause: the same from run to run, whatever else changed."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Sighting:
    """One exchange in which a finding was seen.

    Attributes:
        where: The cassette's file and line, or the claim's request.
        when: When, in UTC, if that is known.
        request: Method, host and path, with the account as a placeholder.
        form: The form that was sent.
        format: The format of the answer.
    """

    where: str
    when: datetime | None
    request: str
    form: tuple[tuple[str, str], ...]
    format: Format


@dataclass(frozen=True, slots=True)
class DriftFinding:
    """A difference that has one cause.

    Attributes:
        rule: The claim that does not hold.
        severity: `error`: an outcome, a field or an identifier; `warning`: a text, a value, a format; `info`:
            something new.
        kind: How it differs.
        resource: Which resource, `*` where it is the same for all.
        pointer: JSON pointer of the field, empty for the answer as a whole.
        documented: What the documentation says.
        observed: What the live API says.
        cited: The place on the page that speaks of it, or None.
        line: Its line, for those who have the page's text.
        basis: How well the documented side is known.
        fingerprint: Names the cause, see `fingerprint`.
        first_seen: The oldest exchange that shows it, if dates are known.
        last_seen: The newest.
        seen: How many exchanges show it.
        sightings: Some of them.
        formats: The formats that show it.
        claims: The claims that it breaks.
        pointers: The fields that it shows in, where there are several.
        rows: The first of these exchanges side by side with the documentation and the offline answer.
        reproduce: The command that shows it again.
        note: A line for the reader, e.g. why the entry that accepted it no longer does.
        origin: The mock upstream whose answers show it, empty for the live API.
    """

    rule: str
    severity: Severity
    kind: Kind
    resource: str
    pointer: str
    documented: str
    observed: str
    fingerprint: str
    line: int | None = None
    cited: Citation | None = None
    basis: Basis | None = None
    first_seen: datetime | None = None
    last_seen: datetime | None = None
    seen: int = 0
    sightings: tuple[Sighting, ...] = ()
    formats: tuple[Format, ...] = ()
    claims: tuple[str, ...] = ()
    pointers: tuple[str, ...] = ()
    rows: tuple[SideBySideRow, ...] = field(default=(), compare=False)
    reproduce: str = ""
    note: str = ""
    origin: str = ""

    @property
    def page(self) -> str:
        """Citation of the documented side: section or line of the page, or another source; else empty."""
        if self.cited:
            return str(self.cited)
        if self.line:
            return f"line {self.line}"
        if self.basis in {None, "documented"}:
            return "as a whole" if self.basis else ""
        return f"not on the page: {self.basis}"

    @property
    def title(self) -> str:
        """One line: what was documented and what is."""
        place = f"{self.resource} {self.pointer}".strip() if self.resource != "*" else self.pointer
        return f"{place}: {self.observed}" if place else self.observed


_SIGHTINGS: Final = 5  # kept of each finding
_LEAST: Final = 2  # instances that make a wider claim
_MOST_NAMED: Final = 3  # fields that a line names


@dataclass
class _Group:
    """Everything that one finding is made of."""

    rule: str
    difference: ClaimDifference
    found: list[Comparison] = field(default_factory=list)
    claims: dict[str, None] = field(default_factory=dict)
    pointers: dict[str, None] = field(default_factory=dict)
    wide: bool = False


def collect_findings(
    claim_set: ClaimSet,
    comparisons: Iterable[Comparison],
    reproduce: Callable[[str], str] = str,
    *,
    rows: bool = True,
) -> list[DriftFinding]:
    """The findings of everything that was seen, the worst first.

    Args:
        claim_set: The claims.
        comparisons: What was looked at.
        reproduce: Gives the command that shows a rule's finding again.
        rows: Whether findings have their rows, which cost far more than the rest.
    """
    by_origin: dict[str, list[Comparison]] = defaultdict(list)
    for comparison in comparisons:
        if not comparison.skipped:
            by_origin[comparison.observation.origin].append(comparison)
    groups = [
        group for seen in by_origin.values() for group in _merge_formats([*_outcomes(seen), *_checks(seen)])
    ]
    made: dict[int, tuple[SideBySideRow, ...]] = {}  # one answer may differ in many fields

    def rows_of(shown: Comparison) -> tuple[SideBySideRow, ...]:
        if rows and id(shown) not in made:
            made[id(shown)] = side_by_side(claim_set, shown)
        return made.get(id(shown), ())

    findings = [_finding(claim_set, group, reproduce, rows_of) for group in groups]
    return sorted(
        findings,
        key=lambda finding: (
            SEVERITIES.index(finding.severity),
            finding.resource,
            finding.rule,
            finding.observed,
        ),
    )


def looked_at(comparisons: Iterable[Comparison]) -> frozenset[str]:
    """The claims that were looked at."""
    found: set[str] = set()
    for comparison in comparisons:
        for check in comparison.checks:
            found.add(check.specific)
            if check.general:
                found.add(check.general)
        if comparison.outcome is not None:
            found |= {comparison.outcome.rule, *(row for _, row in comparison.outcome.inputs)}
    return frozenset(found)


def _checks(comparisons: Sequence[Comparison]) -> list[_Group]:
    """Groups of the checks that show a difference."""
    instances: dict[str, set[str]] = defaultdict(set)
    same: dict[tuple[str, str, str], dict[str, _Group]] = defaultdict(dict)
    for comparison in comparisons:
        for check in comparison.checks:
            if check.general:
                instances[check.general].add(check.specific)
            if check.difference is None:
                continue
            difference = check.difference
            key = (check.general or check.specific, difference.kind, difference.cause)
            group = same[key].setdefault(check.specific, _Group(check.specific, difference))
            _add(group, comparison, check.specific, difference)
    groups = []
    for (general, _, _), specific in same.items():
        wide = general in instances and instances[general] == set(specific) and len(specific) >= _LEAST
        groups += [_widened(general, list(specific.values()))] if wide else list(specific.values())
    return _merge_fields(groups)


def _merge_fields(groups: Sequence[_Group]) -> list[_Group]:
    """Merge fields that are missing, or new, in the very same answers: that is one cause."""
    together: dict[tuple[object, ...], list[_Group]] = defaultdict(list)
    for group in groups:
        difference = group.difference
        alike: tuple[object, ...] = (id(group),)
        if difference.kind == difference.cause and difference.pointer and not group.wide:
            seen = frozenset(map(id, group.found))
            alike = (difference.kind, difference.resource, seen)
        together[alike].append(group)
    return [same[0] if len(same) < _LEAST else _merged(same) for same in together.values()]


def _merged(groups: Sequence[_Group]) -> _Group:
    """Make one group about several fields of the same answers."""
    first = min((group.difference for group in groups), key=lambda one: SEVERITIES.index(one.severity))
    names = [group.difference.pointer.lstrip("/").replace("/", ".") for group in groups]
    shown = ", ".join(names[:_MOST_NAMED]) + (
        f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    )
    difference = replace(
        first,
        pointer="",
        documented=f"{len(names)} fields" if first.kind == "removed" else first.documented,
        observed=f"no {shown}" if first.kind == "removed" else f"new fields: {shown}",
        cause=f"{first.cause}: {', '.join(sorted(names))}",
    )
    rule = "error.fields" if first.resource == "*" else f"{first.resource}.answer"
    merged = _Group(rule, difference, found=list(groups[0].found))
    for group in groups:
        merged.claims |= group.claims
        merged.pointers |= group.pointers
    return merged


def _widened(rule: str, groups: Sequence[_Group]) -> _Group:
    """One group about the wider claim."""
    first = groups[0].difference
    resources = {group.difference.resource for group in groups}
    pointers = {group.difference.pointer for group in groups}
    others = {group.difference.observed for group in groups} - {first.observed}
    difference = replace(
        first,
        observed=first.observed + (f" and {len(others)} more like it" if others else ""),
        resource=first.resource if len(resources) == 1 else "*",
        pointer=first.pointer if len(pointers) == 1 else "",
    )
    wide = _Group(rule, difference, wide=True)
    for group in groups:
        wide.found += [comparison for comparison in group.found if comparison not in wide.found]
        wide.claims |= group.claims
        wide.pointers |= group.pointers
    return wide


def _outcomes(comparisons: Sequence[Comparison]) -> list[_Group]:
    """Groups of the outcomes that differ, by the input that explains them."""
    by_cause: dict[tuple[str, str], list[tuple[Comparison, OutcomeCheck]]] = defaultdict(list)
    held: dict[tuple[str, str], list[OutcomeCheck]] = defaultdict(list)
    for comparison in comparisons:
        outcome = comparison.outcome
        if outcome is None:
            continue
        if outcome.difference is None:
            held[outcome.resource, comparison.format].append(outcome)
        else:
            by_cause[outcome.resource, outcome.difference.cause].append((comparison, outcome))
    groups: dict[tuple[str, str], _Group] = {}
    for (resource, cause), found in by_cause.items():
        formats = {comparison.format for comparison, _ in found}
        others = [outcome for form in formats for outcome in held[resource, form]]
        common = _explanation([outcome for _, outcome in found], others)
        for comparison, outcome in found:
            assert outcome.difference is not None
            rule = common or _explanation([outcome], others) or outcome.rule
            group = groups.setdefault((rule, cause), _Group(rule, outcome.difference))
            if outcome.rule == rule:
                group.difference = outcome.difference
            _add(group, comparison, outcome.rule, outcome.difference)
            if outcome.code is None:  # every input of a success is documented to pass
                group.claims |= dict.fromkeys(row for _, row in outcome.inputs)
    return list(groups.values())


def _explanation(differing: Sequence[OutcomeCheck], held: Sequence[OutcomeCheck]) -> str | None:
    """The row of the one input that all `differing` requests share and that no other request got past."""
    rules = {outcome.rule for outcome in differing}
    if len(rules) == 1 and differing[0].code is not None:
        return differing[0].rule
    shared = [pair for pair in differing[0].inputs if all(pair in outcome.inputs for outcome in differing)]
    for parameter, row in shared:
        if not any(_got_past(outcome, parameter, row) for outcome in held):
            return row
    return None


def _got_past(outcome: OutcomeCheck, parameter: str, row: str) -> bool:
    """Report whether a request had this input, and no parameter before it decided the outcome."""
    if (parameter, row) not in outcome.inputs:
        return False
    return outcome.code is None or outcome.decided_at >= outcome.order.index(parameter)


def _add(group: _Group, comparison: Comparison, claim: str, difference: ClaimDifference) -> None:
    if not group.found or group.found[-1] is not comparison:
        group.found.append(comparison)
    group.claims[claim] = None
    if difference.pointer:
        group.pointers[difference.pointer] = None


def _merge_formats(groups: Sequence[_Group]) -> list[_Group]:
    """XML has no types: what JSON shows as another type is another value there. One cause, so one group."""
    json = {
        (group.rule, group.difference.pointer): group
        for group in groups
        if any(comparison.format == "json" for comparison in group.found)
    }
    kept = []
    for group in groups:
        only_xml = all(comparison.format == "xml" for comparison in group.found)
        other = json.get((group.rule, group.difference.pointer)) if only_xml else None
        same = (
            other is not None
            and group.difference.lexical is not None
            and group.difference.lexical == other.difference.lexical
        )
        if same and other is not None:
            other.found += group.found
        else:
            kept.append(group)
    return kept


def _finding(
    claim_set: ClaimSet,
    group: _Group,
    reproduce: Callable[[str], str],
    rows_of: Callable[[Comparison], tuple[SideBySideRow, ...]],
) -> DriftFinding:
    difference = group.difference
    claim = claim_set.claims.get(group.rule)
    found = group.found
    dates = [item.observation.when for item in found if item.observation.when is not None]
    first = next((item for item in found if item.format == "json"), found[0])
    documented = difference.documented
    if group.wide and claim is not None and difference.kind not in {"value", "status"}:
        documented = claim.says
    origin = first.observation.origin
    line = claim.line if group.wide and claim else difference.line
    return DriftFinding(
        rule=group.rule,
        severity=difference.severity,
        kind=difference.kind,
        resource=difference.resource,
        pointer=difference.pointer,
        documented=documented,
        observed=difference.observed.replace(first.observation.account, "{account}"),
        fingerprint=fingerprint(*filter(None, (group.rule, difference.kind, difference.cause, origin))),
        origin=origin,
        line=line,
        cited=claim_set.cite(line),
        basis=claim.basis if group.wide and claim else difference.basis,
        first_seen=min(dates, default=None),
        last_seen=max(dates, default=None),
        seen=len(found),
        sightings=tuple(_sighting(item) for item in found[:_SIGHTINGS]),
        formats=tuple(sorted({item.format for item in found})),
        claims=tuple(sorted(group.claims)),
        pointers=tuple(sorted(group.pointers)),
        rows=rows_of(first),
        reproduce=reproduce(group.rule),
    )


def _sighting(comparison: Comparison) -> Sighting:
    observation = comparison.observation
    request = observation.request
    path = request.path.replace(observation.account, "{account}")
    return Sighting(
        where=observation.where,
        when=observation.when,
        request=f"{request.method} https://{request.host}{path}",
        form=form_of(request),
        format=comparison.format,
    )
