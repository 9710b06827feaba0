"""Comparison of the live answers that pass through the proxy with the documentation."""

from __future__ import annotations

import re
import threading
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

from ringback.cassettes.bodies import decode
from ringback.cassettes.files import CodingError
from ringback.contract.form import plain_name
from ringback.drift import ACCEPTED_FILE, REPORT_FORMS
from ringback.drift.body import DATE
from ringback.drift.claims import ClaimSet, fields_of
from ringback.drift.compare import compare, outcome_kind
from ringback.drift.observation import Observation, form_of
from ringback.drift.report import write
from ringback.drift.report.builder import (
    AcceptedError,
    ReportFrame,
    build_report,
    read_accepted,
    reproduce_command,
)
from ringback.exchange import LARGEST_ERROR, error_code, secret_spellings

if TYPE_CHECKING:
    from collections.abc import Callable

    from ringback.contract import Contract
    from ringback.drift.compare import Comparison
    from ringback.drift.findings import DriftFinding
    from ringback.drift.report.builder import Report
    from ringback.exchange import Answer, Request

_HIDDEN: Final = b"token"  # in the place of a token
_MOST_AGREED: Final = 4096  # exchanges without a difference that are remembered, 16 bytes each
_SID: Final = re.compile(rb'"sid":\s*"[A-Z]{2}([0-9a-f]{32})"')
_MARK: Final = b"\0"  # stands in no JSON body
_KEPT: Final = 10_000  # comparisons that are kept, one of each kind; later kinds are only counted


def _without_secrets(request: Request, answer: Answer) -> tuple[Request, Answer]:
    """Return both without the request's token where no token belongs: findings are shown and written."""
    body, target, shown = request.body, request.target, answer.body
    hidden, reason, headers, asked = _HIDDEN.decode(), answer.reason, answer.headers, request.headers
    for spelling in secret_spellings(request):
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


class AgreedExchanges:
    """A memo of exchanges that were compared and agreed with the documentation in everything.

    Two exchanges have one key if the comparison cannot tell them apart: the same request, byte for byte, on
    the same day, and answers that differ at most in

    - the values of header fields that nothing is said about, or that have the shape that they must have;
    - in JSON, dates of the documented form in members that are documented as such dates;
    - in JSON, the 32 digits of the answer's own sid, wherever they stand, if the request has them nowhere.

    An answer that has one of the request's secrets in it is compared without them: none of this holds for it,
    and its key is that of its bytes. Keys are digests: neither credentials nor texts are kept. What differs
    is never remembered, and neither is a request whose outcome depends on the time of day.

    Args:
        claim_set: What exchanges are compared with.
    """

    def __init__(self, claim_set: ClaimSet) -> None:
        headers = claim_set.facts.headers
        self._transport = frozenset(name.lower() for name in headers.transport)
        self._shapes: dict[str, list[re.Pattern[str]]] = {}
        for field in headers.headers:
            if not field.media:
                shapes = self._shapes.setdefault(field.name.lower(), [])
                shapes += [field.pattern] if field.pattern else []
        resources = claim_set.contract.resources
        claimed = [field for one in resources for _, field in fields_of(one.answer)]
        dates = {field.json for field in claimed if field.value == "$now"}
        dates -= {field.json for field in claimed if field.value != "$now"}
        names = "|".join(map(re.escape, sorted(dates))) or "(?!)"
        self._date = re.compile(rf'("(?:{names})":\s*)"{DATE.pattern}"'.encode())
        self._timed = {
            plain_name(name)
            for one in resources
            for name, parameter in one.parameters.items()
            if parameter.earliest is not None or parameter.latest is not None
        }
        self._keys: dict[bytes, None] = {}

    def __contains__(self, key: bytes) -> bool:
        return key in self._keys

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, key: bytes, request: Request) -> None:
        """Remember an exchange that agreed."""
        if any(plain_name(name) in self._timed for name, _ in form_of(request)):
            return
        self._keys[key] = None
        if len(self._keys) > _MOST_AGREED:
            del self._keys[next(iter(self._keys))]

    def key(self, request: Request, answer: Answer, when: datetime) -> bytes:
        """Return the key of an exchange; the answer without content coding."""
        asked = repr((request.method, request.host, request.scheme, request.target, request.headers)).encode()
        body = answer.body
        fields: tuple[tuple[str, str | None], ...] = answer.headers
        if not _holds_secret(request, answer):
            fields = tuple([self._seen(name, value) for name, value in answer.headers])
            if body.startswith(b"{") and _MARK not in body:
                body = self._without_varying(request, asked, body)
        said = repr((when.date(), answer.status, answer.reason, fields)).encode()
        parts = (asked, request.body, said, body)
        digest = blake2b(b"%d %d %d " % tuple(map(len, parts[:3])), digest_size=16)
        for part in parts:
            digest.update(part)
        return digest.digest()

    def _without_varying(self, request: Request, asked: bytes, body: bytes) -> bytes:
        """Return a JSON body with a mark for each date, and for the digits of its sid."""
        body = self._date.sub(rb"\1" + _MARK, body)
        found = _SID.search(body)
        if found is None or not found[1].strip(b"0") or request.header("Content-Encoding"):
            return body  # the digits 0 are those of the documented answer
        known = asked + request.body
        if found[1] in known or (b"%" in known and found[1] in unquote_to_bytes(known)):
            return body
        return body.replace(found[1], _MARK)

    def _seen(self, name: str, value: str) -> tuple[str, str | None]:
        """Return what the comparison sees of a header field; None for a value that could be any other."""
        lower = name.lower()
        if lower in self._transport:
            return name, None
        shapes = self._shapes.get(lower)
        if shapes is None:  # the media type, or a field that nobody has seen before
            return name, value
        return name, None if all(shape.fullmatch(value) for shape in shapes) else value


def _holds_secret(request: Request, answer: Answer) -> bool:
    """Report whether one of the request's secrets may stand in the answer."""
    for spelling in secret_spellings(request):
        if spelling.encode("utf-8", "surrogateescape") in answer.body or spelling in answer.reason:
            return True
        if any(spelling in value for _, value in answer.headers):
            return True
    return False


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
        self._agreed = AgreedExchanges(self.claim_set)
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
        when = self._clock()
        key = self._agreed.key(request, plain, when)
        with self._lock:
            if key in self._agreed:
                self.compared += 1
                return ()
        asked = request
        request, plain = _without_secrets(request, plain)
        place = where or f"{request.method} {request.path}"
        comparison = compare(self.claim_set, Observation(request, plain, place, when, "proven"))
        if comparison.skipped:
            return ()
        outcome = comparison.outcome
        agrees = all(check.difference is None for check in comparison.checks)
        agrees = agrees and (outcome is None or outcome.difference is None)
        with self._lock:
            self.compared += 1
            self._keep(comparison)
            if agrees:
                self._agreed.add(key, asked)
        if agrees:
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
    fails = b'"code"' in expected.body or b"RestException" in expected.body
    if expected.status == live.status < 400 and not fails:
        return None  # without a look at either body: a success is a success
    try:
        code = error_code(_decoded(live, LARGEST_ERROR).body)
    except CodingError:
        code = None
    documented = error_code(expected.body)
    if expected.status == live.status and outcome_kind(documented, live.status, code) is None:
        return None
    wanted, got = _described(expected.status, documented), _described(live.status, code)
    return f"{expected.source.rule}: expected {wanted}, live answered {got}"


def _decoded(answer: Answer, most: int | None = None) -> Answer:
    """Return `answer` without content coding.

    Raises:
        CodingError: It has a coding that is unknown or does not fit the body, or is too large.
    """
    coding = answer.header("Content-Encoding")
    if coding is None:
        return answer
    fields = tuple(field for field in answer.headers if field[0].lower() != "content-encoding")
    return replace(answer, headers=fields, body=decode(answer.body, coding, most))


def _described(status: int, code: int | None) -> str:
    return f"{status}" if code is None else f"{status} with code {code}"
