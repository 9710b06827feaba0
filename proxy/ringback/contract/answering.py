"""The whole contract as one function: a request in, Twilio's answer out. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ringback.contract import form as forms
from ringback.contract import gate, rules
from ringback.contract.render import Writer

if TYPE_CHECKING:
    from ringback.contract.compiled import Contract
    from ringback.contract.gate import Admitted, Credentials, Format, Names
    from ringback.contract.render import Identity
    from ringback.exchange import Answer, Request


def answer(
    contract: Contract, request: Request, names: Names, credentials: Credentials, identity: Identity
) -> Answer:
    """What test credentials would get for `request`: the gate's refusal or the contract's outcome."""
    passed = gate.admit(contract, request, names, credentials)
    if isinstance(passed, gate.Refused):
        return Writer(contract, passed.format, identity).refusal(passed.refusal, passed.known)
    return from_contract(contract, request, passed, identity)


def from_contract(contract: Contract, request: Request, admitted: Admitted, identity: Identity) -> Answer:
    """The contract's answer to a request that the gate let pass."""
    try:
        fields = forms.read(request)
    except forms.FormError as error:
        return refuse(contract, error.rule, admitted.format, identity, detail=error.detail, path=request.path)
    outcome = rules.decide(contract, admitted.resource, fields, request.query)
    writer = Writer(contract, admitted.format, identity)
    if outcome.code is not None:
        return writer.failure(outcome)
    return writer.success(outcome, fields, admitted.account)


def refuse(contract: Contract, rule: str, answer_format: Format, identity: Identity, **known: str) -> Answer:
    """The answer of the gate's refusal `rule`, its texts filled from `known`.

    Raises:
        KeyError: There is no such rule.
    """
    return Writer(contract, answer_format, identity).refusal(contract.refusals[rule], known)
