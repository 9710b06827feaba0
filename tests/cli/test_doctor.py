"""With a PATH of its own, on which good programs stand and broken ones."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import venv
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from support.dotnet import dotnet, mono
from support.launching import needs
from support.sdks import node_sdk

if TYPE_CHECKING:
    from pathlib import Path

DOCTOR = [sys.executable, "-c", "from ringback.cli.doctor import doctor; doctor(prog_name='doctor')"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    place = tmp_path / "bin"
    place.mkdir()
    return place


def _program(place: Path, name: str, script: str) -> None:
    (place / name).write_text(f"#!/bin/sh\n{script}\n")
    (place / name).chmod(0o755)


def _doctor(
    path: Path, *arguments: str, cwd: Path | None = None, **more: str
) -> subprocess.CompletedProcess[str]:
    home = path.parent / "home"
    home.mkdir(exist_ok=True)
    environment = {"PATH": str(path), "HOME": str(home), "RINGBACK_HOME": str(home)} | more
    command = [*DOCTOR, *arguments]
    return subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, check=False)


def _findings(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    return {finding["client"]: finding for finding in json.loads(done.stdout)}


def test_all_is_well(path: Path) -> None:
    (path / "curl").symlink_to(needs("curl"))
    (path / "python3").symlink_to(sys.executable)
    done = _doctor(path)
    assert (done.returncode, done.stderr) == (0, "")
    heading, *rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert heading == ["runtime", "version", "client", "proxied", "CA trusted", "what to do"]
    assert [row[0] for row in rows] == ["Python", "curl"]
    assert all(row[3:] == ["yes", "yes", ""] for row in rows)
    assert rows[0][1] == "{}.{}.{}".format(*sys.version_info)


@pytest.mark.slow
def test_every_runtime_that_is_here() -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"]}
    done = subprocess.run([*DOCTOR, "--json"], env=environment, capture_output=True, text=True, check=False)
    findings = json.loads(done.stdout)
    assert findings
    # Mono's store and the system's, which libcurl reads, are not to be changed by a test; see the next.
    others = {"Mono", "libcurl", "R"}
    assert [one for one in findings if not one["ok"] and one["runtime"] not in others] == []


def test_mono_has_a_store_of_its_own_which_cert_sync_fills(path: Path) -> None:
    (path / "mono").symlink_to(mono())
    before = _doctor(path, "--json", "mono")
    (found,) = json.loads(before.stdout)
    assert (before.returncode, found["proxied"], found["trusted"]) == (1, True, False)
    assert found["advice"].endswith('call cert-sync --quiet --user "$(ringback ca --path)"')
    home = {"HOME": str(path.parent / "home"), "PATH": os.environ["PATH"]}
    root = path.parent / "home" / "ca" / "current" / "mitmproxy-ca-cert.pem"
    subprocess.run([needs("cert-sync"), "--quiet", "--user", root], env=home, check=True)
    after = _doctor(path, "--json", "mono")
    assert after.returncode == 0, after.stdout


@pytest.mark.parametrize("program, runtime", [("perl", "Perl"), ("deno", "Deno"), ("bun", "Bun")])
def test_what_needs_no_shim(path: Path, program: str, runtime: str) -> None:
    (path / program).symlink_to(needs(program))
    modules = {name: os.environ[name] for name in ("PERL5LIB",) if name in os.environ}
    done = _doctor(path, "--json", program, **modules)
    findings = json.loads(done.stdout)
    if not findings:
        pytest.skip(f"{program} has no module for TLS here")
    assert {(one["runtime"], one["ok"]) for one in findings} == {(runtime, True)}, done.stdout


def test_a_binding_of_libcurl_is_told_the_line_that_it_needs(path: Path) -> None:
    (path / "ruby").symlink_to(needs("ruby"))
    (found,) = json.loads(_doctor(path, "--json", "libcurl").stdout) or [None]
    if found is None:
        pytest.skip("Ruby has no Typhoeus here (Debian: ruby-typhoeus)")
    assert (found["client"], found["proxied"], found["trusted"]) == ("Typhoeus", True, False)
    assert "cainfo: ENV['SSL_CERT_FILE']" in found["advice"]


@pytest.mark.parametrize("generation", ["2", "6"])
def test_an_sdk_is_driven_as_its_version_is(path: Path, generation: str) -> None:
    got = node_sdk(generation)
    (path / "node").symlink_to(got.runtime)
    done = _doctor(path, "--json", "node", cwd=got.path.parent)
    found = _findings(done)["twilio"]
    assert (found["ok"], found["version"].endswith(f"with {got.version}")) == (True, True), found


def test_rust_is_tried_only_where_it_is_named(path: Path) -> None:
    (path / "curl").symlink_to(needs("curl"))
    _program(path, "cargo", "echo 'error: no way to the registry' >&2; exit 101")
    assert "Rust" not in {one["runtime"] for one in json.loads(_doctor(path, "--json").stdout)}
    done = _doctor(path, "--json", "rust")
    assert (json.loads(done.stdout), done.returncode) == ([], 0)
    assert "ringback: Rust, ureq 2, native roots: not tried: cargo builds no program" in done.stderr
    assert "no way to the registry" in done.stderr


def test_every_python_is_tried_once(path: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "other", symlinks=True)
    _program(path, "python3", f'exec {sys.executable} "$@"')
    _program(path, "python3.5", f'exec {sys.executable} "$@"')
    _program(path, "python3.6", f'exec {tmp_path}/other/bin/python3 "$@"')
    _program(path, "python3.7", "echo 'pyenv: python3.7: command not found' >&2; exit 127")
    _program(path, "python3-config", "exit 1")
    done = _doctor(path, "--json", "python")
    tried = [(one["path"], one["ok"]) for one in json.loads(done.stdout) if one["client"] == "urllib"]
    assert tried == [(str(path / "python3"), True), (str(path / "python3.6"), True)]


def test_a_python3_that_does_not_run_is_reported(path: Path) -> None:
    _program(path, "python3", "exit 127")
    done = _doctor(path, "python")
    assert (done.returncode, "Python" in done.stdout) == (1, True)


def test_it_fits_a_terminal_of_80_columns(path: Path, tmp_path: Path) -> None:
    _program(path, "curl", f'exec {needs("curl")} --proxy http://127.0.0.1:9 "$@"')
    (path / "java").symlink_to(needs("java"))
    home = tmp_path / "home"
    home.mkdir()
    environment = {"PATH": str(path), "RINGBACK_HOME": str(home), "COLUMNS": "80", "TERM": "dumb"}
    keyboard, screen = pty.openpty()
    with subprocess.Popen(
        [*DOCTOR, "curl", "java"], env=environment, stdout=screen, stderr=subprocess.DEVNULL
    ) as process:
        os.close(screen)
        shown = b""
        with contextlib.suppress(OSError):  # the end of a terminal
            while part := os.read(keyboard, 1000):
                shown += part
    os.close(keyboard)
    assert process.returncode == 1
    lines = shown.decode().splitlines()
    assert max(len(line) for line in lines if line.startswith(("│", "|"))) <= 80
    assert any("HttpURLConnection" in line for line in lines)
    assert lines[-1].startswith("curl ")
    assert "curl: its request did not arrive: see whether ~/.curlrc sets a proxy or a CA" in lines[-1]


def test_a_hostile_environment_is_no_trouble(path: Path) -> None:
    (path / "curl").symlink_to(needs("curl"))
    done = _doctor(
        path, "--json", "curl", NO_PROXY="*", HTTPS_PROXY="http://127.0.0.1:9", RINGBACK_MODE="odd"
    )
    assert done.returncode == 0, done.stdout


def test_what_is_broken_is_named_and_fails(path: Path) -> None:
    curl = needs("curl")
    # The file of its own settings leads it elsewhere, and a wrapper takes the CA away from another.
    _program(path, "curl", f'exec {curl} --proxy http://127.0.0.1:9 "$@"')
    _program(path, "wget", f'unset WGETRC; exec {needs("wget")} --tries=1 "$@"')
    done = _doctor(path, "--json", "curl", "wget")
    assert done.returncode == 1
    findings = _findings(done)
    assert findings["curl"]["proxied"] is None
    assert "~/.curlrc" in findings["curl"]["advice"]
    assert (findings["wget"]["proxied"], findings["wget"]["trusted"]) == (True, False)
    assert "WGETRC" in findings["wget"]["advice"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_with_its_proxy_and_leaves_nothing(
    path: Path, tmp_path: Path, number: signal.Signals
) -> None:
    home, temporary, told = tmp_path / "home", tmp_path / "tmp", tmp_path / "told"
    home.mkdir()
    temporary.mkdir()
    os.mkfifo(told)
    _program(path, "curl", f'echo "$HTTPS_PROXY" > {told}; exec {needs("sleep")} 60')
    environment = {"PATH": str(path), "RINGBACK_HOME": str(home), "TMPDIR": str(temporary)}
    with subprocess.Popen([*DOCTOR, "curl"], env=environment, stderr=subprocess.PIPE, text=True) as process:
        proxy = urlsplit(told.read_text().strip())
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (128 + number, "")
    assert list(temporary.iterdir()) == []
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((proxy.hostname or "", proxy.port or 0))


def test_a_program_that_cannot_be_run(path: Path) -> None:
    (path / "curl").write_bytes(b"\x00")
    (path / "curl").chmod(0o755)
    done = _doctor(path, "--json", "curl")
    assert done.returncode == 1
    assert _findings(done)["curl"]["ok"] is False


# It has the SDK's interface; the real ones are driven in tests/sdk.
STAND_IN = """
import base64
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, build_opener

class TwilioHttpClient:
    def request(self, method, url, data, auth):
        login = base64.b64encode(":".join(auth).encode()).decode()
        request = Request(url, urlencode(data).encode(), {"Authorization": "Basic " + login})
        try:
            answer = build_opener().open(request)
        except HTTPError as error:
            answer = error
        self.status_code = answer.getcode()
        self.text = answer.read().decode().replace("is not a valid", PHRASE)
        return self
"""


@pytest.mark.parametrize("phrase", ["is not a valid", "is a wrong"])
def test_an_sdk_that_is_installed_is_tried(path: Path, tmp_path: Path, phrase: str) -> None:
    (path / "python3").symlink_to(sys.executable)
    package = tmp_path / "packages" / "twilio" / "http"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").write_text("__version__ = '9.9.9'")
    (package / "__init__.py").touch()
    (package / "http_client.py").write_text(STAND_IN.replace("PHRASE", repr(phrase)))
    done = _doctor(path, "--json", "python", PYTHONPATH=str(tmp_path / "packages"))
    found = _findings(done)["twilio"]
    assert found["version"].endswith("with 9.9.9")
    assert found["ok"] is (phrase == "is not a valid"), done.stdout
    if not found["ok"]:
        assert found["advice"] == "it was answered, but did not understand the answer"
        assert "is a wrong phone number" in found["output"]


def test_a_dotnet_runtime_needs_no_sdk(path: Path) -> None:
    runtime = dotnet()
    variables = " ".join(f"{name}='{value}'" for name, value in runtime.variables.items())
    _program(path, "dotnet", f'{variables} exec {runtime.program} "$@"')
    done = _doctor(path, "--json", ".net", NO_PROXY="*")
    assert done.returncode == 0, done.stdout
    found = _findings(done)["HttpClient"]
    assert (found["runtime"], found["ok"]) == (".NET", True)
    assert found["version"].partition(".")[0].isdigit()


def test_a_dotnet_that_cannot_do_tls_is_reported_apart(path: Path) -> None:
    """As .NET Core 3.1 beside OpenSSL 3."""
    _program(path, "dotnet", "echo 'No usable version of libssl was found' >&2; exit 134")
    done = _doctor(path, "--json", ".net")
    assert done.returncode == 1
    found = _findings(done)["HttpClient"]
    assert (found["proxied"], found["output"]) == (None, "No usable version of libssl was found")
    assert "OpenSSL" in found["advice"]


@pytest.mark.parametrize(
    "name",
    ["python", "Python", "python3", "py", "node", "nodejs", "node.js", "dotnet", ".NET", "C#", "golang"],
)
def test_a_runtime_by_any_of_its_names(path: Path, name: str) -> None:
    (path / "python3").symlink_to(sys.executable)
    done = _doctor(path, "--json", name)
    assert (done.returncode, done.stderr) == (0, "")
    runtimes = [finding["runtime"] for finding in json.loads(done.stdout)]
    assert runtimes == (["Python"] if name.lower().startswith("py") else [])


def test_an_unknown_runtime(path: Path) -> None:
    done = _doctor(path, "cobol")
    assert done.returncode == 2
    assert "unknown runtime cobol; known: .net, bun, curl" in done.stderr


def test_a_ca_that_cannot_be_used_is_said(path: Path, tmp_path: Path) -> None:
    (tmp_path / "home" / "ca").mkdir(parents=True)
    (tmp_path / "home" / "ca").chmod(0o777)
    done = _doctor(path)
    assert done.returncode == 1
    assert "chmod go-w" in done.stderr
