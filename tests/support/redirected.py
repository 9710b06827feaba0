"""A network and mount namespace with a transparent proxy in it; run as a program, prints what clients saw.

Usage: unshare -n -m PYTHON redirected.py DIRECTORY BLOCK, where BLOCK is a shell script that redirects the
user `app` to port 4012 and runs send.sh as it. Here `app` is `nobody`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from support.clients import ACCOUNT, TOKEN, path
from support.proxying import serve
from support.servers import elsewhere

USER = "nobody"
ADDRESS = "198.51.100.7"  # TEST-NET-2: what Twilio's name resolves to in here
NETWORK = """
ip link set lo up
ip address add 192.0.2.2/24 dev lo
ip route add default dev lo
"""
SEND = f"""
curl -sS --max-time 20 -u {ACCOUNT}:{TOKEN} -d Body=hello --data-urlencode To=+14105550100 \\
    --data-urlencode From=+15005550006 https://api.twilio.com{path()} | grep -o queued
"""


def main(directory: Path, block: str) -> dict[str, object]:
    """Run everything; what was seen by name."""
    _shell(directory, NETWORK)
    hosts = directory / "hosts"
    hosts.write_text(f"127.0.0.1 localhost\n{ADDRESS} api.twilio.com\n")
    _shell(directory, f"mount --bind {hosts} /etc/hosts")
    (directory / "send.sh").write_text(SEND)
    home = directory / "home"
    home.mkdir()
    with (
        elsewhere(directory) as other,
        serve(home, directory, "--transparent", "4012") as running,
    ):
        found: dict[str, object] = {"block": _shell(directory, block)}
        redirect = f"iptables -t nat -A OUTPUT -p tcp --dport %s -m owner --uid-owner {USER} -j REDIRECT"
        for port in (other.port, 80):
            _shell(directory, f"{redirect % port} --to-ports 4012")
        there = f"https://localhost:{other.port}/"
        as_user = f"runuser -u {USER} -- curl -s --max-time 20"
        found["elsewhere"] = _shell(directory, f"{as_user} --cacert {other.certificate} {there}", ok=False)
        found["seen"] = other.seen.copy()
        found["nameless"] = _shell(directory, f"{as_user} -k https://{ADDRESS}/ || echo $?", ok=False)
        found["plain"] = _shell(
            directory, f"{as_user} -o /dev/null -w '%{{http_code}}' http://api.twilio.com/", ok=False
        )
        # Now the proxy's own user too: a connection that passes through comes back to it.
        _shell(
            directory, f"iptables -t nat -A OUTPUT -p tcp --dport {other.port} -j REDIRECT --to-ports 4012"
        )
        loop = f"curl -s --max-time 20 --cacert {other.certificate} {there} || echo $?"
        found["loop"] = _shell(directory, loop, ok=False)
        found["told"] = running.stderr()
    return found


def _shell(directory: Path, script: str, *, ok: bool = True) -> str:
    done = subprocess.run(
        ["sh", "-e", "-c", script], cwd=directory, capture_output=True, text=True, check=False
    )
    if ok and done.returncode:
        sys.exit(f"{script.strip()}: {done.stderr}")
    return done.stdout


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]).read_text())))
