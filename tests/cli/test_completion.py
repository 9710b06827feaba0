from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


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


@pytest.mark.parametrize(
    "words, offered",
    [
        ("ringback cassettes show ch", ["checkout"]),
        ("ringback cassettes show --cassettes other x", ["x-two"]),
        ("ringback cassettes redact l", ["login"]),
        ("ringback run --cassette ch", ["checkout"]),
        ("ringback run --mode o", ["offline", "online"]),
        ("ringback contract explain POST C", ["Calls"]),
        ("ringback drift --only Messages.to.bl", ["Messages.to.blocked"]),
        ("ringback requests --rule Messages.to.bl", ["Messages.to.blocked"]),
        ("ringback wait --resource C", ["Calls"]),
        ("ringback requests --session l", ["login"]),
    ],
)
def test_names_of_cassettes_resources_and_rules_are_completed(
    words: str, offered: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for file in ("tapes/checkout.yaml", "tapes/login.yaml", "other/x-two.yaml"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    (tmp_path / "ringback.toml").write_text('cassettes = "tapes"')
    given = words.split()
    found = ringback(_RINGBACK_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(len(given) - 1))
    assert [line.partition(",")[2] for line in found.split()] == offered
