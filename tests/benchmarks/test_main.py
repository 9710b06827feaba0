"""The benchmark's command, end to end in its smallest form. No figure is judged here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="processor time and memory are read from /proc"
)


def measured(tmp_path: Path, *options: str) -> tuple[dict[str, Any], str]:
    out = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "benchmarks", "--quick", *options, "--json", str(out)],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(out.read_text()), done.stdout


@pytest.mark.slow
def test_the_quick_form_measures_the_yardstick_and_ringback(tmp_path: Path) -> None:
    figures, printed = measured(tmp_path)
    assert list(figures["rates"]) == ["mitmdump, a constant", "ringback"]
    for row in figures["rates"].values():
        for shape in ("one", "two", "fresh"):
            assert row[shape]["median"] > 0
        assert row["idle"]["median"] > 0
    assert figures["start"]["ringback run -- true, in all"]["ready cpu"]["median"] > 0
    assert figures["clients"]["ringback"]["p50"]["median"] > 0
    assert "| ringback |" in printed
    assert "vcrpy in process" in printed
    assert printed.count("reached |") > 5


def test_recording_is_measured_beside_mitmdump_with_both_synced_to_the_disk(tmp_path: Path) -> None:
    figures, printed = measured(tmp_path, "--only", "recording")
    assert set(figures) == {"machine", "plan", "recording"}
    assert [row["rate"]["median"] > 0 for row in figures["recording"].values()] == [True] * 3
    assert "recording, answers/s to mitmdump -w, both synced" in printed


def test_the_journal_is_measured_beside_none(tmp_path: Path) -> None:
    figures, printed = measured(tmp_path, "--only", "journal")
    assert list(figures["journal"]) == ["ringback --journal 0", "ringback --journal 10000"]
    assert [row["cpu"]["median"] > 0 for row in figures["journal"].values()] == [True] * 2
    assert "with the journal to without" in printed


def test_a_tunnel_is_measured_beside_mitmdump_and_haproxy_and_no_proxy(tmp_path: Path) -> None:
    figures, printed = measured(tmp_path, "--only", "tunnel")
    installed = ["haproxy, TCP by splice"] if shutil.which("haproxy") else []
    assert list(figures["tunnel"]) == ["ringback", "mitmdump --ignore-hosts", *installed, "direct"]
    assert printed.count("reached |") == 2


def test_a_misspelt_measure_is_an_error_that_lists_them() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--only", "speed"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "'rates'" in done.stderr
