"""The time from nothing to the first answered request: from a clone, and from a wheel by pipx.

Each way is gone twice with a home directory of its own: pip fetches every package first, then it has them in
its cache. How fast they come is the network's doing, so both figures are told.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Final

from benchmarks.measures import put
from benchmarks.subjects import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from benchmarks.measures import Table
    from benchmarks.subjects import Workplace

CLONED: Final = "`git clone`, then `python3 scripts/try.py`"
BY_PIPX: Final = "`pipx install` of the wheel, then `ringback run`"
ANSWERED: Final = "201 CREATED"  # what examples/first_requests.py prints of its first answer
_OWN: Final = ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "PIP_CACHE_DIR", "XDG_CACHE_HOME")


def installs(place: Workplace, print_message: Callable[[str], None]) -> Table:
    """Seconds from the first command to the first answer, for each way: packages fetched, and in pip's cache.

    Args:
        place: Where the clones and the home directories are made.
        print_message: Reports the progress.

    Raises:
        RuntimeError: This is no checkout of git's, or a command failed.
    """
    python = getattr(sys, "_base_executable", sys.executable)
    table: Table = {}
    for name, way in ((CLONED, _from_a_clone), (BY_PIPX, _by_pipx)):
        home = place.directory / ("home-" + way.__name__)
        home.mkdir()
        ready = way(place.directory, home, python, print_message)
        for turn in ("fetched", "cached"):
            print_message(f"{name}: {turn}")
            put(table, name, {turn: ready(turn)})
    return table


def installs_table(table: Table) -> list[str]:
    """Both ways with their seconds."""
    lines = [
        "| from nothing to the first answer | seconds, pip fetches all | seconds, pip has a cache |",
        "|---|---|---|",
    ]
    for name, row in table.items():
        lines.append(f"| {name} | {row['fetched'].median:.1f} | {row['cached'].median:.1f} |")
    return lines


def _from_a_clone(
    directory: Path, home: Path, python: str, print_message: Callable[[str], None]
) -> Callable[[str], float]:
    print_message("cloning")
    variables = _variables(home)

    def go(turn: str) -> float:
        checkout = directory / f"clone-{turn}"
        began = time.perf_counter()
        _run(["git", "clone", "--quiet", str(ROOT), str(checkout)], variables)
        return _until_answered([python, "scripts/try.py"], variables, checkout) - began

    return go


def _by_pipx(
    directory: Path, home: Path, python: str, print_message: Callable[[str], None]
) -> Callable[[str], float]:
    print_message("building the wheel, installing pipx")
    wheels, tools = directory / "wheels", directory / "tools"
    _run([python, "-m", "venv", str(tools)], os.environ)
    pip = [str(tools / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check"]
    _run([*pip, "install", "pipx"], os.environ)
    _run([*pip, "wheel", "--no-deps", "--wheel-dir", str(wheels), str(ROOT)], os.environ)
    (wheel,) = wheels.glob("ringback-*.whl")
    variables = _variables(home)

    def go(turn: str) -> float:
        own = {"PIPX_HOME": str(home / turn), "PIPX_BIN_DIR": str(home / turn / "bin")}
        program = str(home / turn / "bin" / "ringback")
        example = [python, str(ROOT / "examples" / "first_requests.py")]
        began = time.perf_counter()
        _run([str(tools / "bin" / "pipx"), "install", "--quiet", str(wheel)], {**variables, **own})
        return _until_answered([program, "run", "--", *example], variables, home) - began

    return go


def _variables(home: Path) -> dict[str, str]:
    """This process's variables with a home directory of their own, pip's cache included."""
    kept = {name: value for name, value in os.environ.items() if name not in _OWN}
    return {**kept, "HOME": str(home), "RINGBACK_HOME": str(home / "ringback")}


def _run(command: list[str], variables: Mapping[str, str]) -> None:
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stderr.strip()[-500:]}")


def _until_answered(command: list[str], variables: Mapping[str, str], cwd: Path) -> float:
    """Run a command and return the time at which it printed its first answer."""
    with subprocess.Popen(
        command,
        env={**variables, "PYTHONUNBUFFERED": "1"},
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        answered = 0.0
        for line in process.stdout:
            if not answered and ANSWERED in line:
                answered = time.perf_counter()
    if process.returncode or not answered:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode} and no answer")
    return answered
