"""Redirected connections, in a network namespace of their own with the lines of docs/clients.md."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support import redirected
from support.launching import needs

if TYPE_CHECKING:
    from collections.abc import Iterator

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "clients.md"
NAMESPACE = ["unshare", "-n", "-m"]


def documented() -> str:
    """The page's lines, for this machine's `nobody`."""
    section = PAGE.read_text().partition("## Redirected by the kernel\n")[2].partition("\n## ")[0]
    found = re.search(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    assert found
    assert "app" in found[1]
    return re.sub(r"\bapp\b", redirected.USER, found[1])


@pytest.fixture(scope="module")
def seen() -> Iterator[dict[str, Any]]:
    for program in ("unshare", "ip", "iptables", "ip6tables", "runuser", "curl", "mount"):
        needs(program)
    tried = "ip link set lo up && ip -6 address show lo && iptables -t nat -L -n && ip6tables -t nat -L -n"
    allowed = subprocess.run([*NAMESPACE, "sh", "-c", tried], capture_output=True, text=True, check=False)
    if allowed.returncode:
        pytest.skip(f"no network namespace with iptables here: {allowed.stderr.strip()[:200]}")
    # Not below tmp_path: another user has to read it.
    with tempfile.TemporaryDirectory(prefix="ringback-test-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        programs = directory / "bin"
        programs.mkdir()
        (programs / "ringback").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m ringback "$@"\n')
        (programs / "ringback").chmod(0o755)
        (directory / "block.sh").write_text(documented())
        environment = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": f"{TESTS}:{TESTS.parent / 'proxy'}",
            "HOME": str(directory / "home"),
            "RINGBACK_HOME": str(directory / "home" / "ringback"),
        }
        command = [*NAMESPACE, sys.executable, redirected.__file__, name, str(directory / "block.sh")]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=200
        )
        assert done.returncode == 0, done.stderr
        yield json.loads(done.stdout)


def test_a_program_that_knows_of_nothing_is_answered(seen: dict[str, Any]) -> None:
    assert seen["block"] == "queued\n"


def test_plain_http_to_twilio_is_answered_too(seen: dict[str, Any]) -> None:
    assert seen["plain"] == "401"


def test_another_host_gets_its_connection_untouched(seen: dict[str, Any]) -> None:
    """Its own certificate is what the client verified."""
    assert seen["elsewhere"] == "elsewhere"
    assert seen["seen"] == ["GET / HTTP/1.1"]


def test_tls_that_names_no_host_goes_nowhere(seen: dict[str, Any]) -> None:
    """Its address could be Twilio's. curl ends with 35: the connection was closed in the handshake."""
    assert seen["nameless"] == "35\n"


def test_a_redirection_of_the_proxy_itself_is_reported_and_ends(seen: dict[str, Any]) -> None:
    assert seen["loop"] == "35\n"
    assert seen["told"].count("connections of the proxy itself are redirected to it") == 1


def test_a_name_with_an_ipv6_address_does_not_lead_past_the_redirection(seen: dict[str, Any]) -> None:
    """curl ends with 35 where its connection is closed in the handshake."""
    assert seen["before"] == ["35\n", 1], "somebody listens there"
    assert seen["after"] == ["401", 1], "Ringback answers, and nobody else is asked"


@pytest.mark.parametrize("mode", ["auto", "online"])
def test_forwarding_modes_prove_the_credentials_of_redirected_clients_too(
    mode: str, seen: dict[str, Any]
) -> None:
    found = seen[mode]
    [first, second] = found["test"]
    assert (first[0], first[1].split(";")[0]) == ("201", "live")
    # The second is a recording in auto mode.
    assert (second[0], second[1].split(";")[0]) == ("201", "cassette" if mode == "auto" else "live")
    asked = [["GET", "api.twilio.com"], ["POST", "api.twilio.com"]]
    assert found["seen"] == (asked if mode == "auto" else [*asked, asked[1]])
    assert (found["live"][0], found["live"][1].split(";")[0]) == ("403", "gate")
    # One more question, and nothing was forwarded.
    assert found["then"] == [*found["seen"], asked[0]]
