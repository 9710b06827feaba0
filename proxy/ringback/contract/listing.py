"""The contract as rows for people: what `ringback contract` prints and the README shows."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from ringback.contract.contract import OTHER, no_number

if TYPE_CHECKING:
    from ringback.contract.contract import Contract
    from ringback.contract.schema import (
        AddressRow,
        Condition,
        MagicRow,
        Refusal,
        RefusedParameter,
        Requirement,
        Resource,
    )
    from ringback.exchange import Basis

HEADINGS = ("resource", "parameter", "value", "answer", "page", "basis")


@dataclass(frozen=True)
class MagicInput:
    """One row of the table of magic inputs.

    Attributes:
        resource: The resource's name.
        parameter: The form parameter.
        value: The magic value, or `any other`.
        code: The error code, or None for success.
        status: The HTTP status.
        text: The error's text with its placeholders, or what succeeds.
        line: The page's line, or None where the page has no such row.
        page: The anchor of the section that has the row, or None.
        basis: How well it is known.
        id: The row's id.
    """

    resource: str
    parameter: str
    value: str
    code: int | None
    status: int
    text: str
    line: int | None
    page: str | None
    basis: str
    id: str

    @property
    def answer(self) -> str:
        """Code, status where it is not 400, and text, in one cell."""
        if self.code is None:
            return self.text
        status = "" if self.status == 400 else f" (HTTP {self.status})"
        return f"{self.code}{status} {self.text}"

    def cells(self) -> tuple[str, ...]:
        """The row as text, in the order of `HEADINGS`."""
        return (self.resource, self.parameter, self.value, self.answer, self.page or "-", self.basis)


def rows(contract: Contract) -> list[MagicInput]:
    """Every magic input of the contract, in the page's order."""
    found = []
    for resource in contract.resources:
        for row in resource.magic:
            text = contract.text(row.error, resource.resource) if row.error else None
            passes = "checked like any number" if row.value == OTHER else "succeeds"
            found.append(
                MagicInput(
                    resource=resource.resource,
                    parameter=row.parameter,
                    value="any other" if row.value == OTHER else row.value,
                    code=row.error,
                    status=text.status if text else 201,
                    text=text.message if text else passes,
                    line=row.line,
                    page=contract.page_name(row.line),
                    basis=row.basis,
                    id=f"{resource.resource}.{row.id}",
                )
            )
    return found


def markdown(contract: Contract) -> str:
    """The table of magic inputs as the README has it: the page's own rows alone."""
    lines = ["| resource | parameter | value | answer |", "|---|---|---|---|"]
    for row in rows(contract):
        if row.basis == "documented":
            text = row.answer.replace("|", "\\|")
            lines.append(f"| {row.resource} | {row.parameter} | {row.value} | {text} |")
    return "\n".join(lines) + "\n"


def as_json(contract: Contract) -> dict[str, Any]:
    """Rows, refusals and errata, for programs."""
    return {
        "magic": [asdict(row) for row in rows(contract)],
        "refusals": [
            {
                "id": refusal.id,
                "status": refusal.status,
                "code": refusal.code,
                "message": refusal.message,
                "line": refusal.line,
                "basis": refusal.basis,
            }
            for refusal in contract.gate.refusals
        ],
        "errata": [
            {
                "id": erratum.id,
                "lines": list(erratum.lines),
                "page": erratum.page,
                "answered": erratum.answered,
            }
            for erratum in contract.errata
        ],
    }


@dataclass(frozen=True)
class Outcome:
    """One outcome that the contract can have, with its basis.

    Attributes:
        id: The rule's id, as in `Ringback-Source`.
        basis: How well the outcome is known.
        answer: The error code, for a refusal with its status, or `passes`.
        settled_by: The request with test credentials whose answer would show the outcome.
    """

    id: str
    basis: Basis
    answer: str
    settled_by: str


def outcomes(contract: Contract) -> list[Outcome]:
    """List the contract's outcomes: rows, requirements, malformed and well-formed values, refusals."""
    found = [outcome for resource in contract.resources for outcome in _outcomes(resource)]
    own = {refusal.id for refusal in own_refusals(contract)}
    for refusal in contract.gate.refusals:
        if refusal.id not in own:
            answer = f"{refusal.status} {refusal.code}"
            found.append(Outcome(refusal.id, refusal.basis, answer, f"a request that meets {refusal.id}"))
    return [*found, *(Outcome(name, "assumed", answer, sent) for name, answer, sent in _GENERAL)]


def own_refusals(contract: Contract) -> list[Refusal]:
    """List the refusals that say nothing about Twilio: limits, credentials, cassettes and the way there."""
    return [refusal for refusal in contract.gate.refusals if refusal.id.startswith(_OWN)]


_OWN: Final = (
    "cassette.",
    "credentials.",
    "form.too-large",
    "headers.",
    "host.",
    "proxy.",
    "request.",
    "upstream.",
)
# Decisions that are made in code, for all resources.
_GENERAL: Final = (
    ("url.other-fault", "refused", "POST Messages with MediaUrl=http://localhost/"),
    ("url.loopback", "refused", "POST Messages with StatusCallback=http://127.0.0.1/"),
    ("url.private", "refused", "POST Messages with StatusCallback=http://192.168.0.1/"),
    ("url.local-name", "refused", "POST Messages with StatusCallback=http://printer.local/"),
    ("url.ipv6", "refused", "POST Messages with StatusCallback=http://[2001:4860:4860::8888]/"),
    ("url.space", "refused", "POST Messages with StatusCallback=http://a.example.com/a b"),
    ("url.address", "passes", "POST Messages with StatusCallback=http://8.8.8.8/"),
    ("url.port", "passes", "POST Messages with StatusCallback=http://a.example.com:8080/"),
    ("url.user", "passes", "POST Messages with StatusCallback=http://user:password@a.example.com/"),
    ("url.letters", "passes", "POST Messages with StatusCallback=http://m\u00fcnchen.example/"),
    ("url.underscore", "passes", "POST Messages with StatusCallback=http://a_b.example.com/"),
    ("url.final-dot", "passes", "POST Messages with StatusCallback=http://a.example.com./"),
    ("body.characters", "passes", "POST Messages with a Body of 801 emoji: 1602 UTF-16 units"),
    ("body.space", "passes", "POST Messages with a Body of one space"),
    ("repeated", "the last", "POST Messages with two To"),
    ("region", "as in us1", "POST Messages to api.ie1.twilio.com"),
)


def _outcomes(resource: Resource) -> list[Outcome]:
    name = resource.resource
    entries: list[tuple[MagicRow | Requirement | RefusedParameter | AddressRow | Condition, str]] = [
        *((row, f"{row.parameter}={row.value}") for row in resource.magic),
        *((entry, f"no {entry.parameter}") for entry in resource.required),
        *((entry, entry.parameter) for entry in resource.refused),
        *((row, f"a {row.parameter} of the kind {row.kind}") for row in resource.addresses),
        *((entry, f"{entry.parameter} without {entry.needs}") for entry in resource.conditions),
    ]
    found = [
        Outcome(f"{name}.{entry.id}", entry.basis, str(entry.error or "passes"), f"POST {name} with {sent}")
        for entry, sent in entries
    ]
    for parameter, entry in resource.parameters.items():
        other = next(
            (row for row in resource.magic if (row.parameter, row.value) == (parameter, OTHER)), None
        )
        derived = no_number(entry, other)
        if derived is not None:
            answer, sent = str(derived.error or "passes"), f"POST {name} with a {parameter} that is no number"
            found.append(Outcome(f"{name}.{derived.id}", derived.basis, answer, sent))
        if entry.blank is not None:
            code, sent = str(entry.blank).partition("/")[0], f"POST {name} with a blank {parameter}"
            found.append(Outcome(f"{name}.{parameter.lower()}.blank", entry.basis, code, sent))
        if entry.most_error is not None:
            sent = f"POST {name} with {(entry.most or 0) + 1} {parameter}"
            found.append(
                Outcome(f"{name}.{parameter.lower()}.too-many", "assumed", str(entry.most_error), sent)
            )
        if entry.type != "string" or entry.max_length is not None or entry.pattern is not None:
            code, sent = str(entry.error).partition("/")[0], f"POST {name} with a malformed {parameter}"
            rule = f"{name}.{parameter.lower()}.malformed"
            if not any((row.parameter, row.kind) == (parameter, "malformed") for row in resource.addresses):
                found.append(Outcome(rule, entry.basis, code, sent))
        sent = f"POST {name} with a well-formed {parameter}"
        found.append(Outcome(f"{name}.{parameter.lower()}", entry.passes, "passes", sent))
    return found
