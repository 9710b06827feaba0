"""Forwarding to the live API: only with the proof of test credentials, and with an answer to fall back on.

The live API's own answer passes through as it is. Where there is none, `online` answers with a refusal that
names the failure, and `auto` with the contract's answer.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from ringback.bounds import WorkThread
from ringback.cassettes.bodies import decode
from ringback.cassettes.files import CodingError
from ringback.exchange import (
    LARGEST_ERROR,
    MOCK,
    PROVENANCE_PREFIX,
    Answer,
    Source,
    error_code,
    header_value,
    is_large,
)
from ringback.state import Budget
from ringback.upstream.http1 import UpstreamError
from ringback.upstream.proof import NotProvenError, Proof, Proofs

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ringback.exchange import Forward, Headers, Request
    from ringback.state import Verdicts
    from ringback.tally import Tally
    from ringback.upstream.client import UpstreamClient
    from ringback.upstream.routes import Routes

    Record: TypeAlias = Callable[[Request, Answer, str | None], Awaitable[str]]
    Observe: TypeAlias = Callable[[Request, Answer, str, Answer], Callable[[], object] | None]
    Compare: TypeAlias = Callable[[Answer, Answer], str | None]

    class Refuse(Protocol):
        """Writer of refusals."""

        def __call__(self, request: Request, rule: str, *, detail: str) -> Answer:
            """Write the refusal of `rule` in the form that `request` expects, not counted."""
            ...  # a protocol has no body

    class Unanswered(Protocol):
        """Counter of requests without a live answer."""

        def __call__(self, request: Request, user: str | None, *, waits: bool) -> object:
            """Note that `request` of the client `user` waits for its live answer, or not any more."""
            ...  # a protocol has no body


_AFTER_ANSWER: Final = 0.05  # seconds: the client has its answer by then
_MOST_UNOBSERVED: Final = 500  # answers that wait to be observed while others are asked for
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
    """The source of an answer that took the live API's place.

    Attributes:
        fallback: Why the live API did not answer, `upstream.…`.
        detail: The same in words.
    """

    fallback: str = ""
    detail: str = ""

    def headers(self) -> Headers:
        """Return the usual fields and the reason for the fallback."""
        (name, value), *others = Source.headers(self)
        marked = (name, header_value(f"{value}; fallback={self.fallback}"))
        return (marked, *others, ("Ringback-Fallback", header_value(self.detail)))


@dataclass(frozen=True, slots=True)
class LiveSource(Source):
    """The source of a live answer, with the comparison to the contract.

    Attributes:
        difference: The difference from the expected answer, or None.
        recorded: The place where it was recorded, or why it was not.
    """

    difference: str | None = None
    recorded: str = ""

    def headers(self) -> Headers:
        """Return the usual fields, the comparison and the recording."""
        verdict = "agrees" if self.difference is None else f"differs; {self.difference}"
        fields = (*Source.headers(self), ("Ringback-Contract", header_value(verdict)))
        return (*fields, ("Ringback-Cassette", header_value(self.recorded))) if self.recorded else fields


@dataclass(frozen=True, slots=True)
class _NoAnswer:
    """A missing answer of the live API.

    Attributes:
        rule: `upstream.…` or `credentials.…`.
        detail: The same in words.
        final: Whether it is refused even in auto.
    """

    rule: str
    detail: str
    final: bool = False


class Gateway:
    """The one place from which requests leave for the live API.

    Args:
        client: Sends them.
        routes: The route to each host.
        verdicts: What other replicas found out about credentials.
    """

    def __init__(self, client: UpstreamClient, routes: Routes, verdicts: Verdicts | None = None) -> None:
        self._client = client
        self._routes = routes
        self._source = Source("live", origin=routes.origin)
        self._proofs = Proofs(self._send, verdicts, routes.origin or "")
        self.probes = 0

    @property
    def origin(self) -> str | None:
        """Return the mock upstream's URL; None where the answers are Twilio's own."""
        return self._routes.origin

    async def prove(self, request: Request) -> Proof:
        """Return the proof that `request`'s credentials are test credentials.

        One probe is sent for each pair and host.

        Raises:
            NotProvenError: They are not, or it cannot be found out.
            UpstreamError: The live API could not be asked.
        """
        return await self._proofs.prove(request)

    async def send(self, request: Request, proof: Proof) -> Answer:
        """Send `request` and return the live API's answer.

        Raises:
            NotProvenError: `proof` is not about this request's credentials and host.
            UpstreamError: There is no answer.
        """
        if not self._proofs.covers(proof, request):
            raise NotProvenError("credentials.unproven")
        return await self._exchange(request)

    def close(self) -> None:
        """Close the kept connections."""
        self._client.close()

    async def _send(self, request: Request) -> Answer:
        self.probes += 1
        return await self._exchange(request)

    async def _exchange(self, request: Request) -> Answer:
        answer = await self._client.exchange(self._routes.of(request.host), request)
        source = answer.header("Ringback-Source")
        mocked = self._source.origin is not None and source is not None and source.startswith(MOCK)
        if source is not None and not mocked and not source.startswith("live"):
            # HTTPS_PROXY may still name an offline one: its answers must not pass for the live API's.
            raise UpstreamError("upstream.proxy", "another Ringback answered in place of the live API")
        # Nobody but this process says where an answer came from.
        fields = tuple(
            [
                (name, value)
                for name, value in answer.headers
                if not name.lower().startswith(PROVENANCE_PREFIX)
            ]
        )
        return Answer(answer.status, answer.reason, fields, answer.body, self._source)


class Forwarder:
    """Forwards requests, records the answers and falls back where there is none.

    Args:
        gateway: Sends.
        refuse: Writes refusals.
        tally: Counts comparisons, fallbacks and probes; answers are counted by the caller.
        compare: Describes the difference between the contract's answer and the live one, or gives None.
        auto: Whether the contract answers where the live API does not, instead of a refusal.
        record: Records an exchange of the client that gave the proxy this name, and returns when it is
            durable; or None.
        observe: Takes each live answer, where it was recorded, and the contract's answer, after the client
            has it, perhaps in a thread, and returns what is to be done in the event loop after that, or None;
            or None.
        unanswered: Takes a request, the name that its client gave the proxy, and whether it waits for its
            live answer: True when it asks, False when it is answered or never can be.
        max_live: The number of requests that may be forwarded, or None for any number.
        budget: The same, counted elsewhere; by default here.
        warn: Takes a sentence for people, each only once.
        pause: Seconds for which the live API is left alone after it did not answer in time (auto).
        work: The thread for what takes long.
    """

    def __init__(  # noqa: PLR0913 - they are options, all named, most with a default
        self,
        gateway: Gateway,
        *,
        refuse: Refuse,
        tally: Tally,
        compare: Compare,
        auto: bool = False,
        record: Record | None = None,
        observe: Observe | None = None,
        unanswered: Unanswered | None = None,
        max_live: int | None = None,
        budget: Budget | None = None,
        warn: Callable[[str], None] = lambda _: None,
        pause: float = 0.0,
        work: WorkThread | None = None,
    ) -> None:
        self._gateway = gateway
        self._refuse = refuse
        self._tally = tally
        self._compare = compare
        self._auto = auto
        self._record = record
        self._observe = observe
        self._unobserved: deque[tuple[Request, Answer, str, Answer]] = deque()
        self._observing: asyncio.TimerHandle | None = None
        self._in_flight = 0
        self._unanswered = unanswered or (lambda _request, _user, *, waits: waits)
        self._budget = budget or Budget(max_live)
        self._warn = warn
        self._warned: set[str] = set()
        self._pause = pause
        self._work = work or WorkThread()
        self._large: deque[tuple[Request, Answer, str, Answer]] = deque()  # to be observed in the thread
        self._tasks: set[asyncio.Task[None]] = set()
        self._not_before = 0.0
        self._late: _NoAnswer | None = None

    async def forward(self, forward: Forward) -> Answer:
        """Return the live API's answer, already recorded, or what takes its place; not counted yet."""
        self._in_flight += 1
        try:
            return await self._answer(forward)
        finally:
            self._in_flight -= 1

    async def _answer(self, forward: Forward) -> Answer:
        # Also if the end comes first, or something unforeseen.
        await self._note(forward, waits=True)
        got = self._withheld() or await self._ask(forward.request)
        missing = _missing(got) if isinstance(got, Answer) else got
        if missing is None or missing.rule in _REFUSED_FOR_GOOD:
            await self._note(forward, waits=False)
        if isinstance(got, Answer):
            return await self._live(forward, got)
        if got.rule == BUDGET or (self._auto and not got.final):
            return await self._fall_back(forward, got)
        return self._refuse(forward.request, got.rule, detail=got.detail)

    async def _note(self, forward: Forward, *, waits: bool) -> None:
        """Note that a request waits for its live answer, or not any more.

        Raises:
            BusyError: It does not wait yet, and never will: too many others do.
        """
        note = partial(self._unanswered, forward.request, forward.user, waits=waits)
        if is_large(forward.request):
            await self._work.run(note, limited=waits)
        else:
            note()

    def close(self) -> None:
        """Show what was not observed yet, and close the kept connections."""
        if self._observing is not None:
            self._observing.cancel()
        try:
            self._unobserved.extendleft(reversed(self._large))
            self._large.clear()
            while self._unobserved and self._observe:
                _do(self._observe(*self._unobserved.popleft()))
        finally:
            self._gateway.close()

    def _withheld(self) -> _NoAnswer | None:
        """Return why nothing is to be sent now, or None."""
        if self._budget.used_up:
            return _NoAnswer(BUDGET, self._budget.reason)
        if self._auto and asyncio.get_running_loop().time() < self._not_before:
            return self._late
        return None

    async def _ask(self, request: Request) -> Answer | _NoAnswer:
        try:
            proof = await self._prove(request)
            spent = self._withheld()  # others may have been faster
            if spent:
                return spent
            if not await self._budget.spend():
                return _NoAnswer(BUDGET, self._budget.reason)
            answer = await self._gateway.send(request, proof)
        except NotProvenError as error:
            missing = _missing(error.answer) if self._auto and error.answer else None
            return missing or _NoAnswer(error.rule, error.detail, final=True)
        except UpstreamError as error:
            none = _NoAnswer(error.rule, error.detail)
            if error.rule == "upstream.timeout":
                self._late = none
                self._not_before = asyncio.get_running_loop().time() + self._pause
            return none
        except ValueError as error:
            return _NoAnswer("form.malformed", str(error), final=True)
        return (_missing(answer) if self._auto else None) or answer

    async def _prove(self, request: Request) -> Proof:
        try:
            return await self._gateway.prove(request)
        finally:
            self._tally.probes = self._gateway.probes

    async def _live(self, forward: Forward, answer: Answer) -> Answer:
        different = self._compare(forward.expected, answer)
        self._tally.compare(different)
        recorded = ""
        # What only says that there is no answer now is none that anybody wants for ever.
        if not _missing(answer):
            if self._record:
                recorded = await self._record(forward.request, answer, forward.user)
            if self._observe:
                self._unobserved.append((forward.request, answer, recorded, forward.expected))
                self._observe_in(_AFTER_ANSWER)
        source = LiveSource("live", origin=answer.source.origin, difference=different, recorded=recorded)
        return answer.with_source(source)

    def _observe_in(self, seconds: float) -> None:
        if self._observing is None and self._unobserved:
            self._observing = asyncio.get_running_loop().call_later(seconds, self._observe_next)

    def _observe_next(self) -> None:
        """Observe one answer, unless a client waits for one: it goes first, as long as not too many wait."""
        self._observing = None
        if self._in_flight and len(self._unobserved) <= _MOST_UNOBSERVED:
            self._observe_in(_AFTER_ANSWER)
            return
        observed = self._unobserved.popleft()
        if self._observe and is_large(observed[0], observed[1]):
            self._large.append(observed)
            task = asyncio.get_running_loop().create_task(self._observe_in_thread())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        self._observe_in(0)
        if self._observe:
            _do(self._observe(*observed))

    async def _observe_in_thread(self) -> None:
        def observe() -> Callable[[], object] | None:
            assert self._observe is not None
            try:
                observed = self._large.popleft()
            except IndexError:  # the end came first, and observed it
                return None
            return self._observe(*observed)

        try:
            _do(await self._work.run(observe, limited=False))
        finally:
            self._observe_in(0)

    async def _fall_back(self, forward: Forward, none: _NoAnswer) -> Answer:
        if none.rule not in self._warned:
            self._warned.add(none.rule)
            self._warn(f"answering offline ({none.rule}): {none.detail}")
        self._tally.fall_back(none.rule, none.detail)
        if is_large(forward.request):
            answer = await self._work.run(forward.fallback_answer, limited=False)
        else:
            answer = forward.fallback_answer()
        source = answer.source
        known = {
            name: getattr(source, name)
            for name in ("kind", "rule", "basis", "reason", "line", "text", "page")
        }
        return answer.with_source(FallbackSource(**known, fallback=none.rule, detail=none.detail))


def _do(rest: Callable[[], object] | None) -> None:
    if rest is not None:
        rest()


def live_error_code(answer: Answer) -> int | None:
    """Read Twilio's error code in `answer`, whose content coding is as sent, or None."""
    try:
        return error_code(decode(answer.body, answer.header("Content-Encoding"), LARGEST_ERROR))
    except CodingError:
        return None


def _missing(answer: Answer) -> _NoAnswer | None:
    """Return why `answer` counts as no answer in auto, or None if it is one."""
    if answer.status >= 500:
        return _NoAnswer(SERVER_ERROR, f"the live API answered {answer.status} {answer.reason}".rstrip())
    if answer.status == 429 and live_error_code(answer) == _RATE_LIMITED:
        return _NoAnswer(RATE_LIMITED, "the live API answered 429 with code 20429, too many requests")
    return None
