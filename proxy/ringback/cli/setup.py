"""Commands that set a machine up: `ca`, `completion`, `addon`."""

from __future__ import annotations

import importlib.metadata
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from click.shell_completion import get_completion_class

import ringback
from ringback.cli.output import print_message
from ringback.launch.ca import (
    EXPORT_FORMATS,
    TEXT_FORMATS,
    AuthorityError,
    ensure_authority,
    export,
    rotate_authority,
)
from ringback.launch.trust import usual_bundle

if TYPE_CHECKING:
    from click import Context

    from ringback.launch.ca import Authority

_MITMWEB_MENDED: Final = (11, 1, 2)  # its API asks for a token from then on


@click.command()
@click.option("--path", "only_path", is_flag=True, help="Print the path of the PEM file and nothing else.")
@click.option(
    "--bundle",
    is_flag=True,
    help="Write the usual roots and the certificate in one PEM text, as most CA variables need it.",
)
@click.option("--rotate", is_flag=True, help="Replace the CA by a new one first.")
@click.option(
    "--export",
    "export_format",
    type=click.Choice(sorted(EXPORT_FORMATS)),
    help="Write the certificate (never a key) to standard output or --output. "
    "p12 and jks have the password `changeit`; Java takes jks.",
)
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write into this file.")
def ca(
    *, only_path: bool, bundle: bool, rotate: bool, export_format: str | None, output: Path | None
) -> None:
    """Show, export or replace the CA that clients trust.

    It is made on first use, for this user on this machine, and can vouch for twilio.com and its subdomains
    alone. It renews itself 30 days before it ends.
    """
    if output and not (export_format or bundle):
        raise click.UsageError("--output needs --export or --bundle")
    if sum((only_path, bundle, bool(export_format))) > 1:
        raise click.UsageError("--path, --bundle and --export exclude each other")
    try:
        authority = rotate_authority() if rotate else ensure_authority()
    except AuthorityError as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from None
    for warning in authority.warnings:
        click.secho(f"ringback: {warning}", err=True, fg="yellow")
    if bundle:
        _write(usual_bundle(authority.root_pem.read_bytes()), output)
    elif export_format:
        _export(authority, export_format, output)
    elif only_path:
        click.echo(authority.lasting_pem)
    else:
        days = (authority.not_after - datetime.now(UTC)).days
        click.echo(f"path         {authority.lasting_pem}")
        click.echo(f"SHA-256      {authority.fingerprint}")
        click.echo(f"expires      {authority.not_after:%Y-%m-%d} (in {days} days; renewed before)")


def _export(authority: Authority, export_format: str, output: Path | None) -> None:
    content = export(authority.root_pem.read_bytes(), export_format)
    if output is None and export_format not in TEXT_FORMATS and sys.stdout.isatty():
        raise click.UsageError(f"{export_format} is binary: name a file with --output, or redirect")
    _write(content, output)


def _write(content: bytes, output: Path | None) -> None:
    if output is None:
        click.echo(content, nl=False)
        return
    try:
        output.write_bytes(content)
    except OSError as error:
        raise click.ClickException(f"{output} cannot be written: {error.strerror}") from None


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: Context, shell: str) -> None:
    """Print the completion script for SHELL.

    \b
    bash, zsh:  eval "$(ringback completion bash)"
    fish:       ringback completion fish | source
    """  # noqa: D301 - click wants a real backspace
    found = get_completion_class(shell)
    assert found is not None
    root = ctx.find_root()
    click.echo(found(root.command, {}, root.info_name or "ringback", "_RINGBACK_COMPLETE").source())


SCRIPT = "ringback_addon.py"


def script_path() -> Path:
    """The addon script: in the package once installed, in `addons/` of a checkout.

    Raises:
        ClickException: It is in neither place.
    """
    package = Path(ringback.__file__).parent
    for candidate in (package / SCRIPT, package.parents[1] / "addons" / SCRIPT):
        if candidate.is_file():
            return candidate
    raise click.ClickException(f"{SCRIPT} is missing from this installation; install ringback again")


@click.command()
def addon() -> None:
    """Print the path of the addon script.

    \b
    mitmweb -s "$(ringback addon)"
    mitmdump -s "$(ringback addon)" --set ringback_seed=1
    """  # noqa: D301 - click wants a real backspace
    path = script_path()
    hole = known_hole()
    if hole:
        print_message(hole, colour="yellow")
    click.echo(path)


def known_hole() -> str:
    """Return a warning about the web interface of the mitmproxy at hand, or an empty text."""
    mitmproxy = importlib.metadata.version("mitmproxy")
    numbers = tuple(int(part) for part in re.findall(r"\d+", mitmproxy)[:3])
    if numbers >= _MITMWEB_MENDED:
        return ""
    return (
        f"do not use mitmweb of mitmproxy {mitmproxy}: its web interface has a known hole (CVE-2025-23217). "
        "Python 3.12 or newer gets a newer one; mitmdump and Ringback's own server are not affected"
    )
