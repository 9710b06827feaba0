"""Write the generated table of docs/reference.md: the options of `run` and `serve`.

python scripts/reference.py          in an environment with the project installed
"""

from __future__ import annotations

import re
from pathlib import Path

import click

from ringback.cli import ringback

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference.md"
BEGIN, END = "<!-- generated: python scripts/reference.py -->\n", "<!-- end -->"


def options_table() -> str:
    """Each option of `run` and `serve`, with its variable, its default and its help text."""
    rows: dict[str, tuple[str, str, str, list[str]]] = {}
    for name in ("run", "serve"):
        command = ringback.get_command(click.Context(ringback), name)
        assert command is not None
        for parameter in command.params:
            if not isinstance(parameter, click.Option) or parameter.hidden:
                continue
            long = next(option for option in parameter.opts if option.startswith("--"))
            metavar = "" if parameter.is_flag else f" {_metavar(parameter)}"
            default = parameter.default
            shown = (
                ""
                if parameter.is_flag or not isinstance(default, str | int | float | Path)
                else f"`{default}`"
            )
            text = re.sub(r"\s+", " ", parameter.help or "").replace("|", "\\|")
            row = rows.setdefault(
                f"`{long}{metavar}`".replace("|", "\\|"), (_variable(long), shown, text, [])
            )
            row[3].append(name)
    lines = ["| option | variable | default | meaning |", "|---|---|---|---|"]
    for option, (variable, default, text, commands) in sorted(rows.items()):
        only = "" if len(commands) > 1 else f" (`{commands[0]}` alone)"
        lines.append(f"| {option} | `{variable}` | {default} | {text}{only} |")
    return "\n".join(lines) + "\n"


def _metavar(option: click.Option) -> str:
    if option.metavar:
        return option.metavar
    if isinstance(option.type, click.Choice):
        return "|".join(map(str, option.type.choices))
    return "N" if isinstance(option.type, click.types.IntParamType) else option.type.name.upper()


def _variable(option: str) -> str:
    return f"RINGBACK_{option.removeprefix('--').replace('-', '_').upper()}"


def main() -> None:
    """Replace the table in the page."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    PAGE.write_text(before + BEGIN + options_table() + END + rest.partition(END)[2], encoding="utf-8")


if __name__ == "__main__":
    main()
