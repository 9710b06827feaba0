"""An observation of the live API: one exchange, where it came from, and the checks that it gives."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal, TypeAlias
from urllib.parse import unquote

from msgspec import structs

from ringback.contract import FormError
from ringback.contract.form import read as read_form
from ringback.contract.gate import answer_format, shows_test_credentials

if TYPE_CHECKING:
    from datetime import datetime

    from ringback.contract import Answer, Basis, Contract, Format, Request
    from ringback.contract.form import Fields


Who: TypeAlias = Literal["proven", "test", "unknown"]

NO_ACCOUNT: Final = "AC" + "f" * 32
_ACCOUNT: Final = re.compile(r"/Accounts/(AC[0-9A-Za-z]+)")
_VERSION: Final = re.compile(r"^/\d{4}-\d{2}-\d{2}(/Accounts/(AC[0-9A-Za-z]+|\{account\}))?")
_EXTENSION: Final = re.compile(r"\.(json|xml)$")
_SID: Final = re.compile(r"\{sid:[A-Z]{2}\}|[A-Z]{2}[0-9a-f]{32}")
_NUMBER: Final = re.compile(r"\+?\d{7,}")
_SLUG: Final = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Observation:
    """One exchange.

    Attributes:
        request: What was asked.
        answer: What came back.
        where: The cassette's file and line, or the claim's request.
        when: When it was, in UTC, if that is known.
        who: Whether test credentials asked: proven by asking the API, told by the request (a magic From
            passes with test credentials alone), or unknown.
    """

    request: Request
    answer: Answer
    where: str
    when: datetime | None = None
    who: Who = "unknown"

    @property
    def origin(self) -> str:
        """The mock upstream that answered, empty for the live API."""
        return self.answer.source.origin or ""

    @property
    def account(self) -> str:
        """The account in the path, or a placeholder where the path has none."""
        found = _ACCOUNT.search(self.request.path)
        return found[1] if found else NO_ACCOUNT


def form_of(request: Request) -> Fields:
    """The form fields of `request`; none if it is no form."""
    try:
        return read_form(request)
    except FormError:
        return ()


def plain(request: Request) -> Request:
    """`request` as the rules take it: with throw-away credentials of the account in its path.

    A recording has no credentials any more, and what test credentials get does not depend on the token.
    """
    found = _ACCOUNT.search(request.path)
    account = found[1] if found else NO_ACCOUNT
    basic = base64.b64encode(f"{account}:token".encode()).decode()
    kept = tuple(
        (name, value)
        for name, value in request.headers
        if name.lower() in {"content-type", "content-encoding"}
    )
    return structs.replace(request, headers=(("Authorization", f"Basic {basic}"), *kept))


def who_asked(contract: Contract, request: Request, answer: Answer) -> Who:
    """Decide from the exchange itself whether test credentials asked."""
    return "test" if shows_test_credentials(contract, request, answer) else "unknown"


def format_of(contract: Contract, request: Request) -> Format:
    """In which format `request` must be answered."""
    return answer_format(contract, request.host, request.path)


def outside_id(method: str, host: str, path: str) -> str:
    """The name of a resource outside the three, e.g. `outside.api.get.messages.sid`."""
    below = unquote(_VERSION.sub("", _EXTENSION.sub("", path)))
    below = _NUMBER.sub("number", _SID.sub("sid", below))
    steps = [_SLUG.sub("-", step.lower()).strip("-") for step in below.split("/")]
    name = host.removesuffix(".twilio.com").partition(".")[0]
    named = [step for step in steps if step] or ["account"]
    return ".".join(["outside", name, method.lower(), *named])


Severity: TypeAlias = Literal["error", "warning", "info"]
Kind: TypeAlias = Literal[
    "added", "removed", "type", "value", "status", "code", "header", "allowed", "refused", "accepted"
]

SEVERITIES: Final[tuple[Severity, ...]] = ("error", "warning", "info")
KINDS: Final[tuple[Kind, ...]] = (
    "added",
    "removed",
    "type",
    "value",
    "status",
    "code",
    "header",
    "allowed",
    "refused",
    "accepted",
)


def at_least(severity: Severity, limit: Severity) -> bool:
    """Report whether `severity` is `limit` or worse."""
    return SEVERITIES.index(severity) <= SEVERITIES.index(limit)


@dataclass(frozen=True, slots=True)
class ClaimDifference:
    """One difference between an exchange and the documentation.

    Attributes:
        kind: How.
        severity: How bad that is.
        resource: Which resource, `*` for all.
        pointer: Which field.
        documented: What the documentation says, for people.
        observed: What was seen, for people.
        cause: What was seen, without what differs from answer to answer: the same cause, the same text.
        line: The line of the page.
        basis: How well the documented side is known.
        lexical: The value as XML would write it, where a value differs: JSON tells more about the same thing.
    """

    kind: Kind
    severity: Severity
    resource: str
    pointer: str
    documented: str
    observed: str
    cause: str
    line: int | None = None
    basis: Basis | None = None
    lexical: str | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """One claim, looked at in one exchange.

    Attributes:
        specific: The claim, as narrow as it can be: this field, this code.
        general: The wider claim that it is an instance of: all dates, all errors. When every instance that
            was looked at differs in the same way, that is one finding about the wider claim.
        difference: How it differs, or None if it holds.
    """

    specific: str
    general: str | None = None
    difference: ClaimDifference | None = None


@dataclass(frozen=True, slots=True)
class OutcomeCheck:
    """The outcome of a request to one of the three resources: the documented one and the one that was seen.

    Attributes:
        resource: Which.
        rule: The claim that decides, with the resource before it.
        inputs: For each parameter with rows, in the order in which they are looked at, the row of its value.
        decided_at: The place in that order of the parameter that decided; beyond the last for success.
        order: The parameters in the order in which they are looked at.
        code: The documented error code, or None for success.
        observed: The code that was seen, None for success; for an answer without a code, its HTTP status.
        difference: How they differ, or None.
    """

    resource: str
    rule: str
    inputs: tuple[tuple[str, str], ...]
    decided_at: int
    order: tuple[str, ...]
    code: int | None
    observed: int | None
    difference: ClaimDifference | None = None


@lru_cache(1024)  # every answer of a resource has the same ones
def _held(specific: str, general: str | None) -> Check:
    return Check(specific, general)


@dataclass(slots=True)
class Notes:
    """Checks in the making."""

    checks: list[Check] = field(default_factory=list)
    known: set[str] = field(default_factory=set)

    def add(
        self, specific: str, difference: ClaimDifference | None = None, general: str | None = None
    ) -> None:
        """Note that a claim was looked at."""
        self.checks.append(
            _held(specific, general) if difference is None else Check(specific, general, difference)
        )
