from __future__ import annotations

import contextlib
import json
import os
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from ringback.launch import ca, certificates
from ringback.launch.ca import AuthorityError, default_directory, ensure_authority, rotate_authority

if TYPE_CHECKING:
    from collections.abc import Callable

    from ringback.launch.ca import Authority
    from support.launching import CannedProxy

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.delenv("RINGBACK_HOME", raising=False)
    (tmp_path / "home").mkdir()
    (tmp_path / "tmp").mkdir()
    return tmp_path / "home"


def test_it_is_made_once_and_then_found_again(tmp_path: Path) -> None:
    first = ensure_authority(tmp_path, now=NOW)
    assert first.warnings == ()
    assert ensure_authority(tmp_path, now=NOW + timedelta(days=300)) == first
    root = x509.load_pem_x509_certificate(first.root_pem.read_bytes())
    assert root.fingerprint(hashes.SHA256()).hex(":").upper() == first.fingerprint
    assert root.not_valid_after_utc == first.not_after
    assert first.lasting_pem.read_bytes() == first.root_pem.read_bytes()
    assert first.mitmproxy_pem == first.directory / "mitmproxy-ca.pem"


def test_mitmproxy_adds_nothing_to_its_directory(authority: Authority, proxy: CannedProxy) -> None:
    """Not a CA without limits, above all. The proxy runs with this directory as its confdir."""
    assert proxy.port
    files = sorted(path.name for path in authority.directory.iterdir())
    assert files == ["mitmproxy-ca-cert.pem", "mitmproxy-ca.pem", "mitmproxy-dhparam.pem"]


def test_the_key_is_its_owners_alone_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        made = ensure_authority(tmp_path / "ca", now=NOW)
    finally:
        os.umask(old)
    assert stat.S_IMODE(made.mitmproxy_pem.stat().st_mode) == 0o600
    assert stat.S_IMODE(made.directory.stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "ca").stat().st_mode) == 0o700


@pytest.mark.parametrize("days, renewed", [(365, False), (367, True), (500, True)])
def test_it_renews_itself_30_days_before_its_end(tmp_path: Path, days: int, renewed: bool) -> None:
    first = ensure_authority(tmp_path, now=NOW)
    later = ensure_authority(tmp_path, now=NOW + timedelta(days=days))
    assert (later.fingerprint != first.fingerprint) is renewed
    assert bool(later.warnings) is (days == 500)
    assert later.lasting_pem == first.lasting_pem
    assert first.root_pem.exists(), "a running proxy still reads it"


def test_one_that_has_not_begun_is_replaced_and_said_so(tmp_path: Path) -> None:
    """Made while the clock was ahead; it begins a day before it was made."""
    first = ensure_authority(tmp_path, now=NOW + timedelta(days=10))
    again = ensure_authority(tmp_path, now=NOW)
    assert again.fingerprint != first.fingerprint
    assert again.not_before < NOW
    (told,) = again.warnings
    assert told.startswith("the CA begins on 2026-03-13 05:06 UTC, after what the clock says; a new one was")
    assert ensure_authority(tmp_path, now=NOW + timedelta(hours=-23)).fingerprint == again.fingerprint


@pytest.mark.parametrize("what", ["another certificate", "nothing"])
def test_a_root_that_is_not_the_keys_is_replaced_and_said_so(tmp_path: Path, what: str) -> None:
    made = ensure_authority(tmp_path / "ca", now=NOW)
    other = ensure_authority(tmp_path / "other", now=NOW).root_pem.read_bytes()
    made.root_pem.write_bytes(other if what == "another certificate" else b"")
    again = ensure_authority(tmp_path / "ca", now=NOW)
    assert again.fingerprint != made.fingerprint
    root = x509.load_pem_x509_certificate(again.root_pem.read_bytes())
    assert root.fingerprint(hashes.SHA256()).hex(":").upper() == again.fingerprint
    assert f"{made.root_pem} is damaged; a new CA was made" in again.warnings[0]


def test_rotating_keeps_one_generation_for_proxies_that_run(tmp_path: Path) -> None:
    first = ensure_authority(tmp_path, now=NOW)
    second = rotate_authority(tmp_path, now=NOW)
    assert second.fingerprint != first.fingerprint
    assert first.mitmproxy_pem.exists()
    third = rotate_authority(tmp_path, now=NOW)
    assert not first.directory.exists()
    assert second.mitmproxy_pem.exists()
    assert ensure_authority(tmp_path, now=NOW) == third


def test_many_processes_at_first_use_agree(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from ringback.launch.ca import ensure_authority;"
        "print('ready', flush=True); sys.stdin.readline();"
        "print(ensure_authority(pathlib.Path(sys.argv[1])).fingerprint)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "ca")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(subprocess.Popen(command, **pipes)) for _ in range(8)]
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        # Imports are done: all of them come to the same point at the same moment.
        for process in processes:
            process.stdin.write("\n")
            process.stdin.flush()
        fingerprints = {process.stdout.read() for process in processes}
    assert len(fingerprints) == 1
    left = sorted(path.name for path in (tmp_path / "ca").iterdir())
    assert left[-3:] == ["checked", "current", "lock"]
    assert len(left) == 4


def test_a_key_that_others_could_read_is_refused_with_the_way_out(tmp_path: Path) -> None:
    made = ensure_authority(tmp_path, now=NOW)
    made.mitmproxy_pem.chmod(0o644)
    with pytest.raises(AuthorityError, match=r"mode 0644 instead of 0600\).*ringback ca --rotate"):
        ensure_authority(tmp_path, now=NOW)
    assert rotate_authority(tmp_path, now=NOW).fingerprint != made.fingerprint


def test_a_directory_that_others_could_write_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "ca").mkdir()
    (tmp_path / "ca").chmod(0o777)
    with pytest.raises(AuthorityError, match="chmod go-w"):
        ensure_authority(tmp_path / "ca", now=NOW)


def test_another_users_key_is_refused_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensure_authority(tmp_path, now=NOW)
    mine = os.geteuid()
    monkeypatch.setattr(ca.os, "geteuid", lambda: mine + 1)
    with pytest.raises(AuthorityError, match=rf"belongs to user {mine}, not to you.*RINGBACK_HOME"):
        ensure_authority(tmp_path, now=NOW)


@pytest.mark.parametrize("damage", [b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_a_damaged_ca_is_replaced_and_said_so(tmp_path: Path, damage: bytes) -> None:
    made = ensure_authority(tmp_path, now=NOW)
    made.mitmproxy_pem.write_bytes(damage)
    again = ensure_authority(tmp_path, now=NOW)
    assert again.fingerprint != made.fingerprint
    assert "a new CA was made" in again.warnings[0]


def test_one_that_was_checked_is_found_without_a_look_at_its_certificates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = ensure_authority(tmp_path, now=NOW)
    with monkeypatch.context() as patched:
        patched.setattr(certificates, "read_certificates", None)
        assert ensure_authority(tmp_path, now=NOW) == made
    code = (
        "import sys, pathlib; from ringback.launch.ca import ensure_authority;"
        "ensure_authority(pathlib.Path(sys.argv[1]));"
        "print([name for name in sys.modules if name.startswith('cryptography')])"
    )
    ensure_authority(tmp_path / "now")
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "now")], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    "change",
    [
        lambda noted: noted | {"digest": "0" * 64},
        lambda noted: noted | {"version": "0.0.1"},
        lambda noted: noted | {"start": "yesterday"},
        lambda _: {},
        lambda _: [],
        lambda _: None,
    ],
    ids=["another digest", "another version", "no date", "nothing", "a list", "null"],
)
def test_what_was_noted_of_other_files_does_not_count(
    tmp_path: Path, change: Callable[[dict[str, str]], object]
) -> None:
    made = ensure_authority(tmp_path, now=NOW)
    noted = tmp_path / "checked"
    good = noted.read_bytes()
    noted.write_text(json.dumps(change(json.loads(good))))
    assert ensure_authority(tmp_path, now=NOW) == made
    assert noted.read_bytes() == good


def test_what_others_may_have_noted_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CA without limits is not taken, whatever a file that others may write says."""
    ensure_authority(tmp_path, now=NOW)
    noted = tmp_path / "checked"
    noted.chmod(0o666)
    looked: list[bytes] = []
    read = certificates.read_certificates
    monkeypatch.setattr(certificates, "read_certificates", lambda pem: looked.append(pem) or read(pem))
    ensure_authority(tmp_path, now=NOW)
    assert len(looked) == 1
    assert stat.S_IMODE(noted.stat().st_mode) == 0o600


def test_a_directory_that_cannot_be_written_is_checked_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a secret that a cluster mounts."""
    made = ensure_authority(tmp_path, now=NOW)
    (tmp_path / "checked").unlink()

    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(ca, "write_atomically", refuse)
    assert ensure_authority(tmp_path, now=NOW) == made


def test_a_missing_file_is_made_up_for(tmp_path: Path) -> None:
    made = ensure_authority(tmp_path, now=NOW)
    made.root_pem.unlink()
    again = ensure_authority(tmp_path, now=NOW)
    assert again.root_pem.exists()
    assert "not complete" in again.warnings[0]


def test_the_default_is_the_users_data_directory(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ensure_authority(now=NOW).directory.is_relative_to(home)
    monkeypatch.setenv("RINGBACK_HOME", str(tmp_path / "else where"))
    assert default_directory() == tmp_path / "else where" / "ca"
    assert ensure_authority(now=NOW).directory.is_relative_to(tmp_path / "else where")


def test_no_home_at_all(home: Path, tmp_path: Path) -> None:
    home.rmdir()
    made = ensure_authority(now=NOW)
    assert made.directory.is_relative_to(tmp_path / "tmp")
    assert "no home" in made.warnings[0]
    assert "RINGBACK_HOME" in made.warnings[0]
    assert ensure_authority(now=NOW) == made
    assert not home.exists()


def _read_only(monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    """Root may write anywhere, so a read-only file system is made of its error."""
    mkdir = Path.mkdir

    def refuse(self: Path, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        if self.is_relative_to(directory):
            raise OSError(30, "Read-only file system", str(self))
        mkdir(self, mode, parents, exist_ok)

    monkeypatch.setattr(Path, "mkdir", refuse)


def test_a_read_only_home(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _read_only(monkeypatch, home)
    made = ensure_authority(now=NOW)
    assert made.directory.is_relative_to(tmp_path / "tmp")
    assert "Read-only file system" in made.warnings[0]
    again = rotate_authority(now=NOW)
    assert (again.lasting_pem, again.warnings) == (made.lasting_pem, made.warnings)
    assert again.fingerprint != made.fingerprint
    assert ensure_authority(now=NOW).fingerprint == again.fingerprint


def test_a_read_only_directory_that_was_asked_for_is_an_error(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RINGBACK_HOME", str(home / "mine"))
    _read_only(monkeypatch, home)
    with pytest.raises(AuthorityError, match="cannot be written"):
        ensure_authority(now=NOW)


@pytest.mark.parametrize("trap", ["open", "link"])
def test_a_trap_in_the_temporary_directory_is_stepped_around(home: Path, tmp_path: Path, trap: str) -> None:
    home.rmdir()
    taken = tmp_path / "tmp" / f"ringback-{os.geteuid()}"
    if trap == "open":
        taken.mkdir()
        taken.chmod(0o777)
    else:
        (tmp_path / "elsewhere").mkdir()
        taken.symlink_to(tmp_path / "elsewhere")
    made = ensure_authority(now=NOW)
    assert not made.directory.is_relative_to(taken.resolve())


def test_the_home_of_an_unknown_user_stays_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RINGBACK_HOME", "~there-is-no-such-user/x")
    assert default_directory() == Path.cwd() / "~there-is-no-such-user" / "x" / "ca"
