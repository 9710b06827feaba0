"""Which options of the running command were given: on the command line, or by the environment too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

_ARGUED: Final = (ParameterSource.COMMANDLINE,)
_GIVEN: Final = (*_ARGUED, ParameterSource.ENVIRONMENT)


class Option(click.Option):
    """An option whose errors name the variable where the wrong value came by that."""

    def get_error_hint(self, ctx: click.Context | None) -> str:
        """The option as it is written, or the variable that was set in its place."""
        if ctx and self.name and ctx.get_parameter_source(self.name) is ParameterSource.ENVIRONMENT:
            return f"'{self.envvar}'"
        return super().get_error_hint(ctx)


def argued(parameters: Iterable[str]) -> list[str]:
    """Those of `parameters` that the command line has, as options; none where no command runs.

    Whoever sets a variable means every run, so nobody is told that this one has no use for it.
    """
    return list(_written(parameters, _ARGUED).values())


def as_words(parameters: Iterable[str]) -> list[str]:
    """Those of `parameters` that were given in either way, as a command line gives them."""
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
    """Those of `parameters` whose value comes from one of `sources`, each with its option."""
    context = click.get_current_context(silent=True)
    if context is None:
        return {}
    options = {one.name: one.opts[0] for one in context.command.params}
    return {name: options[name] for name in parameters if context.get_parameter_source(name) in sources}
