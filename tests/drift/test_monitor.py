"""Drift in what passes through a running proxy."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from datetime import date, timedelta
from typing import TYPE_CHECKING

import pytest

from ringback.drift.monitor import DriftMonitor
from support.drifting import ACCOUNT, CLAIM_SET, documented, edit, failing, probe

if TYPE_CHECKING:
    from pathlib import Path

    from ringback.contract import Answer

REQUEST = probe("example.message.sent").request(ACCOUNT)
GOOD = documented(REQUEST)
CHANGED = edit(status="accepted")(GOOD)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def reports() -> list[str]:
    return []


@pytest.fixture
def drift(reports: list[str]) -> DriftMonitor:
    return DriftMonitor(CLAIM_SET.contract, "https://mock-upstream.example", reports.append)


def coded(answer: Answer, coding: str, body: bytes) -> Answer:
    return replace(answer, headers=(*answer.headers, ("Content-Encoding", coding)), body=body)


def test_nothing_seen_is_nothing_found(drift: DriftMonitor) -> None:
    assert drift.findings() == ()
    drift.observe(REQUEST, GOOD, "")
    assert drift.findings() == ()
    assert drift.report().compared == 1


def test_a_difference_is_found_once_with_how_often_and_where(drift: DriftMonitor) -> None:
    for _ in range(3):
        drift.observe(REQUEST, CHANGED, "default.yaml#1")
    (found,) = drift.findings()
    assert (found.rule, found.sightings[0].where) == ("Messages.answer.status", "default.yaml#1")
    made = drift.report()
    assert (made.source, made.origin, made.compared) == ("passive", "https://mock-upstream.example", 3)
    assert found.reproduce.startswith("ringback drift --only Messages.answer.status")


def test_a_coded_answer_is_compared_as_what_it_means(drift: DriftMonitor, reports: list[str]) -> None:
    drift.observe(REQUEST, coded(GOOD, "gzip", gzip.compress(GOOD.body)), "")
    assert (drift.findings(), drift.compared, reports) == ((), 1, [])
    drift.observe(REQUEST, coded(GOOD, "gzip", gzip.compress(CHANGED.body)), "")
    assert [one.rule for one in drift.findings()] == ["Messages.answer.status"]


def test_one_that_cannot_be_decoded_is_reported_and_left_out(drift: DriftMonitor, reports: list[str]) -> None:
    drift.observe(REQUEST, coded(GOOD, "gzip", b"no gzip"), "")
    assert drift.compared == 0
    assert [line.startswith("an answer was not compared with the documentation: ") for line in reports] == [
        True
    ]


def test_what_is_accepted_in_this_directory_is_no_finding(
    here: Path, reports: list[str], drift: DriftMonitor
) -> None:
    drift.observe(REQUEST, CHANGED, "")
    (found,) = drift.findings()
    entry = {
        "fingerprint": found.fingerprint,
        "reason": "known",
        "expires": str(date.today() + timedelta(days=9)),  # noqa: DTZ011 - a user's day
    }
    (here / "drift-accepted.yaml").write_text(json.dumps({"accepted": [entry]}))
    again = DriftMonitor(CLAIM_SET.contract, "x", reports.append)
    again.observe(REQUEST, CHANGED, "")
    assert (again.findings(), reports) == ((), [])
    assert [one.rule for one in again.report().accepted] == [found.rule]


def test_a_broken_list_of_what_is_accepted_is_reported_and_accepts_nothing(
    here: Path, reports: list[str]
) -> None:
    (here / "drift-accepted.yaml").write_text("accepted: 5")
    drift = DriftMonitor(CLAIM_SET.contract, "x", reports.append)
    assert len(reports) == 1
    assert reports[0].startswith("nothing is accepted: drift-accepted.yaml")
    drift.observe(REQUEST, failing(21606)(GOOD), "")
    assert len(drift.findings()) == 1


@pytest.mark.parametrize(
    "name, start", [("r.json", "{"), ("r.html", "<!"), ("r.XML", "<?xml"), ("r.sarif", "{")]
)
def test_the_file_s_ending_names_the_report_s_form(
    here: Path, drift: DriftMonitor, name: str, start: str
) -> None:
    drift.observe(REQUEST, CHANGED, "")
    drift.write(here / name)
    text = (here / name).read_text()
    assert text.lower().startswith(start)
    assert "Messages.answer.status" in text


def test_a_report_that_cannot_be_written_is_reported(
    here: Path, drift: DriftMonitor, reports: list[str]
) -> None:
    drift.write(here / "none" / "r.json")
    assert reports == [
        f"{here / 'none' / 'r.json'}: the drift report cannot be written: No such file or directory"
    ]
