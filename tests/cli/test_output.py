"""Tables on terminals of any width, and where there is none."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

import click
import pytest

from ringback.cli import output
from ringback.cli.output import progress, show_table

if TYPE_CHECKING:
    from collections.abc import Callable

HEADINGS = ("name", "exchanges", "last recorded")
ROWS = [("default", "12", "2026-01-02"), ("a\x1b[31m", "0", "-")]


def test_piped_it_is_lines_of_tabs(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(HEADINGS, ROWS)
    assert capsys.readouterr().out.splitlines() == [
        "name\texchanges\tlast recorded",
        "default\t12\t2026-01-02",
        "a?[31m\t0\t-",
    ]


def plain(capsys: pytest.CaptureFixture[str]) -> str:
    """What was printed, without rich's own bold and dim."""
    return re.sub("\\x1b\\[[0-9;]*m", "", capsys.readouterr().out)


def on_a_terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")  # of a dumb one rich takes the width for 80
    monkeypatch.setenv("COLUMNS", str(columns))


def test_on_a_terminal_it_is_a_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    on_a_terminal(monkeypatch, 80)
    show_table(HEADINGS, ROWS)
    said = plain(capsys)
    assert "│ default │ 12        │ 2026-01-02    │" in said
    assert "a?[31m" in said


def test_on_a_narrow_one_no_word_is_torn(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    on_a_terminal(monkeypatch, 34)
    show_table(HEADINGS, ROWS)
    assert plain(capsys).splitlines() == [
        "name default",
        "  exchanges: 12",
        "  last recorded: 2026-01-02",
        "name a?[31m",
        "  exchanges: 0",
    ]


def test_a_heading_is_not_torn_where_long_cells_can_be_folded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    on_a_terminal(monkeypatch, 80)
    headings = ("name", "interactions", "bytes", "last recorded", "source", "redacted", "layout")
    show_table(headings, [("test_sign_up[a]", "1", "475", "-", "vcrpy", "-", "vcrpy's")])
    lines = plain(capsys).splitlines()
    assert {len(line) for line in lines} <= set(range(81))
    assert {"interactions", "bytes", "source", "redacted", "layout"} <= set(" ".join(lines).split())


@pytest.mark.parametrize("columns", [80, 34])
def test_without_colour_there_is_no_bold_either(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    on_a_terminal(monkeypatch, columns)
    monkeypatch.setenv("NO_COLOR", "1")
    show_table(HEADINGS, ROWS, title="cassettes")
    assert "\x1b" not in capsys.readouterr().out


def test_a_bar_is_shown_after_two_seconds_and_goes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with progress("checking", 2) as step:
        step()
        assert capsys.readouterr().err == ""
        monkeypatch.setattr(output, "PROGRESS_AFTER", 0.0)
        step()
    assert re.search(r"checking .*2/2", re.sub("\\x1b\\[[0-9;?]*[a-zA-Z]", "", capsys.readouterr().err))


class AtOnce:
    """A timer that is over when it starts."""

    def __init__(self, _seconds: float, function: Callable[[], None]) -> None:
        self.start = function

    def cancel(self) -> None:
        pass


def test_one_step_that_takes_long_is_seen_and_piped_output_goes_where_it_was_sent(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(output.threading, "Timer", AtOnce)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")

    @progress("merging", 1)
    def merge() -> None:
        click.echo("into a file")

    merge()
    seen = capsys.readouterr()
    assert "merging" in seen.err
    assert "0/1" in seen.err
    assert seen.out == "into a file\n"


def test_a_bar_has_no_colour_where_nobody_wants_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(output.threading, "Timer", AtOnce)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    with progress("checking", 2) as step:
        step(title="the second")
    seen = capsys.readouterr().err
    assert "the second" in seen
    assert re.search("\\x1b\\[[0-9;]*3[0-9;]*m", seen) is None


def test_no_bar_where_no_terminal_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(output, "PROGRESS_AFTER", 0.0)
    with progress("checking") as step:
        step()
    assert capsys.readouterr() == ("", "")
