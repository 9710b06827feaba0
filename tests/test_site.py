"""The documentation as a site: it builds strictly, loads nothing from elsewhere, and fits its windows."""

from __future__ import annotations

import asyncio
import http.server
import re
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from support.chromium import chromium, program
from support.scripts import script

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"

# What the theme's button copies of the first block with a prompt.
COPIED = """(() => {
    const block = document.querySelector("code .gp").closest("code")
    block.setAttribute("data-md-copying", "")
    return block.innerText
})()"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-W", "ignore", "-m", "mkdocs", "build", "--strict", "--site-dir", str(target)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return target


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    loading = re.compile(r"<(?:script|img|link rel=\"?stylesheet\"?)[^>]+(?:src|href)=\"?https?:[^\s>]+")
    assert {str(page): found for page in pages if (found := loading.findall(page.read_text()))} == {}


def test_what_a_page_loads_or_links_to_on_the_site_is_there(site: Path) -> None:
    """Images in HTML too, which mkdocs does not look at."""
    dead = []
    for page in site.rglob("*.html"):
        for target in re.findall(r"(?:src|href)=\"?([^\"\s>]+)", page.read_text(encoding="utf-8")):
            path = re.split("[?#]", target)[0]
            place = site / path.lstrip("/") if path.startswith("/") else page.parent / path
            if path and not re.match(r"[a-z]+:|//", path) and not place.exists():
                dead.append((str(page.relative_to(site)), target))
    assert dead == []


def test_every_page_is_in_the_navigation(site: Path) -> None:
    index = (site / "index.html").read_text(encoding="utf-8")
    pages = [page for page in DOCS.rglob("*.md") if not re.match(r"\d", page.name)]
    names = {str(page.relative_to(DOCS).with_suffix("")).removesuffix("README") for page in pages}
    linked = set(re.findall(r"href=\"?([\w./-]+?)/?[\"> ]", index))
    assert sorted(name.strip("/") for name in names - {"index"} if name.strip("/") not in linked) == []


def test_pages_fit_wide_and_narrow_windows(site: Path) -> None:
    program()
    serve = partial(QuietHandler, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            names = sorted(
                {
                    str(page.parent.relative_to(site))
                    for page in site.rglob("index.html")
                    if "decisions" not in page.parts
                }
            )
            assert len(names) > 25
            wide = asyncio.run(_overflowing(f"http://127.0.0.1:{server.server_address[1]}", names))
        finally:
            server.shutdown()
            thread.join()
    assert wide == {}


async def _overflowing(url: str, names: list[str]) -> dict[str, Any]:
    found = {}
    async with chromium(f"{url}/index.html") as page:
        for width in (1280, 390):
            await page.size(width, 900)
            for name in names if width < 1000 else names[::7]:  # what is too wide is so on a phone first
                page.loaded.clear()
                await page.open(f"{url}/{name}/")
                moved = await page.value("(window.scrollTo(9999, 0), window.scrollX)")
                if moved:
                    found[f"{name} at {width}"] = moved
                if name == "tutorial":
                    copied = await page.value(COPIED)
                    assert copied.split()[:2] == ["pipx", "install"], copied
        assert page.troubles == []
        assert [one for one in page.requests if not one.startswith((url, "data:", "about:"))] == []
    return found


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves files without a line for each."""

    def log_message(self, *_: object) -> None:
        pass


def test_links_out_of_the_documentation_lead_into_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    hooks = script("site_hooks")
    page = type("Page", (), {"file": type("File", (), {"src_uri": "decisions/0001.md"})})
    text = "[a](../../README.md#modes), [b](../performance.md), [c](https://example.org/../x)"
    monkeypatch.delenv("GITHUB_REPOSITORY", raising=False)
    kept = ", [b](../performance.md), [c](https://example.org/../x)"
    assert hooks.on_page_markdown(text, page=page) == f"a (`README.md`){kept}"
    monkeypatch.setenv("GITHUB_SERVER_URL", "https://example.org")
    monkeypatch.setenv("GITHUB_REPOSITORY", "somebody/ringback")
    linked = f"[a](https://example.org/somebody/ringback/blob/main/README.md#modes){kept}"
    assert hooks.on_page_markdown(text, page=page) == linked
