"""The contract as the rules read it: the data, and the lookups made from it once."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from ringback.contract.numbers import magic_key
from ringback.contract.templates import Template, compile_template

if TYPE_CHECKING:
    from collections.abc import Callable

    from ringback.contract.gate import Format
    from ringback.contract.model import (
        Erratum,
        ErrorText,
        Example,
        Gate,
        MagicRow,
        Parameter,
        Refusal,
        Refused,
        Requirement,
        Resource,
    )

OTHER = "other"
_PLACEHOLDERS = ("parameter", "value", "channel")
_VARYING = ("$request_id", "$duration")  # what the headers' values may refer to
_HOSTS = 1024  # host names of which it is remembered whether they are Twilio's
_DOTS = str.maketrans("\u3002\uff0e\uff61", "...", "\u00ad\u200b\u200c\u200d\u2060\ufeff")


@dataclass(frozen=True, slots=True)
class Step:
    """One parameter's turn when a request is decided.

    Attributes:
        name: The parameter.
        parameter: What it must be.
        refused: The entries that refuse it.
        required: The entries that require it.
    """

    name: str
    parameter: Parameter
    refused: tuple[Refused, ...]
    required: tuple[Requirement, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """The order in which a resource's parameters are decided.

    Attributes:
        steps: All of them.
        position: Where each parameter's step is.
        always: The steps that count even if their parameter is absent.
    """

    steps: tuple[Step, ...]
    position: dict[str, int]
    always: frozenset[int]


@dataclass(frozen=True)
class Contract:
    """The documentation as data.

    Attributes:
        resources: The three resources.
        errors: Every error text.
        gate: Hosts, refusals and what every answer carries.
        examples: The page's eight examples.
        errata: The page's own mistakes.

    Raises:
        ValueError: A row names an error code without a text, or an example an erratum that is not there.
    """

    resources: tuple[Resource, ...]
    errors: tuple[ErrorText, ...]
    gate: Gate
    examples: tuple[Example, ...] = ()
    errata: tuple[Erratum, ...] = ()
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
    _magic: dict[tuple[str, str, str], MagicRow] = field(init=False, repr=False, compare=False)
    _with_rows: frozenset[tuple[str, str]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        def put(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        put("by_path", {resource.path: resource for resource in self.resources})
        put("refusals", {refusal.id: refusal for refusal in self.gate.refusals})
        put("api_host", re.compile(self.gate.hosts.api))
        put("twilio_host", re.compile(self.gate.hosts.product))
        put("_texts", {(text.code, text.resource, text.variant): text for text in self.errors})
        put(
            "_magic",
            {
                (
                    resource.resource,
                    row.parameter,
                    row.value if row.value == OTHER else magic_key(row.value),
                ): row
                for resource in self.resources
                for row in resource.magic
            },
        )
        put("_with_rows", frozenset((resource, parameter) for resource, parameter, _ in self._magic))
        put("headers", tuple(self.gate.headers.items()))
        varying = [(place, *pair) for place, pair in enumerate(self.headers) if pair[1] in _VARYING]
        put("varying_headers", tuple(varying))
        put("_plans", {resource.resource: _plan(resource) for resource in self.resources})
        formats: tuple[Format, ...] = ("json", "xml")
        put(
            "_templates",
            {
                (each.resource, kind): compile_template(each, kind)
                for each in self.resources
                for kind in formats
            },
        )
        put("_api", lru_cache(_HOSTS)(lambda host: self.api_host.fullmatch(host) is not None))
        put("_twilio", lru_cache(_HOSTS)(self._reaches_twilio))
        self._check()

    def plan(self, resource: Resource) -> Plan:
        """The order in which the parameters of `resource` are decided."""
        return self._plans[resource.resource]

    def template(self, resource: Resource, answer_format: Format) -> Template:
        """The success body of `resource`."""
        return self._templates[resource.resource, answer_format]

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
        if (resource, parameter) not in self._with_rows:
            return None
        return self._magic.get((resource, parameter, magic_key(value)))

    def other(self, resource: str, parameter: str) -> MagicRow | None:
        """The row for every other value of `parameter`; None when there is none."""
        return self._magic.get((resource, parameter, OTHER))

    def text(self, code: int | str, resource: str | None = None) -> ErrorText:
        """The text of an error code (`21211`, or with a variant `21205/malformed`) for `resource`.

        Raises:
            KeyError: The contract has no text for it.
        """
        number, _, variant = str(code).partition("/")
        for owner in (resource, None):
            found = self._texts.get((int(number), owner, variant or None))
            if found:
                return found
        raise KeyError(code)

    def is_api(self, host: str) -> bool:
        """Whether `host` (lower case, no port) is Twilio's REST API, in any region or edge."""
        return self._api(host)

    def is_twilio(self, host: str) -> bool:
        """Whether `host` (lower case, no port) belongs to Twilio, also where a resolver would map it there.

        Looking a name up turns full-width letters and other dots into ASCII (IDNA), and any label below
        twilio.com is Twilio's, whatever characters it has.
        """
        return self._twilio(host)

    def _reaches_twilio(self, host: str) -> bool:
        plain = host if host.isascii() else unicodedata.normalize("NFKC", host).casefold().translate(_DOTS)
        return self.twilio_host.fullmatch(plain) is not None

    def _check(self) -> None:
        for resource in self.resources:
            entries: tuple[MagicRow | Requirement | Refused, ...] = (
                *resource.magic,
                *resource.required,
                *resource.refused,
            )
            codes: list[tuple[str, int | str | None]] = [(entry.id, entry.error) for entry in entries]
            codes += [(name, parameter.error) for name, parameter in resource.parameters.items()]
            codes += [(name, parameter.most_error) for name, parameter in resource.parameters.items()]
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


def _plan(resource: Resource) -> Plan:
    named = [name for name in resource.order if name in resource.parameters]
    rest = [name for name in resource.parameters if name not in resource.order]
    steps = tuple(
        Step(
            name,
            resource.parameters[name],
            tuple(entry for entry in resource.refused if entry.parameter == name),
            tuple(entry for entry in resource.required if entry.parameter == name),
        )
        for name in (*named, *rest)
    )
    position = {step.name: number for number, step in enumerate(steps)}
    return Plan(steps, position, frozenset(position[step.name] for step in steps if step.required))
