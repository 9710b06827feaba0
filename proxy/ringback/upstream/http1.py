"""HTTP/1.1 of the client for the live API, without a socket: a request's bytes, and the parser of answers."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import httptools

from ringback.exchange import Answer, Source

if TYPE_CHECKING:
    from ringback.exchange import Headers, Request

LARGEST: Final = 16 * 1024 * 1024  # bytes of an answer; Twilio's have a few thousand
MOST_PARTS: Final = 100_000  # of an answer: chunks, interim answers; each costs some 10 microseconds
_LONGEST_HEAD: Final = 64 * 1024  # bytes of a head, chunk extension or trailer that has not ended
HEAD_END: Final = b"\r\n\r\n"

# The client meant these for its proxy.
_FOR_PROXY = frozenset({"proxy-authorization", "proxy-connection"})
# These describe the connection that the answer came on, which is not the client's.
_HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-connection", "transfer-encoding", "upgrade"}
)


class UpstreamError(Exception):
    """A missing answer.

    Attributes:
        rule: The refusal that reports it, `upstream.…`.
        detail: The cause, for people.
    """

    def __init__(self, rule: str, detail: str) -> None:
        super().__init__(f"{rule}: {detail}")
        self.rule = rule
        self.detail = detail


class AnswerParser:
    """The client's side of HTTP/1.1, without a socket: the bytes of one answer, in any pieces.

    Args:
        method: The method of its request.

    Attributes:
        answer: The answer once it is whole, without the fields that describe the connection it came on.
        keeps: Whether the connection may carry another request after it.
        sized: Whether a Content-Length says how long its body is.
    """

    def __init__(self, method: str) -> None:
        self.answer: Answer | None = None
        self.keeps = False
        self.sized = False
        self._parser = httptools.HttpResponseParser(self)
        self._method = method
        self._problem = ""
        self._reason = b""
        self._fields: list[tuple[bytes, bytes]] = []
        self._in_body = False
        self._until_end = False
        self._body: list[bytes] = []
        self._size = 0
        self._parts = 0
        self._progress = False  # whether a head or a piece of a body ended in the last bytes
        self._unread = 0  # bytes since then

    def feed(self, data: bytes) -> None:
        """Take the next bytes.

        Raises:
            UpstreamError: They are no answer: `upstream.invalid`.
        """
        self._progress = False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # on_headers_complete has seen it
        except httptools.HttpParserError as error:
            self.keeps = False
            if self.answer is None and not self._problem:
                self._problem = _in_words(str(error))
        if self._problem:
            raise UpstreamError("upstream.invalid", self._problem)
        if self.answer is None:
            self._unread = 0 if self._progress else self._unread + len(data)
            if self._unread > _LONGEST_HEAD:
                raise UpstreamError(
                    "upstream.invalid", f"Receive buffer too long: over {_LONGEST_HEAD} bytes"
                )

    def end(self) -> None:
        """Take the end of the connection, which may be the end of the answer.

        Raises:
            UpstreamError: The answer is not whole: `upstream.closed`.
        """
        if self.answer is None and self._until_end:
            self._complete()
        self.keeps = False
        if self.answer is None:
            raise UpstreamError("upstream.closed", "it closed the connection")

    def close(self) -> None:
        """Let go of httptools' parser, which holds this object: the collector need not find the two."""
        del self._parser

    # -- the parser's events

    def on_message_begin(self) -> None:
        """Begin an answer; what follows the last one belongs to nobody."""
        self._reason = b""
        self._fields.clear()
        if self.answer is not None:
            self.keeps = False

    def on_status(self, reason: bytes) -> None:
        """Take a piece of the reason phrase."""
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a whole header field; trailers are dropped."""
        if not self._in_body:
            self._fields.append((name, value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        """Look at the status and at what the head says of the body."""
        self._progress = True
        status, version = self._parser.get_status_code(), self._parser.get_http_version()
        if self.answer is not None:
            return
        if status < 100 or version not in {"1.1", "1.0"}:
            self._problem = "its status line is not HTTP/1.1's"
        elif status == 101:
            self._problem = "it switched to a protocol that nobody asked for"
        if status < 200:
            return
        self._in_body = True
        codings = self._values(b"transfer-encoding")
        lengths = self._values(b"content-length")
        if codings and (version == "1.0" or [one.strip().lower() for one in codings] != [b"chunked"]):
            self._problem = "its transfer coding is not chunked"
        elif self._method == "HEAD":
            self._complete()
        elif lengths and int(lengths[0]) > LARGEST:
            self._problem = _TOO_LONG
        self.sized = bool(lengths)
        self._until_end = not codings and not lengths

    def on_body(self, data: bytes) -> None:
        """Take a piece of the body."""
        self._progress = True
        if self.answer is not None:
            self.keeps = False
            return
        self._size += len(data)
        if self._size > LARGEST:
            self._problem = _TOO_LONG
        elif not self._count_part():
            self._body.append(data)

    def on_message_complete(self) -> None:
        """Take the end of an answer; an interim one is passed over."""
        if self.answer is None and not self._problem:
            if self._in_body:
                self._complete()
            else:
                self._count_part()

    def _count_part(self) -> str:
        self._parts += 1
        if self._parts > MOST_PARTS:
            self._problem = f"its answer has more than {MOST_PARTS} parts"
        return self._problem

    def _values(self, wanted: bytes) -> list[bytes]:
        length = len(wanted)
        return [value for name, value in self._fields if len(name) == length and name.lower() == wanted]

    def _complete(self) -> None:
        self.keeps = self._parser.should_keep_alive()
        status = self._parser.get_status_code()
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        fields, unframed = [], status not in {204, 304}
        for raw, value in self._fields:
            name, kind = _name_and_kind(raw)
            if kind:
                fields.append((name, value.decode("latin-1")))
                unframed = unframed and kind != _LENGTH
        if unframed:
            fields.append(("Content-Length", str(len(body))))
        self.answer = Answer(status, self._reason.decode("latin-1").rstrip(), tuple(fields), body, _LIVE)


_TOO_LONG: Final = f"its answer has more than {LARGEST} bytes"
_LIVE: Final = Source("live")
_LENGTH: Final = 2


@lru_cache(256)
def _name_and_kind(raw: bytes) -> tuple[str, int]:
    """Return a field's name; and 0 for a field of the connection, `_LENGTH` for Content-Length, else 1."""
    name = raw.decode("latin-1")
    lower = name.lower()
    return name, 0 if lower in _HOP_BY_HOP else _LENGTH if lower == "content-length" else 1


def _in_words(error: str) -> str:
    """Describe an error of the parser's, which quotes nothing of what came."""
    if "overflow" in error:
        return _TOO_LONG
    if "Content-Length" not in error:
        return error or "it is not HTTP/1.1"
    return "bad Content-Length" if "invalid" in error.lower() else "conflicting Content-Length"


_TOKEN: Final = re.compile(rb"[!#-'*+.0-9A-Z^-z|~-]+")
TARGET: Final = re.compile(rb"[\x21-\x7e]+")
_VALUE: Final = re.compile(rb"(?:[^\x00-\x20\x7f](?:[^\x00-\x08\x0a-\x1f\x7f]*[^\x00-\x20\x7f])?)?")


def wire(request: Request) -> bytes:
    """Convert `request` to the bytes that are sent.

    Fields keep their order, spelling and values; those for the proxy are taken out, and Host or
    Content-Length put in where HTTP/2 had them elsewhere.

    Raises:
        ValueError: It cannot be written as HTTP/1.1.
    """
    body = request.body
    head, chunked = _head(request.method, request.host, request.target, request.headers, len(body))
    if chunked:
        return head + (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n"
    return head + body


@lru_cache(256)  # a client sends the same fields every time
def _head(method: str, host: str, target: str, headers: Headers, size: int) -> tuple[bytes, bool]:
    """Return a request's head, and whether a body of `size` bytes follows it in chunks.

    Raises:
        ValueError: It could be read as another request; the text quotes none of it, as it may be a password.
    """
    fields = [(name, value) for name, value in headers if name.lower() not in _FOR_PROXY]
    names = [name.lower() for name, _ in fields]
    if "host" not in names:
        fields.insert(0, ("Host", host))
    chunked = "transfer-encoding" in names
    if size and not chunked and "content-length" not in names:
        fields.append(("Content-Length", str(size)))
    encoded = [(_encoded(name), _encoded(value)) for name, value in fields]
    line = _encoded(method), _encoded(target)
    if not _TOKEN.fullmatch(line[0]):
        raise ValueError("Illegal method characters")
    if not TARGET.fullmatch(line[1]):
        raise ValueError("Illegal target characters")
    for name, value in encoded:
        if not _TOKEN.fullmatch(name):
            raise ValueError("Illegal header name")
        if not _VALUE.fullmatch(value):
            raise ValueError("Illegal header value")
    if names.count("host") > 1:
        raise ValueError("Found multiple Host fields")
    _check_framing([(name.lower(), value) for name, value in encoded], size)
    lines = [b"%b %b HTTP/1.1" % line, *(b"%b: %b" % field for field in encoded)]
    return b"\r\n".join(lines) + HEAD_END, chunked


def _check_framing(fields: list[tuple[bytes, bytes]], size: int) -> None:
    codings = [value.lower() for name, value in fields if name == b"transfer-encoding"]
    lengths = [value for name, value in fields if name == b"content-length"]
    if codings and (codings != [b"chunked"] or lengths):
        raise ValueError("Only the transfer coding chunked can be sent, without a Content-Length")
    if len(lengths) > 1 or not all(re.fullmatch(rb"[0-9]{1,20}", length) for length in lengths):
        raise ValueError("bad Content-Length")
    if lengths and int(lengths[0]) != size:
        raise ValueError(f"The body has {size} bytes, which is not its Content-Length")


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


@lru_cache(256)
def closes(headers: Headers) -> bool:
    """Report whether a request with these fields ends its connection."""
    options = ",".join(value for name, value in headers if name.lower() == "connection")
    return "close" in [word.strip().lower() for word in options.split(",")]
