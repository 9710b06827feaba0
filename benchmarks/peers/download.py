"""Client that reads many bytes from a mock upstream, directly or by CONNECT through a proxy.

python -m benchmarks.peers.download '{"upstream": 4001, "proxy": 8080, "bytes": 1000000000}'
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time


def main() -> None:
    """Download, and print the seconds from the first byte asked for to the last one received."""
    options = json.loads(sys.argv[1])
    if options.get("core") is not None:
        os.sched_setaffinity(0, {options["core"]})
    target = f"127.0.0.1:{options['upstream']}"
    port = options.get("proxy") or options["upstream"]
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if options.get("proxy"):
            connection.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
            reply = b""
            while b"\r\n\r\n" not in reply:
                part = connection.recv(4096)
                if not part:
                    sys.exit("the proxy closed the connection")
                reply += part
            if b" 200 " not in reply.split(b"\r\n", 1)[0]:
                sys.exit(f"the proxy refused: {reply[:200]!r}")
        buffer, left = bytearray(1 << 18), options["bytes"]
        began = time.perf_counter()
        connection.sendall(b"%d\n" % left)
        while left:
            got = connection.recv_into(buffer)
            if not got:
                sys.exit(f"{left} bytes did not come")
            left -= got
    print(json.dumps({"seconds": time.perf_counter() - began}))


if __name__ == "__main__":
    main()
