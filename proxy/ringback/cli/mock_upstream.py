"""`ringback mock-upstream`: a server in place of the live API, to try recording, replay and drift."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ringback.cli.options import table_option
from ringback.cli.output import say

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=4010,
    show_default=True,
    help="Port on 127.0.0.1; 0 takes a free one.",
)
@click.option("-q", "--quiet", is_flag=True, help="Do not report each request.")
@table_option("contract", parameter="contracts")
def command(port: int, contracts: tuple[Path, ...], *, quiet: bool) -> None:
    """Answer like Twilio's API, as documented, on this machine.

    Every answer is marked as a mock's, and so is what is recorded from it. No account is needed: any test
    credentials are taken.

    \b
    ringback mock-upstream
    ringback run --mode online --upstream http://127.0.0.1:4010 -- pytest
    """  # noqa: D301 - click wants a real backspace
    from ringback.contract import ContractError, load  # noqa: PLC0415 - `--help` is fast
    from ringback.mock_upstream import MockUpstream  # noqa: PLC0415 - as above

    try:
        loaded = load(contracts)
        server = MockUpstream(loaded, port, report=(lambda _: None) if quiet else click.echo)
    except ContractError as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(
            f"port {port} on 127.0.0.1: {error.strerror}; take another --port"
        ) from None
    say(f"mock upstream at {server.url}; use it with --mode online --upstream {server.url}")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        say("stopped")
    finally:
        server.server_close()
