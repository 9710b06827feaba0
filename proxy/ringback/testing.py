"""Requests of a test: what it sent, waiting for more, and rows that make the next request fail.

`Session` asks a running proxy; the pytest fixture `ringback` is one. This file is part of the distribution
pytest-ringback too, as `ringback_testing`: it needs the standard library of Python 3.9 alone.
"""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Final, TypeVar
from urllib.parse import unquote, urlencode, urlsplit

_GRACE: Final = 10.0  # seconds beyond a long poll's own limit
_MOST: Final = 10_000
_LONGEST_TEXT: Final = 60  # characters of a text in one line
_PROXY_URL: Final = "RINGBACK_PROXY_URL"

# Python's names of conditions and parameters: the API's, or the form's.
_FILTERS: Final = {"from_": "from", "body_matches": "body~"}
_PARAMETERS: Final = {
    "to": "To",
    "from_": "From",
    "body": "Body",
    "phone_number": "PhoneNumber",
    "area_code": "AreaCode",
    "url": "Url",
    "messaging_service_sid": "MessagingServiceSid",
}


class NotReceivedError(AssertionError):
    """The requests that were waited for did not come; the message lists those that did."""


class Comparable:
    """Base of what was sent: equal to a mapping that has some of its attributes, such as `{"to": NUMBER}`."""

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Mapping):
            return not self.differences(other)
        return type(self) is type(other) and vars(self) == vars(other)

    __hash__: ClassVar[None]  # type: ignore[assignment] # as of every class that compares by mutable values

    def differences(self, wanted: Mapping[str, Any]) -> list[str]:
        """Return a sentence for each attribute that is not as `wanted` says; `from` means `from_`."""
        found = []
        for name, value in wanted.items():
            attribute = "from_" if name == "from" else name
            if not hasattr(self, attribute):
                found.append(f"{name}: there is no such attribute of a {type(self).__name__}")
            elif getattr(self, attribute) != value:
                found.append(f"{name}: {getattr(self, attribute)!r} is not {value!r}")
        return found


@dataclass(eq=False)
class SentRequest(Comparable):
    """One answered request.

    Attributes:
        number: Its place among the proxy's requests.
        method: The HTTP method.
        resource: `Messages`, `Calls`, `IncomingPhoneNumbers`, or another path.
        form: The form fields; the last one of a name.
        fields: The form fields in order.
        to: The To, or the number that was bought.
        from_: The From or MessagingServiceSid.
        body: The Body.
        status: The HTTP status of the answer.
        code: Twilio's error code, or None.
        message: Twilio's error text, or None.
        sid: The sid in the answer, or None.
        source: Who answered: contract, cassette, live or gate.
        rule: The row or rule that decided.
        reason: Why, in a sentence, or None.
    """

    number: int
    method: str
    resource: str
    form: dict[str, str]
    fields: list[tuple[str, str]]
    to: str
    from_: str
    body: str
    status: int
    code: int | None
    message: str | None
    sid: str | None
    source: str
    rule: str
    reason: str | None

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> SentRequest:
        """Make one of a record of the API."""
        pairs = [(name, value) for name, value in record["form"] or ()]
        form = dict(pairs)
        kept = {one.name: record[one.name] for one in fields(cls) if one.name in record}
        kept |= {
            "form": form,
            "fields": pairs,
            "to": form.get("To") or form.get("PhoneNumber") or form.get("AreaCode") or "",
            "from_": form.get("From") or form.get("MessagingServiceSid") or "",
            "body": form.get("Body", ""),
        }
        return cls(**kept)

    def __str__(self) -> str:
        who = f"{self.from_} -> {self.to}" if self.from_ and self.to else self.to or self.from_
        what = self.resource if self.method == "POST" else f"{self.method} {self.resource}"
        text = _short(self.body or self.form.get("Url", "") or self.form.get("Twiml", ""))
        asked = " ".join(filter(None, (f"#{self.number} {what}", who, text)))
        if self.code is None:
            return f"{asked}\n    got {self.status} {self.sid or ''} ({self.rule or self.source})"
        why = f"\n    {self.reason}" if self.reason else ""
        return f"{asked}\n    got {self.status}, error {self.code}: {self.message} ({self.rule}){why}"


@dataclass(eq=False)
class Message(Comparable):
    """One message that was accepted.

    Attributes:
        number: The place of its request.
        to: The recipient.
        from_: The sender.
        body: The text as it is sent.
        segments: How many SMS segments it takes.
        media: The URLs of its media.
        sid: Its sid.
        status: `queued`, or the last status that was reported.
    """

    number: int
    to: str
    from_: str
    body: str
    segments: int
    media: list[str]
    sid: str
    status: str

    def __str__(self) -> str:
        return f"#{self.number} {self.from_} -> {self.to} {_short(self.body)} {self.status}"


@dataclass(eq=False)
class Call(Comparable):
    """One call that was accepted.

    Attributes:
        number: The place of its request.
        to: Who is called.
        from_: Who calls.
        url: The Url or ApplicationSid.
        twiml: The TwiML.
        sid: Its sid.
        status: `queued`, or the last status that was reported.
    """

    number: int
    to: str
    from_: str
    url: str
    twiml: str
    sid: str
    status: str

    def __str__(self) -> str:
        return f"#{self.number} {self.from_} -> {self.to} {_short(self.url or self.twiml)} {self.status}"


@dataclass(eq=False)
class BoughtNumber(Comparable):
    """One phone number that was bought.

    Attributes:
        number: The place of its request.
        phone_number: The number.
        sid: Its sid.
    """

    number: int
    phone_number: str
    sid: str

    def __str__(self) -> str:
        return f"#{self.number} {self.phone_number}"


@dataclass(eq=False)
class ReportedStatus(Comparable):
    """One status callback that was made, or tried; `--callbacks` makes them.

    Attributes:
        number: Its place among the proxy's callbacks.
        sid: The sid of the message or call.
        status: The status that was reported, such as `delivered`.
        url: Where to.
        fields: The form fields in order.
        answered: The HTTP status of the answer, or None.
        error: Why there is no answer, or None.
    """

    number: int
    sid: str
    status: str
    url: str
    fields: list[tuple[str, str]]
    answered: int | None
    error: str | None

    def __str__(self) -> str:
        return f"{self.sid} {self.status} -> {self.url} {self.answered or self.error}"


T = TypeVar("T", bound=Comparable)


class SentList(list[T]):
    """A list of what was sent, oldest first; equal to a list of mappings that have some of the attributes."""

    def explain(self, wanted: Iterable[object]) -> list[str]:
        """Return lines that tell how this differs from `wanted`: for each item, what is not as it should."""
        expected = list(wanted)
        lines = [f"{_count(len(self))} sent, {len(expected)} expected"]
        for at in range(max(len(self), len(expected))):
            if at >= len(self):
                lines.append(f"  {at + 1}. missing: {_shown(expected[at])}")
            elif at >= len(expected):
                lines.append(f"  {at + 1}. not expected: {_indented(self[at])}")
            elif self[at] != expected[at]:
                other = expected[at]
                differences = self[at].differences(other if isinstance(other, Mapping) else vars(other))
                lines += [f"  {at + 1}. {one}" for one in differences]
        return lines


class Session:
    """One session of a running proxy: the requests of one test.

    Args:
        name: The session's name, which is the cassette's: the user name of the proxy URL.
        url: The proxy's URL; without one, the one of `ringback run` or `ringback env`.
        since: The number of the last request that does not count.

    Attributes:
        name: The session's name.
    """

    def __init__(self, name: str, url: str | None = None, since: int = 0) -> None:
        parts = urlsplit(url or os.environ[_PROXY_URL])
        self.name = name
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._password = unquote(parts.password or "")
        self._since = since

    @property
    def last(self) -> int:
        """The number of the proxy's last request, of any session."""
        return int(self._asked("GET", "requests", {"limit": "0"})["last"])

    @property
    def requests(self) -> SentList[SentRequest]:
        """Every answered request of this test, oldest first."""
        return SentList(SentRequest.of(one) for one in self._list("requests"))

    @property
    def messages(self) -> SentList[Message]:
        """The messages that were accepted, oldest first."""
        return SentList(_made(Message, one) for one in self._list("messages"))

    @property
    def calls(self) -> SentList[Call]:
        """The calls that were accepted, oldest first."""
        return SentList(_made(Call, one) for one in self._list("calls"))

    @property
    def numbers(self) -> SentList[BoughtNumber]:
        """The phone numbers that were bought, oldest first."""
        return SentList(_made(BoughtNumber, one) for one in self._list("numbers"))

    @property
    def callbacks(self) -> SentList[ReportedStatus]:
        """The status callbacks of this test's messages and calls, oldest first."""
        found = self._asked("GET", "callbacks", {"session": self.name})["callbacks"]
        return SentList(
            _made(ReportedStatus, {**one, "fields": [(name, value) for name, value in one["form"]]})
            for one in found
            if one["request"] > self._since
        )

    def wait_for(self, *, count: int = 1, timeout: float = 5.0, **wanted: object) -> SentRequest:
        """Wait until a request came, and return it: the last of `count`, those of before included.

        Args:
            count: How many requests must match.
            timeout: Seconds.
            **wanted: `to`, `from_`, `body` (a part of it), `body_matches` (a regular expression),
                `resource`, `code`, `rule` or `source`.

        Raises:
            NotReceivedError: The time ran out; the message lists what came.
        """
        __tracebackhide__ = True  # pytest shows the test's line instead
        query = {_FILTERS.get(name, name): str(value) for name, value in wanted.items()}
        query |= {"count": str(count), "timeout": f"{timeout:f}"}
        status, found = self._ask("GET", "requests/wait", query | self._scope(), timeout=timeout + _GRACE)
        if status == 200:
            return SentRequest.of(found["requests"][count - 1])
        if status != 504:
            raise ValueError(found.get("error", status))
        asked = ", ".join(f"{name}={value!r}" for name, value in wanted.items()) or "any request"
        came = [f"{_count(len(found['requests']))} with {asked} within {timeout:g} s, {count} expected"]
        raise NotReceivedError("\n".join([*came, *self.report()]))

    def row(
        self,
        resource: str = "Messages",
        *,
        error: int | None = None,
        outcome: str | None = None,
        message: str | None = None,
        **more: Any,
    ) -> None:
        """Decide what one value of one parameter gets in this session, until `reset` or the test's end.

        Args:
            resource: `Messages`, `Calls` or `IncomingPhoneNumbers`.
            error: Twilio's error code, or None to let the value pass.
            outcome: How a message or call ends, which status callbacks report.
            message: The error's text, for a code that the contract has none of.
            **more: One parameter with its value, such as `to="+14105550101"` or `StatusCallback=URL`; and
                further keys of a row: `status`, `delay`, `times`, `headers`, `reason`, `outcome_code`.

        Raises:
            ValueError: The proxy refuses the row; the message says why.
        """
        further = {"status", "delay", "times", "headers", "reason", "outcome_code"}
        given = {name: value for name, value in more.items() if name not in further}
        if len(given) != 1:
            raise ValueError("a row has one parameter and its value, such as to='+14105550101'")
        ((name, value),) = given.items()
        parameter = _PARAMETERS.get(name, name)
        made = {"resource": resource, "parameter": parameter, "value": value, "error": error}
        if outcome is not None:
            made["outcome"] = outcome
        made |= {name: value for name, value in more.items() if name in further}
        rows = self._asked("GET", "contract/rows", {"session": self.name})
        kept = [one for one in rows.get("magic", []) if _key(one) != _key(made)]
        rows["magic"] = [*kept, made]
        if message is not None:
            texts = [one for one in rows.get("errors", []) if one["code"] != error]
            rows["errors"] = [*texts, {"code": error, "message": message}]
        self._asked("PUT", "contract/rows", {"session": self.name}, rows)

    def take_rows_back(self) -> None:
        """Answer this session as the contract says again."""
        self._asked("DELETE", "contract/rows", {"session": self.name})

    def outcome(self, sid: str, status: str, code: int | None = None) -> None:
        """Decide how a message or call ends; `--callbacks` reports it.

        Raises:
            ValueError: The proxy refuses it; the message says why.
        """
        self._asked("POST", "outcome", {}, {"sid": sid, "status": status, "code": code})

    def reset(self) -> None:
        """Forget this test's requests, take its rows back, and replay its recordings from the first on."""
        self._asked("POST", "reset", {"session": self.name})

    def report(self) -> list[str]:
        """Return lines about every request of this test: what it asked and got."""
        lines = [line for one in self.requests for line in str(one).splitlines()]
        return lines or ["no Twilio request came"]

    # -- the API

    def _scope(self) -> dict[str, str]:
        return {"session": self.name, "since": str(self._since)}

    def _list(self, path: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._asked("GET", path, {**self._scope(), "limit": str(_MOST)})[path]
        return found[::-1]

    def _asked(self, method: str, path: str, query: Mapping[str, str], body: Any = None) -> dict[str, Any]:
        status, found = self._ask(method, path, query, body)
        if status != 200:
            raise ValueError(found.get("error") or found.get("message") or f"the proxy answered {status}")
        return found

    def _ask(
        self, method: str, path: str, query: Mapping[str, str], body: Any = None, *, timeout: float = 60.0
    ) -> tuple[int, dict[str, Any]]:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=timeout)
        headers = {"Authorization": f"Bearer {self._password}"} if self._password else {}
        content = None if body is None else json.dumps(body)
        try:
            connection.request(method, f"/ringback/{path}?{urlencode(query)}", content, headers)
            got = connection.getresponse()
            return got.status, json.loads(got.read())
        finally:
            connection.close()


class Ringback(Session):
    """Value of the pytest fixture `ringback`.

    Attributes:
        cassette: The name of the test's own cassette.
        proxy: The proxy's URL for this test, for clients that take one by hand.
        bundle: The PEM file of the usual roots and Ringback's, for the same.
    """

    def __init__(self, cassette: str, proxy: str, bundle: str, since: int = 0) -> None:
        super().__init__(cassette, proxy, since)
        self.cassette = cassette
        self.proxy = proxy
        self.bundle = bundle


def _made(kind: type[T], record: Mapping[str, Any]) -> T:
    named = {"from_": record.get("from"), **record}
    return kind(**{one.name: named[one.name] for one in fields(kind)})  # type: ignore[arg-type] # a dataclass


def _key(row: Mapping[str, Any]) -> tuple[object, ...]:
    return row["resource"], row["parameter"], row["value"]


def _short(text: str) -> str:
    if not text:
        return ""
    return repr(text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 3] + "...")


def _shown(value: object) -> str:
    return repr(dict(value)) if isinstance(value, Mapping) else _indented(value)


def _indented(value: object) -> str:
    return str(value).replace("\n", "\n  ")


def _count(number: int) -> str:
    return "1 request" if number == 1 else f"{number} requests"
