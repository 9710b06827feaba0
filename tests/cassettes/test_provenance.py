"""What a cassette and a recording say of where they come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from ringback.cassettes.files import RedactionError
from ringback.cassettes.pseudonyms import key_id
from ringback.cassettes.redaction import (
    REDACTION_VERSION,
    Redaction,
    check_key,
    provenance,
    redacted_fields,
    redacted_fields_of,
    with_key,
)
from ringback.cassettes.vcr_format import FIELD_SOURCE, Interaction, origin_of, recorded_source, source_of
from ringback.exchange import Source
from support.exchanges import answer, request

KEY = b"a key for tests, long enough"


def test_the_fields_that_were_redacted_are_reported_with_their_key_s_name_and_never_the_key() -> None:
    said = provenance(Redaction(("To", "Body"), KEY), "documentation")
    assert redacted_fields(said) == (("To", "Body"), key_id(KEY))
    assert redacted_fields_of({"ringback": said}) == ("To", "Body")
    assert said["source"] == "documentation"
    assert said["redaction"]["version"] == REDACTION_VERSION
    assert KEY.decode() not in str(said)


def test_without_redaction_no_key_is_reported() -> None:
    said = provenance(Redaction())
    assert redacted_fields(said) == ((), "")
    assert "source" not in said
    assert {"matching", "redaction"} == set(said)


@pytest.mark.parametrize(
    "known", [{}, {"redaction": None}, {"redaction": []}, {"redaction": {"fields": None}}]
)
def test_metadata_of_others_redacts_nothing(known: dict[str, object]) -> None:
    assert redacted_fields(known) == ((), "")
    assert redacted_fields_of({"ringback": known}) == ()
    assert redacted_fields_of({"ringback": "1"}) == redacted_fields_of({}) == ()


def test_the_key_of_the_cassette_and_no_other() -> None:
    check_key(Path("c.yaml"), key_id(KEY), KEY)
    with pytest.raises(RedactionError, match=f"key {key_id(KEY)}, the key here is .*RINGBACK_REDACT_KEY"):
        check_key(Path("c.yaml"), key_id(KEY), b"another key, long enough")


def test_a_key_changes_nothing_but_the_key() -> None:
    before = Redaction(("To",), b"", frozenset({"secret"}))
    assert with_key(before, KEY) == Redaction(("To",), KEY, frozenset({"secret"}))


@pytest.mark.parametrize(
    "said, basis, line",
    [
        (None, "recorded", None),
        ("live", "recorded", None),
        ("documentation; line=862", "documented", 862),
        ("documentation; example=sent; line=862", "documented", 862),
        ("documentation; line=x", "documented", None),
        ("documentation", "documented", None),
        ("live; line=3", "recorded", None),
    ],
)
def test_an_answer_reports_whether_it_was_recorded_or_documented(
    said: str | None, basis: str, line: int | None
) -> None:
    one = Interaction(request(), answer(), ((FIELD_SOURCE, said),) if said else ())
    assert source_of("mine", 4, one) == Source("cassette", "mine#5", basis, line=line)  # type: ignore[arg-type]  # a str


def test_a_recording_of_a_mock_upstream_names_it_and_is_not_live() -> None:
    said = recorded_source(Source("live", origin="http://127.0.0.1:4010"))
    assert said == "mock; origin=http://127.0.0.1:4010"
    one = Interaction(request(), answer(), ((FIELD_SOURCE, said),))
    assert origin_of(one) == "http://127.0.0.1:4010"
    replayed = dict(source_of("c", 0, one).headers())["Ringback-Source"]
    assert replayed.endswith("; origin=http://127.0.0.1:4010")
    assert recorded_source(Source("live")) == "live"
    assert origin_of(Interaction(request(), answer(), ((FIELD_SOURCE, "live"),))) is None
