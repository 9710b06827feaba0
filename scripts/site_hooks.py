"""Hooks of mkdocs: pages that the navigation forgets, and links to files that are not in docs/."""

from __future__ import annotations

import os
import posixpath
import re
from typing import Any

from mkdocs.utils import get_relative_url

_LINK = re.compile(r"\[([^\]]*)\]\(((?:\.\./)+[^)\s#]+)(#[^)\s]*)?\)")
_IMAGE = re.compile(r'(<img src=")(?![a-z]+:|/)([^"]+)')


def repository() -> str:
    """The address of the repository in a browser, without a slash at its end; empty if nobody told it.

    A workflow of GitHub tells it.
    """
    host, name = os.environ.get("GITHUB_SERVER_URL", ""), os.environ.get("GITHUB_REPOSITORY", "")
    return f"{host}/{name}" if host and name else ""


def on_files(files: Any, config: Any) -> None:
    """Put pages that nobody put into the navigation under "More"; decisions have a list of their own."""
    named = set(re.findall(r"[\w./-]+\.md", str(config.nav)))
    left = [page.src_uri for page in files.documentation_pages() if page.src_uri not in named]
    more = sorted(path for path in left if not re.match(r"decisions/\d", path))
    if more:
        config.nav.append({"More": more})


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let links out of docs/ lead into the repository, or be plain text where it has no address.

    The address of an image in HTML, which mkdocs leaves alone, becomes that of the page's place on the site.
    """
    folder = posixpath.dirname(page.file.src_uri)

    def replace(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join("docs", folder, link[2]))
        if target.startswith("docs/"):
            return link[0]
        if not repository():
            return f"{link[1]} (`{target}`)" if target not in link[1] else link[1]
        return f"[{link[1]}]({repository()}/blob/main/{target}{link[3] or ''})"

    def place(image: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, image[2]))
        return f"{image[1]}{get_relative_url(target, page.url)}"

    return _IMAGE.sub(place, _LINK.sub(replace, markdown))
