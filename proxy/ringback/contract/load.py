"""Loading of the documented contract, with users' own files over it.

PyYAML is imported only for users' files: the contract itself is read from one JSON file.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import msgspec

from ringback.contract.contract import Contract
from ringback.contract.schema import BUILT, Shipped

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def load(files: Sequence[Path] = ()) -> Contract:
    """The documented contract, with the user's own `files` laid over it in order.

    Raises:
        ContractError: A file is missing, not YAML, or not of the contract's schema.
    """
    contract = documented()
    if files:
        from ringback.contract.yaml_files import overlaid  # noqa: PLC0415 - PyYAML, for those who have such files

        for file in files:
            contract = overlaid(contract, file)
    return contract


@cache
def documented() -> Contract:
    """The contract that ships with the project."""
    data = BUILT.read_bytes()
    shipped = msgspec.json.decode(data, type=Shipped)
    return Contract(**msgspec.structs.asdict(shipped))
