"""`ringback doctor`: a check that every client runtime on this machine reaches and trusts the proxy."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from ringback.cli import output
from ringback.launch.ca import AuthorityError, ensure_authority
from ringback.launch.doctor import Diagnosis, run_probe
from ringback.launch.environment import Proxy, prepare
from ringback.launch.probes import PROBES, found
from ringback.launch.ready_file import ReadyFile, read_ready_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from ringback.launch.ca import Authority

# Other names of the runtimes than their own and their programs'.
_ALSO: Final = {"nodejs": "node.js", "golang": "go", "py": "python", "c#": ".net", "csharp": ".net"}
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
COLUMNS = ("runtime", "version", "client", "proxied", "CA trusted", "what to do")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array instead of a table.")
@click.argument("runtimes", nargs=-1, metavar="[RUNTIME]...")
def command(*, as_json: bool, runtimes: tuple[str, ...]) -> None:
    """Try every client runtime that is found here, or the RUNTIMEs that are named.

    Each makes one request with its own HTTP client, and with its Twilio SDK where one is installed, through a
    proxy that lives no longer than the check. Nothing reaches Twilio.

    \b
    Exit codes:
      0  all is well
      1  a client would not reach the proxy, or does not trust it
      2  usage
      128+n  ended by signal n
    """  # noqa: D301 - click wants a real backspace
    known = {probe.runtime.lower() for probe in PROBES}
    also = {probe.program: probe.runtime.lower() for probe in PROBES} | _ALSO
    wanted = {also.get(name.lower(), name.lower()) for name in runtimes}
    if wanted - known:
        unknown = ", ".join(sorted(wanted - known)) or "''"
        raise click.UsageError(f"unknown runtime {unknown}; known: {', '.join(sorted(known))}")
    for number in _ENDING:
        signal.signal(number, _leave)
    authority = _check_authority()
    findings = list(_findings(wanted or known, authority, progress=not as_json and sys.stderr.isatty()))
    if as_json:
        click.echo(json.dumps([asdict(finding) | {"ok": finding.ok} for finding in findings], indent=2))
    else:
        _show(findings)
    if not all(finding.ok for finding in findings):
        sys.exit(1)


def _leave(number: int, _frame: FrameType | None) -> None:
    """Exit through the clean-up, once: a second signal must not end the cleaning."""
    for other in _ENDING:
        signal.signal(other, signal.SIG_IGN)
    sys.exit(128 + number)


def _check_authority() -> Authority:
    """Make or read the CA that `run` would use."""
    try:
        authority = ensure_authority()
    except AuthorityError as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from None
    for warning in authority.warnings:
        click.secho(f"ringback: {warning}", err=True, fg="yellow")
    return authority


def _findings(wanted: set[str], authority: Authority, *, progress: bool) -> Iterator[Diagnosis]:
    with tempfile.TemporaryDirectory(prefix="ringback-doctor-", ignore_cleanup_errors=True) as place:
        directory = Path(place)
        (directory / "home").mkdir(mode=0o700)
        # The same CA: what a machine's own store was told to trust is seen.
        (directory / "home" / "ca").symlink_to(authority.directory.parent)
        with _throw_away_proxy(directory) as state:
            (directory / "launch").mkdir()
            proxy = Proxy(state.host, state.port, socks_port=state.socks)
            launch = prepare(proxy, Path(state.ca), os.environ, directory / "launch")
            for warning in launch.warnings:
                click.secho(f"ringback: {warning}", err=True, fg="yellow")
            for probe, path in found(wanted):
                if progress:
                    click.echo(f"\r\033[K{probe.runtime} {probe.client} …", err=True, nl=False)
                finding = run_probe(probe, path, state.proxy, launch.environment, directory)
                if finding:
                    yield finding
            if progress:
                click.echo("\r\033[K", err=True, nl=False)


@contextlib.contextmanager
def _throw_away_proxy(directory: Path) -> Iterator[ReadyFile]:
    """Run `ringback serve` with a home of its own, so that it leaves no trace and nobody else finds it."""
    ready = directory / "ready.json"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RINGBACK_")}
    environment["RINGBACK_HOME"] = str(directory / "home")
    # Run away from the current directory: a `ringback` in it is not ours.
    arguments = [sys.executable, "-m", "ringback", "serve", "--port", "0", "--ready-file", str(ready)]
    with subprocess.Popen(  # noqa: S603 - our own program
        arguments, env=environment, cwd=directory, stderr=subprocess.PIPE, text=True, errors="replace"
    ) as process:
        assert process.stderr
        try:
            said = []
            for line in process.stderr:
                said.append(line)
                if ready.exists():
                    break
            if not ready.exists():
                raise click.ClickException(f"the proxy did not start: {''.join(said).strip()}")
            yield read_ready_file(ready)
        finally:
            process.terminate()
            process.stderr.read()


def _show(findings: list[Diagnosis]) -> None:
    rows = [
        (
            finding.runtime,
            finding.version,
            finding.client,
            _word(finding.proxied),
            _word(finding.trusted),
        )
        for finding in findings
    ]
    styles = ["" if finding.ok else "red" for finding in findings]
    advice = [finding.advice + (f" ({finding.said})" if finding.said else "") for finding in findings]
    if not sys.stdout.isatty():
        output.show_table(COLUMNS, [(*row, text) for row, text in zip(rows, advice, strict=True)])
        return
    output.show_table(COLUMNS[:-1], rows, styles=styles)  # a terminal is too narrow for sentences in a column
    for finding, text in zip(findings, advice, strict=True):
        if text:
            click.echo(output.printable(f"{finding.runtime} {finding.version}, {finding.client}: {text}"))


def _word(value: bool | None) -> str:
    return {True: "yes", False: "no", None: "?"}[value]
