"""Passive drift: what passes through is held against the documentation, and the summary says what differs."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import pytest

from support.clients import GOOD, http
from support.proxying import ringback, serve
from support.upstream import arguments, response, twilio

if TYPE_CHECKING:
    from pathlib import Path

    from support.upstream import LoopbackUpstream


def test_what_differs_is_in_the_summary_once(upstream: LoopbackUpstream, home: Path, tmp_path: Path) -> None:
    upstream.rule = lambda _: twilio(400, 21217, message="other words")
    with serve(home, tmp_path, *arguments(upstream, "online")) as running:
        for _ in range(3):
            assert running.ask(http(form={**GOOD["Messages"], "To": "+15005550001"})).status == 400
    told = [line for line in running.stderr().splitlines() if "21211" in line and "    error " in line]
    assert len(told) == 1
    assert "documented" in told[0]
    assert "21217" in told[0]


def test_a_compressed_answer_is_opened_first(upstream: LoopbackUpstream, home: Path, tmp_path: Path) -> None:
    body = gzip.compress(json.dumps({"code": 21217, "message": "x", "status": 400}).encode())
    fields = [("Content-Type", "application/json"), ("Content-Encoding", "gzip")]
    upstream.rule = lambda _: response(400, body, *fields)
    with serve(home, tmp_path, *arguments(upstream, "online")) as running:
        running.ask(http(form={**GOOD["Messages"], "To": "+15005550001"}))
    assert any("21217" in line for line in running.stderr().splitlines() if "    error " in line)


def test_an_answer_that_cannot_be_opened_is_passed_on_and_left_out(
    upstream: LoopbackUpstream, home: Path, tmp_path: Path
) -> None:
    upstream.rule = lambda _: response(201, b"no such coding", ("Content-Encoding", "unheard-of"))
    with serve(home, tmp_path, *arguments(upstream, "online")) as running:
        got = running.ask(http(form=GOOD["Messages"]))
    assert (got.status, got.body) == (201, b"no such coding")
    assert "was not compared" in running.stderr()


def test_what_is_no_answer_is_no_drift(upstream: LoopbackUpstream, home: Path, tmp_path: Path) -> None:
    upstream.rule = lambda _: response(503, b"later")
    with serve(home, tmp_path, *arguments(upstream, "online")) as running:
        assert running.ask(http(form=GOOD["Messages"])).status == 503
    assert "  drift:" not in running.stderr()


@pytest.mark.parametrize(
    "form, start", [("json", "{"), ("html", "<!"), ("xml", "<?xml"), ("sarif", "{"), ("txt", "")]
)
def test_the_report(upstream: LoopbackUpstream, home: Path, tmp_path: Path, form: str, start: str) -> None:
    file = tmp_path / f"drift.{form}"
    upstream.rule = lambda _: twilio(400, 21217)
    with serve(home, tmp_path, *arguments(upstream, "online", "--drift-report", str(file))) as running:
        for _ in range(2):
            running.ask(http(form={**GOOD["Messages"], "To": "+15005550001"}))
    text = file.read_text(encoding="utf-8")
    assert text.lower().startswith(start)
    assert "21217" in text
    if form == "json":
        assert json.loads(text)["compared"] == 2
        assert json.loads(text)["source"] == "passive"


@pytest.mark.parametrize(
    "name, why", [("no/drift.json", "nothing can be written there"), ("x.foo", ".sarif")]
)
def test_a_report_that_cannot_be_written_is_reported_at_once(
    upstream: LoopbackUpstream, home: Path, tmp_path: Path, name: str, why: str
) -> None:
    options = arguments(upstream, "online", "--drift-report", str(tmp_path / name))
    done = ringback(home, "serve", *options)
    assert done.returncode == 2
    assert why in done.stderr
    assert "Traceback" not in done.stderr
