"""TLS that mitmproxy would take for something else, and pass on without a look at the name in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mitmproxy.proxy import layers

if TYPE_CHECKING:
    from mitmproxy.proxy.layer import NextLayer

_HANDSHAKE: Final = b"\x16"  # the first byte of every TLS connection
_ENOUGH: Final = 3  # bytes by which mitmproxy knows TLS


def judge_all(data: NextLayer) -> None:
    """Let no TLS through as raw bytes: its server name may be Twilio's.

    mitmproxy decides by the first bytes that it has, and takes a hello that comes byte by byte, or with a
    record version that it does not know, for a protocol of its own. The first is waited for, the second is
    taken apart as TLS, which ends it if that cannot be done.
    """
    if not isinstance(data.layer, layers.TCPLayer) or not data.data_client().startswith(_HANDSHAKE):
        return
    if len(data.data_client()) < _ENOUGH:
        data.layer = None
        return
    server = layers.ServerTLSLayer(data.context)
    server.child_layer = layers.ClientTLSLayer(data.context)
    data.layer = server
