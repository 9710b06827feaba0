from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ringback import system
from ringback.launch.environment import (
    NoProxyError,
    ReadyFile,
    default_ready_file,
    read_ready_file,
    remove_ready_file,
    write_ready_file,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as found:
        yield found


@pytest.fixture
def state(listener: socket.socket, tmp_path: Path) -> ReadyFile:
    port = listener.getsockname()[1]
    (tmp_path / "bundle.pem").write_text("")
    proxy = f"http://127.0.0.1:{port}"
    return ReadyFile(
        os.getpid(), port, proxy, "/ca.pem", str(tmp_path / "bundle.pem"), "offline", "1.0", None
    )


def test_what_is_written_is_found(state: ReadyFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RINGBACK_HOME", str(tmp_path / "home"))
    assert write_ready_file(state) == default_ready_file() == tmp_path / "home" / "serve.json"
    assert read_ready_file() == state
    assert stat.S_IMODE((tmp_path / "home").stat().st_mode) == 0o700
    remove_ready_file()
    assert not default_ready_file().exists()
    remove_ready_file()


def test_another_users_file_is_used_where_it_is_named_alone(
    state: ReadyFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names a proxy and a CA: where others can write, one could wait for whoever runs `ringback env`."""
    monkeypatch.setenv("RINGBACK_HOME", str(tmp_path / "home"))
    path = write_ready_file(state)
    monkeypatch.setattr(system, "is_trusted", lambda _status: False)
    with pytest.raises(NoProxyError, match="is another user's"):
        read_ready_file()
    assert read_ready_file(path) == state


def test_a_ready_file_of_a_newer_version_is_read(state: ReadyFile, tmp_path: Path) -> None:
    (tmp_path / "ready").write_text(json.dumps(asdict(state) | {"new": 1}))
    assert read_ready_file(tmp_path / "ready") == state


def test_another_proxys_file_is_left_alone(state: ReadyFile, tmp_path: Path) -> None:
    write_ready_file(replace(state, pid=os.getppid()), tmp_path / "state")
    remove_ready_file(tmp_path / "state")
    assert (tmp_path / "state").exists()


def test_where_it_is_without_ringback_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RINGBACK_HOME", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert default_ready_file() == tmp_path / "ringback" / "serve.json"
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "not there"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert default_ready_file() == tmp_path / f"ringback-{os.geteuid()}" / "serve.json"


def test_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(NoProxyError, match=r"no proxy is running .*ringback serve"):
        read_ready_file(tmp_path / "none")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"pid": 1', '"text"'])
def test_a_damaged_file(content: str, tmp_path: Path) -> None:
    (tmp_path / "state").write_text(content)
    with pytest.raises(NoProxyError, match="is not what `ringback serve` writes"):
        read_ready_file(tmp_path / "state")


def test_a_proxy_that_has_ended(state: ReadyFile, tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    write_ready_file(replace(state, pid=ended.pid), tmp_path / "state")
    with pytest.raises(NoProxyError, match=f"process {ended.pid}, has ended"):
        read_ready_file(tmp_path / "state")


def test_a_port_that_nobody_listens_on(state: ReadyFile, listener: socket.socket, tmp_path: Path) -> None:
    write_ready_file(state, tmp_path / "state")
    listener.close()
    with pytest.raises(NoProxyError, match="accepts no connections on 127"):
        read_ready_file(tmp_path / "state")


def test_a_directory_that_was_removed(state: ReadyFile, tmp_path: Path) -> None:
    write_ready_file(state, tmp_path / "state")
    Path(state.bundle).unlink()
    with pytest.raises(NoProxyError, match=r"bundle\.pem is gone"):
        read_ready_file(tmp_path / "state")
