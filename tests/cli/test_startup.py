from __future__ import annotations

import tempfile
from types import SimpleNamespace
from typing import TYPE_CHECKING

import certifi
import click
import pytest
from click.testing import CliRunner

from ringback.cli.options import settings_options
from ringback.cli.summary import EXIT_START
from ringback.launch.directory import keep
from ringback.settings import Settings
from support.mitm import loaded  # noqa: F401 - imports mitmproxy with its dependencies' warnings off

from ringback.server.run import StartError  # isort: skip - as below
from ringback.cli.startup import CannotStartError, start  # isort: skip - after the import above

if TYPE_CHECKING:
    from pathlib import Path

    from ringback.cli.startup import Start


def begun(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    monkeypatch.setenv("RINGBACK_HOME", str(directory))
    with start(Settings(password=None)) as found:
        assert found.directory.is_dir()
    return found


def test_the_launchs_directory_is_removed_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not begun(tmp_path, monkeypatch).directory.exists()


@pytest.mark.parametrize("password, socks", [(None, True), ("open-sesame", False)])
def test_there_is_no_socks_beside_a_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, password: str | None, socks: bool
) -> None:
    monkeypatch.setenv("RINGBACK_HOME", str(tmp_path))
    with start(Settings(password=password)) as found:
        assert found.config.socks is socks


def test_a_variable_that_nothing_reads_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RINGBACK_STRCIT", "1")
    begun(tmp_path, monkeypatch)
    said = capsys.readouterr().err
    assert said == "ringback: RINGBACK_STRCIT is set, but nothing reads it: did you mean RINGBACK_STRICT?\n"


def test_why_it_cannot_start_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RINGBACK_HOME", str(tmp_path))
    with pytest.raises(CannotStartError) as told, start(Settings(password=None)):
        (tmp_path / "nowhere" / "file").write_text("")
    told.value.show()
    assert told.value.exit_code == EXIT_START
    said = capsys.readouterr().err
    assert said == f"ringback: cannot start: {tmp_path}/nowhere/file: No such file or directory\n"


def started(monkeypatch: pytest.MonkeyPatch, home: Path, *arguments: str, **more: str) -> tuple[int, str]:
    """Exit code and stderr of a command that the addon's options are refused to, if `--timeout` is 0."""
    monkeypatch.setenv("RINGBACK_HOME", str(home))

    @click.command()
    @settings_options("run")
    def command(options: Settings) -> None:
        with start(options) as begun:
            if options.contract:
                raise StartError("contract: own.yaml:2: no such resource")
            nowhere = dict.fromkeys(("socks_port", "reverse_port", "transparent_port"))
            begun.ready(SimpleNamespace(host="::1", port=1, **nowhere))  # type: ignore[arg-type] # what it reads of it

    done = CliRunner().invoke(command, list(arguments), env=more)
    return done.exit_code, done.stderr


def test_a_refused_value_is_a_usage_error_about_the_option_that_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, said = started(monkeypatch, tmp_path, "--timeout", "0")
    assert code == 2
    assert said.endswith("Error: Invalid value for '--timeout': '0' is not a number of seconds above 0\n")
    code, said = started(monkeypatch, tmp_path, RINGBACK_TIMEOUT="0")
    assert code == 2
    assert "Invalid value for 'RINGBACK_TIMEOUT': '0' is not" in said


def test_a_mistake_in_a_file_is_none_of_usage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = "ringback: cannot start: own.yaml:2: no such resource\n"
    assert started(monkeypatch, tmp_path, "--contract", "own.yaml") == (EXIT_START, said)


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--max-live", "3"], "--max-live"),
        (["--upstream", "https://h", "--redact", "To"], "--redact, --upstream"),
        (
            ["--upstream-ca", certifi.where(), "--connect-timeout", "1", "--timeout", "9"],
            "--upstream-ca, --connect-timeout, --timeout",
        ),
    ],
)
def test_options_without_effect_are_reported_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    told = f"ringback: {said}: without effect offline: nothing is forwarded or recorded, see --mode\n"
    assert started(monkeypatch, tmp_path, *arguments) == (0, told)
    assert started(monkeypatch, tmp_path, "--mode", "auto", *arguments) == (0, "")


def test_what_is_reported_is_what_this_run_was_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert started(monkeypatch, tmp_path) == (0, "")
    assert started(monkeypatch, tmp_path, "--egress-proxy", "http://h", "--seed", "1") == (0, "")
    assert started(monkeypatch, tmp_path, RINGBACK_MAX_LIVE="3") == (0, "")


def test_shells_that_took_its_variables_are_reported_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RINGBACK_HOME", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with start(Settings(password=None)) as found:
        keep(found.directory)
    assert "ringback env --unset" in capsys.readouterr().err
    assert found.directory.exists()
