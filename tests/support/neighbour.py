"""Two network namespaces with a cable between them: a reverse listener in one, another machine in the other.

Usage: unshare -n -m PYTHON neighbour.py DIRECTORY; prints what the other machine's curl got.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from support.clients import ACCOUNT, TOKEN, path
from support.proxying import serve

HERE = "192.0.2.1"
THERE = "192.0.2.2"
CREDENTIALS = {"RINGBACK_TEST_ACCOUNT_SID": ACCOUNT, "RINGBACK_TEST_AUTH_TOKEN": TOKEN}
PASSWORD = "open-sesame"
FORM = "-d Body=hello --data-urlencode To=+14105550100 --data-urlencode From=+15005550006"


def main(directory: Path) -> dict[str, object]:
    """Run everything; what was seen by name."""
    (directory / "hosts").write_text(f"127.0.0.1 localhost\n{HERE} api.twilio.com\n")
    _shell(f"ip link set lo up && mount --bind {directory / 'hosts'} /etc/hosts")
    # The other machine lives until its input ends.
    with subprocess.Popen(["unshare", "-n", "sh", "-c", "echo up; read _"], stdin=-1, stdout=-1) as other:
        assert other.stdin
        assert other.stdout
        other.stdout.readline()
        _shell(f"ip link add cable type veth peer name eth0 netns {other.pid}")
        _shell(f"ip address add {HERE}/24 dev cable && ip link set cable up")
        enter = f"nsenter -t {other.pid} -n"
        _shell(f"{enter} ip address add {THERE}/24 dev eth0 && {enter} ip link set eth0 up")
        home = directory / "home"
        home.mkdir()
        more = CREDENTIALS | {"RINGBACK_PROXY_PASSWORD": PASSWORD}
        with serve(home, directory, "--host", "0.0.0.0", "--reverse", "443", more=more) as running:
            curl = f"{enter} curl -s --max-time 20 --cacert {running.ca} -o /dev/null"
            url = f"https://api.twilio.com{path()}"
            log = "-w '%{http_code} %{http_version} %{remote_ip}'"
            return {
                "good": _shell(f"{curl} --http1.1 {log} -u {ACCOUNT}:{TOKEN} {FORM} {url}"),
                "http/2": _shell(f"{curl} --http2 {log} -u {ACCOUNT}:{TOKEN} {FORM} {url}"),
                "wrong": _shell(f"{curl} --http1.1 {log} -u {ACCOUNT}:other {FORM} {url}"),
                "nobody": _shell(f"{curl} --http1.1 {log} {FORM} {url}"),
                "plain": _shell(
                    f"{curl} --http1.1 {log} -u {ACCOUNT}:{TOKEN} {FORM} http://api.twilio.com:443{path()}"
                ),
                "untrusted": _shell(
                    f"{enter} curl -s --max-time 20 -o /dev/null {url} || echo $?", checked=False
                ),
                "health": _shell(f"{curl} --http1.1 {log} https://api.twilio.com/ringback/health"),
            }


def _shell(script: str, *, checked: bool = True) -> str:
    done = subprocess.run(["sh", "-e", "-c", script], capture_output=True, text=True, check=False)
    if checked and done.returncode:
        sys.exit(f"{script}: {done.returncode} {done.stderr}")
    return done.stdout.strip()


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(Path(sys.argv[1]))))
