"""Contract: the data of the three resources, with the lookups that the rules need."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Final

import msgspec

from ringback.contract import values
from ringback.contract.schema import BUILT, Shipped
from ringback.contract.templates import Template, compile_template
from ringback.exchange import cached_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ringback.contract.schema import (
        AccountKind,
        AddressKind,
        AddressRow,
        Condition,
        Erratum,
        ErrorText,
        Example,
        Format,
        Gate,
        MagicRow,
        Page,
        Parameter,
        Refusal,
        RefusedParameter,
        Requirement,
        Resource,
        Texts,
    )
    from ringback.exchange import Basis, Source

OTHER = "other"
NO_NUMBER = "no-number"
_PLACEHOLDERS = ("parameter", "value", "channel", "masked")
_VARYING = ("$request_id", "$duration")  # what the headers' values may refer to
_PLANS = 1024  # sets of parameters for which it is remembered which steps they take
_HOSTS = 1024  # host names of which it is remembered whether they are Twilio's
_DOTS = str.maketrans("\u3002\uff0e\uff61", "...", "\u00ad\u200b\u200c\u200d\u2060\ufeff")


class ContractError(Exception):
    """A contract file that cannot be used; the message names the file, the line and what was expected."""


class Decision(msgspec.Struct, frozen=True):
    """Result of the rules for one request, before it is written as JSON or XML.

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
        years: The years in which the wire text was recorded or quoted.
        delay: Seconds before the answer is sent.
        headers: Header fields added to the answer.
        source: The answer's provenance where it is made already.
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
    years: str | None = None
    delay: float = 0
    headers: tuple[tuple[str, str], ...] = ()
    source: Source | None = None


WEIGHTS: Final[dict[Basis, int]] = {"documented": 0, "recorded": 1, "assumed": 2, "user": 3}


def weakest(bases: Iterable[Basis]) -> Basis:
    """Return the least certain of `bases`; a user's own decision counts before all; `documented` for none."""
    return max(bases, key=WEIGHTS.__getitem__, default="documented")


@dataclass(frozen=True, slots=True)
class Citation:
    """A place on the documentation page, for people who do not have its text.

    Attributes:
        anchor: The section's anchor on the public page; `top` for the part before the first heading.
        section: The section's heading.
        says: The line in this project's words, or an empty string for a line of a sample.
        page: The public page's URL.
        edition: The edition that the contract follows.
        confirmed: Whether somebody saw the anchor on the public page.
    """

    anchor: str
    section: str
    says: str
    page: str
    edition: str
    confirmed: bool = True

    @property
    def url(self) -> str:
        """The section's URL."""
        return self.page if self.anchor == "top" else f"{self.page}#{self.anchor}"

    def __str__(self) -> str:
        """`Test Sending an SMS, To: To +15005550009: cannot receive SMS, 21614`."""
        return f"{self.section}: {self.says}" if self.says else self.section


@dataclass(frozen=True, slots=True)
class Step:
    """One parameter's turn when a request is decided.

    Attributes:
        name: The parameter.
        parameter: What it must be.
        refused: The entries that refuse it.
        required: The entries that require it.
        rows: The page's rows for it, by the normalised value.
        other: The row for every other value, or None.
        no_number: The same for an address that is no number, where the page speaks of numbers alone.
        addresses: The rows of kinds of address.
        conditions: What it needs beside it.
        place: Gives the row for an address, or else its kind, which is None for what is no address.
    """

    name: str
    parameter: Parameter
    refused: tuple[RefusedParameter, ...]
    required: tuple[Requirement, ...]
    rows: dict[str, MagicRow]
    other: MagicRow | None
    no_number: MagicRow | None
    addresses: dict[str, AddressRow]
    conditions: tuple[Condition, ...]
    place: Callable[[str], tuple[MagicRow | None, AddressKind | None]] = field(
        init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "place", cached_text(self._place))  # clients use the same addresses again

    def magic(self, value: str) -> MagicRow | None:
        """The page's row for this very value, after normalising it."""
        return self.rows.get(key_of(value, self.parameter)) if self.rows else None

    def _place(self, value: str) -> tuple[MagicRow | None, AddressKind | None]:
        row = self.magic(value)
        return row, None if row else values.address_kind(value, self.parameter)

    def otherwise(self, value: str) -> MagicRow | None:
        """The row for `value`, which is none that has a row of its own."""
        if self.no_number is not None:
            return self.for_kind(values.address_kind(value, self.parameter))
        return self.other

    def for_kind(self, kind: str | None) -> MagicRow | None:
        """The row for an address of this kind that has no row of its own."""
        return self.other if kind == "number" or self.no_number is None else self.no_number


class Turn:
    """The steps of one set of parameters.

    Args:
        steps: The steps, in order.
        names: The resource's parameters that were sent.

    Attributes:
        steps: The steps, in order.
        basis: How well it is known that test credentials take these parameters.
        unproven: The parameters of which that is an assumption.
        names: The resource's parameters that were sent.
        passing: The decisions for requests that no step refuses, by the row that let them pass.
    """

    def __init__(self, steps: tuple[Step, ...], names: frozenset[str]) -> None:
        self.steps = steps
        self.names = names
        sent = [step for step in steps if step.name in names]
        self.basis: Basis = weakest(step.parameter.passes for step in sent)
        self.unproven = tuple(step.name for step in sent if step.parameter.passes == "assumed")
        self.passing: dict[str, Decision] = {}


class Plan:
    """The order in which a resource's parameters are decided.

    Args:
        steps: All of them, in order.

    Attributes:
        blank: The parameters whose blank value is an error.
    """

    def __init__(self, steps: tuple[Step, ...]) -> None:
        self.blank = tuple(step for step in steps if step.parameter.blank is not None)
        self._steps = steps
        self._known = frozenset(step.name for step in steps)
        self._made: dict[frozenset[str], Turn] = {}

    def turn(self, sent: Mapping[str, str]) -> Turn:
        """The steps of the parameters in `sent`, and those that count even if their parameter is absent."""
        names = self._known.intersection(sent)
        made = self._made.get(names)
        if made is None:
            if len(self._made) >= _PLANS:
                self._made.clear()
            made = Turn(tuple([step for step in self._steps if step.required or step.name in names]), names)
            self._made[names] = made
        return made


@dataclass(frozen=True)
class Contract:
    """The documentation as data.

    Attributes:
        resources: The three resources.
        errors: Every error text.
        gate: Hosts, refusals and what every answer carries.
        examples: The page's eight examples.
        errata: The page's own mistakes.
        page: The page's sections and facts, or None.
        newer: Texts that live credentials get today; answered where `texts` is `newest`.
        texts: Which texts are answered.
        account: The kind of account; a trial account's messages begin with a notice.
        local_urls: Let URLs pass that are not public.

    Raises:
        ValueError: A row names an error code without a text, or an example an erratum that is not there.
    """

    resources: tuple[Resource, ...]
    errors: tuple[ErrorText, ...]
    gate: Gate
    examples: tuple[Example, ...] = ()
    errata: tuple[Erratum, ...] = ()
    page: Page | None = None
    newer: tuple[ErrorText, ...] = ()
    texts: Texts = "certain"
    account: AccountKind = "upgraded"
    local_urls: bool = False
    by_path: dict[str, Resource] = field(init=False, repr=False, compare=False)
    refusals: dict[str, Refusal] = field(init=False, repr=False, compare=False)
    api_host: re.Pattern[str] = field(init=False, repr=False, compare=False)
    twilio_host: re.Pattern[str] = field(init=False, repr=False, compare=False)
    headers: tuple[tuple[str, str], ...] = field(init=False, repr=False, compare=False)
    varying_headers: tuple[tuple[int, str, str], ...] = field(init=False, repr=False, compare=False)
    _plans: dict[str, Plan] = field(init=False, repr=False, compare=False)
    _templates: dict[tuple[str, Format], Template] = field(init=False, repr=False, compare=False)
    _api: Callable[[str], bool] = field(init=False, repr=False, compare=False)
    _twilio: Callable[[str], bool] = field(init=False, repr=False, compare=False)
    _texts: dict[tuple[int, str | None, str | None], ErrorText] = field(init=False, repr=False, compare=False)
    _steps: dict[tuple[str, str], Step] = field(init=False, repr=False, compare=False)
    _citations: dict[int, Citation] = field(init=False, repr=False, compare=False)
    _anchors: dict[int, str | None] = field(init=False, repr=False, compare=False)
    _newest: dict[tuple[int, str | None], ErrorText] = field(init=False, repr=False, compare=False)
    _counted: Counter[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        def put(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        put("by_path", {resource.path: resource for resource in self.resources})
        put("refusals", {refusal.id: refusal for refusal in self.gate.refusals})
        put("api_host", re.compile(self.gate.hosts.api))
        put("twilio_host", re.compile(self.gate.hosts.product))
        put("_texts", {(text.code, text.resource, text.variant): text for text in self.errors})
        put("headers", tuple(self.gate.headers.items()))
        varying = [(place, *pair) for place, pair in enumerate(self.headers) if pair[1] in _VARYING]
        put("varying_headers", tuple(varying))
        steps = {resource.resource: _steps(resource) for resource in self.resources}
        put("_steps", {(owner, step.name): step for owner, made in steps.items() for step in made})
        put("_plans", {owner: Plan(made) for owner, made in steps.items()})
        formats: tuple[Format, ...] = ("json", "xml")
        put(
            "_templates",
            {
                (each.resource, kind): compile_template(each, kind)
                for each in self.resources
                for kind in formats
            },
        )
        put("_citations", {})
        put("_anchors", {})
        newest = self.newer if self.texts == "newest" else ()
        put("_newest", {(text.replaces or text.code, text.resource): text for text in newest})
        put("_counted", Counter())
        put("_api", lru_cache(_HOSTS)(lambda host: self.api_host.fullmatch(host) is not None))
        put("_twilio", lru_cache(_HOSTS)(self._reaches_twilio))
        self._check()

    def plan(self, resource: Resource) -> Plan:
        """The order in which the parameters of `resource` are decided."""
        return self._plans[resource.resource]

    def template(self, resource: Resource, answer_format: Format) -> Template:
        """The success body of `resource`."""
        return self._templates[resource.resource, answer_format]

    def outcome_row(self, resource: str, form: Mapping[str, str]) -> MagicRow | None:
        """The row that says how a message or call with this form ends, an exact value first; or None."""
        found = None
        described = self.resource(resource)
        for row in described.magic:
            if row.outcome is None or not (value := form.get(row.parameter)):
                continue
            parameter = described.parameters[row.parameter]
            if row.value == OTHER:
                found = found or row
            elif key_of(row.value, parameter) == key_of(value, parameter):
                return row
        return found

    def resource(self, name: str) -> Resource:
        """The resource called `name`.

        Raises:
            KeyError: There is none.
        """
        for resource in self.resources:
            if resource.resource == name:
                return resource
        raise KeyError(name)

    def magic(self, resource: str, parameter: str, value: str) -> MagicRow | None:
        """The row for this very value, after normalising it; None when the page has none."""
        step = self._steps.get((resource, parameter))
        return step.magic(value) if step else None

    def row(self, resource: str, parameter: str, value: str) -> MagicRow | None:
        """The row that decides on `value`, its own or the one for other values; None when there is none."""
        step = self._steps.get((resource, parameter))
        return (step.magic(value) or step.otherwise(value)) if step else None

    def text(self, code: int | str, resource: str | None = None) -> ErrorText:
        """The text of an error code (`21211`, or with a variant `21205/malformed`) for `resource`.

        Raises:
            KeyError: The contract has no text for it.
        """
        number, _, variant = str(code).partition("/")
        if self._newest and not variant:
            newer = self._newest.get((int(number), resource)) or self._newest.get((int(number), None))
            if newer is not None:
                return newer
        for owner in (resource, None):
            found = self._texts.get((int(number), owner, variant or None))
            if found:
                return found
        raise KeyError(code)

    def counts(self, resource: str, row: MagicRow) -> bool:
        """Tell that `row` counts once more; one with `times` stops to count after that many requests."""
        if row.times is None:
            return True
        key = f"{resource}.{row.id}"
        self._counted[key] += 1
        return self._counted[key] <= row.times

    def cite(self, line: int) -> Citation:
        """Return the citation of a line of the page: its section, anchor and fact.

        Raises:
            KeyError: The page has no section with this line.
        """
        found = self._citations.get(line)
        if found is None:
            if self.page is None:
                raise KeyError(line)
            around = [each for each in self.page.sections if each.first <= line <= each.last]
            if not around:
                raise KeyError(line)
            section = min(around, key=lambda each: each.last - each.first)
            says = next((fact.says for fact in self.page.facts if fact.line == line), "")
            place = (section.id or "top", section.title, says, self.page.url, self.page.edition)
            found = Citation(*place, section.confirmed)
            self._citations[line] = found
        return found

    def page_name(self, line: int | None) -> str | None:
        """Return the anchor of the section that holds `line`, short enough for a header, or None."""
        if line is None:
            return None
        if line not in self._anchors:
            try:
                self._anchors[line] = self.cite(line).anchor
            except KeyError:
                self._anchors[line] = None
        return self._anchors[line]

    def is_api(self, host: str) -> bool:
        """Report whether `host` (lower case, no port) is Twilio's REST API, in any region or edge."""
        return self._api(host)

    def is_twilio(self, host: str) -> bool:
        """Report whether `host` (lower case, no port) is Twilio's, also where a resolver would map it there.

        Looking a name up turns full-width letters and other dots into ASCII (IDNA), and any label below
        twilio.com is Twilio's, whatever characters it has.
        """
        return self._twilio(host)

    def _reaches_twilio(self, host: str) -> bool:
        plain = host if host.isascii() else unicodedata.normalize("NFKC", host).casefold().translate(_DOTS)
        return self.twilio_host.fullmatch(plain) is not None

    def _check(self) -> None:
        for resource in self.resources:
            entries: tuple[MagicRow | Requirement | RefusedParameter | AddressRow | Condition, ...] = (
                *resource.magic,
                *resource.required,
                *resource.refused,
                *resource.addresses,
                *resource.conditions,
            )
            codes: list[tuple[str, int | str | None]] = [(entry.id, entry.error) for entry in entries]
            codes += [(name, parameter.error) for name, parameter in resource.parameters.items()]
            for name, parameter in resource.parameters.items():
                codes += [(name, parameter.most_error), (name, parameter.blank)]
            for name, code in codes:
                if code is not None:
                    self._check_text(resource.resource, name, code)
            unknown = [entry.parameter for entry in entries if entry.parameter not in resource.parameters]
            if unknown:
                raise ValueError(f"{resource.resource} has rows for unknown parameters: {', '.join(unknown)}")
        known = {erratum.id for erratum in self.errata}
        for example in self.examples:
            missing = set(example.errata) - known
            if missing:
                raise ValueError(f"example {example.id} names unknown errata: {', '.join(sorted(missing))}")

    def _check_text(self, resource: str, name: str, code: int | str) -> None:
        try:
            text = self.text(code, resource)
        except KeyError:
            advice = f"add {{code: {code}, message: ...}} to errors"
            raise ValueError(f"{resource} {name} answers {code}, which has no text: {advice}") from None
        known = (*_PLACEHOLDERS, *self.resource(resource).parameters)
        for placeholder in re.findall(r"\{([A-Za-z]\w*)\}", text.message):
            if placeholder not in known:
                known_are = f"known are the parameters, e.g. {{To}}, and {', '.join(_PLACEHOLDERS)}"
                raise ValueError(f"the text of {code} for {resource} has {{{placeholder}}}; {known_are}")


def _steps(resource: Resource) -> tuple[Step, ...]:
    named = [name for name in resource.order if name in resource.parameters]
    rest = [name for name in resource.parameters if name not in resource.order]
    rows = {name: [row for row in resource.magic if row.parameter == name] for name in resource.parameters}
    others = {name: next((row for row in rows[name] if row.value == OTHER), None) for name in rows}
    return tuple(
        Step(
            name,
            resource.parameters[name],
            tuple(entry for entry in resource.refused if entry.parameter == name),
            tuple(entry for entry in resource.required if entry.parameter == name),
            {key_of(row.value, resource.parameters[name]): row for row in rows[name] if row.value != OTHER},
            others[name],
            no_number(resource.parameters[name], others[name]),
            _addresses(resource, name, others[name]),
            tuple(entry for entry in resource.conditions if entry.parameter == name),
        )
        for name in (*named, *rest)
    )


def _addresses(resource: Resource, name: str, other: MagicRow | None) -> dict[str, AddressRow]:
    """The rows of kinds of address; a user's own row for every other value means these too."""
    if other is not None and other.basis != "documented":
        return {}
    return {row.kind: row for row in resource.addresses if row.parameter == name}


def key_of(value: str, parameter: Parameter) -> str:
    """The form in which values of `parameter` are compared: two ways of writing one number are one value."""
    return values.magic_key(value) if parameter.type == "address" else value.strip()


def no_number(parameter: Parameter, other: MagicRow | None) -> MagicRow | None:
    """The row for addresses that are no numbers; a user's own row for every other value means them too."""
    if other is None or other.basis != "documented" or parameter.other_kinds is None:
        return None
    return msgspec.structs.replace(
        other,
        id=f"{other.id.rpartition('.')[0]}.{NO_NUMBER}",
        basis="assumed",
        line=None,
        reason=parameter.other_kinds,
    )


@cache
def documented() -> Contract:
    """The contract that ships with the project."""
    data = BUILT.read_bytes()
    shipped = msgspec.json.decode(data, type=Shipped)
    return Contract(**msgspec.structs.asdict(shipped))
