"""Whether a live answer is the one that the contract expects, by status and code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ringback.exchange import error_code
from ringback.upstream.forwarder import live_error_code

if TYPE_CHECKING:
    from ringback.exchange import Answer


def difference(expected: Answer, live: Answer) -> str | None:
    """What `live` has otherwise than `expected`, in words that are the same for the same difference."""
    documented = expected.status, error_code(expected.body)
    found = live.status, live_error_code(live)
    if documented == found:
        return None
    return f"{expected.source.rule}: expected {_said(documented)}, live answered {_said(found)}"


def _said(answer: tuple[int, int | None]) -> str:
    status, code = answer
    return f"{status}" if code is None else f"{status} with code {code}"
