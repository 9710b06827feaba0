"""YAML files of the contract: those that ship, and users' own.

    python -m ringback.contract.yaml_files

writes the shipped files as the one JSON file that is read at start. A test fails where somebody changed the
one and forgot the other. Every error names file, line and entry. An entry of basis `documented` is refused
where the page's words, as `page.yaml` has them, do not say what it claims.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar, get_args

import msgspec
import yaml

from ringback.contract.contract import OTHER, Contract, ContractError, key_of
from ringback.contract.schema import (
    BUILT,
    DATA,
    OUTCOMES,
    ErratumFile,
    ErrorFile,
    ExampleFile,
    Gate,
    MagicRow,
    Page,
    Resource,
    ResourceName,
    Shipped,
    UserFile,
    UserRow,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from ringback.contract.schema import Condition, Field, RefusedParameter

T = TypeVar("T")

RESOURCES = ("messages.yaml", "calls.yaml", "incoming_phone_numbers.yaml")
DEEPEST: Final = 200  # a cassette has about 6 levels, a contract file 4
_MANY: Final = 5_000  # so many opening marks are worth a closer look; the parser's stack ends at some 30,000
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FRAMING: Final = frozenset({"content-length", "transfer-encoding", "connection", "content-encoding"})
_DASHES = re.compile(r"(?:[-?:] ){200}")
_STARTS = (yaml.SequenceStartEvent, yaml.MappingStartEvent)
_ENDS = (yaml.SequenceEndEvent, yaml.MappingEndEvent)

# libyaml where PyYAML was built with it, ten times faster.
Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def overlaid(contract: Contract, file: Path) -> Contract:
    """`contract` with a user's own file laid over it.

    Raises:
        ContractError: The file is missing, not YAML, or not of the contract's schema.
    """
    text = _text(file)
    user = checked(text, UserFile, str(file))
    tree = yaml.compose(text, Loader=Loader)
    known = {(error.code, error.resource) for error in (*contract.errors, *user.errors) if not error.variant}
    seen: dict[tuple[str, str, str], int] = {}
    rows: dict[str, list[MagicRow]] = {resource.resource: [] for resource in contract.resources}
    for index, row in enumerate(user.magic):
        line = _line_of(tree, f"$.magic[{index}]")
        resource = contract.resource(row.resource)
        wrong = _mistake(row, resource, known)
        if wrong:
            raise ContractError(f"{file}:{line}: $.magic[{index}]: {wrong}")
        key = (row.resource, *_input(row, resource))
        if key in seen:
            wrong = f"{row.resource} {row.parameter} {row.value} has a row on line {seen[key]} already"
            raise ContractError(f"{file}:{line}: $.magic[{index}]: {wrong}")
        seen[key] = line
        rows[row.resource].append(_row(row))
    changed = []
    for resource in contract.resources:
        own = rows[resource.resource]
        replaced = {_input(row, resource) for row in own}
        kept = [row for row in resource.magic if _input(row, resource) not in replaced]
        changed.append(msgspec.structs.replace(resource, magic=(*kept, *own)))
    keys = {(error.code, error.resource, error.variant) for error in user.errors}
    errors = [error for error in contract.errors if (error.code, error.resource, error.variant) not in keys]
    newer = tuple(error for error in contract.newer if (error.code, error.resource, None) not in keys)
    try:
        return replace(contract, resources=tuple(changed), errors=(*errors, *user.errors), newer=newer)
    except ValueError as error:
        raise ContractError(f"{file}: {error}") from None


def _text(file: Path) -> str:
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise ContractError(
            f"{file}: cannot be read ({error.strerror}); check the path given to --contract"
        ) from None
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ContractError(f"{file}:{line}: is not UTF-8 text") from None


def _input(row: MagicRow, resource: Resource) -> tuple[str, str]:
    """Return a row's key: two rows for one input take each other's place, however the number is written."""
    value = row.value if row.value == OTHER else key_of(row.value, resource.parameters[row.parameter])
    return row.parameter, value


def _mistake(row: UserRow, resource: Resource, known: set[tuple[int, ResourceName | None]]) -> str | None:
    if row.parameter not in resource.parameters:
        meant = next((name for name in resource.parameters if name.lower() == row.parameter.lower()), None)
        advice = f"did you mean {meant}?" if meant else f"it has {', '.join(resource.parameters)}"
        return f"{row.resource} has no parameter {row.parameter!r}; {advice}"
    if row.error is not None and not {(row.error, row.resource), (row.error, None)} & known:
        return f"error {row.error} has no text; add {{code: {row.error}, message: ...}} under errors"
    wrong = [name for name, value in row.headers.items() if not _is_field(name, value)]
    if wrong:
        return f"{wrong[0]!r} cannot be a header field"
    if row.outcome is not None and row.outcome not in OUTCOMES.get(row.resource, ()):
        return f"{row.outcome!r} is no outcome; there are {_outcomes()}"
    if row.outcome is not None and row.error is not None:
        return "a value with an error is not sent, so it has no outcome; error: null lets it pass"
    return None


def _outcomes() -> str:
    return " and ".join(f"for {resource} {', '.join(names)}" for resource, names in OUTCOMES.items())


def _is_field(name: str, value: str) -> bool:
    """Tell that a header field can be sent: well-formed, and none that frames the answer."""
    return (
        bool(_TOKEN.fullmatch(name))
        and name.lower() not in _FRAMING
        and value.isascii()
        and value.isprintable()
    )


def _row(row: UserRow) -> MagicRow:
    made = re.sub(r"[^a-z0-9]+", "-", f"{row.parameter}.{row.value}".lower()).strip("-")
    return MagicRow(
        id=row.id or f"user.{made}",
        parameter=row.parameter,
        value=row.value,
        error=row.error,
        line=row.line,
        basis=row.basis,
        evidence=row.evidence,
        reason=row.reason,
        status=row.status,
        delay=row.delay,
        times=row.times,
        headers=row.headers,
        outcome=row.outcome,
        outcome_code=row.outcome_code,
    )


def checked(text: str, kind: type[T], name: str) -> T:
    """Read the YAML `text` of a file called `name`.

    Raises:
        ContractError: It is not YAML, or not of the schema `kind`.
    """
    if too_deep(text):
        raise ContractError(f"{name}:1: is nested too deeply")
    try:
        raw: Any = yaml.load(text, Loader=Loader)  # noqa: S506 - Loader is PyYAML's safe one
        tree = yaml.compose(text, Loader=Loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ContractError(f"{name}:{line}: is not YAML: {error.problem or error.context}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ContractError(f"{name}:{line}: is not YAML: {error.reason}") from None
    twice = _repeated_key(tree)
    if twice:
        raise ContractError(f"{name}:{twice.start_mark.line + 1}: {twice.value} is there twice")
    try:
        return msgspec.convert({} if raw is None else raw, kind)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at ")
        path = where.strip("`").rpartition("`")[2] or "$"  # a key of another type is told as `key` in `$`
        line = _line_of(tree, path, what)
        advice = "; put it in quotes" if what.startswith("Expected `str`, got") and "null" not in what else ""
        if what.startswith("Invalid enum value") and path.endswith(".resource"):
            advice = f"; there are {', '.join(get_args(ResourceName))}"
        if what == "Object missing required field `error`":
            advice = "; error: null lets the value pass"
        raise ContractError(f"{name}:{line}: {path}: {what}{advice}") from None


def _repeated_key(tree: yaml.Node | None) -> yaml.ScalarNode | None:
    """The first key that stands twice in one mapping: PyYAML would let the last one win without a word."""
    waiting, visited = [tree], set()
    while waiting:
        node = waiting.pop()
        if node is None or id(node) in visited:
            continue
        visited.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += node.value
        elif isinstance(node, yaml.MappingNode):
            keys = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            names = [key.value for key in keys]
            for index, key in enumerate(keys):
                if key.value in names[:index]:
                    return key
            waiting += [value for _, value in node.value]
    return None


def _line_of(tree: yaml.Node | None, path: str, what: str = "") -> int:
    """The line on which the entry at msgspec's `path` (`$.magic[3].error`) begins.

    Where `what` complains of an unknown field of it, the line of that field.
    """
    node = tree
    steps = re.findall(r"\[(\d+)\]|\[\.\.\.\]|\.([^.\[]+)", path)
    for index, key in steps:
        if isinstance(node, yaml.SequenceNode) and index:
            node = node.value[int(index)]
        elif isinstance(node, yaml.MappingNode) and key:
            found = [value for name, value in node.value if name.value == key]
            if not found:
                break
            node = found[0]
        else:
            break
    unknown = re.search(r"unknown field `(.+)`", what)
    if unknown and isinstance(node, yaml.MappingNode):
        node = next((name for name, _ in node.value if name.value == unknown[1]), node)
    return node.start_mark.line + 1 if node is not None else 1


def too_deep(text: str) -> bool:
    """Tell that `text` is nested so deeply that libyaml's stack could end.

    Almost every text is passed by two quick searches; only one with very many brackets is read by PyYAML's
    parser of events, which does not recurse.
    """
    if text.count("[") + text.count("{") < _MANY and not _DASHES.search(text) and not _steep(text):
        return False
    depth = 0
    try:
        for event in yaml.parse(text, Loader=Loader):
            if isinstance(event, _STARTS):
                depth += 1
                if depth > DEEPEST:
                    return True
            elif isinstance(event, _ENDS):
                depth -= 1
    except yaml.YAMLError as error:
        # PyYAML 6.0.4 and newer bring a libyaml that ends at a depth of 1,000 by itself, before the events
        # of a text's first brackets. Any other mistake is told better by the real parser.
        return "nesting depth" in str(getattr(error, "problem", ""))
    return False


def _steep(text: str) -> bool:
    """Tell that some line is indented so far that its depth could come from indentation alone."""
    return re.search(rf"^ {{{DEEPEST}}}", text, re.MULTILINE) is not None


def built() -> bytes:
    """Bytes of the JSON file that is read at start.

    Raises:
        ContractError: A YAML file is not of the contract's schema.
    """

    def text(name: str) -> str:
        return (DATA / name).read_text(encoding="utf-8")

    texts = checked(text("errors.yaml"), ErrorFile, "errors.yaml")
    shipped = Shipped(
        resources=tuple(checked(text(name), Resource, name) for name in RESOURCES),
        errors=texts.errors,
        newer=texts.newer,
        gate=checked(text("gate.yaml"), Gate, "gate.yaml"),
        examples=checked(text("examples.yaml"), ExampleFile, "examples.yaml").examples,
        errata=checked(text("errata.yaml"), ErratumFile, "errata.yaml").errata,
        page=checked(text("page.yaml"), Page, "page.yaml"),
    )
    wrong = unsaid(shipped)
    if wrong:
        raise ContractError("\n".join(wrong))
    return msgspec.json.format(msgspec.json.encode(shipped), indent=1) + b"\n"


class _Claimed(NamedTuple):
    """The claim of an entry of basis `documented`.

    Attributes:
        name: The entry, for people.
        line: The page's line that it names.
        words: A regular expression that the words of this line must match.
        section: A regular expression that some line of its section must match as well.
    """

    name: str
    line: int | None
    words: str
    section: str = ""


def unsaid(shipped: Shipped) -> list[str]:
    """List the entries that are called documented although the page's words do not say what they claim."""
    says = {fact.line: fact.says for fact in shipped.page.facts}
    claims = [
        claim
        for resource in shipped.resources
        for claims in (_rows(resource), _parameters(resource), _answer(resource, shipped))
        for claim in claims
    ]
    for text in shipped.errors:
        if text.basis == "documented":
            message = re.sub(r"\\{\w+\\}", ".+", re.escape(text.message))
            claims.append(_Claimed(f"text of {text.code}", text.line, f'/message is "{message}"'))
    claims += [
        _Claimed(refusal.id, refusal.line, rf".*\b{refusal.status}\b.*")
        for refusal in shipped.gate.refusals
        if refusal.basis == "documented"
    ]
    wrong = []
    for claim in claims:
        words = says.get(claim.line or 0, "")
        if not re.fullmatch(claim.words, words, re.IGNORECASE):
            wrong.append(
                f"{claim.name} is documented, but line {claim.line} says {words!r}: no {claim.words}"
            )
        elif claim.section:
            lines = _section(shipped.page, claim.line)
            if not any(
                line in lines and re.fullmatch(claim.section, sentence) for line, sentence in says.items()
            ):
                wrong.append(
                    f"{claim.name} is documented, but around line {claim.line} is no {claim.section}"
                )
    return wrong


def _section(page: Page, line: int | None) -> range:
    """The lines of the narrowest section that holds `line`."""
    around = [range(each.first, each.last + 1) for each in page.sections]
    return min((each for each in around if line in each), key=len, default=range(0))


def _rows(resource: Resource) -> Iterator[_Claimed]:
    """The claims of rows, and of what must or must not be sent."""
    name = resource.resource
    for row in resource.magic:
        if row.basis == "documented":
            outcome = f"{row.error}" if row.error else "no error.*"
            words = rf"{row.parameter} {re.escape(row.value)}: .*\b{outcome}"
            yield _Claimed(f"{name} {row.id}", row.line, words)
    for kind in resource.addresses:
        if kind.basis == "documented":
            yield _Claimed(f"{name} {kind.id}", kind.line, rf"{kind.parameter} other: .*\b{kind.error}")
    for need in resource.required:
        if need.basis == "documented":
            words = f".*\\b{need.parameter} is required.*"
            yield _Claimed(f"{name} {need.id}", need.line, words, f"/code is {need.error}")
    others: tuple[RefusedParameter | Condition, ...] = (*resource.refused, *resource.conditions)
    for entry in others:
        if entry.basis == "documented":
            words = rf".*\b{entry.parameter}\b.*"
            yield _Claimed(f"{name} {entry.id}", entry.line, words, rf".*{entry.error}")


def _parameters(resource: Resource) -> Iterator[_Claimed]:
    """The claims of parameters: their errors, and that test credentials take them."""
    name = resource.resource
    for parameter, fits in resource.parameters.items():
        if fits.basis == "documented" and (fits.type != "string" or fits.max_length or fits.pattern):
            yield _Claimed(f"{name} {parameter}", fits.line, ".*fails", f"/code is {fits.error}")
        if fits.passes == "documented":
            works = rf"every documented parameter works(?!, except {parameter}).*"
            yield _Claimed(f"{name} {parameter}", resource.line, ".*", works)


def _answer(resource: Resource, shipped: Shipped) -> Iterator[_Claimed]:
    """The claims of the answer's fields."""
    name = resource.resource
    example = next(each for each in shipped.examples if each.resource == name and each.expect is None)
    pointers = {pointer for each in shipped.errata for pointer in [each.pointer] if each.resource == name}
    for pointer, field in _fields(resource.answer):
        if field.basis == "documented":
            value = "" if pointer in pointers else _said(field, dict(example.form))
            yield _Claimed(f"{name} {pointer}", field.line, rf"{pointer}\b{value or '.*'}")


def _said(field: Field, form: Mapping[str, str]) -> str:
    """The page's words for the value of `field`, or nothing where it is not always the same."""
    value = field.value
    if isinstance(value, str) and value.startswith("$form.") and field.default is not None:
        value = "$sent" if value.removeprefix("$form.") in form else field.default
    if field.fields or (isinstance(value, str) and value.startswith("$")):
        return ""
    return re.escape(f" is {json.dumps(value)}")


def _fields(fields: tuple[Field, ...], above: str = "") -> Iterator[tuple[str, Field]]:
    for field in fields:
        yield f"{above}/{field.json}", field
        yield from _fields(field.fields, f"{above}/{field.json}")


if __name__ == "__main__":
    BUILT.write_bytes(built())
