"""Variables that nothing reads; the list of those that are read is held to the code."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from ringback.cli import COMMANDS, ringback
from ringback.cli.options import READ_VARIABLES, unread_variables
from ringback.settings import OPTIONS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "name, told",
    [
        ("RINGBACK_STRCIT", "did you mean RINGBACK_STRICT?"),
        ("RINGBACK_MAXLIVE", "did you mean RINGBACK_MAX_LIVE?"),
        ("RINGBACK_TEST_TOKEN", "did you mean RINGBACK_TEST_AUTH_TOKEN?"),
        ("RINGBACK_strict", "see `ringback run --help`"),
        ("RINGBACK_XYZZY", "see `ringback run --help`"),
    ],
)
def test_a_slip_is_reported_with_the_nearest_name(name: str, told: str) -> None:
    assert unread_variables([name, "PATH"]) == [f"{name} is set, but nothing reads it: {told}"]


def test_what_is_read_and_what_is_not_ours_is_no_slip() -> None:
    others = [*READ_VARIABLES, "RINGBACK_SDK_PHP_4", "_RINGBACK_COMPLETE", "RINGBACK", "MY_RINGBACK_X"]
    assert unread_variables(others) == []


def test_every_variable_that_is_read_is_known_and_no_other() -> None:
    options: set[str] = set()
    for name in COMMANDS:
        command = ringback.get_command(click.Context(ringback), name)
        assert command is not None
        inner = list(command.commands.values()) if isinstance(command, click.Group) else []
        for one in (command, *inner):
            options |= {param.envvar for param in one.params if isinstance(param.envvar, str)}
    assert options <= READ_VARIABLES
    text = "".join(
        path.read_text(encoding="utf-8")
        for place in ("proxy", "tests/support")
        for path in sorted((ROOT / place).rglob("*"))
        if path.suffix in {".py", ".cjs", ".java"}
    )
    found = set(re.findall(r"(?<!_)RINGBACK_[A-Z_]*[A-Z]\b", text)) - {"RINGBACK_SDK_PHP"}
    assert found | {option.variable for option in OPTIONS.values()} == READ_VARIABLES
