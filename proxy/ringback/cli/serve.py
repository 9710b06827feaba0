"""Commands that serve in the foreground: `serve` and `mock-upstream`."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from ringback.cli.options import settings_options, table_option
from ringback.cli.output import print_message
from ringback.cli.summary import cassettes_code, cassettes_fail, failures, findings, keep_journal, summary
from ringback.launch.runtimes import reachable
from ringback.settings import options_of
from ringback.system import on_signals, signals

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ringback.cassettes.manager import CassetteUsage
    from ringback.drift.findings import DriftFinding
    from ringback.journal import Journal
    from ringback.server.run import BoundPorts
    from ringback.settings import Settings
    from ringback.tally import Tally

_OF_MITMWEB: Final = ("--host", "--port", "--ui", "--open", "--web", "--web-port", "--verbose", "--quiet")


@click.command()
@settings_options("serve")
def serve(options: Settings) -> None:
    """Run the proxy until it is told to stop (Ctrl-C or SIGTERM).

    Each option is an environment variable too: RINGBACK_ and its name, such as RINGBACK_MAX_LIVE.

    \b
    Exit codes:
      0  it was told to stop
      2  usage
      4  --strict missed a recording, or --fail-on-unused found an unused one
      5  the proxy could not start
      6  what --mode online recorded was put aside
    """  # noqa: D301 - click wants a real backspace
    if options.web:
        _run_mitmweb(options)
    gc.disable()  # until the proxy runs: what is made before that stays
    sys.exit(asyncio.run(_serve(options)))


def _run_mitmweb(options: Settings) -> NoReturn:
    """Become mitmweb, with the addon and the CA of this installation and the same options.

    Raises:
        UsageError: An option is given that the addon does not have.
    """
    from ringback.cli.setup import script_path  # noqa: PLC0415 - not for the own server
    from ringback.launch.ca import AuthorityError, ensure_authority  # noqa: PLC0415 - as above

    own = [option for option in options_of("serve") if "addon" not in option.commands]
    given = [option.flag for option in own if getattr(options, option.name) != option.default]
    unknown = [flag for flag in given if flag not in _OF_MITMWEB]
    if unknown:
        raise click.UsageError(f"{unknown[0]} is not for --web: mitmweb serves what the addon knows")
    try:
        directory = ensure_authority().directory
    except AuthorityError as error:
        raise click.ClickException(str(error)) from None
    command = [sys.executable, "-c", "from mitmproxy.tools.main import mitmweb; mitmweb()"]
    command += ["-s", str(script_path()), "--listen-host", options.host, "--listen-port", str(options.port)]
    settings = {
        "confdir": directory,
        "web_port": options.web_port,
        "web_open_browser": options.open,
        **options.addon_options(),
    }
    for name, value in settings.items():
        for one in value if isinstance(value, list) else [] if value is None else [value]:
            command += ["--set", f"{name}={str(one).lower() if isinstance(one, bool) else one}"]
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(command[0], command)  # noqa: S606 - ourselves, without a shell


async def _serve(options: Settings) -> int:
    from ringback.cli.startup import start  # noqa: PLC0415 - see run
    from ringback.server.run import serve  # noqa: PLC0415 - see run

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    on_signals(loop, signals("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"), stop.set)
    with start(options) as begun:
        async with serve(begun.config) as running:
            with _found_by_others(begun.ready(running)) as state:
                _announce(running, state, begun.authority.lasting_pem)
                keep_journal(running.responder.journal, options, lines=sys.stderr.isatty())
                if options.open:
                    _open(f"{state['proxy']}/ringback/")
                await stop.wait()
        tally, used = running.responder.tally, running.responder.used
        found = findings(running)
    return _end(options, tally, used, found, running.responder.journal)


def _open(url: str) -> None:
    """Open the Inbox in the browser; say so where there is none."""
    import webbrowser  # noqa: PLC0415 - rarely needed

    def show() -> None:
        if not webbrowser.open(url):
            print_message(f"no browser could be opened here: {url}", colour="yellow")

    threading.Thread(target=show, daemon=True).start()  # a browser may take its time, or the terminal


def _end(
    options: Settings,
    tally: Tally,
    used: Sequence[CassetteUsage],
    found: Sequence[DriftFinding],
    journal: Journal,
) -> int:
    """Print the summary; the exit code."""
    from ringback.launch.directory import report_to_outer_launch  # noqa: PLC0415 - see run

    report_to_outer_launch(os.environ, tally.total)
    failing = cassettes_fail(tally, used, fail_on_unused=options.fail_on_unused, strict=options.strict)
    if not options.quiet or tally.refused or failing:
        for line in summary(tally, options.mode, used, found, list_unused=options.fail_on_unused):
            print_message(line)
    refused = failures(journal) if failing else []
    for line in ["requests that were refused or missed:", *refused] if refused else []:
        print_message(f"  {line}")
    return cassettes_code(used, failing=failing)


@contextmanager
def _found_by_others(state: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Let `ringback env` find this proxy for as long as it runs."""
    from ringback.launch.environment import ReadyFile, remove_ready_file, write_ready_file  # noqa: PLC0415 - see run

    try:
        write_ready_file(ReadyFile(**state))
    except OSError as error:
        print_message(
            f"`ringback env` will need --ready-file: {error.filename}: {error.strerror}", colour="yellow"
        )
    try:
        yield state
    finally:
        remove_ready_file()


def _announce(running: BoundPorts, state: dict[str, Any], root: Path) -> None:
    print_message(f"listening on {state['proxy']} ({state['mode']})")
    print_message(f"  clients trust {root}")
    if running.socks_port is not None:
        print_message(f"  SOCKS5 on port {running.socks_port}")
    if running.reverse_port is not None:
        print_message(f"  as api.twilio.com on port {running.reverse_port}")
    if running.transparent_port is not None:
        print_message(f"  redirected connections on port {running.transparent_port}")
    if running.host != reachable(running.host):
        print_message(f"  other machines reach it on port {running.port}, with the proxy password")
    # With a password, curl would need it too, and not as it gives one to a proxy.
    health = "" if state["user"] else f"health: curl {state['proxy']}/ringback/health   "
    print_message(f"  Inbox: {state['proxy']}/ringback/")
    print_message(f"  {health}stop: Ctrl-C")


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
def mock_upstream(port: int, contracts: tuple[Path, ...], *, quiet: bool) -> None:
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
    print_message(f"mock upstream at {server.url}; use it with --mode online --upstream {server.url}")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print_message("stopped")
    finally:
        server.server_close()
