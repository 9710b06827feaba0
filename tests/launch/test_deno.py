"""Deno, and Node.js where it is not allowed everything: the preload breaks no program."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from ringback.launch.hints import seen_runtimes
from support.launching import needs
from support.product import CACHE, alone_in

if TYPE_CHECKING:
    from pathlib import Path

    from support.launching import Launcher

FETCH = """
const answer = await fetch('https://api.twilio.com/2010-04-01/Accounts/AC0/Messages.json', {
  method: 'POST', body: new URLSearchParams('To=1'), headers: { Authorization: 'Basic eDp5' } });
console.log(answer.status);
"""
# Deno answers so where it was not allowed to read the environment.
REFUSING = """
const refuse = (own, name) => { if (/proxy/i.test(name)) throw new Error('NotCapable'); return own[name]; };
process.env = new Proxy(process.env, { get: refuse });
"""


def _deno() -> str:
    """The machine's own Deno, or npm's package of it."""
    if found := shutil.which("deno"):
        return found
    with alone_in(CACHE / "deno") as place:
        if not (built := sorted(place.glob("node_modules/@deno/*/deno"))):
            command = [needs("npm"), "install", "--silent", "--prefix", str(place), "deno@2"]
            done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
            built = sorted(place.glob("node_modules/@deno/*/deno"))
            if not built:
                pytest.skip(f"npm cannot fetch deno: {done.stderr.strip()[:300]}")
        return str(built[0])


@pytest.mark.slow
@pytest.mark.parametrize("allowed", ["-A", "--allow-net"])
def test_deno_arrives_with_and_without_its_environment(
    allowed: str, launcher: Launcher, tmp_path: Path
) -> None:
    (tmp_path / "send.ts").write_text(FETCH)
    launched = launcher()
    done = launched.run([_deno(), "run", allowed, tmp_path / "send.ts"], more={"DENO_DIR": str(tmp_path)})
    assert (done.returncode, done.stdout) == (0, "201\n"), done.stderr
    assert len(launched.requests()) == 1


@pytest.mark.slow
def test_a_deno_program_that_needs_nothing_is_left_alone(launcher: Launcher, tmp_path: Path) -> None:
    (tmp_path / "hello.ts").write_text("console.log('hello');")
    done = launcher().run([_deno(), "run", tmp_path / "hello.ts"], more={"DENO_DIR": str(tmp_path)})
    assert (done.returncode, done.stdout, done.stderr) == (0, "hello\n", "")


def test_a_node_that_refuses_its_environment_runs_its_program(launcher: Launcher, tmp_path: Path) -> None:
    (tmp_path / "refusing.cjs").write_text(REFUSING)
    launched = launcher({"NODE_OPTIONS": f"--require {tmp_path / 'refusing.cjs'}"})
    done = launched.run([needs("node"), "-e", "console.log('hello')"])
    assert (done.returncode, done.stdout, done.stderr) == (0, "hello\n", "")
    assert [one.runtime for one in seen_runtimes(launched.launch.directory)] == ["node"]
