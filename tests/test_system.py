"""Ringback without what only Linux has, and the fallbacks of `system.py`. CI's workflow has real systems."""

from __future__ import annotations

import ast
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ringback import system
from support.product import SID
from support.proxying import environment, requesting, wait_ready

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "proxy" / "ringback"
WITHOUT = str(Path(__file__).parent / "support" / "without.py")
GOOD = [("From", "+15005550006"), ("To", "+14105550100"), ("Body", "hi")]
SYSTEMS = ("macos", "windows")


def variables_of(home: Path) -> dict[str, str]:
    """Variables with a temporary directory of the test's own.

    A proxy without locks has none on its launch's directory, so another proxy that starts removes it.
    """
    temporary = home / "temporary"
    temporary.mkdir(exist_ok=True)
    return environment(home, {"TMPDIR": str(temporary)})


def run(
    on: str, home: Path, arguments: Sequence[str], cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, WITHOUT, on, *arguments],
        env=variables_of(home),
        cwd=cwd or home,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.parametrize("on", SYSTEMS)
@pytest.mark.parametrize(
    "arguments, words",
    [
        (["contract"], "+15005550006"),
        (["contract", "explain", "POST", "Messages", "To=+15005550009"], "21603"),
        (["cassettes", "list", "--cassettes", str(ROOT / "cassettes")], "documentation"),
        (["cassettes", "verify", str(ROOT / "cassettes")], ""),
        (["drift", str(ROOT / "cassettes")], "compared"),
        (["ca", "--path"], "mitmproxy-ca-cert.pem"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else "",
)
def test_a_command(on: str, arguments: list[str], words: str, tmp_path: Path) -> None:
    done = run(on, tmp_path, arguments)
    assert "Traceback" not in done.stderr
    assert done.returncode in {0, 2}, done.stderr
    assert words in done.stdout + done.stderr


@pytest.mark.parametrize("on", SYSTEMS)
def test_a_proxy_answers_lists_records_and_stops(on: str, tmp_path: Path) -> None:
    shelf = tmp_path / "cassettes"
    ready = tmp_path / "ready.json"
    variables = variables_of(tmp_path)
    start = [sys.executable, WITHOUT, on]
    upstream = subprocess.Popen(
        [*start, "mock-upstream", "--port", "0", "--quiet"],
        env=variables,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
    )
    try:
        assert upstream.stderr is not None
        announced = upstream.stderr.readline().decode()
        found = re.search(r"http://127\.0\.0\.1:\d+", announced)
        assert found, announced
        url = found[0]
        command = [*start, "serve", "--mode", "auto", "--upstream", url, "--cassettes", str(shelf)]
        proxy = subprocess.Popen(
            [*command, "--ready-file", str(ready)], env=variables, cwd=tmp_path, stderr=subprocess.PIPE
        )
        try:
            state = wait_ready(proxy, ready)
            more = {"HTTPS_PROXY": state["proxy"], "SSL_CERT_FILE": state["bundle"]}
            sending = [sys.executable, "-c", requesting(GOOD)]
            for _ in range(2):
                sent = subprocess.run(
                    sending, env=variables | more, capture_output=True, text=True, check=False, timeout=60
                )
                assert sent.stdout == "201\n", sent.stderr
            listed = run(on, tmp_path, ["requests", "--url", state["proxy"], "--json"])
            sources = [json.loads(line)["source"] for line in listed.stdout.splitlines()]
            assert sources == ["live", "cassette"], listed.stderr
            exported = run(on, tmp_path, ["env", "--ready-file", str(ready), "--shell", "json"])
            assert exported.returncode == 0, exported.stderr
            assert json.loads(exported.stdout)["variables"]["HTTPS_PROXY"] == state["proxy"]
        finally:
            proxy.send_signal(signal.SIGTERM)
            told = proxy.communicate(timeout=60)[1].decode()
        assert proxy.returncode == 0, told
        assert "Traceback" not in told
        assert [file.name for file in shelf.glob("*.yaml")] == ["default.yaml"]
    finally:
        upstream.send_signal(signal.SIGTERM)
        upstream.communicate(timeout=60)


def test_run_on_macos(tmp_path: Path) -> None:
    done = run("macos", tmp_path, ["run", "--", sys.executable, "-c", requesting(GOOD)])
    assert done.stdout == "201\n", done.stderr
    assert "1 Twilio request answered" in done.stderr
    assert done.returncode == 0


def test_run_on_windows_is_one_sentence_that_names_wsl(tmp_path: Path) -> None:
    done = run("windows", tmp_path, ["run", "--", "true"])
    assert done.returncode == 5
    assert done.stderr.splitlines() == [f"ringback: {system.RUN_NEEDS}"]
    assert "WSL 2" in done.stderr


def test_only_one_module_imports_fcntl_without_asking() -> None:
    """Others import it where they have asked for Linux, as the tunnel does.

    Shims are programs of their own, which are started on the system that they are for.
    """
    found = []
    for file in PACKAGE.rglob("*.py"):
        if file.parent.name == "shims":
            continue
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            found += [file.name for name in names if name in {"fcntl", "termios", "pwd", "grp", "resource"}]
    assert found == []


class Msvcrt:
    """Stands for Windows's module: one lock for a file, whoever asks."""

    LK_NBLCK, LK_UNLCK = 2, 0

    def __init__(self) -> None:
        self.held: dict[tuple[int, int], int] = {}

    def locking(self, handle: int, mode: int, size: int) -> None:
        status = os.fstat(handle)
        key = (status.st_dev, status.st_ino)
        assert size == 1
        assert os.lseek(handle, 0, os.SEEK_CUR) > 2**30
        if mode == self.LK_UNLCK:
            self.held.pop(key, None)
        elif self.held.setdefault(key, handle) != handle:
            raise OSError(13, "Permission denied")


def test_windows_locks_a_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "fcntl", None)
    monkeypatch.setattr(system, "msvcrt", Msvcrt())
    file = tmp_path / "file"
    file.write_bytes(b"content")
    one, other = os.open(file, os.O_RDWR), os.open(file, os.O_RDWR)
    try:
        system.lock(one)
        with pytest.raises(BlockingIOError):
            system.lock(other, wait=False)
        system.unlock(one)
        system.lock(other, wait=False)
        assert os.read(one, 3) == b"con"  # the place is where it was
        assert file.stat().st_size == 7
    finally:
        os.close(one)
        os.close(other)


@pytest.mark.parametrize("links", [True, False])
def test_a_link_or_a_copy_leads_to_the_newest(
    links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not links:
        monkeypatch.setattr(Path, "symlink_to", _refused)
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
        system.point(tmp_path / "current", name)
        assert (tmp_path / "current" / "file").read_text() == name


def _refused(*_: Any, **__: Any) -> None:
    raise OSError(1314, "A required privilege is not held by the client")


def test_reading_at_a_place_without_pread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    handle = os.open(tmp_path / "file", os.O_RDONLY)
    try:
        monkeypatch.delattr(os, "pread")
        assert system.pread(handle, 3, 4) == b"456"
    finally:
        os.close(handle)


def test_a_process_that_has_ended_does_not_run() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert system.is_running(child.pid)
    child.communicate(b"\n", timeout=60)
    assert not system.is_running(child.pid)
    assert SID.startswith("AC")
