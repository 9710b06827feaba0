"""Drift in what passes through: each live answer is held against the documentation, each cause told once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ringback.addon.options import REPORTS
from ringback.cassettes.bodies import decode
from ringback.cassettes.errors import CodingError
from ringback.drift.accepted import FILE as ACCEPTED
from ringback.drift.accepted import AcceptedError, read
from ringback.drift.judging import Frame, again, report
from ringback.drift.report import write
from ringback.drift.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from ringback.contract import Answer, Contract, Request
    from ringback.drift import Finding
    from ringback.drift.report import Report


class Drift:
    """Looks at live answers while the proxy runs.

    Args:
        contract: What is documented.
        origin: Whose answers are looked at, for people.
        warn: Takes a sentence for people.

    Attributes:
        watch: What compares.
        arguments: What `ringback drift` must be given to ask the same API, held against the same contract.
    """

    def __init__(self, contract: Contract, origin: str, warn: Callable[[str], None]) -> None:
        self.watch = Watch(contract)
        self.arguments: tuple[str, ...] = ()
        self._origin = origin
        self._warn = warn
        try:
            self._accepted = read(Path(ACCEPTED))
        except AcceptedError as error:
            self._accepted = ()
            warn(f"nothing is accepted: {error}")

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
        """What was found and is not accepted, the worst first."""
        return self.report().findings if self.watch.compared else ()

    def report(self) -> Report:
        """What was found so far."""
        made = report(
            self.watch.book,
            self.watch.comparisons,
            (),
            Frame(
                source="passive",
                origin=self._origin,
                entries=self._accepted,
                reproduce=again(self.arguments),
            ),
        )
        return replace(made, compared=self.watch.compared)

    def write(self, file: Path) -> None:
        """Write the report, in the form that the file's ending names; what goes wrong is told."""
        text = write(self.report(), REPORTS[file.suffix.lower()])
        try:
            file.write_text(text, encoding="utf-8")
        except OSError as error:
            self._warn(f"{file}: the drift report cannot be written: {error.strerror}")
