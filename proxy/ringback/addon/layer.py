"""HTTP/1 on one connection, without mitmproxy's layers and flows: bytes in, answers out. Knows no socket.

The same function answers here and in a flow; only what stands around it is shorter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import httptools

from ringback.contract import Answer, Names, Request
from ringback.contract.form import MAX_BODY, MAX_HEADERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from ringback.addon.handlers import RingbackAddon, ShortWay
    from ringback.addon.heads import Heads

MAX_HEAD = 2 * MAX_HEADERS  # bytes after which a head is refused before it is complete
MAX_DISCARDED = 64 * MAX_BODY  # bytes of a refused body that are read, so that its client reads the answer
_VERSIONS = ("1.1", "1.0")
_SCHEMES = (b"https", b"http")
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Http1:
    """The server's side of one connection inside a tunnel.

    Args:
        addon: Whose responder refuses what cannot be answered.
        answer: Who answers.
        agree: Makes the names of a connection and of a request in it, from what the request calls its host.
        heads: The heads of requests in other connections that agree alike.

    Attributes:
        closed: Whether the connection ends once the answers so far are sent.
    """

    def __init__(
        self, addon: RingbackAddon, answer: ShortWay, agree: Callable[[list[str]], Names], heads: Heads
    ) -> None:
        self.closed = False
        self._addon = addon
        self._answer = answer
        self._agree = agree
        self._parser = httptools.HttpRequestParser(self)
        self._out: list[bytes] = []
        self._heads = heads
        self._names_of: tuple[tuple[bytes, ...], Names] | None = None
        self._taken: tuple[Request, Names] | None = None  # what was answered last
        self._further = False  # whether a head, or a piece of a body, has ended in what came last
        self._unread = 0  # bytes since then: of a head, chunk extension or trailer that has not ended
        self.on_message_begin()
        self._in_head = False

    def receive(self, data: bytes) -> bytes:
        """What to send back after `data` has come; empty while a request is incomplete."""
        if self.closed:
            return b""
        first = not (self._in_head or self._in_body)
        if first:
            known = self._heads.find(data)
            if known is not None:
                head, body = known
                request = head.request.with_body(body)
                return to_bytes(self._answer(request, head.names, admitted=head.admitted))
        self._taken = None
        self._parse(data)
        if not self._out:
            return b""
        if first and len(self._out) == 1 and not self.closed:
            self._remember(data)
        out = b"".join(self._out)
        self._out.clear()
        return out

    def _parse(self, data: bytes) -> None:
        self._further = False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # Refused by now. The parser took what follows for another protocol, be it the body or not.
            self.closed = True
        except httptools.HttpParserError as error:
            if not self.closed:  # else it follows the last request, which nobody waits for
                self._refuse("request.malformed", str(error) or "not HTTP/1")
        if self.waiting and not self.closed:
            self._unread = 0 if self._further else self._unread + len(data)
            if self._unread > MAX_HEAD:
                self._refuse("headers.too-large", f"more than {MAX_HEAD} bytes, the limit is {MAX_HEADERS}")

    def _remember(self, data: bytes) -> None:
        if self._taken:
            self._heads.keep(data, *self._taken, self._addon.responder.judge)

    @property
    def waiting(self) -> bool:
        """Whether a request has begun and is not complete."""
        return self._in_head or self._in_body

    # -- the parser's events

    def on_message_begin(self) -> None:
        """A request begins."""
        self._in_head, self._in_body = True, False
        self._unread = 0
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._hosts: list[bytes] = []
        self._expects = False
        self._body: list[bytes] = []
        self._size = 0

    def on_url(self, url: bytes) -> None:
        """A piece of the target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header field, whole."""
        if not self._in_head:
            return  # a trailer
        value = value.rstrip(b" \t")  # what stands before it the parser has taken away
        self._headers.append((name, value))
        length = len(name)
        if length == 4 and name.lower() == b"host":
            self._hosts.append(value)
        elif length == 6 and name.lower() == b"expect":
            self._expects = value.lower() == b"100-continue"

    def on_headers_complete(self) -> None:
        """The head is there: tell a client that waits for it whether to send its body."""
        self._in_head, self._in_body = False, True
        self._further = True
        version = self._parser.get_http_version()
        if version not in _VERSIONS:
            self._refuse("request.malformed", "not HTTP/1.1 or HTTP/1.0")
        elif version == "1.0" and any(name.lower() == b"transfer-encoding" for name, _ in self._headers):
            self._refuse("request.malformed", "a transfer coding in HTTP/1.0")
        if not self._expects or self.closed or version == "1.0":
            return
        declared = [value for name, value in self._headers if name.lower() == b"content-length"]
        if declared and int(declared[0]) > MAX_BODY:
            self._size = int(declared[0])
            self._complete()
            self.closed = True
        else:
            self._out.append(_CONTINUE)

    def on_body(self, data: bytes) -> None:
        """A piece of the body; one that is too large is read and not kept."""
        self._further = True
        self._size += len(data)
        if self._size <= MAX_BODY:
            self._body.append(data)
            return
        self._body.clear()
        if self._size > MAX_DISCARDED and not self.closed:
            self._complete()
            self.closed = True

    def on_message_complete(self) -> None:
        """The request is there."""
        if self.closed:
            return
        self._complete()
        self._in_body = False
        if not self._parser.should_keep_alive():
            self.closed = True

    # -- answers

    def _complete(self) -> None:
        target, authority = self._url, b""
        if not target.startswith(b"/") and target != b"*":
            scheme, _, rest = target.partition(b"://")
            if scheme.lower() not in _SCHEMES:
                self._refuse("request.malformed", "the target is neither a path nor a URL")
                return
            authority, _, path = rest.partition(b"/")
            target = b"/" + path
        names = self._names((*self._hosts, authority))
        body = self._body
        request = Request(
            self._parser.get_method().decode(),
            names.host,
            _text(target),
            tuple([(_text(name), _text(value)) for name, value in self._headers]),
            body[0] if len(body) == 1 else b"".join(body),
        )
        if self._size <= MAX_BODY:
            answer = self._answer(request, names)
            self._taken = (request, names)
        else:
            answer = self._oversized(request, names)
        self._out.append(to_bytes(answer))

    def _names(self, said: tuple[bytes, ...]) -> Names:
        kept = self._names_of
        if kept is None or kept[0] != said:
            names = self._agree([_text(name) for name in said])
            self._names_of = kept = (said, names)
        return kept[1]

    def _oversized(self, request: Request, names: Names) -> Answer:
        """The refusal of a body that was not kept: what the contract says, unless the gate refuses first."""
        responder = self._addon.responder
        passed = responder.admit(request, names)
        if isinstance(passed, Answer):
            return responder.finish(request, passed)
        detail = f"{self._size} bytes, the limit is {MAX_BODY}"
        return responder.refuse(request, "form.too-large", detail=detail)

    def _refuse(self, rule: str, detail: str) -> None:
        names = self._names(tuple(self._hosts))
        path = _text(self._url) if self._url.startswith(b"/") else "/"
        request = Request("", names.host, path)
        self._out.append(to_bytes(self._addon.responder.refuse(request, rule, detail=detail)))
        self.closed = True


def to_bytes(answer: Answer) -> bytes:
    """`answer` as HTTP/1, with its provenance in `Ringback-…` headers."""
    lines = [f"HTTP/1.1 {answer.status} {answer.reason}"]
    lines += map(": ".join, answer.headers)
    lines += map(": ".join, answer.source.headers())
    lines.append("\r\n")
    return "\r\n".join(lines).encode("latin-1", "replace") + answer.body


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")
