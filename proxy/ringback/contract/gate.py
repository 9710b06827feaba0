"""Gate: checks host, form of the account, credentials, account and resource, in this order. Pure.

A request that passes is `Admitted`; everything else is `Refused` and never reaches the contract or the
network.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from hmac import compare_digest
from typing import TYPE_CHECKING

import msgspec

from ringback.contract.form import FormError
from ringback.contract.form import read as read_form
from ringback.exchange import basic_auth, cached_text, error_code

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ringback.contract.contract import Contract
    from ringback.contract.schema import Format, Refusal, Resource
    from ringback.exchange import Answer, Request

# The page's samples have X for every digit: they run here as they stand, though Twilio answers them with 404.
_ACCOUNT = re.compile(r"AC(?:[0-9a-fA-F]{32}|X{32})")
_ACCOUNT_PATH = re.compile(r"/Accounts/([^/.]*)(?:\.(?:json|xml))?(?:/(.*))?", re.DOTALL)
# What newer editions of the documentation open; no table of its magic numbers was found.
_LOOKUP = "lookups.twilio.com"
_NEWER = "; newer editions open GET /v2/PhoneNumbers/..., its magic numbers are not known"
_NOT_ACCESSIBLE = 20008  # the code that test credentials alone get
_EXTENSION = re.compile(r"\.(json|xml)$")
_NAME = re.compile(r"[A-Za-z]+/?")
_NEAR = 0.8  # from which on difflib's ratio tells a slip: Message for Messages, not Media
_REMEMBERED = 256  # headers and paths taken apart; clients repeat both
_PORTS = {"https": (443,), "http": (80,)}


@dataclass(frozen=True, slots=True)
class Credentials:
    """The one pair that counts as test credentials; both None means any `AC…` with any token (offline)."""

    sid: str | None = None
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Names:
    """Every way in which a connection names the host it wants; None where there is no such name.

    Attributes:
        host: From the Host header, `:authority` or the absolute request target.
        connect: The CONNECT target.
        sni: The server name of the TLS handshake.
        port: The port that goes with them, or None where the client could not name one.
    """

    host: str
    connect: str | None = None
    sni: str | None = None
    port: int | None = None


class Admitted(msgspec.Struct, frozen=True):
    """A request for one of the three resources, with credentials that may be test credentials."""

    resource: Resource
    account: str
    token: str
    format: Format

    def __repr__(self) -> str:
        """Without the token."""
        return f"Admitted({self.resource.resource}, {self.account}, {self.format})"


@dataclass(frozen=True, slots=True)
class Refused:
    """A request that goes no further.

    Attributes:
        refusal: The rule that refuses it.
        format: In which format it is told.
        known: What the rule's texts quote.
    """

    refusal: Refusal
    format: Format
    known: Mapping[str, str]


def admit(contract: Contract, request: Request, names: Names, credentials: Credentials) -> Admitted | Refused:
    """Let `request` pass, or say by which rule it is refused.

    Source: the order of the checks is assumed; status and code of each are in `gate.yaml` with their basis.
    """
    path = request.path
    api = contract.is_api(names.host)
    form = answer_format(contract, names.host, path)

    def refuse(rule: str, **more: str) -> Refused:
        below = path.removeprefix(f"/{contract.gate.version}")
        known = {"method": request.method, "host": names.host, "path": path, "resource": below}
        return Refused(contract.refusals[rule], form, {**known, **more})

    wrong, detail = _transport(request, names)
    if wrong:
        return refuse(wrong, detail=detail)
    account, name, below, malformed = _parts(path, contract.gate.version)
    if malformed and api:
        return refuse("account.malformed", account=account or "")
    username, token, unfit = _authenticate(request.header("Authorization"), credentials)
    if unfit is not None:
        return refuse(unfit, username=username)
    if not api:
        opened = (request.method, names.host) == ("GET", _LOOKUP) and path.startswith("/v2/PhoneNumbers/")
        rule = "resource.lookup" if opened else "resource.product-host"
        return refuse(rule, newer=_NEWER if names.host == _LOOKUP else "")
    resource = contract.by_path.get(name) if below and request.method == "POST" else None
    if resource is not None and account == username:
        return Admitted(resource, account, token, form)
    if account not in {None, username}:
        rule = "account.other"
    else:
        rule = "resource.sms-messages" if name == "SMS/Messages" else "resource.unsupported"
    near = _near(contract, name) if request.method == "POST" and rule == "resource.unsupported" else ""
    if near:
        rule = "resource.misspelt"
    named = {"resource": name} if name and rule != "account.other" else {}
    return refuse(rule, account=account or "", near=near, **named)


def _near(contract: Contract, name: str) -> str:
    """The resource that `name` was probably meant to be, or an empty string."""
    if not _NAME.fullmatch(name):
        return ""
    from difflib import get_close_matches  # noqa: PLC0415 - slow to import, and only for a mistake

    known = {path.lower(): path for path in contract.by_path}
    found = get_close_matches(name.rstrip("/").lower(), known, 1, _NEAR)
    return known[found[0]] if found else ""


def _transport(request: Request, names: Names) -> tuple[str, str]:
    """The id of the rule that refuses the way the request came, with its detail; else two empty strings."""
    mismatch = disagreement(names)
    if mismatch:
        return "host.mismatch", mismatch
    if names.port is not None and names.port not in _PORTS[request.scheme]:
        return "host.port", f"the request was for port {names.port}"
    if request.header("Upgrade") is not None:
        return "host.upgrade", ""
    return "", ""


def disagreement(names: Names) -> str | None:
    """Return the names of the connection that disagree, or None."""
    host = names.host
    if names.connect in {host, None} and names.sni in {host, None}:
        return None
    given = [("CONNECT", names.connect), ("TLS", names.sni), ("Host", names.host)]
    distinct = {name for _, name in given if name is not None}
    if len(distinct) < 2:
        return None
    return ", ".join(f"{place} says {name}" for place, name in given if name is not None)


def answer_format(contract: Contract, host: str, path: str) -> Format:
    """JSON or XML, by the path's extension alone under `/2010-04-01/` of the API, else JSON.

    Source: recorded (Accept is ignored; no extension is XML).
    """
    if contract.is_api(host) and path.startswith(f"/{contract.gate.version}/") and not path.endswith(".json"):
        return "xml"
    return "json"


def canonical_host(name: str) -> str:
    """A host name as the gate compares it: lower case, without port and trailing dot."""
    if name.startswith("["):  # an IPv6 literal
        return name[: name.find("]") + 1].lower()
    return name.rpartition(":")[0 if ":" in name else 2].lower().rstrip(".")


@cached_text
def _credentials(header: str) -> tuple[str, str] | str:
    """User name and password of a Basic header, or the id of the rule that refuses it."""
    return basic_auth(header) or "auth.malformed"


def _authenticate(header: str | None, credentials: Credentials) -> tuple[str, str, str | None]:
    """User name and token of an Authorization header, and the id of the rule that refuses them, or None."""
    who = _credentials(header) if header else "auth.missing"
    return ("", "", who) if isinstance(who, str) else (*who, _judge(*who, credentials))


def _judge(username: str, token: str, credentials: Credentials) -> str | None:
    """The id of the rule that refuses this pair, or None."""
    if username.startswith("SK"):
        return "auth.api-key"
    if not _ACCOUNT.fullmatch(username):
        return "auth.username"
    if credentials.sid is not None and not compare_digest(username.encode(), credentials.sid.encode()):
        return "auth.unknown"
    if not token:
        return "auth.token"
    if credentials.token is not None and not compare_digest(token.encode(), credentials.token.encode()):
        return "auth.token"
    return None


def shows_test_credentials(contract: Contract, request: Request, answer: Answer) -> bool:
    """Report whether the exchange itself shows that test credentials asked.

    A magic From, or a magic number to buy, is no number of anybody's: with live credentials it never passes.
    Code 20008 is given to test credentials alone.
    """
    if error_code(answer.body) == _NOT_ACCESSIBLE:
        return True
    resource = contract.by_path.get(_EXTENSION.sub("", request.path.rpartition("/")[2]))
    if resource is None:
        return False
    try:
        fields = read_form(request)
    except FormError:
        return False
    for parameter, value in fields:
        if parameter in {"From", "PhoneNumber"} and value:
            row = contract.magic(resource.resource, parameter, value)
            if row is not None and row.error is None:
                return True
    return False


@lru_cache(_REMEMBERED)
def _parts(path: str, version: str) -> tuple[str | None, str, bool, bool]:
    """Take a path apart: account or None, name below it, and the flags `below a slash` and `malformed`."""
    prefix = f"/{version}"
    found = _ACCOUNT_PATH.fullmatch(path[len(prefix) :]) if path.startswith(prefix) else None
    if found is None:
        return None, "", False, False
    name = _EXTENSION.sub("", found[2] or "")
    below = path.startswith(f"{prefix}/Accounts/{found[1]}/")
    return found[1], name, below, not _ACCOUNT.fullmatch(found[1])
