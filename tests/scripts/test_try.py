"""The README's first command, in a fresh clone with nothing installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    target = tmp_path / "a clone"  # a path with a space, as people have them
    cloned = subprocess.run(
        ["git", "clone", "--quiet", str(ROOT), str(target)], capture_output=True, text=True, check=False
    )
    if cloned.returncode:
        pytest.skip(f"not in a git checkout that can be cloned: {cloned.stderr.strip()}")
    return target


@pytest.mark.slow
def test_sets_itself_up_and_shows_the_documented_answers(clone: Path) -> None:
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("RINGBACK", "PYTHON", "VIRTUAL"))
    }
    outside = Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
    done = subprocess.run(
        [str(outside), "scripts/try.py"], cwd=clone, env=clean, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    passed = "201 CREATED   contract; rule=Messages.from.valid; basis=documented; page="
    assert f"{passed}test-sms-messages-parameters-From" in done.stdout
    assert "message: To number: +15005550009, is not a mobile number" in done.stdout
    assert "403 FORBIDDEN" in done.stdout
    assert "3 Twilio requests answered, offline" in done.stderr
