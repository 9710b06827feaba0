"""Reading the contract's YAML files, with errors that name file, line and entry."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import yaml

from ringback.contract.compiled import Contract
from ringback.contract.model import (
    ErratumFile,
    ErrorFile,
    ExampleFile,
    Gate,
    MagicRow,
    Resource,
    UserFile,
    UserRow,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

T = TypeVar("T")

RESOURCE_FILES = ("messages.yaml", "calls.yaml", "incoming_phone_numbers.yaml")
# libyaml where PyYAML was built with it, ten times faster.
Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class ContractError(Exception):
    """A contract file that cannot be used; the message names the file, the line and what was expected."""


def load(files: Sequence[Path] = ()) -> Contract:
    """The documented contract, with the user's own `files` laid over it in order.

    Raises:
        ContractError: A file is missing, not YAML, or not of the contract's schema.
    """
    contract = documented()
    for file in files:
        contract = _with_user_file(contract, file)
    return contract


@cache
def documented() -> Contract:
    """The contract that ships with the project."""
    data = resources.files("ringback.contract") / "data"

    def part(name: str, kind: type[T]) -> T:
        return _checked((data / name).read_text(encoding="utf-8"), kind, name)

    return Contract(
        resources=tuple(part(name, Resource) for name in RESOURCE_FILES),
        errors=part("errors.yaml", ErrorFile).errors,
        gate=part("gate.yaml", Gate),
        examples=part("examples.yaml", ExampleFile).examples,
        errata=part("errata.yaml", ErratumFile).errata,
    )


def _with_user_file(contract: Contract, file: Path) -> Contract:
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise ContractError(
            f"{file}: cannot be read ({error.strerror}); check the path given to --contract"
        ) from None
    except UnicodeDecodeError:
        raise ContractError(f"{file}: is not UTF-8 text") from None
    user = _checked(text, UserFile, str(file))
    changed = []
    for resource in contract.resources:
        rows = [_row(row, resource, file) for row in user.magic if row.resource == resource.resource]
        replaced = {(row.parameter, row.value) for row in rows}
        kept = [row for row in resource.magic if (row.parameter, row.value) not in replaced]
        changed.append(msgspec.structs.replace(resource, magic=(*kept, *rows)))
    keys = {(error.code, error.resource, error.variant) for error in user.errors}
    errors = [error for error in contract.errors if (error.code, error.resource, error.variant) not in keys]
    try:
        return Contract(
            resources=tuple(changed),
            errors=(*errors, *user.errors),
            gate=contract.gate,
            examples=contract.examples,
            errata=contract.errata,
        )
    except ValueError as error:
        raise ContractError(f"{file}: {error}") from None


def _row(row: UserRow, resource: Resource, file: Path) -> MagicRow:
    if row.parameter not in resource.parameters:
        known = ", ".join(resource.parameters)
        raise ContractError(f"{file}: {row.resource} has no parameter {row.parameter!r}; it has {known}")
    made = re.sub(r"[^a-z0-9]+", "-", f"{row.parameter}.{row.value}".lower()).strip("-")
    return MagicRow(
        id=row.id or f"user.{made}",
        parameter=row.parameter,
        value=row.value,
        error=row.error,
        line=row.line,
        basis=row.basis,
        evidence=row.evidence,
        reason=row.reason,
    )


def _checked(text: str, kind: type[T], name: str) -> T:
    try:
        raw: Any = yaml.load(text, Loader=Loader)  # noqa: S506 - Loader is PyYAML's safe one
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ContractError(f"{name}:{line}: is not YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise ContractError(f"{name}: is not YAML: {error}") from None
    try:
        return msgspec.convert({} if raw is None else raw, kind)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at ")
        line = _line_of(text, where.strip("`"))
        raise ContractError(f"{name}:{line}: {where.strip('`') or '$'}: {what}") from None


def _line_of(text: str, path: str) -> int:
    """The line on which the entry at msgspec's `path` (`$.magic[3].error`) begins."""
    node = yaml.compose(text, Loader=Loader)
    steps = re.findall(r"\[(\d+)\]|\[\.\.\.\]|\.([^.\[]+)", path)
    for index, key in steps:
        if isinstance(node, yaml.SequenceNode) and index:
            node = node.value[int(index)]
        elif isinstance(node, yaml.MappingNode) and key:
            found = [value for name, value in node.value if name.value == key]
            if not found:
                break
            node = found[0]
        else:
            break
    return node.start_mark.line + 1 if node is not None else 1
