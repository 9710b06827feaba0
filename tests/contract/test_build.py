from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ringback.contract import ContractError, load, yaml_files
from ringback.contract.schema import BUILT, Shipped
from ringback.contract.yaml_files import too_deep


def test_the_file_that_is_read_at_start_is_built_from_those_that_people_write() -> None:
    advice = "run python -m ringback.contract.yaml_files"
    assert BUILT.read_bytes() == yaml_files.built(), advice


def test_it_says_what_the_yaml_files_say() -> None:
    assert msgspec.json.decode(yaml_files.built())["resources"][0]["magic"][0]["value"] == "+15005550001"
    assert load().errata


@pytest.mark.parametrize(
    "wrong, said",
    [
        ("magic: 1", "messages.yaml:1: "),
        ("[" * 9999, "nested too deeply"),
        ("a: 1\na: 2", "is there twice"),
    ],
)
def test_a_mistake_in_a_yaml_file_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str, said: str
) -> None:
    data = Path(shutil.copytree(yaml_files.DATA, tmp_path / "data"))
    (data / "messages.yaml").write_text(wrong)
    monkeypatch.setattr(yaml_files, "DATA", data)
    with pytest.raises(ContractError, match=r"messages\.yaml") as caught:
        yaml_files.built()
    assert said in str(caught.value)


# -- entries that are called documented

SHIPPED = msgspec.json.decode(BUILT.read_bytes(), type=Shipped)


def edited(path: str, **changes: Any) -> Shipped:
    """The shipped data with `changes` in the entry at `path`, e.g. `resources/1/magic/0`."""
    tree = msgspec.to_builtins(SHIPPED)
    place = tree
    for step in path.split("/"):
        place = place[int(step) if step.isdigit() else step]
    place.update(changes)
    return msgspec.convert(tree, Shipped)


def documented(tree: Any, path: str = "") -> list[str]:
    """The path of every entry that names a line and is called documented."""
    pairs: list[tuple[Any, Any]] = []
    if isinstance(tree, dict):
        pairs = list(tree.items())
    elif isinstance(tree, list | tuple):
        pairs = list(enumerate(tree))
    found = [each for key, inner in pairs for each in documented(inner, f"{path}/{key}")]
    named = isinstance(tree, dict) and "line" in tree and tree.get("basis", "documented") == "documented"
    silent = re.search(r"/(page|examples|errata)/|/resources/\d+$|/MessagingServiceSid$", path)
    return [*found, path.removeprefix("/")] if named and not silent else found


DOCUMENTED = documented(msgspec.to_builtins(SHIPPED))
UNSUPPORTED = [refusal.id for refusal in SHIPPED.gate.refusals].index("resource.unsupported")


def test_every_documented_entry_is_said_by_the_page() -> None:
    assert yaml_files.unsaid(SHIPPED) == []
    assert len(DOCUMENTED) > 90


@pytest.mark.parametrize("path", DOCUMENTED)
@pytest.mark.parametrize("line", [5, 844])  # what nothing costs; that live numbers cannot be From
def test_an_entry_that_cites_a_line_which_does_not_say_it_is_refused(path: str, line: int) -> None:
    """844 once stood for 21212, which that line does not promise."""
    (wrong,) = yaml_files.unsaid(edited(path, line=line))
    assert f"is documented, but line {line} says " in wrong


@pytest.mark.parametrize(
    "path, changes, said",
    [
        ("resources/0/magic/0", {"error": 21211}, "Messages from.invalid is documented, but line 849 says"),
        ("resources/0/magic/0", {"value": "+15005550009"}, "but line 849 says"),
        ("resources/0/magic/3", {"error": 21606}, "but line 852 says"),
        ("resources/1/magic/0", {"error": None}, "but line 1708 says"),
        ("resources/0/addresses/0", {"error": 21212}, "but line 853 says"),
        ("resources/0/addresses/3", {"basis": "documented"}, "but line None says"),
        ("resources/0/required/2", {"error": 21619}, "around line 1677 is no /code is 21619"),
        ("resources/0/refused/0", {"basis": "documented"}, "around line 842 is no .*21701"),
        ("resources/0/conditions/0", {"basis": "documented"}, "but line None says"),
        ("resources/2/parameters/PhoneNumber", {"error": 21422}, "around line 595 is no /code is 21422"),
        ("resources/0/parameters/MessagingServiceSid", {"passes": "documented"}, "(?!, except Messaging"),
        ("resources/0/parameters/SendAt", {"basis": "documented"}, "but line None says"),
        ("resources/1/answer/9", {"value": "x"}, "but line 1980 says"),
        ("resources/0/answer/9", {"value": "sent"}, "but line 1133 says"),
        ("resources/0/answer/0", {"json": "id"}, "but line 1125 says"),
        (f"gate/refusals/{UNSUPPORTED}", {"status": 401}, "but line 17 says"),
    ],
)
def test_an_entry_whose_claim_the_page_does_not_make_is_refused(
    path: str, changes: dict[str, Any], said: str
) -> None:
    assert said in "\n".join(yaml_files.unsaid(edited(path, **changes)))


def test_the_build_ends_with_the_entry_that_the_page_does_not_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = Path(shutil.copytree(yaml_files.DATA, tmp_path / "data"))
    text = (data / "messages.yaml").read_text()
    (data / "messages.yaml").write_text(text.replace("error: 21212, line: 849", "error: 21211, line: 849"))
    monkeypatch.setattr(yaml_files, "DATA", data)
    with pytest.raises(ContractError, match=r"Messages from\.invalid is documented, but line 849 says"):
        yaml_files.built()


def test_the_documented_contract_is_read_without_pyyaml() -> None:
    program = "import sys; from ringback.contract import load; load(); sys.exit('yaml' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


# -- nesting


@pytest.mark.parametrize(
    "text",
    [
        "interactions: " + "[" * 90_000,
        "magic: " + "{a: " * 90_000,
        "- " * 90_000,
        "\n".join(" " * level + "a:" for level in range(3_000)),
    ],
    ids=["sequences", "mappings", "dashes", "indentation"],
)
def test_what_would_end_the_parsers_stack(text: str) -> None:
    assert too_deep(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a: 1",
        "a: " + "[1], " * 3,
        "body: '" + "[" * 20_000 + "'",
        "a: [" + "[1], " * 6_000 + "[2]]",
        " " * 400 + "a: 1",
    ],
    ids=["empty", "scalar", "flat", "brackets in a text", "many side by side", "one far right"],
)
def test_what_is_only_large(text: str) -> None:
    assert not too_deep(text)
