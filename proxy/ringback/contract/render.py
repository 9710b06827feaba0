"""Rendering: a request in, the bytes that Twilio would send out.

It is pure: an `AnswerStamp` brings the time and the randomness of an answer, from the machine or from a seed.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from ringback.contract import form as forms
from ringback.contract import gate, rules, values
from ringback.contract.rules import fill
from ringback.contract.templates import XML_HEAD, element
from ringback.exchange import CACHED_LENGTH, CACHED_TEXTS, Answer, Source, header_value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ringback.contract.contract import Contract, Decision
    from ringback.contract.form import Fields
    from ringback.contract.gate import Admitted, Credentials, Names
    from ringback.contract.schema import Format, Refusal, Resource, Scalar
    from ringback.exchange import Basis, Headers, Request

EPOCH: Final = datetime(2012, 10, 10, 21, 36, 14, tzinfo=UTC)  # the date of the documentation's first sample
_REGION: Final = re.compile(r"[a-z]{2}[0-9]")
TRIAL_NOTICE: Final = "Sent from your Twilio trial account - "  # before the body (recorded 2016-2018)
_BASIC: Final = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENDED: Final = frozenset("\f^{}\\[~]|€")  # two septets each, never split over two segments
_ALL: Final = _BASIC | _EXTENDED
_PLAIN: Final = re.compile(r"""[A-Za-z0-9 \n\r!"#$%&'()*+,./:;<=>?@_-]*""")  # what of it is ASCII
_GSM_SINGLE: Final = 160
_GSM_PART: Final = 153
_UCS2_SINGLE: Final = 70
_UCS2_PART: Final = 67
_TYPES: dict[Format, tuple[str, str]] = {
    "json": ("Content-Type", "application/json"),
    "xml": ("Content-Type", "application/xml"),
}


class AnswerStamp(msgspec.Struct, frozen=True):
    """Time and randomness of one answer, handed in so that rendering stays pure.

    Attributes:
        sid: 32 hexadecimal digits for the new resource.
        request: 32 hexadecimal digits for the request id.
        now: When it was answered, in UTC.
        duration: Seconds that it took, for Twilio-Request-Duration.
        clock: The machine's time, for parameters that are held against it; None where answers repeat.
    """

    sid: str
    request: str
    now: datetime
    duration: float
    clock: datetime | None = None


class Stamps(Protocol):
    """Source of every answer's own sid, request id, date and duration."""

    def of(self, request: Request) -> AnswerStamp:
        """The stamp of the answer to `request`; asking again gives another one."""
        ...  # a protocol has no body

    def reset(self) -> None:
        """Begin anew, as after a start."""
        ...  # a protocol has no body


class FreshStamps:
    """Stamps of the machine's clock with random sids, for answers that need not repeat."""

    def __init__(self) -> None:
        self._second, self._now = 0, EPOCH
        self._random = random.Random()  # noqa: S311 - neither a sid nor a duration is a secret

    def of(self, request: Request) -> AnswerStamp:  # noqa: ARG002 - the seeded kind needs the request
        """A new stamp; `now` has whole seconds, as Twilio's dates have."""
        second = int(time.time())
        if second != self._second:
            self._second, self._now = second, datetime.fromtimestamp(second, UTC)
        digits, now = f"{self._random.getrandbits(256):064x}", self._now
        return AnswerStamp(digits[:32], digits[32:], now, 0.02 + 0.13 * self._random.random(), now)

    def reset(self) -> None:
        """Nothing repeats, so nothing begins anew."""


class SeededStamps:
    """Stamps with the same sids, request ids and dates from run to run.

    They depend on the seed, the request and how often it came before, not on the order in which different
    requests arrive, so that parallel tests repeat too.

    Args:
        seed: Any integer.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._seen: Counter[bytes] = Counter()

    def reset(self) -> None:
        """Give equal requests the stamps of their first answers again."""
        self._seen.clear()

    def of(self, request: Request) -> AnswerStamp:
        """The stamp of the next answer to `request`."""
        what = f"{request.method}\0{request.host}\0{request.target}".encode("utf-8", "surrogateescape")
        key = hashlib.blake2b(what + b"\0" + request.body, digest_size=16).digest()
        self._seen[key] += 1
        nth = self._seen[key]
        digest = hashlib.sha256(b"%d\0%s\0%d" % (self._seed, key, nth)).digest()
        return AnswerStamp(
            sid=digest[:16].hex(),
            request=digest[16:].hex(),
            now=EPOCH + timedelta(seconds=nth - 1),
            duration=0.02 + digest[0] / 2000,
        )


def make_stamps(seed: int | None) -> Stamps:
    """Make seeded stamps where there is a seed, fresh ones otherwise."""
    return FreshStamps() if seed is None else SeededStamps(seed)


def answer(
    contract: Contract, request: Request, names: Names, credentials: Credentials, stamp: AnswerStamp
) -> Answer:
    """Answer `request` as test credentials would get it: the gate's refusal or the contract's outcome."""
    passed = gate.admit(contract, request, names, credentials)
    if isinstance(passed, gate.Refused):
        return Writer(contract, passed.format, stamp).refusal(passed.refusal, passed.known)
    return from_contract(contract, request, passed, stamp)


def from_contract(contract: Contract, request: Request, admitted: Admitted, stamp: AnswerStamp) -> Answer:
    """The contract's answer to a request that the gate let pass."""
    try:
        fields = forms.read(request)
    except forms.FormError as error:
        return refuse(contract, error.rule, admitted.format, stamp, detail=error.detail, path=request.path)
    outcome = rules.decide(contract, admitted.resource, fields, request.query, stamp.clock)
    if request.host != contract.gate.hosts.main:
        outcome = _elsewhere(outcome, request.host)
    writer = Writer(contract, admitted.format, stamp)
    if outcome.code is not None:
        return writer.failure(outcome)
    return writer.success(outcome, fields, admitted.account)


def _elsewhere(outcome: Decision, host: str) -> Decision:
    """`outcome` in another region than us1: nobody reported what test credentials get there."""
    region = host.removeprefix("api.").removesuffix("twilio.com").rstrip(".").rpartition(".")[2]
    if not _REGION.fullmatch(region) or region == "us1" or outcome.basis == "user":
        return outcome
    known = (
        f"tokens are per region, so {region} may well answer 401; nothing is known of test credentials "
        "there: assumed to be as in us1"
    )
    reason = f"{outcome.reason}; {known}" if outcome.reason else known
    return msgspec.structs.replace(outcome, basis="assumed", reason=reason, source=None)


def refuse(contract: Contract, rule: str, answer_format: Format, stamp: AnswerStamp, **known: str) -> Answer:
    """The answer of the gate's refusal `rule`, its texts filled from `known`.

    Raises:
        KeyError: There is no such rule.
    """
    return Writer(contract, answer_format, stamp).refusal(contract.refusals[rule], known)


@lru_cache(256)  # a rule's refusals are mostly alike, and their header fields are made only once
def _source(  # noqa: PLR0913 - what a source tells
    rule: str,
    basis: Basis,
    reason: str | None,
    line: int | None,
    text: Basis | None,
    page: str | None,
    years: str | None,
) -> Source:
    return Source("contract", rule, basis, reason, line, text, page, years=years)


class Writer(msgspec.Struct, frozen=True):
    """Writes the answer to one request.

    Attributes:
        contract: Phrases, headers and links.
        format: JSON or XML.
        stamp: Time and randomness of this answer.
    """

    contract: Contract
    format: Format
    stamp: AnswerStamp

    def success(self, outcome: Decision, fields: Fields, account: str) -> Answer:
        """The 201 answer to a request that passes."""
        resource = outcome.resource
        template = self.contract.template(resource, self.format)
        form = {name: value for name, value in fields if value}
        if self.contract.account == "trial" and "Body" in form:
            form["Body"] = TRIAL_NOTICE + form["Body"]
        media = sum(1 for name, value in fields if name == "MediaUrl" and value) if "MediaUrl" in form else 0
        sid = ("MM" if media and resource.sid == "SM" else resource.sid) + self.stamp.sid
        stem = f"/{self.contract.gate.version}/Accounts/{account}/{resource.path}/{sid}"
        extension = ".json" if self.format == "json" else ""
        known: dict[str, Scalar] = {
            "sid": sid,
            "account_sid": account,
            "now": rfc2822(self.stamp.now),
            "uri": stem + extension,
            "media": str(media),
        }
        for name, compute in _computed(template.needs):
            known[name] = compute(form, resource)
        data = template.fill(known, form, (stem, extension))
        return self._answer(outcome.status, data, outcome.source or self._source_of(outcome), (), outcome)

    def failure(self, outcome: Decision) -> Answer:
        """The 4xx answer to a request that the contract fails."""
        assert outcome.code is not None
        data = error_body(self.contract, outcome.status, outcome.code, outcome.message or "", self.format)
        return self._answer(outcome.status, data, self._source_of(outcome), (), outcome)

    def refusal(self, entry: Refusal, known: Mapping[str, str]) -> Answer:
        """The 4xx answer of one of the gate's rules, its texts filled from `known`."""
        data = error_body(self.contract, entry.status, entry.code, fill(entry.message, known), self.format)
        reason = header_value(fill(entry.reason, known))  # people read it on a terminal too
        page = self.contract.page_name(entry.line)
        source = Source("gate", entry.id, entry.basis, reason, entry.line, entry.text, page)
        challenge = (("WWW-Authenticate", self.contract.gate.challenge),) if entry.status == 401 else ()
        return self._answer(entry.status, data, source, challenge)

    def _source_of(self, outcome: Decision) -> Source:
        return _source(
            outcome.rule,
            outcome.basis,
            outcome.reason,
            outcome.line,
            outcome.text_basis,
            self.contract.page_name(outcome.line),
            outcome.years,
        )

    def _answer(
        self,
        status: int,
        body: bytes,
        source: Source,
        extra: Headers = (),
        outcome: Decision | None = None,
    ) -> Answer:
        stamp, contract = self.stamp, self.contract
        fixed = list(contract.headers)
        for place, name, reference in contract.varying_headers:
            varying = f"RQ{stamp.request}" if reference == "$request_id" else f"{stamp.duration:.3f}"
            fixed[place] = (name, varying)
        headers = (
            _date(stamp.now),
            _TYPES[self.format],
            _length(len(body)),
            *extra,
            *fixed,
        )
        phrase = contract.gate.phrases.get(status) or _phrase(status)
        if outcome is not None and (outcome.delay or outcome.headers):
            own = {name.lower() for name, _ in outcome.headers}
            headers = (*[pair for pair in headers if pair[0].lower() not in own], *outcome.headers)
            return Answer(status, phrase, headers, body, source, outcome.delay)
        return Answer(status, phrase, headers, body, source)


def _phrase(status: int) -> str:
    """The reason phrase of a status that the contract never answers, and that a user's own error may have."""
    try:
        return HTTPStatus(status).phrase.upper()
    except ValueError:
        return "ERROR"


def error_body(contract: Contract, status: int, code: int, message: str, answer_format: Format) -> bytes:
    """Twilio's error body: code, message, more_info, status, in this order (recorded)."""
    if len(message) > CACHED_LENGTH:
        return _error_body(contract.gate.more_info, status, code, message, answer_format)
    return _cached_error_body(contract.gate.more_info, status, code, message, answer_format)


def _error_body(link: str, status: int, code: int, message: str, answer_format: Format) -> bytes:
    more_info = link.format(code=code)
    if answer_format == "json":
        return json.dumps(
            {"code": code, "message": message, "more_info": more_info, "status": status}
        ).encode()
    error: dict[str, Scalar] = {"Code": code, "Message": message, "MoreInfo": more_info, "Status": status}
    inner = "".join([element(name, value) for name, value in error.items()])
    return f"{XML_HEAD}<TwilioResponse><RestException>{inner}</RestException></TwilioResponse>".encode()


_cached_error_body = lru_cache(CACHED_TEXTS)(_error_body)


def rfc2822(moment: datetime) -> str:
    """A date as Twilio's bodies have it, e.g. `Wed, 10 Oct 2012 21:36:14 +0000`."""
    return _dates(moment)[0]


def http_date(moment: datetime) -> str:
    """The same as a Date header has it, e.g. `Wed, 10 Oct 2012 21:36:14 GMT`."""
    return _dates(moment)[1]


@lru_cache(16)
def _dates(moment: datetime) -> tuple[str, str]:
    """Both ways of writing a moment; answers of the same second share them."""
    moment = moment.astimezone(UTC)
    return format_datetime(moment), format_datetime(moment, usegmt=True)


# Answers share the fields that repeat: the journal keeps thousands of answers, and each object costs.
@lru_cache(16)
def _date(moment: datetime) -> tuple[str, str]:
    return "Date", http_date(moment)


@lru_cache(2048)
def _length(length: int) -> tuple[str, str]:
    return "Content-Length", str(length)


@lru_cache(64)
def _computed(
    needs: frozenset[str],
) -> tuple[tuple[str, Callable[[Mapping[str, str], Resource], Scalar]], ...]:
    return tuple((name, compute) for name, compute in _COMPUTED.items() if name in needs)


def _to(form: Mapping[str, str], _resource: Resource) -> str:
    """To as Twilio answers it: E.164 for numbers (recorded), other addresses as sent."""
    value = form.get("To", "")
    if value.startswith("whatsapp:"):
        return f"whatsapp:{values.e164(value.removeprefix('whatsapp:'))}"
    return values.e164(value)


def _number(form: Mapping[str, str], resource: Resource) -> str:
    return values.e164(form.get("PhoneNumber") or resource.number)


def _status(form: Mapping[str, str], _resource: Resource) -> str:
    """The status of a new message; through a messaging service as recorded 2022 with live credentials."""
    if "MessagingServiceSid" not in form:
        return "queued"
    return "scheduled" if "SendAt" in form else "accepted"


def _segments(form: Mapping[str, str], _resource: Resource) -> str:
    """The number of segments; through a messaging service it is not known yet (recorded 2022, as above)."""
    text = form.get("Body", "")
    if "MessagingServiceSid" in form:
        return "0"
    # Nearly every message fits one.
    return "1" if len(text) <= _GSM_SINGLE and _PLAIN.fullmatch(text) else str(count_segments(text))


# What only some resources answer, from the parameters sent.
_COMPUTED: dict[str, Callable[[Mapping[str, str], Resource], Scalar]] = {
    "to": _to,
    "to.formatted": lambda form, _resource: values.national(form.get("To", "")),
    "from.formatted": lambda form, _resource: values.national(form.get("From", "")),
    "number": _number,
    "number.formatted": lambda form, resource: values.national(_number(form, resource)),
    "status": _status,
    "segments": _segments,
    "price_unit": lambda form, _resource: None if "MessagingServiceSid" in form else "USD",
}


def count_segments(text: str) -> int:
    """Count the SMS segments of `text`, at least 1.

    Source: 3GPP TS 23.038 for the alphabet; 160 GSM-7 characters fit one segment and 153 each of several, 70
    and 67 UTF-16 units otherwise.
    """
    if _BASIC.issuperset(text):
        return _even(len(text), _GSM_SINGLE, _GSM_PART)
    if _ALL.issuperset(text):
        return _packed([1 if char in _BASIC else 2 for char in text], _GSM_SINGLE, _GSM_PART)
    if max(text) <= "\uffff":
        return _even(len(text), _UCS2_SINGLE, _UCS2_PART)
    return _packed([2 if char > "\uffff" else 1 for char in text], _UCS2_SINGLE, _UCS2_PART)


def _even(length: int, single: int, part: int) -> int:
    """Segments needed for so many characters of width 1."""
    return 1 if length <= single else -(-length // part)


def _packed(widths: list[int], single: int, part: int) -> int:
    """Segments needed for characters of these widths, none of which may be cut in two."""
    if sum(widths) <= single:
        return 1
    segments, room = 1, part
    for width in widths:
        if width > room:
            segments, room = segments + 1, part
        room -= width
    return segments
