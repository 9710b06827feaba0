"""Health check of a container with `ringback serve`: exit code 0 if the proxy answers its health path."""

from __future__ import annotations

import base64
import os
import sys
from urllib.request import ProxyHandler, Request, build_opener


def main() -> None:
    """Ask the proxy at the port of the first argument, with its password if there is one."""
    request = Request(f"http://127.0.0.1:{int(sys.argv[1])}/ringback/health")
    password = os.environ.get("RINGBACK_PROXY_PASSWORD")
    if password:
        pair = base64.b64encode(f"health:{password}".encode()).decode()
        request.add_header("Proxy-Authorization", f"Basic {pair}")
    build_opener(ProxyHandler({})).open(request, timeout=2).close()


if __name__ == "__main__":
    main()
