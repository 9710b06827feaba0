"""The action's and the container's own steps, run as they stand in their files; no engine is needed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest
import yaml

from ringback.cli import ringback
from ringback.cli.drift import history
from support.proxying import environment, serve, wait_ready
from support.scripts import script

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Path]:
    """A runner's directory in which Ringback is installed; what was started there ends with the test."""
    program = tmp_path / "ringback" / "bin" / "ringback"
    program.parent.mkdir(parents=True)
    program.write_text(
        f'#!/bin/sh\n[ "$1" != serve ] || echo $$ >"{tmp_path}/pid"\n'
        f'exec "{sys.executable}" -W ignore -m ringback "$@"\n'
    )
    program.chmod(0o755)
    yield tmp_path
    with suppress(ProcessLookupError):  # the step that stops it has done so
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGTERM)


def test_the_action_starts_a_proxy_for_later_steps(runner: Path, tmp_path: Path) -> None:
    step = _step("Start")
    outputs = {"GITHUB_ENV": str(tmp_path / "env"), "GITHUB_OUTPUT": str(tmp_path / "output")}
    variables = environment(
        tmp_path / "home",
        {**outputs, "RUNNER_TEMP": str(runner), "ARGUMENTS": "--seed 7", "HOME": str(tmp_path)},
    )
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", step["run"]],
        env=variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    exported = dict(re.findall(r"^([A-Za-z_]+)=(.*)$", (tmp_path / "env").read_text(), re.MULTILINE))
    later = subprocess.run(
        [sys.executable, ROOT / "examples" / "first_requests.py"],
        env={**variables, **exported},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert later.returncode == 0, later.stderr
    assert "201 CREATED   contract" in later.stdout
    assert (tmp_path / "output").read_text() == f"log={runner}/ringback.log\n"
    stop = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", _step("Stop", "finish/action.yml")["run"]],
        env=variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert stop.returncode == 0, stop.stderr
    assert "3 Twilio requests answered" in stop.stdout


@pytest.mark.parametrize("password", [None, "of-this-test-alone"])
def test_the_containers_health_check_asks_the_proxy(tmp_path: Path, password: str | None) -> None:
    check = [sys.executable, ROOT / "scripts" / "container" / "health.py"]
    more = {"RINGBACK_PROXY_PASSWORD": password} if password else {}
    home = tmp_path / "home"
    variables = environment(home, more)
    with serve(home, tmp_path, more=more) as running:
        assert subprocess.run([*check, str(running.port)], env=variables, check=False).returncode == 0
    ended = subprocess.run([*check, str(running.port)], env=variables, capture_output=True, check=False)
    assert ended.returncode != 0


@pytest.fixture
def composed(tmp_path: Path) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """The proxy of compose.yaml, started by its own command with its own variables; no engine is needed."""
    services = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]
    ready, program = tmp_path / "ready.json", tmp_path / "ringback"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -W ignore -m ringback "$@"\n')
    program.chmod(0o755)
    command = services["ringback"]["command"][0].replace("/shared", str(tmp_path))
    for option, other in (
        ("--port 4010", f"--port 0 --ready-file {ready}"),
        ("--reverse 443", "--reverse 0"),
    ):
        assert option in command
        command = command.replace(option, other)
    more = {name: _filled(value) for name, value in services["ringback"]["environment"].items()}
    variables = environment(tmp_path / "home", more)
    variables["PATH"] = f"{tmp_path}:{variables['PATH']}"
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([*services["ringback"]["entrypoint"], command], env=variables, stderr=log)
        try:
            yield services, wait_ready(process, ready, tmp_path / "log")
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)


def _filled(value: str) -> str:
    """Fill in compose's variables: their default, or the name of a password."""
    return re.sub(
        r"\$\{(\w+):([-?])([^}]*)\}", lambda one: one[3] if one[2] == "-" else "of-this-test", value
    )


def test_composes_application_is_answered_through_the_proxy(
    composed: tuple[dict[str, Any], dict[str, Any]], tmp_path: Path
) -> None:
    services, state = composed
    more = {name: _filled(value) for name, value in services["app"]["environment"].items()}
    more["HTTPS_PROXY"] = more["HTTPS_PROXY"].replace("ringback:4010", f"127.0.0.1:{state['port']}")
    more["SSL_CERT_FILE"] = more["SSL_CERT_FILE"].replace("/shared", str(tmp_path))
    done = _first_requests(environment(tmp_path / "home", more))
    assert done.stdout.count("contract; rule=") == 2, done.stderr


def test_composes_application_is_answered_by_name(
    composed: tuple[dict[str, Any], dict[str, Any]], tmp_path: Path
) -> None:
    """What the network's alias does is done here by looking the name up as 127.0.0.1."""
    _, state = composed
    start = (
        "import runpy, socket\n"
        "real = socket.getaddrinfo\n"
        "def look_up(host, port, *more, **named):\n"
        f"    return real('127.0.0.1', {state['reverse']}, *more, **named)\n"
        "socket.getaddrinfo = look_up\n"
        f"runpy.run_path({str(ROOT / 'examples' / 'first_requests.py')!r})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", start],
        env=environment(tmp_path / "home", {"SSL_CERT_FILE": str(tmp_path / "ca.pem")}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.count("contract; rule=") == 2, done.stderr


def _first_requests(variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "examples" / "first_requests.py"],
        env=variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_reusable_workflow_names_options_that_exist() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "drift.yml").read_text(encoding="utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    runs = [
        step["run"] for step in workflow["jobs"]["drift"]["steps"] if "ringback drift" in step.get("run", "")
    ]
    drift = ringback.get_command(click.Context(ringback), "drift")
    assert drift is not None
    for run, command, named in zip(runs, (drift, history), ("drift", "history"), strict=True):
        words = run.replace("\\\n", " ").split()
        command.make_parser(click.Context(command)).parse_args(words[words.index(named) + 1 :])


def test_every_shell_script_is_checked() -> None:
    asked = ["git", "grep", "--files-with-matches", "-E", "^#!.*[ /](ba)?sh$"]
    listed = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode == 128:
        pytest.skip("no checkout of git's")
    found = [name for name in listed.stdout.split() if not name.endswith((".py", ".md"))]
    assert sorted(found) == sorted(script("check_files").SCRIPTS)


def _step(name: str, file: str = "action.yml") -> dict[str, Any]:
    action = yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))
    return next(step for step in action["runs"]["steps"] if step.get("name") == name)
