"""Where a connection's TLS ends: what is inside is answered, and who leaves without a word is counted."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, cast

from ringback.addon import wire
from ringback.addon.flows import agreed_names, canonical_host_name
from ringback.addon.layer import Http1
from ringback.addon.tls import Tls, distrusts, server_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from ringback.addon.front import Front
    from ringback.addon.handlers import ShortWay
    from ringback.contract import Names

_CHUNK = 64 * 1024


class Tunnel(asyncio.Protocol):
    """A tunnel to one of Twilio's hosts: TLS, and the requests inside.

    Args:
        front: What it shares with others.
        transport: The connection.
        answer: Who answers.
        target: Whom the connection is for: host and port.
        agree: Makes the names from what a request calls its host and the TLS server name.
        kind: What else the names depend on.
    """

    def __init__(  # noqa: PLR0913 - what one way in has, and the other has not
        self,
        front: Front,
        transport: asyncio.Transport,
        answer: ShortWay,
        target: tuple[str, int],
        agree: Callable[..., Names] | None = None,
        kind: str = "",
    ) -> None:
        self.idle = 0
        self.transport = transport
        self._front = front
        self._answer = answer
        self._target, self._kind = target, kind
        self._agree = agree or partial(agreed_names, target=target)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = front.contexts.of(canonical_host_name(target[0]))
        self._tls = cast("Tls", context.wrap_bio(self._incoming, self._outgoing, server_side=True))
        self._http: Http1 | None = None
        self._opening = b""
        self._heard = False  # whether there is anything to tell of the client beside that it was here
        front.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Forget the connection."""
        if not self._heard and self in self._front.connections:
            self._front.addon.responder.tally.silent += 1
        self._front.connections.discard(self)

    def pause_writing(self) -> None:
        """The client does not read its answers: read no more requests."""
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        """It reads again."""
        self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        self.idle = 0
        self._incoming.write(data)
        if self._http is None:
            self._opening = self._opening or data
        done = False
        try:
            done = self._answer_all(self._http or self._shake_hands())
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            done = self._heard = True  # a failed handshake, or bytes that are no TLS; the alert goes out
            if self._http is None and distrusts(error.reason or ""):
                self._front.addon.responder.tally.distrusted += 1
        out = self._outgoing.read()
        if out:
            self.transport.write(out)
        elif self._http and self._http.waiting:
            wire.acknowledge(self.transport.get_extra_info("socket"))
        if done:
            self.transport.close()

    def _shake_hands(self) -> Http1:
        self._tls.do_handshake()
        tls, sni = self._tls, self._tls.sni
        if tls.session_reused and tls.version() == "TLSv1.2":
            sni = server_name(self._opening)
        heads = self._front.heads(self._target, sni, self._kind)
        self._http = Http1(self._front.addon, self._answer, partial(self._agree, sni=sni), heads)
        return self._http

    def _answer_all(self, http: Http1) -> bool:
        """Answer what has come; whether the connection is done."""
        tls = self._tls
        while True:
            plain = tls.read(_CHUNK)
            if plain:
                self._heard = True
                answers = http.receive(plain)
                if answers:
                    tls.write(answers)
            if not plain or http.closed:
                with suppress(ssl.SSLError):
                    tls.unwrap()  # says good-bye; the client's own need not be waited for
                return True
            if not self._incoming.pending and not tls.pending():
                return False
