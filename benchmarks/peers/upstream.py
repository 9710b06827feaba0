"""Mock upstreams for what is forwarded and tunnelled: plain asyncio, with TCP_NODELAY.

    python -m benchmarks.peers.upstream api CERTIFICATE_AND_KEY
    python -m benchmarks.peers.upstream bytes

`api` answers a GET as Twilio answers the proof of test credentials, and every POST with a constant message.
`bytes` reads the decimal number of one line and sends that many bytes.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import sys

from benchmarks.peers.bodies import BODY

CHUNK = bytes(1 << 18)
_REFUSED = (
    b'{"code": 20008, "message": "Resource not accessible with Test Account Credentials", "status": 403}'
)


def _answer(status: bytes, body: bytes) -> bytes:
    head = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (
        status,
        len(body),
    )
    return head + body


class _Api(asyncio.Protocol):
    """HTTP/1.1 with a Content-Length, one request at a time."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport, self.data = transport, b""

    def data_received(self, data: bytes) -> None:
        self.data += data
        while (end := self.data.find(b"\r\n\r\n")) >= 0:
            head = self.data[:end].lower()
            at = head.find(b"\r\ncontent-length:")
            length = int(head[at + 17 :].split(b"\r", 1)[0]) if at >= 0 else 0
            if len(self.data) < end + 4 + length:
                return
            self.data = self.data[end + 4 + length :]
            get = head.startswith(b"get ")
            self.transport.write(
                _answer(b"403 FORBIDDEN", _REFUSED) if get else _answer(b"201 CREATED", BODY)
            )


async def _send_bytes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    left = int(await reader.readline())
    while left:
        part = CHUNK[: min(left, len(CHUNK))]
        writer.write(part)
        await writer.drain()
        left -= len(part)
    writer.close()


async def _main() -> None:
    loop = asyncio.get_running_loop()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    server: asyncio.AbstractServer
    if sys.argv[1] == "api":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[2])
        server = await loop.create_server(_Api, sock=listener, ssl=context)
    else:
        server = await asyncio.start_server(_send_bytes, sock=listener)
    print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main())
