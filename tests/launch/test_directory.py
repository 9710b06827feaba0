from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING

import pytest

from ringback.launch import directory as directories
from ringback.launch.directory import (
    KEPT,
    OUTLIVED,
    OWNER,
    answered_in_inner_launches,
    keep,
    launch_directory,
    report_to_outer_launch,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def sweep() -> None:
    with launch_directory():
        pass


def grow_old(*files: Path) -> None:
    week_ago = time.time() - 8 * 24 * 3600
    for file in files:
        os.utime(file, (week_ago, week_ago))


def test_it_is_removed_at_the_end() -> None:
    with launch_directory() as directory:
        assert directory.is_dir()
    assert not directory.exists()


def test_what_a_shell_was_reported_of_outlives_the_proxy_for_a_week() -> None:
    with launch_directory() as kept:
        keep(kept)
    sweep()
    assert kept.exists()
    grow_old(kept / KEPT)
    sweep()
    assert not kept.exists()


def test_while_its_proxy_runs_it_stays_however_old_it_is() -> None:
    with launch_directory() as kept:
        keep(kept)
        grow_old(kept / KEPT, kept / OWNER)
        sweep()
        assert kept.exists()


@pytest.mark.parametrize("mark", [KEPT, OUTLIVED])
def test_it_stays_while_a_process_has_it_in_its_environment(mark: str) -> None:
    if directories.users(directories.Path("/")) is None:
        pytest.skip("this system does not tell what a process has in its environment")
    with launch_directory() as kept:
        keep(kept, mark)
        grow_old(kept / mark)
    waits = [sys.executable, "-c", "print(flush=True); input()"]
    environment = os.environ | {"SOME_FILE": f"{kept}/file"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(waits, env=environment, **pipes) as process:  # type: ignore[call-overload] # handed on
        process.stdout.readline()
        sweep()
        assert kept.exists()
        process.communicate(b"\n")
    sweep()
    assert not kept.exists()


def test_where_nobody_reports_who_uses_it_it_stays_for_a_week(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directories, "users", lambda _: None)
    with launch_directory() as kept:
        keep(kept, OUTLIVED)
    sweep()
    assert kept.exists()
    grow_old(kept / OWNER)
    sweep()
    assert not kept.exists()


def test_what_a_killed_proxy_left_is_removed() -> None:
    code = (
        "import os, tempfile; from ringback.launch.directory import launch_directory\n"
        f"tempfile.tempdir = {tempfile.tempdir!r}\n"
        "with launch_directory() as directory: print(directory, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    left = directories.Path(done.stdout.strip())
    assert left.is_dir()
    sweep()
    assert not left.exists()


def test_nothing_else_is_touched(temporary: Path) -> None:
    (temporary / "ringback-mine").mkdir()
    (temporary / "ringback-file").touch()
    (temporary / "elsewhere").mkdir()
    (temporary / "elsewhere" / OWNER).touch()
    (temporary / "ringback-link").symlink_to(temporary / "elsewhere")
    before = sorted(temporary.rglob("*"))
    sweep()
    assert sorted(temporary.rglob("*")) == before


def test_an_inner_launch_reports_the_outer_one_what_it_answered() -> None:
    with launch_directory() as outer:
        assert answered_in_inner_launches(outer) == 0
        environment = {"PYTHONPATH": f"/mine:{outer}/python:"}
        report_to_outer_launch(environment, 0)
        assert answered_in_inner_launches(outer) == 0
        report_to_outer_launch(environment, 3)
        assert answered_in_inner_launches(outer) == 3
    report_to_outer_launch(environment, 3)
    report_to_outer_launch({}, 3)
    assert not outer.exists()
