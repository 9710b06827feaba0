"""The rules: a form in, the outcome that test credentials would get out. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from ringback.contract import values
from ringback.contract.contract import Decision

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ringback.contract.contract import Contract, Step
    from ringback.contract.form import Fields
    from ringback.contract.schema import MagicRow, Resource
    from ringback.exchange import Basis


class _Call(msgspec.Struct, frozen=True):
    """One decision in the making."""

    contract: Contract
    resource: Resource
    fields: Fields
    form: Mapping[str, str]
    query: str

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
    ) -> Decision:
        text = self.contract.text(code, self.resource.resource)
        media = any(name == "MediaUrl" and sent for name, sent in self.fields)
        known = {"parameter": parameter, "value": value, "channel": "MMS" if media else "SMS"}
        if parameter not in self.form:
            known[parameter] = parameter  # a text about a missing parameter names it
        return Decision(
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


def decide(contract: Contract, resource: Resource, fields: Fields, query: str = "") -> Decision:
    """The outcome for a POST of `fields` to `resource` with test credentials.

    The URL's `query` decides nothing; it can be the reason why a parameter is missing.

    The last of repeated fields counts for parameters that do not repeat (assumed); blank values count as
    absent (documented for Body); unknown parameters are ignored (recorded).
    """
    form = {name: value for name, value in fields if value}
    call = _Call(contract, resource, fields, form, query)
    passed: MagicRow | None = None
    plan = contract.plan(resource)
    for step in plan.turns(form):
        found = _check(call, step)
        if found is None:
            continue
        if isinstance(found, Decision):
            return found
        if passed is None or _tells_more(found, passed):
            passed = found
    row = passed.id if passed else "valid"
    outcome = plan.passing.get(row)
    if outcome is None:
        outcome = plan.passing[row] = _passing(resource, passed)
    return outcome


_WEIGHTS: Final[dict[Basis, int]] = {"documented": 0, "recorded": 1, "assumed": 2, "user": 3}


def _tells_more(row: MagicRow, than: MagicRow) -> bool:
    """Whether a success is due to `row` rather: what is known least decides, then what is most special."""
    more = _WEIGHTS[row.basis] - _WEIGHTS[than.basis]
    return more > 0 or (more == 0 and than.value == "other")


def _passing(resource: Resource, row: MagicRow | None) -> Decision:
    """The outcome of a request that no step refuses, because of `row` if there is one."""
    return Decision(
        resource=resource,
        rule=f"{resource.resource}.{row.id if row else 'valid'}",
        basis=row.basis if row else "assumed",
        line=row.line if row else None,
        reason=row.reason if row else None,
    )


def _check(call: _Call, step: Step) -> Decision | MagicRow | None:
    """The error that a parameter causes, else the row that lets it pass, if there is one."""
    name, parameter, form = step.name, step.parameter, call.form
    if name not in form:
        return _check_absent(call, step)
    if step.refused and not step.magic(form[name]) and not step.other:  # else a user's own row decides
        refused = step.refused[0]
        return call.error(
            refused.error, refused.id, refused.basis, refused.line, parameter=name, reason=refused.reason
        )
    if parameter.unless is not None and parameter.unless in form:
        return None
    return _check_repeated(call, step) if parameter.repeats else _check_value(call, step, form[name])


def _check_repeated(call: _Call, step: Step) -> Decision | MagicRow | None:
    name, parameter = step.name, step.parameter
    sent = [value for field, value in call.fields if field == name and value]
    if parameter.most_error is not None and len(sent) > (parameter.most or 0):
        rule = f"{name.lower()}.too-many"
        return call.error(parameter.most_error, rule, parameter.basis, parameter.line, parameter=name)
    found = (_check_value(call, step, value) for value in sent)
    return next((each for each in found if each is not None), None)


def _check_absent(call: _Call, step: Step) -> Decision | None:
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
                reason=_misplaced(call, (step.name, *need.alternatives)) or need.reason,
            )
    return None


def _misplaced(call: _Call, names: tuple[str, ...]) -> str | None:
    """Where a missing parameter is instead, if it was sent under another name or in another place."""
    wanted = {_folded(name): name for name in names}
    for sent in call.form:
        meant = wanted.get(_folded(sent))
        if meant:
            return f"the form has {sent}, which is no parameter: names are case-sensitive, send {meant}"
    for pair in call.query.split("&"):
        meant = wanted.get(_folded(pair.partition("=")[0]))
        if meant:
            return f"{meant} is in the URL's query, where parameters do not count: send it in the body"
    return None


def _folded(name: str) -> str:
    return name.replace("_", "").lower()


def _check_value(call: _Call, step: Step, value: str) -> Decision | MagicRow | None:
    row = step.magic(value)
    if row is None:
        parameter = step.parameter
        if not values.fits(value, parameter):
            channel = ":" in value and parameter.other_kinds is not None
            return call.error(
                parameter.error,
                f"{step.name.lower()}.malformed",
                "assumed" if channel else parameter.basis,
                None if channel else parameter.line,
                parameter=step.name,
                value=value,
                reason=parameter.other_kinds if channel else None,
            )
        row = step.otherwise(value)
    if row is None or row.error is None:
        return row
    return call.error(
        row.error, row.id, row.basis, row.line, parameter=step.name, value=value, reason=row.reason
    )
