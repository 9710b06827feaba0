"""The command line as a whole."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner

from ringback import __version__
from ringback.__main__ import EXIT_OUTPUT
from ringback.cli import COMMANDS, LazyGroup, ringback
from ringback.cli.output import print_message
from support.proxying import ringback as run_ringback

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_version_and_help_wait_for_no_command() -> None:
    program = """
import sys
from click.testing import CliRunner
from ringback.cli import ringback
for arguments in (["--version"], ["--help"], ["-h"]):
    assert CliRunner().invoke(ringback, arguments).exit_code == 0
loaded = {name.partition(".")[0] for name in sys.modules}
print(*sorted(loaded & {"mitmproxy", "vcr", "rich", "phonenumbers"}))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize("command", [[sys.executable, "-m", "ringback"]])
def test_as_a_module(command: list[str]) -> None:
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"ringback {__version__}\n"


def test_help_lists_every_command_with_its_line() -> None:
    told = CliRunner().invoke(ringback, ["--help"]).output
    for name, (_, text) in COMMANDS.items():
        assert f"  {name} " in told
        assert text.split(",")[0] in " ".join(told.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    got = CliRunner().invoke(ringback, [name, "--help"])
    assert got.exit_code == 0
    assert got.output.startswith("Usage: ")


@pytest.mark.parametrize("arguments", [["nonsense"], ["--nonsense"], ["run", "--nonsense", "--", "true"]])
def test_mistakes_are_usage_errors(arguments: list[str]) -> None:
    got = CliRunner().invoke(ringback, arguments)
    assert got.exit_code == 2
    assert "nonsense" in got.output
    assert "Traceback" not in got.output


def test_the_command_alone_says_what_to_type_next() -> None:
    got = CliRunner().invoke(ringback, [])
    assert (got.exit_code, got.stderr) == (0, "")
    assert "ringback run -- pytest" in got.output
    assert len(got.output.splitlines()) < 10


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["conract"], "Did you mean `ringback contract`?"),
        (["Serve"], "Did you mean `ringback serve`?"),
        (["true", "--x"], "To run a program: `ringback run -- true --x`."),
        (["xyzzy"], "`ringback --help` lists the commands."),
    ],
)
def test_a_mistyped_command_is_reported_what_was_meant(arguments: list[str], said: str) -> None:
    got = CliRunner().invoke(ringback, arguments)
    assert got.exit_code == 2
    assert f"Error: No such command {arguments[0]!r}. {said}\n" in got.stderr


@pytest.mark.parametrize("value, coloured", [("1", False), ("", True)])
def test_no_color_turns_colours_off(monkeypatch: pytest.MonkeyPatch, value: str, coloured: bool) -> None:
    @click.command()
    def loud() -> None:
        print_message("look", colour="red")

    monkeypatch.setenv("NO_COLOR", value)
    group = LazyGroup("x", commands={"loud": loud})
    monkeypatch.setitem(COMMANDS, "loud", ("loud", ""))
    monkeypatch.setattr(group, "get_command", lambda *_: loud)
    got = CliRunner().invoke(group, ["loud"], color=True)
    assert (got.stderr == "\x1b[31mringback: look\x1b[0m\n") is coloured
    assert "ringback: look" in got.stderr


def pages() -> Iterator[tuple[str, ...]]:
    """Every command and subcommand."""
    yield ()
    for name in COMMANDS:
        yield (name,)
        command = ringback.get_command(click.Context(ringback), name)
        if isinstance(command, click.Group):
            yield from ((name, inner) for inner in command.commands)
    yield from (("drift", name) for name in ("accept", "schema"))


@pytest.mark.parametrize("words", list(pages()), ids=" ".join)
def test_help_fits_a_terminal_and_says_all_of_it(words: tuple[str, ...]) -> None:
    done = CliRunner().invoke(ringback, [*words, "--help"])
    assert done.exit_code == 0
    assert [line for line in done.stdout.splitlines() if len(line) > 80] == []
    assert [line for line in done.stdout.splitlines() if re.match(r"  .*\w\.\.\.$", line)] == []


@pytest.mark.parametrize("module", ["click", "mitmproxy", "pyparsing", "h11"])
def test_what_the_program_imports_is_not_what_ringback_imports(
    module: str, home: Path, tmp_path: Path
) -> None:
    (tmp_path / f"{module}.py").write_text("raise SystemExit('the program has another version')")
    reading = [sys.executable, "-c", "import os; print(os.environ['PYTHONPATH'])"]
    done = run_ringback(home, "run", "--allow-none", "--", *reading, more={"PYTHONPATH": str(tmp_path)})
    assert (done.returncode, done.stdout.strip().endswith(f":{tmp_path}")) == (0, True), done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["--version"],
        ["--help"],
        ["contract"],
        ["contract", "explain", "GET", "Recordings"],
        ["cassettes", "list", "--cassettes", str(Path(__file__).parents[2] / "cassettes")],
        ["drift", "schema"],
        ["completion", "bash"],
    ],
    ids=lambda words: " ".join(words[:2]),
)
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_what_cannot_be_printed_is_one_line(words: list[str], tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "ringback", *words],
            stdout=full,
            stderr=subprocess.PIPE,
            cwd=tmp_path,
            text=True,
            check=False,
        )
    assert done.stderr == "ringback: the output cannot be written: No space left on device\n"
    assert done.returncode == EXIT_OUTPUT


def test_where_nobody_reads_the_rest_goes_on() -> None:
    command = f"{shlex.quote(sys.executable)} -m ringback contract"
    closed = subprocess.run(["sh", "-c", f"{command} >&-"], capture_output=True, text=True, check=False)
    assert (closed.returncode, closed.stderr) == (0, "")
    gone = subprocess.run(["sh", "-c", f"{command} | true"], capture_output=True, text=True, check=False)
    assert gone.stderr == ""
