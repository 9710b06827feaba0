"""The options that a command was given: on its line, and by the environment."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from ringback.cli.options import argued, as_words

NAMES = ("size", "loud", "word")


@click.command()
@click.option("--size", type=int, default=3, envvar="SIZE")
@click.option("--loud", is_flag=True, envvar="LOUD")
@click.option("--word", "-w", multiple=True, envvar="WORD")
def command(**_: object) -> None:
    click.echo(f"{argued(NAMES)} {as_words(NAMES)}")


def told(arguments: list[str], **environment: str) -> str:
    done = CliRunner(env=environment).invoke(command, arguments)
    assert done.exit_code == 0, done.output
    return done.output.strip()


@pytest.mark.parametrize(
    "arguments, environment, expected",
    [
        ([], {}, "[] []"),
        (["--size", "3"], {}, "['--size'] ['--size', '3']"),
        (["-w", "a", "--word", "b"], {}, "['--word'] ['--word', 'a', '--word', 'b']"),
        (["--loud"], {"SIZE": "5"}, "['--loud'] ['--size', '5', '--loud']"),
        ([], {"LOUD": "0", "WORD": "x y"}, "[] ['--word', 'x', '--word', 'y']"),
    ],
)
def test_what_was_given(arguments: list[str], environment: dict[str, str], expected: str) -> None:
    assert told(arguments, **environment) == expected


def test_outside_a_command_nothing_was() -> None:
    assert argued(NAMES) == []
