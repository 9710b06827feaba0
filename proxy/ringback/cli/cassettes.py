"""`ringback cassettes`: what has been recorded; list, show, verify and export it."""

from __future__ import annotations

import json
import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ringback import __version__, contract
from ringback.cassettes import editing, files, formats
from ringback.cassettes.files import CassetteError, reading_error
from ringback.cassettes.layout import CassetteReader
from ringback.cassettes.redaction import Redaction, known_of, match_ignore_of, redacted_fields_of
from ringback.cassettes.vcr_format import FIELD_RECORDED, FIELD_SOURCE, origin_of
from ringback.cassettes.verify import check, files_of
from ringback.cli import output
from ringback.cli.options import complete_cassette
from ringback.tally import many

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from ringback.cassettes.vcr_format import Interaction
    from ringback.cassettes.verify import CassetteFinding, LocatedInteraction, ReadCassette

from ringback.cli.cassettes_changes import (
    COMMANDS,
    EXIT_FINDINGS,
    EXIT_NOTHING,
    NOT_USED,
    READABLE,
    cassette_path,
    compact,
    known_secrets,
    label,
    loaded_cassette,
    numbered,
    outcome,
    redacted_interaction,
    refuse_address,
    report_skipped,
    skipped,
)


@click.group()
def command() -> None:
    """List, show, verify and change recorded interactions, and take over those of other tools."""


for _one in (*COMMANDS, compact):
    command.add_command(_one)


@command.command("list")
@READABLE
@output.progress("reading cassettes")
def list_cassettes(directory: Path) -> None:
    """List the cassettes in a directory, with all below it."""
    _check_directory(directory)
    paths = files.cassettes_below(directory)
    if not paths:
        click.echo(f"no cassettes in {directory}", err=True)
    faults: list[CassetteError] = []
    rows = [_row(directory, path, faults) for path in paths]
    if rows:
        headings = ("name", "interactions", "bytes", "last recorded", "source", "redacted", "layout")
        output.show_table(headings, rows)
    for fault in faults:
        click.echo(output.printable(str(fault)), err=True)
    for path in paths:
        used = files.used_instead(path)
        if used:
            click.echo(NOT_USED.format(path, used), err=True)
    report_skipped([directory])


@command.command(short_help="Show the interactions of a cassette, or one of them.")
@click.argument("name", shell_complete=complete_cassette)
@click.argument("number", type=click.IntRange(min=1), required=False)
@READABLE
@output.progress("reading the cassette")
def show(name: str, number: int | None, directory: Path) -> None:
    """Show the interactions of cassette NAME, one a line; or interaction NUMBER in full, without secrets.

    NAME may be a path too, of a file with any name.
    """
    cassette = loaded_cassette(cassette_path(directory, name))
    if number is None:
        for line in _about(cassette):
            click.echo(output.printable(line), err=True)
        rows = [
            (
                str(place),
                str(one.line),
                label(one),
                outcome(one),
                one.interaction.provenance_value(FIELD_RECORDED) or "",
            )
            for place, one in enumerate(cassette.placed, 1)
        ]
        output.show_table(("number", "line", "request", "answer", "recorded"), rows)
        return
    _exchange(cassette.path, numbered(cassette, number))


def _about(cassette: ReadCassette) -> Iterator[str]:
    """Describe what the cassette's metadata say of all its interactions."""
    ignored = match_ignore_of(cassette.metadata).rules
    if ignored:
        yield f"not compared (match-ignore): {', '.join(ignored)}"
    if cassette.fields:
        yield f"pseudonyms (redact): {', '.join(cassette.fields)}"
    imported = known_of(cassette.metadata).get("imported")
    for one in imported if isinstance(imported, list) else []:
        if isinstance(one, dict):
            yield f"imported: {one.get('format')}, {one.get('file')}"


@command.command("verify", short_help="Check cassettes, and repair them.")
@click.argument("paths", metavar="[PATH]...", type=click.Path(exists=True, path_type=Path), nargs=-1)
@click.option("--repair", is_flag=True, help="Cut torn tails, take out damage, finish what was interrupted.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@READABLE
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
    if not paths:
        _check_directory(directory)
    if repair:
        refuse_address(ctx)
        _repair(list(files_of(wanted)), lambda line: click.echo(f"repaired: {line}", err=as_json))
    loaded = contract.load()
    secrets = tuple(known_secrets())
    looked = list(dict.fromkeys(files_of(wanted)))
    found: list[CassetteFinding] = []
    unjudged: dict[Path, str] = {}
    unused = {path: used for path in looked if (used := files.used_instead(path))}
    with output.progress("checking cassettes", len(looked)) as step:
        for path in looked:
            found += check(path, loaded, secrets, partial(unjudged.__setitem__, path))
            step()
    if as_json:
        click.echo(_as_json(len(looked), found, unjudged, unused, skipped(wanted)))
    else:
        for finding in found:
            click.echo(str(finding))
        for path, why in unjudged.items():
            click.echo(f"{path}: not held against the contract: {why}", err=True)
        for path, used in unused.items():
            click.echo(NOT_USED.format(path, used), err=True)
        _advise(found)
        report_skipped(wanted)
        click.echo(f"{many(len(looked), 'cassette')} checked, {many(len(found), 'finding')}", err=True)
    if not looked:
        ctx.exit(EXIT_NOTHING)
    if found:
        ctx.exit(EXIT_FINDINGS)


def _check_directory(directory: Path) -> None:
    if not directory.is_dir():
        raise click.UsageError(f"there is no directory {directory}; name one, or use --cassettes")


def _advise(found: Iterable[CassetteFinding]) -> None:
    """Name the command that takes the secrets out."""
    for path in dict.fromkeys(finding.path for finding in found if finding.rule == "secret"):
        command = shlex.join(["ringback", "cassettes", "redact", str(path)])
        click.echo(f"to take the secrets out: {command}", err=True)


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
    others: Mapping[Path, str],
) -> str:
    """Render the result of `verify` as JSON: files read, findings, what was not judged or not looked at."""
    findings = [
        {"path": str(one.path), "line": one.line, "rule": one.rule, "detail": one.detail} for one in found
    ]
    unheld, unlooked = (
        [{"path": str(path), "why": why} for path, why in one.items()] for one in (unjudged, others)
    )
    doubles = [{"path": str(path), "used": str(used)} for path, used in unused.items()]
    shown = {
        "checked": looked,
        "findings": findings,
        "not_held_against_contract": unheld,
        "not_used": doubles,
        "not_looked_at": unlooked,
    }
    return json.dumps(shown, indent=2)


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
@READABLE
@output.progress("writing interactions")
def export(
    name: str, numbers: tuple[int, ...], form: str | None, output: Path | None, directory: Path
) -> None:
    """Write the interactions of cassette NAME, or those with a NUMBER, for other tools; without secrets."""
    if form is None:
        raise click.UsageError("say which format: --har or --vcr")
    loaded = loaded_cassette(cassette_path(directory, name))
    found = []
    for number in numbers or range(1, len(loaded.placed) + 1):
        one = redacted_interaction(numbered(loaded, number))
        found.append((one.request, one.answer, one.provenance_value(FIELD_RECORDED) or ""))
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


def _row(directory: Path, path: Path, faults: list[CassetteError]) -> tuple[str, ...]:
    """Build a cassette's table row without reading all of the file; its faults are appended to `faults`."""
    inside = path.relative_to(directory)
    named = path.parent == directory and files.is_name(path.stem) and not files.used_instead(path)
    name = path.stem if named else str(inside)
    size = str(path.stat().st_size)
    reader = CassetteReader(path)
    try:
        reader.open(Redaction())
        last = reader.interaction(len(reader) - 1) if len(reader) else None
    except (CassetteError, OSError) as error:
        faults.append(error if isinstance(error, CassetteError) else reading_error(path, error))
        return name, "-", size, "-", "-", "-", "broken"
    finally:
        reader.close()
    layout = "vcrpy's" if reader.foreign else "own"
    return (
        name,
        str(len(reader)),
        size,
        (last.provenance_value(FIELD_RECORDED) if last else None) or "-",
        _kind(last) if last else "-",
        ",".join(redacted_fields_of(reader.metadata)) or "-",
        f"{layout}, torn" if reader.torn else layout,
    )


def _kind(one: Interaction) -> str:
    origin = origin_of(one)
    return f"mock {origin}" if origin else (one.provenance_value(FIELD_SOURCE) or "vcrpy").partition(";")[0]


def _exchange(path: Path, one: LocatedInteraction) -> None:
    shown = redacted_interaction(one)
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
