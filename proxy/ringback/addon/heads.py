"""Heads of requests that were taken apart before: a client sends the same bytes with nearly every request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from ringback.contract import Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from ringback.contract import Admitted, Names, Request

    Judge: TypeAlias = Callable[[Request, Names], Admitted | Refused]

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
        self._seen: set[int] = set()  # hashes of those that came once

    def find(self, data: bytes) -> tuple[Head, bytes] | None:
        """The head and the body of `data`, if that is one whole request with a head seen before."""
        end = data.find(_END) + len(_END)
        head = self._known.get(data[:end])
        if head is None or len(data) - end != head.length:
            return None
        return head, data[end:]

    def keep(self, data: bytes, request: Request, names: Names, judge: Judge) -> None:
        """Remember the head of `request`, which was parsed from `data` and nothing else, if it came before.

        Only a body that is as long as the head says is told from its head alone: a chunked one does not fit
        the test below. A client that numbers its requests repeats no head, so the first time costs little.

        Args:
            data: The whole request.
            request: What it says.
            names: What the connection and its head call the host.
            judge: The gate.
        """
        length = len(request.body)
        end = len(data) - length
        if end > MAX_KEPT or data.find(_END) + len(_END) != end:
            return
        head = data[:end]
        mark = hash(head)
        if mark not in self._seen:
            if len(self._seen) >= _MOST:
                self._seen.clear()
            self._seen.add(mark)
            return
        if len(self._known) >= _MOST:
            self._known.clear()
        passed = judge(request, names)
        admitted = None if isinstance(passed, Refused) else passed
        self._known[head] = Head(request.with_body(b""), names, length, admitted)
