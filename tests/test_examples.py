"""The sample applications: each one's own tests, as its reader would start them, in three ways."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.launching import needs
from support.product import CACHE, Product, alone_in, product
from support.proxying import serve
from support.sdks import MissingError, absent, install, python_packages

__all__ = ["product"]

EXAMPLES = Path(__file__).parents[1] / "examples"
# A text; a text and a call to a landline; one after STOP; a wrong number; two attempts.
REQUESTS = 7

pytestmark = pytest.mark.slow


@pytest.fixture
def place(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A copy of one application, beside the rows that it names."""
    for file in ("pytest.ini", "retry.yaml"):
        shutil.copy(EXAMPLES / file, tmp_path)
    shutil.copytree(
        EXAMPLES / request.param,
        tmp_path / request.param,
        ignore=shutil.ignore_patterns("node_modules", "dist"),
    )
    return tmp_path / str(request.param)


@pytest.mark.parametrize("place", ["notifier-python"], indirect=True)
def test_the_python_application_under_pytest(place: Path, product: Product) -> None:
    packages = python_packages("notifier", "fastapi", "httpx", "twilio==9.13.0")
    command = [sys.executable, "-W", "ignore", "-m", "pytest", "-q", "--ringback", "-p", "no:cacheprovider"]
    done = subprocess.run(
        command,
        cwd=place,
        env=product.environment({"PYTHONPATH": str(packages)}),
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "8 passed" in done.stdout
    assert f"{REQUESTS + 5} Twilio requests answered" in done.stdout


@pytest.mark.parametrize("place", ["notifier-node"], indirect=True)
def test_the_node_application_under_run(place: Path, product: Product) -> None:
    needs("node")
    npm = needs("npm")
    modules = CACHE / "node-notifier"
    quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel", "error"]

    def fill(target: Path) -> None:
        shutil.copy(place / "package.json", target)
        done = subprocess.run(
            [npm, "install", *quiet], cwd=target, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise MissingError(f"npm cannot install: {done.stderr.strip()[-300:]}")

    try:
        install(modules, ["true"], fill)
    except MissingError as missing:
        absent(missing)
    (place / "node_modules").symlink_to(modules / "node_modules")
    done = product.run([npm, "test"], cwd=place, options=["--cassettes", "none"])
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{REQUESTS} Twilio requests answered" in done.stderr


@pytest.mark.parametrize("place", ["notifier-go"], indirect=True)
def test_the_go_application_beside_a_proxy_that_runs(place: Path, product: Product, tmp_path: Path) -> None:
    """As in a service container: `ringback serve`, and `ringback env` in the shell of the tests."""
    go = needs("go")
    with alone_in(CACHE / "go" / "notifier"):
        got = subprocess.run([go, "mod", "download"], cwd=place, capture_output=True, text=True, check=False)
    if got.returncode:
        pytest.skip(f"go cannot fetch twilio-go: {got.stderr.strip()[:300]}")
    ringback = f'"{sys.executable}" -m ringback'
    with serve(tmp_path / "home", place, "--contract", str(place.parent / "retry.yaml")) as running:
        ready = place / "ready.json"
        shell = f'set -e; eval "$({ringback} env --ready-file {ready})"; exec "{go}" test ./...'
        variables = product.environment({"RINGBACK_HOME": os.environ.get("RINGBACK_HOME", str(tmp_path))})
        done = subprocess.run(
            ["bash", "-c", shell],
            cwd=place,
            env=variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert running.health()["answered"] == REQUESTS


def test_the_list_of_examples_is_complete() -> None:
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    ignored = {"README.md", "pytest.ini", "retry.yaml", "__pycache__"}
    assert [
        one.name for one in EXAMPLES.iterdir() if one.name not in ignored and one.name not in listed
    ] == []
