"""Write the generated tables of the reference (options, commands, API, metrics, errors) and the man page.

python scripts/reference.py          in an environment with the project installed

`BLOCKS` names the page and the function of each table. A page marks its place with `begin(name)` and `END`.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import yaml

from ringback import __version__
from ringback.cli import COMMANDS, ringback
from ringback.cli.drift import SUBCOMMANDS
from ringback.contract import load
from ringback.contract.listing import markdown
from ringback.control import ROUTES, Control
from ringback.exchange import Answer, Request
from ringback.responder import Responder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

DOCS: Final = Path(__file__).resolve().parents[1] / "docs"
MAN: Final = DOCS.parent / "proxy" / "man" / "ringback.1"  # pipx and uv link it where `man` looks
END: Final = "<!-- end -->"
PROXY: Final = ("run", "serve")  # share most options; they have a table of their own


def begin(name: str) -> str:
    """The line above the generated table `name`."""
    return f"<!-- generated: python scripts/reference.py: {name} -->\n"


def table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    head = list(headings)
    lines = [head, ["---"] * len(head), *map(list, rows)]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().replace("|", "\\|").replace("<", "&lt;")


def options() -> str:
    """Each option of `run` and `serve`, with its variable, its default and its help text."""
    rows: dict[str, tuple[str, str, str, list[str]]] = {}
    for name in PROXY:
        for option in _options(_command(name)):
            long = next(spelling for spelling in option.opts if spelling.startswith("--"))
            row = rows.setdefault(
                _spelling(option, long), (_variable(long), _default(option), option.help or "", [])
            )
            row[3].append(name)
    return table(
        ("option", "variable", "default", "meaning"),
        (
            (option, f"`{variable}`", default, text + ("" if len(names) > 1 else f" (`{names[0]}` alone)"))
            for option, (variable, default, text, names) in sorted(rows.items())
        ),
    )


def commands() -> str:
    """Each command with its help text and its options; `run` and `serve` have a table of their own."""
    return "\n".join(_page(name, _command(name)) for name in COMMANDS)


def _page(name: str, command: click.Command) -> str:
    text = f"## `ringback {name}`\n\n```text\n{_usage(command, name)}\n\n{_help(command)}\n```\n"
    if name in PROXY:
        return text + "\nOptions: see [the reference](reference.md#options-of-run-and-serve).\n"
    rows = [(_spelling(option), _default(option), option.help or "") for option in _options(command)]
    if rows:
        text += "\n" + table(("option", "default", "meaning"), rows)
    for child, found in subcommands(command).items():
        text += "\n" + _page(f"{name} {child}", found).replace("## ", "### ", 1)
    return text


def subcommands(command: click.Command) -> dict[str, click.Command]:
    """The commands below `command`, by name."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        found = {name: command.get_command(context, name) for name in command.list_commands(context)}
        return {name: child for name, child in found.items() if child is not None}
    return dict(SUBCOMMANDS) if command is _command("drift") else {}


def _usage(command: click.Command, name: str) -> str:
    pieces = command.collect_usage_pieces(click.Context(command))
    return " ".join(["ringback", name, *pieces])


def _help(command: click.Command) -> str:
    return re.sub(r"^\x08\n", "", inspect.cleandoc(command.help or ""), flags=re.MULTILINE)


def man_page() -> str:
    """The man page: all commands with their options, in roff."""
    lines = [
        f'.TH RINGBACK 1 "" "Ringback {__version__}" "User Commands"',
        ".nh",
        ".SH NAME",
        r"ringback \- test SMS and voice code that uses Twilio, offline, with any SDK",
        ".SH SYNOPSIS",
        ".B ringback",
        r"COMMAND [OPTIONS] [ARGS]...",
        ".SH DESCRIPTION",
        _roff(ringback.help or "").partition("\n\n")[0],
    ]
    for name in COMMANDS:
        lines += _man_section(name, _command(name), ".SH")
    lines += [".SH ENVIRONMENT", "Each option of"]
    lines += [
        ".B run",
        "and",
        ".B serve",
        "is a variable too: RINGBACK_ and its name, such as RINGBACK_MAX_LIVE.",
    ]
    return "\n".join(lines) + "\n"


def _man_section(name: str, command: click.Command, macro: str) -> list[str]:
    lines = [
        f'{macro} "ringback {name}"',
        ".nf",
        _roff(_usage(command, name)),
        "",
        _roff(_help(command)),
        ".fi",
    ]
    for option in _options(command):
        lines += [".TP", f".B {_roff(_spelling(option).replace('`', ''))}", _roff(option.help or "")]
    for child, found in subcommands(command).items():
        lines += _man_section(f"{name} {child}", found, ".SS")
    return lines


def _roff(text: str) -> str:
    escaped = text.replace("\\", r"\e").replace("-", r"\-")
    return re.sub(r"^([.'])", r"\\&\1", escaped, flags=re.MULTILINE)


def api() -> str:
    """Each operation of the API at /ringback/, with the summary that docs/api/openapi.yaml has of it."""
    described = yaml.safe_load((DOCS / "api" / "openapi.yaml").read_text(encoding="utf-8"))["paths"]
    rows = []
    for route in ROUTES:
        operation = described[f"/ringback/{route.path}"][route.method.lower()]
        parameters = ", ".join(f"`{name}`" for name in route.parameters)
        rows.append((f"`{route.method} /ringback/{route.path}`", operation["summary"], parameters))
    return table(("operation", "purpose", "parameters"), rows)


def metrics() -> str:
    """Each metric of `/ringback/metrics`, as a proxy that has answered nothing prints it."""
    control = Control(Responder(load()))
    request = Request("GET", "127.0.0.1", "/ringback/metrics", (("Host", "127.0.0.1"),), b"", "http")
    answer = control.handle(request, "127.0.0.1")
    assert isinstance(answer, Answer)
    text = answer.body.decode()
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    helps = re.findall(r"^# HELP (\S+) (.+)$", text, re.MULTILINE)
    return table(
        ("metric", "type", "meaning"), ((f"`{name}`", kinds[name], meaning) for name, meaning in helps)
    )


def refusals() -> str:
    """Each refusal: the rule, its status and code, and the sentence that `Ringback-Reason` has."""
    return table(
        ("rule", "status", "code", "meaning, and what to do", "basis"),
        (
            (f"`{one.id}`", str(one.status), str(one.code), one.reason, one.basis)
            for one in load().gate.refusals
        ),
    )


def magic() -> str:
    """The magic inputs, as `ringback contract --markdown` prints them."""
    return markdown(load())


def rules() -> str:
    """Each row of the contract by which a form is refused, in the order in which they are looked at."""
    found = []
    for resource in load().resources:
        needs = {row.id: f"{row.parameter} needs {row.needs}" for row in resource.conditions}
        for row in (*resource.required, *resource.refused, *resource.conditions, *resource.addresses):
            name = f"`{resource.resource}.{row.id}`"
            meaning = row.reason or needs.get(row.id, f"no {row.parameter} was sent")
            found.append((name, row.parameter, str(row.error), meaning, row.basis))
    return table(("rule", "parameter", "code", "meaning", "basis"), found)


def errors() -> str:
    """Each error code with its text; Twilio's page of the code says more."""
    rows = []
    for one in sorted(load().errors, key=lambda error: (error.code, error.resource or "")):
        link = f"[{one.code}](https://www.twilio.com/docs/api/errors/{one.code})"
        kind = ", ".join(filter(None, (one.resource, one.variant)))
        rows.append((link, str(one.status), one.message, kind, one.basis))
    return table(("code", "status", "text", "of", "basis"), rows)


def _command(name: str) -> click.Command:
    command = ringback.get_command(click.Context(ringback), name)
    assert command is not None
    return command


def _options(command: click.Command) -> Iterator[click.Option]:
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            yield parameter


def _spelling(option: click.Option, long: str = "") -> str:
    value = "" if option.is_flag or option.count else f" {_metavar(option)}"
    names = [long] if long else sorted(option.opts, key=len, reverse=True)
    return ", ".join(f"`{name}{value}`" for name in names)


def _default(option: click.Option) -> str:
    if option.is_flag or option.multiple or not isinstance(option.default, str | int | float | Path):
        return ""
    return f"`{option.default}`"


def _metavar(option: click.Option) -> str:
    if option.metavar:
        return option.metavar
    if isinstance(option.type, click.Choice):
        return f"[{'|'.join(map(str, option.type.choices))}]"
    return "N" if isinstance(option.type, click.types.IntParamType) else option.type.name.upper()


def _variable(option: str) -> str:
    return f"RINGBACK_{option.removeprefix('--').replace('-', '_').upper()}"


# name: (page, function)
BLOCKS: Final[dict[str, tuple[str, Callable[[], str]]]] = {
    "options": ("reference.md", options),
    "api": ("reference.md", api),
    "metrics": ("reference.md", metrics),
    "commands": ("commands.md", commands),
    "refusals": ("errors.md", refusals),
    "magic": ("errors.md", magic),
    "rules": ("errors.md", rules),
    "errors": ("errors.md", errors),
}


def main() -> None:
    """Replace the tables in the pages, and write the man page."""
    MAN.parent.mkdir(exist_ok=True)
    MAN.write_text(man_page(), encoding="utf-8")
    for name, (file, render) in BLOCKS.items():
        page = DOCS / file
        before, mark, rest = page.read_text(encoding="utf-8").partition(begin(name))
        assert mark, f"{file} has no place for {name}"
        page.write_text(before + mark + render() + END + rest.partition(END)[2], encoding="utf-8")


if __name__ == "__main__":
    main()
