"""Output of the commands: messages on stderr, and tables, tab-separated where they are piped."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, Protocol

import click

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import TypeAlias

    from rich.console import Console

    _Styled: TypeAlias = tuple[Sequence[str], str]

PROGRESS_AFTER: Final = 2.0  # seconds
_BORDER: Final = 3  # characters that each column takes besides its own
_LEAST: Final = 12  # characters of a long cell that are worth a line


def print_message(text: str, *, colour: str | None = None) -> None:
    """Print a message for people on stderr; where nobody can read it, the rest goes on.

    On a terminal it is wrapped at the terminal's width, between words; a file or a pipe gets one line.
    """
    line = f"ringback: {text}"
    with suppress(OSError):
        if sys.stderr is not None and sys.stderr.isatty():
            line = wrap(line, shutil.get_terminal_size().columns)
        click.secho(line, err=True, fg=colour)


def wrap(line: str, width: int) -> str:
    """Break `line` between words so that no part is wider than `width`; a longer word stays whole."""
    if len(line) <= width:
        return line
    import textwrap  # noqa: PLC0415 - most lines are short

    text = line.removeprefix("ringback: ")
    indent = "  " + " " * (len(text) - len(text.lstrip()))
    return textwrap.fill(
        line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def console(*, stderr: bool = False) -> Console:
    """Make rich's console for a person; with NO_COLOR it has no bold and no dim text either."""
    from rich.console import Console  # noqa: PLC0415 - only where a person looks

    return Console(
        stderr=stderr, highlight=False, color_system=None if os.environ.get("NO_COLOR") else "auto"
    )


class ProgressStep(Protocol):
    """Moves a progress bar on."""

    def __call__(self, count: int = 1, title: str = "") -> None:
        """Add `count` steps, and change the title if one is given."""
        ...  # pragma: no cover - a protocol


@contextmanager
def progress(title: str, count: int | None = None) -> Iterator[ProgressStep]:
    """Show on a terminal how far something is that takes longer than two seconds; elsewhere nothing.

    The bar appears after that time even where no step has ended, so that one large step is seen too. As a
    decorator it stands for a whole function.

    Args:
        title: Names it.
        count: How many steps it has, if that is known.

    Yields:
        A function to call after each step.
    """
    if sys.stderr is None or not sys.stderr.isatty():
        yield lambda *_, **__: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415 - as above

    columns = [TextColumn("{task.description}"), BarColumn()]
    columns += [*([MofNCompleteColumn()] if count else []), TimeElapsedColumn()]
    # Output that goes into a file must not be led into the bar's console, which is the terminal.
    to_terminal = sys.stdout is not None and sys.stdout.isatty()
    bar = Progress(*columns, console=console(stderr=True), transient=True, redirect_stdout=to_terminal)
    task = bar.add_task(title, total=count)
    begun, lock, ended = time.monotonic(), threading.Lock(), threading.Event()

    def show() -> None:
        with lock:
            if not ended.is_set() and not bar.live.is_started:
                bar.start()

    def step(count: int = 1, title: str = "") -> None:
        bar.update(task, advance=count, description=title or None)
        if time.monotonic() - begun >= PROGRESS_AFTER:
            show()

    timer = threading.Timer(PROGRESS_AFTER, show)
    timer.daemon = True
    timer.start()
    try:
        yield step
    finally:
        timer.cancel()
        with lock:
            ended.set()
            bar.stop()


class LogHandler(logging.Handler):
    """Shows people what Ringback itself logs; a traceback only where something unforeseen happened."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        colour = "red" if record.levelno >= logging.ERROR else "yellow"
        print_message(logging.Formatter().format(record), colour=colour)


def show_log() -> None:
    """Show warnings and errors of Ringback's own on stderr."""
    logger = logging.getLogger("ringback")
    if not any(isinstance(handler, LogHandler) for handler in logger.handlers):
        logger.addHandler(LogHandler(logging.WARNING))


def show_table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], *, title: str = "", styles: Sequence[str] = ()
) -> None:
    """Print rows: tab-separated lines when piped, else a table, or blocks where that is too wide.

    Args:
        headings: What the columns are called.
        rows: The cells; their control characters are made harmless.
        title: Stands above, where a person looks.
        styles: rich's style of each row; none where they are left out.
    """
    cells = [tuple(printable(cell) for cell in row) for row in rows]
    if not sys.stdout.isatty():
        for line in (tuple(headings), *cells):
            click.echo("\t".join(line))
        return
    terminal = console()
    styled = list(zip(cells, styles or [""] * len(cells), strict=True))
    if _least_width(headings, cells) <= terminal.width:
        _as_table(terminal, title, headings, styled)
    else:
        _as_blocks(terminal, title, headings, styled)


def printable(text: str) -> str:
    """`text` without what a terminal would obey."""
    return "".join(char if char.isprintable() else "?" for char in text)


def _least_width(headings: Sequence[str], cells: Iterable[Sequence[str]]) -> int:
    """The characters that a table needs so that no heading and no short cell is torn."""
    columns = list(zip(headings, *cells, strict=True))
    words = [max(len(word) for cell in column for word in cell.split() or [""]) for column in columns]
    torn = [max((len(word) for word in column[0].split()), default=0) for column in columns]
    wide = [max(heading, min(word, _LEAST)) for heading, word in zip(torn, words, strict=True)]
    return sum(width + _BORDER for width in wide) + 1


def _as_table(console: Console, title: str, headings: Sequence[str], rows: Sequence[_Styled]) -> None:
    from rich.table import Table  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415 - as above

    table = Table(title=title or None, title_justify="left", title_style="bold")
    for at, heading in enumerate(headings):
        # What a column's heading has room for is never folded: rich would tear the heading with it.
        narrow = " " not in heading and all(len(cells[at]) <= len(heading) for cells, _ in rows)
        table.add_column(heading, overflow="fold", no_wrap=narrow)
    for cells, style in rows:
        table.add_row(*(Text(cell) for cell in cells), style=style)
    console.print(table)


def _as_blocks(console: Console, title: str, headings: Sequence[str], rows: Sequence[_Styled]) -> None:
    """One block for each row, one line for each cell that has something."""
    from rich.text import Text  # noqa: PLC0415 - as above

    if title:
        console.print(Text(title, style="bold"))
    for cells, style in rows:
        first, *others = zip(headings, cells, strict=True)
        console.print(Text.assemble((f"{first[0]} ", "dim"), (first[1], "bold"), style=style))
        for heading, cell in others:
            if cell not in {"", "-"}:
                console.print(Text.assemble((f"  {heading}: ", "dim"), cell, style=style))
