"""Command-line options made from the table in `ringback.settings`, and the source of each option's value."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from ringback import settings
from ringback.settings import OPTIONS, PREFIX, SettingsError, options_of, outside

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping

    from ringback.settings import Command, Outside

F = TypeVar("F", bound="Callable[..., Any]")

_FAMILIES: Final = ("RINGBACK_SDK_",)  # read by the tests, each by a name of its own
# A test holds this to what the commands' options and the sources say: importing them all takes too long.
READ_VARIABLES: Final = frozenset(
    f"{PREFIX}{name}"
    for name in (
        *(name.upper() for name in OPTIONS),
        *("COMMAND", "ENV_BEFORE", "HOME", "PROXY_PASSWORD", "PROXY_URL", "REDACT_KEY", "REQUIRE_SDKS"),
        *("TEST_ACCOUNT_SID", "TEST_AUTH_TOKEN"),
    )
)

_ARGUED: Final = (ParameterSource.COMMANDLINE,)
_GIVEN: Final = (*_ARGUED, ParameterSource.ENVIRONMENT, ParameterSource.DEFAULT_MAP)
_OUTSIDE: Final = "ringback.settings.outside"  # in click's context: read once for each command


class TableOption(click.Option):
    """An option of the table: its value comes from the command line, the environment or the file.

    Args:
        entry: The line of the table.
        parameter: The name of the command's argument; the option's own by default.
        more: Arguments of `click.option` that differ here.
    """

    def __init__(self, entry: settings.Option, parameter: str = "", **more: Any) -> None:
        self.entry = entry
        spellings = [entry.short, entry.flag] if entry.short else [entry.flag]
        arguments: dict[str, Any] = {
            "default": entry.default,
            "envvar": entry.variable,
            "help": entry.help,
            "show_default": entry.default not in (None, (), False),
        }
        if entry.is_flag:
            arguments |= {"is_flag": True}
        else:
            arguments |= {"type": _Text(entry), "multiple": entry.is_list, "metavar": _metavar(entry)}
        super().__init__([*spellings, parameter or entry.name], **(arguments | more))

    def resolve_envvar_value(self, ctx: click.Context) -> None:  # noqa: ARG002 - click's signature
        """Leave the variable to the table."""
        return

    def consume_value(self, ctx: click.Context, opts: Mapping[str, Any]) -> tuple[Any, ParameterSource]:
        """Look at the environment and the file where the command line has nothing."""
        value, source = super().consume_value(ctx, opts)
        if source is ParameterSource.COMMANDLINE:
            return value, source
        found = _found(ctx)
        where = found.has(self.entry)
        if where is None:
            return value, source
        try:
            read = found.value(self.entry)
        except SettingsError as error:
            raise usage_error(error, ctx) from None
        return read, (ParameterSource.ENVIRONMENT if where == "environment" else ParameterSource.DEFAULT_MAP)


class _Text(click.ParamType):  # type: ignore[type-arg] # click 8.1 has no such argument
    """The type of an option that has a value."""

    def __init__(self, entry: settings.Option) -> None:
        self.name = entry.metavar or "text"
        self._entry = entry

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read text; what the environment or the file gave was read already."""
        if not isinstance(value, str):
            return value
        try:
            return self._entry.read(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)

    def shell_complete(
        self,
        ctx: click.Context,
        param: click.Parameter,
        incomplete: str,
    ) -> list[CompletionItem]:
        """Complete one of the choices, or the name of a file, directory or cassette."""
        if self._entry.completes == "cassette":
            return complete_cassette(ctx, param, incomplete)
        if self._entry.completes:
            return [CompletionItem(incomplete, type=self._entry.completes)]
        return [CompletionItem(one) for one in self._entry.choices if one.startswith(incomplete)]


def _metavar(entry: settings.Option) -> str | None:
    if entry.choices:
        return f"[{'|'.join(entry.choices)}]"
    if entry.metavar is None:
        return "INTEGER" if isinstance(entry.default, int) else "TEXT"
    return entry.metavar


def table_option(name: str, **more: Any) -> Callable[[F], F]:
    """Give a command the option `name` of the table; `more` are arguments of `TableOption`."""

    def decorate(command: F) -> F:
        parameters = getattr(command, "__click_params__", [])  # where click.option puts them too
        parameters.append(TableOption(OPTIONS[name], **more))
        command.__click_params__ = parameters  # type: ignore[attr-defined] # a function takes any
        return command

    return decorate


def settings_options(name: Command) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give the command `name` its options of the table; it gets them as its first argument, `Settings`."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        entries = options_of(name)

        @functools.wraps(command)
        def wrapped(**values: Any) -> Any:
            own = {entry.name: values.pop(entry.name) for entry in entries}
            try:
                read = settings.with_environment(own, os.environ)
            except SettingsError as error:
                raise usage_error(error, click.get_current_context()) from None
            return command(read, **values)

        for entry in reversed(entries):
            table_option(entry.name)(wrapped)
        return wrapped

    return decorate


def complete_cassette(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of a cassette in the directory that the command line, or a setting, names."""
    from ringback.cassettes.files import cassette_names  # noqa: PLC0415 - only for a completion

    directory = ctx.params.get("directory") or ctx.params.get("cassettes")
    if directory is None:
        try:
            directory = _found(ctx).value(OPTIONS["cassettes"])
        except (SettingsError, click.UsageError):
            return []
    return [CompletionItem(name) for name in cassette_names(Path(directory)) if name.startswith(incomplete)]


def complete_resource(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of a resource that the contract has."""
    from ringback import contract  # noqa: PLC0415 - only for a completion

    names = [one.resource for one in contract.load().resources]
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def complete_rule(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of one of the documentation's claims."""
    from ringback.drift.claims import ClaimSet  # noqa: PLC0415 - only for a completion

    names = sorted(ClaimSet().claims)
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def usage_error(error: SettingsError, context: click.Context | None) -> click.UsageError:
    """Make a usage error, exit code 2, that names the option, the variable or the key of the file."""
    if not error.place:
        return click.UsageError(error.cause, context)
    return click.UsageError(f"Invalid value for '{error.place}': {error.cause}", context)


def _found(context: click.Context) -> Outside:
    root = context.find_root()
    if _OUTSIDE not in root.meta:
        try:
            root.meta[_OUTSIDE] = outside(os.environ, Path.cwd())
        except SettingsError as error:
            raise usage_error(error, context) from None
    found: Outside = root.meta[_OUTSIDE]
    return found


def argued(parameters: Iterable[str]) -> list[str]:
    """Return those of `parameters` that the command line has, as options; none where no command runs.

    Whoever sets a variable means every run, so nobody is told that this one has no use for it.
    """
    return list(_written(parameters, _ARGUED).values())


def as_words(parameters: Iterable[str]) -> list[str]:
    """Return those of `parameters` that were given in any way, as a command line gives them."""
    words: list[str] = []
    for name, option in _written(parameters, _GIVEN).items():
        value = click.get_current_context().params[name]
        if isinstance(value, bool):
            words += [option] if value else []
            continue
        for one in value if isinstance(value, tuple) else (value,):
            words += [option, str(one)]
    return words


def _written(parameters: Iterable[str], sources: Container[ParameterSource | None]) -> dict[str, str]:
    """Return those of `parameters` whose value comes from one of `sources`, each with its option."""
    context = click.get_current_context(silent=True)
    if context is None:
        return {}
    options = {
        one.name: next((spelling for spelling in one.opts if spelling.startswith("--")), one.opts[0])
        for one in context.command.params
    }
    return {name: options[name] for name in parameters if context.get_parameter_source(name) in sources}


def unread_variables(names: Iterable[str]) -> list[str]:
    """A sentence for each of `names` that begins like Ringback's and is none."""
    plain = [name.removeprefix(PREFIX) for name in READ_VARIABLES]
    warnings = []
    for name in sorted(names):
        # The shells' completion has a name that begins with an underscore.
        if not name.startswith(PREFIX) or name in READ_VARIABLES or name.startswith(_FAMILIES):
            continue
        from difflib import get_close_matches  # noqa: PLC0415 - slow to import, and only for a mistake

        near = get_close_matches(name.removeprefix(PREFIX), plain, 1)
        advice = f"did you mean {PREFIX}{near[0]}?" if near else "see `ringback run --help`"
        warnings.append(f"{name} is set, but nothing reads it: {advice}")
    return warnings
