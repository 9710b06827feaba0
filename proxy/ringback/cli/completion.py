"""`ringback completion`: what a shell needs to complete this command."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from click.shell_completion import get_completion_class

if TYPE_CHECKING:
    from click import Context


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: Context, shell: str) -> None:
    """Print the completion script for SHELL.

    \b
    bash, zsh:  eval "$(ringback completion bash)"
    fish:       ringback completion fish | source
    """  # noqa: D301 - click wants a real backspace
    found = get_completion_class(shell)
    assert found is not None
    root = ctx.find_root()
    click.echo(found(root.command, {}, root.info_name or "ringback", "_RINGBACK_COMPLETE").source())
