"""`ringback addon`: where the addon script is."""

from __future__ import annotations

from pathlib import Path

import click

import ringback

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
def command() -> None:
    """Print the path of the addon script.

    \b
    mitmweb -s "$(ringback addon)"
    mitmdump -s "$(ringback addon)" --set ringback_seed=1
    """  # noqa: D301 - click wants a real backspace
    click.echo(script_path())
