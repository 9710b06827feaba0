"""Loading of the documented contract, with users' own files over it.

PyYAML is imported only for users' files: the contract itself is read from one JSON file.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import msgspec

from ringback.contract.contract import Contract
from ringback.contract.schema import BUILT, Shipped

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ringback.contract.schema import AccountKind, Texts


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


@cache
def documented() -> Contract:
    """The contract that ships with the project."""
    data = BUILT.read_bytes()
    shipped = msgspec.json.decode(data, type=Shipped)
    return Contract(**msgspec.structs.asdict(shipped))
