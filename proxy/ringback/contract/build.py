"""The contract's YAML files, which people write, as the one JSON file that is read at start.

    python -m ringback.contract.build

A test fails where somebody changed the one and forgot the other.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from ringback.contract.load import BUILT
from ringback.contract.model import ErratumFile, ErrorFile, ExampleFile, Gate, Resource, Shipped
from ringback.contract.overlay import checked

DATA = Path(__file__).with_name("data")
RESOURCES = ("messages.yaml", "calls.yaml", "incoming_phone_numbers.yaml")


def built() -> bytes:
    """What the JSON file must hold.

    Raises:
        ContractError: A YAML file is not of the contract's schema.
    """

    def text(name: str) -> str:
        return (DATA / name).read_text(encoding="utf-8")

    shipped = Shipped(
        resources=tuple(checked(text(name), Resource, name) for name in RESOURCES),
        errors=checked(text("errors.yaml"), ErrorFile, "errors.yaml").errors,
        gate=checked(text("gate.yaml"), Gate, "gate.yaml"),
        examples=checked(text("examples.yaml"), ExampleFile, "examples.yaml").examples,
        errata=checked(text("errata.yaml"), ErratumFile, "errata.yaml").errata,
    )
    return msgspec.json.format(msgspec.json.encode(shipped), indent=1) + b"\n"


if __name__ == "__main__":
    (DATA / BUILT).write_bytes(built())
