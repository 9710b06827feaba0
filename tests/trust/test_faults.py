"""A fault at any call of the forwarding path: nothing is sent that was not proven, and nothing twice."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

import ringback
from ringback.exchange import Answer, Forward
from ringback.tally import Tally
from ringback.upstream.forwarder import Forwarder, Gateway
from ringback.upstream.http1 import wire
from ringback.upstream.routes import Routes
from support.clients import GOOD, ask, live_answer, post

if TYPE_CHECKING:
    from types import FrameType

    from ringback.exchange import Request
    from ringback.upstream.client import UpstreamClient
    from ringback.upstream.routes import Route

PROMISE = "what is not proven to be test credentials is not sent on"
TRIED = "a fault at each call of the forwarding path"
PACKAGE = str(Path(ringback.__file__).parent)
REQUEST = post("Messages", GOOD["Messages"])
FORWARD = Forward(REQUEST, ask(REQUEST))
PROBES = {
    "test": live_answer(403, "", (), b'{"code": 20008}'),
    "live": live_answer(200, "", (), b'{"sid": "AC"}'),
    "wrong": live_answer(401, "", (), b""),
    "unclear": live_answer(403, "", (), b"<html>"),
}
FAULTS: tuple[type[Exception], ...] = (RuntimeError, ValueError, OSError, KeyError)


@dataclass
class Upstream:
    """A client that keeps what it was to send."""

    probe: Answer
    sent: list[str] = field(default_factory=list)

    async def exchange(self, _route: Route, request: Request) -> Answer:
        wire(request)
        self.sent.append(request.method)
        return self.probe if request.method == "GET" else live_answer(201, "CREATED", (), b"{}")

    def close(self) -> None:
        pass


class Fault:
    """A trace function that raises at one call of a function of the package; at 0 it only counts.

    Attributes:
        calls: How many there were.
    """

    def __init__(self, at: int, kind: type[Exception]) -> None:
        self.calls = 0
        self._at = at
        self._kind = kind

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            self.calls += 1
            if self.calls == self._at:
                raise self._kind


def forwarded(upstream: Upstream, fault: Fault, *, auto: bool) -> tuple[Answer | Exception, Answer]:
    """What a request with a fault in its way ends in, and what the same request gets after it."""

    async def record(*_: object) -> str:
        return "default#1"

    async def main() -> tuple[Answer | Exception, Answer]:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # of a fault in a callback
        forwarder = Forwarder(
            Gateway(cast("UpstreamClient", upstream), Routes()),
            refuse=lambda *_, **__: live_answer(424),
            tally=Tally(),
            compare=lambda *_: None,
            auto=auto,
            record=record,
        )
        before = sys.gettrace()
        first: Answer | Exception
        async with asyncio.timeout(60):
            sys.settrace(fault)
            try:
                first = await forwarder.forward(FORWARD)
            except FAULTS as error:
                first = error
            finally:
                sys.settrace(before)
            return first, await forwarder.forward(FORWARD)

    return asyncio.run(main())


@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("auto", [True, False], ids=["auto", "online"])
@pytest.mark.parametrize("verdict", PROBES)
def test_a_fault_at_any_call_forwards_nothing_unproven(
    record_property: pytest.RecordProperty, verdict: str, auto: bool, kind: type[Exception]
) -> None:
    whole, counting = Upstream(PROBES[verdict]), Fault(0, kind)
    assert isinstance(forwarded(whole, counting, auto=auto)[0], Answer)
    proven = verdict == "test"
    assert whole.sent.count("POST") == 2 * proven
    assert counting.calls > 20
    record_property("tries", counting.calls)
    for at in range(1, counting.calls + 1):
        upstream = Upstream(PROBES[verdict])
        _, then = forwarded(upstream, Fault(at, kind), auto=auto)
        posts = upstream.sent.count("POST")
        assert posts in ((1, 2) if proven else (0,)), at
        assert then.status == (201 if proven else 424), at
