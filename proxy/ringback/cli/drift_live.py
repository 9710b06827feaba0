"""Asking the live API for `ringback drift`: through the forwarding path, recorded on the way."""

from __future__ import annotations

import asyncio
import base64
import sys
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from ringback.cli.output import say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from ringback.contract import Answer, Request
    from ringback.drift.live import Asked
    from ringback.drift.probes import ClaimProbe

SID: Final = "RINGBACK_TEST_ACCOUNT_SID"
TOKEN: Final = "RINGBACK_TEST_AUTH_TOKEN"  # noqa: S105 - the variable's name
RATE: Final = 2.0  # requests a second towards Twilio: far below its limits


async def send_all(
    probes: Sequence[ClaimProbe], pair: tuple[str, str], options: dict[str, Any]
) -> list[Asked]:
    """Send the probes through the forwarding path: its proof, its verification, its way out."""
    from ringback.cassettes.cassette import CassetteDirectory  # noqa: PLC0415 - as above
    from ringback.drift.live import ask  # noqa: PLC0415 - as above
    from ringback.net import is_loopback  # noqa: PLC0415 - as above
    from ringback.upstream.client import UpstreamClient  # noqa: PLC0415 - as above
    from ringback.upstream.forwarder import Gateway  # noqa: PLC0415 - as above
    from ringback.upstream.routes import Egress, Routes, mock_upstream  # noqa: PLC0415 - as above

    ca, cassette = options["upstream_ca"], options["cassette"]
    address = mock_upstream(options["upstream"]) if options["upstream"] else None
    local = address is not None and is_loopback(address.host)
    rate = options["rate"] or (None if local else RATE)
    gateway = Gateway(UpstreamClient(ca), Routes(address, Egress.from_environment()))
    library = CassetteDirectory(cassette.parent, mode="online", secrets=[pair[1]], report=say)
    session = library.open(cassette.stem)
    basic = base64.b64encode(":".join(pair).encode()).decode()

    async def send(request: Request) -> tuple[Answer, str]:
        authorized = replace(request, headers=(*request.headers, ("Authorization", f"Basic {basic}")))
        answer = await _exchange(gateway, authorized)
        await asyncio.wrap_future(session.record(authorized, answer))
        return answer, ""

    try:
        with progress("asking the live API", len(probes)) as step:
            asked = await ask(probes, pair[0], send, pause=1 / rate if rate else 0.0, report=lambda _: step())
    finally:
        gateway.close()
        library.close()
    return _placed(asked, cassette)


async def _exchange(gateway: Any, request: Request) -> Answer:
    """One answer of the live API, its content coding removed.

    Raises:
        UnansweredError: There is none.
    """
    from ringback.cassettes.bodies import decode  # noqa: PLC0415 - as above
    from ringback.cassettes.files import CodingError  # noqa: PLC0415 - as above
    from ringback.drift.live import UnansweredError  # noqa: PLC0415 - as above
    from ringback.upstream.client import UpstreamError  # noqa: PLC0415 - as above
    from ringback.upstream.proof import NotProvenError  # noqa: PLC0415 - as above

    other = not request.host.startswith("api.")
    try:
        proof = await gateway.prove(request)
    except NotProvenError as error:
        reason = _UNPROVEN.get(error.rule, f"the credentials are not proven: {error.detail or error.rule}")
        raise UnansweredError(reason, final=True) from None
    except UpstreamError as error:
        # Nothing is sent without the proof, and what prevents it prevents everything else.
        reason = f"the credentials cannot be proven, no answer ({error.rule}): {error.detail}"
        raise UnansweredError(reason, final=True) from None
    try:
        answer: Answer = await gateway.send(request, proof)
        body = decode(answer.body, answer.header("Content-Encoding"))
    except UpstreamError as error:
        raise UnansweredError(f"no answer ({error.rule}): {error.detail}", harmless=other) from None
    except CodingError as error:
        raise UnansweredError(f"an answer that cannot be decoded: {error}") from None
    return replace(answer, body=body)


_UNPROVEN: Final = {
    "credentials.live": f"{SID} is a live account, which is never used here: name the test AccountSid",
    "credentials.wrong": f"{SID} and {TOKEN} do not belong together (HTTP 401)",
}


def _placed(asked: Sequence[Asked], cassette: Path) -> list[Asked]:
    """Return `asked` with each entry pointing to its place in the cassette."""
    from ringback.drift.recordings import item_lines  # noqa: PLC0415 - as above

    answered = [item for item in asked if item.observation is not None]
    try:
        lines = item_lines(cassette.read_text(encoding="utf-8"), len(answered))
    except OSError:
        lines = []
    if not lines:
        return list(asked)
    places = iter(lines)
    return [
        replace(item, observation=replace(item.observation, where=f"{cassette}:{next(places)}"))
        if item.observation
        else item
        for item in asked
    ]


@contextmanager
def progress(title: str, count: int) -> Iterator[Callable[[], None]]:
    """A progress bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console  # noqa: PLC0415 - as above
    from rich.progress import Progress  # noqa: PLC0415 - as above

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=count)
        yield lambda: progress.advance(task)
