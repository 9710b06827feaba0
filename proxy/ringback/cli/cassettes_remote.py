"""Cassettes of an object store on the command line: the option for their address, and `compact`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from ringback.cassettes import files
from ringback.cassettes.files import CassetteError
from ringback.cli.options import complete_cassette, table_option
from ringback.tally import many

if TYPE_CHECKING:
    from ringback.cassettes.remote import RemoteCassettes

_ADDRESS: Final = "ringback.cassettes.address"  # in click's context: that of a store


def refuse_address(ctx: click.Context) -> None:
    """End the command with a usage error if it reads a store's copies: it would change those alone."""
    if _ADDRESS in ctx.meta:
        raise click.UsageError(f"{ctx.meta[_ADDRESS]} cannot be repaired in place")


def _readable(ctx: click.Context, _param: click.Parameter, value: Path | str) -> Path:
    """Return a directory to read cassettes from: of an address, the local copies."""
    if not isinstance(value, str):
        return value
    remote = _opened(value)
    ctx.meta[_ADDRESS] = value
    ctx.call_on_close(remote.close)
    try:
        remote.start()
    except CassetteError as error:
        raise click.ClickException(str(error)) from None
    return remote.directory


def _writable(_ctx: click.Context, _param: click.Parameter, value: Path | str) -> Path:
    """Return a directory whose cassettes are to be changed."""
    if isinstance(value, str):
        raise click.BadParameter(
            f"{value} cannot be changed in place: take a cassette to a file by `ringback cassettes compact "
            "NAME --output FILE`, change that, and put it back by the store's own tools"
        )
    return value


READABLE: Final = table_option("cassettes", parameter="directory", callback=_readable)
WRITABLE: Final = table_option("cassettes", parameter="directory", callback=_writable)


def _opened(url: str) -> RemoteCassettes:
    from ringback.cassettes.remote import RemoteCassettes  # noqa: PLC0415 - an extra, and rarely needed

    try:
        return RemoteCassettes(url, report=lambda line: click.echo(line, err=True), refresh=0)
    except CassetteError as error:
        raise click.ClickException(str(error)) from None


@click.command(short_help="Make one file of a cassette's segments in an object store.")
@click.argument("name", shell_complete=complete_cassette)
@click.option(
    "--output",
    "target",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the cassette here, and leave the store as it is.",
)
@click.option("--interrupted", is_flag=True, help="Take in recordings afresh that were interrupted.")
@table_option("cassettes", parameter="directory")
def compact(name: str, target: Path | None, directory: Path | str, *, interrupted: bool) -> None:
    """Make one vcrpy file of all that recorders have written of the cassette NAME, and remove the segments.

    Others may go on recording. Nothing is lost if this is interrupted: run it again.
    """
    if not isinstance(directory, str):
        raise click.UsageError(
            "only the cassettes of a store have segments: give --cassettes s3://BUCKET/PATH"
        )
    remote = _opened(directory)
    try:
        if remote.read_only:
            raise click.UsageError(f"{directory} can only be read, and has no segments")
        if target is not None:
            _, made = remote.composition(files.check_name(name), unended=interrupted)
            target.write_bytes(b"".join(made.parts))
            click.echo(f"{target}: written", err=True)
            return
        count, taken, left = remote.compact(files.check_name(name), unended=interrupted)
    except CassetteError as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{target} cannot be written: {error.strerror}") from None
    finally:
        remote.close()
    click.echo(f"{name}: {many(count, 'interaction')}, {many(taken, 'segment')} taken in")
    if left:
        click.echo(
            f"{many(left, 'segment')} of a recording afresh that goes on, or was interrupted, left; "
            "--interrupted takes them in",
            err=True,
        )
