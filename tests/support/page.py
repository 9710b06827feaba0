"""Twilio's documentation page, read at test time: its examples, its code samples and its tables.

The page is not part of this repository. `read` takes its text apart, where it is at hand; `carried` makes the
same tables and answers of the facts in `contract/data/page.yaml`, without code samples. Lines are the page's
own, from 1.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from xml.sax.saxutils import escape

import pytest

from ringback.contract import load

if TYPE_CHECKING:
    from ringback.contract.schema import Example as ContractExample

PAGE: Final = Path(__file__).parents[2].parent / "shared" / "seed" / "test-credentials.ja.txt"

RESOURCES: Final = ("IncomingPhoneNumbers", "Messages", "Calls")  # in the page's order
EXAMPLES: Final = (
    *((RESOURCES[0], number) for number in (1, 2, 3)),
    *((RESOURCES[1], number) for number in (1, 2, 3)),
    *((RESOURCES[2], number) for number in (1, 2)),
)

# language: (how a sample of it begins, ((generation, what only this generation's samples contain), …)).
# The last generation of a language is the one without a mark of its own. curl's two are its two formats.
LANGUAGES: Final = {
    "csharp": ("// Download the twilio-csharp", (("5", "using Twilio.Rest.Api"), ("4", ""))),
    "curl": ("$ curl ", (("json", ".json "), ("xml", ""))),
    "java": ("// Install the Java helper", (("6", "com.twilio.sdk"), ("7", ""))),
    "node": ("// Download the Node helper", (("3", "const "), ("2", ""))),
    "php": ("<?php", (("5", r"Twilio\Rest\Client"), ("4", ""))),
    "python": ("# Download the Python helper", (("5", "TwilioRestClient"), ("6", ""))),
    "ruby": ("# Get twilio-ruby", (("4", "@client.account."), ("5", ""))),
}
GENERATIONS: Final = tuple(
    (language, generation) for language, (_, kinds) in LANGUAGES.items() for generation, _ in kinds
)

_SWAPPED: Final = "takes a real number as From"
# Samples that cannot get their example's answer: (resource, example, language, generation): (code, why).
OWN_ANSWER: Final = {
    ("Messages", 1, "csharp", "5"): (21606, _SWAPPED),
    ("Messages", 2, "csharp", "5"): (21606, "takes +15005550009 as From"),
    ("Messages", 3, "csharp", "5"): (21606, _SWAPPED),
    ("Messages", 1, "php", "4"): (21606, _SWAPPED),
    ("Messages", 2, "php", "4"): (21606, _SWAPPED),
    ("Messages", 3, "php", "4"): (21606, _SWAPPED),
    ("Messages", 1, "python", "6"): (21603, "its From is empty"),
}

_HALF: Final = "Loading Code Samples..."  # below this line the page repeats its samples
_SECTION: Final = re.compile(r"POST https://\S+/(\w+)$")
_HEADING: Final = re.compile(r"例 (\d)(?:$|:)")
_OUTPUT: Final = "出力を表示"
_PARAMETER: Final = re.compile(r"(PhoneNumber|AreaCode|From|To)$")
_OTHER: Final = "上記以外の番号"
_ROW: Final = re.compile(rf"(\+?\d+|{_OTHER}) .*?(?:(\d{{5}})|エラーはありません。|入力値に依存します。)$")


@dataclass(frozen=True)
class Sample:
    """One code sample, as the page has it.

    Attributes:
        resource: The resource that it posts to.
        example: The example's number, from 1 within the resource.
        language: A key of `LANGUAGES`.
        generation: The SDK's generation, or curl's format.
        line: Where it begins.
        source: Its text; curl's without the shell's prompt.
    """

    resource: str
    example: int
    language: str
    generation: str
    line: int
    source: str


@dataclass(frozen=True)
class Example:
    """One example with its samples and both documented answers."""

    resource: str
    number: int
    line: int
    samples: tuple[Sample, ...]
    json: str
    json_line: int
    xml: str
    xml_line: int

    def sample(self, language: str, generation: str) -> Sample:
        """Its sample in one generation of a language."""
        found = [it for it in self.samples if (it.language, it.generation) == (language, generation)]
        assert len(found) == 1, f"{len(found)} samples of {language} {generation} in example {self.number}"
        return found[0]


@dataclass(frozen=True)
class TableRow:
    """One row of a magic-input table: `code` is None where the page promises no error."""

    resource: str
    parameter: str
    value: str
    code: int | None
    line: int


@dataclass(frozen=True)
class Page:
    """The page, taken apart."""

    examples: tuple[Example, ...]
    rows: tuple[TableRow, ...]
    repeated: tuple[Sample, ...]

    def example(self, resource: str, number: int) -> Example:
        """The example called `number` of a resource."""
        return next(it for it in self.examples if (it.resource, it.number) == (resource, number))


SOURCES: Final = ("facts", "text")


def of(source: str) -> Page:
    """The page by the facts that the repository carries, or by its text: then a test skips without it."""
    if source == "facts":
        return carried()
    if not PAGE.exists():
        pytest.skip("the documentation page is not part of the repository, and not beside it either")
    return read()


# -- by the facts

OWN: Final = (
    "sid",
    "date_created",
    "date_updated",
    "account_sid",
    "uri",
    "more_info",
    "notifications",
    "recordings",
)


def carried() -> Page:
    """The tables and answers as `contract/data/page.yaml` has them; what a sample has of its own is `…`."""
    contract = load()
    assert contract.page is not None
    facts = {fact.line: fact.says for fact in contract.page.facts}
    examples = []
    for at, (resource, number) in enumerate(EXAMPLES):
        data = contract.examples[at]
        assert data.resource == resource
        first = next(
            section.first
            for section in contract.page.sections
            if section.title.endswith(f"example {number}") and section.first <= data.line <= section.last
        )
        tree = _tree(facts, data.json_line)
        xml = _xml(facts, data, tree)
        examples.append(
            Example(resource, number, first, (), json.dumps(tree), data.json_line, xml, data.xml_line)
        )
    rows = [_carried_row(line, says) for line, says in sorted(facts.items())]
    return Page(tuple(examples), tuple(row for row in rows if row), ())


def _carried_row(line: int, says: str) -> TableRow | None:
    found = re.fullmatch(rf"({_PARAMETER.pattern.rstrip('$')}) (\S+): .*?(?:, (\d{{5}})|, no error.*)", says)
    if found is None:
        return None
    resource = next(
        name for name, first in (("Calls", 1697), ("Messages", 838), (RESOURCES[0], 1)) if line > first
    )
    return TableRow(resource, found[1], found[3], int(found[4]) if found[4] else None, line)


def _tree(facts: dict[int, str], line: int) -> dict[str, Any]:
    """The JSON answer that begins on `line`."""
    tree: dict[str, Any] = {}
    at = line + 1
    while at in facts or at + 1 in facts:  # a line that closes an object says nothing
        pointer, _, value = facts.get(at, "").partition(" is ")
        at += 1
        if not pointer.startswith("/"):
            if pointer:
                tree["message"] = pointer  # in this project's words: the page's own is an erratum
            continue
        *above, name = pointer.split("/")[1:]
        inner = tree
        for step in above:
            inner = inner[step]
        inner[name] = json.loads(value) if value else "\u2026" if name in OWN else {}
    return tree


def _xml(facts: dict[int, str], data: ContractExample, tree: dict[str, Any]) -> str:
    """The XML answer with the values of the JSON one."""
    plain = "RestException: Status Message Code MoreInfo"
    outer, _, names = facts.get(data.xml_line + 1, plain).partition(": ")
    text = ""
    for name, inner in re.findall(r"(\w+)(?:\((.*?)\))?", names):
        value = tree[_as_json(name)]
        if inner:
            within = "".join(_element(each, value[_as_json(each)]) for each in inner.split())
            text += f"<{name}>{within}</{name}>"
        else:
            text += _element(name, value)
    return f"<TwilioResponse><{outer}>{text}</{outer}></TwilioResponse>"


def _as_json(element: str) -> str:
    return re.sub(r"(?<!^)([A-Z])(?=[a-z])", r"_\1", element).lower()


def _element(name: str, value: Any) -> str:
    if isinstance(value, bool):
        value = str(value).lower()
    return f"<{name}/>" if value is None else f"<{name}>{escape(str(value))}</{name}>"


# -- by its text


def read(path: Path = PAGE) -> Page:
    """Take the page apart."""
    lines = path.read_text(encoding="utf-8").split("\n")
    half = lines.index(_HALF)
    examples: list[Example] = []
    resource = ""
    for at, line in enumerate(lines[:half]):
        if section := _SECTION.match(line):
            resource = section[1]
        elif heading := _HEADING.match(line):
            examples.append(_example(lines, at, resource, int(heading[1])))
    return Page(tuple(examples), _rows(lines[:half]), _samples(lines, half, len(lines), "", 0))


def _example(lines: list[str], at: int, resource: str, number: int) -> Example:
    output = lines.index(_OUTPUT, at)
    json_at, json_end = lines.index("{", output), lines.index("}", output)
    xml_at = lines.index("<TwilioResponse>", output)
    xml_end = lines.index("</TwilioResponse>", output)
    return Example(
        resource,
        number,
        at + 1,
        _samples(lines, at, output, resource, number),
        "\n".join(lines[json_at : json_end + 1]),
        json_at + 1,
        "\n".join(lines[xml_at : xml_end + 1]),
        xml_at + 1,
    )


def _samples(lines: list[str], start: int, end: int, resource: str, example: int) -> tuple[Sample, ...]:
    """The samples between two lines; each ends where the next one, or the documented answer, begins."""
    begins = [(at, _language(lines[at])) for at in range(start, end)]
    begins = [(at, language) for at, language in begins if language]
    samples = []
    for (at, language), (following, _) in zip(begins, [*begins[1:], (end, "")], strict=True):
        # In the second half the answers follow without a heading. C# has such a brace of its own.
        stops = {_OUTPUT, "<TwilioResponse>"} | (set() if language == "csharp" else {"{"})
        stop = next((stop for stop in range(at, following) if lines[stop] in stops), following)
        source = "\n".join(lines[at:stop])
        kinds = LANGUAGES[language][1]
        generation = next(name for name, mark in kinds if mark in source)
        source = source.removeprefix("$ ").rstrip("\n") + "\n"
        samples.append(Sample(resource, example, language, generation, at + 1, source))
    return tuple(samples)


def _language(line: str) -> str:
    return next((name for name, (begin, _) in LANGUAGES.items() if line.startswith(begin)), "")


def _rows(lines: list[str]) -> tuple[TableRow, ...]:
    rows = []
    resource = parameter = ""
    for number, line in enumerate(lines, start=1):
        if section := _SECTION.match(line):
            resource = section[1]
        elif named := _PARAMETER.match(line):
            parameter = named[1]
        elif parameter and (row := _ROW.match(line)):
            value = "other" if row[1] == _OTHER else row[1]
            rows.append(TableRow(resource, parameter, value, int(row[2]) if row[2] else None, number))
    return tuple(rows)
