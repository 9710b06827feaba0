"""The rules: a form in, the outcome that test credentials would get out. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ringback.contract import values

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ringback.contract.compiled import Contract, Step
    from ringback.contract.exchange import Basis
    from ringback.contract.form import Fields
    from ringback.contract.model import MagicRow, Parameter, Resource


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a request gets.

    Attributes:
        resource: Which of the three resources.
        rule: Id of the row or rule that decided, with the resource before it.
        basis: How well this outcome is known.
        status: HTTP status.
        code: Twilio's error code, or None for success.
        message: The wire text of the error, or None.
        text_basis: How well the wire text is known.
        line: The line of the page, if it speaks of this.
        reason: What a user can do about it, where the bare code would mislead.
    """

    resource: Resource
    rule: str
    basis: Basis
    status: int = 201
    code: int | None = None
    message: str | None = None
    text_basis: Basis | None = None
    line: int | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class _Call:
    """One decision in the making."""

    contract: Contract
    resource: Resource
    fields: Fields
    form: Mapping[str, str]

    def error(  # noqa: PLR0913 - the six are what an outcome tells
        self,
        code: int | str,
        rule: str,
        basis: Basis,
        line: int | None,
        *,
        parameter: str,
        value: str = "",
        reason: str | None = None,
    ) -> Outcome:
        text = self.contract.text(code, self.resource.resource)
        media = any(name == "MediaUrl" and sent for name, sent in self.fields)
        known = {"parameter": parameter, "value": value, "channel": "MMS" if media else "SMS"}
        if parameter not in self.form:
            known[parameter] = parameter  # a text about a missing parameter names it
        return Outcome(
            resource=self.resource,
            rule=f"{self.resource.resource}.{rule}",
            basis=basis,
            status=text.status,
            code=text.code,
            message=fill(text.message, {**self.form, **known}),
            text_basis=text.basis,
            line=line,
            reason=reason,
        )


def fill(template: str, known: Mapping[str, str]) -> str:
    """`template` with each `{name}` replaced once by what is known under it; unknown names become empty."""
    parts = template.split("{")
    filled = [parts[0]]
    for part in parts[1:]:
        name, _, rest = part.partition("}")
        filled += [known.get(name, ""), rest]
    return "".join(filled)


def decide(contract: Contract, resource: Resource, fields: Fields) -> Outcome:
    """The outcome for a POST of `fields` to `resource` with test credentials.

    The last of repeated fields counts for parameters that do not repeat (assumed); blank values count as
    absent (documented for Body); unknown parameters are ignored (recorded).
    """
    form = {name: value for name, value in fields if value}
    call = _Call(contract, resource, fields, form)
    passed: MagicRow | None = None
    plan = contract.plan(resource)
    position = plan.position
    for number in sorted(plan.always.union([position[name] for name in form if name in position])):
        found = _check(call, plan.steps[number])
        if isinstance(found, Outcome):
            return found
        if found is not None and (passed is None or passed.value == "other"):
            passed = found
    return Outcome(
        resource=resource,
        rule=f"{resource.resource}.{passed.id if passed else 'valid'}",
        basis=passed.basis if passed else "assumed",
        line=passed.line if passed else None,
    )


def _check(call: _Call, step: Step) -> Outcome | MagicRow | None:
    """The error that a parameter causes, else the row that lets it pass, if there is one."""
    name, parameter, form = step.name, step.parameter, call.form
    if name not in form:
        return _check_absent(call, step)
    for refused in step.refused:
        return call.error(
            refused.error, refused.id, refused.basis, refused.line, parameter=name, reason=refused.reason
        )
    if parameter.unless is not None and parameter.unless in form:
        return None
    sent = [value for field, value in call.fields if field == name and value]
    if parameter.most_error is not None and len(sent) > (parameter.most or 0):
        rule = f"{name.lower()}.too-many"
        return call.error(parameter.most_error, rule, parameter.basis, parameter.line, parameter=name)
    for value in sent if parameter.repeats else sent[-1:]:
        found = _check_value(call, name, parameter, value)
        if found is not None:
            return found
    return None


def _check_absent(call: _Call, step: Step) -> Outcome | None:
    """The error that a parameter causes by not being there."""
    for need in step.required:
        if not any(other in call.form for other in need.alternatives):
            return call.error(
                need.error,
                need.id,
                need.basis,
                need.line,
                parameter=step.name,
                value=step.name,
                reason=need.reason,
            )
    return None


def _check_value(call: _Call, name: str, parameter: Parameter, value: str) -> Outcome | MagicRow | None:
    row = call.contract.magic(call.resource.resource, name, value)
    if row is None:
        if not values.fits(value, parameter):
            return call.error(
                parameter.error,
                f"{name.lower()}.malformed",
                parameter.basis,
                parameter.line,
                parameter=name,
                value=value,
            )
        row = call.contract.other(call.resource.resource, name)
    if row is None or row.error is None:
        return row
    return call.error(row.error, row.id, row.basis, row.line, parameter=name, value=value, reason=row.reason)
