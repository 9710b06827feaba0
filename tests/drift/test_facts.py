"""What the drift check knows besides the contract."""

from __future__ import annotations

import re

import msgspec
import pytest

from ringback.drift.claims import AnswerErratum, HeaderField, OutsideResource, load_facts
from support.drifting import CLAIM_SET

KNOWN = load_facts()


def test_it_is_read_once() -> None:
    assert load_facts() is KNOWN


def test_every_slip_is_an_erratum_of_the_contract_and_about_a_field_that_there_is() -> None:
    assert {erratum.id for erratum in KNOWN.errata} <= {item.id for item in CLAIM_SET.contract.errata}
    for erratum in KNOWN.errata:
        if erratum.resource and erratum.pointer:
            assert f"{erratum.resource}.answer{erratum.pointer.replace('/', '.')}" in CLAIM_SET.claims


def test_every_sentence_starts_from_an_example_and_changes_its_form() -> None:
    examples = {example.id: example for example in CLAIM_SET.contract.examples}
    for sentence in KNOWN.sentences:
        assert examples[sentence.base].resource == sentence.resource
        assert sentence.form


def test_the_lines_of_sentences_and_of_other_resources_are_the_page_s() -> None:
    page = CLAIM_SET.contract.page
    assert page is not None
    facts = {fact.line: fact.says for fact in page.facts}
    assert "403" in facts[KNOWN.outside.line]
    for sentence in KNOWN.sentences:
        assert sentence.line is None or facts[sentence.line]
    assert all(outside.line in {None, *facts} for outside in KNOWN.outside.resources)


def test_the_shapes_of_header_fields_are_regular_expressions() -> None:
    shaped = {field.name: field.pattern for field in KNOWN.headers.headers}
    request_id = shaped["Twilio-Request-Id"]
    assert request_id is not None
    assert request_id.fullmatch("RQ" + "1a2b3c4d" * 4)
    assert not request_id.fullmatch("RQ" + "\u0661" * 32)
    assert shaped["X-Powered-By"] is None


@pytest.mark.parametrize("kind", [OutsideResource, AnswerErratum, HeaderField])
def test_a_slip_of_the_pen_in_a_data_file_is_refused(kind: type) -> None:
    with pytest.raises(msgspec.ValidationError, match=re.escape("contains unknown field `pathh`")):
        msgspec.convert({"pathh": "x"}, kind)
