"""The benchmark's command, end to end in its smallest form. No figure is judged here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="processor time and memory are read from /proc"
)
def test_the_quick_form_measures_the_yardstick_and_ringback(tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "benchmarks", "--quick", "--json", str(out)],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(out.read_text())
    assert list(figures["rates"])[:3] == ["mitmdump, a constant", "ringback", "ringback run -- true, in all"]
    for row in list(figures["rates"].values())[:2]:
        assert row["kept"]["median"] > 0
        assert row["fresh"]["median"] > 0
        assert row["idle"]["median"] > 0
    assert figures["rates"]["ringback run -- true, in all"]["ready"]["median"] > 0
    assert figures["clients"]["ringback"]["p50"]["median"] > 0
    assert "| ringback |" in done.stdout
    assert "vcrpy in process" in done.stdout
    assert done.stdout.count("reached |") > 5
