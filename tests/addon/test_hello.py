from __future__ import annotations

import ssl
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from support.mitm import tflow

from mitmproxy.options import Options  # isort: skip - after mitmproxy's import without warnings
from mitmproxy.proxy import context, layers  # isort: skip - as above
from ringback.addon.hello import judge_all  # isort: skip - as above

if TYPE_CHECKING:
    from mitmproxy.proxy.layer import Layer


def judged(data: bytes, kind: type[Layer] = layers.TCPLayer) -> Any:
    where = context.Context(tflow.tclient_conn(), Options())
    asked: Any = SimpleNamespace(context=where, layer=kind(where), data_client=lambda: data)
    judge_all(asked)
    return asked.layer


def client_hello() -> bytes:
    outgoing = ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="api.twilio.com")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


@pytest.mark.parametrize("length", [1, 2])
def test_the_first_bytes_of_tls_are_waited_for(length: int) -> None:
    assert judged(client_hello()[:length]) is None


def test_an_unknown_record_version_is_taken_apart_as_tls() -> None:
    assert isinstance(judged(b"\x16\x03\x04" + client_hello()[3:]), layers.ServerTLSLayer)


@pytest.mark.parametrize("data", [b"SSH-2.0-x\r\n", b"\x00\x01\x02", b"S"])
def test_other_protocols_stay_what_they_are(data: bytes) -> None:
    assert isinstance(judged(data), layers.TCPLayer)
