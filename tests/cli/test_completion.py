from __future__ import annotations

import subprocess
import sys

import pytest


def ringback(*arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "ringback", *arguments],
        capture_output=True,
        text=True,
        check=True,
        env=environment or None,
    )
    return done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_prints_a_script_for_the_ringback_command(shell: str) -> None:
    script = ringback("completion", shell)
    assert "_RINGBACK_COMPLETE" in script
    assert "ringback" in script


def test_the_script_asks_ringback_and_gets_its_commands() -> None:
    offered = ringback(_RINGBACK_COMPLETE="bash_complete", COMP_WORDS="ringback con", COMP_CWORD="1")
    assert offered.split() == ["plain,contract"]
