"""A network and mount namespace with a transparent proxy in it; run as a program, prints what clients saw.

Usage: unshare -n -m PYTHON redirected.py DIRECTORY BLOCK, where BLOCK is a shell script that redirects the
user `app` to port 4012 and runs send.sh as it. Here `app` is `nobody`.
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Self

from support.clients import ACCOUNT, TOKEN, path
from support.proxying import serve
from support.servers import elsewhere
from support.upstream import LoopbackUpstream, arguments, loopback_upstream, throw_away, twilio

USER = "nobody"
ADDRESS = "198.51.100.7"  # TEST-NET-2: what Twilio's name resolves to in here
ADDRESS_6 = "2001:db8::7"  # the documentation's own; here it is this machine's, and somebody listens
NETWORK = f"""
ip link set lo up
ip address add 192.0.2.2/24 dev lo
ip route add default dev lo
ip -6 address add {ADDRESS_6}/128 dev lo
"""
LIVE_ACCOUNT = "AC" + "f" * 32  # the mock upstream says that these credentials are live
SEND = f"""
curl -sS --max-time 20 -u {ACCOUNT}:{TOKEN} -d Body=hello --data-urlencode To=+14105550100 \\
    --data-urlencode From=+15005550006 https://api.twilio.com{path()} | grep -o queued
"""


def main(directory: Path, block: str) -> dict[str, object]:
    """Run everything; what was seen by name."""
    _shell(directory, NETWORK)
    hosts = directory / "hosts"
    hosts.write_text(f"127.0.0.1 localhost\n{ADDRESS_6} api.twilio.com\n{ADDRESS} api.twilio.com\n")
    _shell(directory, f"mount --bind {hosts} /etc/hosts")
    (directory / "send.sh").write_text(SEND)
    home = directory / "home"
    home.mkdir()
    with (
        elsewhere(directory) as other,
        serve(home, directory, "--transparent", "4012") as running,
        _Counting(ADDRESS_6) as outside,
    ):
        by_6 = f"runuser -u {USER} -- curl -6 -sk --max-time 20 https://api.twilio.com/ || echo $?"
        found: dict[str, object] = {"before": [_shell(directory, by_6, ok=False), outside.count]}
        found["block"] = _shell(directory, block)
        answered = by_6.replace(" -sk ", " -sk -o /dev/null -w '%{http_code}' ")
        found["after"] = [_shell(directory, answered, ok=False), outside.count]
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
    for mode in ("auto", "online"):
        found[mode] = _forwarding(directory, home, mode)
    return found


def _forwarding(directory: Path, home: Path, mode: str) -> dict[str, object]:
    """Return a redirected client's results in a mode that forwards, and the requests at the mock upstream."""
    place = directory / mode
    place.mkdir()
    with loopback_upstream(throw_away(place)) as upstream:
        upstream.probe = lambda seen: twilio(200, None, sid="AC") if LIVE_ACCOUNT in seen.line else _TEST
        with serve(home, place, *arguments(upstream, mode, "--transparent", "4012")) as running:
            test = [_sent(directory, running.ca, ACCOUNT) for _ in range(2)]
            seen = [*_seen(upstream)]
            live = _sent(directory, running.ca, LIVE_ACCOUNT, body="new")
            return {"test": test, "seen": seen, "live": live, "then": _seen(upstream)}


_TEST = twilio(403, 20008)


def _sent(directory: Path, ca: Path, account: str, body: str = "hello") -> list[str]:
    """The status and where the answer came from, of one message."""
    curl = f"curl -s --max-time 20 --cacert {directory / 'ringback.pem'} -u {account}:{TOKEN} -o /dev/null"
    form = f"-d Body={body} --data-urlencode To=+14105550100 --data-urlencode From=+15005550006"
    said = "-w '%{http_code} %header{ringback-source}'"
    (directory / "ringback.pem").write_bytes(ca.read_bytes())
    url = f"https://api.twilio.com{path(account=account)}"
    return _shell(directory, f"runuser -u {USER} -- {curl} {form} {said} {url}", ok=False).split(maxsplit=1)


def _seen(upstream: LoopbackUpstream) -> list[list[str | None]]:
    return [[seen.line.partition(" ")[0], seen.server_name] for seen in upstream.seen]


class _Counting:
    """Listens on port 443 of an address, and counts who came."""

    def __init__(self, address: str) -> None:
        self.count = 0
        self._listener = socket.create_server((address, 443), family=socket.AF_INET6)
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.count += 1
                connection.close()


def _shell(directory: Path, script: str, *, ok: bool = True) -> str:
    done = subprocess.run(
        ["sh", "-e", "-c", script], cwd=directory, capture_output=True, text=True, check=False
    )
    if ok and done.returncode:
        sys.exit(f"{script.strip()}: {done.stderr}")
    return done.stdout


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]).read_text())))
