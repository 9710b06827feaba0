"""Records: what a request asked and got, taken apart for people and tests, and conditions on records."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ringback.contract.form import FormError, parse
from ringback.contract.render import count_segments
from ringback.exchange import Headers, Source, error_code, first_header

if TYPE_CHECKING:
    from ringback.bounds import LinearPattern
    from ringback.contract import Contract
    from ringback.exchange import Answer, Request

DEFAULT_SESSION: Final = "default"

ENTRY_OVERHEAD: Final = 2048  # bytes that an entry takes beside its texts, about
_ACCOUNT_PATH: Final = re.compile(r"/[0-9-]+/Accounts/[^/]+?/(.+?)(?:\.json|\.xml)?")
_XML_TEXT: Final = r"<{0}>([^<]{{1,2000}})</{0}>"
_ENTITIES: Final = (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&apos;", "'"), ("&amp;", "&"))
_NUMBER: Final = re.compile(r"[+0-9 ().-]{3,}")


@dataclass(frozen=True, slots=True)
class Record:
    """One answered request, taken apart.

    Attributes:
        number: Its place in the journal, from 1; never given twice in one process.
        time: When it was answered, ISO 8601 in UTC with milliseconds.
        session: The cassette's name that its client gave, or the default one.
        method: The HTTP method.
        host: The host that it was for.
        target: Path and query.
        resource: `Messages`, `Calls`, `IncomingPhoneNumbers`, another path below the account, or the path.
        user_agent: The client's User-Agent, or an empty string.
        twilio_client: The older SDKs' X-Twilio-Client, or an empty string.
        form: The form fields, decoded, in order; None where the body is no form.
        status: The HTTP status.
        code: Twilio's error code, or None.
        message: Twilio's error text, or None.
        sid: The sid in the answer, or None.
        source: Who answered: contract, cassette, live or gate.
        rule: The row or rule that decided.
        basis: How well the outcome is known, or None.
        text_basis: The same of the error's wording, where it differs.
        line: The documentation page's line, or None.
        reason: Why, in a sentence, or None.
        contract: For a live answer: whether it agrees with the contract, and the difference; else None.
        recorded: For a live answer: where it was recorded, or why not; else None.
        fallback: Why an answer took the live API's place, or None.
        request_headers: Header fields; the values of those that may hold secrets are hidden.
        answer_headers: The answer's header fields.
        body: The request's body as text, where it is no form.
        answer: The answer's body as text.
    """

    number: int
    time: str
    session: str
    method: str
    host: str
    target: str
    resource: str
    user_agent: str
    twilio_client: str
    form: tuple[tuple[str, str], ...] | None
    status: int
    code: int | None
    message: str | None
    sid: str | None
    source: str
    rule: str
    basis: str | None
    text_basis: str | None
    line: int | None
    reason: str | None
    contract: str | None
    recorded: str | None
    fallback: str | None
    request_headers: Headers
    answer_headers: Headers
    body: str | None
    answer: str

    def field(self, *names: str) -> str:
        """Return the last non-empty form value of the first of `names` that has one, or an empty string."""
        for name in names:
            found = [value for key, value in self.form or () if key == name and value]
            if found:
                return found[-1]
        return ""

    @property
    def succeeded(self) -> bool:
        """Report whether the answer is a success."""
        return self.status < 400

    def as_dict(self, *, details: bool = False) -> dict[str, Any]:
        """Return the record for JSON; `details` adds headers and bodies."""
        made: dict[str, Any] = {
            "number": self.number,
            "time": self.time,
            "session": self.session,
            "method": self.method,
            "host": self.host,
            "target": self.target,
            "resource": self.resource,
            "client": self.twilio_client or self.user_agent,
            "form": None if self.form is None else [list(pair) for pair in self.form],
            "status": self.status,
            "code": self.code,
            "message": self.message,
            "sid": self.sid,
            "source": self.source,
            "rule": self.rule,
            "basis": self.basis,
            "text_basis": self.text_basis,
            "line": self.line,
            "reason": self.reason,
            "contract": self.contract,
            "recorded": self.recorded,
            "fallback": self.fallback,
        }
        if details:
            made["request_headers"] = [list(pair) for pair in self.request_headers]
            made["answer_headers"] = [list(pair) for pair in self.answer_headers]
            made["body"] = self.body
            made["answer"] = self.answer
        return made


@dataclass(frozen=True, slots=True)
class Callback:
    """One status callback that was made, or tried.

    Attributes:
        request: The number of the request that asked for it.
        session: The session of that request.
        sid: The sid of the message or call.
        resource: `Messages` or `Calls`.
        status: The status that was reported.
        url: Where to; for GET with the fields.
        method: POST or GET.
        form: The fields.
        answered: The HTTP status of the answer, or None.
        error: Why there is no answer, or None.
        number: Its place among the callbacks, from 1; 0 until it is kept.
        time: When it ended, ISO 8601 in UTC with milliseconds.
    """

    request: int
    session: str
    sid: str
    resource: str
    status: str
    url: str
    method: str
    form: tuple[tuple[str, str], ...]
    answered: int | None
    error: str | None
    number: int = 0
    time: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        made = {one.name: getattr(self, one.name) for one in fields(self)}
        return made | {"form": [list(pair) for pair in self.form]}


_SOURCE: Final = tuple(one.name for one in fields(Source) if one.init)
_ENCODER: Final = msgspec.msgpack.Encoder()


def _pairs(found: Any) -> Headers:
    return tuple((name, value) for name, value in found)


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One answered request as it is kept: without secrets, not yet taken apart.

    `size` is the number of bytes that it takes, about.
    """

    number: int
    moment: float
    session: str
    method: str
    host: str
    target: str
    headers: Headers
    body: bytes
    status: int
    answer_headers: Headers
    answer: bytes
    size: int
    source: Source

    def packed(self) -> bytes:
        """Return the entry as bytes, for other replicas."""
        source = {name: getattr(self.source, name) for name in _SOURCE}
        kept = [getattr(self, name) for name in self.__struct_fields__[1:-1]]
        return _ENCODER.encode([*kept, source, self.source.headers()])

    @classmethod
    def unpacked(cls, data: bytes, number: int) -> Entry:
        """Return the entry of `packed`, with a number of its own.

        Raises:
            ValueError: It is none, such as one of another version.
        """
        try:
            *kept, known, headers = msgspec.msgpack.decode(data)
            source = Source(**known)
            object.__setattr__(source, "_written", _pairs(headers))  # of a class that need not be known here
            parts: list[Any] = [number, *kept, source]
            made = cls(*parts)
            return msgspec.structs.replace(
                made, headers=_pairs(made.headers), answer_headers=_pairs(made.answer_headers)
            )
        except (msgspec.MsgspecError, TypeError) as error:
            raise ValueError(str(error)) from None

    def record(self) -> Record:
        """Take the entry apart."""
        text = _text(self.answer, first_header(self.answer_headers, "Content-Encoding"))
        code, message, sid = _facts(text)
        form = _form(self.body, first_header(self.headers, "Content-Type"))
        source, given = self.source, dict(self.source.headers())
        coding = first_header(self.headers, "Content-Encoding")
        return Record(
            number=self.number,
            time=written_time(self.moment),
            session=self.session,
            method=self.method,
            host=self.host,
            target=self.target,
            resource=resource_of(self.target),
            user_agent=first_header(self.headers, "User-Agent") or "",
            twilio_client=first_header(self.headers, "X-Twilio-Client") or "",
            form=form,
            status=self.status,
            code=code,
            message=message,
            sid=sid,
            source=source.kind,
            rule=source.rule,
            basis=source.basis,
            text_basis=source.text if source.text != source.basis else None,
            line=source.line,
            reason=source.reason,
            contract=given.get("Ringback-Contract"),
            recorded=given.get("Ringback-Cassette"),
            fallback=given.get("Ringback-Fallback"),
            request_headers=self.headers,
            answer_headers=self.answer_headers,
            body=_text(self.body, coding) if form is None else None,
            answer=text,
        )


@dataclass(frozen=True, slots=True)
class Filter:
    """Conditions on records; None means any.

    Attributes:
        resource: The resource's name, in any case.
        to: The form's To, or the number that was bought; numbers compare by their digits.
        sender: The form's From.
        body: A regular expression that is searched in the form's Body.
        code: Twilio's error code; 0 stands for none.
        rule: The rule; `*` and `?` are wildcards.
        session: The session.
        source: Who answered.
        since: Only records with a higher number.
    """

    resource: str | None = None
    to: str | None = None
    sender: str | None = None
    body: re.Pattern[str] | LinearPattern | None = None
    code: int | None = None
    rule: str | None = None
    session: str | None = None
    source: str | None = None
    since: int = 0

    def may_match(self, entry: Entry) -> bool:
        """Report whether `entry` has to be taken apart to know."""
        return (
            entry.number > self.since
            and (self.session is None or entry.session == self.session)
            and (self.source is None or entry.source.kind == self.source)
            and (self.rule is None or fnmatchcase(entry.source.rule, self.rule))
        )

    def matches(self, record: Record) -> bool:
        """Report whether `record`, of an entry that may match, fulfils the other conditions."""
        return (
            (self.resource is None or record.resource.lower() == self.resource.lower())
            and (self.to is None or _same(record.field("To", "PhoneNumber", "AreaCode"), self.to))
            and (self.sender is None or _same(record.field("From", "MessagingServiceSid"), self.sender))
            and (self.body is None or self.body.search(record.field("Body")) is not None)
            and (self.code is None or (record.code or 0) == self.code)
        )


def record_of(request: Request, answer: Answer, session: str = DEFAULT_SESSION) -> Record:
    """Take a request and its answer apart without keeping them; secrets are not removed."""
    return Entry(
        0,
        0.0,
        session,
        request.method,
        request.host,
        request.target,
        request.headers,
        request.body,
        answer.status,
        answer.headers,
        answer.body,
        0,
        answer.source,
    ).record()


def written_time(moment: float) -> str:
    """Return a time since the epoch as ISO 8601 in UTC with milliseconds."""
    found = datetime.fromtimestamp(moment, UTC)
    return found.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _form(body: bytes, media_type: str | None) -> tuple[tuple[str, str], ...] | None:
    if media_type and media_type.partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        return None if body else ()
    try:
        return parse(body)
    except FormError:
        return None


def _text(body: bytes, coding: str | None) -> str:
    """A body for people: its content coding removed, other bytes than UTF-8 replaced."""
    if coding and coding.strip().lower() != "identity":
        from ringback.cassettes.bodies import decode  # noqa: PLC0415 - only live answers are encoded
        from ringback.cassettes.files import CodingError  # noqa: PLC0415 - as above

        try:
            body = decode(body, coding)
        except CodingError:
            return f"[{len(body)} bytes of {coding}]"
    return body.decode("utf-8", "replace")


def _facts(text: str) -> tuple[int | None, str | None, str | None]:
    """Error code, error text and sid of an answer's body."""
    code = error_code(text.encode("utf-8", "replace"))
    if text.lstrip().startswith("<"):
        message = _element(text, "Message") if code is not None else None
        return code, message, _element(text, "Sid")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return code, None, None
    if not isinstance(found, dict):
        return code, None, None
    message, sid = found.get("message"), found.get("sid")
    return (
        code,
        message if isinstance(message, str) and code is not None else None,
        sid if isinstance(sid, str) else None,
    )


def _element(text: str, name: str) -> str | None:
    found = re.search(_XML_TEXT.format(name), text)
    if found is None:
        return None
    value = found[1]
    for entity, char in _ENTITIES:
        value = value.replace(entity, char)
    return value


@lru_cache(1024)
def resource_of(target: str) -> str:
    """Return the resource that a path below an account names, or the path."""
    path = target.partition("?")[0]
    found = _ACCOUNT_PATH.fullmatch(path)
    return found[1] if found else path


def _same(value: str, wanted: str) -> bool:
    """Report whether two addresses are one: numbers by their digits (a `+` in a query is a space)."""
    if _NUMBER.fullmatch(value) and _NUMBER.fullmatch(wanted):
        return re.sub(r"\D", "", value) == re.sub(r"\D", "", wanted)
    return value.strip().casefold() == wanted.strip().casefold()


# -- for people


def created_by(record: Record) -> dict[str, Any]:
    """Describe what a successful request created; values come from the answer where it is JSON."""
    try:
        answered = json.loads(record.answer)
    except (ValueError, RecursionError):
        answered = {}
    found = answered if isinstance(answered, dict) else {}
    made: dict[str, Any] = {
        "number": record.number,
        "time": record.time,
        "session": record.session,
        "sid": record.sid,
        "status": found.get("status") or "queued",
    }
    if record.resource == "IncomingPhoneNumbers":
        made["phone_number"] = found.get("phone_number") or record.field("PhoneNumber", "AreaCode")
        return made
    made["to"] = found.get("to") or record.field("To")
    made["from"] = found.get("from") or record.field("From", "MessagingServiceSid")
    if record.resource == "Calls":
        made["url"] = record.field("Url", "ApplicationSid")
        made["twiml"] = record.field("Twiml")
        return made
    body = found.get("body")
    made["body"] = body if isinstance(body, str) else record.field("Body")
    made["segments"] = count_segments(record.field("Body"))
    made["media"] = [value for name, value in record.form or () if name == "MediaUrl" and value]
    return made


def cited_by(loaded: Contract, line: int | None) -> dict[str, str] | None:
    """Cite the section of the documentation page that a line stands in, for people."""
    try:
        cited = loaded.cite(line) if line is not None else None
    except KeyError:  # a line of a user's own row
        return None
    return None if cited is None else {"text": str(cited), "url": cited.url, "edition": cited.edition}


def row_of(loaded: Contract, record: Record) -> dict[str, Any] | None:
    """Find the row of the contract that decided about `record`, for people."""
    resource, _, name = record.rule.partition(".")
    for one in loaded.resources:
        for row in one.magic if one.resource == resource else ():
            if row.id == name:
                return {
                    "resource": resource,
                    "parameter": row.parameter,
                    "value": row.value,
                    "error": row.error,
                    "outcome": row.outcome,
                    "line": row.line,
                    "basis": row.basis,
                    "reason": row.reason,
                }
    return None
