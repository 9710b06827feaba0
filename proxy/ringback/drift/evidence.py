"""One exchange side by side: the documentation, the live API's answer, Ringback's answer offline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ringback.contract import Admitted, Credentials, Names, admit
from ringback.drift.claims import ERROR_FIELDS, fields_of
from ringback.drift.fields import describe
from ringback.drift.findings import Row
from ringback.drift.observe import plain
from ringback.drift.trees import ERROR_NAMES, BodyError, Leaf, flat, read

if TYPE_CHECKING:
    from ringback.contract import Answer, Format
    from ringback.contract.model import Field
    from ringback.drift.book import Book
    from ringback.drift.checks import Difference
    from ringback.drift.compare import Comparison
    from ringback.drift.findings import Kind

_ABSENT = "\u2014"
_LONGEST = 300


def rows(book: Book, comparison: Comparison) -> tuple[Row, ...]:
    """Every field of one exchange in three columns, with marks where live differs from the documentation."""
    observation = comparison.observation
    ours = book.offline(observation.request)
    passed = admit(book.contract, plain(observation.request), Names(observation.request.host), Credentials())
    entries = passed.resource.answer if isinstance(passed, Admitted) else ()
    marks, whole = _marks(comparison)
    seen, made = (
        _leaves(observation.answer, comparison.format, entries),
        _leaves(ours, comparison.format, entries),
    )
    account = observation.account
    if ours.status < 400:
        said = _said_of_success(book, comparison, entries)
    else:
        name = passed.resource.resource if isinstance(passed, Admitted) else ""
        said = _said_of_error(book, made, ours.source.line, name)
    found = [_status_row(book, comparison, ours, whole)]
    for pointer in dict.fromkeys([*said, *made, *seen, *marks]):
        documented, line = said.get(pointer, ("not mentioned", None))
        mark = marks.get(pointer)
        if mark is not None:
            documented, line = mark.documented, mark.line
        elif observation.who == "unknown" and observation.answer.status >= 400 and pointer in said:
            documented, line = "not judged: who asked is not known", None
        kind = mark.kind if mark else (whole if whole and pointer == "/code" else None)
        live = _show(seen.get(pointer), account)
        found.append(Row(pointer, documented, line, live, _show(made.get(pointer), account), kind))
    return (*found, *_header_rows(comparison))


def _marks(comparison: Comparison) -> tuple[dict[str, Difference], Kind | None]:
    """Differences by pointer, and how the answer as a whole differs."""
    marks: dict[str, Difference] = {}
    whole: Kind | None = None
    for check in comparison.checks:
        if check.difference is not None and check.difference.pointer:
            marks[check.difference.pointer] = check.difference
        elif check.difference is not None and check.difference.kind != "header":
            whole = check.difference.kind
    if comparison.outcome is not None and comparison.outcome.difference is not None:
        whole = comparison.outcome.difference.kind
    return marks, whole


def _said_of_error(
    book: Book, made: dict[str, Leaf], line: int | None, resource: str
) -> dict[str, tuple[str, int | None]]:
    """What the documentation says of each field of an error."""
    said = {
        f"/{name}": (_show(made.get(f"/{name}")), book.claims[f"error.{name}"].line) for name in ERROR_FIELDS
    }
    code = made["/code"].text
    text = book.claims.get(f"text.{code}.{resource}") or book.claims.get(f"text.{code}")
    message, where = said["/message"][0], text.line if text else None
    if text and where is None:
        message += f" (not on the page: {text.basis})"
    return {**said, "/code": (said["/code"][0], line), "/message": (message, where)}


def _status_row(book: Book, comparison: Comparison, ours: Answer, mark: Kind | None) -> Row:
    live = comparison.observation.answer
    line = ours.source.line
    differs = live.status != ours.status
    if mark == "status" or not mark or not differs:
        claim = book.claims.get(f"status.{ours.status}")
        line = claim.line if claim else None
    return Row(
        "HTTP status",
        f"{ours.status} {ours.reason}",
        line,
        f"{live.status} {live.reason}".strip(),
        f"{ours.status} {ours.reason}",
        mark if differs else None,
    )


def _said_of_success(
    book: Book, comparison: Comparison, entries: tuple[Field, ...]
) -> dict[str, tuple[str, int | None]]:
    """What the documentation says of each field of a success."""
    expected = _leaves(book.offline(comparison.observation.request), comparison.format, entries)
    said = {}
    for pointer, field in fields_of(entries):
        if field.fields:
            continue
        text = describe(field, expected.get(pointer, Leaf("null", "")))
        if field.line is None:
            text += f" (not on the page: {field.evidence or field.basis})"
        said[pointer] = (text.replace(comparison.observation.account, "{account}"), field.line)
    return said


def _header_rows(comparison: Comparison) -> list[Row]:
    return [
        Row("header", difference.documented, None, difference.observed, difference.documented, "header")
        for difference in (check.difference for check in comparison.checks)
        if difference is not None and difference.kind == "header"
    ]


def _leaves(answer: Answer, form: Format, entries: tuple[Field, ...]) -> dict[str, Leaf]:
    failed = answer.status >= 400
    try:
        return flat(read(answer.body, form, () if failed else entries, ERROR_NAMES if failed else {}).tree)
    except BodyError as error:
        return {"/": Leaf("number", str(error))}


def _show(value: Leaf | None, account: str = "") -> str:
    if value is None:
        return _ABSENT
    text = str(value) if not account else str(value).replace(account, "{account}")
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "\u2026"
