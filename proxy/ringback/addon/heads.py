"""Heads of requests that were taken apart before: a client sends the same bytes with nearly every request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ringback.contract import Names, Request
    from ringback.contract.gate import Admitted

MAX_KEPT = 4096  # bytes; longer heads are not kept
_MOST = 256  # heads of one kind of connection
_END = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Head:
    """What a head says.

    Attributes:
        request: Without its body.
        names: What the connection and the head call the host.
        length: Bytes of the body that follows.
        admitted: What the gate found, which looks at nothing else; None if it refuses.
    """

    request: Request
    names: Names
    length: int
    admitted: Admitted | None


class Heads:
    """Heads of the connections for one target with one TLS server name, by their bytes."""

    def __init__(self) -> None:
        self._known: dict[bytes, Head] = {}

    def find(self, data: bytes) -> tuple[Head, bytes] | None:
        """The head and the body of `data`, if that is one whole request with a head seen before."""
        end = data.find(_END) + len(_END)
        head = self._known.get(data[:end])
        if head is None or len(data) - end != head.length:
            return None
        return head, data[end:]

    def keep(self, data: bytes, request: Request, names: Names, admitted: Admitted | None) -> None:
        """Remember the head of `request`, which was parsed from `data` and nothing else.

        Only a body that is as long as the head says is told from its head alone: a chunked one does not fit
        the test below.
        """
        length = len(request.body)
        end = len(data) - length
        if end > MAX_KEPT or data.find(_END) + len(_END) != end:
            return
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[data[:end]] = Head(request.with_body(b""), names, length, admitted)
