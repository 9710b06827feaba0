"""Offline means offline: nobody asks for another host than this one, not even for its name.

Three ways to see an attempt: a network without a way out, a tracer of system calls, Python's audit events.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.sdks import python_sdk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from support.product import Product

pytestmark = pytest.mark.xdist_group("sdk-python")  # they share an SDK

HERE = Path(__file__).parent
EXPECTED = {
    "post": 201,
    "http/2": 201,
    "plain": 201,
    "head": 403,
    "options": 403,
    "region": 201,
    "product": 403,
    "no such host": 403,
    "sdk": "queued",
    "sdk error": 21211,
}
# Ways to a network namespace of one's own: as root, and where users may make namespaces.
NAMESPACES = (["unshare", "--net"], ["unshare", "--map-root-user", "--net"])
LOOPBACK_UP = ["sh", "-c", 'ip link set lo up && exec "$@"', "sh"]

SYSTEM_CALLS = "connect,sendto,sendmsg,sendmmsg"
ADDRESS = re.compile(r'inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)"')
LOOPBACK = re.compile(r"127\.|::1$|::ffff:127\.")
# Connecting a datagram socket sends nothing.
STRANGER = "import socket; socket.socket(type=socket.SOCK_DGRAM).connect(('192.0.2.1', 9))"


def run_every_way(
    product: Product, ringback: Sequence[str], around: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """`ringback run` of every way, started by `around`; all ways got what they deserve."""
    sdk = python_sdk("9")
    done = subprocess.run(
        [*around, *ringback, "run", "--", sdk.runtime, str(HERE / "every_way.py")],
        env=product.environment(sdk.environment),
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == EXPECTED
    assert f"ringback: {len(EXPECTED)} Twilio requests answered, offline" in done.stderr
    return done


def namespace() -> list[str]:
    """What to put before a command so that it has a network namespace with loopback alone."""
    for unshare in NAMESPACES:
        if shutil.which("unshare") and shutil.which("ip"):
            tried = subprocess.run([*unshare, *LOOPBACK_UP, "true"], check=False, capture_output=True)
            if tried.returncode == 0:
                return [*unshare, *LOOPBACK_UP]
    pytest.skip("no network namespaces here (they need unshare, ip and root, or user namespaces)")


def traced(file: Path) -> list[str]:
    """What to put before a command so that its system calls to reach others are written to `file`."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed here")
    strace = ["strace", "-f", "-qq", "-e", f"trace={SYSTEM_CALLS}", "-o", str(file)]
    if subprocess.run([*strace, "true"], check=False, capture_output=True).returncode:
        pytest.skip("strace may not trace here")
    return strace


def addresses(trace: str) -> set[str]:
    """All addresses of the Internet in a trace."""
    return {first or second for first, second in ADDRESS.findall(trace)}


def strangers(trace: str) -> set[str]:
    """The addresses in a trace that are not this machine's own."""
    return {address for address in addresses(trace) if not LOOPBACK.match(address)}


def test_works_without_a_network(product: Product) -> None:
    run_every_way(product, [sys.executable, "-m", "ringback"], namespace())


def test_namespace_has_no_way_out() -> None:
    done = subprocess.run(
        [*namespace(), sys.executable, "-c", STRANGER], check=False, capture_output=True, text=True
    )
    assert "Network is unreachable" in done.stderr


def test_no_process_calls_another_host(product: Product, tmp_path: Path) -> None:
    """The proxy, the child and whatever they start."""
    file = tmp_path / "trace"
    run_every_way(product, [sys.executable, "-m", "ringback"], traced(file))
    trace = file.read_text()
    assert "127.0.0.1" in addresses(trace)
    assert strangers(trace) == set()


def test_tracer_sees_a_call_to_another_host(tmp_path: Path) -> None:
    file = tmp_path / "trace"
    subprocess.run([*traced(file), sys.executable, "-c", STRANGER], check=True, capture_output=True)
    assert strangers(file.read_text()) == {"192.0.2.1"}


def test_proxy_names_no_other_host_to_the_system(product: Product, tmp_path: Path) -> None:
    log = tmp_path / "audit"
    run_every_way(product, [sys.executable, str(HERE / "audited.py"), str(log)])
    named = set(re.findall(r"'([^']*)'", log.read_text() if log.exists() else ""))
    assert {name for name in named if not LOOPBACK.match(name)} == set()


def test_audit_sees_a_name_given_to_the_system(product: Product, tmp_path: Path) -> None:
    """A host that is not Twilio's is tunnelled, so the proxy asks for it."""
    log = tmp_path / "audit"
    ask = "import socket, os, urllib.parse as u; p = u.urlsplit(os.environ['HTTPS_PROXY']); "
    ask += "s = socket.create_connection((p.hostname, p.port)); "
    ask += "s.sendall(b'CONNECT host.invalid:443 HTTP/1.1\\r\\n\\r\\n'); s.recv(99)"
    ask += "; s.sendall(b'plain\\r\\n\\r\\n'); s.recv(99)"
    subprocess.run(
        [
            *(sys.executable, str(HERE / "audited.py"), str(log)),
            *("run", "--allow-none", "--", sys.executable, "-c", ask),
        ],
        env=product.environment(),
        check=True,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=240,
    )
    assert "host.invalid" in log.read_text()
