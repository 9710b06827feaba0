"""The header fields of an answer."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from ringback.drift.fields import check_headers
from ringback.drift.observation import Notes, Observation
from support.drifting import ACCOUNT, CLAIM_SET, NOW, documented, probe

REQUEST = probe("example.message.sent").request(ACCOUNT)
GOOD = documented(REQUEST)


def seen(*changes: tuple[str, str | None], when: datetime | None = NOW) -> list[tuple[str, str, str, str]]:
    """What differs with some fields replaced, added or (None) taken away."""
    changed = dict(changes)
    fields = [(name, changed.get(name, value)) for name, value in GOOD.headers]
    fields += [(name, value) for name, value in changes if name not in dict(GOOD.headers)]
    answer = replace(GOOD, headers=tuple((name, value) for name, value in fields if value is not None))
    notes = Notes()
    check_headers(CLAIM_SET.facts.headers, Observation(REQUEST, answer, "x", when), "json", notes)
    return [
        (check.specific, one.severity, one.observed, one.cause)
        for check in notes.checks
        if (one := check.difference)
    ]


def test_the_documented_ones_are_no_news() -> None:
    assert seen() == []


def test_one_that_is_gone() -> None:
    assert seen(("X-Powered-By", None)) == [("header.x-powered-by", "warning", "no X-Powered-By", "missing")]


def test_none_is_missed_in_an_answer_older_than_itself() -> None:
    gone = ("X-Home-Region", None)
    assert seen(gone, when=datetime(2022, 12, 31, tzinfo=UTC)) == []
    assert len(seen(gone, when=datetime(2023, 1, 1, tzinfo=UTC))) == 1
    assert len(seen(gone, when=None)) == 1


def test_a_value_of_another_shape() -> None:
    ((rule, severity, observed, cause),) = seen(("Twilio-Request-Id", "RQ12"))
    assert (rule, severity, cause) == ("header.twilio-request-id", "warning", "another shape")
    assert observed == "Twilio-Request-Id: RQ12"


@pytest.mark.parametrize("value", ["application/json", "application/json;charset=utf-8", "Application/JSON"])
def test_the_media_type_is_compared_without_its_parameters(value: str) -> None:
    assert seen(("Content-Type", value)) == []


@pytest.mark.parametrize(
    "value, expected", [("application/xml", 0), ("text/xml; charset=utf-8", 0), ("application/json", 1)]
)
def test_the_media_type_of_xml(value: str, expected: int) -> None:
    answer = replace(GOOD, headers=(("Content-Type", value),))
    notes = Notes()
    check_headers(CLAIM_SET.facts.headers, Observation(REQUEST, answer, "x", NOW), "xml", notes)
    found = [check for check in notes.checks if check.specific == "header.content-type"]
    assert [check.difference is not None for check in found] == [expected == 1]


def test_another_media_type() -> None:
    ((_, _, observed, cause),) = seen(("Content-Type", "text/html; x=1"))
    assert (observed, cause) == ("Content-Type: text/html; x=1", "text/html")


def test_a_new_one_is_reported_once_briefly_and_our_own_and_http_s_are_none() -> None:
    assert seen(("Ringback-Source", "live"), ("Date", "x"), ("etag", "y")) == []
    ((rule, severity, observed, cause),) = seen(("X-New", "v" * 500))
    assert (rule, severity, cause) == ("header.x-new", "info", "new")
    assert len(observed) < 100


def test_the_challenge_is_expected_of_a_401_alone() -> None:
    answer = replace(GOOD, status=401)
    notes = Notes()
    check_headers(CLAIM_SET.facts.headers, Observation(REQUEST, answer, "x", NOW), "json", notes)
    (missing,) = [check.specific for check in notes.checks if check.difference]
    assert missing == "header.www-authenticate"
