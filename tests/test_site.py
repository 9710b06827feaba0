"""The documentation as a site: it builds strictly, loads nothing from elsewhere, and its commands run."""

from __future__ import annotations

import asyncio
import http.server
import re
import shlex
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest

from ringback.cli import COMMANDS, ringback
from support.chromium import chromium, program
from support.proxying import environment
from support.scripts import script
from support.sdks import python_sdk

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md"), ROOT / "plugins" / "pytest" / "README.md"])
INSTALLS = {"pip", "pipx", "uv"}  # programs that a test does not start: they install what is here already


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
            wide = asyncio.run(_overflowing(f"http://127.0.0.1:{server.server_address[1]}"))
        finally:
            server.shutdown()
            thread.join()
    assert wide == {}


async def _overflowing(url: str) -> dict[str, Any]:
    found = {}
    async with chromium(f"{url}/index.html") as page:
        for width in (1280, 390):
            await page.size(width, 900)
            for name in ("", "tutorial/", "reference/", "commands/", "errors/", "clients/"):
                page.loaded.clear()
                await page.open(f"{url}/{name}")
                moved = await page.value("(window.scrollTo(9999, 0), window.scrollX)")
                if moved:
                    found[f"{name} at {width}"] = moved
        assert page.troubles == []
        assert [one for one in page.requests if not one.startswith((url, "data:", "about:"))] == []
    return found


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves files without a line for each."""

    def log_message(self, *_: object) -> None:
        pass


def _blocks(page: Path) -> list[str]:
    """The commands of a page's console blocks, lines that go on joined."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```console\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]


@pytest.mark.parametrize("page", [page for page in PAGES if _blocks(page)], ids=lambda page: page.name)
def test_commands_in_console_blocks_are_commands(page: Path) -> None:
    commands = "\n".join(_blocks(page))
    done = subprocess.run(["bash", "-n"], input=commands, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    for words in _ringbacks(commands):
        _parse(ringback, words)


def _ringbacks(commands: str) -> Iterator[list[str]]:
    """The arguments of each call of `ringback`, also inside `$(…)` and behind `|`."""
    for call in re.findall(r"(?:^|[|;&(] *)ringback( [^|;&)\n]*)?", commands, re.MULTILINE):
        yield shlex.split(re.sub(r"[0-9]?>.*| -- .*", "", call), comments=True)


def _parse(command: click.Command, words: list[str]) -> None:
    below = script("reference").subcommands(command) if command is not ringback else {}
    if words and words[0] in below:
        _parse(below[words[0]], words[1:])
        return
    context = click.Context(command, info_name=command.name)
    rest = command.make_parser(context).parse_args(list(words))[1]
    if command is ringback and rest:
        name, child, after = command.resolve_command(context, [*rest])
        assert name in COMMANDS
        assert child is not None
        _parse(child, after)


def test_a_wrong_option_in_a_block_is_found() -> None:
    with pytest.raises(click.UsageError):
        _parse(ringback, ["serve", "--prot", "4010"])
    with pytest.raises(click.UsageError):
        _parse(ringback, ["srve"])


def _programs(folder: Path) -> Path:
    folder.mkdir()
    calls = {"ringback": "-m ringback", "pytest": "-m pytest -p no:cacheprovider", "python": ""}
    for name, call in calls.items():
        file = folder / name
        file.write_text(f'#!/bin/sh\nexec "{sys.executable}" -W ignore {call} "$@"\n')
        file.chmod(0o755)
    return folder


def run_blocks(
    page: Path, home: Path, more: dict[str, str], without: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Run a page's commands in one shell, in a directory with the files that the page shows."""
    text = page.read_text(encoding="utf-8")
    for name, content in re.findall(r'^```\w+ title="([^"]+)"\n(.*?)^```', text, re.DOTALL | re.MULTILINE):
        (home / name).write_text(content)
    (home / "examples").symlink_to(ROOT / "examples")
    blocks = [line for line in _blocks(page) if line.split()[0] not in INSTALLS]
    lines = [line for line in blocks if not line.startswith(without)] if without else blocks
    variables = environment(home, more)
    variables["PATH"] = f"{_programs(home / 'bin')}:{variables['PATH']}"
    commands = ["set -e", *lines, "wait"]
    return subprocess.run(
        ["bash", "-c", "\n".join(commands)],
        cwd=home,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


@pytest.mark.slow
@pytest.mark.xdist_group("sdk-python")
def test_the_tutorial_runs_as_it_stands(tmp_path: Path) -> None:
    done = run_blocks(DOCS / "tutorial.md", tmp_path, python_sdk("9").environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"status": "queued"' in done.stdout
    assert '"code": 21614' in done.stdout
    assert "Messages.to.no-sms" in done.stdout  # explained
    assert "2 passed" in done.stdout
    assert done.stdout.count("POST Messages") + done.stdout.count("\tMessages\t") >= 4
    assert "Inbox: http://127.0.0.1:" in done.stderr


@pytest.mark.slow
@pytest.mark.xdist_group("sdk-python")
def test_the_readme_runs_as_it_stands(tmp_path: Path) -> None:
    """Its drift asks a mock upstream in the live API's place."""
    mock = subprocess.Popen(
        [sys.executable, "-m", "ringback", "mock-upstream", "--port", "0", "--quiet"],
        env=environment(tmp_path),
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert mock.stderr is not None
        found = re.search(r"http://127\.0\.0\.1:\d+", mock.stderr.readline())
        assert found
        account = {"RINGBACK_TEST_ACCOUNT_SID": "AC" + "0" * 32, "RINGBACK_TEST_AUTH_TOKEN": "anytoken"}
        home = tmp_path / "home"
        home.mkdir()
        more = {**python_sdk("9").environment, **account, "RINGBACK_UPSTREAM": found[0]}
        done = run_blocks(ROOT / "README.md", home, more, without=("python3 scripts/try.py",))
    finally:
        mock.terminate()
        mock.communicate(timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
    assert '"body": "All in the game"' in done.stdout.replace('":"', '": "')
    assert "no drift" in done.stdout
    assert (home / "drift.html").is_file()


@pytest.mark.slow
def test_the_page_of_ci_runs_as_it_stands(tmp_path: Path) -> None:
    done = run_blocks(DOCS / "ci.md", tmp_path, {})
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("201 CREATED   contract") == 2
    assert len((tmp_path / "requests.jsonl").read_text().splitlines()) == 3


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
