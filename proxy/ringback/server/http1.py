"""HTTP/1 on one connection, without I/O: bytes in, answers out. The same for every way in and every mode."""

from __future__ import annotations

from collections import deque
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

import httptools
import msgspec

from ringback.contract import Answer, Refused, Request
from ringback.contract.form import MAX_BODY, MAX_HEADERS, limit_exceeded
from ringback.exchange import Stream

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ringback.contract import Admitted, Names

    Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]

MAX_HEAD: Final = 2 * MAX_HEADERS  # bytes after which a head is refused before it is complete
MAX_DISCARDED: Final = (
    64 * MAX_BODY
)  # bytes of a refused body that are read, so that its client reads the answer
_MAX_REMEMBERED: Final = 4096  # bytes; longer heads are parsed each time
_REMEMBERED: Final = 256  # heads of one kind of connection
_VERSIONS: Final = ("1.1", "1.0")
_SCHEMES: Final = (b"https", b"http")
_HEAD_END: Final = b"\r\n\r\n"
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Handler(Protocol):
    """Answers the requests of a connection."""

    def __call__(
        self, request: Request, names: Names, *, admitted: Admitted | None = None
    ) -> Answer | Stream | Awaitable[Answer]:
        """Return the answer, to be awaited where it does not depend on this machine alone.

        Never raises. `admitted` is what the gate said of the same head before.
        """
        ...  # a protocol has no body


class Refuser(Protocol):
    """Answers what is no request that could be handled."""

    def judge(self, request: Request, names: Names) -> Admitted | Refused:
        """Return what the gate says of a head."""
        ...  # a protocol has no body

    def refuse(self, request: Request, rule: str, **known: str) -> Answer:
        """Return the refusal by the gate's rule, counted."""
        ...  # a protocol has no body

    def refuse_oversized(self, request: Request, names: Names, size: int) -> Answer:
        """Return the refusal of a body of `size` bytes that was not kept, counted."""
        ...  # a protocol has no body


class Head(msgspec.Struct, frozen=True, eq=False):
    """A request's head as its connection understands it.

    Attributes:
        request: The request, without its body.
        names: Every name that the connection and the head give to the host.
        admitted: The gate's permission, or None if it refuses.
    """

    request: Request
    names: Names
    admitted: Admitted | None


class Heads:
    """Parsed heads of connections that agree on the host's names; clients repeat the same head.

    One memo is keyed by the parsed fields, and serves heads that come in any pieces. The other is keyed by
    the bytes of a head that came in one piece: such a request is not parsed again.

    Args:
        refuser: Gives the gate's judgement of a head.
        names: Makes the names from the request's own words for its host.
        scheme: The scheme of requests in origin form.

    Attributes:
        known: Gives the head that consists of these bytes and the size of its body, if it was parsed before.
    """

    def __init__(self, refuser: Refuser, names: Callable[[list[str]], Names], scheme: str) -> None:
        self._refuser = refuser
        self._names = names
        self._scheme = scheme
        self._remembered = lru_cache(_REMEMBERED)(self._make)
        self._known: dict[bytes, tuple[Head, int]] = {}
        self.known: Callable[[bytes], tuple[Head, int] | None] = self._known.get

    def remember(self, data: bytes, head: Head, size: int) -> None:
        """Keep what the bytes of a head mean; `size` is the number of bytes of the body that follows."""
        if len(self._known) >= _REMEMBERED:
            del self._known[next(iter(self._known))]  # the oldest
        self._known[data] = head, size

    def get(self, method: bytes, url: bytes, headers: Headers, size: int) -> Head:
        """Return the head of these parts; `size` is their number of bytes.

        Raises:
            ValueError: The target is neither a path nor a URL.
        """
        make = self._make if size > _MAX_REMEMBERED else self._remembered
        return make(method, url, headers)

    def names(self, hosts: list[str]) -> Names:
        """Return the names of a request that uses these words for its host."""
        return self._names(hosts)

    def _make(self, method: bytes, url: bytes, headers: Headers) -> Head:
        hosts = [_text(value) for name, value in headers if len(name) == 4 and name.lower() == b"host"]
        target, scheme = url, self._scheme
        if not url.startswith(b"/") and url != b"*":
            named, _, rest = url.partition(b"://")
            if named.lower() not in _SCHEMES:
                raise ValueError("the target is neither a path nor a URL")
            authority, _, path = rest.partition(b"/")
            hosts.append(_text(authority))
            target = b"/" + path
        names = self._names(hosts)
        fields = tuple([(_text(name), _text(value)) for name, value in headers])
        request = Request(method.decode(), names.host, _text(target), fields, b"", scheme)
        judged = self._refuser.judge(request, names)
        # A refusal is made anew for each request: it has a request id and a date.
        return Head(request, names, None if isinstance(judged, Refused) else judged)


class Http1:
    """The server's side of HTTP/1 on one connection.

    Args:
        handle: Answers requests.
        refuser: Answers what is no request.
        heads: The memo of parsed heads.
        once: Whether the connection ends with its first answer, and the answer says so.

    Attributes:
        closed: True if the connection ends once the answers so far are sent.
        stream: The response whose body follows, after which the connection ends; or None.
        pending: The answer that must be awaited before anything else is sent, or None. Give it to `resume`.
    """

    def __init__(self, handle: Handler, refuser: Refuser, heads: Heads, *, once: bool = False) -> None:
        self.closed = False
        self._once = once
        self.stream: Stream | None = None
        self.pending: Awaitable[Answer] | None = None
        self._handle = handle
        self._refuser = refuser
        self._heads = heads
        self._parser = httptools.HttpRequestParser(self)
        self._out: list[bytes] = []
        self._waiting: deque[Callable[[], Answer | Stream | Awaitable[Answer] | bytes]] = deque()
        self._bytes: bytes | None = None  # of the head that is being parsed, if they came in one piece
        self._next_bytes: bytes | None = None  # the same, until the parser begins with it
        self._known: tuple[Head, int] | None = None  # a head that is not parsed again, and its body's size
        self._progress = False  # whether a head, or a piece of a body, ended in the last bytes
        self._unread = 0  # bytes since then: of a head, chunk extension or trailer that has not ended
        self.on_message_begin()
        self._in_head = False

    @property
    def in_request(self) -> bool:
        """True while a request has begun and is not complete."""
        return self._in_head or self._in_body or self._known is not None

    def receive(self, data: bytes) -> bytes:
        """Take `data` from the client and return what to send; empty while a request is incomplete."""
        if not (self._in_head or self._in_body):
            data = self._receive_known(data)
            end = data.find(_HEAD_END) + len(_HEAD_END)
            self._next_bytes = data[:end] if len(_HEAD_END) <= end <= _MAX_REMEMBERED else None
        if data and not self.closed:
            self._parse(data)
        return self._take_out()

    def _receive_known(self, data: bytes) -> bytes:
        """Answer the requests at the beginning of `data` whose heads are known; return the rest."""
        while data and not self.closed:
            if self._known is None:
                end = data.find(_HEAD_END) + len(_HEAD_END)
                self._known = self._heads.known(data[:end])
                if self._known is None:
                    return data
                data = data[end:]
                self._body.clear()
                self._size = 0
            head, size = self._known
            self._body.append(data[: size - self._size])
            data = data[size - self._size :]
            self._size += len(self._body[-1])
            if self._size < size:
                return b""
            self._known = None
            self._answer(head)
            self.closed = self._once
        return data

    def _parse(self, data: bytes) -> None:
        self._progress = False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # Refused by now. The parser took what follows for another protocol, be it the body or not.
            self.closed = True
        except httptools.HttpParserError as error:
            if not self.closed:  # else it follows the last request, which nobody waits for
                self._refuse("request.malformed", str(error) or "not HTTP/1")
        if self.in_request and not self.closed:
            self._unread = 0 if self._progress else self._unread + len(data)
            if self._unread > MAX_HEAD:
                self._refuse("headers.too-large", f"more than {MAX_HEAD} bytes, the limit is {MAX_HEADERS}")

    def resume(self, answer: Answer) -> bytes:
        """Return what to send now that `pending` has become `answer`; `pending` may be another one then."""
        self.pending = None
        self._out.append(to_bytes(answer, close=self._once))
        while self._waiting and self.pending is None:
            self._send(self._waiting.popleft()())
        return self._take_out()

    def _take_out(self) -> bytes:
        if not self._out:
            return b""
        out = self._out[0] if len(self._out) == 1 else b"".join(self._out)
        self._out.clear()
        return out

    # -- the parser's events

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._in_head, self._in_body = True, False
        self._bytes, self._next_bytes = self._next_bytes, None
        self._unread = 0
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_size = 0
        self._expects = False
        self._body: list[bytes] = []
        self._size = 0

    def on_url(self, url: bytes) -> None:
        """Take a piece of the target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a whole header field; trailers are dropped."""
        if not self._in_head:
            return
        value = value.rstrip(b" \t")  # the parser has removed what stands before it
        self._headers.append((name, value))
        self._head_size += len(name) + len(value)
        if len(name) == 6 and name.lower() == b"expect":
            self._expects = value.lower() == b"100-continue"

    def on_headers_complete(self) -> None:
        """Refuse what cannot be read, and answer a client that sent `Expect: 100-continue`."""
        self._in_head, self._in_body = False, True
        self._progress = True
        if self.closed:  # by a request before it in the same bytes
            return
        version = self._parser.get_http_version()
        if version not in _VERSIONS:
            self._refuse("request.malformed", "not HTTP/1.1 or HTTP/1.0")
            return
        codings = self._field_values(b"transfer-encoding")
        if codings and version == "1.0":
            self._refuse("request.malformed", "a transfer coding in HTTP/1.0")
            return
        if codings and [value.strip().lower() for value in codings] != [b"chunked"]:
            self._refuse("request.malformed", "a transfer coding other than chunked")
            return
        if not self._expects or version == "1.0":
            return
        declared = self._field_values(b"content-length")
        if declared and limit_exceeded(0, int(declared[0])):
            self._size = int(declared[0])
            self._complete()
            self.closed = True
        else:
            self._do(lambda: _CONTINUE)

    def _field_values(self, wanted: bytes) -> list[bytes]:
        length = len(wanted)
        return [value for name, value in self._headers if len(name) == length and name.lower() == wanted]

    def on_body(self, data: bytes) -> None:
        """Take a piece of the body; one that is too large is read and not kept."""
        self._progress = True
        self._size += len(data)
        if not limit_exceeded(0, self._size):
            self._body.append(data)
            return
        self._body.clear()
        if self._size > MAX_DISCARDED and not self.closed:
            self._complete()
            self.closed = True

    def on_message_complete(self) -> None:
        """Answer the request."""
        if self.closed:
            return
        self._complete()
        self._in_body = False
        if self._once or not self._parser.should_keep_alive():
            self.closed = True

    # -- answers

    def _complete(self) -> None:
        try:
            head = self._heads.get(
                self._parser.get_method(), self._url, tuple(self._headers), self._head_size + len(self._url)
            )
        except ValueError as error:
            self._refuse("request.malformed", str(error))
            return
        if limit_exceeded(0, self._size):
            self._do(partial(self._refuser.refuse_oversized, head.request, head.names, self._size))
            return
        self._remember(head)
        self._answer(head)

    def _remember(self, head: Head) -> None:
        """Keep the bytes of this head, if they can only mean this head and a body of this size.

        A head with an odd end of line, a folded line, or a body of undeclared size is parsed each time, and
        so is one that ends the connection or that the gate refuses.
        """
        data = self._bytes
        if data is None or head.admitted is None or not self._parser.should_keep_alive():
            return
        lines = data.count(b"\r\n")
        plain = lines == data.count(b"\n") == data.count(b"\r") == len(self._headers) + 2
        sizes = self._field_values(b"content-length")
        odd = self._expects or self._field_values(b"transfer-encoding") or self._field_values(b"upgrade")
        sized = self._size > 0 and sizes == [b"%d" % self._size]
        if plain and sized and not odd and data[:1].isalpha():
            self._heads.remember(data, head, self._size)

    def _answer(self, head: Head) -> None:
        body = self._body
        request = head.request.with_body(body[0] if len(body) == 1 else b"".join(body))
        if self.pending is None:
            self._send(self._handle(request, head.names, admitted=head.admitted))
        else:
            self._waiting.append(partial(self._handle, request, head.names, admitted=head.admitted))

    def _refuse(self, rule: str, detail: str) -> None:
        names = self._heads.names([_text(value) for value in self._field_values(b"host")])
        path = _text(self._url) if self._url.startswith(b"/") else "/"
        self._do(partial(self._refuser.refuse, Request("", names.host, path), rule, detail=detail))
        self.closed = True

    def _do(self, step: Callable[[], Answer | bytes]) -> None:
        """Take `step` now, or after the answer that is waited for."""
        if self.pending is None:
            self._send(step())
        else:
            self._waiting.append(step)

    def _send(self, answer: Answer | Stream | Awaitable[Answer] | bytes) -> None:
        if isinstance(answer, Answer):
            self._out.append(to_bytes(answer, close=self._once))
        elif isinstance(answer, bytes):
            self._out.append(answer)
        elif isinstance(answer, Stream):
            fields = "".join(f"{name}: {value}\r\n" for name, value in answer.headers)
            head = f"HTTP/1.1 {answer.status} {answer.reason}\r\n{fields}Connection: close\r\n\r\n"
            self._out.append(head.encode("latin-1", "replace"))
            self.stream, self.closed = answer, True
        else:
            self.pending = answer


def to_bytes(answer: Answer, *, close: bool = False) -> bytes:
    """Return `answer` as HTTP/1, with its provenance in `Ringback-…` headers.

    Args:
        answer: The answer.
        close: Whether it says that the connection ends.
    """
    lines = [f"HTTP/1.1 {answer.status} {answer.reason}"]
    lines += map(": ".join, answer.headers)
    lines += map(": ".join, answer.source.headers())
    lines.append("Connection: close\r\n\r\n" if close else "\r\n")
    return "\r\n".join(lines).encode("latin-1", "replace") + answer.body


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")
