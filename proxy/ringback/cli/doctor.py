"""Commands that check an installation (`doctor`) and a pair of credentials (`check-credentials`)."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import urllib.request
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from ringback.cli import output
from ringback.cli.drift import SID, TOKEN, make_gateway
from ringback.cli.options import table_option
from ringback.exchange import Request
from ringback.launch.ca import AuthorityError, ensure_authority
from ringback.launch.environment import Proxy, ReadyFile, prepare, read_ready_file
from ringback.launch.probes import ABSENT, CREATED, MISREAD, PROBES, ClientProbe, NotHereError, found
from ringback.system import signals

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import FrameType

    from ringback.launch.ca import Authority


# Other names of the runtimes than their own and their programs'.
_ALSO: Final = {
    "nodejs": "node.js",
    "golang": "go",
    "py": "python",
    "c#": ".net",
    "csharp": ".net",
    "rustc": "rust",
}
_ENDING = signals("SIGINT", "SIGTERM", "SIGHUP")
# `go run` compiles net/http first when its cache is empty.
PROBE_SECONDS = 180

_UNTRUSTED = re.compile(
    r"certificat|\bcert|PKIX|(?<!lib)SSL|self.signed|unable to get local issuer", re.IGNORECASE
)
_VERSION = re.compile(r"\d+(?:\.\d+)+\S*")
_ANNOUNCED = re.compile(r"^Picked up .*$", re.MULTILINE)
COLUMNS = ("runtime", "version", "client", "proxied", "CA trusted", "what to do")


@dataclass(frozen=True)
class Diagnosis:
    """The result of one probe.

    Attributes:
        runtime: The runtime's name.
        version: The runtime's version, and the SDK's.
        client: The client that made the request.
        path: The program that was run.
        proxied: Whether the request went to the proxy; None if that cannot be told.
        trusted: Whether the client trusts the CA; None if that cannot be told.
        advice: What to do; empty if all is well.
        output: The end of the program's output, if all is not well.
    """

    runtime: str
    version: str
    client: str
    path: str
    proxied: bool | None
    trusted: bool | None
    advice: str = ""
    output: str = ""

    @property
    def ok(self) -> bool:
        """Report whether the request was answered by the proxy, and the answer was understood."""
        return bool(self.proxied and self.trusted) and not self.advice


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array instead of a table.")
@click.argument("runtimes", nargs=-1, metavar="[RUNTIME]...")
def doctor(*, as_json: bool, runtimes: tuple[str, ...]) -> None:
    """Try every client runtime that is found here, or the RUNTIMEs that are named.

    Each makes one request with its own HTTP client, and with its Twilio SDK where one is installed, through a
    proxy that lives no longer than the check. Nothing reaches Twilio. Rust is tried where it is named: its
    programs are fetched and compiled first.

    \b
    Exit codes:
      0  all is well
      1  a client would not reach the proxy, or does not trust it
      2  usage
      128+n  ended by signal n
    """  # noqa: D301 - click wants a real backspace
    known = {probe.runtime.lower() for probe in PROBES}
    # The first runtime of a program: python3 is Python, and one of libcurl's besides.
    also = {probe.program: probe.runtime.lower() for probe in reversed(PROBES)} | _ALSO
    wanted = {also.get(name.lower(), name.lower()) for name in runtimes}
    if wanted - known:
        unknown = ", ".join(sorted(wanted - known)) or "''"
        raise click.UsageError(f"unknown runtime {unknown}; known: {', '.join(sorted(known))}")
    for number in _ENDING:
        signal.signal(number, _leave)
    authority = _check_authority()
    usual = {probe.runtime.lower() for probe in PROBES if not probe.slow}
    findings = list(_findings(wanted or usual, authority, progress=not as_json and sys.stderr.isatty()))
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
            lines = []
            for line in process.stderr:
                lines.append(line)
                if ready.exists():
                    break
            if not ready.exists():
                raise click.ClickException(f"the proxy did not start: {''.join(lines).strip()}")
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
    advice = [finding.advice + (f" ({finding.output})" if finding.output else "") for finding in findings]
    if not sys.stdout.isatty():
        output.show_table(COLUMNS, [(*row, text) for row, text in zip(rows, advice, strict=True)])
        return
    output.show_table(COLUMNS[:-1], rows, styles=styles)  # a terminal is too narrow for sentences in a column
    for finding, text in zip(findings, advice, strict=True):
        if text:
            click.echo(output.printable(f"{finding.runtime} {finding.version}, {finding.client}: {text}"))


def _word(value: bool | None) -> str:
    return {True: "yes", False: "no", None: "?"}[value]


def run_probe(
    probe: ClientProbe, path: str, proxy: str, environment: Mapping[str, str], directory: Path
) -> Diagnosis | None:
    """Run one probe.

    Args:
        probe: The probe.
        path: Its program.
        proxy: The proxy's URL.
        environment: What `prepare` made for that proxy.
        directory: Where the probe may write.

    Returns:
        The diagnosis, or None if the probe needs an SDK that is not installed.
    """
    version = _first(_VERSION, _output([path, *probe.version], environment))
    before = _answered(proxy)
    try:
        arguments = probe.command(directory)
    except NotHereError as error:
        click.secho(f"ringback: {probe.runtime}, {probe.client}: not tried: {error}", err=True, fg="yellow")
        return None
    done = _run([path, *arguments], environment)
    printed = _ANNOUNCED.sub("", done.stdout + done.stderr).strip()
    if probe.sdk and ABSENT in printed:
        return None
    sdk = re.search(r"^SDK (\S+)$", done.stdout, re.MULTILINE)
    return diagnose(
        probe,
        path,
        f"{version} with {sdk[1]}" if sdk else version,
        printed,
        arrived=_answered(proxy) > before,
        code=done.returncode,
    )


def diagnose(  # noqa: PLR0913 - all of them are facts of one run
    probe: ClientProbe, path: str, version: str, printed: str, *, arrived: bool, code: int
) -> Diagnosis:
    """Judge a probe by its end: what it printed, its exit code, and whether its request arrived."""

    def diagnosis(*, proxied: bool | None, trusted: bool | None, advice: str = "") -> Diagnosis:
        # Java and Node indent the frames of their traces; Python ends with what matters.
        lines = [line for line in printed.splitlines() if line.strip() and not line[0].isspace()]
        last = lines[-1][:200] if lines and advice else ""
        return Diagnosis(probe.runtime, version, probe.client, path, proxied, trusted, advice, last)

    if arrived:
        if code == 0 and MISREAD not in printed and re.search(rf"\b{CREATED}\b", printed):
            return diagnosis(proxied=True, trusted=True)
        return diagnosis(
            proxied=True, trusted=True, advice="it was answered, but did not understand the answer"
        )
    if _UNTRUSTED.search(printed):
        return diagnosis(proxied=True, trusted=False, advice=f"it does not trust the CA: {probe.advice}")
    if code == 0:
        return diagnosis(proxied=False, trusted=None, advice=f"its request went elsewhere: {probe.advice}")
    return diagnosis(proxied=None, trusted=None, advice=f"its request did not arrive: {probe.advice}")


def _answered(proxy: str) -> int:
    """Count the Twilio requests that the proxy has answered."""
    # Straight to the proxy's own port: no variable of this process shall lead elsewhere.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{proxy}/ringback/health", timeout=10) as answer:
        total: int = json.load(answer)["answered"]
        return total


def _output(command: list[str], environment: Mapping[str, str]) -> str:
    done = _run(command, environment)
    return _ANNOUNCED.sub("", done.stdout + done.stderr)


def _run(command: list[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603 - the probes' own arguments
            command,
            env=dict(environment),
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=PROBE_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"no end after {PROBE_SECONDS} seconds")
    except OSError as error:
        return subprocess.CompletedProcess(command, 126, "", str(error.strerror))


def _first(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.search(text)
    return match[0].strip('",;') if match else "?"


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
def check_credentials(**options: Any) -> None:
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
        verdict, reason = asyncio.run(_ask(account, token, options))
    except KeyboardInterrupt:
        sys.exit(130)
    asked = f" (asked: {options['upstream']})" if options["upstream"] else ""
    click.echo(f"{verdict}: {reason}{asked}")
    sys.exit(_EXIT[verdict])


async def _ask(account: str, token: str, options: dict[str, Any]) -> tuple[str, str]:
    """Send the probe; return the verdict and a sentence."""
    from ringback.upstream.http1 import UpstreamError  # noqa: PLC0415 - `--help` is fast
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
