import ast
from pathlib import Path

import pytest
from click.testing import CliRunner

import ringback
from ringback.cli import ringback as program
from ringback.cli.setup import SCRIPT, script_path


def test_prints_the_scripts_path_and_nothing_else() -> None:
    got = CliRunner().invoke(program, ["addon"])
    assert got.exit_code == 0
    script = Path(got.stdout.removesuffix("\n"))
    assert script == script_path()
    assert script.name == SCRIPT
    assigned = [node for node in ast.parse(script.read_text()).body if isinstance(node, ast.Assign)]
    assert [ast.unparse(node) for node in assigned] == ["addons = [RingbackAddon()]"]


@pytest.mark.parametrize("version, warned", [("11.0.2", True), ("11.1.2", False), ("12.1.0.dev", False)])
def test_warns_of_mitmwebs_known_hole(version: str, warned: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda _: version)
    got = CliRunner().invoke(program, ["addon"])
    assert ("CVE-2025-23217" in got.stderr) is warned
    assert got.stdout == f"{script_path()}\n"


@pytest.mark.parametrize("version, warned", [("0.14.0", True), ("0.16.0", False), ("1.0", False)])
def test_warns_of_h11s_known_hole(version: str, warned: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", {"h11": version, "mitmproxy": "12.2.2"}.__getitem__)
    got = CliRunner().invoke(program, ["addon"])
    assert ("CVE-2025-43859" in got.stderr) is warned
    assert got.stdout == f"{script_path()}\n"


def test_its_name_does_not_hide_the_package() -> None:
    assert script_path().stem != ringback.__name__


def test_in_an_installation_it_lies_in_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site-packages" / "ringback"
    package.mkdir(parents=True)
    (package / SCRIPT).touch()
    monkeypatch.setattr(ringback, "__file__", str(package / "__init__.py"))
    assert script_path() == package / SCRIPT


def test_a_broken_installation_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ringback, "__file__", str(tmp_path / "a" / "b" / "__init__.py"))
    got = CliRunner().invoke(program, ["addon"])
    assert got.exit_code == 1
    assert got.stderr == f"Error: {SCRIPT} is missing from this installation; install ringback again\n"
