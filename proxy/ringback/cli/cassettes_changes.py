"""Commands of `ringback cassettes` that change cassettes: redact, merge, delete, prune, refresh, import."""

from __future__ import annotations

import asyncio
import base64
import os
import re
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from msgspec import structs

from ringback import contract
from ringback.cassettes import editing, files, formats, pseudonyms
from ringback.cassettes.files import CassetteError, cassette_names
from ringback.cassettes.format_readers import LARGEST
from ringback.cassettes.formats import ForeignFileError
from ringback.cassettes.matching import ACCOUNT_PLACEHOLDER, form_fields, plain_key
from ringback.cassettes.redaction import (
    REDACTED,
    Redaction,
)
from ringback.cassettes.vcr_format import FIELD_RECORDED, FIELD_SOURCE, recorded_source
from ringback.cassettes.verify import interaction_findings, load, passes_gate, redacted_view
from ringback.cli import output
from ringback.cli.options import complete_cassette, table_option
from ringback.contract.form import NamingError, parameters_named
from ringback.exchange import error_code
from ringback.settings import SID_VARIABLE, TOKEN_VARIABLE
from ringback.tally import many
from ringback.upstream.http1 import UpstreamError
from ringback.upstream.proof import NotProvenError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ringback.cassettes.editing import ImportReport
    from ringback.cassettes.formats import ForeignFile
    from ringback.cassettes.remote import RemoteCassettes
    from ringback.cassettes.vcr_format import Interaction
    from ringback.cassettes.verify import LocatedInteraction, ReadCassette
    from ringback.exchange import Request
    from ringback.upstream.forwarder import Gateway


_ADDRESS: Final = "ringback.cassettes.address"  # in click's context: that of a store


def refuse_address(ctx: click.Context) -> None:
    """End the command with a usage error if it reads a store's copies: it would change those alone."""
    if _ADDRESS in ctx.meta:
        raise click.UsageError(f"{ctx.meta[_ADDRESS]} cannot be repaired in place")


def _readable(ctx: click.Context, _param: click.Parameter, value: Path | str) -> Path:
    """Return a directory to read cassettes from: of an address, the local copies."""
    if not isinstance(value, str):
        return value
    remote = _opened(value)
    ctx.meta[_ADDRESS] = value
    ctx.call_on_close(remote.close)
    try:
        remote.start()
    except CassetteError as error:
        raise click.ClickException(str(error)) from None
    return remote.directory


def _writable(_ctx: click.Context, _param: click.Parameter, value: Path | str) -> Path:
    """Return a directory whose cassettes are to be changed."""
    if isinstance(value, str):
        raise click.BadParameter(
            f"{value} cannot be changed in place: take a cassette to a file by `ringback cassettes compact "
            "NAME --output FILE`, change that, and put it back by the store's own tools"
        )
    return value


READABLE: Final = table_option("cassettes", parameter="directory", callback=_readable)
WRITABLE: Final = table_option("cassettes", parameter="directory", callback=_writable)


def _opened(url: str) -> RemoteCassettes:
    from ringback.cassettes.remote import RemoteCassettes  # noqa: PLC0415 - an extra, and rarely needed

    try:
        return RemoteCassettes(url, report=lambda line: click.echo(line, err=True), refresh=0)
    except CassetteError as error:
        raise click.ClickException(str(error)) from None


@click.command(short_help="Make one file of a cassette's segments in an object store.")
@click.argument("name", shell_complete=complete_cassette)
@click.option(
    "--output",
    "target",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the cassette here, and leave the store as it is.",
)
@click.option("--interrupted", is_flag=True, help="Take in recordings afresh that were interrupted.")
@table_option("cassettes", parameter="directory")
@output.progress("taking segments in")
def compact(name: str, target: Path | None, directory: Path | str, *, interrupted: bool) -> None:
    """Make one vcrpy file of all that recorders have written of the cassette NAME, and remove the segments.

    Others may go on recording. Nothing is lost if this is interrupted: run it again.
    """
    if not isinstance(directory, str):
        raise click.UsageError(
            "only the cassettes of a store have segments: give --cassettes s3://BUCKET/PATH"
        )
    remote = _opened(directory)
    try:
        if remote.read_only:
            raise click.UsageError(f"{directory} can only be read, and has no segments")
        if target is not None:
            _, made = remote.composition(files.check_name(name), unended=interrupted)
            target.write_bytes(b"".join(made.parts))
            click.echo(f"{target}: written", err=True)
            return
        count, taken, left = remote.compact(files.check_name(name), unended=interrupted)
    except CassetteError as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{target} cannot be written: {error.strerror}") from None
    finally:
        remote.close()
    click.echo(f"{name}: {many(count, 'interaction')}, {many(taken, 'segment')} taken in")
    if left:
        click.echo(
            f"{many(left, 'segment')} of a recording afresh that goes on, or was interrupted, left; "
            "--interrupted takes them in",
            err=True,
        )


EXIT_FINDINGS: Final = 1
EXIT_NOTHING: Final = 2  # nothing was checked, or taken
SECRET_VARIABLES: Final = ("RINGBACK_TEST_AUTH_TOKEN", "TWILIO_AUTH_TOKEN", "RINGBACK_PROXY_PASSWORD")
NOT_USED: Final = "{}: not used, because {} has the same name"
_MOST_SKIPPED: Final = 5  # files that are named
_REDACT: Final = click.option(
    "--redact", "fields", metavar="FIELD,...", help="Form fields whose values get pseudonyms."
)

# -- what both modules of this command need


def skipped(wanted: Iterable[Path]) -> dict[Path, str]:
    """Return what nobody looks at in those of `wanted` that are directories, each with the reason."""
    return dict(pair for one in wanted if one.is_dir() for pair in files.others_below(one))


def report_skipped(wanted: Iterable[Path]) -> None:
    """Name what in directories nobody looked at, by the reason."""
    by_reason: dict[str, list[str]] = {}
    for path, why in skipped(wanted).items():
        by_reason.setdefault(why, []).append(str(path))
    for why, others in by_reason.items():
        more = f" and {len(others) - _MOST_SKIPPED} more" if len(others) > _MOST_SKIPPED else ""
        shown = ", ".join(others[:_MOST_SKIPPED])
        click.echo(output.printable(f"not looked at: {shown}{more} ({why})"), err=True)


def numbered(cassette: ReadCassette, number: int) -> LocatedInteraction:
    """Return interaction `number`, from 1; a number that there is none of is a usage error."""
    if number > len(cassette.placed):
        has = many(len(cassette.placed), "interaction")
        raise click.BadArgumentUsage(f"{cassette.path} has {has}, no number {number}")
    return cassette.placed[number - 1]


def cassette_path(directory: Path, name: str) -> Path:
    """Find the cassette that `name`, a cassette's name or a path, leads to."""
    if files.is_name(name) and (path := files.existing_path(directory, name)).is_file():
        return path
    for path in (Path(name), directory / name, *(directory / f"{name}{one}" for one in files.READ_SUFFIXES)):
        if path.is_file():
            return path
    try:
        files.check_name(name)
    except CassetteError as error:
        raise click.BadArgumentUsage(f"there is no file {name!r}, and {error}") from None
    known = ", ".join(cassette_names(directory)) or "none"
    raise click.BadArgumentUsage(f"there is no cassette {name!r} in {directory}; there are: {known}")


def loaded_cassette(path: Path) -> ReadCassette:
    """Read the whole cassette at `path`; a broken one ends the command."""
    try:
        return load(path)
    except CassetteError as error:
        raise click.ClickException(str(error)) from None


def label(one: LocatedInteraction) -> str:
    """Return the request in a few words, redacted."""
    return plain_key(redacted_interaction(one).request).label


def redacted_interaction(one: LocatedInteraction) -> Interaction:
    """Return the interaction with secrets redacted, also one that vcrpy recorded."""
    return redacted_view(one.interaction, known_secrets())


def known_secrets() -> frozenset[str]:
    """Return the values of the environment that are secret whatever they look like."""
    return frozenset(os.environ[name] for name in SECRET_VARIABLES if os.environ.get(name))


def outcome(one: LocatedInteraction) -> str:
    """Return status, reason phrase and error code of the answer."""
    answer = one.interaction.answer
    return f"{answer.status} {answer.reason} {error_code(answer.body) or ''}".rstrip()


# -- the commands


@click.command(short_help="Take secrets and form fields out of cassettes.")
@click.argument("wanted", metavar="[NAME]...", nargs=-1, shell_complete=complete_cassette)
@_REDACT
@WRITABLE
@click.pass_context
def redact(ctx: click.Context, wanted: tuple[str, ...], fields: str | None, directory: Path) -> None:
    """Take secrets out of cassettes that exist, and put in pseudonyms for form fields.

    Without a NAME all cassettes of the directory, with all below it; a NAME may be a path too. Each is
    rewritten whole or not at all; exit 1 if any could not be.
    """
    redaction = _redaction(ctx, fields)
    paths = [cassette_path(directory, name) for name in wanted]
    if not wanted and directory.is_dir():
        paths = files.cassettes_below(directory)
    if not paths:
        click.echo(f"no cassettes in {directory}", err=True)
    failed: list[CassetteError] = []
    with output.progress("redacting cassettes", len(paths)) as step:
        for path in paths:
            try:
                _check_used(path)
                count = editing.redact(path, redaction, partial(click.echo, err=True))
            except CassetteError as error:
                failed.append(error)
            else:
                click.echo(f"{files.rewritten_path(path)}: {many(count, 'interaction')} redacted")
            step()
    if not wanted:
        report_skipped([directory])
    for each in failed:
        click.echo(f"not redacted: {output.printable(str(each))}", err=True)
    if failed:
        ctx.exit(EXIT_FINDINGS)


def _check_used(path: Path) -> None:
    """Raise CassetteError if another file is read in the place of `path`: it would be replaced."""
    used = files.used_instead(path)
    if used:
        raise CassetteError(NOT_USED.format(path, used))


def _redaction(ctx: click.Context, fields: str | None) -> Redaction:
    try:
        named = parameters_named(contract.load(), [fields or ""])
    except NamingError as error:
        raise click.BadParameter(str(error), ctx, param_hint="'--redact'") from None
    try:
        return Redaction(named, pseudonyms.load_key(os.environ) if named else b"", known_secrets())
    except CassetteError as error:
        raise click.ClickException(str(error)) from None


@click.command(short_help="Join cassettes, or both sides of a merge conflict.")
@click.argument(
    "paths",
    metavar="FILE...",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    nargs=-1,
    required=True,
)
@output.progress("merging cassettes")
def merge(paths: tuple[Path, ...]) -> None:
    """Write the interactions of all FILEs into the first one, redacted.

    Interactions that are equal in two files count once. A FILE with merge conflict markers gives both sides.
    """
    try:
        count = editing.merge(paths)
    except CassetteError as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"{paths[0]}: {many(count, 'interaction')}")


@click.command(short_help="Take interactions out of a cassette.")
@click.argument("name")
@click.argument("numbers", metavar="NUMBER...", type=click.IntRange(min=1), nargs=-1, required=True)
@WRITABLE
@output.progress("rewriting the cassette")
def delete(name: str, numbers: tuple[int, ...], directory: Path) -> None:
    """Take the interactions NUMBER (as `show` counts them) out of the cassette NAME."""
    path = cassette_path(directory, name)
    try:
        left = editing.delete(path, numbers)
    except CassetteError as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"{files.rewritten_path(path)}: {many(left, 'interaction')} left")


@click.command(short_help="Take out interactions that are unused, old, or wrong.")
@click.argument("wanted", metavar="NAME...", nargs=-1, required=True, shell_complete=complete_cassette)
@click.option("--unused", is_flag=True, help="Those that the last run with this cassette did not use.")
@click.option("--older-than", type=click.IntRange(0), metavar="DAYS", help="Those recorded before that.")
@click.option(
    "--rule",
    type=click.Choice(["contract", "secret"]),
    help="Those for which `verify` reports this rule.",
)
@click.option("--dry-run", is_flag=True, help="Name them only.")
@WRITABLE
@click.pass_context
@output.progress("searching cassettes")
def prune(  # noqa: PLR0913 - one parameter for each option
    ctx: click.Context,
    wanted: tuple[str, ...],
    unused: bool,
    older_than: int | None,
    rule: str | None,
    dry_run: bool,
    directory: Path,
) -> None:
    """Take interactions out of the cassettes NAME. Of several options, all have to hold.

    What the last run did not use is known for cassettes that a run of this user replayed, and until they are
    changed. A request that test credentials cannot make does not count as unused.
    """
    if not (unused or older_than is not None or rule):
        raise click.UsageError("say which: --unused, --older-than DAYS, or --rule RULE")
    failed = False
    for path in [cassette_path(directory, name) for name in wanted]:
        try:
            loaded = load(path)
            kept = files.load_usage(path, os.environ) if unused else range(1, len(loaded.placed) + 1)
            chosen = [
                number
                for number in kept
                if 0 < number <= len(loaded.placed)
                and (older_than is None or _is_older(loaded.placed[number - 1], older_than))
                and (rule is None or _breaks(rule, loaded.placed[number - 1], loaded))
            ]
            for number in sorted(chosen):
                one = loaded.placed[number - 1]
                click.echo(output.printable(f"{path}:{one.line}: {number}: {label(one)}"))
            if chosen and not dry_run:
                editing.delete(path, chosen)
        except CassetteError as error:
            failed = True
            click.echo(output.printable(f"not pruned: {error}"), err=True)
        else:
            done = "would be taken out" if dry_run else "taken out"
            left = many(len(loaded.placed) - len(chosen), "interaction")
            click.echo(f"{files.rewritten_path(path)}: {len(chosen)} {done}, {left} left", err=True)
    if failed:
        ctx.exit(EXIT_FINDINGS)


def _is_older(one: LocatedInteraction, days: int) -> bool:
    try:
        when = datetime.fromisoformat(one.interaction.provenance_value(FIELD_RECORDED) or "")
    except ValueError:
        return False  # nobody knows
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return datetime.now(UTC) - when > timedelta(days=days)


def _breaks(rule: str, one: LocatedInteraction, loaded: ReadCassette) -> bool:
    found = interaction_findings(one, loaded, contract.load(), tuple(known_secrets()))
    return any(finding.rule == rule for finding in found)


@click.command(short_help="Ask the live API again for some interactions.")
@click.argument("name", shell_complete=complete_cassette)
@click.argument("numbers", metavar="NUMBER...", type=click.IntRange(min=1), nargs=-1, required=True)
@table_option("upstream")
@table_option("upstream_ca")
@table_option("egress_proxy")
@table_option("connect_timeout")
@table_option("timeout")
@WRITABLE
@output.progress("asking the live API again")
def refresh(name: str, numbers: tuple[int, ...], directory: Path, **options: Any) -> None:
    """Send the requests of the interactions NUMBER to the live API again, and record the new answers.

    Needs the test credentials in RINGBACK_TEST_ACCOUNT_SID and RINGBACK_TEST_AUTH_TOKEN. Exit 1 if any
    could not be asked again; what was answered is recorded all the same.
    """
    account, token = (os.environ.get(variable, "") for variable in (SID_VARIABLE, TOKEN_VARIABLE))
    if not account or not token:
        raise click.UsageError(f"set {SID_VARIABLE} and {TOKEN_VARIABLE} to the test credentials")
    path = cassette_path(directory, name)
    loaded = loaded_cassette(path)
    asked = {number: numbered(loaded, number).interaction for number in dict.fromkeys(numbers)}
    new, failed = asyncio.run(_ask_again(asked, loaded.fields, (account, token), options))
    if new:
        try:
            editing.replace_interactions(path, new)
        except CassetteError as error:
            raise click.ClickException(str(error)) from None
    for number in asked:
        before = numbered(loaded, number)
        if number in new:
            after = replace(before, interaction=new[number])
            click.echo(output.printable(f"{path}: {number}: {outcome(before)}, now {outcome(after)}"))
        else:
            click.echo(output.printable(f"{path}: {number}: not asked again: {failed[number]}"), err=True)
    if failed:
        click.get_current_context().exit(EXIT_FINDINGS)


async def _ask_again(
    asked: Mapping[int, Interaction], fields: Sequence[str], pair: tuple[str, str], options: dict[str, Any]
) -> tuple[dict[int, Interaction], dict[int, str]]:
    """Send each request with the credentials `pair`; return new interactions, and why there is none."""
    from ringback.cli.drift import make_gateway  # noqa: PLC0415 - few commands need the live API

    gateway = make_gateway(options)
    passes = passes_gate()
    new: dict[int, Interaction] = {}
    failed: dict[int, str] = {}
    try:
        for number, one in asked.items():
            clean = Redaction().redact(one.request).request
            hidden = [name for name, _ in form_fields(clean) or () if name in fields]
            if hidden:
                failed[number] = f"{' and '.join(hidden)} stand in it as pseudonyms"
            elif REDACTED.encode() in clean.body or REDACTED in clean.target:
                failed[number] = "a secret was taken out of its request"
            elif not passes(clean):
                failed[number] = "test credentials cannot make this request"
            else:
                try:
                    new[number] = await _asked_again(one, clean, gateway, pair)
                except (UpstreamError, NotProvenError, CassetteError) as error:
                    failed[number] = getattr(error, "detail", "") or getattr(error, "rule", "") or str(error)
    finally:
        gateway.close()
    return new, failed


async def _asked_again(
    one: Interaction, clean: Request, gateway: Gateway, pair: tuple[str, str]
) -> Interaction:
    basic = base64.b64encode(":".join(pair).encode()).decode()
    sent = structs.replace(
        clean,
        target=clean.target.replace(ACCOUNT_PLACEHOLDER, pair[0]),
        body=clean.body.replace(ACCOUNT_PLACEHOLDER.encode(), pair[0].encode()),
        headers=(*clean.headers, ("Authorization", f"Basic {basic}")),
    )
    answer = await gateway.send(sent, await gateway.prove(sent))
    if answer.status >= 500 or answer.status == 429:
        raise CassetteError(f"the live API answered {answer.status} {answer.reason}".rstrip())
    redacted = Redaction(secrets=frozenset(pair[1:])).redact(sent)
    fields = (
        (FIELD_RECORDED, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")),
        (FIELD_SOURCE, recorded_source(answer.source)),
    )
    return replace(one, request=redacted.request, answer=redacted.answer(answer), provenance=fields)


@click.command("import", short_help="Take over recordings of Ruby VCR, go-vcr, HAR, nock and others.")
@click.argument(
    "paths",
    metavar="FILE...",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    nargs=-1,
    required=True,
)
@click.option("--to", "name", metavar="NAME", help="One cassette for all FILEs [default: each file's name].")
@_REDACT
@WRITABLE
@click.pass_context
@output.progress("reading recordings")
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
            reason = error.strerror if isinstance(error, OSError) else str(error)
            click.echo(output.printable(f"{path}: not taken over: {reason}"), err=True)
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
    if not path.is_file():  # a pipe or a device would be waited for, or never end
        raise ForeignFileError("it is no regular file")
    if not path.stat().st_size:
        raise ForeignFileError("it is empty")
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


COMMANDS: Final = (redact, merge, delete, prune, refresh, import_files)
