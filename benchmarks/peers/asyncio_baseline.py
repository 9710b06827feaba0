"""TLS server that answers a constant: the upper bound of asyncio, and of the load generator.

python -m benchmarks.peers.asyncio_baseline CERTIFICATE_AND_KEY
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys

from benchmarks.peers.bodies import BODY

ANSWER = b"HTTP/1.1 201 CREATED\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
    len(BODY),
    BODY,
)


class _Constant(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, _data: bytes) -> None:
        self.transport.write(ANSWER)  # type: ignore[attr-defined] # a transport that writes


async def _main() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1])
    server = await asyncio.get_running_loop().create_server(_Constant, "127.0.0.1", 0, ssl=context)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main())
