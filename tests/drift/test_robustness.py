from __future__ import annotations

import json
from typing import Any
from xml.sax.saxutils import escape

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ringback.drift.findings import collect_findings
from ringback.drift.report import FORMATS, write
from ringback.drift.report.builder import ReportFrame, build_report
from support.drifting import CLAIM_SET, look

NAMES = ["sid", "code", "message", "more_info", "status", "date_created", "uri", "capabilities", "~/", ""]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=6,
)
JSON = st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=4), VALUES, max_size=6).map(json.dumps)
TAGS = ["Sid", "Code", "Message", "MoreInfo", "Status", "DateCreated", "Capabilities", "SMS", "a"]


def element(parts: list[tuple[str, str]]) -> str:
    inner = "".join(f"<{tag}>{escape(text)}</{tag}>" for tag, text in parts)
    return f"<TwilioResponse><RestException>{inner}</RestException></TwilioResponse>"


XML = st.lists(st.tuples(st.sampled_from(TAGS), st.text("0123456789²٣ abZ-", max_size=6000)), max_size=6).map(
    element
)


@settings(max_examples=150, deadline=None)
@example(
    item=CLAIM_SET.probes[0],
    body=rb'{"sid": "\ud800", "\udfff": 1, "code": "\ud800"}',
    status=201,
    headers=[],
)
@given(
    item=st.sampled_from(CLAIM_SET.probes),
    body=st.binary(max_size=60) | (JSON | XML).map(str.encode),
    status=st.sampled_from([200, 201, 204, 301, 400, 403, 404, 429]),
    headers=st.lists(
        st.tuples(st.sampled_from(["Content-Type", "X-New", "Date"]), st.text(max_size=9)), max_size=3
    ),
)
def test_whatever_comes_back_is_compared_and_reported(
    item: Any, body: bytes, status: int, headers: Any
) -> None:
    comparison = look(item, lambda answer: replace(answer, body=body, status=status, headers=tuple(headers)))
    findings = collect_findings(CLAIM_SET, [comparison])
    assert [found.fingerprint for found in findings] == [
        found.fingerprint for found in collect_findings(CLAIM_SET, [comparison])
    ]
    made = build_report(CLAIM_SET, [comparison], [], ReportFrame("live", "x"))
    for form in FORMATS:
        assert write(made, form).encode()


@pytest.mark.timeout(60)  # the square of these numbers would take minutes
def test_an_answer_of_many_fields_is_compared_in_a_moment() -> None:
    headers = tuple((f"X-New-{number}", "x") for number in range(50_000))
    body = json.dumps({"sid": "x", **{f"account_{number}": "AC" for number in range(50_000)}}).encode()
    item = next(probe for probe in CLAIM_SET.probes if "example.message.sent" in probe.claims)
    comparison = look(item, lambda answer: replace(answer, body=body, headers=headers))
    findings = collect_findings(CLAIM_SET, [comparison])
    assert {"Messages.answer", "header.x-new-0"} <= {found.rule for found in findings}
