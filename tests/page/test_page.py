"""What the tests believe of the page is what it says."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections import Counter

import pytest

from support.page import EXAMPLES, GENERATIONS, OWN, OWN_ANSWER, SOURCES, Page, carried, of
from support.rows import EXAMPLES as CASES
from support.rows import TABLES

INTERNATIONAL = 21215  # its documented text names another number and older links: errata


@pytest.mark.parametrize("source", SOURCES)
def test_tables_have_the_rows_that_are_tested(source: str) -> None:
    page = of(source)
    found = tuple((row.resource, row.parameter, row.value, row.code, row.line) for row in page.rows)
    assert found == TABLES
    assert len(found) == 24


def test_every_example_has_a_sample_of_every_generation(page: Page) -> None:
    assert tuple((example.resource, example.number) for example in page.examples) == EXAMPLES
    for example in page.examples:
        found = [(sample.language, sample.generation) for sample in example.samples]
        assert sorted(found) == sorted(GENERATIONS)


def test_second_half_repeats_the_samples(page: Page) -> None:
    first = Counter(sample.source for example in page.examples for sample in example.samples)
    assert Counter(sample.source for sample in page.repeated) == first


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("at", range(len(CASES)), ids=[case.id for case in CASES])
def test_documented_answer_is_the_one_tested(source: str, at: int) -> None:
    example, case = of(source).examples[at], CASES[at]
    assert (example.resource, example.line) == (case.resource, case.line)
    documented = json.loads(example.json)
    assert documented.get("code") == case.code
    error = ET.fromstring(example.xml).find("RestException")
    if case.code is None:
        assert error is None
        return
    assert error is not None
    assert documented["status"] == int(error.findtext("Status", "")) == case.status
    assert int(error.findtext("Code", "")) == case.code
    if case.code != INTERNATIONAL:
        assert documented["message"] == error.findtext("Message") == case.message


def test_samples_with_an_answer_of_their_own_differ_in_what_they_send(page: Page) -> None:
    """Each of them names another From than the example's, or none."""
    for resource, number, language, generation in OWN_ANSWER:
        source = page.example(resource, number).sample(language, generation).source
        sent = re.search(r"""(?:'From' *=> *|from: new PhoneNumber\(|from_=)["']([^"']*)["']""", source)
        assert sent
        assert sent[1] != "+15005550006"


def test_the_facts_that_the_repository_carries_are_the_page_s(page: Page) -> None:
    """Values, order and lines; what a sample has of its own is not carried."""
    ours = carried()
    assert ours.rows == page.rows
    for mine, theirs in zip(ours.examples, page.examples, strict=True):
        assert (mine.resource, mine.number, mine.line) == (theirs.resource, theirs.number, theirs.line)
        assert (mine.json_line, mine.xml_line) == (theirs.json_line, theirs.xml_line)
        told, documented = json.loads(mine.json), json.loads(theirs.json)
        assert list(told) == list(documented)
        for name, value in told.items():
            if name not in OWN and not (name == "message" and documented["code"] == INTERNATIONAL):
                assert _known(value, documented[name]) == documented[name], name
        names = [[each.tag for each in ET.fromstring(xml).iter()] for xml in (mine.xml, theirs.xml)]
        assert names[0] == names[1]


def _known(value: object, documented: object) -> object:
    """`value`, with the parts that are the sample's own put in."""
    if isinstance(value, dict) and isinstance(documented, dict):
        return {name: documented.get(name) if name in OWN else each for name, each in value.items()}
    return value
