"""`ringback env`: prints the variables that lead a shell's programs through the running proxy."""

from __future__ import annotations

import json
import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ringback.launch.directory import keep
from ringback.launch.environment import Proxy, prepare
from ringback.launch.processes import ancestors
from ringback.launch.ready_file import NoProxyError, ReadyFile, wait_for_ready_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ringback.launch.environment import Launch

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
def command(*, form: str | None, unset: bool, ready_file: Path | None, wait: float) -> None:
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
