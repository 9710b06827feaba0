"""`ringback check-credentials`: one free request that tells what a pair of credentials is."""

from __future__ import annotations

import asyncio
import base64
import os
import sys
from typing import TYPE_CHECKING, Final

import click

from ringback.cli.drift import SID, TOKEN
from ringback.cli.options import table_option
from ringback.exchange import Request

if TYPE_CHECKING:
    from pathlib import Path

_HOST: Final = "api.twilio.com"
_PAIR: Final = f"{SID} and {TOKEN}"
_SAID: Final = {
    "test": f"{_PAIR} are test credentials: nothing that they do costs money",
    "live": f"{_PAIR} are live credentials: what they do costs money, and Ringback never forwards it",
    "wrong": f"{_PAIR} do not belong together, or the account is closed (HTTP 401)",
}
_EXIT: Final = {"test": 0, "live": 1, "wrong": 1, "unclear": 2}


@click.command()
@table_option("upstream")
@table_option("upstream_ca")
def command(upstream: str | None, upstream_ca: Path | None) -> None:
    """Tell whether the credentials in the environment are test credentials.

    RINGBACK_TEST_ACCOUNT_SID and RINGBACK_TEST_AUTH_TOKEN are sent to the live API in one GET of the account,
    which changes nothing and costs nothing: live credentials may read it, test credentials may not. The first
    word of the output is the verdict.

    \b
    Exit codes:
      0  test     they are test credentials
      1  live     they are live credentials
      1  wrong    sid and token do not belong together
      2  unclear  the answer says neither, there is none, or a variable is missing
    """  # noqa: D301 - click wants a real backspace
    account, token = os.environ.get(SID, ""), os.environ.get(TOKEN, "")
    if not account or not token:
        raise click.UsageError(f"set {_PAIR} to the pair (Console, Account, API keys & tokens)")
    if not (account.isascii() and account.isalnum()):
        raise click.UsageError(f"{SID} is no AccountSid: AC and 32 hexadecimal digits")
    if not token.isascii():
        raise click.UsageError(f"{TOKEN} has characters that are not ASCII")
    try:
        verdict, said = asyncio.run(_ask(account, token, upstream, upstream_ca))
    except KeyboardInterrupt:
        sys.exit(130)
    asked = f" (asked: {upstream})" if upstream else ""
    click.echo(f"{verdict}: {said}{asked}")
    sys.exit(_EXIT[verdict])


async def _ask(account: str, token: str, upstream: str | None, ca: Path | None) -> tuple[str, str]:
    """Send the probe; return the verdict and a sentence."""
    from ringback.upstream.client import UpstreamClient, UpstreamError  # noqa: PLC0415 - `--help` is fast
    from ringback.upstream.forwarder import Gateway  # noqa: PLC0415 - as above
    from ringback.upstream.proof import NotProvenError  # noqa: PLC0415 - as above
    from ringback.upstream.routes import Egress, Routes, mock_upstream  # noqa: PLC0415 - as above

    address = mock_upstream(upstream) if upstream else None
    gateway = Gateway(UpstreamClient(ca), Routes(address, Egress.from_environment()))
    basic = base64.b64encode(f"{account}:{token}".encode()).decode()
    request = Request("GET", _HOST, "/", (("Authorization", f"Basic {basic}"),))
    try:
        await gateway.prove(request)
    except NotProvenError as error:
        verdict = error.rule.removeprefix("credentials.")
        if verdict in _SAID:
            return verdict, _SAID[verdict]
        return "unclear", error.detail or error.rule
    except UpstreamError as error:
        return "unclear", f"no answer ({error.rule}): {error.detail}"
    finally:
        gateway.close()
    return "test", _SAID["test"]
