"""Between mitmproxy's flows and the project's own values."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mitmproxy import http

from ringback.contract import Names, Request
from ringback.contract.gate import canonical_host

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ringback.contract import Answer


def to_request(flow: http.HTTPFlow, names: Names) -> Request:
    """The flow's request as the client sent it."""
    request = flow.request
    return Request(
        method=request.method.upper(),
        host=names.host,
        target=request.path,
        headers=tuple(request.headers.items(multi=True)),
        body=request.raw_content or b"",
        scheme=request.scheme,
    )


def to_names(flow: http.HTTPFlow, connect: tuple[str, int] | None) -> Names:
    """Every name that the flow's connection and request give to the host.

    Args:
        flow: The flow.
        connect: The target of the CONNECT that opened the tunnel, or None outside a tunnel.
    """
    request = flow.request
    target = connect or (request.host, request.port)
    said = [*request.headers.get_all("Host"), request.data.authority.decode("utf-8", "surrogateescape")]
    return agreed_names(said, target, flow.client_conn.sni)


def agreed_names(said: Iterable[str], target: tuple[str, int], sni: str | None) -> Names:
    """The names of a connection and of a request in it.

    Args:
        said: What the request calls its host, in Host fields and in an absolute target.
        target: Whom the connection is for: host and port.
        sni: The server name of the TLS handshake, if any.
    """
    hosts = {canonical_host(name) for name in said if name}
    connected = canonical_host_name(target[0])
    # Several different Host fields are told as one name that cannot agree with anything.
    host = " and ".join(sorted(hosts)) if hosts else (canonical_host_name(sni) if sni else connected)
    return Names(
        host=host,
        connect=connected,
        sni=canonical_host_name(sni) if sni else None,
        port=target[1],
    )


def canonical_host_name(name: str) -> str:
    """A host name without port, as the gate compares it."""
    return name.lower().rstrip(".")


def to_response(answer: Answer) -> http.Response:
    """The response that carries `answer`, with its provenance in `Ringback-…` headers."""
    fields = (*answer.headers, *answer.source.headers())
    now = time.time()
    return http.Response(
        http_version=b"HTTP/1.1",
        status_code=answer.status,
        reason=answer.reason.encode("latin-1"),
        headers=http.Headers(
            [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in fields]
        ),
        content=answer.body,
        trailers=None,
        timestamp_start=now,
        timestamp_end=now,
    )
