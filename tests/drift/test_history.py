"""A history of drift: what many runs say together, in a directory and in an object store."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from ringback.cli import ringback
from ringback.drift.history import (
    DriftHistory,
    HistoryError,
    as_html,
    as_json,
    as_metrics,
    sentence,
    timeline,
)
from ringback.drift.report import as_json as report_json
from support.reports import SCRIPT, empty, full
from support.s3 import SECRET, s3_server

if TYPE_CHECKING:
    from collections.abc import Sequence

DAY = datetime(2026, 3, 2, 5, 17, tzinfo=UTC)


def week(number: int) -> datetime:
    return DAY + timedelta(days=7 * number)


def run(
    number: int, found: dict[str, str], looked: Sequence[str] = ("a", "b", "c"), accepted: str = ""
) -> str:
    """A report of a week: rules that differ with their severity, and the claims that were looked at."""

    def finding(rule: str, severity: str) -> dict[str, Any]:
        return {
            "fingerprint": rule * 12,
            "rule": rule,
            "severity": severity,
            "documented": {"text": f"as the page says in week {number}"},
            "observed": SCRIPT,
            "claims": [rule],
        }

    open_ = [finding(*one) for one in found.items() if one[0] != accepted]
    return json.dumps(
        {
            "schema": 1,
            "made": week(number).isoformat(),
            "verdict": f"verdict {number}",
            "origin": "https://api.twilio.com",
            "exit_code": int(bool(open_)),
            "findings": open_,
            "accepted": [finding(*one) for one in found.items() if one[0] == accepted],
            "claims": {"looked_at": list(looked)},
        }
    )


def test_each_finding_has_its_first_and_its_last_day(tmp_path: Path) -> None:
    history = DriftHistory(str(tmp_path / "runs"))
    texts = [
        run(0, {"a": "error"}),
        run(1, {"a": "error", "b": "warning"}),
        run(2, {"b": "warning"}, looked=["b"]),  # --only: it says nothing about a
        run(3, {"b": "warning", "c": "error"}, accepted="c"),
        run(4, {"b": "error", "c": "error"}, accepted="c"),
    ]
    for number in (3, 0, 4, 1, 2):  # several machines, in any order
        history.add(texts[number], week(number))
    found = timeline(history.runs())
    kept = {one.rule: one for one in found.findings}
    first, last = str(week(0).date()), str(week(1).date())
    assert (str(kept["a"].first.date()), str(kept["a"].last.date())) == (first, last)
    assert kept["a"].gone == week(3), "not by the run that did not look"
    assert (kept["a"].seen, kept["a"].looked) == (2, 4)
    assert (kept["b"].first, kept["b"].last, kept["b"].gone) == (week(1), week(4), None)
    assert kept["b"].severity == "error", "as the newest run has it"
    assert kept["c"].state == "accepted"
    assert [one.rule for one in found.findings] == ["b", "c", "a"]
    assert sentence(found) == "1 error now, 1 finding gone; 5 runs, 2026-03-02 to 2026-03-30"
    assert 'ringback_drift_findings{severity="error"} 1\n' in as_metrics(found)
    assert f"timestamp_seconds {week(4).timestamp():.0f}\n" in as_metrics(found)
    [row] = [one for one in json.loads(as_json(found))["findings"] if one["rule"] == "a"]
    assert (row["first_day"], row["last_day"], row["gone_on"]) == (first, last, str(week(3).date()))


def test_a_finding_that_comes_back_is_there() -> None:
    history = [run(number, {"a": "error"} if number != 1 else {}) for number in range(3)]
    from ringback.drift.history import _run_of  # noqa: PLC0415 - for one test

    runs = [one for text in history if (one := _run_of(text.encode()))]
    [found] = timeline(runs).findings
    assert (found.first, found.last, found.gone, found.seen, found.looked) == (week(0), week(2), None, 2, 3)


def test_the_page_shows_texts_as_text() -> None:
    from ringback.drift.history import _run_of  # noqa: PLC0415 - for one test

    one = _run_of(run(0, {"a": "error"}).encode())
    assert one is not None
    page = as_html(timeline([one]))
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "2026-03-02" in page
    assert re.findall(r"""<(?!a )[^>]*(?:src|href)=["']?(?!data:)[^"'>\s]+""", page) == []
    assert "No run found a difference" in as_html(timeline([]))


def test_a_real_report_is_read(tmp_path: Path) -> None:
    history = DriftHistory(str(tmp_path))
    for number, report in enumerate((full(), empty())):
        made = replace(report, made=week(number))
        history.add(report_json.text(made), week(number))
    found = timeline(history.runs())
    assert len(found.findings) == len(full().findings) + len(full().accepted)
    assert {one.first for one in found.findings} == {week(0)}


@pytest.mark.parametrize("data", [b"", b"[" * 100_000, b"[]", b'{"schema": 9}', b"\xff", None])
def test_what_is_no_report_is_left_out(tmp_path: Path, data: bytes | None) -> None:
    said: list[str] = []
    history = DriftHistory(str(tmp_path), said.append)
    if data is None:
        data = run(0, {"a": "error"}).replace('"error"', '"<b>worst</b>"').encode()
    (tmp_path / "drift-20260101T000000Z-00000000.json").write_bytes(data)
    (tmp_path / "drift-answers.yaml").write_text("not ours")
    history.add(run(1, {}), week(1))
    assert len(history.runs()) == 1
    assert len(said) == 1
    assert "left out" in said[0]


def test_a_place_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HistoryError, match="cannot be read"):
        DriftHistory(str(tmp_path / "nothing")).runs()
    done = CliRunner().invoke(ringback, ["drift", "history", str(tmp_path / "nothing")])
    assert (done.exit_code, "cannot be read" in done.stderr) == (2, True)
    done = CliRunner().invoke(ringback, ["drift", "history", "s3://key:secret@bucket/path"])
    assert (done.exit_code, "secret" in done.stderr.replace("the store's", "")) == (2, False)
    monkeypatch.setenv("HOME", str(tmp_path))
    done = CliRunner().invoke(ringback, ["drift", "--history", "https://host/path"])
    assert "a history needs" in done.stderr


def test_runs_are_kept_in_a_store_and_reported_over_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("obstore", reason="the extra `fleet` is not installed")
    monkeypatch.chdir(tmp_path)
    recording = Path(__file__).parents[2] / "cassettes" / "documentation.yaml"
    with s3_server() as store:
        for name, value in store.environ.items():
            monkeypatch.setenv(name, value)
        asked = ["drift", str(recording), "--history", "s3://acme/drift"]
        for _ in range(2):
            done = CliRunner().invoke(ringback, asked)
            assert done.exit_code == 2, "the documentation is compared with nothing"
            assert "kept as s3://acme/drift/drift-" in done.stderr
        assert len(store.names("acme/drift/drift-")) == 2
        DriftHistory("s3://acme/drift").add(run(0, {"a": "error"}), week(0))
        shown = CliRunner().invoke(ringback, ["drift", "history", "s3://acme/drift"])
        assert shown.exit_code == 0
        assert "a\terror\t2026-03-02\t2026-03-02\t1\tthere" in shown.stdout
        assert "3 runs" in shown.stdout
        page = tmp_path / "history.html"
        CliRunner().invoke(
            ringback, ["drift", "history", "s3://acme/drift", "--format", "html", "--output", str(page)]
        )
        assert "2026-03-02" in page.read_text()
        store.away = True
        done = CliRunner().invoke(ringback, ["drift", "history", "s3://acme/drift"])
        assert (done.exit_code, SECRET in done.stderr) == (2, False)
        assert "the server answered 503" in done.stderr
