from __future__ import annotations

import pytest

from ringback.contract import Request
from ringback.upstream.http1 import wire
from support.clients import basic

FIELDS = (("Host", "api.twilio.com"), basic())


def asked(
    *fields: tuple[str, str], target: str = "/x?y=%2f", body: bytes = b"", method: str = "POST"
) -> Request:
    return Request(method, "api.twilio.com", target, fields, body)


def raw(request: Request) -> list[tuple[bytes, bytes]]:
    head, _, _ = wire(request).partition(b"\r\n\r\n")
    _, *lines = head.split(b"\r\n")
    return [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]


def test_order_spelling_and_values_stay() -> None:
    fields = (
        ("x-B", "2"),
        ("HOST", "api.twilio.com"),
        ("X-a", ""),
        ("x-B", "1  1"),
        ("X-U", "gr\udcc3\udcbc\u00df"),
    )
    assert raw(asked(*fields)) == [
        (b"x-B", b"2"),
        (b"HOST", b"api.twilio.com"),
        (b"X-a", b""),
        (b"x-B", b"1  1"),
        (b"X-U", b"gr\xc3\xbc\xc3\x9f"),
    ]


def test_what_http2_has_elsewhere_is_put_in() -> None:
    assert raw(asked(("a", "b"), body=b"c=d")) == [
        (b"Host", b"api.twilio.com"),
        (b"a", b"b"),
        (b"Content-Length", b"3"),
    ]
    assert raw(asked(("Transfer-Encoding", "chunked"), body=b"c"))[-1][0] == b"Transfer-Encoding"


def test_what_is_for_the_proxy_is_taken_out() -> None:
    fields = (*FIELDS, ("Proxy-Authorization", "Basic x"), ("proxy-connection", "keep-alive"))
    assert [name for name, _ in raw(asked(*fields))] == [b"Host", b"Authorization"]


@pytest.mark.parametrize(
    "request_",
    [
        asked(*FIELDS, ("X", "a\r\nAuthorization: Basic other")),
        asked(*FIELDS, ("X\r\nY", "a")),
        asked(*FIELDS, ("X", "a\0b")),
        asked(*FIELDS, target="/x HTTP/1.1\r\nHost: other"),
        asked(*FIELDS, target="/x y"),
        asked(*FIELDS, ("Content-Length", "one")),
        asked(*FIELDS, ("Content-Length", "1"), ("Content-Length", "2")),
        asked(*FIELDS, ("Host", "other")),
        asked(*FIELDS, method="POST /y"),
        asked(*FIELDS, ("X", "a\x01b")),
        asked(*FIELDS, ("X:", "a")),
        asked(*FIELDS, ("Content-Length", "2"), body=b"{}}"),
        asked(*FIELDS, ("Content-Length", "3"), body=b"{}"),
        asked(*FIELDS, ("Content-Length", "+2"), body=b"{}"),
        asked(*FIELDS, ("Transfer-Encoding", "gzip, chunked"), body=b"{}"),
        asked(*FIELDS, ("Transfer-Encoding", "chunked"), ("Content-Length", "2"), body=b"{}"),
    ],
)
def test_nothing_that_could_be_read_as_another_request_is_written(request_: Request) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        wire(request_)


def test_what_is_wrong_is_reported_without_the_value() -> None:
    with pytest.raises(ValueError, match="Illegal header value") as caught:
        wire(asked(("Authorization", "Basic c2VjcmV0\rX")))
    assert "c2VjcmV0" not in str(caught.value)


@pytest.mark.parametrize(
    "body, framed", [(b"", b"0\r\n\r\n"), (b"a" * 17, b"11\r\n" + b"a" * 17 + b"\r\n0\r\n\r\n")]
)
def test_a_body_that_came_in_chunks_goes_out_in_one(body: bytes, framed: bytes) -> None:
    data = wire(asked(*FIELDS, ("Transfer-Encoding", "Chunked"), body=body))
    assert data.endswith(b"Transfer-Encoding: Chunked\r\n\r\n" + framed)
