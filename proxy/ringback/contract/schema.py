"""Schema of the contract's YAML files: one frozen class per kind of entry.

These classes are the schema: an unknown key, a missing one or a value of another type is refused at load with
the file, the entry and what was expected there.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from ringback.exchange import Basis  # noqa: TC001 - msgspec reads the annotations at run time

DATA: Final = Path(__file__).with_name("data")  # importlib.resources would take longer
BUILT: Final = DATA / "contract.json"
# How a sent message or call can end, as Twilio's public pages about status callbacks name it, and `hold`.
OUTCOMES: Final[dict[str, tuple[str, ...]]] = {
    "Messages": ("delivered", "read", "undelivered", "failed", "hold"),
    "Calls": ("completed", "busy", "no-answer", "canceled", "failed", "hold"),
}
Code = Annotated[int, msgspec.Meta(ge=10000, le=99999)]
Status = Annotated[int, msgspec.Meta(ge=400, le=599)]
Delay = Annotated[float, msgspec.Meta(ge=0, le=600)]
Times = Annotated[int, msgspec.Meta(ge=1)]
Line = Annotated[int, msgspec.Meta(ge=1)]
Slug = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9.-]*$")]
Scalar = str | int | float | bool | None
ResourceName = Literal["Messages", "Calls", "IncomingPhoneNumbers"]
ParameterType = Literal[
    "address",
    "area-code",
    "boolean",
    "date-time",
    "enum",
    "integer",
    "json-object",
    "method",
    "number",
    "sid",
    "string",
    "url",
    "xml",
]
Format = Literal["json", "xml"]
Texts = Literal["certain", "newest"]
AccountKind = Literal["upgraded", "trial"]
# Faults of URLs that people reported; the last two: a host without a dot, a label that ends in a hyphen.
UrlFault = Literal["scheme", "host", "localhost", "dot", "hyphen"]
OddAddress = Literal["channel", "malformed"]  # a colon after no known channel; no address at all
AddressKind = Literal["number", "short-code", "alphanumeric", "whatsapp", "messenger", "client", "sip"]


class ContractEntry(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """Base of every entry: where its fact comes from.

    Attributes:
        line: The page's line, if the page speaks of it.
        basis: How well it is known.
        evidence: What kind of recording or quotation stands behind `recorded`.
    """

    line: Line | None = None
    basis: Basis = "documented"
    evidence: str | None = None


class MagicRow(ContractEntry, frozen=True, kw_only=True):
    """One row of the page's tables: this value of this parameter provokes this error, or passes.

    Attributes:
        id: Its name within the resource.
        parameter: The form parameter.
        value: The value, or `other` for every other one.
        error: The code of the error, or None where the value passes.
        reason: Advice where the bare code would mislead.
        status: The HTTP status instead of the error's own.
        delay: Seconds before the answer is sent.
        times: How often the row counts; after that its value passes.
        headers: Header fields added to the answer.
        outcome: For a value that passes: how the message or call ends, which status callbacks report.
        outcome_code: The error code that is reported with the outcome, or None for the usual one.
    """

    id: Slug
    parameter: str
    value: str
    error: Code | None
    reason: str | None = None
    status: Status | None = None
    delay: Delay = 0
    times: Times | None = None
    headers: dict[str, str] = {}
    outcome: str | None = None
    outcome_code: Code | None = None


class AddressRow(ContractEntry, frozen=True, kw_only=True):
    """One kind of address that a parameter takes, and the error that it provokes.

    Attributes:
        id: Its name within the resource.
        parameter: The form parameter.
        kind: The kind of address, `channel` (unknown text before a colon) or `malformed` (none at all).
        error: The code of the error.
        reason: Advice where the bare code would mislead.
        unless_same: The parameter beside which the row does not count, if it is of the same channel.
    """

    id: Slug
    parameter: str
    kind: AddressKind | OddAddress
    error: Code
    reason: str | None = None
    unless_same: str | None = None


class Condition(ContractEntry, frozen=True, kw_only=True):
    """A parameter that another one needs.

    Attributes:
        id: Its name within the resource.
        parameter: The parameter that is sent.
        needs: The parameter that must be there with it.
        error: The code of the error where it is not.
        reason: Advice, or None.
    """

    id: Slug
    parameter: str
    needs: str
    error: Code
    reason: str | None = None


class Requirement(ContractEntry, frozen=True, kw_only=True):
    """A parameter that must be there, or one of its alternatives."""

    id: Slug
    parameter: str
    error: Code
    alternatives: tuple[str, ...] = ()
    reason: str | None = None


class RefusedParameter(ContractEntry, frozen=True, kw_only=True):
    """A parameter that test credentials cannot use."""

    id: Slug
    parameter: str
    error: Code
    reason: str


class Parameter(ContractEntry, frozen=True, kw_only=True):
    """A form parameter: its type, its limits, and the error for a value that does not fit.

    Attributes:
        type: What its values are.
        error: The error for a value that does not fit.
        kinds: For an address: which kinds of address Twilio takes there.
        other_kinds: For an address: what is told with an answer to one that is no number, where the page
            speaks of numbers alone; such an answer is assumed.
        numbers: For an address: whether a number must be assigned or only have the form of one.
        values: For an enumeration: its values.
        prefix: For a sid: its two letters.
        pattern: For a string: what it must match.
        max_length: For a string: how many characters it may have.
        repeats: Whether it may be sent several times.
        most: How many times it may be sent.
        most_error: The error for sending it more often.
        unless: The parameter that makes this one irrelevant.
        minimum: For an integer: the smallest value.
        maximum: For an integer: the largest value.
        earliest: For a date: how many seconds after the request it may begin.
        latest: For a date: how many seconds after the request it must have begun.
        blank: The error for a value that is sent blank, where blank is not the same as absent.
        reported: For a URL: the faults for which somebody saw Twilio refuse it; the others are assumed.
        passes: How well it is known that test credentials take a fitting value.
    """

    type: ParameterType
    error: Code | str = 20001
    kinds: tuple[AddressKind, ...] = ()
    other_kinds: str | None = None
    numbers: Literal["valid", "possible"] = "valid"
    values: tuple[str, ...] = ()
    prefix: str = ""
    pattern: str | None = None
    max_length: int | None = None
    repeats: bool = False
    most: int | None = None
    most_error: Code | None = None
    unless: str | None = None
    minimum: int | None = None
    maximum: int | None = None
    earliest: int | None = None
    latest: int | None = None
    blank: Code | str | None = None
    reported: tuple[UrlFault, ...] = ()
    passes: Basis = "assumed"


class Field(ContractEntry, frozen=True, kw_only=True):
    """One field of a success answer, in both formats.

    Attributes:
        json: The JSON key.
        xml: The XML element.
        value: What it holds: a constant, or a `$reference`.
        default: What it holds where the referenced form parameter is absent or blank.
        type: For a value that is null here: the type it has when it is not.
        fields: The fields of a nested object, instead of a value.
    """

    json: str
    xml: str
    value: Scalar = None
    default: Scalar = None
    type: Literal["string", "integer", "date"] | None = None
    fields: tuple[Field, ...] = ()


class ErrorText(ContractEntry, frozen=True, kw_only=True):
    """The wire text of one error code, optionally of one resource or variant of it.

    Attributes:
        code: The code.
        message: The text, with `{Name}` for form parameters.
        status: The HTTP status.
        resource: The resource whose text it is, or None for all.
        variant: A second text of the same code, named `21205/malformed`.
        replaces: For a newer text: the code whose text it follows, where the code itself changed.
    """

    code: Code
    message: str
    status: Status = 400
    resource: ResourceName | None = None
    variant: str | None = None
    replaces: Code | None = None

    def __post_init__(self) -> None:
        _years(self.evidence or "")

    @property
    def years(self) -> str | None:
        """The years in which the text was recorded, seen or quoted, e.g. `2014-2020, 2023`, or None."""
        return _years(self.evidence or "")


@lru_cache(256)  # every error answer names them
def _years(evidence: str) -> str | None:
    """The years that `evidence` names; other figures are none.

    Raises:
        ValueError: They run backwards.
    """
    named = list(re.finditer(r"(?<![\w.-])(20\d\d)(?:-(20\d\d))?(?![\w-])", evidence, re.ASCII))
    for one in named:
        if one[2] and one[2] < one[1]:
            raise ValueError(f"the years {one[0]} run backwards")
    return ", ".join(one[0] for one in named) or None


class Resource(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One of the three resources: everything the page says about it."""

    resource: ResourceName
    path: str
    line: Line
    element: str
    sid: str
    order: tuple[str, ...]
    magic: tuple[MagicRow, ...]
    required: tuple[Requirement, ...]
    parameters: dict[str, Parameter]
    answer: tuple[Field, ...]
    refused: tuple[RefusedParameter, ...] = ()
    addresses: tuple[AddressRow, ...] = ()
    conditions: tuple[Condition, ...] = ()
    number: str = ""  # what is bought where only an area code was asked for


class Hosts(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Twilio's host names: regular expressions, and the main one.

    Attributes:
        api: The REST API in all regions and edges.
        product: Every host of Twilio's.
        main: The REST API in us1, where most facts come from.
    """

    api: str
    product: str
    main: str = "api.twilio.com"


class Refusal(ContractEntry, frozen=True, kw_only=True):
    """A refusal before the contract is asked: credentials, account, resource, host, form.

    Attributes:
        id: Its name.
        status: The HTTP status.
        code: Twilio's error code.
        message: The wire text.
        reason: Advice.
        text: How well code and text are known, where the status is known better.
    """

    id: Slug
    status: Status
    code: Code
    message: str
    reason: str
    text: Basis | None = None


class Gate(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Hosts, refusals and what every answer carries."""

    hosts: Hosts
    version: str
    phrases: dict[int, str]
    headers: dict[str, str]
    more_info: str
    challenge: str
    refusals: tuple[Refusal, ...]


class Example(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One of the page's examples: its request, its outcome and where its two answers stand."""

    id: Slug
    resource: ResourceName
    line: Line
    json_line: Line
    xml_line: Line
    form: tuple[tuple[str, str], ...]
    expect: Code | None
    message: str | None = None
    errata: tuple[Slug, ...] = ()


class Erratum(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A place where the page contradicts itself or the live API."""

    id: Slug
    lines: tuple[Line, ...]
    page: str
    answered: str
    basis: Basis
    resource: ResourceName | None = None
    pointer: str | None = None


class Section(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One section of the documentation page.

    Attributes:
        id: Its anchor on the public page; empty for the page's top.
        title: Its heading, in English.
        first: Its first line.
        last: Its last line.
        confirmed: Whether somebody saw the anchor on the public page.
    """

    id: str
    title: str
    first: Line
    last: Line
    confirmed: bool = True


class PageFact(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One line of the page, in this project's words."""

    line: Line
    says: str


class Page(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The documentation page: where it is, which edition the data follows, and its facts."""

    title: str
    url: str
    edition: str
    sections: tuple[Section, ...] = ()
    facts: tuple[PageFact, ...] = ()


class ErrorFile(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """The file of error texts: those that are certain for test credentials, and newer ones."""

    errors: tuple[ErrorText, ...]
    newer: tuple[ErrorText, ...] = ()


class ExampleFile(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """The file of examples."""

    examples: tuple[Example, ...]


class ErratumFile(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """The file of errata."""

    errata: tuple[Erratum, ...]


class Shipped(msgspec.Struct, frozen=True, omit_defaults=True):
    """The contract's YAML files in one: what `python -m ringback.contract.yaml_files` writes.

    Reading YAML would take a tenth of the time that the proxy needs to start.
    """

    resources: tuple[Resource, ...]
    errors: tuple[ErrorText, ...]
    newer: tuple[ErrorText, ...]
    gate: Gate
    examples: tuple[Example, ...]
    errata: tuple[Erratum, ...]
    page: Page


class UserRow(MagicRow, frozen=True, kw_only=True):
    """A magic row of a user's own file: its basis is `user` unless it says otherwise; it needs no id."""

    resource: ResourceName
    id: Slug = ""
    basis: Basis = "user"


class UserError(ErrorText, frozen=True, kw_only=True):
    """An error text of a user's own file."""

    basis: Basis = "user"


class UserFile(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A file given to `--contract`: rows and texts that add to the contract's or take their place."""

    magic: tuple[UserRow, ...] = ()
    errors: tuple[UserError, ...] = ()
