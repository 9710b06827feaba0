"""Build hook: the plugin's one module is `ringback.pytest_plugin`, and an sdist has it beside this file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MODULE = "pytest_ringback.py"


class ModuleHook(BuildHookInterface):  # type: ignore[type-arg] # older versions of hatchling take no argument
    """Adds the module, under the name that it is imported by here."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's signature
        """Name the file to include, from a checkout or from an sdist."""
        here = Path(self.root)
        unpacked = here / MODULE
        checkout = here.parents[1] / "proxy" / "ringback" / "pytest_plugin.py"
        source = unpacked if unpacked.is_file() else checkout
        build_data["force_include"][str(source)] = MODULE
