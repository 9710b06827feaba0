"""Whether a live answer is the one that the contract expects, by status and code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ringback.cassettes.codings import decode
from ringback.cassettes.errors import CodingError
from ringback.exchange import error_code, first_header

if TYPE_CHECKING:
    from ringback.addon.upstream import Reply
    from ringback.contract import Answer


def difference(expected: Answer, reply: Reply) -> str | None:
    """What `reply` has otherwise than `expected`, in words that are the same for the same difference."""
    documented = expected.status, error_code(expected.body)
    live = reply.status, code_of(reply)
    if documented == live:
        return None
    return f"{expected.source.rule}: expected {_said(documented)}, live answered {_said(live)}"


def code_of(reply: Reply) -> int | None:
    """Twilio's error code in `reply`, or None."""
    try:
        return error_code(decode(reply.body, first_header(reply.headers, "Content-Encoding")))
    except CodingError:
        return None


def _said(answer: tuple[int, int | None]) -> str:
    status, code = answer
    return f"{status}" if code is None else f"{status} with code {code}"
