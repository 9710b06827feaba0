"""The rules: a form in, the outcome that test credentials would get out. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import msgspec

from ringback.contract import values
from ringback.contract.contract import WEIGHTS, Decision, weakest
from ringback.exchange import Source

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from ringback.contract.contract import Contract, Plan, Step, Turn
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
    now: datetime | None

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
        row: MagicRow | None = None,
    ) -> Decision:
        text = self.contract.text(code, self.resource.resource)
        channel = "MMS" if "MediaUrl" in self.form else "SMS"
        known = {"parameter": parameter, "value": value, "channel": channel}
        if parameter not in self.form:
            known[parameter] = parameter  # a text about a missing parameter names it
        if text.replaces is not None:  # the page knows another code
            basis, line = weakest([basis, text.basis]), None
        if "{masked}" in text.message:
            known["masked"] = f"{value[:-4]}XXXX"
        return Decision(
            resource=self.resource,
            rule=f"{self.resource.resource}.{rule}",
            basis=basis,
            status=(row and row.status) or text.status,
            code=text.code,
            message=fill(text.message, {**self.form, **known}),
            text_basis=text.basis,
            line=line,
            reason=reason,
            years=text.years,
            delay=row.delay if row else 0,
            headers=tuple(row.headers.items()) if row and row.headers else (),
        )


def fill(template: str, known: Mapping[str, str]) -> str:
    """`template` with each `{name}` replaced once by what is known under it; unknown names become empty."""
    parts = template.split("{")
    filled = [parts[0]]
    for part in parts[1:]:
        name, _, rest = part.partition("}")
        filled += [known.get(name, ""), rest]
    return "".join(filled)


def decide(
    contract: Contract, resource: Resource, fields: Fields, query: str = "", now: datetime | None = None
) -> Decision:
    """The outcome for a POST of `fields` to `resource` with test credentials.

    The last of repeated fields counts for parameters that do not repeat (assumed); blank values count as
    absent (documented for Body); unknown parameters are ignored (recorded).

    Args:
        contract: The contract.
        resource: The resource that is posted to.
        fields: The form.
        query: The URL's query: it decides nothing, and can be the reason why a parameter is missing.
        now: When the request came, for parameters that are held against the clock; without it they are not.
    """
    form = {name: value for name, value in fields if value}
    call = _Call(contract, resource, fields, form, query, now)
    plan = contract.plan(resource)
    turn = plan.turn(form)
    if len(form) == len(fields):
        return _outcome(call, turn)
    outcome = _outcome(call, turn)  # something is blank or comes twice
    if outcome.code is None:
        outcome = _check_blank(call, plan) or outcome
    return _of_repeated(call, outcome)


def _of_repeated(call: _Call, outcome: Decision) -> Decision:
    """`outcome` as an assumption where a parameter that does not repeat was sent more than once."""
    parameters = call.resource.parameters
    count = Counter(name for name, value in call.fields if value)
    twice = [name for name, times in count.items() if times > 1]
    named = [name for name in twice if name in parameters and not parameters[name].repeats]
    if not named or outcome.basis == "user":
        return outcome
    known = f"{', '.join(named)} came more than once: assumed that the last one counts"
    reason = _joined(outcome.reason, known)
    return msgspec.structs.replace(outcome, basis="assumed", reason=reason, source=None)


def _outcome(call: _Call, turn: Turn) -> Decision:
    """The outcome, taking each parameter in its turn."""
    passed: MagicRow | None = None
    doubt: Doubt | None = None
    for step in turn.steps:
        found = _check(call, step)
        if found is None:
            continue
        if isinstance(found, Decision):
            return found
        if isinstance(found, Doubt):
            doubt = found if doubt is None or found.basis == "user" else doubt
        elif passed is None or _informs_more(found, passed):
            passed = found
    row = passed.id if passed else "valid"
    outcome = turn.passing.get(row)
    if outcome is None:
        outcome = turn.passing[row] = _passing(call.contract, call.resource, passed, turn)
    if doubt is not None or len(turn.names) != len(call.form):
        return _doubted(outcome, doubt, [name for name in call.form if name not in turn.names])
    return outcome


class Doubt(msgspec.Struct, frozen=True):
    """A value that passes without anybody having reported that it does.

    Attributes:
        basis: `assumed`, or `user` where the user said that it shall pass.
        reason: The value's peculiarity.
    """

    basis: Basis
    reason: str


def _informs_more(row: MagicRow, than: MagicRow) -> bool:
    """Prefer the weakest basis, then the row for every other value: it says what was not checked."""
    more = WEIGHTS[row.basis] - WEIGHTS[than.basis]
    return more > 0 or (more == 0 and than.value == "other")


def _passing(contract: Contract, resource: Resource, row: MagicRow | None, turn: Turn) -> Decision:
    """The decision for a request that no step refuses: its weakest part gives the basis, and is named."""
    basis: Basis = weakest([row.basis, turn.basis]) if row else "assumed"
    reason = row.reason if row else None
    if turn.unproven and basis == "assumed":
        names = ", ".join(turn.unproven)
        reason = _joined(reason, f"nobody reported how test credentials take {names}: assumed to pass")
    if contract.account == "trial" and "Body" in turn.names:
        basis = weakest([basis, "recorded"])
        reason = _joined(reason, "a trial account's notice stands before the body, as recorded 2016-2018")
    rule = f"{resource.resource}.{row.id if row else 'valid'}"
    line = row.line if row else None
    return Decision(
        resource=resource,
        rule=rule,
        basis=basis,
        line=line,
        reason=reason,
        source=Source("contract", rule, basis, reason, line, page=contract.page_name(line)),
        delay=row.delay if row else 0,
        headers=tuple(row.headers.items()) if row and row.headers else (),
    )


def _joined(*reasons: str | None) -> str:
    return "; ".join([reason for reason in reasons if reason])


def _doubted(outcome: Decision, doubt: Doubt | None, unknown: list[str]) -> Decision:
    """`outcome` with the basis and the reason of what else the request has.

    Source: recorded; `MediaUrl0` was ignored.
    """
    bases: list[Basis] = [outcome.basis]
    reasons = [outcome.reason] if outcome.reason else []
    if doubt is not None:
        bases.append(doubt.basis)
        reasons.append(doubt.reason)
    if unknown:
        bases.append("recorded")
        shown = ", ".join(ascii(name[:40])[1:-1] for name in unknown[:5])
        reasons.append(f"no parameter of {outcome.resource.resource}, so ignored: {shown}")
    return msgspec.structs.replace(outcome, basis=weakest(bases), reason="; ".join(reasons), source=None)


def _check_blank(call: _Call, plan: Plan) -> Decision | None:
    """The error of a parameter that is sent blank where blank is not absent."""
    for step in plan.blank:
        sent = [value for name, value in call.fields if name == step.name]
        if sent and not all(sent) and step.parameter.blank is not None:
            return call.error(
                step.parameter.blank,
                f"{step.name.lower()}.blank",
                step.parameter.basis,
                step.parameter.line,
                parameter=step.name,
                reason=f"{step.name} was sent blank: leave it out",
            )
    return None


def _check(call: _Call, step: Step) -> Decision | MagicRow | Doubt | None:
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
    for condition in step.conditions:
        if condition.needs not in form:
            return call.error(
                *(condition.error, condition.id, condition.basis, condition.line),
                parameter=name,
                value=form[name],
                reason=condition.reason,
            )
    return _check_repeated(call, step) if parameter.repeats else _check_value(call, step, form[name])


def _check_repeated(call: _Call, step: Step) -> Decision | MagicRow | Doubt | None:
    name, parameter = step.name, step.parameter
    sent = [value for field, value in call.fields if field == name and value]
    if parameter.most_error is not None and len(sent) > (parameter.most or 0):
        rule = f"{name.lower()}.too-many"
        return call.error(parameter.most_error, rule, "assumed", None, parameter=name)
    found = [each for each in (_check_value(call, step, value) for value in sent) if each is not None]
    return next((each for each in found if isinstance(each, Decision)), found[0] if found else None)


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
    """Return the place of a missing parameter, if it was sent under another name or in another place."""
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


def _check_value(call: _Call, step: Step, value: str) -> Decision | MagicRow | Doubt | None:
    found: Decision | Doubt | None = None
    if step.parameter.type == "address":
        row, kind = step.place(value)
        if row is None:
            if kind is None or kind in step.addresses:
                found = _check_address(call, step, value, kind)
            row = step.for_kind(kind)
    elif (row := step.magic(value)) is None:
        found = _check_type(call, step, value)
        row = step.other
    if row is None or isinstance(found, Decision):
        return found
    if row.times is not None and not call.contract.counts(call.resource.resource, row):
        return msgspec.structs.replace(row, error=None, delay=0, headers={}, reason=None)
    if row.error is None:
        return row
    return call.error(
        row.error, row.id, row.basis, row.line, parameter=step.name, value=value, reason=row.reason, row=row
    )


def _check_type(call: _Call, step: Step, value: str) -> Decision | Doubt | None:
    """The error of a value that is not of its parameter's type, or what is not known of one that is."""
    parameter = step.parameter
    if parameter.type == "url":
        return _check_url(call, step, value)
    if not values.fits(value, parameter):
        return _malformed(call, step, value)
    if parameter.latest is not None:
        return _check_date(call, step, value)
    return None if value.isascii() and not value.isspace() else _odd_text(step, value)


def _odd_text(step: Step, value: str) -> Doubt | None:
    """The doubt about a text that nobody reported: white space alone, or odd characters at the limit."""
    longest = step.parameter.max_length
    if value.isspace():
        return Doubt("assumed", f"{step.name} is white space alone: assumed not to be taken for blank")
    if longest is None or values.utf16_length(value) <= longest:
        return None
    sizes = f"{len(value)} characters in {values.utf16_length(value)} UTF-16 units"
    return Doubt("assumed", f"{step.name} has {sizes}: assumed that Twilio counts the characters")


def _check_date(call: _Call, step: Step, value: str) -> Decision | Doubt | None:
    """The error of a date that is too near or too far from now."""
    parameter, wanted = step.parameter, values.moment(value)
    if wanted is None or parameter.earliest is None or parameter.latest is None:
        return None
    if call.now is None:
        return Doubt("assumed", f"{step.name} is not held against the clock here, so that answers repeat")
    ahead = (wanted - call.now).total_seconds()
    if parameter.earliest <= ahead <= parameter.latest:
        return None
    allowed = f"{parameter.earliest // 60} minutes to {parameter.latest // 86400} days"
    return _malformed(call, step, value, f"{step.name} must be {allowed} ahead, this is {ahead:.0f} seconds")


def _malformed(call: _Call, step: Step, value: str, reason: str | None = None) -> Decision:
    parameter = step.parameter
    return call.error(
        parameter.error,
        f"{step.name.lower()}.malformed",
        parameter.basis,
        parameter.line,
        parameter=step.name,
        value=value,
        reason=reason or values.advice(parameter),
    )


_ODD: Final = ("channel", "malformed")


def _kind_of_none(step: Step, value: str) -> str:
    """The kind that an address which is none has a row for: that of its channel, if the channel is known."""
    if ":" not in value:
        return "malformed"
    name = values.channel(value)
    return name if name in step.parameter.kinds else "channel"


def _check_address(call: _Call, step: Step, value: str, kind: str | None) -> Decision | None:
    """The error of an address that is none, or of a kind that has a row of its own."""
    row = step.addresses.get(kind or _kind_of_none(step, value)) if step.addresses else None
    if row is not None and (
        row.unless_same is None or values.channel(call.form.get(row.unless_same, "")) != values.channel(value)
    ):
        known = kind is not None or row.kind in _ODD
        return call.error(
            *(row.error, row.id, row.basis if known else "assumed", row.line if known else None),
            parameter=step.name,
            value=value,
            reason=row.reason,
        )
    if kind is not None:
        return None
    parameter = step.parameter
    if ":" in value and parameter.other_kinds is not None:
        rule = f"{step.name.lower()}.malformed"
        return call.error(
            *(parameter.error, rule, "assumed", None),
            parameter=step.name,
            value=value,
            reason=parameter.other_kinds,
        )
    return _malformed(call, step, value)


def _check_url(call: _Call, step: Step, value: str) -> Decision | Doubt | None:
    judged = values.judge_url(value)
    if judged.fault is None:
        return Doubt("assumed", judged.doubt) if judged.doubt else None
    if judged.local and call.contract.local_urls:
        return Doubt("user", f"{step.name} passes because local URLs are allowed: {judged.fault}")
    reported = judged.kind in step.parameter.reported
    return call.error(
        step.parameter.error,
        f"{step.name.lower()}.malformed",
        step.parameter.basis if reported else "assumed",
        step.parameter.line if reported else None,
        parameter=step.name,
        value=value,
        reason=judged.fault if reported else f"{judged.fault} (assumed, nobody reported it of {step.name})",
    )
