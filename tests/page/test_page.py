"""What the tests believe of the page is what it says."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections import Counter

import pytest

from support.page import EXAMPLES, GENERATIONS, OWN_ANSWER, Page
from support.rows import EXAMPLES as CASES
from support.rows import TABLES

INTERNATIONAL = 21215  # its documented text names another number and older links: errata


def test_tables_have_the_rows_that_are_tested(page: Page) -> None:
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


@pytest.mark.parametrize("at", range(len(CASES)), ids=[case.id for case in CASES])
def test_documented_answer_is_the_one_tested(page: Page, at: int) -> None:
    example, case = page.examples[at], CASES[at]
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
