"""From mitmproxy's flows to plain values, and back."""

from __future__ import annotations

from dataclasses import replace

import pytest
from mitmproxy import http

from ringback.addon.flows import canonical_host_name, to_names, to_request, to_response
from ringback.contract import Answer, Names, Source
from support.mitm import tflow, tutils

CONNECT = ("api.twilio.com", 443)


def flow_of(
    host: str = "api.twilio.com",
    *,
    sni: str | None = None,
    fields: tuple[tuple[bytes, bytes], ...] | None = None,
    authority: bytes = b"",
) -> http.HTTPFlow:
    flow = tflow.tflow(
        req=tutils.treq(
            method=b"post",
            scheme=b"https",
            host=host,
            port=443,
            path=b"/a%20b?c=\xff",
            authority=authority,
            headers=http.Headers(((b"Host", host.encode()),) if fields is None else fields),
            content=b"\x00body",
        )
    )
    flow.client_conn.sni = sni
    return flow


def test_a_request_as_it_was_sent() -> None:
    fields = ((b"Host", b"api.twilio.com"), (b"X-A", b"1"), (b"x-a", b"\xff"))
    got = to_request(flow_of(fields=fields), Names("api.twilio.com"))
    assert (got.method, got.host, got.scheme, got.body) == ("POST", "api.twilio.com", "https", b"\x00body")
    assert got.target == "/a%20b?c=\udcff"
    assert got.headers == (("Host", "api.twilio.com"), ("X-A", "1"), ("x-a", "\udcff"))


def test_a_body_is_never_decoded() -> None:
    flow = flow_of(fields=((b"Host", b"h"), (b"Content-Encoding", b"gzip")))
    flow.request.raw_content = b"not gzip"
    assert to_request(flow, Names("h")).body == b"not gzip"


@pytest.mark.parametrize(
    "said, authority, wanted",
    [
        ((b"API.Twilio.com:443",), b"", "api.twilio.com"),
        ((b"api.twilio.com.",), b"api.twilio.com", "api.twilio.com"),
        ((), b"api.twilio.com:443", "api.twilio.com"),
    ],
)
def test_one_host_however_often_it_is_named(said: tuple[bytes, ...], authority: bytes, wanted: str) -> None:
    flow = flow_of(fields=tuple((b"Host", name) for name in said), authority=authority, sni="api.twilio.com")
    assert to_names(flow, CONNECT) == Names(wanted, "api.twilio.com", "api.twilio.com", 443)


@pytest.mark.parametrize(
    "said, authority",
    [((b"api.twilio.com", b"evil.example"), b""), ((b"api.twilio.com",), b"evil.example")],
)
def test_two_hosts_are_never_taken_for_one(said: tuple[bytes, ...], authority: bytes) -> None:
    names = to_names(flow_of(fields=tuple((b"Host", name) for name in said), authority=authority), CONNECT)
    assert names.host not in {"api.twilio.com", "evil.example"}
    assert "evil.example" in names.host


def test_without_a_host_the_handshake_or_the_tunnel_names_it() -> None:
    assert to_names(flow_of(fields=(), sni="API.twilio.com"), CONNECT).host == "api.twilio.com"
    assert to_names(flow_of(fields=()), ("Lookups.twilio.com", 443)).host == "lookups.twilio.com"


def test_outside_a_tunnel_the_target_counts() -> None:
    names = to_names(flow_of("api.twilio.com"), None)
    assert (names.connect, names.sni, names.port) == ("api.twilio.com", None, 443)


def test_host_names() -> None:
    assert canonical_host_name("API.Twilio.com.") == "api.twilio.com"


ANSWER = Answer(
    429, "TOO MANY REQUESTS", (("A", "1"), ("a", "\u00e9"), ("B", "\u4e2d")), b"x", Source("live")
)


def test_an_answer_with_its_provenance() -> None:
    response = to_response(replace(ANSWER, source=Source("gate", "r", "assumed", "why\r\nnot")))
    assert (response.status_code, response.reason, response.raw_content) == (429, "TOO MANY REQUESTS", b"x")
    assert response.headers.get_all("a") == ["1", "\udce9"]
    assert response.headers["B"] == "?"
    assert response.headers["Ringback-Source"] == "gate; rule=r; basis=assumed"
    assert response.headers["Ringback-Reason"] == "why??not"
    assert response.http_version == "HTTP/1.1"


def test_no_reason_no_header() -> None:
    assert "Ringback-Reason" not in to_response(ANSWER).headers
