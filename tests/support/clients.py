"""Requests as clients make them: as plain values for the pure contract, and as raw bytes on a socket."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import socket
import ssl
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlencode

from ringback.contract import Answer, Contract, Credentials, Names, Request, answer, load
from ringback.contract.render import SeededStamps
from ringback.exchange import Source

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ringback.responder import Responder

ACCOUNT = "AC" + "0123456789abcdef" * 2
TOKEN = "a-test-token"
MAGIC = "+15005550006"
REAL = "+14108675309"  # the page's own example of a number that is not magic
FORM_TYPE = ("Content-Type", "application/x-www-form-urlencoded")
SHARED = Path(__file__).parents[2].parent / "shared"

# For each resource the smallest form that succeeds.
GOOD: dict[str, dict[str, str]] = {
    "Messages": {"From": MAGIC, "To": REAL, "Body": "hello"},
    "Calls": {"From": MAGIC, "To": REAL, "Url": "http://demo.example/voice.xml"},
    "IncomingPhoneNumbers": {"PhoneNumber": MAGIC},
}
ERROR_KEYS = ["code", "message", "more_info", "status"]
_XML_HEAD = b"<?xml version='1.0' encoding='UTF-8'?>\n"


def basic(user: str = ACCOUNT, token: str = TOKEN) -> tuple[str, str]:
    """The Authorization field of HTTP Basic."""
    return "Authorization", "Basic " + base64.b64encode(f"{user}:{token}".encode()).decode()


def path(resource: str = "Messages", extension: str = ".json", account: str = ACCOUNT) -> str:
    return f"/2010-04-01/Accounts/{account}/{resource}{extension}"


def post(
    resource: str = "Messages",
    form: Mapping[str, str] | Iterable[tuple[str, str]] | bytes = b"",
    *,
    extension: str = ".json",
) -> Request:
    """A POST with good credentials."""
    body = form if isinstance(form, bytes) else urlencode(_pairs(form)).encode()
    return Request("POST", "api.twilio.com", path(resource, extension), (basic(), FORM_TYPE), body)


def live_answer(
    status: int, reason: str = "", headers: tuple[tuple[str, str], ...] = (), body: bytes = b""
) -> Answer:
    """An answer as the live API gives it."""
    return Answer(status, reason, headers, body, Source("live"))


def _pairs(form: Mapping[str, str] | Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return list(form.items()) if hasattr(form, "items") else list(form)


def ask(
    request: Request,
    *,
    names: Names | None = None,
    credentials: Credentials | None = None,
    contract: Contract | None = None,
    seed: int = 1,
) -> Answer:
    """Return the contract's answer to `request`."""
    return answer(
        contract or load(),
        request,
        names or Names(request.host),
        credentials or Credentials(),
        SeededStamps(seed).of(request),
    )


def send(resource: str, form: Mapping[str, str] | Iterable[tuple[str, str]], **more: Any) -> Answer:
    """Return the contract's answer to a POST in JSON."""
    return ask(post(resource, form), **more)


def better(resource: str, **fields: str | None) -> dict[str, str]:
    """The form that succeeds, with `fields` put in, or taken out where None."""
    form: dict[str, str | None] = {**GOOD[resource], **fields}
    return {name: value for name, value in form.items() if value is not None}


def body_of(got: Answer) -> dict[str, Any]:
    """The JSON body."""
    found = json.loads(got.body)
    assert isinstance(found, dict)
    return found


def error_of(body: bytes, content_type: str | None) -> dict[str, Any]:
    """The four values of an error body that is Twilio's, whichever format; fails on any other shape."""
    if content_type == "application/json":
        found = json.loads(body)
        assert list(found) == ERROR_KEYS
        assert isinstance(found["code"], int)
        assert isinstance(found["message"], str)
        assert isinstance(found["status"], int)
    else:
        assert content_type == "application/xml"
        assert body.startswith(_XML_HEAD)
        root = ET.fromstring(body)
        assert (root.tag, root[0].tag) == ("TwilioResponse", "RestException")
        texts = {child.tag: child.text or "" for child in root[0]}
        assert list(texts) == ["Code", "Message", "MoreInfo", "Status"]
        code, message, more_info, status = texts.values()
        found = {"code": int(code), "message": message, "more_info": more_info, "status": int(status)}
    assert found["more_info"] == f"https://www.twilio.com/docs/errors/{found['code']}"
    assert 400 <= found["status"] < 500
    return {str(key): value for key, value in found.items()}


def fail_of(got: Answer) -> dict[str, Any]:
    """The error of an answer, which must be one of Twilio's shape with the right length and status."""
    assert got.header("Content-Length") == str(len(got.body))
    found = error_of(got.body, got.header("Content-Type"))
    assert found["status"] == got.status
    return found


@dataclass(frozen=True)
class Response:
    """One HTTP/1 response, read from a socket."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def error(self) -> dict[str, Any]:
        """The error of Twilio's shape that this must be."""
        found = error_of(self.body, self.header("Content-Type"))
        assert found["status"] == self.status
        return found

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Wire:
    """A raw connection to the proxy: plain, or through a tunnel, with or without TLS in it."""

    port: int
    sock: socket.socket = field(init=False)
    connect_reply: bytes = b""

    def __post_init__(self) -> None:
        self.sock = socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, data: bytes) -> Self:
        """Send, and go on if the proxy has closed already: its answer is still to be read."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
            self.sock.sendall(data)
        return self

    def tunnel(self, target: str = "api.twilio.com:443", more: bytes = b"") -> Self:
        """CONNECT; what the proxy replied is kept byte by byte."""
        self.send(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n".encode() + more + b"\r\n")
        while b"\r\n\r\n" not in self.connect_reply:
            chunk = self.sock.recv(1)
            if not chunk:
                break
            self.connect_reply += chunk
        return self

    def tls(self, ca: Path | None, name: str | None = "api.twilio.com", alpn: tuple[str, ...] = ()) -> Self:
        """TLS inside the tunnel; without a CA nothing is verified."""
        context = ssl.create_default_context(cafile=str(ca) if ca else None)
        if not ca:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if name is None:
            context.check_hostname = False
        if alpn:
            context.set_alpn_protocols(list(alpn))
        self.sock = context.wrap_socket(self.sock, server_hostname=name)
        return self

    def everything(self) -> bytes:
        """All that comes until the proxy closes; a reset counts as closed."""
        data = b""
        try:
            while chunk := self.sock.recv(65536):
                data += chunk
        except (ConnectionResetError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
            pass
        return data

    def finish(self) -> Self:
        """Say that nothing more will be sent: the proxy need not wait for more."""
        with contextlib.suppress(OSError):
            # An SSLSocket's own shutdown would also end the decryption of what is still to come.
            socket.socket.shutdown(self.sock, socket.SHUT_WR)
        return self

    def answer_or_end(self) -> bytes:
        """Return the bytes until an answer is complete or the connection ends; fail if neither happens."""
        data = b""
        with contextlib.suppress(ConnectionResetError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
            while chunk := self.sock.recv(65536):
                data += chunk
                head, _, body = data.partition(b"\r\n\r\n")
                length = re.search(rb"(?i)content-length: (\d+)", head)
                if length and len(body) >= int(length[1]):
                    break
        return data

    def response(self, *, head: bool = False) -> Response:
        """The next response; fails if the connection ends first."""
        data = b""
        while b"\r\n\r\n" not in data:
            chunk = self.sock.recv(1)
            assert chunk, f"the connection ended after {data!r}"
            data += chunk
        first, *lines = data.decode("latin-1").split("\r\n")[:-2]
        _, status, reason = first.split(" ", 2)
        headers = tuple((name, value) for name, value in (line.split(": ", 1) for line in lines))
        length = next((int(value) for name, value in headers if name.lower() == "content-length"), 0)
        body = b""
        while not head and len(body) < length:
            chunk = self.sock.recv(length - len(body))
            assert chunk, "the body is shorter than its Content-Length"
            body += chunk
        return Response(int(status), reason, headers, body)


def http(
    method: str = "POST",
    target: str | None = None,
    body: bytes = b"",
    headers: Iterable[tuple[str, str]] = (),
    *,
    host: str = "api.twilio.com",
    form: Mapping[str, str] | None = None,
    authorized: bool = True,
) -> bytes:
    """The bytes of one request; Content-Length and Content-Type are added unless `headers` name them."""
    data = urlencode(form).encode() if form is not None else body
    fields = [("Host", host), *([basic()] if authorized else []), *headers]
    named = {name.lower() for name, _ in fields}
    if not {"content-length", "transfer-encoding"} & named:
        fields.append(("Content-Length", str(len(data))))
    if "content-type" not in named:
        fields.append(FORM_TYPE)
    head = f"{method} {target or path()} HTTP/1.1\r\n" + "".join(
        f"{name}: {value}\r\n" for name, value in fields
    )
    return head.encode("latin-1") + b"\r\n" + data


def one_line(text: str) -> bool:
    """Report whether `text` is one line of printable ASCII, as a header's value must be."""
    return re.fullmatch(r"[ -~]+", text) is not None


def respond(responder: Responder, request: Request, names: Names, user: str | None = None) -> Answer:
    """Return the answer of a responder that forwards nothing."""
    answer = responder.handle(request, names, user=user)
    assert isinstance(answer, Answer), "nothing is forwarded offline"
    return answer
