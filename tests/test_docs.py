"""The documentation says what is true: links, paths, options, exit codes and headers are held to the code."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from ringback.cli import ringback
from ringback.drift.observation import KINDS
from ringback.settings import OPTIONS
from support.scripts import script

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "proxy" / "ringback"
FOUND = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "tests").rglob("README.md")]
PAGES = sorted(page for page in FOUND if ".cache" not in page.parts)  # packages that tests have installed
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
GENERATED = script("reference")
REFERENCE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_relative_links_lead_to_files_and_headings(name: str) -> None:
    page = ROOT / name
    dead = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path) if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            dead.append(target)
    assert dead == []


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of `page`."""
    heads = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("name", list(GENERATED.BLOCKS))
def test_the_tables_of_the_reference_are_the_codes(name: str) -> None:
    page, render = GENERATED.BLOCKS[name]
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    shown = text.partition(GENERATED.begin(name))[2].partition(GENERATED.END)[0]
    assert shown == render(), "run: python scripts/reference.py"


def test_the_man_page_is_the_codes() -> None:
    assert GENERATED.MAN.read_text(encoding="utf-8") == GENERATED.man_page(), (
        "run: python scripts/reference.py"
    )


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed here")
def test_the_man_page_is_roff() -> None:
    command = ["groff", "-man", "-Tutf8", str(GENERATED.MAN)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert "--cassettes" in done.stdout


def test_the_reference_has_every_key_of_the_configuration_file() -> None:
    assert [option.flag for option in OPTIONS.values() if f"`{option.flag}" not in REFERENCE] == []


def test_the_reference_has_every_variable_that_the_code_reads() -> None:
    sources = "".join(file.read_text(encoding="utf-8") for file in PACKAGE.rglob("*.py"))
    named = set(re.findall(r"[\"'](RINGBACK_[A-Z_]+[A-Z])[\"']", sources))
    assert named >= {"RINGBACK_HOME", "RINGBACK_COMMAND"}
    own = {"RINGBACK_ENV_BEFORE"}  # what `ringback env` keeps for itself
    assert sorted(name for name in named - own if f"`{name}`" not in REFERENCE) == []


def test_the_reference_has_every_exit_code_of_the_code() -> None:
    sources = "".join(file.read_text(encoding="utf-8") for file in PACKAGE.rglob("*.py"))
    codes = set(re.findall(r"^EXIT_\w+(?:: Final)? = (\d+)", sources, re.MULTILINE))
    assert len(codes) > 5
    section = REFERENCE.partition("## Exit codes")[2].partition("## ")[0]
    assert sorted(code for code in codes if not re.search(rf"\b{code}\b", section)) == []


def test_the_reference_has_every_kind_of_finding() -> None:
    section = REFERENCE.partition("## Findings of `drift`")[2]
    assert re.findall(r"^\| `(\w+)`", section, re.MULTILINE) == list(KINDS)


@pytest.mark.parametrize("name", ["run", "serve"])
def test_the_reference_has_every_exit_code_of_the_help_text(name: str) -> None:
    command = ringback.get_command(click.Context(ringback), name)
    assert command is not None
    codes = re.findall(r"^ *(\d+(?:\+n)?)  ", (command.help or "").partition("Exit codes")[2], re.MULTILINE)
    assert codes
    table = REFERENCE.partition("## Exit codes")[2].partition("## ")[0]
    assert [code for code in codes if not re.search(rf"\| (\d+, )*{re.escape(code)}[ ,]", table)] == []


def test_the_reference_has_every_header_that_answers_carry() -> None:
    sources = "".join(file.read_text(encoding="utf-8") for file in PACKAGE.rglob("*.py"))
    headers = set(re.findall(r"[\"'](Ringback-[A-Z][A-Za-z-]+)[\"']", sources))
    assert headers >= {"Ringback-Source", "Ringback-Reason"}
    assert [header for header in sorted(headers) if f"`{header}`" not in REFERENCE] == []


@pytest.mark.parametrize(
    "name, other", [("README.md", "README.ja.md"), ("docs/tutorial.md", "docs/tutorial.ja.md")]
)
def test_the_japanese_page_says_the_same(name: str, other: str) -> None:
    """Commands, programs, tables, headings and links; the sentences are for people to compare."""
    english, japanese = (_facts((ROOT / page).read_text(encoding="utf-8")) for page in (name, other))
    for fact, value in english.items():
        assert japanese[fact] == value, fact


def _facts(text: str) -> dict[str, list[str]]:
    blocks = re.findall(r"^```.*?^```$", text, re.MULTILINE | re.DOTALL)
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    links = [link.replace(".ja.md", ".md") for link in re.findall(r"\]\(([^)#]+)", prose)]
    return {
        "blocks": blocks,
        "headings": re.findall(r"^#+", prose, re.MULTILINE),
        "rows": [str(row.count("|")) for row in re.findall(r"^\|.*$", prose, re.MULTILINE)],
        "code": sorted(re.findall(r"`[^`\n]+`", prose)),
        "links": sorted(set(links) - {"README.md", "tutorial.md"}),
        "bullets": re.findall(r"^- ", prose, re.MULTILINE),
    }


def test_paths_that_the_architecture_names_exist() -> None:
    named = set(re.findall(r"`((?:[\w.-]+/)*[\w.-]+\.(?:py|yaml|json|md|toml)|(?:[\w.-]+/)+)`", ARCHITECTURE))
    places = (PACKAGE, ROOT)
    absent = [name for name in named if not any((place / name).exists() for place in places)]
    assert sorted(absent) == []
    assert len(named) > 40


def test_every_part_is_in_the_architecture() -> None:
    parts = {file.name for file in PACKAGE.glob("*.py")} - {"__init__.py", "__main__.py"}
    parts |= {f"{file.parent.name}/" for file in PACKAGE.glob("*/__init__.py")}
    assert sorted(part for part in parts if f"`{part}" not in ARCHITECTURE) == []


def test_paths_in_the_drawing_exist() -> None:
    drawing = ARCHITECTURE.partition("```text")[2].partition("```")[0]
    named = set(re.findall(r"[\w/]+\.py", drawing))
    assert sorted(name for name in named if not (PACKAGE / name).exists()) == []


def test_tests_that_the_security_page_names_exist() -> None:
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(tests/[^`]+)`", page))
    assert len(named) > 8
    assert sorted(name for name in named if not (ROOT / name).exists()) == []


def test_every_decision_is_in_the_list() -> None:
    folder = ROOT / "docs" / "decisions"
    listed = set(re.findall(r"\]\((\d{4}-[^)]+)\)", (folder / "README.md").read_text(encoding="utf-8")))
    assert listed == {file.name for file in folder.glob("[0-9]*.md")}


def test_the_index_of_test_helpers_is_complete() -> None:
    folder = ROOT / "tests" / "support"
    listed = re.findall(r"^\| `(\w+\.py)` \| \S", (folder / "README.md").read_text("utf-8"), re.MULTILINE)
    assert listed == sorted(file.name for file in folder.glob("*.py"))
