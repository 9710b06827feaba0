"""Looking things up in the contract, and refusing one that does not hang together."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from ringback.contract import load

CONTRACT = load()
MESSAGES = CONTRACT.resource("Messages")


def test_resources_by_name_and_path() -> None:
    assert MESSAGES.resource == "Messages"
    assert CONTRACT.by_path["Messages"] is MESSAGES
    with pytest.raises(KeyError):
        CONTRACT.resource("Faxes")


@pytest.mark.parametrize(
    "resource, parameter, value, rule",
    [
        ("Messages", "From", "500 555 0001", "from.invalid"),
        ("Messages", "Body", "+15005550001", None),
        ("Messages", "From", "+15005550002", None),
        ("Calls", "To", "+15005550009", None),
        ("IncomingPhoneNumbers", "AreaCode", "533", "area-code.empty"),
    ],
)
def test_a_value_is_magic_for_one_parameter_of_one_resource(
    resource: str, parameter: str, value: str, rule: str | None
) -> None:
    row = CONTRACT.magic(resource, parameter, value)
    assert (row.id if row else None) == rule


def test_the_row_for_other_values_is_no_magic_value() -> None:
    assert CONTRACT.magic("Messages", "From", "other") is None


@pytest.mark.parametrize(
    "resource, parameter, value, rule",
    [
        ("Messages", "From", "+15005550006", "from.valid"),
        ("Messages", "From", "+14105550100", "from.other"),
        ("Messages", "From", "ACME", "from.no-number"),
        ("Messages", "To", "whatsapp:+14105550100", "to.no-number"),
        ("Calls", "To", "client:alice", "to.no-number"),
        ("IncomingPhoneNumbers", "AreaCode", "415", "area-code.other"),
        ("Messages", "Body", "x", None),
        ("Messages", "Nothing", "x", None),
    ],
)
def test_the_row_that_decides(resource: str, parameter: str, value: str, rule: str | None) -> None:
    row = CONTRACT.row(resource, parameter, value)
    assert (row.id if row else None) == rule


def test_texts_by_resource_and_variant() -> None:
    assert CONTRACT.text(21212, "Calls").message != CONTRACT.text(21212, "Messages").message
    assert CONTRACT.text("21205/malformed").variant == "malformed"
    assert CONTRACT.text(21205, "Calls").variant is None
    for unknown in (39999, "21205/nothing"):
        with pytest.raises(KeyError):
            CONTRACT.text(unknown)
    with pytest.raises(KeyError):
        CONTRACT.text(21212)


@pytest.mark.parametrize(
    "change, said",
    [
        ({"magic": (msgspec.structs.replace(MESSAGES.magic[0], error=39999),)}, "from.invalid answers 39999"),
        (
            {"required": (msgspec.structs.replace(MESSAGES.required[0], parameter="Nope"),)},
            "unknown parameters: Nope",
        ),
        (
            {"refused": (msgspec.structs.replace(MESSAGES.refused[0], error=39999),)},
            "answers 39999, which has no text",
        ),
    ],
)
def test_a_contract_that_does_not_hang_together_is_refused(change: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        replace(CONTRACT, resources=(msgspec.structs.replace(MESSAGES, **change),))


def test_an_example_with_an_unknown_erratum_is_refused() -> None:
    example = msgspec.structs.replace(CONTRACT.examples[0], errata=("no-such-erratum",))
    with pytest.raises(ValueError, match="unknown errata: no-such-erratum"):
        replace(CONTRACT, examples=(example,))


# -- package


def test_without_a_file_it_is_the_documented_contract_read_once() -> None:
    assert load() is load()
    assert load([]) == load()


def test_it_has_what_its_files_have() -> None:
    contract = load()
    assert [resource.resource for resource in contract.resources] == [
        "Messages",
        "Calls",
        "IncomingPhoneNumbers",
    ]
    assert len(contract.examples) == 8
    assert contract.text(21211, "Messages").status == 400
