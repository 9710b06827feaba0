"""Commands that set a machine or a shell up: `env`, `ca`, `completion`, `addon`."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import get_completion_class

import ringback
from ringback.cli.output import print_message
from ringback.launch.ca import (
    EXPORT_NAMES,
    TEXT_FORMATS,
    AuthorityError,
    ensure_authority,
    rotate_authority,
)
from ringback.launch.directory import ancestors, keep
from ringback.launch.environment import NoProxyError, Proxy, ReadyFile, prepare, wait_for_ready_file
from ringback.launch.trust import usual_bundle
from ringback.system import known_holes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from click import Context

    from ringback.launch.ca import Authority
    from ringback.launch.environment import Launch


@click.command()
@click.option("--path", "only_path", is_flag=True, help="Print the path of the PEM file and nothing else.")
@click.option(
    "--bundle",
    is_flag=True,
    help="Write the usual roots and the certificate in one PEM text, as most CA variables need it.",
)
@click.option("--rotate", is_flag=True, help="Replace the CA by a new one first.")
@click.option(
    "--export",
    "export_format",
    type=click.Choice(EXPORT_NAMES),
    help="Write the certificate (never a key) to standard output or --output. "
    "p12 and jks have the password `changeit`; Java takes jks.",
)
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write into this file.")
def ca(
    *, only_path: bool, bundle: bool, rotate: bool, export_format: str | None, output: Path | None
) -> None:
    """Show, export or replace the CA that clients trust.

    It is made on first use, for this user on this machine, and can vouch for twilio.com and its subdomains
    alone. It renews itself 30 days before it ends.
    """
    if output and not (export_format or bundle):
        raise click.UsageError("--output needs --export or --bundle")
    if sum((only_path, bundle, bool(export_format))) > 1:
        raise click.UsageError("--path, --bundle and --export exclude each other")
    try:
        authority = rotate_authority() if rotate else ensure_authority()
    except AuthorityError as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from None
    for warning in authority.warnings:
        click.secho(f"ringback: {warning}", err=True, fg="yellow")
    if bundle:
        _write(usual_bundle(authority.root_pem.read_bytes()), output)
    elif export_format:
        _export(authority, export_format, output)
    elif only_path:
        click.echo(authority.lasting_pem)
    else:
        days = (authority.not_after - datetime.now(UTC)).days
        click.echo(f"path         {authority.lasting_pem}")
        click.echo(f"SHA-256      {authority.fingerprint}")
        click.echo(f"expires      {authority.not_after:%Y-%m-%d} (in {days} days; renewed before)")


def _export(authority: Authority, export_format: str, output: Path | None) -> None:
    from ringback.launch.certificates import export  # noqa: PLC0415 - few runs need it

    content = export(authority.root_pem.read_bytes(), export_format)
    if output is None and export_format not in TEXT_FORMATS and sys.stdout.isatty():
        raise click.UsageError(f"{export_format} is binary: name a file with --output, or redirect")
    _write(content, output)


def _write(content: bytes, output: Path | None) -> None:
    if output is None:
        click.echo(content, nl=False)
        return
    try:
        output.write_bytes(content)
    except OSError as error:
        raise click.ClickException(f"{output} cannot be written: {error.strerror}") from None


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: Context, shell: str) -> None:
    """Print the completion script for SHELL.

    \b
    bash, zsh:  eval "$(ringback completion bash)"
    fish:       ringback completion fish | source
    """  # noqa: D301 - click wants a real backspace
    found = get_completion_class(shell)
    assert found is not None
    root = ctx.find_root()
    click.echo(found(root.command, {}, root.info_name or "ringback", "_RINGBACK_COMPLETE").source())


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
def addon() -> None:
    """Print the path of the addon script.

    \b
    mitmweb -s "$(ringback addon)"
    mitmdump -s "$(ringback addon)" --set ringback_seed=1
    """  # noqa: D301 - click wants a real backspace
    path = script_path()
    for hole in known_holes(web=True):
        print_message(hole, colour="yellow")
    click.echo(path)


# What the variables held before: --unset brings it back, and a second call does not extend them twice.
SAVED = "RINGBACK_ENV_BEFORE"

PASSWORD = "RINGBACK_PROXY_PASSWORD"  # noqa: S105 - the variable's name, not a password

SHELLS = frozenset({"sh", "ash", "bash", "busybox", "dash", "fish", "ksh", "mksh", "yash", "zsh"})

# GitHub refuses to take these from $GITHUB_ENV.
GITHUB_REFUSES = ("NODE_OPTIONS",)


def _fish(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _dotenv(value: str) -> str:
    return _fish(value) if _needs_quotes(value) else value


def _needs_quotes(value: str) -> bool:
    return not re.fullmatch(r"[\w@%+=:,./*\[\]-]*", value)


# name: (a line that sets, a line that takes away or None where the form has none)
FORMS: dict[str, tuple[Callable[[str, str], str], Callable[[str], str] | None]] = {
    "sh": (lambda name, value: f"export {name}={shlex.quote(value)}", lambda name: f"unset {name}"),
    "fish": (lambda name, value: f"set -gx {name} {_fish(value)}", lambda name: f"set -e {name}"),
    "dotenv": (lambda name, value: f"{name}={_dotenv(value)}", None),
    "github": (lambda name, value: f"{name}={value}", None),
}


# One JSON object with `variables`, `removed` and `directory`, for a program that starts others.
JSON = "json"

# The forms that a shell evaluates.
EVALUATED = ("sh", "fish")


@click.command()
@click.option(
    "-s",
    "--shell",
    "form",
    type=click.Choice([*FORMS, JSON]),
    help="How the lines are written. sh serves bash and zsh too; default: fish if fish calls this, else sh.",
)
@click.option("--unset", is_flag=True, help="Print what brings the variables back as they were.")
@click.option(
    "--ready-file",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="RINGBACK_READY_FILE",
    help="The --ready-file of the proxy to use, instead of the one that this user started last.",
)
@click.option(
    "--wait",
    type=click.FloatRange(0),
    metavar="SECONDS",
    default=0,
    help="Wait so long for a proxy that is still starting.",
)
def env(*, form: str | None, unset: bool, ready_file: Path | None, wait: float) -> None:
    """Print the shell exports for a running proxy (`ringback serve`).

    \b
    eval "$(ringback env)"                          bash, zsh
    ringback env | source                           fish
    ringback env --shell dotenv > .env.ringback     env files, e.g. compose's
    ringback env --shell github >> "$GITHUB_ENV"    later steps of a GitHub job
    ringback env --shell json                       one object, for programs

    Where it fails, the line for a shell is `false`, so that `eval` fails too.
    """  # noqa: D301 - click wants a real backspace
    form = form or ("fish" if _calling_shell() == "fish" else "sh")
    parent = before(os.environ)
    try:
        lines = _restoring(form, parent) if unset else _setting(form, parent, ready_file, wait)
    except click.ClickException:
        if form in EVALUATED:
            click.echo("false")  # `eval "$(…)"` does not see the exit code
        raise
    for line in lines:
        click.echo(line)


def _calling_shell() -> str:
    """Name the shell that reads the lines: SHELL is only the one that its user logs in with."""
    return next((name for name in ancestors() if name in SHELLS), "sh")


def before(environment: Mapping[str, str]) -> dict[str, str]:
    """Restore the environment from before an earlier `ringback env` changed it."""
    try:
        saved = json.loads(environment.get(SAVED, "{}"))
    except ValueError:
        saved = None
    if not isinstance(saved, dict):  # somebody else's
        saved = {}
    kept = {name: value for name, value in environment.items() if name not in saved and name != SAVED}
    return kept | {name: value for name, value in saved.items() if value is not None}


def _setting(form: str, parent: dict[str, str], ready_file: Path | None, wait: float) -> list[str]:
    try:
        state = wait_for_ready_file(ready_file, wait)
        proxy = Proxy(state.host, state.port, state.user, _password(state), state.socks)
        directory = Path(state.bundle).parent
        launch = prepare(proxy, Path(state.ca), parent, directory)
        if form != JSON:  # its reader ends before the proxy does
            keep(directory)
    except NoProxyError as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from None
    for warning in launch.warnings:
        _warn(warning)
    variables = dict(sorted(launch.variables.items()))
    if form == JSON:
        made = {"variables": variables, "removed": launch.removed, "directory": str(directory)}
        return [json.dumps(made)]
    return _lines(form, parent, launch, variables)


def _lines(form: str, parent: dict[str, str], launch: Launch, variables: dict[str, str]) -> list[str]:
    set_line, unset_line = FORMS[form]
    if unset_line:
        changed = {name: parent.get(name) for name in sorted([*variables, *launch.removed])}
        variables[SAVED] = json.dumps(changed)
    if form == "github":
        for name in GITHUB_REFUSES:
            value = variables.pop(name, None)
            if value:
                _warn(f"GitHub takes no {name} from GITHUB_ENV; set it in the step's own `env:` to {value}")
    removed = [unset_line(name) for name in launch.removed] if unset_line else []
    if form == "dotenv":
        variables = _for_docker(variables)
    if launch.removed and not unset_line:
        gone = ", ".join(launch.removed)
        _warn(f"a {form} file cannot take {gone} away: unset it where the file is read")
    return removed + [set_line(name, value) for name, value in variables.items()]


def _for_docker(variables: dict[str, str]) -> dict[str, str]:
    """Avoid quotes where possible: compose reads them, `docker run --env-file` takes them for text."""
    # Node 12 and newer take this form as well.
    plain = {name: value.replace("--require ", "--require=") for name, value in variables.items()}
    found = {name: variables[name] if _needs_quotes(value) else value for name, value in plain.items()}
    quoted = [name for name, value in found.items() if _needs_quotes(value)]
    if quoted:
        _warn(f"{', '.join(quoted)} had to be quoted: compose reads that, `docker run --env-file` does not")
    return found


def _password(state: ReadyFile) -> str | None:
    """Return the proxy's password; it is in no file, so that no file can give it away."""
    if state.user is None:
        return None
    password = os.environ.get(PASSWORD)
    if not password:
        raise click.ClickException(
            f"the proxy of process {state.pid} has a password: set {PASSWORD} to it here as well"
        )
    return password


def _restoring(form: str, parent: dict[str, str]) -> list[str]:
    set_line, unset_line = FORMS.get(form, (None, None))
    if set_line is None or unset_line is None:
        raise click.UsageError(f"a {form} file cannot take variables away: leave its lines out instead")
    if SAVED not in os.environ:
        raise click.ClickException("nothing to bring back: `ringback env` has not set this shell's variables")
    names = sorted(
        name for name in os.environ.keys() | parent.keys() if os.environ.get(name) != parent.get(name)
    )
    return [set_line(name, parent[name]) if name in parent else unset_line(name) for name in names]


def _warn(text: str) -> None:
    click.secho(f"ringback: {text}", err=True, fg="yellow")
