"""From an outcome to the bytes that Twilio would send."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from ringback.contract import numbers, segments
from ringback.contract.exchange import Answer, Source
from ringback.contract.rules import fill

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ringback.contract.compiled import Contract
    from ringback.contract.form import Fields
    from ringback.contract.gate import Format
    from ringback.contract.model import Field, Refusal, Scalar
    from ringback.contract.rules import Outcome

_XML_HEAD = "<?xml version='1.0' encoding='UTF-8'?>\n"
# XML 1.0 has no way to write these; surrogates are bytes of the path that are not UTF-8.
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_REFERENCES = {"\r": "&#13;"}  # a parser would read a bare one as a line feed
_TYPES: dict[Format, str] = {"json": "application/json", "xml": "application/xml"}


@dataclass(frozen=True, slots=True)
class Identity:
    """What an answer needs that is not in its request: time and randomness, handed in.

    Attributes:
        sid: 32 hexadecimal digits for the new resource.
        request: 32 hexadecimal digits for the request id.
        now: When it was answered, in UTC.
        duration: Seconds that it took, for Twilio-Request-Duration.
    """

    sid: str
    request: str
    now: datetime
    duration: float


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes the answer to one request.

    Attributes:
        contract: Phrases, headers and links.
        format: JSON or XML.
        identity: Time and randomness of this answer.
    """

    contract: Contract
    format: Format
    identity: Identity

    def success(self, outcome: Outcome, fields: Fields, account: str) -> Answer:
        """The 201 answer to a request that passes."""
        resource = outcome.resource
        extension = ".json" if self.format == "json" else ""
        form = {name: value for name, value in fields if value}
        media = sum(1 for name, value in fields if name == "MediaUrl" and value)
        sid = ("MM" if media and resource.sid == "SM" else resource.sid) + self.identity.sid
        stem = f"/{self.contract.gate.version}/Accounts/{account}/{resource.path}/{sid}"
        number = numbers.e164(form.get("PhoneNumber") or resource.number)
        known: dict[str, Scalar] = {
            "sid": sid,
            "account_sid": account,
            "now": rfc2822(self.identity.now),
            "uri": stem + extension,
            "to": _to(form.get("To", "")),
            "to.formatted": numbers.national(form.get("To", "")),
            "from.formatted": numbers.national(form.get("From", "")),
            "number": number,
            "number.formatted": numbers.national(number),
            "segments": str(segments.count(form.get("Body", ""))),
            "media": str(media),
        }

        def resolve(entries: tuple[Field, ...]) -> dict[str, Any]:
            return {
                entry.json if self.format == "json" else entry.xml: resolve(entry.fields)
                if entry.fields
                else _value(entry, known, form, (stem, extension))
                for entry in entries
            }

        body = resolve(resource.answer)
        data = _json(body) if self.format == "json" else _xml(resource.element, body)
        source = Source("contract", outcome.rule, outcome.basis, outcome.reason, outcome.line)
        return self._answer(outcome.status, data, source)

    def failure(self, outcome: Outcome) -> Answer:
        """The 4xx answer to a request that the contract fails."""
        assert outcome.code is not None
        data = error_body(self.contract, outcome.status, outcome.code, outcome.message or "", self.format)
        source = Source(
            "contract", outcome.rule, outcome.basis, outcome.reason, outcome.line, outcome.text_basis
        )
        return self._answer(outcome.status, data, source)

    def refusal(self, entry: Refusal, known: Mapping[str, str]) -> Answer:
        """The 4xx answer of one of the gate's rules, its texts filled from `known`."""
        data = error_body(self.contract, entry.status, entry.code, fill(entry.message, known), self.format)
        source = Source("gate", entry.id, entry.basis, fill(entry.reason, known), entry.line)
        challenge = (("WWW-Authenticate", self.contract.gate.challenge),) if entry.status == 401 else ()
        return self._answer(entry.status, data, source, challenge)

    def _answer(
        self, status: int, body: bytes, source: Source, extra: tuple[tuple[str, str], ...] = ()
    ) -> Answer:
        identity, gate = self.identity, self.contract.gate
        values = {"$request_id": f"RQ{identity.request}", "$duration": f"{identity.duration:.3f}"}
        headers = [
            ("Date", format_datetime(identity.now.astimezone(UTC), usegmt=True)),
            ("Content-Type", _TYPES[self.format]),
            ("Content-Length", str(len(body))),
            *extra,
            *((name, values.get(value, value)) for name, value in gate.headers.items()),
        ]
        return Answer(status, _phrase(gate.phrases, status), tuple(headers), body, source)


def _phrase(phrases: Mapping[int, str], status: int) -> str:
    """The reason phrase; a user's own error may have a status that the contract never answers."""
    try:
        return phrases.get(status) or HTTPStatus(status).phrase.upper()
    except ValueError:
        return "ERROR"


def error_body(contract: Contract, status: int, code: int, message: str, answer_format: Format) -> bytes:
    """Twilio's error body: code, message, more_info, status, in this order (recorded)."""
    more_info = contract.gate.more_info.format(code=code)
    if answer_format == "json":
        return _json({"code": code, "message": message, "more_info": more_info, "status": status})
    return _xml("RestException", {"Code": code, "Message": message, "MoreInfo": more_info, "Status": status})


def rfc2822(moment: datetime) -> str:
    """A date as Twilio's bodies have it, e.g. `Wed, 10 Oct 2012 21:36:14 +0000`."""
    return format_datetime(moment.astimezone(UTC))


def _value(field: Field, known: dict[str, Scalar], form: dict[str, str], uri: tuple[str, str]) -> Scalar:
    value = field.value
    if not isinstance(value, str) or not value.startswith("$"):
        return value
    name = value[1:]
    if name.startswith("form."):
        sent = form.get(name[5:])
        if sent is not None:
            return sent.lower() == "true" if isinstance(field.default, bool) else sent
        default = field.default
        return known[default[1:]] if isinstance(default, str) and default.startswith("$") else default
    if name.startswith("uri/"):
        return uri[0] + name[3:] + uri[1]
    return known[name]


def _to(value: str) -> str:
    """To as Twilio answers it: E.164 for numbers (recorded), other addresses as sent."""
    prefix, colon, rest = value.partition(":")
    return f"{prefix}:{numbers.e164(rest)}" if colon and prefix == "whatsapp" else numbers.e164(value)


def _json(body: dict[str, Any]) -> bytes:
    return json.dumps(body).encode()


def _xml(element: str, body: dict[str, Any]) -> bytes:
    return f"{_XML_HEAD}<TwilioResponse>{_element(element, body)}</TwilioResponse>".encode()


def _element(name: str, value: Any) -> str:
    if isinstance(value, dict):
        inner = "".join(_element(key, child) for key, child in value.items())
    elif value is None:
        inner = ""
    elif isinstance(value, bool):
        inner = "true" if value else "false"
    else:
        inner = escape(_NOT_XML.sub("\ufffd", str(value)), _REFERENCES)
    return f"<{name}>{inner}</{name}>" if inner else f"<{name}/>"
