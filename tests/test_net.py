"""Loopback and atomic writing, by tables of the inputs on which earlier copies disagreed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ringback.net import is_loopback, write_atomically

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "host, loopback",
    [
        ("localhost", True),
        ("LOCALHOST", True),
        ("localhost.", True),
        ("api.localhost", True),
        ("notlocalhost", False),
        ("localhost.example", False),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("[::1]", True),
        ("::1%lo", True),
        ("127.0.0.1%lo", False),
        ("127.0.0.1%evil.example", False),
        ("::ffff:127.0.0.1", True),
        ("::ffff:10.0.0.1", False),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("127.0.0.1.example", False),
        ("", False),
    ],
)
def test_is_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_a_file_is_replaced_with_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("old")
    write_atomically(path, b"new", mode=0o600, durable=True)
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["x"]


def test_a_failure_keeps_the_old_file_and_leaves_no_draft(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.mkdir()
    (path / "inside").touch()
    with pytest.raises(OSError, match="x"):
        write_atomically(path, b"new")
    assert [one.name for one in tmp_path.iterdir()] == ["x"]
