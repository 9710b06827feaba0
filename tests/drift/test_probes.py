"""The requests that show whether claims hold."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import pytest

from ringback.drift.body import is_sid
from ringback.exchange import error_code
from support.drifting import ACCOUNT, CLAIM_SET, documented, probe
from support.rows import EXAMPLES, ROWS

if TYPE_CHECKING:
    from support.rows import Case

PROBES = CLAIM_SET.probes


def test_no_two_have_one_name_or_one_request() -> None:
    names = [item.id for item in PROBES]
    assert len(set(names)) == len(names)
    asked = [(item.method, item.host, item.path, item.form) for item in PROBES]
    assert len(set(asked)) == len(asked)


@pytest.mark.parametrize("case", ROWS, ids=lambda case: case.id)
@pytest.mark.parametrize("form", ["json", "xml"])
def test_every_row_of_the_page_is_asked_and_its_request_decided_by_it(case: Case, form: str) -> None:
    (claim,) = [name for name, claim in CLAIM_SET.claims.items() if claim.line == case.line]
    request = probe(claim, form).request(ACCOUNT)
    assert request.path.endswith(".json") == (form == "json")
    got = documented(request)
    assert (got.status, error_code(got.body)) == (case.status, case.code)
    assert case.code is None or got.source.line == case.line


@pytest.mark.parametrize("form", ["json", "xml"])
def test_every_example_of_the_page_is_asked_and_has_its_outcome(form: str) -> None:
    claims = [name for name in CLAIM_SET.claims if name.startswith("example.")]
    asked = [probe(claim, form).request(ACCOUNT) for claim in claims]
    got = [(one.path.split("/")[4].partition(".")[0], error_code(documented(one).body) or 0) for one in asked]
    assert sorted(got) == sorted((case.resource, case.code or 0) for case in EXAMPLES)


def test_any_other_value_is_one_that_no_row_names() -> None:
    named = {row.value for item in CLAIM_SET.contract.resources for row in item.magic}
    others = [name for name in CLAIM_SET.claims if name.endswith(".other") and "." in name]
    assert len(others) > 3
    for item in CLAIM_SET.contract.resources:
        for row in item.magic:
            if f"{item.resource}.{row.id}" in others:
                assert dict(probe(f"{item.resource}.{row.id}").form)[row.parameter] not in named


def test_what_must_be_there_is_left_out_with_what_could_take_its_place() -> None:
    form = dict(probe("Messages.body.missing").form)
    assert "Body" not in form
    assert "MediaUrl" not in form
    assert {"To", "From"} <= form.keys()


def test_a_form_is_sent_as_a_form_and_names_no_credentials() -> None:
    request = probe("example.message.sent").request(ACCOUNT)
    assert dict(parse_qsl(request.body.decode())) == dict(probe("example.message.sent").form)
    assert dict(request.headers)["Content-Length"] == str(len(request.body))
    assert "Authorization" not in dict(request.headers)
    assert f"/Accounts/{ACCOUNT}/" in request.target


def test_other_resources_are_asked_without_a_body_and_with_sids_that_are_nobody_s() -> None:
    gets = [item for item in PROBES if item.method == "GET"]
    assert {item.request(ACCOUNT).body for item in gets} == {b""}
    assert not any("{sid" in item.path for item in gets)
    sids = [sid for item in gets for sid in re.findall("[A-Z]{2}0{20,}", item.path)]
    assert sids
    assert all(is_sid(sid, sid[:2]) for sid in sids)
    # Other hosts know one format only.
    assert {item.format for item in gets if not item.host.startswith("api.")} == {"json"}
    assert not any(item.path.endswith(".json") for item in gets if not item.host.startswith("api."))


def test_a_text_that_is_too_long_is_too_long_by_one() -> None:
    lengths = {len(dict(item.form).get("Body", "")) for item in PROBES}
    assert 1601 in lengths
