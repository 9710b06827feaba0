"""Shell blocks of the documentation: each one is run, or the line above it says why not."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlencode

import click
import pytest
import yaml

from ringback.cli import COMMANDS, ringback
from support.clients import http
from support.product import SID, TOKEN
from support.proxying import environment, requesting, serve
from support.scripts import script
from support.sdks import python_sdk

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(
    [
        *(page for page in DOCS.rglob("*.md") if page.name != "commands.md"),  # generated: help texts
        *ROOT.glob("*.md"),
        ROOT / "examples" / "README.md",
        ROOT / "plugins" / "pytest" / "README.md",
    ]
)
INSTALLS = {"pip", "pipx", "uv"}  # programs that a test does not start: they install what is here already
FORM = [("From", "+15005550006"), ("To", "+14105550101"), ("Body", "hi")]
URL = f"https://api.twilio.com/2010-04-01/Accounts/{SID}/Messages.json"
# Pages whose blocks run below, and those that other tests run.
HERE = {"README.md", "tutorial.md", "ci.md", "cassettes.md", "drift.md", "inbox.md"}
ELSEWHERE = {
    "README.ja.md": "tests/test_docs.py",  # its blocks are those of the English page
    "tutorial.ja.md": "tests/test_docs.py",
    "clients.md": "tests/launch/test_clients_page.py",
    "drift-recorded.md": "tests/drift/test_recordings.py",
    **{f"testing/{page.name}": "tests/test_testing_pages.py" for page in (DOCS / "testing").glob("*.md")},
}


class Block(NamedTuple):
    """A shell block.

    Attributes:
        text: Its lines.
        reason: Why it is not run; empty if it is.
    """

    text: str
    reason: str

    @property
    def commands(self) -> list[str]:
        """Its commands, lines that go on joined; what they print is left out."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]


def blocks(page: Path) -> list[Block]:
    """The shell blocks of a page."""
    text = page.read_text(encoding="utf-8")
    found = re.finditer(
        r"^(?:<!-- not run: ([^\n]*?) -->\n)?```(?:console|sh|bash|shell)\b[^\n]*\n(.*?)^```",
        text,
        re.DOTALL | re.MULTILINE,
    )
    return [Block(one[2], one[1] or "") for one in found]


def name(page: Path) -> str:
    """The name of a page, from docs/ on or from the checkout's root."""
    return str(page.relative_to(DOCS if page.is_relative_to(DOCS) else ROOT))


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=name)
def test_every_block_is_run_or_says_why_not(page: Path) -> None:
    if name(page) in HERE:
        return
    if name(page) in ELSEWHERE:
        assert page.name.partition(".")[0] in (ROOT / ELSEWHERE[name(page)]).read_text(encoding="utf-8")
        return
    assert [block.text for block in blocks(page) if not block.reason] == []


def test_reasons_stand_only_where_a_block_follows() -> None:
    for page in PAGES:
        reasons = [block.reason for block in blocks(page) if block.reason]
        assert page.read_text(encoding="utf-8").count("<!-- not run: ") == len(reasons), page
        assert all(len(reason) > 10 for reason in reasons)


def _commands(page: Path) -> list[str]:
    return [line for block in blocks(page) for line in block.commands]


@pytest.mark.parametrize("page", [page for page in PAGES if _commands(page)], ids=name)
def test_commands_in_console_blocks_are_commands(page: Path) -> None:
    commands = "\n".join(_commands(page))
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
    """`ringback`, `python` and `pytest`; pytest as a newcomer has it, without the tests' plugins."""
    folder.mkdir()
    plain = "-p no:cacheprovider -p no:timeout -p no:xdist"
    calls = {"ringback": "-m ringback", "pytest": f"-m pytest {plain}", "python": "", "python3": ""}
    for program, call in calls.items():
        file = folder / program
        file.write_text(f'#!/bin/sh\nexec "{sys.executable}" -W ignore {call} "$@"\n')
        file.chmod(0o755)
    return folder


def checkout(home: Path) -> Path:
    """Give a directory what a checkout has of files that a page's commands read, pytest's settings too."""
    shutil.copytree(
        ROOT / "examples", home / "examples", ignore=shutil.ignore_patterns("node_modules", "dist")
    )
    shutil.copy(ROOT / "pyproject.toml", home)
    return home


def run_blocks(
    page: Path, home: Path, more: Mapping[str, str], replaced: Mapping[str, str] | None = None, end: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a page's commands in one shell, in a checkout's directory with the files that the page shows.

    Args:
        page: The page.
        home: The directory.
        more: Further variables.
        replaced: What stands in a command for the reader's own, such as a port, and what a test has there.
        end: A command that ends what the page leaves running; it is waited for without.
    """
    text = page.read_text(encoding="utf-8")
    for file, content in re.findall(r'^```\w+ title="([^"]+)"\n(.*?)^```', text, re.DOTALL | re.MULTILINE):
        (home / file).write_text(content)
    checkout(home)
    lines = [line for block in blocks(page) if not block.reason for line in block.commands]
    commands = "\n".join(line for line in lines if line.split()[0] not in INSTALLS)
    for old, new in (replaced or {}).items():
        assert old in commands, old
        commands = commands.replace(old, new)
    variables = environment(home, more)
    variables["PATH"] = f"{_programs(home / 'bin')}:{variables['PATH']}"
    told = home / "told"
    told.mkdir()
    with (told / "out").open("wb") as out, (told / "err").open("wb") as err:
        shell = subprocess.Popen(
            ["bash", "-c", f"set -e\n{commands}\n{end or 'wait'}"],
            cwd=home,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        try:
            code = shell.wait(timeout=240)
        finally:
            with suppress(ProcessLookupError):  # what a command that failed has left running
                os.killpg(shell.pid, signal.SIGKILL)
            shell.wait(timeout=60)
    return subprocess.CompletedProcess(commands, code, (told / "out").read_text(), (told / "err").read_text())


@pytest.fixture
def mock(tmp_path: Path) -> Iterator[str]:
    """The address of a mock upstream, which takes the live API's place."""
    command = [sys.executable, "-m", "ringback", "mock-upstream", "--port", "0", "--quiet"]
    process = subprocess.Popen(command, env=environment(tmp_path), stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        found = re.search(r"http://127\.0\.0\.1:\d+", process.stderr.readline())
        assert found
        yield found[0]
    finally:
        process.terminate()
        process.communicate(timeout=60)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.mark.slow
@pytest.mark.xdist_group("sdk-python")
def test_the_tutorial_runs_as_it_stands(home: Path) -> None:
    done = run_blocks(DOCS / "tutorial.md", home, python_sdk("9").environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"status": "queued"' in done.stdout
    assert '"code": 21614' in done.stdout
    assert "Messages.to.no-sms" in done.stdout  # explained
    assert "2 passed" in done.stdout
    assert done.stdout.count("POST Messages") + done.stdout.count("\tMessages\t") >= 4
    assert "Inbox: http://127.0.0.1:" in done.stderr


@pytest.mark.slow
@pytest.mark.xdist_group("sdk-python")
def test_the_readme_runs_as_it_stands(home: Path, mock: str) -> None:
    account = {"RINGBACK_TEST_ACCOUNT_SID": "AC" + "0" * 32, "RINGBACK_TEST_AUTH_TOKEN": "anytoken"}
    done = run_blocks(
        ROOT / "README.md", home, {**python_sdk("9").environment, **account, "RINGBACK_UPSTREAM": mock}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
    assert '"body": "All in the game"' in done.stdout.replace('":"', '": "')
    assert "no drift" in done.stdout
    assert (home / "drift.html").is_file()


@pytest.mark.slow
def test_the_page_of_ci_runs_as_it_stands(home: Path) -> None:
    done = run_blocks(DOCS / "ci.md", home, {})
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("201 CREATED   contract") == 2
    assert len((home / "requests.jsonl").read_text().splitlines()) == 3


@pytest.mark.slow
def test_the_page_of_cassettes_runs_as_it_stands(home: Path) -> None:
    recorded = (ROOT / "cassettes" / "documentation.yaml").read_text(encoding="utf-8")
    theirs = {
        "request": {"method": "post", "uri": URL, "body": {"string": urlencode(FORM)}, "headers": {}},
        "response": {
            "status": {"code": 201, "message": "CREATED"},
            "headers": {"Content-Type": ["application/json"]},
            "body": {"string": "{}"},
        },
        "recorded_at": "Thu, 26 Nov 2026 10:00:00 GMT",
    }
    ruby = yaml.safe_dump({"http_interactions": [theirs], "recorded_with": "VCR 6.2.0"})
    for file, content in {
        "cassettes/default.yaml": recorded,
        "other/default.yaml": recorded,
        "theirs/twilio.yml": ruby,
    }.items():
        (home / file).parent.mkdir(exist_ok=True)
        (home / file).write_text(content, encoding="utf-8")
    done = run_blocks(DOCS / "cassettes.md", home, {})
    assert done.returncode == 0, done.stdout + done.stderr
    assert (home / "default.har").is_file()
    assert {file.name for file in (home / "cassettes").glob("*.yaml")} >= {
        "default.yaml",
        "documentation.yaml",
        "signup.yaml",
    }


@pytest.mark.slow
def test_the_page_of_drift_runs_as_it_stands(home: Path, mock: str) -> None:
    replaced = {
        "AC... RINGBACK_TEST_AUTH_TOKEN=...": f"{SID} RINGBACK_TEST_AUTH_TOKEN={TOKEN}",
        "ringback mock-upstream &": "true &",  # it runs, at a port of the kernel's choice
        "http://127.0.0.1:4010": mock,
        "-- pytest": "-- python first.py",
        "s3://acme/drift": "history",  # a directory, as the page says
    }
    (home / "first.py").write_text(
        requesting(FORM).replace("'AC' + '0' * 32", repr(SID)).replace(":t'", ":any'")
    )
    more = {"RINGBACK_UPSTREAM": mock}
    done = run_blocks(DOCS / "drift.md", home, more, replaced)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("no drift in") == 4
    assert "\n201\n" in done.stdout
    assert (home / "drift-history.html").is_file()
    assert "0123456789ab" in (home / "drift-accepted.yaml").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_page_of_the_inbox_runs_as_it_stands(home: Path, tmp_path: Path) -> None:
    form = {**dict(FORM), "Body": "Your code is 123456", "StatusCallback": "http://127.0.0.1:9/nobody"}
    with serve(tmp_path, tmp_path, "--callbacks", "--callbacks-hold") as running:
        sent = running.ask(http(form=form))
        assert sent.status == 201, sent
        replaced = {
            "http://127.0.0.1:8080": running.url,
            "SM...": sent.json()["sid"],
            "ringback requests -f --code 21211 ": "ringback requests -f --code 21211 & ",  # goes on
            "ringback stop": "true",  # the fixture stops it; the tutorial has this command too
        }
        more = {"RINGBACK_HOME": str(tmp_path / "ringback")}  # that of the proxy
        done = run_blocks(DOCS / "inbox.md", home, more, replaced, end="kill $(jobs -p)")
        assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("Your code is 123456") >= 3
