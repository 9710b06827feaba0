"""`ringback check-credentials`: one free request that tells what a pair of credentials is."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import sys
from typing import Any, Final

import click

from ringback.cli.drift import SID, TOKEN, make_gateway
from ringback.cli.options import table_option
from ringback.exchange import Request

_ACCOUNT: Final = re.compile("AC[0-9a-fA-F]{32}")
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
@table_option("egress_proxy")
@table_option("connect_timeout")
@table_option("timeout")
def command(**options: Any) -> None:
    """Tell whether the credentials in the environment are test credentials.

    RINGBACK_TEST_ACCOUNT_SID and RINGBACK_TEST_AUTH_TOKEN are sent to the live API in one GET of the account,
    which changes nothing and costs nothing: live credentials may read it, test credentials may not. The first
    word of the output is the verdict.

    \b
    Exit codes:
      0  test     they are test credentials
      1  live     they are live credentials
      1  wrong    sid and token do not belong together, or the sid is none
      2  unclear  the answer says neither, there is none, or a variable is missing
    """  # noqa: D301 - click wants a real backspace
    account, token = os.environ.get(SID, ""), os.environ.get(TOKEN, "")
    if not account or not token:
        raise click.UsageError(f"set {_PAIR} to the pair (Console, Account, API keys & tokens)")
    if not token.isascii():
        raise click.UsageError(f"{TOKEN} has characters that are not ASCII")
    if not _ACCOUNT.fullmatch(account):
        key = ", but an API key: there are no test API keys" if account.startswith("SK") else ""
        click.echo(f"wrong: {SID} is no AccountSid (AC and 32 hexadecimal digits){key}; nothing was sent")
        sys.exit(_EXIT["wrong"])
    try:
        verdict, said = asyncio.run(_ask(account, token, options))
    except KeyboardInterrupt:
        sys.exit(130)
    asked = f" (asked: {options['upstream']})" if options["upstream"] else ""
    click.echo(f"{verdict}: {said}{asked}")
    sys.exit(_EXIT[verdict])


async def _ask(account: str, token: str, options: dict[str, Any]) -> tuple[str, str]:
    """Send the probe; return the verdict and a sentence."""
    from ringback.upstream.client import UpstreamError  # noqa: PLC0415 - `--help` is fast
    from ringback.upstream.proof import NotProvenError  # noqa: PLC0415 - as above

    gateway = make_gateway(options)
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
