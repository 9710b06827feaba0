"""The one request handler: gate, cassette, contract, or the live API. Knows no mitmproxy and no socket."""

from __future__ import annotations

import asyncio
import logging
import traceback
from dataclasses import dataclass, field, replace
from functools import partial
from http import HTTPStatus
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, Self

from msgspec import structs

from ringback import contract
from ringback.bounds import BusyError, WorkThread
from ringback.cassettes.files import UnusableCassetteError
from ringback.contract import Answer, Contract, Credentials, Names, Request, Source
from ringback.contract.form import NamingError, has_too_many_fields, limit_exceeded, parameters_named
from ringback.contract.render import FreshStamps, Stamps, make_stamps
from ringback.exchange import Forward, Mode, is_large, without_secrets
from ringback.journal import Journal
from ringback.records import DEFAULT_SESSION
from ringback.state import State
from ringback.tally import CHALLENGE, Tally

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from ringback.callbacks import StatusCallbacks
    from ringback.cassettes.manager import CassetteManager, CassetteUsage
    from ringback.cassettes.misses import Miss
    from ringback.cassettes.remote import RemoteCassettes
    from ringback.contract.gate import Admitted, Refused
    from ringback.drift.findings import DriftFinding
    from ringback.drift.monitor import DriftMonitor
    from ringback.settings import Settings
    from ringback.traces import Traces
    from ringback.upstream.forwarder import Forwarder

logger = logging.getLogger(__name__)

# A form that is not even read is not sent on either; the live API judges every other one itself.
_NEVER_FORWARDED: Final = frozenset({"form.too-large", "headers.too-large"})

_MOST_UNOBSERVED: Final = 1_000  # live answers that are still to be compared


class SetupError(Exception):
    """A setting cannot be used; the message names it and says why."""


@dataclass
class Responder:
    """The handler of Twilio requests, in every mode and for every way in.

    Attributes:
        contract: The documented contract.
        credentials: The pair that counts as test credentials, or any.
        stamps: The source of sids, dates and durations.
        tally: The counts of what was answered.
        mode: The mode; offline, nothing is ever forwarded.
        session: The cassette of clients that name none.
        cassettes: Recorded answers, or None.
        journal: The requests that were answered, with their answers.
        traces: Exports a span for each answer; None where that was not asked for.
        state: What is shared with other replicas; by default nothing is.
        callbacks: Reports the statuses of what was sent; None where that was not asked for.
        forwarder: Sends to the live API; None offline.
        monitor: Compares live answers with the documentation; None offline.
        used: The use of the cassettes, once they are closed.
        bindings: The cassette of the clients with a proxy user name that names a program, such as a test run.
        rows: Rows that were laid over the contract at run time, by session; the empty name is all sessions.
        work: The thread for requests that take long.
    """

    contract: Contract
    credentials: Credentials = field(default_factory=Credentials)
    stamps: Stamps = field(default_factory=FreshStamps)
    tally: Tally = field(default_factory=Tally)
    mode: Mode = "offline"
    session: str = DEFAULT_SESSION
    cassettes: CassetteManager | None = None
    journal: Journal = field(default_factory=Journal)
    traces: Traces | None = None
    state: State = field(default_factory=State)
    callbacks: StatusCallbacks | None = None
    forwarder: Forwarder | None = None
    monitor: DriftMonitor | None = None
    used: tuple[CassetteUsage, ...] = ()
    bindings: dict[str, str] = field(default_factory=dict, init=False)
    rows: dict[str, dict[str, Any]] = field(default_factory=dict, init=False)
    work: WorkThread = field(default_factory=WorkThread, init=False, repr=False)
    _overlays: dict[str, Contract] = field(default_factory=dict, init=False, repr=False)
    _drift_report: Path | None = field(default=None, init=False)
    _numbers: dict[int, int] = field(default_factory=dict, init=False, repr=False)

    # -- life

    @classmethod
    def open(cls, settings: Settings, *, tally: Tally | None = None) -> Self:
        """Make the responder that `settings` describe, with its cassettes and its way to the live API.

        Args:
            settings: The settings.
            tally: Counts to go on with, or None for new ones.

        Raises:
            SetupError: A setting cannot be used.
        """
        try:
            loaded = contract.load(
                settings.contract,
                texts=settings.texts,
                account=settings.account,
                local_urls=settings.allow_local_urls or settings.callbacks,
            )
        except contract.ContractError as error:
            raise SetupError(f"contract: {error}") from None
        made = cls(
            contract=loaded,
            credentials=settings.credentials,
            stamps=make_stamps(settings.seed),
            tally=tally or Tally(),
            mode=settings.mode,
            session=settings.cassette,
        )
        for sentence in settings.routes.egress.unusable:
            logger.warning("%s", sentence)
        if settings.traces:
            made._open_traces()
        if settings.state is not None:
            made._open_state(settings)
        made._open_cassettes(settings)
        if not settings.callbacks and (settings.callbacks_to or settings.callbacks_hold):
            logger.warning("no status callbacks are made without --callbacks")
        if settings.callbacks:
            from ringback.callbacks import StatusCallbacks  # noqa: PLC0415 - few runs need it

            made.callbacks = StatusCallbacks(
                made.journal,
                settings.callbacks_to,
                is_twilio=loaded.is_twilio,
                delay=settings.callbacks_delay,
                hold=settings.callbacks_hold,
            )
        if settings.mode != "offline":
            made._open_upstream(settings)
        elif settings.drift_report is not None:
            logger.warning("no drift report is written offline: there are no live answers to look at")
        return made

    def _open_cassettes(self, settings: Settings) -> None:
        from ringback.cassettes.manager import CassetteManager, CassetteOptions  # noqa: PLC0415 - imported by whoever needs a proxy

        try:
            redact = parameters_named(self.contract, settings.redact)
        except NamingError as error:
            raise SetupError(f"redact: {error}") from None
        secrets = tuple(one for one in (settings.credentials.token, settings.password) if one)
        self.journal.hide(*secrets)
        directory, remote = settings.cassettes, None
        if isinstance(directory, str):
            remote = self._open_remote(directory)
            directory = remote.directory
        manager = CassetteManager(
            CassetteOptions(
                directory=directory,
                name=settings.cassette,
                repeats=settings.repeats,
                strict=settings.strict,
                redact=redact,
                match_ignore=settings.match_ignore,
                replay_any=settings.replay_any,
                max_age=settings.max_age,
                record_statuses=tuple(one for text in settings.record_statuses for one in text.split(",")),
            ),
            settings.mode,
            secrets=secrets,
            report=logger.warning,
            remote=remote,
            state=self.state,
        )
        try:
            manager.check()
        except UnusableCassetteError as error:
            manager.close()
            self.state.close()
            raise SetupError(f"cassette: {error}") from None
        self.cassettes = manager

    def _open_traces(self) -> None:
        from ringback.traces import Traces, TracesError  # noqa: PLC0415 - few runs need it

        try:
            self.traces = Traces(self.mode)
        except TracesError as error:
            raise SetupError(str(error)) from None

    def _open_state(self, settings: Settings) -> None:
        from ringback.state_redis import RedisState, StateError  # noqa: PLC0415 - few runs need it

        try:
            state = RedisState(
                settings.state or "",
                password=settings.password,
                capacity=settings.journal,
                report=logger.warning,
            )
        except StateError as error:
            raise SetupError(str(error)) from None
        state.start()
        self.state = state
        self.journal.share = state.publish

    def _open_remote(self, url: str) -> RemoteCassettes:
        from ringback.cassettes.object_store import RemoteError  # noqa: PLC0415 - few runs need it
        from ringback.cassettes.remote import RemoteCassettes  # noqa: PLC0415 - as above

        try:
            remote = RemoteCassettes(url, report=logger.warning)
        except RemoteError as error:
            raise SetupError(f"cassettes: {error}") from None
        try:
            remote.start(self.mode != "offline")
        except RemoteError as error:
            remote.close()
            raise SetupError(f"cassettes: {error}") from None
        return remote

    def _open_upstream(self, settings: Settings) -> None:
        # Imported here: offline runs need none of it, and it takes a third of the time to start.
        from ringback.drift.monitor import DriftMonitor, outcome_difference  # noqa: PLC0415 - as above
        from ringback.upstream.client import UpstreamClient  # noqa: PLC0415 - as above
        from ringback.upstream.forwarder import Forwarder, Gateway  # noqa: PLC0415 - as above

        assert self.cassettes is not None
        origin = str(settings.routes.upstream or "https://api.twilio.com")
        self.monitor = DriftMonitor(self.contract, origin, logger.warning)
        self.monitor.arguments = _reproduce_options(settings)
        self._drift_report = settings.drift_report
        self.forwarder = Forwarder(
            Gateway(
                UpstreamClient(settings.upstream_ca, settings.timeouts), settings.routes, self.state.verdicts
            ),
            refuse=self.refusal,
            tally=self.tally,
            compare=outcome_difference,
            auto=settings.mode == "auto",
            record=self.cassettes.record,
            observe=self._observe,
            unanswered=self.cassettes.unanswered,
            budget=self.state.budget(settings.max_live),
            warn=logger.warning,
            pause=max(settings.timeouts.connect, settings.timeouts.answer),
            work=self.work,
        )

    def close(self) -> None:
        """Finish recordings and reports, and close the connections to the live API."""
        if self.callbacks is not None:
            self.callbacks.close()
        if self.forwarder is not None:
            self.forwarder.close()
            self.forwarder = None
        if self.cassettes is not None:
            self.used = self.cassettes.close()
            self.cassettes = None
        self.state.close()
        if self.traces is not None:
            self.traces.close()
            self.traces = None
        self.work.close()
        if self.monitor is not None and self._drift_report is not None:
            self.monitor.write(self._drift_report)
            self._drift_report = None

    # -- requests

    def handle(
        self, request: Request, names: Names, *, user: str | None = None, admitted: Admitted | None = None
    ) -> Answer | Awaitable[Answer]:
        """Answer a Twilio request; the answer is to be awaited where the live API gives it, or a thread.

        A small request is answered at once: a thread would make it slower. A large one, or one whose cassette
        takes long to read, is worked on in a thread, so that no other client waits for it.

        Never raises: whatever goes wrong is logged and answered.

        Args:
            request: The request.
            names: Every name that the connection and the request give to the host.
            user: The name that the client gave to the proxy, if any: its cassette.
            admitted: What `judge` said of the same head before, if it let it pass.
        """
        started = perf_counter()
        try:
            if self._takes_long(request, user):
                return self._handle_in_thread(request, names, user, admitted)
            decided = self.decide(request, names, user, admitted)
            if isinstance(decided, Forward):
                return self._forward(decided, started)
            answer = self.finish(request, decided, user, started)
        except Exception as error:  # noqa: BLE001 - the proxy outlives everything
            return self._failed(request, error)
        published = self.state.published()
        return _later(answer, published) if answer.delay or published is not None else answer

    def _takes_long(self, request: Request, user: str | None) -> bool:
        if is_large(request) and not has_too_many_fields(request):  # which is refused soon
            return True
        return self.cassettes is not None and self.cassettes.takes_long(self.cassette_of(user))

    async def _handle_in_thread(
        self, request: Request, names: Names, user: str | None, admitted: Admitted | None
    ) -> Answer:
        started = perf_counter()
        try:
            decided = await self.work.run(lambda: self.decide(request, names, user, admitted))
            if isinstance(decided, Forward):
                return await self._forward(decided, started)
            answer = self.finish(request, decided, user, started)
        except BusyError as error:
            return self.refuse(request, "proxy.busy", detail=str(error))
        except Exception as error:  # noqa: BLE001 - the proxy outlives everything
            return self._failed(request, error)
        return await _later(answer, self.state.published())

    async def _forward(self, forward: Forward, started: float) -> Answer:
        request = forward.request
        try:
            assert self.forwarder is not None
            answer = self.finish(request, await self.forwarder.forward(forward), forward.user, started)
            number = self.journal.last
            published = self.state.published()
            if published is not None:
                await published
        except BusyError as error:
            return self.refuse(request, "proxy.busy", detail=str(error))
        except Exception as error:  # noqa: BLE001 - the proxy outlives everything
            return self._failed(request, error)
        if answer.source.kind == "live":
            self._numbers[id(request)] = number  # the forwarder keeps it until it is observed
            while len(self._numbers) > _MOST_UNOBSERVED:
                del self._numbers[next(iter(self._numbers))]
        return answer

    def _observe(self, request: Request, answer: Answer, where: str, expected: Answer) -> Callable[[], None]:
        """Compare a live answer with the documentation; return what notes the differences in the journal."""
        assert self.monitor is not None
        found = self.monitor.observe(request, answer, where, expected)
        return partial(self._note_drift, request, found)

    def _note_drift(self, request: Request, found: tuple[DriftFinding, ...]) -> None:
        number = self._numbers.pop(id(request), 0)
        if found and number:
            names = ("severity", "rule", "documented", "observed", "fingerprint")
            differences = [{name: str(getattr(one, name)) for name in names} for one in found]
            self.journal.add_drift(number, differences, request)

    def _failed(self, request: Request, error: Exception) -> Answer:
        log_failure(request, error)
        return self.refuse(request, "proxy.error", detail="unexpected error")

    def judge(self, request: Request, names: Names) -> Admitted | Refused:
        """Return what the gate says of the head of `request`; nothing is answered."""
        return contract.admit(self.contract, request, names, self.credentials)

    def admit(self, request: Request, names: Names) -> Admitted | Answer:
        """Return the gate's permission, or the refusal to send."""
        passed = self.judge(request, names)
        if isinstance(passed, contract.Refused):
            stamp = self.stamps.of(request)
            writer = contract.render.Writer(self.contract, passed.format, stamp)
            return writer.refusal(passed.refusal, passed.known)
        return passed

    def decide(
        self, request: Request, names: Names, user: str | None = None, admitted: Admitted | None = None
    ) -> Answer | Forward:
        """Return the answer to `request`, or that it is to be forwarded; nothing is counted yet."""
        passed = admitted or self.admit(request, names)
        user = self.cassette_of(user)
        if isinstance(passed, Answer):
            return self._recorded_instead(request, passed, user)
        found = self._recorded(request, user)
        if isinstance(found, Answer):
            return found
        if self.mode == "offline" and found is not None:
            return found.answer()
        expected = contract.from_contract(self.contract_of(user), request, passed, self.stamps.of(request))
        if self.mode == "offline" or expected.source.rule in _NEVER_FORWARDED or has_too_many_fields(request):
            return expected
        odd = _odd_host(request)
        if odd is not None:
            return self.refusal(request, "host.mismatch", detail=f"Host says {odd}")
        return Forward(request, expected, user, found.answer if found else None)

    def _recorded_instead(self, request: Request, refusal: Answer, user: str | None) -> Answer:
        """Return the recorded answer to a request for a refused resource (`--replay-any`), or the refusal.

        A refusal names the recording that there is.
        """
        if self.cassettes is None or not refusal.source.rule.startswith("resource."):
            return refusal
        if self._exceeds_limits(request):
            return refusal
        found = self.cassettes.recorded(request, user)
        if isinstance(found, str):
            reason = f"{refusal.source.reason}; {found}"
            return refusal.with_source(replace(refusal.source, reason=reason))
        return found or refusal

    def _recorded(self, request: Request, user: str | None) -> Answer | Miss | None:
        """Return the recorded answer, the miss where that is an error, or None."""
        if self.cassettes is None or self._exceeds_limits(request):
            return None
        try:
            found = self.cassettes.lookup(request, user)
        except UnusableCassetteError as error:
            return self.refusal(request, "cassette.unusable", detail=str(error))
        return found if isinstance(found, Answer) or self.cassettes.strict else None

    @staticmethod
    def _exceeds_limits(request: Request) -> bool:
        """Report whether `request` is refused for its size in every mode, whatever was recorded.

        A form of half a million fields would take a second to compare with recordings.
        """
        crowded = has_too_many_fields(request)
        return crowded or limit_exceeded(request.header_size, len(request.body)) is not None

    # -- refusals

    def refusal(self, request: Request, rule: str, **known: str) -> Answer:
        """Return the answer of the gate's `rule` to `request`, not counted."""
        form = contract.gate.answer_format(self.contract, request.host, request.path)
        known = {"path": request.path, "host": request.host, "method": request.method, **known}
        return contract.refuse(self.contract, rule, form, self.stamps.of(request), **known)

    def refuse(self, request: Request, rule: str, **known: str) -> Answer:
        """Return the answer of the gate's `rule` to `request`, counted."""
        return self.finish(request, self.refusal(request, rule, **known))

    def refuse_oversized(self, request: Request, names: Names, size: int) -> Answer:
        """Return the refusal of a body of `size` bytes that was not kept, unless the gate refuses first."""
        passed = self.admit(request, names)
        if isinstance(passed, Answer):
            return self.finish(request, passed)
        exceeded = limit_exceeded(request.header_size, size)
        assert exceeded is not None, "its body would have been kept"
        return self.refuse(request, exceeded.rule, detail=exceeded.detail)

    def finish(
        self, request: Request, answer: Answer, user: str | None = None, started: float | None = None
    ) -> Answer:
        """Count `answer`, put it into the journal, and fit it to the request's method: HEAD gets no body.

        Args:
            request: The request.
            answer: Its answer.
            user: The name that the client gave to the proxy, if any.
            started: When the request was begun with, of `time.perf_counter`, or None if that is not known.
        """
        seconds = None if started is None else perf_counter() - started
        counted = answer if answer.status < 400 else _without_secrets(request, answer)
        self.tally.count(counted, request.target, seconds)
        if answer.source.rule != CHALLENGE:
            self.journal.add(request, answer, self.cassette_of(user))
            if self.callbacks is not None:
                self.callbacks.follow(request, answer, self.cassette_of(user), self.contract_of(user))
            if self.traces is not None:
                self.traces.add(request, answer, self.cassette_of(user), seconds)
        return structs.replace(answer, body=b"") if request.method == "HEAD" else answer

    # -- the proxy itself

    def contract_of(self, user: str | None) -> Contract:
        """Return the contract of a session: with rows of its own, with those of all, or as it is."""
        overlays = self._overlays
        if not overlays:
            return self.contract
        return overlays.get(self.cassette_of(user)) or overlays.get("") or self.contract

    def cassette_of(self, user: str | None) -> str:
        """Return the name of the cassette for clients that call themselves `user` in the proxy URL."""
        return self.bindings.get(user, user) if user else self.session

    def bind(self, user: str, cassette: str | None, path: Path | None = None, command: str = "") -> None:
        """Answer the clients with the proxy user name `user` from `cassette`, from now on.

        A client keeps the proxy URL that it was made with, so a test run gives all its clients one user name
        and binds that to the running test.

        Args:
            user: The user name.
            cassette: The cassette's name; None ends the binding.
            path: The file that holds this cassette where the cassettes' directory has none, or None.
            command: The command line that records it, with MODE in the place of the mode, for advice.
        """
        if cassette is None:
            self.bindings.pop(user, None)
            return
        self.bindings[user] = cassette
        if path is not None and self.cassettes is not None:
            self.cassettes.place(cassette, path)
        if command and self.cassettes is not None:
            self.cassettes.commands[cassette] = command

    def lay_over(self, session: str, laid: Contract | None, rows: dict[str, Any]) -> None:
        """Answer a session, or with an empty name all without rows of their own, by the contract `laid`.

        Args:
            session: The session's name.
            laid: The contract with the rows, or None to take them back.
            rows: The rows, to be shown.
        """
        if laid is None:
            self._overlays.pop(session, None)
            self.rows.pop(session, None)
        else:
            self._overlays[session], self.rows[session] = laid, rows

    def rewind(self, session: str | None = None) -> None:
        """Begin anew: recordings from the first on, no rows; for all sessions also what a seed gives."""
        for name in list(self._overlays) if session is None else [session]:
            self.lay_over(name, None, {})
        if self.callbacks is not None:
            self.callbacks.reset(session)
        if self.cassettes is not None:
            self.cassettes.rewind(session)
        if session is None:
            self.stamps.reset()


def log_failure(request: Request, error: Exception) -> None:
    """Log an error of our own with its traceback, without the request's secrets: an error may quote them."""
    text = "".join(traceback.format_exception(error)).rstrip()
    text = without_secrets(f"{request.method} {request.path}\n{text}", request)
    logger.error("Ringback failed on %s", text)


def _without_secrets(request: Request, answer: Answer) -> Answer:
    """Return `answer` without the request's token in its reason, which the summary quotes."""
    reason = answer.source.reason
    if not reason:
        return answer
    clean = without_secrets(reason, request)
    return answer if clean == reason else answer.with_source(replace(answer.source, reason=clean))


async def _later(answer: Answer, published: Awaitable[None] | None) -> Answer:
    """Return `answer` when the other replicas can hear of it, after the delay that a row asks for."""
    if published is not None:
        await published
    await asyncio.sleep(answer.delay)
    return answer


def plain_answer(status: int, sentence: str, *headers: tuple[str, str]) -> Answer:
    """Return a plain-text answer of the proxy itself, to a request that is none of Twilio's."""
    body = f"{sentence}\n".encode()
    fields = (*headers, ("Content-Type", "text/plain"), ("Content-Length", str(len(body))))
    return Answer(status, HTTPStatus(status).phrase, fields, body, Source("gate", "proxy.refused"))


def password_required() -> Answer:
    """Return the answer to a client that gives no proxy password, or a wrong one."""
    sentence = "Ringback wants its proxy password: http://NAME:PASSWORD@HOST:PORT"
    return plain_answer(407, sentence, ("Proxy-Authenticate", 'Basic realm="Ringback"'))


def _reproduce_options(settings: Settings) -> tuple[str, ...]:
    """Return the options with which `ringback drift` asks the API that this proxy asks."""
    values = (
        ("--upstream", settings.routes.upstream),
        ("--upstream-ca", settings.upstream_ca),
        *(("--contract", path) for path in settings.contract),
    )
    return tuple(word for option, value in values if value for word in (option, str(value)))


def _odd_host(request: Request) -> str | None:
    """Return a Host field that two readers could take for different hosts, or None."""
    hosts = [value for name, value in request.headers if name.lower() == "host"]
    plain = {request.host, f"{request.host}."}
    allowed = plain | {f"{name}:{port}" for name in plain for port in (443, 80)}
    if len(hosts) > 1:
        return " and ".join(hosts)
    return next((value for value in hosts if value.lower() not in allowed), None)
