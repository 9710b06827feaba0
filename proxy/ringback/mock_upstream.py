"""A mock upstream: an HTTP server on loopback that answers like Twilio's API, as the contract documents it.

Recording, replay and drift can be tried with it without an account: `--upstream http://127.0.0.1:PORT`. Every
answer says `Ringback-Source: mock; ...`, and what is recorded from it names its origin, so that it is never
taken for the live API's.
"""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final

from ringback import contract as contracts
from ringback.contract.gate import canonical_host
from ringback.contract.render import FreshStamps
from ringback.exchange import MOCK, Request, header_value
from ringback.net import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Callable

    from ringback.contract import Contract
    from ringback.contract.render import Stamps
    from ringback.exchange import Answer

_LARGEST_BODY: Final = 1 << 20  # bytes; forms of the three resources have a few thousand
_IDLE: Final = 60.0  # seconds without a request after which a kept connection is closed


class MockUpstream(ThreadingHTTPServer):
    """The server; `serve_forever` runs it until `shutdown`.

    Args:
        contract: The contract to answer from; the documented one by default.
        port: The port on loopback; 0 takes a free one.
        stamps: Gives sids and dates.
        report: Called with a line for each request, from any thread.

    Raises:
        OSError: The port is not free.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(
        self,
        contract: Contract | None = None,
        port: int = 0,
        stamps: Stamps | None = None,
        report: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.contract = contract or contracts.load()
        self.stamps = stamps or FreshStamps()
        self.report = report
        super().__init__((LOOPBACK, port), _Handler)

    @property
    def url(self) -> str:
        """The URL for `--upstream`."""
        return f"http://{LOOPBACK}:{self.server_address[1]}"

    def answer(self, request: Request) -> Answer:
        """Answer as the documentation has it for test credentials; any credentials are some."""
        return contracts.answer(
            self.contract,
            request,
            contracts.Names(request.host),
            contracts.Credentials(),
            self.stamps.of(request),
        )


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    timeout = _IDLE
    server: MockUpstream

    def __getattr__(self, name: str) -> Any:
        """Return the same handler for every method: the contract says which are refused."""
        if name.startswith("do_"):
            return self._handle
        raise AttributeError(name)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Report nothing: `_handle` reports each request with its answer."""

    def _handle(self) -> None:
        body = self._body()
        if body is None:
            return
        fields = tuple(self.headers.items())
        host = canonical_host(self.headers.get("Host") or "")
        answer = self.server.answer(Request(self.command, host, self.path, fields, body))
        content = b"" if self.command == "HEAD" else answer.body
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.headers:
            if name.lower() not in {"content-length", "connection"}:
                self.send_header(name, value)
        source = answer.source.headers()[0][1].partition(";")[2]
        self.send_header("Ringback-Source", header_value(f"{MOCK};{source}"))
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(content)
        self.server.report(f"{self.command} https://{host}{self.path} {answer.status}")

    def _body(self) -> bytes | None:
        """Read the request's body; None after refusing one that is chunked, too large or cut short."""
        length = self.headers.get("Content-Length") or "0"
        if self.headers.get("Transfer-Encoding") or not (length.isascii() and length.isdigit()):
            self.send_error(411, "Length Required")
        elif int(length) > _LARGEST_BODY:
            self.send_error(413, "Content Too Large")
        else:
            body = self.rfile.read(int(length))
            if len(body) == int(length):
                return body
        self.close_connection = True
        return None
