"""The documentation of Twilio's test credentials as data, and the pure rules that read it.

`load` gives a `Contract`; `answer` turns a `Request` into the `Answer` that test credentials would get.
Nothing in this package knows a clock, a socket, mitmproxy or global state.
"""

from ringback.contract.answering import answer, from_contract, refuse
from ringback.contract.compiled import Contract
from ringback.contract.form import FormError
from ringback.contract.gate import Admitted, Credentials, Format, Names, Refused, admit
from ringback.contract.load import ContractError, load
from ringback.contract.render import Identity
from ringback.contract.rules import Outcome, decide
from ringback.exchange import Answer, Basis, Headers, Request, Source, SourceKind

__all__ = [
    "Admitted",
    "Answer",
    "Basis",
    "Contract",
    "ContractError",
    "Credentials",
    "FormError",
    "Format",
    "Headers",
    "Identity",
    "Names",
    "Outcome",
    "Refused",
    "Request",
    "Source",
    "SourceKind",
    "admit",
    "answer",
    "decide",
    "from_contract",
    "load",
    "refuse",
]
