"""The contract's data against the page and against Twilio's published description of the three resources."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from ringback.contract import load
from ringback.contract.listing import rows
from support import page as documentation
from support.clients import ACCOUNT, GOOD, MAGIC, REAL, body_of, fail_of, send

if TYPE_CHECKING:
    from ringback.contract.schema import Field, Parameter

CONTRACT = load()
RESOURCES = {resource.resource: resource for resource in CONTRACT.resources}
MAGIC_ROWS = [(resource.resource, row) for resource in CONTRACT.resources for row in resource.magic]
assert CONTRACT.page is not None
FACTS = {fact.line: fact.says for fact in CONTRACT.page.facts}
ERRATA = {erratum.id: erratum for erratum in CONTRACT.errata}

# The 24 rows of the page in this project's own words: resource, parameter, value, code or None, HTTP status.
TABLE = [
    ("IncomingPhoneNumbers", "PhoneNumber", "+15005550000", 21422, 400),
    ("IncomingPhoneNumbers", "PhoneNumber", "+15005550001", 21421, 400),
    ("IncomingPhoneNumbers", "PhoneNumber", "+15005550006", None, 201),
    ("IncomingPhoneNumbers", "AreaCode", "533", 21452, 400),
    ("IncomingPhoneNumbers", "AreaCode", "500", None, 201),
    ("Messages", "From", "+15005550001", 21212, 400),
    ("Messages", "From", "+15005550007", 21606, 400),
    ("Messages", "From", "+15005550008", 21611, 429),
    ("Messages", "From", "+15005550006", None, 201),
    ("Messages", "From", "other", 21606, 400),
    ("Messages", "To", "+15005550001", 21211, 400),
    ("Messages", "To", "+15005550002", 21612, 400),
    ("Messages", "To", "+15005550003", 21408, 400),
    ("Messages", "To", "+15005550004", 21610, 400),
    ("Messages", "To", "+15005550009", 21614, 400),
    ("Messages", "To", "other", None, 201),
    ("Calls", "From", "+15005550001", 21212, 400),
    ("Calls", "From", "+15005550006", None, 201),
    ("Calls", "From", "other", 21210, 400),
    ("Calls", "To", "+15005550001", 21217, 400),
    ("Calls", "To", "+15005550002", 21214, 400),
    ("Calls", "To", "+15005550003", 21215, 400),
    ("Calls", "To", "+15005550004", 21216, 400),
    ("Calls", "To", "other", None, 201),
]


def form_for(resource: str, parameter: str, value: str) -> dict[str, str]:
    form = {**GOOD[resource], parameter: REAL if value == "other" else value}
    if parameter == "AreaCode":
        del form["PhoneNumber"]
    return form


@pytest.mark.parametrize("resource, parameter, value, code, status", TABLE)
def test_every_row_of_the_page_gets_its_answer(
    resource: str, parameter: str, value: str, code: int | None, status: int
) -> None:
    got = send(resource, form_for(resource, parameter, value))
    assert got.status == status
    assert got.source.kind == "contract"
    if code is not None:
        assert fail_of(got)["code"] == code
    row = next(
        row for name, row in MAGIC_ROWS if (name, row.parameter, row.value) == (resource, parameter, value)
    )
    if code is not None or parameter in {"PhoneNumber", "AreaCode"}:
        assert (got.source.rule, got.source.line) == (f"{resource}.{row.id}", row.line)
    assert got.source.basis == "documented"


@pytest.mark.parametrize("source", documentation.SOURCES)
def test_the_table_is_the_pages_table(source: str) -> None:
    found = {
        (
            row.resource,
            row.parameter,
            "other" if "+" not in row.value and not row.value.isdigit() else row.value,
        ): row.code
        for row in documentation.of(source).rows
    }
    assert found == {(resource, parameter, value): code for resource, parameter, value, code, _ in TABLE}


def test_the_data_has_no_documented_row_beside_the_table() -> None:
    documented = [
        (name, row.parameter, row.value, row.error) for name, row in MAGIC_ROWS if row.basis == "documented"
    ]
    assert sorted(documented, key=str) == sorted([row[:4] for row in TABLE], key=str)
    assert len([row for row in rows(CONTRACT) if row.basis == "documented"]) == 24


@pytest.mark.parametrize("resource, row", MAGIC_ROWS, ids=lambda it: getattr(it, "id", it))
def test_every_row_of_the_page_and_no_other_has_a_line(resource: str, row: Any) -> None:
    assert (row.line is None) == (row.basis != "documented"), resource


def test_every_rows_line_on_the_page_has_its_value_and_code(page_lines: list[str]) -> None:
    for _, row in MAGIC_ROWS:
        if row.line is not None:
            line = page_lines[row.line - 1]
            assert line.startswith("上記以外" if row.value == "other" else row.value)
            assert re.findall(r"\d{5}$", line) == ([str(row.error)] if row.error else [])


def fields_of(entries: tuple[Field, ...]) -> list[Field]:
    found = list(entries)
    for entry in entries:
        found += fields_of(entry.fields)
    return found


@pytest.mark.parametrize("name", RESOURCES)
def test_every_answer_fields_line_on_the_page_has_its_key(name: str) -> None:
    fields = [entry for entry in fields_of(RESOURCES[name].answer) if entry.line]
    assert fields
    for entry in fields:
        assert entry.line is not None
        assert FACTS[entry.line].partition(" is ")[0].endswith(f"/{entry.json}")


@pytest.mark.parametrize("source", documentation.SOURCES)
@pytest.mark.parametrize("name", RESOURCES)
def test_every_field_of_the_pages_sample_is_answered(name: str, source: str) -> None:
    example = documentation.of(source).example(name, 1)
    sample = json.loads(example.json)
    got = body_of(send(name, GOOD[name]))
    assert set(sample) <= set(got)
    waived = {erratum.pointer for erratum in CONTRACT.errata}
    for key, value in sample.items():
        if f"/{key}" not in waived and value is not None:
            assert type(got[key]) is type(value), key
        if isinstance(value, dict):
            assert set(value) <= set(got[key])
    # The page's fields come in the page's order, whatever stands between them.
    assert [key for key in got if key in sample] == list(sample)


@pytest.mark.parametrize(
    "text", CONTRACT.errors, ids=lambda text: f"{text.code}-{text.resource}-{text.variant}"
)
def test_a_documented_text_has_a_line(text: Any) -> None:
    assert (text.line is None) <= (text.basis != "documented")
    assert text.line is None or FACTS[text.line]


def test_a_texts_line_on_the_page_has_the_text(page_lines: list[str]) -> None:
    for text in CONTRACT.errors:
        if text.line is not None:
            stem = max(re.split(r"\{\w+\}", text.message), key=len).split(": http")[0]
            assert stem in page_lines[text.line - 1].replace("\\/", "/")


@pytest.mark.parametrize(
    "text", [*CONTRACT.errors, *CONTRACT.newer], ids=lambda text: f"{text.code}-{text.resource}"
)
def test_every_recorded_text_has_its_years_or_is_called_undated(text: Any) -> None:
    if text.basis == "recorded":
        assert (text.years is None) == (text.evidence.endswith(", undated"))


@pytest.mark.parametrize("refusal", CONTRACT.gate.refusals, ids=lambda refusal: refusal.id)
def test_a_documented_refusals_line_on_the_page_has_its_status(refusal: Any) -> None:
    assert (refusal.line is not None) == (refusal.basis == "documented")
    if refusal.line is not None:
        assert str(refusal.status) in FACTS[refusal.line]


@pytest.mark.parametrize("name", RESOURCES)
def test_resources_requirements_and_parameters_stand_where_the_data_says(name: str) -> None:
    resource = RESOURCES[name]
    assert FACTS[resource.line].endswith(f"POST {name}")
    for refused in resource.refused:
        assert refused.line is not None
        assert refused.parameter in FACTS[refused.line]
    for parameter, entry in resource.parameters.items():
        # Line 595 is the sentence about letters and length, which names no parameter.
        if entry.line is not None and entry.line != 595:
            assert parameter in FACTS[entry.line]


@pytest.mark.parametrize("source", documentation.SOURCES)
@pytest.mark.parametrize("example", CONTRACT.examples, ids=lambda example: example.id)
def test_every_example_stands_where_the_data_says(example: Any, source: str) -> None:
    found = next(
        it
        for it in documentation.of(source).examples
        if it.resource == example.resource and it.json_line == example.json_line
    )
    assert found.xml_line == example.xml_line
    documented = json.loads(found.json)
    assert documented.get("code") == example.expect
    if source == "text":
        curl = found.sample("curl", "json")
        assert curl.line == example.line
        assert all(f'"{name}=' in curl.source for name, _ in example.form)
    if example.message is not None and not (source == "facts" and example.errata):
        assert documented["message"] == example.message


@pytest.mark.parametrize("erratum", CONTRACT.errata, ids=lambda erratum: erratum.id)
def test_every_erratum_is_on_the_page_and_in_no_answer(erratum: Any) -> None:
    pointer, is_, value = FACTS.get(erratum.lines[0], "").partition(" is ")
    if erratum.pointer and is_:
        assert pointer == erratum.pointer
        got = body_of(send(erratum.resource, dict(example_form(erratum.resource))))
        assert got[pointer.removeprefix("/")] != json.loads(value)


def test_the_lines_of_errata_stand_on_the_page(page_lines: list[str]) -> None:
    for erratum in CONTRACT.errata:
        assert all(page_lines[line - 1].strip() for line in erratum.lines)
        if erratum.pointer:
            assert f'"{erratum.pointer.removeprefix("/")}"' in page_lines[erratum.lines[0] - 1]


def example_form(resource: str) -> tuple[tuple[str, str], ...]:
    return next(it.form for it in CONTRACT.examples if it.resource == resource and it.expect is None)


def test_errata_are_used_and_named_once() -> None:
    named = {name for example in CONTRACT.examples for name in example.errata}
    everywhere = {"key-order", "xml-dates-empty"}  # of every error body, and of the XML samples
    assert len(ERRATA) == len(CONTRACT.errata)
    assert named | everywhere == set(ERRATA)


# -- Twilio's published description

# Where the contract is stricter or more lenient than the description's bare "string", and why.
NARROWER = {
    "address": "phone numbers, and the other addresses that the documentation names",
    "area-code": "three digits",
    "url": "the description's own name says that it is one",
    "enum": "the values are in Twilio's documentation of the parameter",
    "boolean": "documented as true or false",
    "string": "",
    "json-object": "the documentation of the parameter says so",
}


def expected_type(description: dict[str, Any]) -> set[str]:
    inner = description.get("items", description)
    if description.get("format") == "http-method":
        return {"method"}
    if "enum" in inner:
        return {"enum"}
    if "pattern" in inner:
        return {"sid", "string"} if "MG" in inner["pattern"] else {"sid"}
    kinds = {
        "uri": {"url"},
        "date-time": {"date-time"},
        "phone-number": {"address", "string"},
        "endpoint": {"address"},
        "twiml": {"xml"},
    }
    if inner.get("format") in kinds:
        return kinds[inner["format"]]
    return {
        "integer": {"integer"},
        "boolean": {"boolean"},
        "number": {"number"},
        "string": set(NARROWER),
    }[inner["type"]]


@pytest.mark.parametrize("name", RESOURCES)
def test_every_published_parameter_is_in_the_contract_with_its_type(
    name: str, reference: dict[str, Any]
) -> None:
    described = reference[name]["parameters"]
    ours = RESOURCES[name].parameters
    assert set(described) == set(ours)
    for parameter, description in described.items():
        assert ours[parameter].type in expected_type(description), parameter
        assert ours[parameter].repeats == (description["type"] == "array"), parameter
        if "enum" in description and ours[parameter].type == "enum":
            assert set(ours[parameter].values) == set(description["enum"])
        if "pattern" in description and ours[parameter].type == "sid":
            assert description["pattern"].startswith(f"^{ours[parameter].prefix}[")


@pytest.mark.parametrize("name", RESOURCES)
def test_every_published_field_is_answered_with_its_type(name: str, reference: dict[str, Any]) -> None:
    got = body_of(send(name, GOOD[name]))
    kinds = {"string": str, "integer": int, "boolean": bool, "object": dict}
    for field, description in reference[name]["response"].items():
        assert field in got, field
        if got[field] is None:
            assert description.get("nullable"), field
            continue
        assert isinstance(got[field], kinds[description["type"]]), field
        if description.get("pattern") and got[field] and field != "account_sid":
            assert re.fullmatch(description["pattern"], got[field]), field
        if "enum" in description:
            assert got[field] in description["enum"], field


# One value of each type that fits and values that do not. sid's prefix is put in.
FITTING = {
    "boolean": "true",
    "date-time": "2030-01-02T03:04:05Z",
    "integer": "60",
    "json-object": '{"1": "a"}',
    "xml": "<Response><Say>Hi</Say></Response>",
    "method": "GET",
    "number": "0.75",
    "string": "1",
    "url": "https://hooks.example/path?a=b&c=%20#f",
}
UNFIT = {
    "boolean": ["yes", "1", "tru", "True "],
    "date-time": ["tomorrow", "2030-13-01T00:00:00Z", "12:00"],
    "integer": ["1.5", "ten", "1e3", "0x10", "1 000", "\u0661"],
    "method": ["PUT", "DELETE", "post it"],
    "json-object": ["1", "[]", "{", "'a'", "{'1': 2}"],
    "xml": ["<Response>", "Hi", "<a></b>", "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>"],
    "number": ["1,5", "free", "1e5", "."],
    "url": [
        "nowhere",
        "ftp://a.example/",
        "http://",
        "//a.example",
        "http://a b/",
        "http://a:port/",
        "http://[::1",
    ],
    "sid": [
        "SM123",
        "{prefix}" + "0" * 31,
        "{prefix}" + "0" * 33,
        "{prefix}" + "g" * 32,
        "{prefix}" + "0" * 32 + "\n",
    ],
    "enum": ["no-such-value", "0"],
}
SCHEDULING = ("ScheduleType", "SendAt")  # refused without a messaging service, see test_validation
TYPED = [
    (resource.resource, name, parameter)
    for resource in CONTRACT.resources
    for name, parameter in resource.parameters.items()
    if parameter.type not in {"address", "area-code"} and name not in {"MessagingServiceSid", *SCHEDULING}
]


def fitting(parameter: Parameter) -> str:
    if parameter.type == "sid":
        return parameter.prefix + "0123456789abcdefABCDEF0123456789"
    if parameter.minimum is not None:
        return str(parameter.minimum)
    return parameter.values[-1] if parameter.type == "enum" else FITTING[parameter.type]


@pytest.mark.parametrize("resource, name, parameter", TYPED, ids=lambda it: it if isinstance(it, str) else "")
def test_every_parameter_is_accepted_and_echoed_where_the_answer_carries_it(
    resource: str, name: str, parameter: Parameter
) -> None:
    value = fitting(parameter)
    got = send(resource, {**GOOD[resource], name: value})
    assert got.status == 201, got.body
    for entry in RESOURCES[resource].answer:
        if entry.value == f"$form.{name}":
            echoed = body_of(got)[entry.json]
            assert echoed == (value == "true" if isinstance(entry.default, bool) else value)


def test_every_parameter_that_the_published_answer_has_is_echoed(reference: dict[str, Any]) -> None:
    echoed = {
        entry.json
        for entry in RESOURCES["IncomingPhoneNumbers"].answer
        if str(entry.value).startswith("$form.")
    }
    wanted = {
        re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
        for name in reference["IncomingPhoneNumbers"]["parameters"]
        if name not in {"PhoneNumber", "AreaCode"}
    }
    assert echoed == wanted


@pytest.mark.parametrize(
    "resource, name, parameter, value",
    [
        (resource, name, parameter, value.replace("{prefix}", parameter.prefix))
        for resource, name, parameter in TYPED
        for value in UNFIT.get(parameter.type, [])
    ],
    ids=lambda it: it if isinstance(it, str) else "",
)
def test_a_value_of_another_type_gets_the_parameters_error(
    resource: str, name: str, parameter: Parameter, value: str
) -> None:
    got = send(resource, {**GOOD[resource], name: value})
    failed = fail_of(got)
    assert failed["status"] == 400
    assert failed["code"] == int(str(parameter.error).partition("/")[0])
    assert got.source.rule == f"{resource}.{name.lower()}.malformed"
    assert got.source.basis in {parameter.basis, "assumed"}


def test_a_bought_number_carries_every_other_parameter_that_was_sent() -> None:
    form = {
        "PhoneNumber": MAGIC,
        "FriendlyName": "Front desk & co",
        "VoiceUrl": "http://a.example/v",
        "VoiceMethod": "GET",
        "VoiceCallerIdLookup": "true",
        "SmsUrl": "http://a.example/s",
        "StatusCallback": "http://a.example/c",
        "TrunkSid": "TK" + "1" * 32,
    }
    got = body_of(send("IncomingPhoneNumbers", form))
    assert got["friendly_name"] == "Front desk & co"
    assert (got["voice_url"], got["voice_method"]) == ("http://a.example/v", "GET")
    assert got["voice_caller_id_lookup"] is True
    assert (got["sms_url"], got["status_callback"]) == ("http://a.example/s", "http://a.example/c")
    assert (got["trunk_sid"], got["account_sid"]) == ("TK" + "1" * 32, ACCOUNT)
