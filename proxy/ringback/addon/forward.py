"""Forwarding to the live API: only with the proof of test credentials, and with something to fall back on.

The live API's own answer passes through as it is, whatever it says. Where there is none, `online` answers
with a refusal that names the failure, and `auto` with what the contract says.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from ringback.addon import comparing
from ringback.addon.dialing import UpstreamError
from ringback.addon.proof import NotProvenError, Proof, Proofs
from ringback.addon.upstream import Reply
from ringback.contract import Answer, Source
from ringback.counting import many
from ringback.exchange import PROVENANCE_PREFIX, first_header, header_value

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ringback.addon.routes import Routes
    from ringback.addon.upstream import Upstream
    from ringback.contract import Headers, Request
    from ringback.responder import Forward, Responder

    Record: TypeAlias = Callable[[Request, Answer, str | None], Awaitable[str]]

_RATE_LIMITED: Final = 20429  # Too Many Requests; 21611 comes with 429 too and is an answer

# Why a request was answered here although it was to be forwarded, besides the refusals `upstream.…`.
SERVER_ERROR: Final = "upstream.server-error"
RATE_LIMITED: Final = "upstream.rate-limited"
BUDGET: Final = "upstream.budget"
# What is refused for what it is: no recording ever has an answer to it, so none lacks one.
_REFUSED_FOR_GOOD: Final = frozenset(
    (
        "credentials.ambiguous",
        "credentials.live",
        "credentials.unproven",
        "credentials.wrong",
        "form.malformed",
    )
)


@dataclass(frozen=True, slots=True)
class FallbackSource(Source):
    """Where an answer came from that took the live API's place.

    Attributes:
        fallback: Why the live API did not answer, `upstream.…`.
        detail: The same in words.
    """

    fallback: str = ""
    detail: str = ""

    def headers(self) -> Headers:
        """The usual fields, with what the answer stands in for."""
        (name, value), *others = Source.headers(self)
        marked = (name, header_value(f"{value}; fallback={self.fallback}"))
        return (marked, *others, ("Ringback-Fallback", header_value(self.detail)))


@dataclass(frozen=True, slots=True)
class LiveSource(Source):
    """Where a live answer came from, and whether the contract expects it.

    Attributes:
        difference: What is otherwise than expected, or None.
        recorded: Where it was recorded, or why not.
    """

    difference: str | None = None
    recorded: str = ""

    def headers(self) -> Headers:
        """The usual fields, with the comparison and the recording."""
        said = "agrees" if self.difference is None else f"differs; {self.difference}"
        fields = (*Source.headers(self), ("Ringback-Contract", header_value(said)))
        return (*fields, ("Ringback-Cassette", header_value(self.recorded))) if self.recorded else fields


@dataclass(frozen=True, slots=True)
class _NoAnswer:
    """Why the live API's answer is missing.

    Attributes:
        rule: `upstream.…` or `credentials.…`.
        detail: The same in words.
        final: Whether nothing takes its place, not even in auto.
    """

    rule: str
    detail: str
    final: bool = False


class Gateway:
    """The one place from which requests leave for the live API.

    Args:
        upstream: Sends them.
        routes: Which way.
    """

    def __init__(self, upstream: Upstream, routes: Routes) -> None:
        self._upstream = upstream
        self._routes = routes
        self._proofs = Proofs(self._send)
        self.probes = 0

    async def prove(self, request: Request) -> Proof:
        """The proof that `request`'s credentials are test credentials; asked for once for each pair and host.

        Raises:
            NotProvenError: They are not, or nobody can tell.
            UpstreamError: The live API could not be asked.
        """
        return await self._proofs.prove(request)

    async def send(self, request: Request, proof: Proof) -> Reply:
        """Send `request` and return the live API's answer.

        Raises:
            NotProvenError: `proof` is not about this request's credentials and host.
            UpstreamError: There is no answer.
        """
        if not self._proofs.covers(proof, request):
            raise NotProvenError("credentials.unproven")
        return await self._exchange(request)

    def close(self) -> None:
        """Let go of the kept connections."""
        self._upstream.close()

    async def _send(self, request: Request) -> Reply:
        self.probes += 1
        return await self._exchange(request)

    async def _exchange(self, request: Request) -> Reply:
        reply = await self._upstream.exchange(self._routes.of(request.host), request)
        said = first_header(reply.headers, "Ringback-Source")
        if said is not None and not said.startswith("live"):
            # HTTPS_PROXY may still name an offline one: its answers must not pass for the live API's.
            raise UpstreamError("upstream.proxy", "another Ringback answered in place of the live API")
        return reply


class Forwarder:
    """Answers what is to be forwarded.

    Args:
        responder: Writes refusals and counts.
        gateway: Sends.
        record: Records an exchange of the client that gave the proxy this name, or None.
        see: Looks at each live answer and where it was recorded, or None.
        unanswered: Takes the name that a client gave the proxy, and by how many its requests without a live
            answer are more now: one more when it asks, one less when it is answered or never can be.
        max_live: How many requests may be forwarded, or None for any number.
        warn: Takes a sentence for people, each only once.
        patience: For how many seconds the live API is left alone after it did not answer in time (auto).
    """

    def __init__(  # noqa: PLR0913 - they are options, all named, all with a default
        self,
        responder: Responder,
        gateway: Gateway,
        *,
        record: Record | None = None,
        see: Callable[[Request, Answer, str], None] | None = None,
        unanswered: Callable[[str | None, int], None] = lambda _user, _more: None,
        max_live: int | None = None,
        warn: Callable[[str], None] = lambda _: None,
        patience: float = 0.0,
    ) -> None:
        self.gateway = gateway
        self._responder = responder
        self._record = record
        self._see = see
        self._unanswered = unanswered
        self._left = max_live
        self._max = max_live
        self._warn = warn
        self._warned: set[str] = set()
        self._patience = patience
        self._not_before = 0.0
        self._late: _NoAnswer | None = None

    async def answer(self, forward: Forward) -> Answer:
        """The live API's answer to `forward`, or what takes its place; not counted yet."""
        self._unanswered(forward.user, 1)  # also if the end comes first, or something unforeseen
        got = self._withheld() or await self._ask(forward.request)
        missing = _missing(got) if isinstance(got, Reply) else got
        if missing is None or missing.rule in _REFUSED_FOR_GOOD:
            self._unanswered(forward.user, -1)
        if isinstance(got, Reply):
            return await self._live(forward, got)
        if got.rule == BUDGET or (self._auto and not got.final):
            return self._fall_back(forward, got)
        return self._responder.refusal(forward.request, got.rule, detail=got.detail)

    @property
    def _auto(self) -> bool:
        return self._responder.mode == "auto"

    def _withheld(self) -> _NoAnswer | None:
        """Why nothing is to be sent now, or None."""
        if self._left == 0:
            said = f"the budget of --max-live is used up: {many(self._max or 0, 'request')} forwarded"
            return _NoAnswer(BUDGET, said)
        if self._auto and asyncio.get_running_loop().time() < self._not_before:
            return self._late
        return None

    async def _ask(self, request: Request) -> Reply | _NoAnswer:
        try:
            proof = await self._prove(request)
            spent = self._withheld()  # others may have been faster
            if spent:
                return spent
            if self._left is not None:
                self._left -= 1
            reply = await self.gateway.send(request, proof)
        except NotProvenError as error:
            missing = _missing(error.reply) if self._auto and error.reply else None
            return missing or _NoAnswer(error.rule, error.detail, final=True)
        except UpstreamError as error:
            none = _NoAnswer(error.rule, error.detail)
            if error.rule == "upstream.timeout":
                self._late = none
                self._not_before = asyncio.get_running_loop().time() + self._patience
            return none
        except ValueError as error:
            return _NoAnswer("form.malformed", str(error), final=True)
        return (_missing(reply) if self._auto else None) or reply

    async def _prove(self, request: Request) -> Proof:
        try:
            return await self.gateway.prove(request)
        finally:
            self._responder.tally.probes = self.gateway.probes

    async def _live(self, forward: Forward, reply: Reply) -> Answer:
        different = comparing.difference(forward.expected, reply)
        self._responder.tally.compare(different)
        # Nobody but this process says where an answer came from.
        fields = tuple(
            (name, value) for name, value in reply.headers if not name.lower().startswith(PROVENANCE_PREFIX)
        )
        answer = Answer(reply.status, reply.reason, fields, reply.body, LiveSource("live"))
        recorded = ""
        # What only says that there is no answer now is none that anybody wants for ever.
        if self._record and not _missing(reply):
            recorded = await self._record(forward.request, answer, forward.user)
        if self._see and not _missing(reply):
            self._see(forward.request, answer, recorded)
        return answer.with_source(LiveSource("live", difference=different, recorded=recorded))

    def _fall_back(self, forward: Forward, none: _NoAnswer) -> Answer:
        if none.rule not in self._warned:
            self._warned.add(none.rule)
            self._warn(f"answering offline ({none.rule}): {none.detail}")
        self._responder.tally.fall_back(none.rule, none.detail)
        instead = forward.instead()
        source = instead.source
        told = {name: getattr(source, name) for name in ("kind", "rule", "basis", "reason", "line", "text")}
        return instead.with_source(FallbackSource(**told, fallback=none.rule, detail=none.detail))


def _missing(reply: Reply) -> _NoAnswer | None:
    """Why `reply` counts as no answer in auto, or None if it is one."""
    if reply.status >= 500:
        return _NoAnswer(SERVER_ERROR, f"the live API answered {reply.status} {reply.reason}".rstrip())
    if reply.status == 429 and comparing.code_of(reply) == _RATE_LIMITED:
        return _NoAnswer(RATE_LIMITED, "the live API answered 429 with code 20429, too many requests")
    return None
