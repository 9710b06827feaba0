"""A server that nobody here wrote as the live API: Stoplight Prism, from an OpenAPI description.

Its example answers are not Twilio's; what counts is that the whole way works, proof included.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from ringback.upstream.proof import verdict_of
from support.clients import GOOD, basic, http, live_answer, path
from support.proxying import serve

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.xdist_group("prism")  # one installs it
PACKAGE = "@stoplight/prism-cli"
CACHE = Path(__file__).parents[1] / ".cache" / "prism"
DESCRIBED = Path(__file__).parents[2] / "docs" / "examples" / "mock-upstream.yaml"
PAGE = DESCRIBED.parents[1] / "online.md"


def test_the_page_shows_how(request: pytest.FixtureRequest) -> None:
    """What the other tests do is what docs/online.md shows, and the description has the probe's answer."""
    shown = PAGE.read_text(encoding="utf-8").partition("### A mock upstream")[2]
    assert f"{PACKAGE} mock -p 4010 {DESCRIBED.relative_to(request.config.rootpath)}\n" in shown
    described = yaml.safe_load(DESCRIBED.read_text(encoding="utf-8"))
    answers = described["paths"]["/2010-04-01/Accounts/{sid}.json"]["get"]["responses"]
    ((status, answer),) = answers.items()
    body = json.dumps(answer["content"]["application/json"]["example"]).encode()
    assert verdict_of(live_answer(int(status), "", (), body)) == "test"


@pytest.fixture(scope="module")
def program() -> list[str]:
    """Prism, from npm's registry by npm itself."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("Node.js and npm are not installed here, so there is no Prism")
    script = CACHE / "node_modules" / PACKAGE / "dist" / "index.js"
    if not script.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        (CACHE / "package.json").write_text('{"private": true}')
        options = ["--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(CACHE)]
        try:
            done = subprocess.run(
                [npm, "install", *options, PACKAGE], capture_output=True, text=True, timeout=200, check=False
            )
        except subprocess.TimeoutExpired:
            pytest.skip("npm took too long to install Prism")
        if done.returncode:
            pytest.skip(f"npm cannot install Prism here: {done.stderr.strip().splitlines()[-1:]}")
    return [node, str(script)]


@pytest.fixture(scope="module")
def prism(program: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    command = [*program, "mock", "--host", "127.0.0.1", "--port", "0", str(DESCRIBED)]
    names = {"PATH": os.environ["PATH"], "HOME": str(tmp_path_factory.mktemp("prism")), "NO_COLOR": "1"}
    with subprocess.Popen(
        command, env=names, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            assert process.stdout
            said = ""
            for line in process.stdout:
                said += line
                if "listening on" in line:
                    yield "http://" + line.split("http://")[1].split()[0]
                    break
            else:
                pytest.fail(f"Prism did not start: {said}")
        finally:
            process.terminate()


@pytest.mark.parametrize("mode", ["online", "auto"])
def test_the_whole_way(prism: str, home: Path, tmp_path: Path, mode: str) -> None:
    options = ["--mode", mode, "--upstream", prism, "--cassettes", str(tmp_path / "cassettes")]
    with serve(home, tmp_path, *options) as running:
        got = running.ask(http(form=GOOD["Messages"]))
        assert (got.status, got.json()) == (201, {"sid": "SM-from-prism", "status": "queued"})
        assert got.header("Ringback-Source") == "live"
        # Prism does not know calls: its own 404 is an answer like any other, and not the documented one.
        got = running.ask(http(target=path("Calls"), form=GOOD["Calls"], headers=[basic()], authorized=False))
        assert (got.status, got.header("Content-Type")) == (404, "application/problem+json")
        assert (got.header("Ringback-Contract") or "").startswith("differs; ")
        assert running.ask(http(target=path("Queues"))).error()["code"] == 20008
    (tmp_path / "ready.json").unlink(missing_ok=True)
    with serve(home, tmp_path, "--cassettes", str(tmp_path / "cassettes")) as running:
        assert running.ask(http(form=GOOD["Messages"])).json()["sid"] == "SM-from-prism"
