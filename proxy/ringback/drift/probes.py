"""The requests that show whether claims about outcomes hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import urlencode

from ringback.contract import Request
from ringback.contract.contract import OTHER
from ringback.drift.observation import outside_id

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ringback.contract import Contract, Format
    from ringback.contract.schema import Example, Resource
    from ringback.drift.facts import Facts


Form: TypeAlias = tuple[tuple[str, str], ...]

_API: Final = "api.twilio.com"
_TYPE: Final = ("Content-Type", "application/x-www-form-urlencoded")
_OTHER_NUMBER: Final = "+14105550100"  # fictional: of the range that is never assigned
FORMATS: Final[tuple[Format, ...]] = ("json", "xml")


@dataclass(frozen=True, slots=True)
class ClaimProbe:
    """A request that shows whether some claims hold.

    Attributes:
        id: Its name: that of the first claim, with the format.
        claims: The ids of the claims about its outcome.
        method: Its method.
        host: Its host.
        path: Its path, with `{account}` for the caller's account.
        form: Its form.
        format: The format that it asks for.
    """

    id: str
    claims: tuple[str, ...]
    method: str
    host: str
    path: str
    form: tuple[tuple[str, str], ...]
    format: Format

    def request(self, account: str) -> Request:
        """The request for the credentials of `account`, without an Authorization field."""
        target = self.path.replace("{account}", account)
        body = urlencode(self.form).encode() if self.method == "POST" else b""
        headers = (_TYPE, ("Content-Length", str(len(body)))) if self.method == "POST" else ()
        return Request(self.method, self.host, target, headers, body)


def probes_of(contract: Contract, known: Facts) -> Iterator[ClaimProbe]:
    """A request for every claim about an outcome, in both formats; equal requests are one."""
    asked: dict[tuple[str, str, str, Form], list[str]] = {}
    for claim, method, host, path, form in _asked(contract, known):
        asked.setdefault((method, host, path, form), []).append(claim)
    for (method, host, path, fields), claims in asked.items():
        for kind in FORMATS if host == _API else FORMATS[:1]:
            path_in = _with_format(path, kind)
            yield ClaimProbe(f"{claims[0]}.{kind}", tuple(claims), method, host, path_in, fields, kind)


def _asked(contract: Contract, known: Facts) -> Iterator[tuple[str, str, str, str, Form]]:
    """Claim, method, host, path and form of everything that is asked."""
    examples = {example.id: example for example in contract.examples}
    for resource in contract.resources:
        base = _base(resource, contract.examples)
        path = f"/{contract.gate.version}/Accounts/{{account}}/{resource.path}"
        for row in resource.magic:
            form = _with(base, {row.parameter: _example_value(resource, row.parameter, row.value, base)})
            yield f"{resource.resource}.{row.id}", "POST", _API, path, form
        for need in resource.required:
            form = _with(base, dict.fromkeys((need.parameter, *need.alternatives)))
            yield f"{resource.resource}.{need.id}", "POST", _API, path, form
        for example in contract.examples:
            if example.resource == resource.resource:
                yield f"example.{example.id}", "POST", _API, path, example.form
        for sentence in known.sentences:
            if sentence.resource == resource.resource:
                form = _with(examples[sentence.base].form, sentence.form)
                yield sentence.id, "POST", _API, path, form
    for outside in known.outside.resources:
        rule = outside_id("GET", outside.host, outside.path)
        yield rule, "GET", outside.host, _filled(outside.path), ()


def _base(resource: Resource, examples: tuple[Example, ...]) -> Form:
    """The form of the resource's example that succeeds."""
    return next(
        example.form
        for example in examples
        if example.resource == resource.resource and example.expect is None
    )


def _with(form: Form, changes: dict[str, str | None]) -> Form:
    """`form` with fields replaced, added or (None) taken away; AreaCode takes PhoneNumber's place."""
    if "AreaCode" in changes:
        changes = {"PhoneNumber": None, **changes}
    kept = [(name, changes.get(name, value)) for name, value in form]
    kept += [(name, value) for name, value in changes.items() if name not in dict(form)]
    return tuple((name, "x" * 1601 if value == "x*1601" else value) for name, value in kept if value)


def _example_value(resource: Resource, parameter: str, value: str, base: Form) -> str:
    """A value for a row: the row's own, or for "any other" one that no row names."""
    if value != OTHER:
        return value
    sent = dict(base).get(parameter, "")
    named = {row.value for row in resource.magic if row.parameter == parameter}
    if sent and sent not in named:
        return sent
    return "415" if parameter == "AreaCode" else _OTHER_NUMBER


def _filled(path: str) -> str:
    """`path` with sids that do not exist."""
    start, found, rest = path.partition("{sid:")
    return f"{start}{rest[:2]}{'0' * 32}{rest[3:]}" if found else path


def _with_format(path: str, form: Format) -> str:
    return f"{path}.json" if form == "json" and path.startswith("/2010-04-01/") else path
