"""The command line. A command's module is imported when the command is called."""

from __future__ import annotations

import importlib
import os
from typing import Any, Final

import click

from ringback import __version__

# command: (its module, and its name there where that is not `command`; its line in the help)
COMMANDS: Final = {
    "run": ("run", "Run a program whose Twilio requests are answered here."),
    "serve": ("serve:serve", "Run the proxy in the foreground."),
    "requests": ("requests:requests", "List what a running proxy answered."),
    "wait": ("requests:wait", "Wait until a program has sent something."),
    "stop": ("requests:stop", "Stop the running proxy."),
    "contract": ("contract", "Show the documented contract, or explain one request."),
    "cassettes": ("cassettes", "List, show, check and redact recordings."),
    "drift": ("drift", "Hold the live API, or recordings, against the documentation."),
    "check-credentials": (
        "doctor:check_credentials",
        "Tell whether credentials are test credentials, free of charge.",
    ),
    "mock-upstream": ("serve:mock_upstream", "Answer in place of the live API, to try recording and drift."),
    "addon": ("setup:addon", "Print the path of the addon script for mitmdump and mitmweb."),
    "ca": ("setup:ca", "Show, export or replace the CA that clients trust."),
    "env": ("setup:env", "Print the shell exports for a running proxy."),
    "doctor": ("doctor:doctor", "Check every client runtime found on this machine."),
    "completion": ("setup:completion", "Print the completion script for a shell."),
}


class LazyGroup(click.Group):
    """A group that imports a command's module only to run it: `--version` must not wait for mitmproxy."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """All commands, in the order in which a newcomer needs them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as above
        """Import the command called `cmd_name`."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(f"ringback.cli.{module}"), name or "command")
        assert isinstance(command, click.Command)
        return command

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Make the context; NO_COLOR (no-color.org) turns colours off."""
        context = super().make_context(*args, **extra)
        if os.environ.get("NO_COLOR"):
            context.color = False
        return context

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; of a mistyped one tell the nearest, of another program how to run it.

        Raises:
            UsageError: There is no such command.
        """
        name = args[0]
        if name in COMMANDS or name.startswith("-") or ctx.resilient_parsing:
            return super().resolve_command(ctx, args)
        raise click.UsageError(f"No such command {name!r}. {_advice(args)}", ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - as above
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


def _advice(words: list[str]) -> str:
    """Return what somebody who typed `words` after `ringback` may have meant."""
    import shutil  # noqa: PLC0415 - only for a mistake
    from difflib import get_close_matches  # noqa: PLC0415 - as above

    near = get_close_matches(words[0].lower(), COMMANDS, 1)
    if near:
        return f"Did you mean `ringback {near[0]}`?"
    if shutil.which(words[0]):
        return f"To run a program: `ringback run -- {' '.join(words)}`."
    return "`ringback --help` lists the commands."


_NEXT: Final = """\
Ringback answers a program's Twilio requests as Twilio's test credentials do, offline.

  ringback run -- pytest    run your tests, or any other program
  ringback serve --open     start a proxy, and see in the browser what programs send
  ringback contract         show the magic numbers and what each of them gives
  ringback doctor           check the languages found on this machine
  ringback --help           list all commands"""


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.pass_context
def ringback(ctx: click.Context) -> None:
    """Answer like Twilio's test credentials: offline, for any language's SDK.

    \b
    ringback run -- pytest          your program, unchanged, without a network
    ringback contract explain POST Messages From=+15005550001 To=+15005550006
    """  # noqa: D301 - click wants a real backspace
    if ctx.invoked_subcommand is None:
        click.echo(_NEXT)
