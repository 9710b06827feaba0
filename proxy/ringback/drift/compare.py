"""Comparison of one observation with everything that the documentation says about it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ringback.contract import Credentials, Decision, Names, admit, rules
from ringback.contract.gate import Refused
from ringback.drift.body import ERROR_NAMES, Body, BodyError, read_body
from ringback.drift.claims import outcome_severity, text_rule
from ringback.drift.fields import (
    DocumentedText,
    SuccessContext,
    check_error,
    check_fields,
    check_headers,
    check_text,
    code_in,
    documented_text,
)
from ringback.drift.observation import (
    Check,
    ClaimDifference,
    Notes,
    OutcomeCheck,
    form_of,
    format_of,
    outside_id,
    plain,
)
from ringback.exchange import error_code

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ringback.contract import Basis, Format
    from ringback.contract.form import Fields
    from ringback.contract.schema import Resource
    from ringback.drift.claims import ClaimSet
    from ringback.drift.observation import Kind, Observation, Severity


_TOO_MANY: Final = 20429
_OUTSIDE: Final = (
    "resource.unsupported",
    "resource.sms-messages",
    "resource.misspelt",
    "resource.product-host",
    "resource.lookup",
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Result of comparing one observation with the claims.

    Attributes:
        observation: What was looked at.
        format: The format that its answer should have.
        checks: Every claim that was looked at.
        outcome: The outcome, for a request to one of the three resources.
        known: What differs from the page and is known to: errata, and fields that recordings have.
        skipped: Why nothing was compared, or an empty string.
    """

    observation: Observation
    format: Format
    checks: tuple[Check, ...] = ()
    outcome: OutcomeCheck | None = None
    known: frozenset[str] = frozenset()
    skipped: str = ""


def compare(claim_set: ClaimSet, observation: Observation) -> Comparison:
    """Hold `observation` against the documentation."""
    contract, request, answer = claim_set.contract, observation.request, observation.answer
    form = format_of(contract, request)
    if not contract.is_twilio(request.host):
        return Comparison(observation, form, skipped="not a request to Twilio")
    look = _Comparer(claim_set, observation, form, Notes())
    unavailable = look.unavailable()
    if unavailable:
        return Comparison(observation, form, skipped=unavailable)
    if answer.status == 401 and observation.who != "proven":
        return Comparison(observation, form, skipped="refused for its credentials (401)")
    passed = admit(contract, plain(request), Names(request.host), Credentials())
    outcome: OutcomeCheck | None = None
    if not isinstance(passed, Refused):
        outcome = look.resource(passed.resource)
    elif passed.refusal.id not in _OUTSIDE:
        return Comparison(observation, form, skipped=f"a request that Ringback refuses ({passed.refusal.id})")
    elif observation.who == "unknown":
        return Comparison(observation, form, skipped="not known whether test credentials asked")
    else:
        look.outside(passed.refusal.basis)
    if contract.is_api(request.host):
        check_headers(claim_set.facts.headers, observation, form, look.notes)
    return Comparison(observation, form, _one_cause(look.notes.checks), outcome, frozenset(look.notes.known))


def _one_cause(checks: Sequence[Check]) -> tuple[Check, ...]:
    """Leave out the Content-Type of a body of another format: it is the same difference once more."""
    body = any(check.specific == "format.body" and check.difference for check in checks)
    return tuple(
        check
        for check in checks
        if not (body and check.difference and check.specific == "header.content-type")
    )


def outcome_kind(documented: int | None, status: int, code: int | None) -> Kind | None:
    """Return how an outcome differs from the documented one, or None.

    Args:
        documented: The documented error code, None for a success.
        status: The HTTP status of the live answer.
        code: The error code of the live answer, None if it has none that can be read.
    """
    if documented is None:
        return "refused" if status >= 400 else None
    if status < 400:
        return "allowed"
    return None if code == documented else "code"


@dataclass(frozen=True, slots=True)
class _Comparer:
    """The comparison of one observation."""

    claim_set: ClaimSet
    observation: Observation
    form: Format
    notes: Notes

    def unavailable(self) -> str:
        """Why this answer says nothing about the API's contract, or an empty string."""
        answer = self.observation.answer
        if answer.status >= 500:
            return f"the API was unavailable (HTTP {answer.status})"
        if answer.status == 429 and error_code(answer.body) == _TOO_MANY:
            return "too many requests (20429)"
        return ""

    def outside(self, basis: Basis) -> None:
        """A resource that test credentials cannot use; `basis` tells how well that is known."""
        request, answer = self.observation.request, self.observation.answer
        refusal = self.claim_set.contract.refusals["resource.unsupported"]
        body, wrong = self._error_body() if answer.status >= 400 else (None, None)
        code = code_in(body.tree) if body else None
        kind: Kind | None = None
        observed = ""
        if answer.status < 400:
            kind, observed = "allowed", f"allowed: HTTP {answer.status}"
        elif answer.status != refusal.status or code not in {refusal.code, None}:  # without one: error.code
            kind, observed = "code", f"HTTP {answer.status}" + (f" with {code}" if code else "")
        documented = f"HTTP {refusal.status} with {refusal.code}"
        path = self.observation.request.path.replace(self.observation.account, "{account}")
        line = self.claim_set.facts.outside.line if basis == "documented" else None
        severity = outcome_severity(basis)
        difference = kind and ClaimDifference(
            kind, severity, f"{request.host}{path}", "", documented, observed, observed, line, basis
        )
        rule = outside_id(request.method, request.host, request.path)
        self.notes.add(rule, difference or None, "resource.unsupported")
        if not difference:
            self._body(wrong)
        if body and not difference:
            self._error(body, refusal.code)
            rule = text_rule(refusal.code, None)
            text = DocumentedText(rule, "*", refusal.message, refusal.message, "recorded")
            known = {"account": self.observation.account}
            check_text(self.claim_set, text, body.tree, known, self.notes)

    def resource(self, resource: Resource) -> OutcomeCheck | None:
        """One of the three resources."""
        answer, form = self.observation.answer, form_of(self.observation.request)
        documented = rules.decide(self.claim_set.contract, resource, form, now=self.observation.when)
        failed = answer.status >= 400
        try:
            body = self._read(resource, failed=failed)
        except BodyError as error:
            body = None
            self._body(str(error))
        else:
            self._body(None)
        code = code_in(body.tree) if body and failed else None
        outcome = None
        if self.observation.who != "unknown":
            outcome = self._outcome(documented, form, code)
            if outcome.difference is not None or body is None:
                return outcome
        if body is None:
            return None
        if failed:
            self._failure(resource, documented, form, body, code)
        else:
            self._success(resource, form, body)
        return outcome

    def _outcome(self, documented: Decision, form: Fields, code: int | None) -> OutcomeCheck:
        status = self.observation.answer.status
        kind = outcome_kind(documented.code, status, code)
        if kind == "code" and code is None:
            kind = None  # the checks of the body and of its field `code` report that
        observed = "succeeds"
        if status >= 400:
            observed = f"fails with {code}" if code else f"fails with HTTP {status}"
        difference = None
        if kind:
            wanted = "succeeds" if documented.code is None else f"fails with {documented.code}"
            difference = ClaimDifference(
                kind,
                self._how_bad(documented, kind),
                documented.resource.resource,
                "",
                wanted,
                observed,
                str(code or status) if status >= 400 else "success",
                documented.line,
                documented.basis,
            )
        seen = None if status < 400 else code or status
        inputs, decided_at = inputs_of(self.claim_set, documented, form)
        name = documented.resource.resource
        order = documented.resource.order
        return OutcomeCheck(
            name, documented.rule, inputs, decided_at, order, documented.code, seen, difference
        )

    def _how_bad(self, documented: Decision, kind: Kind) -> Severity:
        """That a parameter is refused can be documented although its code is not."""
        name = documented.rule.partition(".")[2]
        refused = any(entry.id == name and entry.line for entry in documented.resource.refused)
        return "error" if refused and kind == "allowed" else outcome_severity(documented.basis)

    def _failure(
        self, resource: Resource, documented: Decision, form: Fields, body: Body, code: int | None
    ) -> None:
        """A failure with the documented code, or one whose caller is unknown."""
        self._element(body, "RestException", "error")
        self._error(body, code or documented.code or 0)
        if code is None:
            return
        sent = {name: value for name, value in form if value}
        known: Mapping[str, str] = {name: value for name, value in sent.items() if name in _NUMBERS}
        known = {**known, "account": self.observation.account}
        media = any(name == "MediaUrl" for name in sent)
        text = documented_text(
            self.claim_set, code, resource.resource, {**sent, "channel": "MMS" if media else "SMS"}
        )
        if code == documented.code and documented.message is not None:
            entry = self.claim_set.contract.text(code, resource.resource)
            rule, basis = text_rule(code, entry.resource), documented.text_basis or "assumed"
            name = resource.resource
            text = DocumentedText(rule, name, documented.message, entry.message, basis, entry.line)
        if text is not None:
            check_text(self.claim_set, text, body.tree, known, self.notes)
            status = self.claim_set.contract.text(code, resource.resource).status
            self._status(status, str(code), resource.resource)

    def _success(self, resource: Resource, form: Fields, body: Body) -> None:
        self._element(body, resource.element, resource.resource)
        self._status(201, resource.resource, resource.resource)
        context = SuccessContext(
            resource=resource.resource,
            format=self.form,
            account=self.observation.account,
            form={name: value for name, value in form if value},
            expected=self.claim_set.success(resource, form, self.observation.account),
            errata=[
                erratum for erratum in self.claim_set.facts.errata if erratum.resource == resource.resource
            ],
            judged=self.observation.who != "unknown",
        )
        check_fields(context, resource.answer, body.tree, self.notes)

    def _error(self, body: Body, code: int) -> None:
        check_error(self.claim_set, body.tree, self.observation.answer.status, str(code), self.notes)

    def _status(self, documented: int, narrow: str, resource: str) -> None:
        status = self.observation.answer.status
        difference = None
        if status != documented:
            claim = self.claim_set.claims.get(f"status.{documented}")
            difference = ClaimDifference(
                "status",
                "warning",
                resource,
                "",
                f"HTTP {documented}",
                f"HTTP {status}",
                str(status),
                claim.line if claim else None,
                claim.basis if claim else "recorded",
            )
        self.notes.add(f"status.{documented}.{narrow}", difference, f"status.{documented}")

    def _element(self, body: Body, wanted: str, narrow: str) -> None:
        """XML's outer element."""
        if body.element is None:
            return
        errata = {erratum.element: erratum.id for erratum in self.claim_set.facts.errata if erratum.element}
        difference = None
        if body.element in errata:
            self.notes.known.add(errata[body.element])
        elif body.element != wanted:
            seen = f"<{body.element}>"
            resource = "*" if narrow == "error" else narrow
            line = self.claim_set.claims["format.element"].line
            difference = ClaimDifference(
                "removed", "error", resource, "", f"<{wanted}>", seen, seen, line, "documented"
            )
        self.notes.add(f"format.element.{narrow}", difference, "format.element")

    def _error_body(self) -> tuple[Body | None, str | None]:
        """The body of an error, or what is wrong with it."""
        try:
            return read_body(self.observation.answer.body, self.form, (), ERROR_NAMES), None
        except BodyError as error:
            return None, str(error)

    def _body(self, wrong: str | None) -> None:
        line = self.claim_set.claims["format.body"].line
        difference = wrong and ClaimDifference(
            "type", "error", "*", "", "JSON for .json, else XML", wrong, wrong, line, "documented"
        )
        self.notes.add("format.body", difference or None)

    def _read(self, resource: Resource, *, failed: bool) -> Body:
        data = self.observation.answer.body
        return read_body(data, self.form, () if failed else resource.answer, ERROR_NAMES if failed else {})


_NUMBERS: Final = ("To", "From", "PhoneNumber", "AreaCode")


def inputs_of(
    claim_set: ClaimSet, documented: Decision, form: Fields
) -> tuple[tuple[tuple[str, str], ...], int]:
    """The row of each parameter's value, in the order in which they are looked at, and which one decided."""
    resource = documented.resource
    sent = {name: value for name, value in form if value}
    inputs: list[tuple[str, str]] = []
    decided_at = len(resource.order)
    name = documented.rule.partition(".")[2]
    for place, parameter in enumerate(resource.order):
        row = (
            claim_set.contract.row(resource.resource, parameter, sent[parameter])
            if parameter in sent
            else None
        )
        if row is not None:
            inputs.append((parameter, f"{resource.resource}.{row.id}"))
        if documented.code is None:
            continue
        deciding = row is not None and row.id == name
        needs = [need.id for need in resource.required if need.parameter == parameter]
        needs += [refused.id for refused in resource.refused if refused.parameter == parameter]
        needs += [kind.id for kind in resource.addresses if kind.parameter == parameter]
        malformed = f"{resource.resource}.{parameter.lower()}.malformed"
        if deciding or name in needs or documented.rule == malformed:
            decided_at = place
    return tuple(inputs), decided_at
