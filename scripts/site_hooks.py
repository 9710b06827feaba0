"""Hooks of mkdocs: links from the pages to files that are not in docs/."""

from __future__ import annotations

import os
import posixpath
import re
from typing import Any

_LINK = re.compile(r"\[([^\]]*)\]\(((?:\.\./)+[^)\s#]+)(#[^)\s]*)?\)")


def repository() -> str:
    """The address of the repository in a browser, without a slash at its end; empty if nobody told it.

    A workflow of GitHub tells it.
    """
    host, name = os.environ.get("GITHUB_SERVER_URL", ""), os.environ.get("GITHUB_REPOSITORY", "")
    return f"{host}/{name}" if host and name else ""


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let links out of docs/ lead into the repository, or be plain text where it has no address."""
    folder = posixpath.dirname(page.file.src_uri)

    def replace(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join("docs", folder, link[2]))
        if target.startswith("docs/"):
            return link[0]
        if not repository():
            return f"{link[1]} (`{target}`)" if target not in link[1] else link[1]
        return f"[{link[1]}]({repository()}/blob/main/{target}{link[3] or ''})"

    return _LINK.sub(replace, markdown)
