"""pytest-ringback: the plugin as a distribution of its own, in environments that have no Ringback."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
import zipfile
from dataclasses import dataclass
from email import message_from_bytes
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ringback import __version__
from support.product import SID, TOKEN
from support.proxying import environment
from support.sdks import CACHE, MissingError, absent, install, output, pip_for

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
SOURCES = {
    "pytest_ringback.py": ROOT / "proxy" / "ringback" / "pytest_plugin.py",
    "ringback_testing.py": ROOT / "proxy" / "ringback" / "testing.py",
}
FOLDER = ROOT / "plugins" / "pytest"
# Packages of many projects; the versions that an environment has of these must not change.
COMMON = ("flask", "fastapi", "httpx", "openai", "django", "cryptography", "twilio")
SENDING = f"""
import importlib.util, os
import pytest, requests

URL = "https://api.twilio.com/2010-04-01/Accounts/{SID}/Messages.json"
FORM = {{"From": "+15005550006", "To": "+14105550100", "Body": "hi"}}

def send(**more):
    return requests.post(URL, {{**FORM, **more}}, auth=("{SID}", "{TOKEN}"), timeout=60)

def test_ringback_is_not_in_this_environment():
    assert importlib.util.find_spec("ringback") is None
    assert importlib.util.find_spec("pytest_ringback") is not None

@pytest.mark.parametrize("number", range(4))
def test_a_message_is_answered(number):
    assert send().status_code == 201

def test_a_magic_number_gets_its_error(ringback):
    assert send(To="+15005550009").json()["code"] == 21614
    assert ringback.requests == [{{"to": "+15005550009", "code": 21614}}]
    ringback.row(to="+14105550100", error=21610)
    assert send().json()["code"] == 21610
    assert ringback.cassette == "test_it.test_a_magic_number_gets_its_error"
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built here by the builder that makes releases."""
    target = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)]
    subprocess.run(build, cwd=FOLDER, check=True, capture_output=True)
    return next(target.glob("*.whl"))


@dataclass(frozen=True)
class Python:
    """An interpreter with pytest, pytest-xdist, requests and pytest-ringback, and no Ringback."""

    program: str
    path: tuple[Path, ...]

    def pytest(
        self, directory: Path, *arguments: str, path: str, **more: str
    ) -> subprocess.CompletedProcess[str]:
        (directory / "test_it.py").write_text(SENDING)
        (directory / "pytest.ini").touch()
        variables = environment(directory / "home") | {
            "PATH": path,
            "PYTHONPATH": os.pathsep.join(map(str, self.path)),
            **more,
        }
        command = [self.program, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
        return subprocess.run(
            command, cwd=directory, env=variables, capture_output=True, text=True, check=False, timeout=240
        )


def _interpreter(version: str) -> str:
    """The Python of this run without its environment, or another one of pyenv's or on PATH."""
    if version == "this":
        return getattr(sys, "_base_executable", sys.executable)
    places = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    for candidate in [*map(str, places), f"python{version}"]:
        try:
            output([candidate, "-c", ""])
        except MissingError:
            continue
        return candidate
    pytest.skip(f"no Python {version} here")


def _python(version: str, wheel: Path, unpacked: Path) -> Python:
    base = _interpreter(version)
    tag = output([base, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]).strip()
    packages = CACHE / f"python{tag}-pytest"
    pip = [*pip_for(base), "install", "--quiet", "--no-compile", "--disable-pip-version-check"]
    try:
        install(packages, [*pip, "--target", str(packages), "pytest", "pytest-xdist", "requests"])
    except MissingError as missing:
        absent(missing)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(unpacked)
    subprocess.run([base, "-m", "venv", "--without-pip", unpacked / "venv"], check=True)
    return Python(str(unpacked / "venv" / "bin" / "python"), (unpacked, packages))


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Python:
    return _python("this", wheel, tmp_path_factory.mktemp("plugin"))


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A directory for PATH; `ringback` in another one is the program of another environment."""
    (tmp_path / "bin").mkdir()
    return tmp_path / "bin"


def _script(file: Path, text: str) -> Path:
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return file


def _ringback(before: str = "exec ") -> str:
    # PYTHONPATH is the tests'; another environment's console script would not read it either.
    return f'unset PYTHONPATH\n{before}"{sys.executable}" -W ignore -m ringback "$@"'


@pytest.mark.parametrize("version", ["this", "3.9"])
def test_it_runs_tests_where_the_program_is_elsewhere(
    version: str, wheel: Path, programs: Path, tmp_path: Path
) -> None:
    _script(programs / "ringback", _ringback())
    python = _python(version, wheel, tmp_path / "plugin")
    done = python.pytest(tmp_path, "--ringback", "-n2", path=f"{programs}:/usr/bin:/bin")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 passed" in done.stdout
    assert "ringback: 6 Twilio requests answered, offline (contract 6)\n" in done.stdout


@pytest.mark.parametrize(
    "name, before, arguments", [("uvx", "", 1), ("pipx", "exec ", 2)], ids=["uvx", "pipx run"]
)
def test_it_asks_uvx_or_pipx_for_its_own_version(
    name: str, before: str, arguments: int, python: Python, programs: Path, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    _script(programs / name, f'echo "$@" >>"{told}"\nshift {arguments}\n{_ringback(before)}')
    done = python.pytest(tmp_path, "--ringback", path=f"{programs}:/usr/bin:/bin")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ringback: 6 Twilio requests answered, offline (contract 6)\n" in done.stdout
    first = told.read_text().splitlines()[0]
    run = "run " if name == "pipx" else ""
    assert first.startswith(f"{run}ringback=={__version__} serve --ready-file ")


def test_the_command_of_the_variable_comes_first(python: Python, programs: Path, tmp_path: Path) -> None:
    _script(programs / "ringback", "exit 1")
    mine = _script(tmp_path / "mine", f"shift\n{_ringback()}")
    path, command = f"{programs}:/usr/bin:/bin", f"{mine} word"
    done = python.pytest(tmp_path, "--ringback", path=path, RINGBACK_COMMAND=command)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "command, sentence",
    [
        ("", f"ringback: the program is not here: `pipx install ringback=={__version__}`"),
        ("/nowhere/ringback", "ringback: /nowhere/ringback: No such file or directory"),
    ],
)
def test_without_a_program_it_says_how_to_get_one(
    command: str, sentence: str, python: Python, programs: Path, tmp_path: Path
) -> None:
    done = python.pytest(tmp_path, "--ringback", path=str(programs), RINGBACK_COMMAND=command)
    assert done.returncode == 4
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_the_wheel_is_the_plugin_and_needs_pytest_alone(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        assert [archive.read(name) for name in SOURCES] == [file.read_bytes() for file in SOURCES.values()]
        named = {name.rpartition("/")[2]: archive.read(name) for name in archive.namelist()}
    metadata = message_from_bytes(named["METADATA"])
    assert metadata.get_all("Requires-Dist") == ["pytest>=7"]
    assert metadata["Version"] == __version__
    assert named["entry_points.txt"].decode().split() == ["[pytest11]", "ringback", "=", "pytest_ringback"]


def test_both_distributions_give_the_plugin_one_name() -> None:
    """Pytest loads one entry point of a name, so that both can be installed."""
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
    other = tomllib.loads((FOLDER / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
    assert list(ours) == list(other)


@pytest.mark.parametrize(
    "name, others",
    [
        # urllib3 is imported where it is installed alone.
        ("pytest_ringback.py", {"pytest", "ringback.testing", "ringback_testing", "urllib3"}),
        ("ringback_testing.py", set()),
    ],
)
def test_the_modules_read_python_3_9_and_import_the_standard_library_and_pytest(
    name: str, others: set[str]
) -> None:
    tree = ast.parse(SOURCES[name].read_text(encoding="utf-8"), feature_version=(3, 9))
    imported = set(_imports(tree))
    assert {one for one in imported if one.partition(".")[0] not in sys.stdlib_module_names} == others


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            yield node.module or ""


@pytest.mark.skipif(
    "RINGBACK_COMMON_PACKAGES" not in os.environ,
    reason="fetches and installs large packages: set RINGBACK_COMMON_PACKAGES=1",
)
@pytest.mark.slow
def test_nothing_gets_older_beside_common_packages(wheel: Path, programs: Path, tmp_path: Path) -> None:
    base = _interpreter("this")
    home = tmp_path / "venv"
    subprocess.run([base, "-m", "venv", home], check=True)
    pip = [str(home / "bin" / "pip"), "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "-q", *COMMON, "pytest-xdist"], check=True)
    before = output([*pip, "freeze"]).splitlines()
    subprocess.run([*pip, "install", "-q", str(wheel)], check=True)
    after = [line for line in output([*pip, "freeze"]).splitlines() if "pytest-ringback" not in line]
    assert set(before) <= set(after)
    assert "No broken requirements found." in output([*pip, "check"])
    _script(programs / "ringback", _ringback())
    done = Python(str(home / "bin" / "python"), ()).pytest(
        tmp_path, "--ringback", "-n2", path=f"{programs}:/usr/bin:/bin"
    )
    assert done.returncode == 0, done.stdout + done.stderr
