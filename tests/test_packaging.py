"""The action's and the container's own steps, run as they stand in their files; no engine is needed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from support.proxying import environment, serve

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Path]:
    """A runner's directory in which Ringback is installed; what was started there ends with the test."""
    program = tmp_path / "ringback" / "bin" / "ringback"
    program.parent.mkdir(parents=True)
    program.write_text(
        f'#!/bin/sh\n[ "$1" != serve ] || echo $$ >"{tmp_path}/pid"\n'
        f'exec "{sys.executable}" -W ignore -m ringback "$@"\n'
    )
    program.chmod(0o755)
    yield tmp_path
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGTERM)


def test_the_action_starts_a_proxy_for_later_steps(runner: Path, tmp_path: Path) -> None:
    step = _step("Start")
    outputs = {"GITHUB_ENV": str(tmp_path / "env"), "GITHUB_OUTPUT": str(tmp_path / "output")}
    variables = environment(
        tmp_path / "home",
        {**outputs, "RUNNER_TEMP": str(runner), "ARGUMENTS": "--seed 7", "HOME": str(tmp_path)},
    )
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", step["run"]],
        env=variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    exported = dict(re.findall(r"^([A-Za-z_]+)=(.*)$", (tmp_path / "env").read_text(), re.MULTILINE))
    later = subprocess.run(
        [sys.executable, ROOT / "examples" / "first_requests.py"],
        env={**variables, **exported},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert later.returncode == 0, later.stderr
    assert "201 CREATED   contract" in later.stdout
    assert (tmp_path / "output").read_text() == f"log={runner}/ringback.log\n"


@pytest.mark.parametrize("password", [None, "of-this-test-alone"])
def test_the_containers_health_check_asks_the_proxy(tmp_path: Path, password: str | None) -> None:
    check = [sys.executable, ROOT / "scripts" / "container" / "health.py"]
    more = {"RINGBACK_PROXY_PASSWORD": password} if password else {}
    home = tmp_path / "home"
    variables = environment(home, more)
    with serve(home, tmp_path, more=more) as running:
        assert subprocess.run([*check, str(running.port)], env=variables, check=False).returncode == 0
    ended = subprocess.run([*check, str(running.port)], env=variables, capture_output=True, check=False)
    assert ended.returncode != 0


def _step(name: str) -> dict[str, Any]:
    action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    return next(step for step in action["runs"]["steps"] if step["name"] == name)
