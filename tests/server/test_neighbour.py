"""A reverse listener that another machine reaches by a hosts entry: a second network namespace."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support import neighbour
from support.launching import needs

TESTS = Path(__file__).parents[1]
NAMESPACE = ["unshare", "-n", "-m"]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    for program in ("unshare", "nsenter", "ip", "curl", "mount"):
        needs(program)
    tried = "ip link add cable type veth peer name eth0"
    allowed = subprocess.run([*NAMESPACE, "sh", "-c", tried], capture_output=True, text=True, check=False)
    if allowed.returncode:
        pytest.skip(f"no network namespaces with a cable here: {allowed.stderr.strip()[:200]}")
    directory = tmp_path_factory.mktemp("neighbour")
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{TESTS}:{TESTS.parent / 'proxy'}",
        "HOME": str(directory),
    }
    command = [*NAMESPACE, sys.executable, neighbour.__file__, str(directory)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    "request_, got",
    [
        ("good", "201 1.1"),
        ("http/2", "201 1.1"),  # sooner, see docs/performance.md
        ("wrong", "401 1.1"),
        ("nobody", "401 1.1"),
        ("plain", "403 1.1"),  # credentials in clear text
    ],
)
def test_only_test_credentials_over_tls_are_answered(request_: str, got: str, seen: dict[str, str]) -> None:
    assert seen[request_] == f"{got} {neighbour.HERE}"


def test_a_machine_that_does_not_trust_the_ca_sends_nothing(seen: dict[str, str]) -> None:
    """curl ends with 60: it could not verify the certificate."""
    assert seen["untrusted"] == "60"
