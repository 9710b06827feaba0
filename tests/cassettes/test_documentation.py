"""The shipped cassette: made from the contract, and held to the page."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
import requests
import vcr

from ringback import contract
from ringback.cassettes import editing, verify
from ringback.cassettes.matching import ACCOUNT_PLACEHOLDER
from ringback.exchange import Source
from support import page as documented
from support.exchanges import FORM, OTHER_SID, Shelf, found, request

FILE = Path(__file__).parents[2] / "cassettes" / "documentation.yaml"
LOADED = contract.load()
PLACED = verify.load(FILE).placed

# What every answer has of its own: compared by shape, never by value.
OWN = {"sid", "date_created", "date_updated", "account_sid", "uri", "more_info"}
# The fields of each erratum, by the name that the contract's data gives it.
CORRECTED = {
    "sms-body-hi": {"body"},
    "sms-uri": {"uri"},
    "call-to-formatted": {"to_formatted"},
    "call-direction": {"direction"},
    "call-api-version": {"api_version"},
    "call-permission-number": {"message"},
    "call-permission-link": {"message"},
    "more-info-scheme": {"more_info"},
    "sms-element": set(),
}
EXAMPLES = range(len(LOADED.examples))


@pytest.fixture(scope="module", params=documented.SOURCES)
def page(request: pytest.FixtureRequest) -> documented.Page:
    return documented.of(request.param)


def test_the_file_is_what_the_contract_makes_of_it() -> None:
    made = editing.documentation_cassette(LOADED)
    assert FILE.read_bytes() == made, "ringback cassettes documentation --output cassettes/documentation.yaml"


def test_its_metadata_says_where_it_comes_from() -> None:
    said = verify.load(FILE).metadata["ringback"]
    assert said["source"] == "documentation"
    assert [one["line"] for one in said["examples"]] == [example.line for example in LOADED.examples]
    named = {name for one in said["examples"] for name in one["errata"]}
    assert named <= set(said["errata"])
    assert named == set(CORRECTED)


@pytest.mark.parametrize("number", EXAMPLES)
def test_every_example_is_there_in_both_formats(number: int) -> None:
    example = LOADED.examples[number]
    for placed, line in zip(
        PLACED[2 * number : 2 * number + 2], (example.json_line, example.xml_line), strict=True
    ):
        said = placed.interaction.provenance_value("Ringback-Source") or ""
        assert said.startswith(f"documentation; line={line}; example={example.id}")
        assert all(name in said for name in example.errata)
        assert parse_qsl(placed.interaction.request.body.decode()) == list(example.form)


@pytest.mark.parametrize("number", EXAMPLES)
def test_the_json_answer_is_the_pages(page: documented.Page, number: int) -> None:
    example, wanted = LOADED.examples[number], json.loads(page.examples[number].json)
    assert page.examples[number].json_line == example.json_line
    got = json.loads(PLACED[2 * number].interaction.answer.body)
    assert set(wanted) <= set(got)
    compare(wanted, got, {name for erratum in example.errata for name in CORRECTED[erratum]})


@pytest.mark.parametrize("number", EXAMPLES)
def test_the_xml_answer_is_the_pages(page: documented.Page, number: int) -> None:
    example = LOADED.examples[number]
    assert page.examples[number].xml_line == example.xml_line
    wanted, got = (
        ET.fromstring(text)[0]
        for text in (page.examples[number].xml, PLACED[2 * number + 1].interaction.answer.body.decode())
    )
    assert wanted.tag == got.tag or "sms-element" in example.errata
    corrected = {name for erratum in example.errata for name in CORRECTED[erratum]}
    compare(flat(wanted), flat(got), corrected)


def flat(element: ET.Element) -> dict[str, Any]:
    """The children as JSON names them; empty text as None."""
    return {
        "".join(f"_{char.lower()}" if char.isupper() else char for char in child.tag).lstrip("_"): (
            {inner.tag: inner.text for inner in child} if len(child) else child.text
        )
        for child in element
    }


def compare(wanted: dict[str, Any], got: dict[str, Any], corrected: set[str]) -> None:
    for name, value in wanted.items():
        if name not in OWN | corrected and name != "subresource_uris":
            kept = {key: got[name][key] for key in value} if isinstance(value, dict) else got[name]
            assert (kept or None) == (value or None), name


def test_an_erratum_is_one_because_the_page_differs(page: documented.Page) -> None:
    """Each corrected value is another one than the page's: nothing is corrected that was right."""
    differing = set()
    for number in EXAMPLES:
        example = LOADED.examples[number]
        pages, ours = (
            json.loads(page.examples[number].json),
            json.loads(PLACED[2 * number].interaction.answer.body),
        )
        for erratum in example.errata:
            if any(pages[name] != ours[name] for name in CORRECTED[erratum]):
                differing.add(erratum)
    assert differing == set(CORRECTED) - {"sms-element"}


def test_vcrpy_replays_it() -> None:
    form = list(LOADED.examples[0].form)
    with vcr.use_cassette(str(FILE), record_mode="none", match_on=["method", "uri", "body"]):
        url = f"https://api.twilio.com/2010-04-01/Accounts/{ACCOUNT_PLACEHOLDER}/IncomingPhoneNumbers.json"
        assert requests.post(url, data=form, timeout=60).json()["phone_number"] == "+15005550006"


def test_it_replays_here_for_any_account_and_names_its_line() -> None:
    example = LOADED.examples[4]
    asked = request(urlencode(example.form).encode(), sid=OTHER_SID, headers=(FORM,))
    with Shelf(FILE.parent).library() as library:
        got = found(library.open("documentation"), asked)
    assert got.source == Source("cassette", "documentation#9", "documented", line=example.json_line)
    assert json.loads(got.body)["code"] == 21614
