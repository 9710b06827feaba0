"""The page's own curl, Python and Node.js samples, unchanged, under `ringback run`.

Expectations belong to the sample: `support.page.OWN_ANSWER` lists those that cannot get the answer of their
example.
"""

from __future__ import annotations

import json
import re
import shutil
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any

import pytest

from support.clients import send
from support.page import EXAMPLES, OWN_ANSWER, Page, Sample
from support.rows import EXAMPLES as CASES
from support.rows import SID_PREFIX
from support.sdks import node_sdk, python_sdk

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from support.product import Product
    from support.rows import Case

# Values of the documented answers that differ from answer to answer, and those that are errata of the page.
VOLATILE = {"sid", "date_created", "date_updated", "uri", "subresource_uris"}
ERRATA = {"Messages": {"body"}, "Calls": {"to_formatted", "direction", "api_version"}}
XML_ELEMENT = {"IncomingPhoneNumbers": "IncomingPhoneNumber", "Messages": "Message", "Calls": "Call"}
XML_ERRATA = {"SMSMessage": "Message"}

NO_FROM = "A 'From' phone number is required."
TEXTS = {21603: NO_FROM}

ALL = pytest.mark.parametrize("at", range(len(EXAMPLES)), ids=[f"{name}-{n}" for name, n in EXAMPLES])


def run(
    product: Product, sample: Sample, directory: Path, name: str, command: str, more: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """Write the sample to a file and run it; the proxy must have seen its one request."""
    file = directory / name
    file.write_text(sample.source)
    done = product.run([command, file], more=more, cwd=directory)
    assert "ringback: 1 Twilio request answered, offline (contract 1)\n" in done.stderr, done.stderr
    return done


def rule_line(case: Case) -> str:
    """The summary's line about an error that is the example's."""
    answer = send(case.resource, case.form)
    assert json.loads(answer.body)["code"] == case.code
    return f"1 x error {answer.source.rule}"


def curl(product: Product, sample: Sample, directory: Path) -> str:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed here")
    done = run(product, sample, directory, "sample.sh", "sh", {"HOME": str(directory)})
    assert done.returncode == 0
    return done.stdout


@ALL
def test_curl_json(product: Product, page: Page, tmp_path: Path, at: int) -> None:
    example, case = page.examples[at], CASES[at]
    answered = json.loads(curl(product, example.sample("curl", "json"), tmp_path))
    documented = json.loads(example.json)
    if case.code is not None:
        assert (answered["code"], answered["message"], answered["status"]) == (case.code, case.message, 400)
        assert set(answered) == set(documented)
        return
    errata = ERRATA.get(case.resource, set())
    for field, promised in documented.items():
        if field in VOLATILE:
            assert shape(answered[field]) == shape(promised)
        elif field not in errata:
            if isinstance(promised, dict):
                assert promised.items() <= answered[field].items()
            else:
                assert answered[field] == promised
    assert re.fullmatch(SID_PREFIX[case.resource] + "[0-9a-f]{32}", answered["sid"])
    assert errata <= set(answered)


def shape(value: Any) -> Any:
    """`value` with its letters and digits blurred, and without what a sid is of."""
    if isinstance(value, dict):
        return {key: shape(part) for key, part in value.items()}
    text = re.sub(r"(?:/SMS)?/Messages/", "/Messages/", value)  # an erratum of the page
    return re.sub(r"[A-Z]{2}[0-9a-f]{32}", "SID", re.sub(r"^\w{3}, \d\d \w{3} [\d: ]+", "DATE ", text))


@ALL
def test_curl_xml(product: Product, page: Page, tmp_path: Path, at: int) -> None:
    example, case = page.examples[at], CASES[at]
    answered = ET.fromstring(curl(product, example.sample("curl", "xml"), tmp_path))
    documented = ET.fromstring(example.xml)
    assert answered.tag == documented.tag == "TwilioResponse"
    if case.code is not None:
        (error,) = answered
        assert (error.tag, error.findtext("Code")) == ("RestException", str(case.code))
        assert (error.findtext("Message"), error.findtext("Status")) == (case.message, "400")
        assert {child.tag for child in error} == {child.tag for child in documented[0]}
        return
    assert answered[0].tag == XML_ELEMENT[case.resource]
    assert elements(documented) <= elements(answered)


def elements(root: ET.Element, path: str = "") -> set[str]:
    """The paths of all elements."""
    found = {path}
    for child in root:
        found |= elements(child, f"{path}/{XML_ERRATA.get(child.tag, child.tag)}")
    return found


@ALL
@pytest.mark.parametrize("generation", ["6", "5"])
def test_python(product: Product, page: Page, tmp_path: Path, at: int, generation: str) -> None:
    example, case = page.examples[at], CASES[at]
    sample = example.sample("python", generation)
    sdk = python_sdk("6rc" if "client.account" in sample.source and generation == "6" else generation)
    done = run(product, sample, tmp_path, "sample.py", sdk.runtime, sdk.environment)
    code, message = case.code, case.message
    if own := OWN_ANSWER.get((sample.resource, sample.example, sample.language, generation)):
        code, message = own[0], TEXTS[own[0]]
    if code is None:
        assert done.returncode == 0
        assert re.fullmatch(SID_PREFIX[case.resource] + "[0-9a-f]{32}\n", done.stdout)
        return
    module, prefix = ("base", "Unable to create record: ") if generation == "6" else ("rest", "")
    raised = f"twilio.{module}.exceptions.TwilioRestException: HTTP 400 error: {prefix}{message}\n"
    assert done.returncode == 1
    assert raised in done.stderr
    assert done.stdout == ""


@ALL
@pytest.mark.parametrize("generation", ["3", "2"])
def test_node(product: Product, page: Page, tmp_path: Path, at: int, generation: str) -> None:
    example, case = page.examples[at], CASES[at]
    sdk = node_sdk(generation)
    done = run(
        product, example.sample("node", generation), tmp_path, "sample.js", sdk.runtime, sdk.environment
    )
    if case.code is None:
        assert done.returncode == 0
        assert re.fullmatch(SID_PREFIX[case.resource] + "[0-9a-f]{32}", done.stdout)
        return
    assert done.stdout == ""
    assert rule_line(case) in done.stderr
    if generation == "2":  # looks at nothing but the sid that is not there
        assert done.returncode == 1
        assert "TypeError" in done.stderr
    else:  # ends well, as it looks at no error at all
        assert done.returncode == 0
