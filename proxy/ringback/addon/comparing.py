"""Whether a live answer is the one that the contract expects, by status and code."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from ringback.cassettes.codings import decode
from ringback.cassettes.errors import CodingError
from ringback.contract.exchange import first_header

if TYPE_CHECKING:
    from ringback.addon.upstream import Reply
    from ringback.contract import Answer

_XML_CODE = re.compile(rb"<RestException>.*?<Code>([0-9]+)</Code>", re.DOTALL)


def difference(expected: Answer, reply: Reply) -> str | None:
    """What `reply` has otherwise than `expected`, in words that are the same for the same difference."""
    documented = expected.status, code_in(expected.body)
    live = reply.status, code_of(reply)
    if documented == live:
        return None
    return f"{expected.source.rule}: expected {_said(documented)}, live answered {_said(live)}"


def code_of(reply: Reply) -> int | None:
    """Twilio's error code in `reply`, or None."""
    try:
        return code_in(decode(reply.body, first_header(reply.headers, "Content-Encoding")))
    except CodingError:
        return None


def code_in(body: bytes) -> int | None:
    """Twilio's error code in a decoded JSON or XML body, or None."""
    start = body.lstrip()[:1]
    if start == b"<":
        found = _XML_CODE.search(body)
        return int(found[1]) if found else None
    if start != b"{":
        return None
    try:
        code = json.loads(body).get("code")
    except ValueError:
        return None
    return code if isinstance(code, int) else None


def _said(answer: tuple[int, int | None]) -> str:
    status, code = answer
    return f"{status}" if code is None else f"{status} with code {code}"
