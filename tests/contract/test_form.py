"""Reading forms: nothing lost, nothing guessed, nothing unbounded."""

from __future__ import annotations

import subprocess
import sys
from urllib.parse import urlencode

import pytest

from ringback import contract
from ringback.contract import FormError, Request
from ringback.contract.form import (
    MAX_BODY,
    MAX_FIELDS,
    MAX_HEADERS,
    NamingError,
    parameters_named,
    parse,
    plain_name,
    read,
)
from support.clients import FORM_TYPE, GOOD, ask, basic, fail_of, path, post


@pytest.mark.parametrize(
    "body, fields",
    [
        (b"", ()),
        (b"A=1&B=2&A=3", (("A", "1"), ("B", "2"), ("A", "3"))),
        (b"A=&B", (("A", ""), ("B", ""))),
        (b"A=a+b%20c%2B", (("A", "a b c+"),)),
        (b"A=%E4%B8%AD\xe4\xb8\xad", (("A", "中中"),)),
        (b"A=1;B=2", (("A", "1;B=2"),)),
        (b"&&A=1&", (("A", "1"),)),
        (b"=x", (("", "x"),)),
        (b"A==", (("A", "="),)),
    ],
)
def test_fields_in_order_with_repeats_and_blanks(body: bytes, fields: tuple[tuple[str, str], ...]) -> None:
    assert parse(body) == fields


@pytest.mark.parametrize(
    "body, detail",
    [
        (b"A=%", "broken percent-encoding at byte 2"),
        (b"A=%4", "broken percent-encoding at byte 2"),
        (b"A=%zz", "broken percent-encoding at byte 2"),
        (b"A=b&%%=1", "broken percent-encoding at byte 4"),
        (b"A=\xff", "byte 2 is not UTF-8"),
        (b"A=%ff", "a percent-encoded value is not UTF-8"),
        (b"A=%ED%A0%80", "a percent-encoded value is not UTF-8"),
        (b"A=\x00", "a NUL character in 'A'"),
        (b"A%00=1", "a NUL character in 'A\\x00'"),
        (b"a&" * MAX_FIELDS + b"a", f"more than {MAX_FIELDS} fields"),
    ],
)
def test_what_is_no_form_says_so(body: bytes, detail: str) -> None:
    with pytest.raises(FormError) as caught:
        parse(body)
    assert (caught.value.rule, caught.value.detail) == ("form.malformed", detail)
    got = ask(post("Messages", body))
    failed = fail_of(got)
    assert (failed["status"], failed["code"]) == (400, 20001)
    assert detail in failed["message"]
    assert got.source.rule == "form.malformed"


def test_as_many_fields_as_allowed_are_read() -> None:
    assert len(parse(b"a=1&" * (MAX_FIELDS - 1) + b"a=1")) == MAX_FIELDS


@pytest.mark.parametrize(
    "headers, body, status, rule",
    [
        ((("Content-Type", "application/json"),), b"{}", 415, "form.type"),
        ((("Content-Type", "multipart/form-data; boundary=x"),), b"--x--", 415, "form.type"),
        ((("Content-Type", "text/plain"),), b"A=1", 415, "form.type"),
        ((("Content-Type", ";"),), b"A=1", 415, "form.type"),
        ((FORM_TYPE, ("Content-Encoding", "gzip")), b"\x1f\x8b", 415, "form.coding"),
        ((FORM_TYPE, ("Content-Encoding", "br")), b"x", 415, "form.coding"),
        ((FORM_TYPE,), b"A=" + b"x" * MAX_BODY, 413, "form.too-large"),
        ((FORM_TYPE, ("X-Long", "x" * MAX_HEADERS)), b"A=1", 431, "headers.too-large"),
    ],
)
@pytest.mark.parametrize("extension", [".json", ""])
def test_what_is_refused_before_it_is_read(
    headers: tuple[tuple[str, str], ...], body: bytes, status: int, rule: str, extension: str
) -> None:
    request = Request("POST", "api.twilio.com", path(extension=extension), (basic(), *headers), body)
    got = ask(request)
    assert (got.source.rule, got.source.kind) == (rule, "gate")
    failed = fail_of(got)
    assert (failed["status"], failed["code"]) == (status, 20001)
    assert len(failed["message"]) < 200


@pytest.mark.parametrize(
    "headers",
    [
        (),
        (("content-type", "Application/X-WWW-Form-URLencoded; charset=utf-8"),),
        (FORM_TYPE, ("Content-Encoding", "identity")),
    ],
)
def test_what_counts_as_a_form(headers: tuple[tuple[str, str], ...]) -> None:
    body = urlencode(GOOD["Messages"]).encode()
    request = Request("POST", "api.twilio.com", path(), (basic(), *headers), body)
    assert len(read(request)) == 3
    assert ask(request).status == 201


def test_no_body_has_no_media_type_to_be_wrong() -> None:
    request = Request("POST", "api.twilio.com", path(), (basic(), ("Content-Type", "application/json")))
    assert fail_of(ask(request))["code"] == 21603


def test_the_largest_body_is_read() -> None:
    assert len(parse(b"A=" + b"x" * (MAX_BODY - 2))[0][1]) == MAX_BODY - 2


# -- naming


LOADED = contract.load()


def test_names_are_compared_without_case_and_punctuation() -> None:
    assert plain_name("Auth-Token_2") == plain_name("authtoken2") == "authtoken2"


@pytest.mark.parametrize(
    "texts, named",
    [
        ([], ()),
        ([" ", ","], ()),
        (["To, Body"], ("To", "Body")),
        (["to,TO", "t-o", "status_callback"], ("To", "StatusCallback")),
    ],
)
def test_parameters_are_named_once_and_as_twilio_spells_them(
    texts: list[str], named: tuple[str, ...]
) -> None:
    assert parameters_named(LOADED, texts) == named


@pytest.mark.parametrize(
    "text, said",
    [
        ("boddy", r"'boddy' is no parameter of any resource, did you mean Body\? There are: .*, To, "),
        ("xyzzy", "'xyzzy' is no parameter of any resource\\. There are: AddressRetention, "),
        ("To;Body", "'To;Body' cannot name a form field: use letters"),
        ("To Body", "cannot name a form field"),
        ("Tö", r"'T\\xf6' cannot name"),
        ("--", "cannot name a form field"),
    ],
)
def test_what_is_none_is_reported_with_the_nearest(text: str, said: str) -> None:
    with pytest.raises(NamingError, match=said):
        parameters_named(LOADED, [f"To,{text}"])


def test_who_makes_no_mistake_does_not_wait_for_the_search_of_the_nearest() -> None:
    program = """
import sys
from ringback import contract
from ringback.contract.form import parameters_named
parameters_named(contract.load(), ["to"])
assert "difflib" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
