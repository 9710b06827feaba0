"""The environment of the checks: made once, and never from under who runs in it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from support.scripts import script

if TYPE_CHECKING:
    import pytest

bootstrap = script("bootstrap")


def test_an_environments_own_python_does_not_make_it_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[str, ...]] = []

    def run(*command: str) -> None:
        made.append(command)
        inside = tmp_path / ".venv" / f"run-{sys.version_info[0]}.{sys.version_info[1]}" / "bin" / "python"
        if not inside.exists():
            inside.parent.mkdir(parents=True)
            inside.symlink_to(Path(sys.executable).resolve())

    for name in ("pyproject.toml", "check.lock"):
        (tmp_path / name).write_text("")
    monkeypatch.setattr(bootstrap, "ROOT", tmp_path)
    monkeypatch.setattr(bootstrap, "LOCK", tmp_path / "check.lock")
    monkeypatch.setattr(bootstrap, "_run", run)
    first = bootstrap.environment()
    assert made
    made.clear()
    assert bootstrap.environment() == bootstrap.environment("", str(first)) == first
    assert made == []
    (tmp_path / "pyproject.toml").write_text("changed")
    bootstrap.environment("", str(first))
    assert made[0][0] == str(Path(sys.executable).resolve())
