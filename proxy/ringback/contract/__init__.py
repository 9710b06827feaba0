"""The documentation of Twilio's test credentials as data, and the pure rules that read it.

`load` gives a `Contract`; `answer` turns a `Request` into the `Answer` that test credentials would get.
Nothing in this package knows a clock, a socket, mitmproxy or global state.
"""

from ringback.contract.contract import Contract, ContractError, Decision
from ringback.contract.form import FormError
from ringback.contract.gate import Admitted, Credentials, Names, Refused, admit
from ringback.contract.load import load
from ringback.contract.render import answer, from_contract, refuse
from ringback.contract.rules import decide
from ringback.contract.schema import AccountKind, Format, Texts
from ringback.contract.stamps import AnswerStamp
from ringback.exchange import Answer, Basis, Headers, Request, Source, SourceKind

__all__ = [
    "AccountKind",
    "Admitted",
    "Answer",
    "AnswerStamp",
    "Basis",
    "Contract",
    "ContractError",
    "Credentials",
    "Decision",
    "FormError",
    "Format",
    "Headers",
    "Names",
    "Refused",
    "Request",
    "Source",
    "SourceKind",
    "Texts",
    "admit",
    "answer",
    "decide",
    "from_contract",
    "load",
    "refuse",
]
