"""Nothing leaves this machine for Twilio but what may: the kernel of a network namespace is the witness."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.clients import path
from support.launching import needs

PROMISE = "nothing leaves for Twilio but what may"
TRIED = "odd requests in a network whose every packet is read"
TESTS = Path(__file__).parents[1]
NAMESPACES = (["unshare", "-n", "-m"], ["unshare", "-r", "-n", "-m"])
ROUNDS = ("direct", "behind a proxy", "online")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    for program in ("unshare", "ip", "mount"):
        needs(program)
    tried = "ip link set lo up && ip route add local 0.0.0.0/0 dev lo && mount --bind /etc/hosts /etc/hosts"
    refused = ""
    for namespace in NAMESPACES:
        allowed = subprocess.run([*namespace, "sh", "-c", tried], capture_output=True, text=True, check=False)
        if allowed.returncode == 0:
            break
        refused = allowed.stderr.strip()[:200]
    else:
        pytest.skip(f"no network namespace here: {refused}")
    directory = tmp_path_factory.mktemp("witness")
    done = subprocess.run(
        [*namespace, sys.executable, "-m", "support.witness", str(directory)],
        env=os.environ | {"PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Any] = json.loads((directory / "seen.json").read_text())
    return found


def test_the_witness_sees_what_goes_to_other_hosts(seen: dict[str, Any]) -> None:
    control = "\n".join(seen["control"])
    assert "10.9.9.53 port 53" in control
    for name in ("plain", "secure", "raw", "socks"):
        assert f"{name}\\x07example" in control, name
    assert "10.50.0.1 port 443" in control
    assert seen["dropped"] == 0  # the kernel kept every packet for the witness


@pytest.mark.parametrize(
    "way", ["http proxy", "contradictions", "handshakes", "socks", "reverse", "transparent"]
)
@pytest.mark.parametrize("round_", ROUNDS)
def test_no_odd_request_about_twilio_leaves(seen: dict[str, Any], round_: str, way: str) -> None:
    if way == "transparent" and not seen["redirects"]:
        pytest.skip("no iptables that redirects here")
    assert seen[round_][way] == []
    assert seen[round_]["requests"] > 200


@pytest.mark.parametrize("moment", ["start", "after errors", "shutdown"])
@pytest.mark.parametrize("round_", ROUNDS)
def test_nothing_leaves_at_the_start_after_errors_and_at_the_end(
    seen: dict[str, Any], round_: str, moment: str
) -> None:
    found = seen[round_]
    assert found["ordinary"] == [201] * 3
    assert round_ == "online" or 400 <= found["broken cassette"] < 500
    assert found["exit"] == 0
    assert found[moment] == []


@pytest.mark.parametrize("round_", ["run", "run behind a proxy"])
def test_run_lets_nothing_out(seen: dict[str, Any], round_: str) -> None:
    assert seen[round_]["printed"] == [[0, "201"], [3, ""]]
    assert seen[round_]["run"] == []


def test_online_the_upstream_gets_the_probe_and_what_test_credentials_may_send(seen: dict[str, Any]) -> None:
    assert seen["online"]["upstream"] == [
        f"api.twilio.com GET {path(resource='x').removesuffix('/x.json')}.json HTTP/1.1",
        f"api.twilio.com POST {path()} HTTP/1.1",
    ]
