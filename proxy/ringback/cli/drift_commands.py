"""`ringback drift accept`, `schema` and `self-check`, and how drift's commands tell what a user can mend."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from ringback.cli import tables
from ringback.cli.drift_live import progress
from ringback.cli.proxy import say
from ringback.drift.accepted import FILE as ACCEPTED

if TYPE_CHECKING:
    from collections.abc import Iterator

BLIND: Final = 2


@contextmanager
def told(*errors: type[Exception]) -> Iterator[None]:
    """Turn errors that a user can mend into a line and the exit code for not having looked."""
    try:
        yield
    except errors as error:
        say(str(error), colour="red")
        sys.exit(BLIND)


@click.command()
@click.argument("fingerprint")
@click.option("--reason", required=True, help="Why this difference is accepted.")
@click.option(
    "--expires",
    required=True,
    type=click.DateTime(["%Y-%m-%d"]),
    help="The last day on which it is, e.g. 2027-06-30.",
)
@click.option("--rule", help="The claim that it is about, as the report names it.")
@click.option(
    "--accepted",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path(ACCEPTED),
    show_default=True,
    help="The file to write it to.",
)
def accept(fingerprint: str, reason: str, expires: datetime, rule: str | None, accepted: Path) -> None:
    """Accept the finding with this FINGERPRINT until a day, for a reason."""
    import re  # noqa: PLC0415 - as above

    from ringback.drift.accepted import AcceptedError, Entry, add  # noqa: PLC0415 - as above

    if not re.fullmatch("[0-9a-f]{12}", fingerprint):
        raise click.BadParameter(
            f"{fingerprint!r} is no fingerprint: take the 12 hex digits that the report shows with a finding"
        )
    if not reason.strip():
        raise click.BadParameter("say why this difference is accepted", param_hint="--reason")
    if expires.date() < _today():
        raise click.BadParameter(f"{expires.date()} has passed already", param_hint="--expires")
    with told(AcceptedError):
        add(accepted, Entry(fingerprint=fingerprint, reason=reason, expires=expires.date(), rule=rule))
    say(f"{fingerprint} is accepted until {expires.date()} in {accepted}")


@click.command()
def schema() -> None:
    """Print the JSON schema of `--format json`."""
    from ringback.drift.report.as_json import schema as text  # noqa: PLC0415 - as above

    click.echo(text(), nl=False)


@click.command("self-check")
@click.option("--count", type=click.IntRange(1), default=500, show_default=True, help="How many changes.")
@click.option("--seed", type=int, default=1, show_default=True, help="Chooses them.")
@click.option("--markdown", is_flag=True, help="Print a Markdown table.")
def self_check(count: int, seed: int, *, markdown: bool) -> None:
    """Plant changes in what a documented upstream answers, one at a time, and show which are found."""
    from ringback.drift.book import Book  # noqa: PLC0415 - as above
    from ringback.drift.planting import table, try_all  # noqa: PLC0415 - as above

    book = Book()
    tried = []
    with progress("planting", count) as step:
        for item in try_all(book, count, seed):
            tried.append(item)
            step()
    head = ("kind of change", "severity", "planted", "found", "other findings", "findings without it")
    rows = [tuple(map(str, row)) for row in table(tried)]
    found = sum(item.found for item in tried)
    others, before = sum(item.others for item in tried), sum(item.before for item in tried)
    rows.append(("all", "", str(len(tried)), str(found), str(others), str(before)))
    if markdown:
        for row in (head, ("---", "---", "---:", "---:", "---:", "---:"), *rows):
            click.echo(f"| {' | '.join(row)} |")
    else:
        tables.show(head, rows)
    sys.exit(0 if found == len(tried) and not others and not before else 1)


def _today() -> date:
    return datetime.now(UTC).date() - timedelta(days=1)  # a day that has not ended everywhere
