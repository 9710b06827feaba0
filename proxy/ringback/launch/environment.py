"""The child's environment: the parent's, extended so that every client reaches Twilio through the proxy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ringback.launch import common, dotnet, go, java, node, php, python, ruby, tools
from ringback.launch.bundles import Bundles
from ringback.launch.no_proxy import without_twilio
from ringback.launch.settings import Context, Proxy, place

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ringback.launch.ca import Authority

__all__ = ["RUNTIMES", "Launch", "Proxy", "prepare", "roots"]

RUNTIMES = (common, python, node, go, java, ruby, php, dotnet, tools)


@dataclass(frozen=True)
class Launch:
    """What a child needs.

    Attributes:
        environment: The child's whole environment.
        variables: What differs from the parent's, by name.
        removed: Variables of the parent that the child does not get.
        bundle: The usual roots and ours in one PEM file.
        directory: The directory that all files of this launch are in.
        warnings: Sentences for the person who runs the program.
    """

    environment: dict[str, str]
    variables: dict[str, str]
    removed: tuple[str, ...]
    bundle: Path
    directory: Path
    warnings: tuple[str, ...]


def roots(
    authority: Authority | Path, directory: Path, warn: Callable[[str], None] = lambda _: None
) -> Bundles:
    """What writes a launch's trust bundles into `directory`, with the CA's root beside them.

    Raises:
        OSError: The directory cannot be written.
    """
    root_pem = authority if isinstance(authority, Path) else authority.root_pem
    # A copy, so that a renewed CA does not change what a running child trusts.
    return Bundles(directory, place(directory / "root.pem", root_pem.read_bytes()), warn)


def prepare(proxy: Proxy, authority: Authority | Path, parent: Mapping[str, str], directory: Path) -> Launch:
    """Write what a child's runtimes read into `directory` and return the environment that points there.

    Args:
        proxy: The proxy, already listening or about to.
        authority: The CA that it signs with, or the PEM file of its root.
        parent: The environment to extend; what it says goes on to hold for every host but Twilio's.
        directory: An existing directory of the caller's, who removes it when the child has ended.

    Raises:
        OSError: The directory cannot be written.
    """
    warnings: list[str] = []
    directory = directory.absolute()
    bundles = roots(authority, directory, warnings.append)
    context = Context(
        proxy, bundles.root, parent, directory, bundles, without_twilio(parent), warnings.append
    )

    variables: dict[str, str] = {}
    removed: list[str] = []
    for runtime in RUNTIMES:
        for setting in runtime.SETTINGS:
            old = parent.get(setting.name, "")
            value = setting.value(context, old)
            if value is None:
                removed += [setting.name] if setting.name in parent else []
            elif value != parent.get(setting.name):
                variables[setting.name] = value
    kept = {name: value for name, value in parent.items() if name not in removed}
    return Launch(
        environment=kept | variables,
        variables=variables,
        removed=tuple(removed),
        bundle=bundles.default,
        directory=directory,
        warnings=tuple(dict.fromkeys(warnings)),
    )
