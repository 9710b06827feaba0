from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ringback.launch import directory
from ringback.launch.directory import ancestors, descendants, users

TREE = """
import os, subprocess, sys
if len(sys.argv) > 1:
    print(os.getppid(), os.getpid(), flush=True)
    sys.stdin.read()
else:
    subprocess.run([sys.executable, "-c", os.environ["TREE"], "leaf"])
"""


@pytest.mark.parametrize("proc", ["/proc", "/not/there"])
def test_a_process_is_found_with_its_children(proc: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By /proc, and by `ps` where there is none."""
    monkeypatch.setattr(directory, "_PROC", Path(proc))
    with subprocess.Popen(
        [sys.executable, "-c", TREE],
        env=os.environ | {"TREE": TREE},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        branch, leaf = map(int, process.stdout.readline().split())
        below = {one.pid: one for one in descendants(os.getpid())}
        assert {branch, leaf} <= set(below)
        assert (below[leaf].parent, below[leaf].name[:6]) == (branch, "python")
        assert [one.pid for one in descendants(branch)] == [leaf]
        process.communicate("")
    assert "ps" not in {one.name for one in descendants(os.getpid())}
    assert process.pid not in {one.pid for one in descendants(os.getpid())}


@pytest.mark.parametrize("proc", ["/proc", "/not/there"])
def test_who_started_this_one(proc: str, tmp_path: Path) -> None:
    """By /proc, and by `ps` where there is none."""
    code = (
        "from ringback.launch import directory; from pathlib import Path;"
        f"directory._PROC = Path({proc!r}); print(list(directory.ancestors()))"
    )
    shell = tmp_path / "fish"
    shell.symlink_to("/bin/sh")
    script = tmp_path / "script"
    script.write_text(f"#!{shell}\n{sys.executable} {tmp_path / 'code.py'}\ntrue\n")
    (tmp_path / "code.py").write_text(code)
    done = subprocess.run([shell, script], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("['fish', ")


def test_a_login_shells_name_is_its_programs() -> None:
    assert directory._plain("-fish\n") == directory._plain("/usr/bin/fish") == "fish"


def test_without_ps_there_is_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "_PROC", Path("/not/there"))
    monkeypatch.setenv("PATH", "/not/there")
    assert list(ancestors()) == []
    assert users(Path("/tmp")) is None
    assert descendants(os.getpid()) == []
