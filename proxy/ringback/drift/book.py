"""A contract, ready to be held against observations: its claims, its requests, its offline answers."""

from __future__ import annotations

import json
from collections import OrderedDict
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Final

from ringback import contract as contracts
from ringback.contract import AnswerStamp, Names
from ringback.contract.contract import Decision
from ringback.contract.render import Writer
from ringback.drift.claims import claims_of
from ringback.drift.knowledge import knowledge
from ringback.drift.observe import plain
from ringback.drift.probes import probes_of
from ringback.drift.trees import flat, of_json

if TYPE_CHECKING:
    from ringback.contract import Answer, Contract, Request
    from ringback.contract.form import Fields
    from ringback.contract.schema import Resource
    from ringback.drift.claims import Claim
    from ringback.drift.knowledge import Knowledge
    from ringback.drift.probes import Probe
    from ringback.drift.trees import Leaf

_STAMP: Final = AnswerStamp("0" * 32, "0" * 32, datetime(2012, 10, 10, 21, 36, 14, tzinfo=UTC), 0.1)
_KEPT: Final = 2048  # offline answers; a run asks for about two hundred


class Book:
    """A contract as claims.

    Args:
        contract: The contract; the documented one by default.
    """

    def __init__(self, contract: Contract | None = None) -> None:
        self.contract = contract or contracts.load()
        self.knowledge: Knowledge = knowledge()
        self._offline: OrderedDict[Request, Answer] = OrderedDict()
        self._successes: OrderedDict[tuple[str, Fields, str], dict[str, Leaf]] = OrderedDict()

    def offline(self, request: Request) -> Answer:
        """What the contract answers to `request`, always with the same sid and date."""
        asked = plain(request)
        found = self._offline.get(asked)
        if found is None:
            found = contracts.answer(self.contract, asked, Names(asked.host), contracts.Credentials(), _STAMP)
            self._offline[asked] = found
            if len(self._offline) > _KEPT:
                self._offline.popitem(last=False)
        return found

    def success(self, resource: Resource, form: Fields, account: str) -> dict[str, Leaf]:
        """The leaves of the answer that `form` gets where it succeeds, even where the contract refuses it."""
        key = (resource.resource, form, account)
        found = self._successes.get(key)
        if found is None:
            outcome = Decision(resource, resource.resource, "documented")
            written = Writer(self.contract, "json", _STAMP).success(outcome, form, account)
            found = flat(of_json(json.loads(written.body)))
            self._successes[key] = found
            if len(self._successes) > _KEPT:
                self._successes.popitem(last=False)
        return found

    @cached_property
    def claims(self) -> dict[str, Claim]:
        """Every claim by its id."""
        return {claim.id: claim for claim in claims_of(self.contract, self.knowledge)}

    @cached_property
    def probes(self) -> tuple[Probe, ...]:
        """Every request, in the order in which they are sent."""
        return tuple(probes_of(self.contract, self.knowledge))
