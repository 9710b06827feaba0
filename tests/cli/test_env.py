"""Each form is read by what it is for: a shell, or a reader of env files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ringback.cli.setup import SAVED, before
from support.launching import needs
from support.product import SID, TOKEN
from support.serving import Serving, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

URL = f"https://api.twilio.com/2010-04-01/Accounts/{SID}/Messages.json"
ENV = f"{sys.executable} -m ringback env"
DUMP = f"{sys.executable} -E -c 'import json, os; print(json.dumps(dict(os.environ)))'"
VOLATILE = {"_", "SHLVL", "PWD", "OLDPWD"}


@pytest.fixture(scope="module")
def basis(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    home = tmp_path_factory.mktemp("home")
    return {"PATH": os.environ["PATH"], "HOME": str(home), "RINGBACK_HOME": str(home / "ringback")}


@pytest.fixture(scope="module")
def running(basis: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("serve"), basis) as found:
        yield found


@pytest.fixture
def environment(basis: dict[str, str], running: Serving) -> dict[str, str]:
    return basis | {"RINGBACK_READY_FILE": str(running.ready_file)}


def _run(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("shell, form", [("sh", "sh"), ("bash", "sh"), ("fish", "fish")])
def test_a_shell_gets_there_and_back(shell: str, form: str, environment: dict[str, str]) -> None:
    # Who logs in with another shell is asked for by name: SHELL is not the one that calls.
    login = "/bin/sh" if shell == "fish" else "/usr/bin/fish"
    environment = environment | {"PYTHONPATH": "/it's mine", "NO_PROXY": "*", "SHELL": login}
    curl = f"{needs('curl')} -s -o /dev/null -w '%{{http_code}}\\n' -u {SID}:{TOKEN} '{URL}' -d To=1"
    evaluate = {"sh": 'eval "$({})"', "fish": "{} | source"}[form]
    lines = [DUMP, evaluate.format(ENV), DUMP, evaluate.format(ENV), DUMP, curl]
    lines += [evaluate.format(f"{ENV} --unset"), DUMP]
    done = _run([needs(shell), "-c", "\n".join(lines)], environment)
    assert done.stderr == ""
    before, first, second, status, after = done.stdout.splitlines()
    before, first, second, after = (
        {name: value for name, value in json.loads(dump).items() if name not in VOLATILE}
        for dump in (before, first, second, after)
    )
    assert status == "400"
    assert first["PYTHONPATH"].endswith("/python:/it's mine")
    assert "*" not in first["NO_PROXY"]
    assert second == first
    assert after == before


@pytest.mark.parametrize("caller", ["bash", "fish"])
def test_the_shell_is_found_behind_what_starts_ringback(
    caller: str, environment: dict[str, str], tmp_path: Path
) -> None:
    """As `uv run` does; and another language's program gets sh's lines."""
    wrapper = tmp_path / "wrapper.py"
    wrapper.write_text(f"import subprocess\nsubprocess.run({ENV.split()!r})\n")
    line = f"{sys.executable} {wrapper}; true"
    done = _run([needs(caller), "-c", line], environment | {"SHELL": "/usr/bin/fish"})
    start = {"bash": "export ", "fish": "set -gx "}[caller]
    assert {line.startswith(start) for line in done.stdout.splitlines()} == {True}, done.stderr


@pytest.mark.parametrize("cassette, user", [([], "default"), (["--cassette", "orders"], "orders")])
def test_a_proxy_with_a_password(
    cassette: list[str], user: str, basis: dict[str, str], tmp_path: Path
) -> None:
    """The shell's programs are let in, and go on to use the cassette that the proxy was told."""
    basis = basis | {"RINGBACK_HOME": str(tmp_path)}  # the last proxy that starts is the one that is found
    protected = basis | {"RINGBACK_PROXY_PASSWORD": "open/sesame"}
    curl = f"{needs('curl')} -s -o /dev/null -w '%{{http_code}}' -u {SID}:{TOKEN} '{URL}' -d To=1"
    line = f'eval "$({ENV})" && {curl} && echo " $HTTPS_PROXY"'
    with serving(tmp_path, protected, *cassette) as running:
        where = {"RINGBACK_READY_FILE": str(running.ready_file)}
        done = _run([needs("sh"), "-c", line], protected | where)
        without = _run([*ENV.split()], basis | where)
        wrong = _run([needs("sh"), "-c", line], protected | where | {"RINGBACK_PROXY_PASSWORD": "other"})
        told = running.ready_file.read_text()
    status, url = done.stdout.split()
    assert (status, done.stderr) == ("400", "")
    assert url == f"http://{user}:open%2Fsesame@127.0.0.1:{running.state.port}"
    assert (without.returncode, without.stdout) == (1, "false\n")
    assert "has a password: set RINGBACK_PROXY_PASSWORD" in without.stderr
    assert wrong.stdout == "000"
    assert "sesame" not in told
    template = f"http://{user}:PASSWORD@127.0.0.1:{running.state.port}"
    assert json.loads(told)["authenticated_proxy"] == template


def test_a_password_that_the_proxy_does_not_have(environment: dict[str, str], running: Serving) -> None:
    """A name in the URL would be another cassette's."""
    done = _run([*ENV.split(), "--shell", "dotenv"], environment | {"RINGBACK_PROXY_PASSWORD": "x"})
    assert f"HTTPS_PROXY={running.state.proxy}\n" in done.stdout


def test_nothing_but_exports_on_stdout(environment: dict[str, str]) -> None:
    done = _run(ENV.split(), environment | {"SSL_CERT_FILE": "/not/there"})
    assert all(line.startswith("export ") for line in done.stdout.splitlines())
    assert "SSL_CERT_FILE names /not/there" in done.stderr


def test_an_env_file(environment: dict[str, str], running: Serving) -> None:
    done = _run([*ENV.split(), "--shell", "dotenv"], environment)
    found = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert found["HTTPS_PROXY"] == running.state.proxy
    assert Path(found["SSL_CERT_FILE"]) == Path(running.state.bundle)
    assert "RINGBACK_ENV_BEFORE" not in found


def test_one_object_for_programs(environment: dict[str, str], running: Serving) -> None:
    found = json.loads(_run([*ENV.split(), "--shell", "json"], environment).stdout)
    assert found["variables"]["HTTPS_PROXY"] == running.state.proxy
    assert Path(found["directory"], "python", "sitecustomize.py").is_file()
    assert "RINGBACK_ENV_BEFORE" not in found["variables"]
    assert found["removed"] == []
    unset = _run([*ENV.split(), "--shell", "json", "--unset"], environment)
    assert "a json file cannot take variables away" in unset.stderr


def test_an_env_file_has_no_quotes_that_docker_would_take_for_text(environment: dict[str, str]) -> None:
    more = {"GOFLAGS": "-buildvcs=false", "NODE_OPTIONS": "", "NO_PROXY": "[::1],*.corp.example"}
    done = _run([*ENV.split(), "--shell", "dotenv"], environment | more)
    assert "'" not in done.stdout.replace("GOFLAGS='-buildvcs=false -count=1'\n", "")
    assert done.stderr == (
        "ringback: GOFLAGS had to be quoted: compose reads that, `docker run --env-file` does not\n"
    )
    assert _run([*ENV.split(), "--shell", "dotenv"], environment).stderr == ""


def test_the_env_files_node_options_are_nodes(environment: dict[str, str]) -> None:
    done = _run([*ENV.split(), "--shell", "dotenv"], environment)
    variables = dict(line.split("=", 1) for line in done.stdout.splitlines())
    preloaded = "console.log(Object.keys(require.cache).some((name) => name.endsWith('preload.cjs')))"
    assert _run([needs("node"), "-e", preloaded], environment | variables).stdout == "true\n"


@pytest.mark.parametrize("form", ["dotenv", "github"])
def test_a_variable_that_a_file_cannot_take_away_is_reported(form: str, environment: dict[str, str]) -> None:
    done = _run([*ENV.split(), "--shell", form], environment | {"SSL_CERT_DIR": "/not/there"})
    assert f"a {form} file cannot take SSL_CERT_DIR away: unset it where the file is read" in done.stderr


def test_a_github_job(environment: dict[str, str], running: Serving) -> None:
    done = _run([*ENV.split(), "--shell", "github"], environment)
    found = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert found["HTTPS_PROXY"] == running.state.proxy
    assert "NODE_OPTIONS" not in found
    assert "GitHub takes no NODE_OPTIONS" in done.stderr


@pytest.mark.parametrize("form", ["dotenv", "github"])
def test_a_file_cannot_unset(form: str, environment: dict[str, str]) -> None:
    done = _run([*ENV.split(), "--unset", "--shell", form], environment)
    assert (done.returncode, done.stdout) == (2, "")
    assert "leave its lines out" in done.stderr


def test_nothing_to_bring_back(environment: dict[str, str]) -> None:
    done = _run([*ENV.split(), "--unset"], environment)
    assert (done.returncode, done.stdout) == (1, "false\n")
    assert "nothing to bring back" in done.stderr


def test_the_running_proxy_is_found_without_being_named(basis: dict[str, str], running: Serving) -> None:
    done = _run([*ENV.split(), "-s", "dotenv"], basis)
    assert f"HTTPS_PROXY={running.state.proxy}\n" in done.stdout, done.stderr


@pytest.mark.parametrize(
    "shell, line",
    [("sh", 'set -e; eval "$({})"'), ("bash", 'set -e; eval "$({})"'), ("fish", "{} | source; or exit 1")],
)
def test_a_script_ends_where_there_is_no_proxy(
    shell: str, line: str, basis: dict[str, str], tmp_path: Path
) -> None:
    """`eval` runs what was printed, and takes no notice of an exit code."""
    lines = line.format(ENV) + "; echo went on"
    done = _run([needs(shell), "-c", lines], basis | {"RINGBACK_HOME": str(tmp_path)})
    assert (done.returncode, done.stdout) == (1, "")
    assert "no proxy is running" in done.stderr


@pytest.mark.parametrize("form", ["dotenv", "github"])
def test_a_file_gets_no_line_of_a_failure(form: str, basis: dict[str, str], tmp_path: Path) -> None:
    done = _run([*ENV.split(), "--shell", form], basis | {"RINGBACK_HOME": str(tmp_path)})
    assert (done.returncode, done.stdout) == (1, "")


def test_waiting_for_a_proxy_that_is_still_starting(basis: dict[str, str], tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    ready.write_text("what an earlier run left")
    asked = [*ENV.split(), "--ready-file", str(ready), "--wait", "60"]
    with subprocess.Popen(asked, env=basis, stdout=subprocess.PIPE, text=True) as waiting:
        with serving(tmp_path, basis) as running:
            lines = waiting.communicate()[0].splitlines()
        assert waiting.returncode == 0
    assert f"export HTTPS_PROXY={running.state.proxy}" in lines


def test_waiting_in_vain(basis: dict[str, str], tmp_path: Path) -> None:
    done = _run([*ENV.split(), "--wait", "0.1"], basis | {"RINGBACK_HOME": str(tmp_path)})
    assert (done.returncode, done.stdout) == (1, "false\n")
    assert "no proxy is running" in done.stderr
    assert "after 0.1 s" in done.stderr


def test_the_ready_file_goes_with_its_proxy(basis: dict[str, str], tmp_path: Path) -> None:
    with serving(tmp_path, basis) as running:
        assert running.ready_file.is_file()
    assert not running.ready_file.exists()


def test_an_older_ready_file_goes_before_a_proxy_begins(basis: dict[str, str], tmp_path: Path) -> None:
    """Also where it then does not start."""
    ready = tmp_path / "ready.json"
    ready.write_text("{}")
    asked = [
        sys.executable,
        "-m",
        "ringback",
        "serve",
        "--ready-file",
        str(ready),
        "--host",
        "not.an.address",
    ]
    assert _run(asked, basis).returncode != 0
    assert not ready.exists()


def test_no_proxy_fails_loudly(basis: dict[str, str], tmp_path: Path) -> None:
    done = _run(ENV.split(), basis | {"RINGBACK_HOME": str(tmp_path)})
    assert (done.returncode, done.stdout) == (1, "false\n")
    assert "no proxy is running" in done.stderr
    assert "ringback serve" in done.stderr


@pytest.mark.parametrize(
    "saved, expected",
    [
        (None, {"A": "1", "B": "2"}),
        ("no JSON", {"A": "1", "B": "2"}),
        ("[1]", {"A": "1", "B": "2"}),
        ('{"A": "0", "B": null, "C": "3"}', {"A": "0", "C": "3"}),
    ],
)
def test_what_an_earlier_call_changed_is_taken_back(saved: str | None, expected: dict[str, str]) -> None:
    environment = {"A": "1", "B": "2"} | ({SAVED: saved} if saved else {})
    assert before(environment) == expected
