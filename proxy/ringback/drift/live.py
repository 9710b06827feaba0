"""Asking the live API: one request for every claim, at a rate that bothers nobody."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from ringback.drift.observation import Observation

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from ringback.contract import Answer, Request
    from ringback.drift.claims import ClaimProbe, ClaimSet


class UnansweredError(Exception):
    """The live API gave no answer to a request.

    Attributes:
        reason: Why, for people.
        final: Whether nothing else needs to be asked either.
        harmless: Whether a run without it can still be called complete.
    """

    def __init__(self, reason: str, *, final: bool = False, harmless: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.final = final
        self.harmless = harmless


@dataclass(frozen=True, slots=True)
class Asked:
    """Result of one probe.

    Attributes:
        probe: The request.
        observation: The exchange, or None.
        reason: Why there is none.
        harmless: Whether that leaves the run complete.
    """

    probe: ClaimProbe
    observation: Observation | None = None
    reason: str = ""
    harmless: bool = False


def choose(claim_set: ClaimSet, only: Iterable[str] = (), formats: Iterable[str] = ()) -> list[ClaimProbe]:
    """The probes whose claims match one of the globs `only`, in one of `formats`; all where there is none.

    A glob also selects by what an answer is then checked for: the field `Messages.answer.sid` needs an answer
    of Messages.
    """
    globs, wanted = tuple(only), tuple(formats)
    named = [claim for claim in claim_set.claims if any(fnmatchcase(claim, glob) for glob in globs)]
    direct = {claim for probe in claim_set.probes for claim in probe.claims}
    indirect = [claim for claim in named if claim not in direct]
    # What a finding is about may be narrower than a claim, or new: there is no claim then.
    indirect += [glob for glob in globs if not any(fnmatchcase(claim, glob) for claim in claim_set.claims)]
    return [
        probe
        for probe in claim_set.probes
        if (not wanted or probe.format in wanted)
        and (
            not globs
            or any(fnmatchcase(claim, glob) for claim in probe.claims for glob in globs)
            or any(_shows(claim_set, probe, claim) for claim in indirect)
        )
    ]


async def ask(
    probes: Iterable[ClaimProbe],
    account: str,
    send: Callable[[Request], Awaitable[tuple[Answer, str]]],
    *,
    pause: float = 0.0,
    report: Callable[[Asked], None] = lambda _: None,
) -> list[Asked]:
    """Send every probe, one after another.

    Args:
        probes: The requests.
        account: The AccountSid of the test credentials.
        send: Sends one request and returns the answer and where it was recorded; raises UnansweredError.
        pause: Seconds between two requests.
        report: Called with each result.
    """
    found: list[Asked] = []
    stopped: UnansweredError | None = None
    for number, probe in enumerate(probes):
        if stopped is None and number and pause:
            await asyncio.sleep(pause)
        if stopped is not None:
            asked = Asked(probe, None, stopped.reason, stopped.harmless)
        else:
            request = probe.request(account)
            try:
                answer, where = await send(request)
            except UnansweredError as error:
                asked = Asked(probe, None, error.reason, error.harmless)
                stopped = error if error.final else None
            else:
                place = where or f"{probe.method} {probe.path} ({probe.id})"
                asked = Asked(probe, Observation(request, answer, place, datetime.now(UTC), "proven"))
        found.append(asked)
        report(asked)
    return found


def _shows(claim_set: ClaimSet, probe: ClaimProbe, claim: str) -> bool:
    """Report whether the documented answer to `probe` is one that `claim` is about."""
    kind, _, rest = claim.partition(".")
    offline = claim_set.offline(probe.request("AC" + "0" * 32))
    if f"{rest}.".startswith("answer."):
        return offline.status < 400 and probe.path.removesuffix(".json").endswith(f"/{kind}")
    if kind == "text":
        return rest.partition(".")[0].encode() in offline.body
    shows = {
        "status": str(offline.status) == rest.partition(".")[0],
        "error": offline.status >= 400,
        "resource": probe.method == "GET",
        "outside": probe.method == "GET",
        "format": rest == "body" or rest.startswith("element") or offline.status < 400,
        "header": bool(rest),
    }
    return shows.get(kind, False)
