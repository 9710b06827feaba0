"""The doctor's small programs; that each arrives is shown by tests/cli/test_doctor."""

from __future__ import annotations

import base64
import subprocess
from typing import TYPE_CHECKING

import pytest

from ringback.launch.probes import BASIC, HOST, PROBES, SID, TOKEN, ClientProbe, NotHereError

if TYPE_CHECKING:
    from pathlib import Path


def test_the_login_is_nobodys() -> None:
    assert base64.b64decode(BASIC.removeprefix("Basic ")).decode() == f"{SID}:{TOKEN}"
    assert set(SID + TOKEN) == set("AC0")


def test_the_host_is_twilios_and_has_no_address() -> None:
    assert HOST.endswith(".twilio.com")
    assert HOST.count(".") == 3


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: f"{probe.runtime}, {probe.client}")
def test_each_asks_that_host_and_nobody_else(
    probe: ClientProbe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing is compiled here.
    monkeypatch.setattr(subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 0))
    words = probe.command(tmp_path)
    files = [file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()]
    told = b" ".join([*(word.encode() for word in words), *files])
    assert f"https://{HOST}/".encode() in told
    assert told.count(b"https://") == told.count(f"https://{HOST}/".encode())
    assert probe.advice


def test_what_cannot_be_built_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = subprocess.CompletedProcess([], 101, "", "  Updating\nerror: no matching package named `ureq`\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    rust = next(probe for probe in PROBES if probe.runtime == "Rust")
    with pytest.raises(NotHereError, match=r"with ureq here: error: no matching package named `ureq`$"):
        rust.command(tmp_path)


def test_each_runtimes_own_client_comes_before_its_sdk() -> None:
    for runtime in {probe.runtime for probe in PROBES} - {
        "Perl",
        "R",
        "libcurl",
    }:  # all that these have are modules
        assert not next(probe for probe in PROBES if probe.runtime == runtime).sdk
