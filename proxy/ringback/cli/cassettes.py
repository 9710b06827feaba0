"""`ringback cassettes`: what has been recorded; list, show, verify and redact it."""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from ringback import __version__, contract
from ringback.cassettes import editing, files, formats, pseudonyms
from ringback.cassettes.files import CassetteError, cassette_names, reading_error
from ringback.cassettes.format_readers import LARGEST
from ringback.cassettes.formats import ForeignFileError
from ringback.cassettes.layout import CassetteReader
from ringback.cassettes.matching import plain_key
from ringback.cassettes.redaction import Redaction, redacted_fields_of
from ringback.cassettes.vcr_format import FIELD_RECORDED, FIELD_SOURCE, origin_of
from ringback.cassettes.verify import check, files_of, load, redacted_view
from ringback.cli import output
from ringback.cli.options import complete_cassette, table_option
from ringback.contract.form import NamingError, parameters_named
from ringback.exchange import error_code
from ringback.tally import many

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from ringback.cassettes.editing import ImportReport
    from ringback.cassettes.formats import ForeignFile
    from ringback.cassettes.vcr_format import Interaction
    from ringback.cassettes.verify import CassetteFinding, LocatedInteraction, ReadCassette

EXIT_FINDINGS: Final = 1
EXIT_NOTHING: Final = 2  # nothing was checked
SECRET_VARIABLES: Final = ("RINGBACK_TEST_AUTH_TOKEN", "TWILIO_AUTH_TOKEN", "RINGBACK_PROXY_PASSWORD")
_NOT_USED: Final = "{}: not used, because {} has the same name"

_REDACT = click.option(
    "--redact", "fields", metavar="FIELD,...", help="Form fields whose values get pseudonyms."
)
_DIRECTORY = table_option("cassettes", parameter="directory")


@click.group()
def command() -> None:
    """List, show, verify and redact recorded interactions."""


@command.command("list")
@_DIRECTORY
def list_cassettes(directory: Path) -> None:
    """List the cassettes in a directory."""
    found = cassette_names(directory)
    for path in files.unnamed_files(directory):
        click.echo(f"{output.printable(str(path))}: not listed, no cassette name leads to it", err=True)
    if not found:
        click.echo(f"no cassettes in {directory}", err=True)
        return
    faults: list[CassetteError] = []
    rows = [_row(directory, name, faults) for name in found]
    output.show_table(
        ("name", "interactions", "bytes", "last recorded", "source", "redacted", "layout"), rows
    )
    for fault in faults:
        click.echo(output.printable(str(fault)), err=True)
    for name in found:
        used, *others = files.cassette_files(directory, name)
        for path in others:
            click.echo(_NOT_USED.format(path, used), err=True)


@command.command(short_help="Show the interactions of a cassette, or one of them.")
@click.argument("name", shell_complete=complete_cassette)
@click.argument("number", type=click.IntRange(min=1), required=False)
@_DIRECTORY
def show(name: str, number: int | None, directory: Path) -> None:
    """Show the interactions of cassette NAME, one a line; or interaction NUMBER in full, without secrets."""
    cassette = _load(_path(directory, name))
    if number is None:
        rows = [
            (
                str(place),
                str(one.line),
                _label(one),
                _outcome(one),
                one.interaction.said(FIELD_RECORDED) or "",
            )
            for place, one in enumerate(cassette.placed, 1)
        ]
        output.show_table(("number", "line", "request", "answer", "recorded"), rows)
        return
    _exchange(cassette.path, _numbered(cassette, number))


def _numbered(cassette: ReadCassette, number: int) -> LocatedInteraction:
    if number > len(cassette.placed):
        has = many(len(cassette.placed), "interaction")
        raise click.BadArgumentUsage(f"{cassette.path} has {has}, no number {number}")
    return cassette.placed[number - 1]


@command.command("verify", short_help="Check cassettes, and repair them.")
@click.argument("paths", metavar="[PATH]...", type=click.Path(exists=True, path_type=Path), nargs=-1)
@click.option("--repair", is_flag=True, help="Cut torn tails, take out damage, finish what was interrupted.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@_DIRECTORY
@click.pass_context
def verify_files(
    ctx: click.Context, paths: tuple[Path, ...], directory: Path, *, repair: bool, as_json: bool
) -> None:
    """Check format, torn tails, secrets, and agreement with the contract; exit 1 if anything is found.

    PATH is a directory (with all below it) or a cassette's file; without one, the directory of --cassettes.

    The values of RINGBACK_TEST_AUTH_TOKEN, TWILIO_AUTH_TOKEN and RINGBACK_PROXY_PASSWORD are searched for,
    and everything that has the shape of a secret. A cassette with pseudonyms (--redact) is not held against
    the contract, and that is reported.
    """
    wanted = paths or (directory,)
    if not paths and not directory.is_dir():
        raise click.UsageError(f"there is no directory {directory}; name one, or use --cassettes")
    if repair:
        _repair(list(files_of(wanted)), lambda line: click.echo(f"repaired: {line}", err=as_json))
    loaded = contract.load()
    secrets = tuple(_secrets())
    looked = list(dict.fromkeys(files_of(wanted)))
    found: list[CassetteFinding] = []
    unjudged: dict[Path, str] = {}
    unused = {path: used for path in looked if (used := files.used_instead(path))}
    for path in looked:
        found += check(path, loaded, secrets, partial(unjudged.__setitem__, path))
    if as_json:
        click.echo(_as_json(len(looked), found, unjudged, unused))
    else:
        for finding in found:
            click.echo(str(finding))
        for path, why in unjudged.items():
            click.echo(f"{path}: not held against the contract: {why}", err=True)
        for path, used in unused.items():
            click.echo(_NOT_USED.format(path, used), err=True)
        click.echo(f"{many(len(looked), 'cassette')} checked, {many(len(found), 'finding')}", err=True)
    if not looked:
        ctx.exit(EXIT_NOTHING)
    if found:
        ctx.exit(EXIT_FINDINGS)


def _repair(paths: Iterable[Path], report: Callable[[str], None]) -> None:
    for path in paths:
        try:
            editing.repair(path, report)
        except CassetteError as error:
            click.echo(f"not repaired: {error}", err=True)


def _as_json(
    looked: int,
    found: Iterable[CassetteFinding],
    unjudged: Mapping[Path, str],
    unused: Mapping[Path, Path],
) -> str:
    """Render the result of `verify` as JSON: files read, findings, and files that could not be judged."""
    findings = [
        {"path": str(one.path), "line": one.line, "rule": one.rule, "detail": one.detail} for one in found
    ]
    skipped = [{"path": str(path), "why": why} for path, why in unjudged.items()]
    others = [{"path": str(path), "used": str(used)} for path, used in unused.items()]
    said = {
        "checked": looked,
        "findings": findings,
        "not_held_against_contract": skipped,
        "not_used": others,
    }
    return json.dumps(said, indent=2)


@command.command(short_help="Take secrets and form fields out of cassettes.")
@click.argument("wanted", metavar="[NAME]...", nargs=-1, shell_complete=complete_cassette)
@_REDACT
@_DIRECTORY
@click.pass_context
def redact(ctx: click.Context, wanted: tuple[str, ...], fields: str | None, directory: Path) -> None:
    """Take secrets out of cassettes that exist, and put in pseudonyms for form fields.

    Without a NAME all cassettes of the directory. Each is rewritten whole or not at all; exit 1 if any could
    not be.
    """
    redaction = _redaction(ctx, fields)
    paths = [_path(directory, name) for name in wanted or cassette_names(directory)]
    if not paths:
        click.echo(f"no cassettes in {directory}", err=True)
    failed: list[CassetteError] = []
    for path in paths:
        try:
            count = editing.redact(path, redaction)
        except CassetteError as error:
            failed.append(error)
        else:
            click.echo(f"{path.with_suffix(files.SUFFIX)}: {many(count, 'interaction')} redacted")
    for each in failed:
        click.echo(f"not redacted: {output.printable(str(each))}", err=True)
    if failed:
        ctx.exit(EXIT_FINDINGS)


def _redaction(ctx: click.Context, fields: str | None) -> Redaction:
    try:
        named = parameters_named(contract.load(), [fields or ""])
    except NamingError as error:
        raise click.BadParameter(str(error), ctx, param_hint="'--redact'") from None
    try:
        return Redaction(named, pseudonyms.load_key(os.environ) if named else b"", _secrets())
    except CassetteError as error:
        raise click.ClickException(str(error)) from None


@command.command(short_help="Join cassettes, or both sides of a merge conflict.")
@click.argument(
    "paths",
    metavar="FILE...",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    nargs=-1,
    required=True,
)
def merge(paths: tuple[Path, ...]) -> None:
    """Write the interactions of all FILEs into the first one, redacted.

    Interactions that are equal in two files count once. A FILE with merge conflict markers gives both sides.
    """
    try:
        count = editing.merge(paths)
    except CassetteError as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"{paths[0]}: {many(count, 'interaction')}")


@command.command(short_help="Take interactions out of a cassette.")
@click.argument("name")
@click.argument("numbers", metavar="NUMBER...", type=click.IntRange(min=1), nargs=-1, required=True)
@_DIRECTORY
def delete(name: str, numbers: tuple[int, ...], directory: Path) -> None:
    """Take the interactions NUMBER (as `show` counts them) out of the cassette NAME."""
    path = _path(directory, name)
    try:
        left = editing.delete(path, numbers)
    except CassetteError as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"{path.with_suffix(files.SUFFIX)}: {many(left, 'interaction')} left")


@command.command("import", short_help="Take over recordings of Ruby VCR, go-vcr, HAR, nock and others.")
@click.argument(
    "paths",
    metavar="FILE...",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    nargs=-1,
    required=True,
)
@click.option("--to", "name", metavar="NAME", help="One cassette for all FILEs [default: each file's name].")
@_REDACT
@_DIRECTORY
@click.pass_context
def import_files(
    ctx: click.Context, paths: tuple[Path, ...], name: str | None, fields: str | None, directory: Path
) -> None:
    """Write the Twilio interactions of other tools' FILEs into new cassettes, redacted.

    Read are Ruby VCR, betamax, go-vcr, HAR, nock, PHP-VCR, WireMock mappings, Hoverfly simulations, mitmproxy
    flow files, keploy, and vcrpy before 1.0. Exit 1 if a FILE could not be taken over, 2 if there was nothing
    to take.
    """
    redaction = _redaction(ctx, fields)
    read: dict[str, list[tuple[Path, ForeignFile]]] = {}
    failed = 0
    for path in dict.fromkeys(paths):
        try:
            file = _foreign_file(path)
        except (OSError, CassetteError, ForeignFileError) as error:
            failed += 1
            said = error.strerror if isinstance(error, OSError) else str(error)
            click.echo(output.printable(f"{path}: not taken over: {said}"), err=True)
        else:
            read.setdefault(name or _slug(path.stem), []).append((path, file))
    taken = 0
    for to, found in read.items():
        try:
            target = files.cassette_path(directory, to)
            files.check_free(directory, to)
            reports = editing.import_recordings(found, target, redaction)
        except CassetteError as error:
            failed += len(found)
            click.echo(output.printable(f"not taken over: {error}"), err=True)
            continue
        for (path, _), report in zip(found, reports, strict=True):
            taken += report.taken
            for line in _import_lines(path, target, report):
                click.echo(output.printable(line))
    if failed or not taken:
        ctx.exit(EXIT_FINDINGS if failed else EXIT_NOTHING)


def _foreign_file(path: Path) -> ForeignFile:
    with path.open("rb") as file:
        start = file.read(32)
    if formats.recognise_flows(start):
        from ringback.mitmproxy_flows import read_flow_file  # noqa: PLC0415 - it imports mitmproxy

        return read_flow_file(path)
    if path.stat().st_size > LARGEST:
        raise ForeignFileError(f"it has {path.stat().st_size} bytes, at most {LARGEST} are read")
    data = path.read_bytes()
    try:
        return formats.read(data, path)
    except ForeignFileError:
        with suppress(CassetteError):
            load(path)
            raise ForeignFileError("it is a cassette already, and replays as it is") from None
        raise


def _slug(stem: str) -> str:
    """Make a cassette's name of a file's."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")[:100] or "imported"


def _import_lines(path: Path, target: Path, report: ImportReport) -> Iterator[str]:
    where = f" into {target}" if report.taken else ""
    yield f"{path}: {report.title}, {many(report.total, 'interaction')}: {report.taken} taken{where}"
    for change, count in report.changed.items():
        yield f"  changed ({count}): {change}"
    for why, (count, numbers) in report.left.items():
        first = ", ".join(map(str, numbers)) + (", …" if count > len(numbers) else "")
        yield f"  left ({count}): {why} ({first})"


@command.command(short_help="Write a cassette as HAR, or for Ruby's VCR.")
@click.argument("name", shell_complete=complete_cassette)
@click.argument("numbers", metavar="[NUMBER]...", type=click.IntRange(min=1), nargs=-1)
@click.option("--har", "form", flag_value="har", help="As an HTTP Archive (HAR 1.2).")
@click.option("--vcr", "form", flag_value="vcr", help="As a cassette of Ruby's VCR.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write it here instead of stdout.",
)
@_DIRECTORY
def export(
    name: str, numbers: tuple[int, ...], form: str | None, output: Path | None, directory: Path
) -> None:
    """Write the interactions of cassette NAME, or those with a NUMBER, for other tools; without secrets."""
    if form is None:
        raise click.UsageError("say which format: --har or --vcr")
    loaded = _load(_path(directory, name))
    found = []
    for number in numbers or range(1, len(loaded.placed) + 1):
        one = _shown(_numbered(loaded, number))
        found.append((one.request, one.answer, one.said(FIELD_RECORDED) or ""))
    made = formats.to_har(found, __version__) if form == "har" else formats.to_ruby_vcr(found, __version__)
    _write(made.encode(), output)


@command.command("documentation", short_help="Write the documentation page's examples as a cassette.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write it here, e.g. to cassettes/documentation.yaml, instead of stdout.",
)
def write_documentation(output: Path | None) -> None:
    """Write a cassette of the documentation page's eight examples, in JSON and XML."""
    _write(editing.documentation_cassette(contract.load()), output)


def _write(made: bytes, output: Path | None) -> None:
    if output is None:
        click.echo(made, nl=False)
        return
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_bytes(made)
    except OSError as error:
        raise click.ClickException(f"{output} cannot be written: {error.strerror}") from None
    click.echo(f"{output}: written", err=True)


def _path(directory: Path, name: str) -> Path:
    try:
        path = files.existing_path(directory, name)
    except CassetteError as error:
        raise click.BadArgumentUsage(str(error)) from None
    if not path.is_file():
        known = ", ".join(cassette_names(directory)) or "none"
        raise click.BadArgumentUsage(f"there is no cassette {name!r} in {directory}; there are: {known}")
    return path


def _load(path: Path) -> ReadCassette:
    try:
        return load(path)
    except CassetteError as error:
        raise click.ClickException(str(error)) from None


def _row(directory: Path, name: str, faults: list[CassetteError]) -> tuple[str, ...]:
    """Build a cassette's table row without reading all of the file; its faults are appended to `faults`."""
    path = files.existing_path(directory, name)
    size = str(path.stat().st_size)
    recordings = CassetteReader(path)
    try:
        recordings.open(Redaction())
        last = recordings.interaction(len(recordings) - 1) if len(recordings) else None
    except (CassetteError, OSError) as error:
        faults.append(error if isinstance(error, CassetteError) else reading_error(path, error))
        return name, "-", size, "-", "-", "-", "broken"
    finally:
        recordings.close()
    layout = "vcrpy's" if recordings.foreign else "own"
    return (
        name,
        str(len(recordings)),
        size,
        (last.said(FIELD_RECORDED) if last else None) or "-",
        _kind(last) if last else "-",
        ",".join(redacted_fields_of(recordings.metadata)) or "-",
        f"{layout}, torn" if recordings.torn else layout,
    )


def _kind(one: Interaction) -> str:
    origin = origin_of(one)
    return f"mock {origin}" if origin else (one.said(FIELD_SOURCE) or "vcrpy").partition(";")[0]


def _label(one: LocatedInteraction) -> str:
    return plain_key(_shown(one).request).label


def _shown(one: LocatedInteraction) -> Interaction:
    """Return the interaction with secrets redacted, also one that vcrpy recorded."""
    return redacted_view(one.interaction, _secrets())


def _secrets() -> frozenset[str]:
    return frozenset(os.environ[name] for name in SECRET_VARIABLES if os.environ.get(name))


def _outcome(one: LocatedInteraction) -> str:
    answer = one.interaction.answer
    return f"{answer.status} {answer.reason} {error_code(answer.body) or ''}".rstrip()


def _exchange(path: Path, one: LocatedInteraction) -> None:
    shown = _shown(one)
    request, answer = shown.request, shown.answer
    lines = [f"# {path}:{one.line}", f"{request.method} {request.scheme}://{request.host}{request.target}"]
    lines += _message(request.headers, request.body)
    lines += ["", f"{answer.status} {answer.reason}"]
    lines += _message((*answer.headers, *shown.provenance), answer.body)
    for line in lines:
        click.echo(output.printable(line))


def _message(headers: Sequence[tuple[str, str]], body: bytes) -> list[str]:
    lines = [f"{name}: {value}" for name, value in headers]
    if not body:
        return lines
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return [*lines, "", f"({many(len(body), 'byte')}, no text)"]
    return [*lines, "", *text.split("\n")]
