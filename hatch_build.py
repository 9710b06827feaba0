"""Metadata hook: the project's addresses, and a README whose links work on a package index.

The repository's address is not known here: GitHub's workflow tells it (GITHUB_SERVER_URL, GITHUB_REPOSITORY).
Without it, links to files of the repository become plain text.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|#)([^)\s]+)\)")


def repository() -> str:
    """The address of the repository in a browser; empty where nobody told it."""
    host, name = os.environ.get("GITHUB_SERVER_URL", ""), os.environ.get("GITHUB_REPOSITORY", "")
    return f"{host}/{name}" if host and name else ""


def absolute(text: str, version: str) -> str:
    """Let the links of a README lead into the repository at the version's tag."""

    def replace(link: re.Match[str]) -> str:
        image, words, target = link.groups()
        if not repository():
            return "" if image else words
        return f"{image}[{words}]({repository()}/{'raw' if image else 'blob'}/v{version}/{target})"

    return LINK.sub(replace, text)


class AddressHook(MetadataHookInterface):
    """Fills `readme` and `urls`."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set both in the project's table."""
        here = Path(self.root)
        code = (here / "proxy" / "ringback" / "__init__.py").read_text(encoding="utf-8")
        found = re.search(r'__version__ = "([^"]+)"', code)
        assert found
        text = absolute((here / "README.md").read_text(encoding="utf-8"), found[1])
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
        if repository():
            metadata["urls"] = {
                "Homepage": repository(),
                "Documentation": f"{repository()}/tree/v{found[1]}/docs",
                "Changelog": f"{repository()}/blob/v{found[1]}/CHANGELOG.md",
                "Issues": f"{repository()}/issues",
                "Source": repository(),
            }
