"""HAProxy, which relays TCP to one port by splice: what a proxy written in C reaches on this machine.

python -m benchmarks.peers.haproxy UPSTREAM_PORT
"""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path

_CONFIGURATION = """\
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  option splice-request
  option splice-response
listen relay
  bind fd@{listener}
  server upstream 127.0.0.1:{upstream}
"""


def main() -> None:
    """Write the configuration into this directory, print the port, and become HAProxy."""
    listener = socket.create_server(("127.0.0.1", 0))
    os.set_inheritable(listener.fileno(), True)  # noqa: FBT003 - its only argument
    written = _CONFIGURATION.format(listener=listener.fileno(), upstream=sys.argv[1])
    Path("haproxy.cfg").write_text(written, encoding="utf-8")
    print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
    # HAProxy takes the place of this process.
    os.execvp("haproxy", ["haproxy", "-db", "-f", "haproxy.cfg"])  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()
