"""Build hook: the plugin's two modules are Ringback's own, and an sdist has them beside this file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

MODULES = {"pytest_ringback.py": "pytest_plugin.py", "ringback_testing.py": "testing.py"}


class ModuleHook(BuildHookInterface):  # type: ignore[type-arg] # older versions of hatchling take no argument
    """Adds the modules, under the names that they are imported by here."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's signature
        """Name the files to include, from a checkout or from an sdist."""
        here = Path(self.root)
        for name, file in MODULES.items():
            unpacked = here / name
            source = unpacked if unpacked.is_file() else here.parents[1] / "proxy" / "ringback" / file
            build_data["force_include"][str(source)] = name


class AddressHook(MetadataHookInterface):
    """Fills `urls`, where a workflow of GitHub's tells the repository's address."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set them in the project's table."""
        host, name = os.environ.get("GITHUB_SERVER_URL", ""), os.environ.get("GITHUB_REPOSITORY", "")
        if host and name:
            metadata["urls"] = {"Homepage": f"{host}/{name}", "Issues": f"{host}/{name}/issues"}
