"""The documented contract, and users' own files over it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ringback.contract.compiled import Contract
from ringback.contract.model import Shipped

if TYPE_CHECKING:
    from collections.abc import Sequence

BUILT = "contract.json"


class ContractError(Exception):
    """A contract file that cannot be used; the message names the file, the line and what was expected."""


def load(files: Sequence[Path] = ()) -> Contract:
    """The documented contract, with the user's own `files` laid over it in order.

    Raises:
        ContractError: A file is missing, not YAML, or not of the contract's schema.
    """
    contract = documented()
    if files:
        from ringback.contract.overlay import overlaid  # noqa: PLC0415 - PyYAML, for those who have such files

        for file in files:
            contract = overlaid(contract, file)
    return contract


@cache
def documented() -> Contract:
    """The contract that ships with the project."""
    data = (Path(__file__).parent / "data" / BUILT).read_bytes()  # importlib.resources takes longer
    shipped = msgspec.json.decode(data, type=Shipped)
    return Contract(shipped.resources, shipped.errors, shipped.gate, shipped.examples, shipped.errata)
