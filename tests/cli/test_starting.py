from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ringback.cli.proxy import EXIT_START, ProxyOptions
from support.mitm import loaded  # noqa: F401 - imports mitmproxy with its dependencies' warnings off

from ringback.cli.starting import CannotStartError, start  # isort: skip - after the import above

if TYPE_CHECKING:
    from pathlib import Path

    from ringback.cli.starting import Start


def begun(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    monkeypatch.setenv("RINGBACK_HOME", str(directory))
    with start(ProxyOptions(password=None)) as found:
        assert found.directory.is_dir()
    return found


def test_the_launchs_directory_is_removed_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not begun(tmp_path, monkeypatch).directory.exists()


@pytest.mark.parametrize("password, socks", [(None, True), ("open-sesame", False)])
def test_there_is_no_socks_beside_a_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, password: str | None, socks: bool
) -> None:
    monkeypatch.setenv("RINGBACK_HOME", str(tmp_path))
    with start(ProxyOptions(password=password)) as found:
        assert found.listen.socks is socks


def test_why_it_cannot_start_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RINGBACK_HOME", str(tmp_path))
    with pytest.raises(CannotStartError) as told, start(ProxyOptions(password=None)):
        (tmp_path / "nowhere" / "file").write_text("")
    told.value.show()
    assert told.value.exit_code == EXIT_START
    said = capsys.readouterr().err
    assert said == f"ringback: cannot start: {tmp_path}/nowhere/file: No such file or directory\n"
