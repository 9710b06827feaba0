"""Mock upstreams for what is forwarded and tunnelled: plain asyncio, with TCP_NODELAY.

    python -m benchmarks.peers.upstream api CERTIFICATE_AND_KEY
    python -m benchmarks.peers.upstream bytes

`api` answers a GET as Twilio answers the proof of test credentials, and every POST with a message as Twilio
would: with all of its fields and header fields, so that a comparison with the documentation finds nothing.
`bytes` reads the decimal number of one line and sends that many bytes.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import sys
from urllib.parse import parse_qsl

from benchmarks.load import ACCOUNT

CHUNK = bytes(1 << 18)
_REFUSED = (
    b'{"code": 20008, "message": "Resource not accessible with Test Account Credentials", "status": 403}'
)
_PATH = f"/2010-04-01/Accounts/{ACCOUNT}/Messages/SM{'0' * 32}"
_WHEN = "Fri, 27 Nov 2026 09:31:27"
_MESSAGE = {
    "sid": "SM" + "0" * 32,
    "date_created": f"{_WHEN} +0000",
    "date_updated": f"{_WHEN} +0000",
    "date_sent": None,
    "account_sid": ACCOUNT,
    "messaging_service_sid": None,
    "status": "queued",
    "num_segments": "1",
    "num_media": "0",
    "direction": "outbound-api",
    "api_version": "2010-04-01",
    "price": None,
    "price_unit": "USD",
    "error_code": None,
    "error_message": None,
    "uri": f"{_PATH}.json",
    "subresource_uris": {"media": f"{_PATH}/Media.json"},
}
_HEAD = (
    "HTTP/1.1 %s\r\n"
    f"Date: {_WHEN} GMT\r\n"
    "Content-Type: application/json\r\n"
    "Content-Length: %d\r\n"
    "Twilio-Concurrent-Requests: 1\r\n"
    f"Twilio-Request-Id: RQ{'0' * 32}\r\n"
    "Twilio-Request-Duration: 0.114\r\n"
    "X-Home-Region: us1\r\n"
    "X-API-Domain: api.twilio.com\r\n"
    "Strict-Transport-Security: max-age=31536000\r\n"
    "Access-Control-Allow-Origin: *\r\n"
    "Access-Control-Allow-Headers: Accept, Authorization, Content-Type, If-Match, Idempotency-Key\r\n"
    "Access-Control-Allow-Methods: GET, POST, DELETE, OPTIONS\r\n"
    "Access-Control-Expose-Headers: ETag\r\n"
    "Access-Control-Allow-Credentials: true\r\n"
    "X-Powered-By: AT-5000\r\n"
    "X-Shenanigans: none\r\n\r\n"
)


def _answer(status: str, body: bytes) -> bytes:
    return (_HEAD % (status, len(body))).encode() + body


def _message(form: bytes) -> bytes:
    fields = dict(parse_qsl(form.decode()))
    sent = {"to": fields["To"], "from": fields["From"], "body": fields["Body"]}
    return json.dumps(_MESSAGE | sent).encode()


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
            body, self.data = self.data[end + 4 : end + 4 + length], self.data[end + 4 + length :]
            get = head.startswith(b"get ")
            self.transport.write(
                _answer("403 FORBIDDEN", _REFUSED) if get else _answer("201 CREATED", _message(body))
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
