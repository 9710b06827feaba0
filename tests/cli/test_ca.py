from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from ringback.cli.setup import ca as command
from ringback.launch.trust import read_pem_blocks
from support.proxying import RINGBACK, environment


@pytest.fixture
def runner(tmp_path: Path) -> CliRunner:
    return CliRunner(env={"RINGBACK_HOME": str(tmp_path / "home")})


def _shown(text: str) -> dict[str, str]:
    return dict(line.split(maxsplit=1) for line in text.splitlines())


def test_it_shows_path_fingerprint_and_expiry(runner: CliRunner) -> None:
    done = runner.invoke(command)
    assert done.exit_code == 0
    shown = _shown(done.stdout)
    root = x509.load_pem_x509_certificate(Path(shown["path"]).read_bytes())
    assert shown["SHA-256"] == root.fingerprint(hashes.SHA256()).hex(":").upper()
    assert shown["expires"].startswith(f"{root.not_valid_after_utc:%Y-%m-%d} (in 395 days")
    assert runner.invoke(command).stdout == done.stdout


def test_the_path_alone(runner: CliRunner) -> None:
    path = runner.invoke(command, ["--path"]).stdout.strip()
    assert path == _shown(runner.invoke(command).stdout)["path"]


def test_the_bundle_has_the_usual_roots_and_ours(runner: CliRunner, tmp_path: Path) -> None:
    path = _shown(runner.invoke(command).stdout)["path"]
    file = tmp_path / "bundle.pem"
    assert runner.invoke(command, ["--bundle", "--output", str(file)]).exit_code == 0
    found = read_pem_blocks(file)
    assert len(found) > 50
    assert found[-1:] == read_pem_blocks(Path(path))
    assert runner.invoke(command, ["--bundle"]).stdout == file.read_text()


@pytest.mark.parametrize("other", [["--path"], ["--export", "pem"]])
def test_the_bundle_is_asked_for_alone(runner: CliRunner, other: list[str]) -> None:
    done = runner.invoke(command, ["--bundle", *other])
    assert done.exit_code == 2
    assert "exclude each other" in done.output


def test_rotating(runner: CliRunner) -> None:
    before, after = (_shown(runner.invoke(command, arguments).stdout) for arguments in ([], ["--rotate"]))
    assert before["SHA-256"] != after["SHA-256"]
    assert before["path"] == after["path"]


@pytest.mark.parametrize("name", ["pem", "der", "p12", "jks"])
def test_exporting_to_stdout_and_to_a_file(name: str, runner: CliRunner, tmp_path: Path) -> None:
    done = runner.invoke(command, ["--export", name])
    assert done.exit_code == 0
    assert runner.invoke(command, ["--export", name, "-o", str(tmp_path / "out")]).stdout == ""
    written = (tmp_path / "out").read_bytes()
    assert len(written) > 300
    # A PKCS#12 store is salted afresh each time.
    assert written == done.stdout_bytes or name == "p12"


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--output", "x"], "--output needs --export"),
        (["--path", "--export", "pem"], "exclude each other"),
        (["--export", "pem", "-o", "/not/there/x"], "/not/there/x cannot be written: No such file"),
    ],
)
def test_mistakes(arguments: list[str], said: str, runner: CliRunner) -> None:
    done = runner.invoke(command, arguments)
    assert done.exit_code != 0
    assert said in done.stderr


def test_rotating_without_a_home(tmp_path: Path) -> None:
    nowhere = {"RINGBACK_HOME": None, "XDG_DATA_HOME": None, "HOME": str(tmp_path / "gone")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(tmp_path))
        done = CliRunner(env=nowhere).invoke(command, ["--rotate"])
    assert done.exit_code == 0, done.stderr
    assert _shown(done.stdout)["path"].startswith(str(tmp_path))
    assert "no home directory" in done.stderr


@pytest.mark.parametrize("arguments", [["--export", "pem"], ["--export", "der"], ["--path"], []])
def test_an_output_that_is_full(arguments: list[str], home: Path) -> None:
    with open("/dev/full", "wb") as full:  # noqa: PTH123 - a device
        done = subprocess.run(
            [*RINGBACK, "ca", *arguments],
            env=environment(home),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode != 0
    assert done.stderr == "ringback: the output cannot be written: No space left on device\n"


def test_a_key_that_others_can_read(runner: CliRunner, tmp_path: Path) -> None:
    runner.invoke(command)
    next(tmp_path.glob("home/ca/*/mitmproxy-ca.pem")).chmod(0o644)
    done = runner.invoke(command)
    assert done.exit_code == 1
    assert re.search(r"mode 0644.*ringback ca --rotate", done.stderr)
    assert runner.invoke(command, ["--rotate"]).exit_code == 0


@pytest.mark.parametrize("arguments", [[], ["--rotate"], ["--path"]])
def test_a_home_that_is_a_file(arguments: list[str], runner: CliRunner, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = runner.invoke(command, arguments, env={"RINGBACK_HOME": str(tmp_path / "file")})
    assert done.exit_code == 1
    assert done.stderr.startswith(f"Error: {tmp_path}/file")
    assert "ot a directory" in done.stderr
