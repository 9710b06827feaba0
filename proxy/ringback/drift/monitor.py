"""Comparison of the live answers that pass through the proxy with the documentation."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from ringback.cassettes.bodies import decode
from ringback.cassettes.files import CodingError
from ringback.drift import ACCEPTED_FILE, REPORT_FORMS
from ringback.drift.claims import ClaimSet
from ringback.drift.compare import compare, outcome_kind
from ringback.drift.observation import Observation
from ringback.drift.report import write
from ringback.drift.report.builder import (
    AcceptedError,
    ReportFrame,
    build_report,
    read_accepted,
    reproduce_command,
)
from ringback.exchange import error_code, secrets_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from ringback.contract import Contract
    from ringback.drift.compare import Comparison
    from ringback.drift.findings import DriftFinding
    from ringback.drift.report.builder import Report
    from ringback.exchange import Answer, Request

_HIDDEN: Final = b"token"  # in the place of a token
_KEPT: Final = 10_000  # comparisons that are kept, one of each kind; later kinds are only counted


def _without_secrets(request: Request, answer: Answer) -> tuple[Request, Answer]:
    """Return both without the request's token where no token belongs: findings are shown and written."""
    body, target, shown = request.body, request.target, answer.body
    hidden, reason, headers, asked = _HIDDEN.decode(), answer.reason, answer.headers, request.headers
    for secret in secrets_of(request):
        for spelling in {secret, quote(secret, safe="")}:
            plain = spelling.encode("utf-8", "surrogateescape")
            body, shown = body.replace(plain, _HIDDEN), shown.replace(plain, _HIDDEN)
            target, reason = target.replace(spelling, hidden), reason.replace(spelling, hidden)
            headers = tuple([(name, value.replace(spelling, hidden)) for name, value in headers])
            asked = tuple(
                [
                    (name, value if name.lower() == "authorization" else value.replace(spelling, hidden))
                    for name, value in asked
                ]
            )
    seen = replace(answer, body=shown, reason=reason, headers=headers)
    return replace(request, body=body, target=target, headers=asked), seen


def _now() -> datetime:
    return datetime.now(UTC)


def _ignore(_: str) -> None:
    pass


class DriftMonitor:
    """Compares live answers while the proxy runs. Thread-safe.

    `observe` may be called at any time after the client has its answer, from the event loop or a thread.

    Args:
        contract: The contract to compare with; the documented one by default.
        origin: The name of the API that answers, for the report.
        warn: Called with a sentence for the user.
        clock: Returns the time of an answer, in UTC.

    Attributes:
        compared: The number of answers that were compared.
        arguments: Arguments with which `ringback drift` asks the same API, for the report's commands.
    """

    def __init__(
        self,
        contract: Contract | None = None,
        origin: str = "",
        warn: Callable[[str], None] = _ignore,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        self.claim_set = ClaimSet(contract)
        self.compared = 0
        self.arguments: tuple[str, ...] = ()
        self._origin = origin
        self._warn = warn
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: dict[tuple[object, ...], Comparison] = {}
        try:
            self._accepted = read_accepted(Path(ACCEPTED_FILE))
        except AcceptedError as error:
            self._accepted = ()
            warn(f"nothing is accepted: {error}")

    def observe(self, request: Request, answer: Answer, where: str = "") -> tuple[DriftFinding, ...]:
        """Compare one live answer, and return what is not as documented; warn of one that cannot be decoded.

        The findings have no rows: nobody looks at those of a single answer.

        Args:
            request: The request, with credentials that were proven to be test credentials.
            answer: The answer, its content coding as sent.
            where: The place of its recording, e.g. a cassette's file and line, or an empty string.
        """
        try:
            plain = _decoded(answer)
        except CodingError as error:
            self._warn(f"an answer was not compared with the documentation: {error}")
            return ()
        request, plain = _without_secrets(request, plain)
        place = where or f"{request.method} {request.path}"
        comparison = compare(self.claim_set, Observation(request, plain, place, self._clock(), "proven"))
        if comparison.skipped:
            return ()
        with self._lock:
            self.compared += 1
            self._keep(comparison)
        if all(check.difference is None for check in comparison.checks):
            return ()
        frame = ReportFrame(source="passive", origin=self._origin, entries=self._accepted, rows=False)
        return build_report(self.claim_set, [comparison], (), frame).findings

    def findings(self) -> tuple[DriftFinding, ...]:
        """Return the findings that are not accepted, the worst first."""
        return self.report().findings if self.compared else ()

    def report(self) -> Report:
        """Return the report of everything that was observed."""
        with self._lock:
            seen, compared = list(self._seen.values()), self.compared
        frame = ReportFrame(
            source="passive",
            origin=self._origin,
            entries=self._accepted,
            reproduce=reproduce_command(self.arguments),
        )
        return replace(build_report(self.claim_set, seen, (), frame), compared=compared)

    def write(self, file: Path) -> None:
        """Write the report in the form that the file's ending names; warn if it cannot be written."""
        text = write(self.report(), REPORT_FORMS[file.suffix.lower()])
        try:
            file.write_text(text, encoding="utf-8")
        except OSError as error:
            self._warn(f"{file}: the drift report cannot be written: {error.strerror}")

    def _keep(self, comparison: Comparison) -> None:
        """Keep one comparison of each kind: the same requests for hours must not fill the memory."""
        outcome = comparison.outcome
        differences = tuple(
            (check.specific, check.difference.cause)
            for check in comparison.checks
            if check.difference is not None
        )
        if outcome is not None:
            rule: tuple[object, ...] = (outcome.rule, outcome.inputs, outcome.observed)
        else:
            rule = tuple(check.specific for check in comparison.checks)
        key = (rule, comparison.format, differences)
        if key not in self._seen and len(self._seen) < _KEPT:
            self._seen[key] = comparison


def outcome_difference(expected: Answer, live: Answer) -> str | None:
    """Describe the difference of a live answer's status and code, in the same words for the same difference.

    It is the part of the comparison that is known before the client has its answer: `Ringback-Contract` and
    the summary show it.

    Args:
        expected: The contract's answer.
        live: The live answer, its content coding as sent.

    Returns:
        The description, or None where there is no difference.
    """
    try:
        code = error_code(_decoded(live).body)
    except CodingError:
        code = None
    documented = error_code(expected.body)
    if expected.status == live.status and outcome_kind(documented, live.status, code) is None:
        return None
    wanted, got = _described(expected.status, documented), _described(live.status, code)
    return f"{expected.source.rule}: expected {wanted}, live answered {got}"


def _decoded(answer: Answer) -> Answer:
    """Return `answer` without content coding.

    Raises:
        CodingError: It has a coding that is unknown or does not fit the body.
    """
    coding = answer.header("Content-Encoding")
    if coding is None:
        return answer
    fields = tuple(field for field in answer.headers if field[0].lower() != "content-encoding")
    return replace(answer, headers=fields, body=decode(answer.body, coding))


def _described(status: int, code: int | None) -> str:
    return f"{status}" if code is None else f"{status} with code {code}"
