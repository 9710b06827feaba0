"""The README says what is true: its table, commands, options and files are held to the code."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from ringback.cli import COMMANDS, ringback
from ringback.contract import load
from ringback.contract.listing import markdown
from support.clients import send
from support.launching import needs
from support.product import CACHE, Product, alone_in, product
from support.sdks import node_sdk, python_sdk

__all__ = ["product"]

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_table_of_magic_inputs_is_the_contract() -> None:
    shown = README.partition("<!-- generated: ringback contract --markdown -->\n")[2].partition(
        "<!-- end -->"
    )[0]
    assert shown == markdown(load()), "paste the output of: ringback contract --markdown"


def test_the_example_of_own_rows_is_one(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(README.partition("```yaml\n")[2].partition("```")[0])
    own = load([file])
    form = {"To": "+14105550123", "Body": "hi"}
    for sender in ({"From": "+14105550100"}, {"MessagingServiceSid": "MG" + "0" * 32}):
        assert send("Messages", {**form, **sender}, contract=own).status == 201
    assert (
        send("Messages", {**form, "From": "+15005550006", "To": "+15005550010"}, contract=own).status == 400
    )


def test_the_table_has_the_pages_24_rows() -> None:
    assert len(markdown(load()).splitlines()) == 24 + 2


@pytest.mark.slow
def test_the_table_of_planted_changes_is_what_the_command_prints() -> None:
    command = "scripts/drift_self_check.py"
    page = (ROOT / "docs" / "drift.md").read_text(encoding="utf-8")
    shown = page.partition(f"<!-- generated: python3 {command} -->\n")[2].partition("<!-- end -->")[0]
    done = subprocess.run(
        [sys.executable, str(ROOT / command)], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert shown == done.stdout, f"paste the output of: python3 {command}"


@pytest.mark.parametrize(
    "name", sorted(set(re.findall(r"ringback ([a-z]+)\b(?! is)", README)) & set(COMMANDS))
)
def test_commands_it_names_can_be_called(name: str) -> None:
    command = ringback.get_command(click.Context(ringback), name)
    assert command is not None


def test_every_command_is_named() -> None:
    assert [name for name in COMMANDS if f"ringback {name}" not in README] == []


def test_options_it_names_exist() -> None:
    known = {
        option
        for name in COMMANDS
        for parameter in _parameters(ringback.get_command(click.Context(ringback), name))
        for option in (*parameter.opts, *parameter.secondary_opts)
    }
    known |= {"--every-python", "--help", "--ringback", "--set", "--test"}  # of pytest, node, …
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", README))
    assert named - known == set()


def test_files_it_names_exist() -> None:
    named = {*re.findall(r"\]\(([^)#:]+)\)", README), *re.findall(r"python3 (\S+\.py)", README)}
    assert [name for name in named if not (ROOT / name).exists()] == []


def _parameters(command: click.Command | None) -> list[click.Parameter]:
    assert command is not None
    found = list(command.params)
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            found += _parameters(command.get_command(click.Context(command), name))
    return found


@pytest.mark.parametrize(
    "language, name, head",
    [("python", "test_sms.py", '"""\n\n'), ("js", "sms.test.js", "\n"), ("go", "sms_test.go", "\n")],
)
def test_the_first_tests_are_the_examples(language: str, name: str, head: str) -> None:
    shown = README.partition(f"```{language}\n")[2].partition("```")[0]
    file = (ROOT / "examples" / name).read_text(encoding="utf-8")
    assert shown.strip() == file.partition(head)[2].strip()


@pytest.mark.slow
def test_the_first_test_in_node_passes(product: Product, tmp_path: Path) -> None:
    sdk = node_sdk("6")
    (tmp_path / "sms.test.js").write_bytes((ROOT / "examples" / "sms.test.js").read_bytes())
    done = product.run([sdk.runtime, "--test", "sms.test.js"], cwd=tmp_path, more=sdk.environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 Twilio requests answered" in done.stderr


@pytest.mark.slow
def test_the_first_test_in_go_passes(product: Product) -> None:
    go = needs("go")
    with alone_in(CACHE / "go" / "first-test") as place:
        (place / "sms_test.go").write_bytes((ROOT / "examples" / "sms_test.go").read_bytes())
        if not (place / "go.sum").is_file():
            (place / "go.mod").write_text("module ringback.test/shop\n\ngo 1.21\n")
            for command in (["get", "github.com/twilio/twilio-go@v1.31.0"], ["mod", "tidy"]):
                got = subprocess.run([go, *command], cwd=place, capture_output=True, text=True, check=False)
                if got.returncode:
                    (place / "go.sum").unlink(missing_ok=True)
                    pytest.skip(f"go {command[0]} cannot fetch twilio-go: {got.stderr.strip()[:300]}")
        done = product.run([go, "test", "./..."], cwd=place)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 Twilio requests answered" in done.stderr


@pytest.mark.slow
@pytest.mark.xdist_group("sdk-python")
def test_the_first_test_passes(product: Product, tmp_path: Path) -> None:
    sdk = python_sdk("9")
    test = tmp_path / "test_sms.py"
    test.write_text((ROOT / "examples" / "test_sms.py").read_text(encoding="utf-8"), encoding="utf-8")
    done = product.run(
        [sys.executable, "-W", "ignore", "-m", "pytest", "-q", test],
        cwd=tmp_path,
        more=sdk.environment,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
    assert "2 Twilio requests answered" in done.stderr


def test_shell_blocks_name_commands_and_files_that_exist() -> None:
    lines = [
        line.removeprefix("$ ").partition("  #")[0].split()
        for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL)
        for line in block.splitlines()
    ]
    assert len(lines) > 5
    for words in lines:
        if words[0] == "ringback":
            assert words[1] in COMMANDS
        assert [
            word for word in words if re.fullmatch(r"[\w.-]+/[\w./-]+", word) and not (ROOT / word).exists()
        ] == []
