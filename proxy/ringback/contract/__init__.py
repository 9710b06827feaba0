"""The documentation of Twilio's test credentials as data, and the pure rules that read it.

`load` gives a `Contract`; `answer` turns a `Request` into the `Answer` that test credentials would get.
Nothing in this package knows a socket, mitmproxy or global state, and nothing but `FreshStamps` a clock.
PyYAML is imported only where a user's own files are laid over the contract.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ringback.contract.contract import Contract, ContractError, Decision, documented
from ringback.contract.form import FormError
from ringback.contract.gate import Admitted, Credentials, Names, Refused, admit, shows_test_credentials
from ringback.contract.render import AnswerStamp, answer, from_contract, refuse
from ringback.contract.rules import decide
from ringback.contract.schema import AccountKind, Format, Texts
from ringback.exchange import Answer, Basis, Headers, Request, Source, SourceKind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

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
    "shows_test_credentials",
]


def load(
    files: Sequence[Path] = (),
    *,
    texts: Texts = "certain",
    account: AccountKind = "upgraded",
    local_urls: bool = False,
) -> Contract:
    """Load the documented contract, with the user's own `files` laid over it in order.

    Args:
        files: Contract files.
        texts: `certain` for the newest texts that test credentials are known to give, `newest` also for those
            that are probable, or known of live credentials alone.
        account: The kind of account whose test credentials answer.
        local_urls: Let URLs pass that are not public.

    Raises:
        ContractError: A file is missing, not YAML, or not of the contract's schema.
    """
    contract = documented()
    if files:
        from ringback.contract.yaml_files import overlaid  # noqa: PLC0415 - PyYAML, for those who have such files

        for file in files:
            contract = overlaid(contract, file)
    if (texts, account, local_urls) != ("certain", "upgraded", False):
        contract = replace(contract, texts=texts, account=account, local_urls=local_urls)
    return contract
