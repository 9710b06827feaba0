"""Comparison of the live answers that pass through the proxy with the documentation."""

from __future__ import annotations

import json
import re
import secrets
import threading
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from msgspec import structs

from ringback.cassettes.bodies import decode
from ringback.cassettes.files import CodingError
from ringback.contract import rules
from ringback.drift import ACCEPTED_FILE, REPORT_FORMS
from ringback.drift.body import DATE
from ringback.drift.claims import ClaimSet, fields_of
from ringback.drift.compare import compare, inputs_of, outcome_kind
from ringback.drift.observation import Observation, form_of
from ringback.drift.report import write
from ringback.drift.report.builder import (
    AcceptedError,
    ReportFrame,
    build_report,
    read_accepted,
    reproduce_command,
)
from ringback.exchange import CACHED_LENGTH, LARGEST_ERROR, error_code, secret_spellings

if TYPE_CHECKING:
    from collections.abc import Callable

    from ringback.contract import Contract
    from ringback.contract.schema import Resource
    from ringback.drift.compare import Comparison
    from ringback.drift.findings import DriftFinding
    from ringback.drift.report.builder import Report
    from ringback.exchange import Answer, Request

_HIDDEN: Final = b"token"  # in the place of a token
_MOST_AGREED: Final = 4096  # kinds of exchanges without a difference that are remembered, 16 bytes each
_SID: Final = re.compile(r'"sid":\s*"[A-Z]{2}([0-9a-f]{32})"')
_ENCODED: Final = re.compile("%(?:3[0-9]|[46][1-6])")  # a hexadecimal digit, which no client needs to encode
_MARK: Final = secrets.token_hex(8)  # no upstream can know it
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
    seen = structs.replace(answer, body=shown, reason=reason, headers=headers)
    return structs.replace(request, body=body, target=target, headers=asked), seen


def _now() -> datetime:
    return datetime.now(UTC)


def _ignore(_: str) -> None:
    pass


class AgreedExchanges:
    """A memo of the kinds of exchanges that were compared and agreed with the documentation in everything.

    The comparison is slow, and most live answers say what the contract expects of their very requests. The
    memo does not need a request's own words: two exchanges are of one kind if they agree in

    - the resource and the format that were asked for;
    - what the contract decides, and the documented inputs among the parameters;
    - the day, the status, and the header fields without values about which nothing is said, or that have the
      shape that they must have;
    - everything in which the answer differs from the expected one. Dates of the documented form and the
      digits of the answer's own sid do not count, nor does the order of JSON members.

    An answer that holds a secret of the request has no kind, because it is compared without the secret. What
    differs from the documentation is never remembered.

    Args:
        claim_set: What exchanges are compared with.
    """

    def __init__(self, claim_set: ClaimSet) -> None:
        self._claim_set = claim_set
        headers = claim_set.facts.headers
        self._transport = frozenset(name.lower() for name in headers.transport)
        self._shapes: dict[str, list[re.Pattern[str]]] = {}
        for field in headers.headers:
            if not field.media:
                shapes = self._shapes.setdefault(field.name.lower(), [])
                shapes += [field.pattern] if field.pattern else []
        resources = claim_set.contract.resources
        self._resources: dict[str, Resource] = {one.resource: one for one in resources}
        claimed = [field for one in resources for _, field in fields_of(one.answer)]
        dates = {field.json for field in claimed if field.value == "$now"}
        dates -= {field.json for field in claimed if field.value != "$now"}
        names = "|".join(map(re.escape, sorted(dates))) or "(?!)"
        self._date = re.compile(rf'("(?:{names})":\s*)"{DATE.pattern}"')
        self._keys: dict[bytes, None] = {}
        self._seen = lru_cache(_MOST_AGREED)(self._look)  # most fields are the same in every answer

    def __contains__(self, key: bytes | None) -> bool:
        return key in self._keys

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, key: bytes) -> None:
        """Remember a kind that agreed."""
        self._keys[key] = None
        if len(self._keys) > _MOST_AGREED:
            del self._keys[next(iter(self._keys))]

    def key(self, request: Request, answer: Answer, expected: Answer, when: datetime) -> bytes | None:
        """Return the key of an exchange's kind, or None if it has to be compared.

        Args:
            request: The request.
            answer: Its live answer without content coding.
            expected: The contract's answer to the same request.
            when: The time of the answer.
        """
        resource = self._resources.get(expected.source.rule.partition(".")[0])
        if resource is None or expected.source.basis == "user" or _holds_secret(request, answer):
            return None
        form = form_of(request)
        decided = rules.decide(self._claim_set.contract, resource, form, now=when)
        different = self._different(request, answer.body, expected.body)
        if different is None or decided.rule != expected.source.rule:
            return None
        asked = (request.method, request.host, request.scheme, request.path)
        coding = request.header("Content-Encoding"), request.header("Content-Type")
        fields = [
            self._seen(field) if len(field[1]) <= CACHED_LENGTH else self._look(field)
            for field in answer.headers
        ]
        inputs = inputs_of(self._claim_set, decided, form)
        kind = (
            asked,
            coding,
            decided.rule,
            inputs,
            when.date(),
            answer.status,
            answer.reason,
            fields,
            different,
        )
        return blake2b(repr(kind).encode(), digest_size=16).digest()

    def _different(self, request: Request, body: bytes, expected: bytes) -> list[object] | None:
        """Return the members in which a body differs from the expected one; None if they cannot be told."""
        if body == expected:
            return []
        asked = request.target + request.body.decode("latin-1")
        try:
            seen, wanted = (
                _JSON.decode(self._without_varying(asked, one.decode())) for one in (body, expected)
            )
        except (ValueError, RecursionError):
            return None
        if not isinstance(seen, dict) or not isinstance(wanted, dict):
            return None
        missing = [name for name in wanted if name not in seen]
        changed = [
            (name, value, wanted.get(name)) for name, value in seen.items() if wanted.get(name, self) != value
        ]
        return [missing, changed] if missing or changed else []

    def _without_varying(self, asked: str, body: str) -> str:
        """Return a JSON body with a mark for each date, and for the digits of its sid."""
        body = self._date.sub(lambda found: f'{found[1]}"{_MARK}"', body)
        found = _SID.search(body)
        if found is None or found[1] in asked or (_ENCODED.search(asked) and found[1] in unquote(asked)):
            return body
        return body.replace(found[1], _MARK)

    def _look(self, field: tuple[str, str]) -> tuple[str, str | None]:
        """Return what the comparison sees of a header field; None for a value that could be any other."""
        name, value = field
        lower = name.lower()
        if lower in self._transport:
            return name, None
        shapes = self._shapes.get(lower)
        if shapes is None:  # the media type, or a field that nobody has seen before
            return name, value
        return name, None if all(shape.fullmatch(value) for shape in shapes) else value


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member comes twice")
    return members


# To Python, 1, 1.0 and true are equal: numbers keep the text of their JSON.
_JSON: Final = json.JSONDecoder(
    object_pairs_hook=_members,
    parse_int=lambda text: ("number", text),
    parse_float=lambda text: ("number", text),
)


def _holds_secret(request: Request, answer: Answer) -> bool:
    """Report whether one of the request's secrets may stand in the answer."""
    body = answer.body.decode("utf-8", "surrogateescape")
    text = "\n".join([answer.reason, body, *[value for _, value in answer.headers]])
    return any(spelling in text for spelling in secret_spellings(request))


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

    def observe(
        self, request: Request, answer: Answer, where: str = "", expected: Answer | None = None
    ) -> tuple[DriftFinding, ...]:
        """Compare one live answer, and return what is not as documented; warn of one that cannot be decoded.

        The findings have no rows: nobody looks at those of a single answer.

        Args:
            request: The request, with credentials that were proven to be test credentials.
            answer: The answer, its content coding as sent.
            where: The place of its recording, e.g. a cassette's file and line, or an empty string.
            expected: The contract's answer to the request, if it is known: a kind of exchange that agreed
                before need not be compared again.
        """
        try:
            plain = _decoded(answer)
        except CodingError as error:
            self._warn(f"an answer was not compared with the documentation: {error}")
            return ()
        when = self._clock()
        key = self._agreed.key(request, plain, expected, when) if expected else None
        with self._lock:
            if key in self._agreed:
                self.compared += 1
                return ()
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
            if agrees and key is not None:
                self._agreed.add(key)
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
    return structs.replace(answer, headers=fields, body=decode(answer.body, coding, most))


def _described(status: int, code: int | None) -> str:
    return f"{status}" if code is None else f"{status} with code {code}"
