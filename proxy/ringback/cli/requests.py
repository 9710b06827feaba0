"""`ringback requests`, `wait` and `stop`: the API of a running proxy, for people and scripts."""

from __future__ import annotations

import base64
import json
import os
import signal
import sys
import time
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlencode, urlsplit

import click

from ringback.cli import output
from ringback.cli.options import complete_cassette, complete_resource, complete_rule
from ringback.net import is_loopback
from ringback.settings import PASSWORD_VARIABLE
from ringback.system import is_running

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ringback.launch.environment import ReadyFile

_PROXY_URL: Final = "RINGBACK_PROXY_URL"
_GRACE: Final = 10.0  # seconds beyond a long poll's own limit
_POLL_SECONDS: Final = 0.05
_FOLLOWED: Final = 20  # seconds of one long poll
_HEADINGS: Final = ("number", "time", "session", "resource", "to", "answer", "rule", "text")

# name: help; each is a parameter of the API, see docs/api/openapi.yaml
_FILTERS: Final = {
    "resource": "Messages, Calls, IncomingPhoneNumbers or another path.",
    "to": "The To, or the number that was bought.",
    "from": "The From or MessagingServiceSid.",
    "body": "A part of the Body.",
    "code": "Twilio's error code, or none.",
    "rule": "The row or rule; * and ? are wildcards.",
    "session": "The session: a cassette's name.",
    "source": "Who answered: contract, cassette, live or gate.",
    "since": "Only requests with a higher number.",
}
_TARGET = click.option(
    "--url", envvar=_PROXY_URL, metavar="URL", help="The proxy; else the one that `ringback env` finds."
)


def _filters(function: Callable[..., Any]) -> Callable[..., Any]:
    completes = {"resource": complete_resource, "rule": complete_rule, "session": complete_cassette}
    for name, text in reversed(_FILTERS.items()):
        more: dict[str, Any] = {"shell_complete": completes.get(name)}
        function = click.option(f"--{name}", f"filter_{name}", metavar=name.upper(), help=text, **more)(
            function
        )
    return function


@click.command()
@_filters
@click.option("--limit", default=100, show_default=True, help="How many at most.")
@click.option("-f", "--follow", is_flag=True, help="Go on with those to come.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: one line for each request.")
@_TARGET
def requests(*, limit: int, follow: bool, as_json: bool, url: str | None, **filters: str | None) -> None:
    """List the Twilio requests that a running proxy answered, newest last.

    \b
    ringback requests --to +14105550101
    ringback requests -f --code 21211
    """  # noqa: D301 - click wants a real backspace
    proxy = ProxyClient.find(url)
    query = _query(filters)
    _, found = proxy.ask("GET", "requests", {**query, "limit": str(limit)})
    _show(found["requests"][::-1], as_json=as_json, alone=not follow)
    last, instance = int(found["last"]), found["instance"]
    while follow:
        asked = {**query, "since": str(last), "timeout": str(_FOLLOWED)}
        _, found = proxy.ask("GET", "requests/wait", asked, timeout_seconds=_FOLLOWED + _GRACE)
        if found["instance"] != instance:
            last, instance = 0, found["instance"]  # it was started anew
            continue
        _show(found["requests"], as_json=as_json, alone=False)
        last = max([last, *(one["number"] for one in found["requests"])])


@click.command()
@_filters
@click.option("--count", default=1, show_default=True, help="How many requests.")
@click.option("--timeout", default=5.0, show_default=True, help="Seconds.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: one line for each request.")
@_TARGET
def wait(*, count: int, timeout: float, as_json: bool, url: str | None, **filters: str | None) -> None:
    """Wait until requests that match have come, and print them.

    Requests of before count too, unless --since says from which on. Exit code 1: the time ran out.

    \b
    ringback wait --to +14105550101 --body 'Your code'
    """  # noqa: D301 - click wants a real backspace
    proxy = ProxyClient.find(url)
    asked = {**_query(filters), "count": str(count), "timeout": f"{timeout:f}"}
    status, found = proxy.ask("GET", "requests/wait", asked, timeout_seconds=timeout + _GRACE)
    _show(found["requests"], as_json=as_json, alone=True)
    if status != 200:
        click.echo(f"ringback: {found['error']}", err=True)
        sys.exit(1)


@click.command()
@click.option("--timeout", default=30.0, show_default=True, help="Seconds to wait for its end.")
def stop(timeout: float) -> None:
    """Stop the proxy of `ringback serve` that runs for this user, and wait until it has ended."""
    pid = _running().pid
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return  # it ended by itself
    except PermissionError:
        raise click.ClickException(f"the proxy (process {pid}) is another user's") from None
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if not is_running(pid):
            return
        time.sleep(_POLL_SECONDS)
    raise click.ClickException(f"process {pid} was told to stop and still runs after {timeout:g} s")


def _running() -> ReadyFile:
    """Read the ready file of the proxy that runs for this user."""
    from ringback.launch.environment import NoProxyError, read_ready_file  # noqa: PLC0415 - not for --url

    try:
        return read_ready_file()
    except NoProxyError as error:
        raise click.ClickException(str(error)) from None


class ProxyClient:
    """A running proxy's API.

    Args:
        url: The proxy's URL; its password is used off loopback.
    """

    def __init__(self, url: str) -> None:
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            self._host, self._port = parts.hostname or "", parts.port or 80
        except ValueError:
            raise click.UsageError(f"{url!r} is not a proxy's URL, e.g. http://127.0.0.1:8080") from None
        if parts.scheme != "http" or not self._host:
            raise click.UsageError(f"{url!r} is not a proxy's URL, e.g. http://127.0.0.1:8080")
        self._password = unquote(parts.password or "")

    @classmethod
    def find(cls, url: str | None) -> ProxyClient:
        """Return the proxy of `url`, else the one that runs for this user."""
        if url:
            return cls(url)
        return cls(_running().proxy)

    def ask(
        self, method: str, path: str, query: Mapping[str, str], *, timeout_seconds: float = 30.0
    ) -> tuple[int, dict[str, Any]]:
        """Return the status and JSON of an answer; an error that is the caller's ends the command."""
        connection = HTTPConnection(self._host, self._port, timeout=timeout_seconds)
        try:
            connection.request(method, f"/ringback/{path}?{urlencode(query)}", headers=self._headers())
            got = connection.getresponse()
            found = json.loads(got.read())
        except (OSError, HTTPException, ValueError) as error:
            where = f"http://{self._host}:{self._port}"
            raise click.ClickException(f"no proxy of Ringback's answers at {where}: {error}") from None
        finally:
            connection.close()
        if got.status in {200, 504} and isinstance(found, dict) and "requests" in found:
            return got.status, found
        reported = found.get("error") or found.get("message") if isinstance(found, dict) else None
        raise click.ClickException(str(reported or f"the proxy answered {got.status}"))

    def _headers(self) -> dict[str, str]:
        password = self._password or os.environ.get(PASSWORD_VARIABLE, "")
        if is_loopback(self._host) or not password:
            return {}
        return {"Authorization": "Basic " + base64.b64encode(f":{password}".encode()).decode()}


def _query(filters: Mapping[str, str | None]) -> dict[str, str]:
    return {name.removeprefix("filter_"): value for name, value in filters.items() if value is not None}


def _show(found: list[dict[str, Any]], *, as_json: bool, alone: bool) -> None:
    """Print requests: a table where all are known, else a line for each."""
    if as_json:
        for one in found:
            click.echo(json.dumps(one))
    elif alone:
        output.show_table(_HEADINGS, [_cells(one) for one in found])
    else:
        for one in found:
            click.echo("  ".join(filter(None, _cells(one))))


def _cells(one: dict[str, Any]) -> tuple[str, ...]:
    form = dict(one["form"] or ())
    address = form.get("To") or form.get("PhoneNumber") or form.get("AreaCode") or ""
    resource = one["resource"] if one["method"] == "POST" else f"{one['method']} {one['resource']}"
    text = one["message"] or form.get("Body") or form.get("Url") or ""
    cells = (
        str(one["number"]),
        one["time"][11:19],
        one["session"],
        resource,
        address,
        str(one["code"] or one["status"]),
        one["rule"],
        text,
    )
    return tuple(output.printable(cell) for cell in cells)
