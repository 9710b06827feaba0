"""The contract as rows for people: what `ringback contract` prints and the README shows."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ringback.contract.contract import OTHER

if TYPE_CHECKING:
    from ringback.contract.contract import Contract

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
