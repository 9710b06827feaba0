"""The doctor's small programs; that each arrives is shown by tests/cli/test_doctor."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from ringback.launch.probes import BASIC, HOST, PROBES, SID, TOKEN, ClientProbe


def test_the_login_is_nobodys() -> None:
    assert base64.b64decode(BASIC.removeprefix("Basic ")).decode() == f"{SID}:{TOKEN}"
    assert set(SID + TOKEN) == set("AC0")


def test_the_host_is_twilios_and_has_no_address() -> None:
    assert HOST.endswith(".twilio.com")
    assert HOST.count(".") == 3


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: f"{probe.runtime}, {probe.client}")
def test_each_asks_that_host_and_nobody_else(probe: ClientProbe, tmp_path: Path) -> None:
    words = probe.command(tmp_path)
    files = [Path(word).read_bytes() for word in words if word.startswith(str(tmp_path))]
    told = b" ".join([*(word.encode() for word in words), *files])
    assert f"https://{HOST}/".encode() in told
    assert told.count(b"https://") == told.count(f"https://{HOST}/".encode())
    assert probe.advice


def test_each_runtimes_own_client_comes_before_its_sdk() -> None:
    for runtime in {probe.runtime for probe in PROBES} - {
        "Perl",
        "R",
        "libcurl",
    }:  # all that these have are modules
        assert not next(probe for probe in PROBES if probe.runtime == runtime).sdk
