from __future__ import annotations

import socket
from types import SimpleNamespace

import pytest

from ringback.addon import wire
from ringback.addon.handlers import RingbackAddon
from support.mitm import loaded, tflow

QUICKACK = getattr(socket, "TCP_QUICKACK", None)
pytestmark = pytest.mark.skipif(QUICKACK is None, reason="this system has no TCP_QUICKACK")


class Recorder:
    """A socket that writes down what is set on it."""

    def __init__(self, error: OSError | None = None) -> None:
        self.seen: list[tuple[int, int, int]] = []
        self.error = error

    def setsockopt(self, level: int, name: int, value: int) -> None:
        self.seen.append((level, name, value))
        if self.error:
            raise self.error


def test_asks_for_an_acknowledgement_at_once() -> None:
    sock = Recorder()
    wire.acknowledge(sock)
    assert sock.seen == [(socket.IPPROTO_TCP, QUICKACK, 1)]


def test_leaves_a_socket_alone_that_takes_no_such_option() -> None:
    wire.acknowledge(Recorder(OSError("no such option")))
    wire.acknowledge(None)


def test_acknowledges_each_request_head_on_the_clients_socket() -> None:
    sock = Recorder()
    addon = RingbackAddon()
    with loaded(addon) as context:
        flow = tflow.tflow()
        flow.live = True
        writer = SimpleNamespace(get_extra_info={"socket": sock}.get)
        handler = SimpleNamespace(transports={flow.client_conn: SimpleNamespace(writer=writer)})
        server = SimpleNamespace(name="proxyserver", connections={flow.client_conn.id: handler})
        context.master.addons.lookup["proxyserver"] = server
        addon.requestheaders(flow)
        addon.requestheaders(flow)
    assert sock.seen == [(socket.IPPROTO_TCP, QUICKACK, 1)] * 2
