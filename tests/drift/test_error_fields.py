"""Error answers: the four fields, the words, the link."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ringback.drift.body import tree_of_json
from ringback.drift.fields import DocumentedText, check_error, check_text, code_in, documented_text
from ringback.drift.observation import Notes
from support.drifting import CLAIM_SET

if TYPE_CHECKING:
    from ringback.drift.observation import ClaimDifference

LINK = CLAIM_SET.contract.gate.more_info.format(code=21211)
GOOD: dict[str, Any] = {"code": 21211, "message": "m", "more_info": LINK, "status": 400}


def seen(http: int = 400, **changes: Any) -> tuple[list[ClaimDifference], set[str]]:
    """What differs in an error's body with some fields changed; `...` takes one away."""
    notes = Notes()
    body = {name: value for name, value in (GOOD | changes).items() if value is not ...}
    check_error(CLAIM_SET, tree_of_json(body), http, "21211", notes)
    return [check.difference for check in notes.checks if check.difference], notes.known


def test_an_error_as_documented() -> None:
    notes = Notes()
    check_error(CLAIM_SET, tree_of_json(GOOD), 400, "21211", notes)
    assert [(check.specific, check.general) for check in notes.checks] == [
        (f"error.{name}.21211", f"error.{name}") for name in GOOD
    ]
    assert not any(check.difference for check in notes.checks)


@pytest.mark.parametrize(
    "changes, kind, severity, pointer, observed",
    [
        ({"code": ...}, "removed", "error", "/code", "no such field"),
        ({"code": "21211"}, "type", "error", "/code", 'string "21211"'),
        ({"code": None}, "type", "error", "/code", "null"),
        ({"code": 2.5}, "type", "error", "/code", "number 2.5"),
        ({"message": {"a": 1}}, "type", "error", "/message", "an object"),
        ({"message": 3}, "type", "error", "/message", "integer 3"),
        ({"status": 401}, "value", "warning", "/status", "401 with HTTP status 400"),
        ({"more_info": "https://help/21211"}, "value", "warning", "/more_info", "https://help/{code}"),
        ({"details": 1}, "added", "info", "/details", "new field"),
        ({"a/b": 1}, "added", "info", "/a~1b", "new field"),
    ],
)
def test_each_difference(
    changes: dict[str, Any], kind: str, severity: str, pointer: str, observed: str
) -> None:
    ([found], _) = seen(**changes)
    assert (found.kind, found.severity, found.pointer, found.observed) == (kind, severity, pointer, observed)


def test_the_page_s_own_link_is_a_known_mistake_of_the_page() -> None:
    found, known = seen(more_info="http://www.twilio.com/docs/errors/21211")
    assert (found, known) == ([], {"more-info-scheme"})


def test_a_link_without_a_code_to_hold_it_against_says_nothing_more() -> None:
    found, _ = seen(code=..., more_info="https://help")
    assert [one.pointer for one in found] == ["/code"]


@pytest.mark.parametrize(
    "code, expected", [(21211, 21211), ("21211", 21211), (None, None), ("x", None), ({"a": 1}, None)]
)
def test_the_code_whatever_its_type(code: Any, expected: int | None) -> None:
    assert code_in(tree_of_json({"code": code})) == expected


def said(message: Any, basis: str = "documented") -> list[ClaimDifference | None]:
    notes = Notes()
    text = DocumentedText("text.21211", "Messages", "+14105550100 is bad", "{To} is bad", basis, 856)  # type: ignore[arg-type]  # a str
    check_text(CLAIM_SET, text, tree_of_json({"message": message}), {"To": "+14105550100"}, notes)
    return [check.difference for check in notes.checks]


def test_the_words_as_documented() -> None:
    assert said("+14105550100 is bad") == [None]
    assert said(None) == []  # a finding of its own already


@pytest.mark.parametrize("basis, severity", [("documented", "warning"), ("assumed", "info")])
def test_other_words_are_one_cause_whatever_the_number(basis: str, severity: str) -> None:
    (found,) = said("+14105550100 is no good", basis)
    assert found is not None
    assert (found.cause, found.observed, found.documented) == ("{To} is no good",) * 2 + ("{To} is bad",)
    assert (found.severity, found.pointer, found.line) == (severity, "/message", 856)


def test_the_documented_text_of_a_code() -> None:
    text = documented_text(CLAIM_SET, 21211, "Messages", {"To": "+14105550100"})
    assert text is not None
    assert "+14105550100" in text.message
    assert "{To}" in text.template
    assert documented_text(CLAIM_SET, 99999, "Messages", {}) is None
    assert (
        documented_text(CLAIM_SET, 20001, "Messages", {}) is None
    )  # its text names a parameter that nobody knows here
