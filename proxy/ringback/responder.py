"""Who answers a request: the gate, else the contract. Knows no mitmproxy, so that every way in shares it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ringback import __version__, contract
from ringback.contract import Answer, Contract, Credentials, Names, Request, Source
from ringback.identities import FreshIdentities, Identities
from ringback.tally import Tally

if TYPE_CHECKING:
    from ringback.contract.gate import Admitted

HEALTH_PATH = "/ringback/health"


@dataclass
class Responder:
    """Answers Twilio requests offline.

    Attributes:
        contract: The documented contract.
        credentials: The pair that counts as test credentials, or any.
        identities: Where sids and dates come from.
        tally: What was answered.
        mode: The mode's name, for the health answer.
    """

    contract: Contract
    credentials: Credentials = field(default_factory=Credentials)
    identities: Identities = field(default_factory=FreshIdentities)
    tally: Tally = field(default_factory=Tally)
    mode: str = "offline"

    def admit(self, request: Request, names: Names) -> Admitted | Answer:
        """What the gate says: the request may pass, or the refusal to send."""
        passed = contract.admit(self.contract, request, names, self.credentials)
        if isinstance(passed, contract.Refused):
            identity = self.identities.of(request)
            writer = contract.render.Writer(self.contract, passed.format, identity)
            return writer.refusal(passed.refusal, passed.known)
        return passed

    def respond(self, request: Request, names: Names) -> Answer:
        """The answer to `request`, counted; HEAD gets no body."""
        passed = self.admit(request, names)
        if not isinstance(passed, Answer):
            passed = contract.from_contract(self.contract, request, passed, self.identities.of(request))
        return self.finish(request, passed)

    def refuse(self, request: Request, rule: str, **known: str) -> Answer:
        """The answer of the gate's `rule` to `request`, counted."""
        form = contract.gate.answer_format(self.contract, request.host, request.path)
        known = {"path": request.path, "host": request.host, "method": request.method, **known}
        answer = contract.refuse(self.contract, rule, form, self.identities.of(request), **known)
        return self.finish(request, answer)

    def finish(self, request: Request, answer: Answer) -> Answer:
        """Count `answer` and fit it to the request's method."""
        self.tally.count(answer)
        return replace(answer, body=b"") if request.method == "HEAD" else answer

    def own(self, request: Request) -> Answer:
        """The answer to a request for the proxy itself, not counted: its health, else a Twilio-shaped 404."""
        if request.method == "GET" and request.path == HEALTH_PATH:
            state = {"status": "ok", "version": __version__, "mode": self.mode, **self.tally.as_dict()}
            body = json.dumps(state).encode()
            headers = (("Content-Type", "application/json"), ("Content-Length", str(len(body))))
            return Answer(200, "OK", headers, body, Source("gate", "proxy.health"))
        identity = self.identities.of(request)
        known = {"path": request.path}
        return contract.refuse(self.contract, "proxy.not-found", "json", identity, **known)
