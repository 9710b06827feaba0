"""One exchange side by side: the documentation, the live API's answer, Ringback's answer offline."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from ringback.contract import Admitted, Credentials, Names, admit
from ringback.drift.body import ERROR_NAMES, BodyError, Leaf, flatten, read_body
from ringback.drift.claims import ERROR_FIELDS, fields_of
from ringback.drift.fields import describe
from ringback.drift.observation import plain
from ringback.exchange import first_header

if TYPE_CHECKING:
    from ringback.contract import Answer, Format
    from ringback.contract.contract import Citation
    from ringback.contract.schema import Field
    from ringback.drift.checks import ClaimDifference, Kind
    from ringback.drift.claims import ClaimSet
    from ringback.drift.compare import Comparison


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
        said = _said_of_success(claim_set, comparison, entries)
    else:
        name = passed.resource.resource if isinstance(passed, Admitted) else ""
        said = _said_of_error(claim_set, made, ours.source.line, name)
    found = [_status_row(claim_set, comparison, ours, whole), *_header_rows(claim_set, comparison, ours)]
    found += _form_rows(form, comparison.format)
    for pointer in dict.fromkeys([*said, *made, *seen, *marks]):
        documented, line = said.get(pointer, ("not mentioned", None))
        mark = marks.get(pointer)
        if mark is not None:
            documented, line = mark.documented, mark.line
        elif observation.who == "unknown" and observation.answer.status >= 400 and pointer in said:
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


def _said_of_error(
    claim_set: ClaimSet, made: dict[str, Leaf], line: int | None, resource: str
) -> dict[str, tuple[str, int | None]]:
    """Map each field of an error to the documented value and its line."""
    said = {
        f"/{name}": (_show(made.get(f"/{name}")), claim_set.claims[f"error.{name}"].line)
        for name in ERROR_FIELDS
    }
    code = made["/code"].text
    text = claim_set.claims.get(f"text.{code}.{resource}") or claim_set.claims.get(f"text.{code}")
    message, where = said["/message"][0], text.line if text else None
    if text and where is None:
        message += f" (not on the page: {text.basis})"
    return {**said, "/code": (said["/code"][0], line), "/message": (message, where)}


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


def _said_of_success(
    claim_set: ClaimSet, comparison: Comparison, entries: tuple[Field, ...]
) -> dict[str, tuple[str, int | None]]:
    """Map each field of a success to the documented value and its line."""
    expected = _leaves(claim_set.offline(comparison.observation.request), comparison.format, entries)
    said = {}
    for pointer, field in fields_of(entries):
        if field.fields:
            continue
        text = describe(field, expected.get(pointer, Leaf("null", "")))
        if field.line is None:
            text += f" (not on the page: {field.evidence or field.basis})"
        said[pointer] = (text.replace(comparison.observation.account, "{account}"), field.line)
    return said


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
