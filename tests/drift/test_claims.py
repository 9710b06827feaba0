"""The documentation as claims: every row, field, text and example, each with its line and its weight."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from ringback.drift.claims import (
    claims_of,
    field_severity,
    fields_of,
    may_be_rule,
    outcome_severity,
    text_rule,
)
from ringback.drift.observation import SEVERITIES
from support.drifting import CLAIM_SET
from support.rows import EXAMPLES, ROWS

if TYPE_CHECKING:
    from support.rows import Case

CLAIMS = CLAIM_SET.claims


def test_claims_of_one_name_agree() -> None:
    for claim in claims_of(CLAIM_SET.contract, CLAIM_SET.facts):
        kept = CLAIMS[claim.id]
        assert (kept.severity, kept.line, kept.basis) == (claim.severity, claim.line, claim.basis)


@pytest.mark.parametrize("case", ROWS, ids=lambda case: case.id)
def test_every_row_of_the_page_is_an_error_s_claim_with_its_line(case: Case) -> None:
    (claim,) = [claim for claim in CLAIMS.values() if claim.line == case.line]
    assert (claim.severity, claim.basis) == ("error", "documented")
    assert claim.says.endswith("passes" if case.code is None else f"fails with {case.code}")
    assert claim.says.startswith(case.resource)


def test_every_example_of_the_page_is_a_claim() -> None:
    lines = {claim.line for name, claim in CLAIMS.items() if name.startswith("example.")}
    assert len([name for name in CLAIMS if name.startswith("example.")]) == len(EXAMPLES) == len(lines)


def test_any_other_value_is_said_in_words() -> None:
    assert "with To=any other passes" in CLAIMS["Messages.to.other"].says


@pytest.mark.parametrize(
    "name, severity, basis",
    [
        ("Messages.answer.sid", "error", "documented"),
        ("Messages.answer.num_media", "warning", "recorded"),  # not on the page
        ("Calls.answer.queue_time", "info", "assumed"),
        ("text.21610", "warning", "recorded"),
        ("text.20008", "warning", "recorded"),
        ("error.code", "error", "documented"),
        ("resource.unsupported", "error", "documented"),
        ("header.x-powered-by", "warning", "recorded"),
        ("status.400", "warning", "documented"),
        ("status.403", "warning", "documented"),
        ("status.429", "warning", "recorded"),
    ],
)
def test_the_weight_of_a_claim(name: str, severity: str, basis: str) -> None:
    assert (CLAIMS[name].severity, CLAIMS[name].basis) == (severity, basis)


def test_what_nobody_wrote_down_cannot_be_broken() -> None:
    assert [outcome_severity(basis) for basis in ("documented", "recorded", "assumed")] == [
        "error",
        "error",
        "info",
    ]
    assert {claim.severity for claim in CLAIMS.values()} <= set(SEVERITIES)
    assert {claim.severity for claim in CLAIMS.values() if claim.basis == "assumed"} == {"info"}


def test_the_lines_of_the_error_s_fields_are_the_page_s() -> None:
    page = CLAIM_SET.contract.page
    assert page is not None
    facts = {fact.line: fact.says for fact in page.facts}
    for name in ("code", "message", "more_info", "status"):
        line = CLAIMS[f"error.{name}"].line
        assert line is not None
        assert facts[line].startswith(f"/{name}")
    date = CLAIMS["format.date"].line
    assert date is not None
    assert facts[date] == "/date_created"


@pytest.mark.parametrize(
    "glob, may_be",
    [
        ("Messages.to.no-number", True),
        ("Calls.from.malformed", True),
        ("Messages.answer.new", True),
        ("Messages.to.blokked", False),
        ("Faxes.to.malformed", False),
    ],
)
def test_names_that_only_recordings_have(glob: str, may_be: bool) -> None:
    assert may_be_rule(glob, [item.resource for item in CLAIM_SET.contract.resources]) is may_be


def test_an_object_comes_before_its_fields() -> None:
    (numbers,) = (item for item in CLAIM_SET.contract.resources if item.resource == "IncomingPhoneNumbers")
    pointers = [pointer for pointer, _ in fields_of(numbers.answer)]
    assert pointers.index("/capabilities") + 1 == pointers.index("/capabilities/voice")
    assert "IncomingPhoneNumbers.answer.capabilities.voice" in CLAIMS


def test_texts_of_one_resource_have_names_of_their_own() -> None:
    assert (text_rule(21212, None), text_rule(21212, "Calls")) == ("text.21212", "text.21212.Calls")


def test_a_recorded_field_weighs_more_once_the_page_names_it() -> None:
    field = next(field for _, field in fields_of(CLAIM_SET.contract.resources[0].answer))
    unseen = msgspec.structs.replace(field, basis="recorded", line=None)
    assert field_severity(unseen) == "warning"
    assert field_severity(msgspec.structs.replace(unseen, line=3)) == "error"
