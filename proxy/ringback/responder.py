"""Who answers a request: the gate, a cassette, the contract; or it is to be forwarded.

Knows no mitmproxy and no socket, so that every way in shares it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias

from ringback import contract
from ringback.cassettes.errors import UnusableCassetteError
from ringback.contract import Answer, Contract, Credentials, Names, Request
from ringback.contract.stamps import FreshStamps, Stamps
from ringback.exchange import Forward
from ringback.journal import DEFAULT_SESSION, Journal
from ringback.tally import CHALLENGE, Tally

if TYPE_CHECKING:
    from pathlib import Path

    from ringback.contract.gate import Admitted, Refused
    from ringback.control import Control, Response

Mode: TypeAlias = Literal["offline", "auto", "online"]

HEALTH_PATH: Final = "/ringback/health"
# A form that is not even read is not sent on either; the live API judges every other one itself.
_NEVER_FORWARDED: Final = frozenset({"form.too-large", "headers.too-large"})


class Missed(Protocol):
    """A request that a cassette has nothing for."""

    def answer(self) -> Answer:
        """What is answered where that is an error."""
        ...  # a protocol has no body


class Cassettes(Protocol):
    """Where recorded answers come from."""

    @property
    def strict(self) -> bool:
        """Whether a miss is an error."""
        ...  # a protocol has no body

    def lookup(self, request: Request, user: str | None) -> Answer | Missed | None:
        """What the cassette that `user` names has for `request`; None where there is nothing to look in.

        Raises:
            UnusableCassetteError: The name is none, or the cassette is broken.
        """
        ...  # a protocol has no body

    def rewind(self, name: str | None) -> None:
        """Replay from the first recording on again: in the cassette `name`, or in every one."""
        ...  # a protocol has no body

    def place(self, name: str, path: Path) -> None:
        """Take the cassette `name` from the file `path`, unless the directory has one of that name."""
        ...  # a protocol has no body


@dataclass
class Responder:
    """Answers Twilio requests, or says that they are to be forwarded.

    Attributes:
        contract: The documented contract.
        credentials: The pair that counts as test credentials, or any.
        stamps: Source of sids, dates and durations.
        tally: What was answered.
        mode: The mode; offline, nothing is ever forwarded.
        session: The cassette of clients that name none.
        cassettes: Recorded answers, or None.
        journal: What was asked and answered.
        password: What clients from other machines must give to the API at the proxy's own address, or None.
        bindings: The cassette of the clients with a proxy user name that names a program, such as a test run.
        rows: Rows that were laid over the contract at run time, by session; the empty name is all sessions.
    """

    contract: Contract
    credentials: Credentials = field(default_factory=Credentials)
    stamps: Stamps = field(default_factory=FreshStamps)
    tally: Tally = field(default_factory=Tally)
    mode: Mode = "offline"
    session: str = DEFAULT_SESSION
    cassettes: Cassettes | None = None
    journal: Journal = field(default_factory=Journal)
    password: str | None = field(default=None, repr=False)
    bindings: dict[str, str] = field(default_factory=dict, init=False)
    rows: dict[str, dict[str, Any]] = field(default_factory=dict, init=False)
    _overlays: dict[str, Contract] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def control(self) -> Control:
        """Return what answers at the proxy's own address."""
        from ringback.control import Control  # noqa: PLC0415 - most runs never ask for it

        return Control(self, self.password)

    def judge(self, request: Request, names: Names) -> Admitted | Refused:
        """What the gate says of the head of `request`; nothing is answered."""
        return contract.admit(self.contract, request, names, self.credentials)

    def admit(self, request: Request, names: Names) -> Admitted | Answer:
        """What the gate says: the request may pass, or the refusal to send."""
        passed = self.judge(request, names)
        if isinstance(passed, contract.Refused):
            stamp = self.stamps.of(request)
            writer = contract.render.Writer(self.contract, passed.format, stamp)
            return writer.refusal(passed.refusal, passed.known)
        return passed

    def decide(
        self, request: Request, names: Names, user: str | None = None, admitted: Admitted | None = None
    ) -> Answer | Forward:
        """The answer to `request`, or that it is to be forwarded; nothing is counted yet.

        Args:
            request: The request.
            names: What its connection names.
            user: The name that the client gave to the proxy, if any: its cassette.
            admitted: What `judge` said of the same head before, if it let it pass.
        """
        passed = admitted or self.admit(request, names)
        if isinstance(passed, Answer):
            return passed
        user = self.cassette_of(user)
        found = self._recorded(request, user)
        if isinstance(found, Answer):
            return found
        if self.mode == "offline" and found is not None:
            return found.answer()
        expected = contract.from_contract(self.contract_of(user), request, passed, self.stamps.of(request))
        if self.mode == "offline" or expected.source.rule in _NEVER_FORWARDED:
            return expected
        odd = _odd_host(request)
        if odd is not None:
            return self.refusal(request, "host.mismatch", detail=f"Host says {odd}")
        return Forward(request, expected, user, found.answer if found else None)

    def _recorded(self, request: Request, user: str | None) -> Answer | Missed | None:
        """The recorded answer, the miss where that is an error, or None."""
        if self.cassettes is None:
            return None
        try:
            found = self.cassettes.lookup(request, user)
        except UnusableCassetteError as error:
            return self.refusal(request, "cassette.unusable", detail=str(error))
        return found if isinstance(found, Answer) or self.cassettes.strict else None

    def respond(
        self, request: Request, names: Names, user: str | None = None, admitted: Admitted | None = None
    ) -> Answer:
        """The answer to `request` without a network, counted; HEAD gets no body."""
        decided = self.decide(request, names, user, admitted)
        return self.finish(
            request, decided if isinstance(decided, Answer) else decided.fallback_answer(), user
        )

    def refusal(self, request: Request, rule: str, **known: str) -> Answer:
        """The answer of the gate's `rule` to `request`, not counted."""
        form = contract.gate.answer_format(self.contract, request.host, request.path)
        known = {"path": request.path, "host": request.host, "method": request.method, **known}
        return contract.refuse(self.contract, rule, form, self.stamps.of(request), **known)

    def refuse(self, request: Request, rule: str, **known: str) -> Answer:
        """The answer of the gate's `rule` to `request`, counted."""
        return self.finish(request, self.refusal(request, rule, **known))

    def finish(self, request: Request, answer: Answer, user: str | None = None) -> Answer:
        """Count `answer`, put it into the journal, and fit it to the request's method."""
        self.tally.count(answer)
        if answer.source.rule != CHALLENGE:
            self.journal.add(request, answer, self.cassette_of(user))
        return replace(answer, body=b"") if request.method == "HEAD" else answer

    def own(self, request: Request, peer: str | None = None) -> Response:
        """Answer a request for the proxy itself, not counted.

        Args:
            request: The request.
            peer: The client's IP address, or None if it is not known.
        """
        return self.control.handle(request, peer)

    # -- what the API at the proxy's own address changes

    def contract_of(self, user: str | None) -> Contract:
        """Return the contract of a session: with rows of its own, with those of all, or as it is."""
        overlays = self._overlays
        return overlays.get(self.cassette_of(user)) or overlays.get("") or self.contract

    def cassette_of(self, user: str | None) -> str:
        """Return the name of the cassette for clients that call themselves `user` in the proxy URL."""
        return self.bindings.get(user, user) if user else self.session

    def bind(self, user: str, cassette: str | None, path: Path | None = None) -> None:
        """Answer the clients with the proxy user name `user` from `cassette`, from now on.

        A client keeps the proxy URL that it was made with, so a test run gives all its clients one user name
        and binds that to the running test.

        Args:
            user: The user name.
            cassette: The cassette's name; None ends the binding.
            path: The file that holds this cassette where the cassettes' directory has none, or None.
        """
        if cassette is None:
            self.bindings.pop(user, None)
            return
        self.bindings[user] = cassette
        if path is not None and self.cassettes is not None:
            self.cassettes.place(cassette, path)

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
        if self.cassettes is not None:
            self.cassettes.rewind(session)
        if session is None:
            self.stamps.reset()


def _odd_host(request: Request) -> str | None:
    """A Host field that two readers could take for different hosts, or None."""
    said = [value for name, value in request.headers if name.lower() == "host"]
    plain = {request.host, f"{request.host}."}
    allowed = plain | {f"{name}:{port}" for name in plain for port in (443, 80)}
    if len(said) > 1:
        return " and ".join(said)
    return next((value for value in said if value.lower() not in allowed), None)
