"""Drift in what passes through: each live answer is held against the documentation, each cause told once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ringback.cassettes.codings import decode
from ringback.cassettes.errors import CodingError
from ringback.drift.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from ringback.contract import Answer, Contract, Request
    from ringback.drift import Finding


class Drift:
    """Looks at live answers while the proxy runs.

    Args:
        contract: What is documented.
        warn: Takes a sentence for people.
    """

    def __init__(self, contract: Contract, warn: Callable[[str], None]) -> None:
        self.watch = Watch(contract)
        self._warn = warn

    def see(self, request: Request, answer: Answer, where: str) -> None:
        """Compare one live answer; one that cannot be decoded is told and left out.

        Args:
            request: What was asked, with proven test credentials.
            answer: What came back, its content coding as sent.
            where: Where it was recorded, or an empty string.
        """
        try:
            body = decode(answer.body, answer.header("Content-Encoding"))
        except CodingError as error:
            self._warn(f"an answer was not compared with the documentation: {error}")
            return
        fields = tuple(field for field in answer.headers if field[0].lower() != "content-encoding")
        self.watch.see(request, replace(answer, headers=fields, body=body), where)

    def findings(self) -> tuple[Finding, ...]:
        """What was found, the worst first."""
        return tuple(self.watch.findings())
