"""`ringback drift`: where the live API, or recordings of it, and the documentation part ways."""

from __future__ import annotations

import asyncio
import base64
import math
import os
import re
import shlex
import sys
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from msgspec import structs

from ringback.cassettes.files import READ_SUFFIXES
from ringback.cli.options import argued, as_words, complete_rule, table_option
from ringback.cli.output import console, print_message, progress
from ringback.drift import ACCEPTED_FILE, REPORT_FORMS
from ringback.net import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ringback.contract import Answer, Request
    from ringback.drift.claims import ClaimProbe, ClaimSet
    from ringback.drift.compare import Comparison
    from ringback.drift.history import DriftHistory
    from ringback.drift.report.builder import AcceptedFinding, NotCompared, Report
    from ringback.drift.sources import Asked
    from ringback.upstream.forwarder import Gateway


EXIT_INCOMPLETE: Final = 2
INTERRUPTED: Final = 130  # what a shell says of a program that Ctrl-C ended
RATE: Final = 2.0  # requests a second towards Twilio: far below its limits
# Parameters by what they act on. A finding's command repeats those that decide whether it is found.
_JUDGING: Final = ("contracts", "accepted", "fail_on")
_WHO_IS_ASKED: Final = ("upstream", "upstream_ca", "wire")
_HOW: Final = ("egress_proxy", "connect_timeout", "timeout")
_LIVE_ALONE: Final = (*_WHO_IS_ASKED, *_HOW, "max_live", "rate", "cassette")
_RECORDINGS_ALONE: Final = ("assume_test",)


def _number(_context: click.Context, _option: click.Parameter, value: float | None) -> float | None:
    """`value`, which is no `nan`: that is in no range, and out of none."""
    if value is not None and math.isnan(value):
        raise click.BadParameter("nan is no number of requests")
    return value


def _place(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    """`value`, a directory or the address of a store that can be written to."""
    from ringback.cassettes.object_store import check_url, is_url  # noqa: PLC0415 - `--help` is fast

    if value is not None and is_url(value):
        try:
            check_url(value)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None
        if value.startswith("http"):
            raise click.BadParameter("a history needs s3://, gs://, az:// or a directory")
    return value or None


class _WithSubcommands(click.Command):
    """A command whose first argument may be the name of another one instead."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """The context of this command, or of the subcommand that is named."""
        other = SUBCOMMANDS.get(args[0]) if args else None
        if other is not None:
            return other.make_context(f"{info_name} {args[0]}", args[1:], parent=parent, **extra)
        return super().make_context(info_name, args, parent=parent, **extra)


@click.command(cls=_WithSubcommands)
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path), metavar="[PATH]...")
@click.option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice(tuple(REPORT_FORMS.values())),
    help="Form of the report; repeatable.",
)
@click.option(
    "--output",
    "outputs",
    multiple=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="File of the report: the first for the first --format, and so on; - and what is left is stdout.",
)
@click.option(
    "--fail-on",
    type=click.Choice(["error", "warning", "info"]),
    default="error",
    show_default=True,
    help="Lowest severity that fails the run (exit code 1).",
)
@click.option(
    "--only",
    multiple=True,
    metavar="GLOB",
    shell_complete=complete_rule,
    help="Only claims like this, e.g. 'Messages.to.*'.",
)
@click.option("--wire", multiple=True, type=click.Choice(["json", "xml"]), help="Ask in this format only.")
@click.option("--max-live", type=click.IntRange(1), metavar="N", help="Send no more than N requests.")
@click.option(
    "--rate",
    type=click.FloatRange(0, min_open=True),
    callback=_number,
    metavar="N",
    help=f"Requests a second; {RATE:g} by default, no limit towards loopback.",
)
@click.option(
    "--cassette",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("drift-answers.yaml"),
    show_default=True,
    help="Where the live answers are recorded, for the report to point into.",
)
@click.option(
    "--accepted",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path(ACCEPTED_FILE),
    show_default=True,
    help="Accepted findings.",
)
@click.option(
    "--assume-test", is_flag=True, help="Take every recording for one that was made with test credentials."
)
@click.option(
    "--history",
    metavar="PLACE",
    callback=_place,
    help="Keep the report here too: a directory, or s3://BUCKET/PATH and the like.",
)
@table_option("contract", parameter="contracts")
@table_option("upstream")
@table_option("upstream_ca")
@table_option("egress_proxy")
@table_option("connect_timeout")
@table_option("timeout")
def command(paths: tuple[Path, ...], **options: Any) -> None:
    """Hold the live API, or the recordings at PATH, against the documentation.

    Without PATH, every claim's request is sent to the live API with the test credentials in
    RINGBACK_TEST_ACCOUNT_SID and RINGBACK_TEST_AUTH_TOKEN, and recorded. With PATH (cassettes, or directories
    of them) nothing is sent.

    Exit code: 0 looked and found nothing that fails, 1 drift, 2 could not look or compared nothing.

    \b
    ringback drift                  ask the live API
    ringback drift cassettes/       look at recordings, without a network
    ringback drift --format html --output drift.html --format terminal
    ringback drift accept FINGERPRINT --reason TEXT --expires 2027-06-30
    ringback drift schema           the JSON report's schema
    ringback drift history PLACE    what the runs with --history PLACE found
    """  # noqa: D301 - click wants a real backspace
    from ringback.drift.report.builder import AcceptedError, read_accepted  # noqa: PLC0415 - `--help` is fast

    wanted = _pairs(options.pop("formats"), options.pop("outputs"))
    _warn_idle(argued(_LIVE_ALONE if paths else _RECORDINGS_ALONE), recordings=bool(paths))
    if not paths:
        _check_cassette(options["cassette"], [output for _, output in wanted if output is not None])
    place = options.pop("history")
    with usage_errors(AcceptedError):
        entries = read_accepted(options.pop("accepted"))
    history = _opened(place) if place else None
    report = _recordings(paths, entries, options) if paths else _live(entries, options)
    for form, output in wanted:
        _write(report, form, output)
    if history is not None:
        _keep(history, report)
    sys.exit(report.exit_code)


def _opened(place: str) -> DriftHistory:
    from ringback.drift.history import DriftHistory, HistoryError  # noqa: PLC0415 - as above

    with usage_errors(HistoryError):
        return DriftHistory(place, print_message)


def _keep(history: DriftHistory, report: Report) -> None:
    from ringback.drift.history import HistoryError  # noqa: PLC0415 - as above
    from ringback.drift.report import write  # noqa: PLC0415 - as above

    with usage_errors(HistoryError):
        name = history.add(write(report, "json"), report.made or datetime.now(UTC))
    print_message(f"kept as {history.place}/{name}")


@contextmanager
def usage_errors(*errors: type[Exception]) -> Iterator[None]:
    """Turn errors that a user can mend into a line and the exit code for not having looked."""
    try:
        yield
    except errors as error:
        print_message(str(error), colour="red")
        sys.exit(EXIT_INCOMPLETE)


@click.command()
@click.argument("fingerprint")
@click.option("--reason", required=True, help="Why this difference is accepted.")
@click.option(
    "--expires",
    required=True,
    type=click.DateTime(["%Y-%m-%d"]),
    help="The last day on which it is, e.g. 2027-06-30.",
)
@click.option("--rule", help="The claim that it is about, as the report names it.")
@click.option(
    "--accepted",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path(ACCEPTED_FILE),
    show_default=True,
    help="The file to write it to.",
)
def accept(fingerprint: str, reason: str, expires: datetime, rule: str | None, accepted: Path) -> None:
    """Accept the finding with this FINGERPRINT until a day, for a reason."""
    from ringback.drift.report.builder import AcceptedError, AcceptedFinding, add_accepted  # noqa: PLC0415 - as above

    if not re.fullmatch("[0-9a-f]{12}", fingerprint):
        raise click.BadParameter(
            f"{fingerprint!r} is no fingerprint: take the 12 hex digits that the report shows with a finding"
        )
    if not reason.strip():
        raise click.BadParameter("say why this difference is accepted", param_hint="--reason")
    if expires.date() < _today():
        raise click.BadParameter(f"{expires.date()} has passed already", param_hint="--expires")
    with usage_errors(AcceptedError):
        add_accepted(
            accepted,
            AcceptedFinding(fingerprint=fingerprint, reason=reason, expires=expires.date(), rule=rule),
        )
    print_message(f"{fingerprint} is accepted until {expires.date()} in {accepted}")


@click.command()
def schema() -> None:
    """Print the JSON schema of `--format json`."""
    from ringback.drift.report.as_json import schema as text  # noqa: PLC0415 - as above

    click.echo(text(), nl=False)


@click.command()
@click.argument("place", metavar="PLACE", callback=_place)
@click.option(
    "--format",
    "form",
    type=click.Choice(["terminal", "json", "html", "metrics"]),
    default="terminal",
    show_default=True,
    help="Form of the report; metrics is Prometheus' text.",
)
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="File of the report; stdout by default."
)
def history(place: str, form: str, output: Path | None) -> None:
    """Show what the drift runs kept at PLACE found: each finding's first and last day."""
    from ringback.cli.output import show_table  # noqa: PLC0415 - as above
    from ringback.drift import history as parts  # noqa: PLC0415 - as above

    opened = _opened(place)
    with usage_errors(parts.HistoryError):
        found = parts.timeline(opened.runs())
    if form == "terminal" and output is None:
        rows = [
            (one.rule, one.severity, str(one.first.date()), str(one.last.date()), str(one.seen), one.state)
            for one in found.findings
        ]
        if rows:
            show_table(("rule", "severity", "first day", "last day", "runs", "now"), rows)
        click.echo(parts.sentence(found))
        return
    forms = {"json": parts.as_json, "html": parts.as_html, "metrics": parts.as_metrics}
    text = forms.get(form, lambda made: parts.sentence(made) + "\n")(found)
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        write_atomically(output, text.encode())  # a collector of metrics may read it at any time
    except OSError as error:
        print_message(f"{output}: cannot be written: {error.strerror}", colour="red")
        sys.exit(EXIT_INCOMPLETE)


def _today() -> date:
    return datetime.now(UTC).date() - timedelta(days=1)  # a day that has not ended everywhere


SUBCOMMANDS: Final = {"accept": accept, "schema": schema, "history": history}


# -- recordings


def _recordings(paths: Sequence[Path], entries: Sequence[AcceptedFinding], options: dict[str, Any]) -> Report:
    from ringback.cassettes.verify import load  # noqa: PLC0415 - as above
    from ringback.drift.compare import compare  # noqa: PLC0415 - as above
    from ringback.drift.report.builder import NotCompared, ReportFrame, build_report, reproduce_command  # noqa: PLC0415 - as above
    from ringback.drift.sources import UnreadableCassetteError, read_recordings  # noqa: PLC0415 - as above

    claim_set = _claim_set(options["contracts"])
    _check_only(claim_set, options["only"])
    comparisons: list[Comparison] = []
    not_compared: list[NotCompared] = []
    with usage_errors(UnreadableCassetteError), progress("comparing recordings") as step:
        for found in read_recordings(paths, claim_set.contract, load, assume_test=options["assume_test"]):
            step()
            if found.observation is None:
                not_compared.append(NotCompared(found.where, found.why, found.harmless))
                continue
            comparison = compare(claim_set, found.observation)
            if comparison.skipped:
                not_compared.append(NotCompared(found.where, comparison.skipped, harmless=True))
            else:
                comparisons.append(comparison)
                if found.observation.who == "unknown":
                    not_compared.append(NotCompared(found.where, _UNKNOWN_CALLER, harmless=True))
    frame = ReportFrame(
        source="recordings",
        origin=shlex.join(map(str, paths)),
        only=options["only"],
        entries=entries,
        fail_on=options["fail_on"],
        reproduce=reproduce_command([*map(str, paths), *as_words((*_JUDGING, *_RECORDINGS_ALONE))]),
    )
    return build_report(claim_set, comparisons, not_compared, frame)


_UNKNOWN_CALLER: Final = "its outcome, because live credentials may have asked; --assume-test compares it too"


# -- the live API


def _live(entries: Sequence[AcceptedFinding], options: dict[str, Any]) -> Report:
    from ringback.cassettes.files import CassetteError  # noqa: PLC0415 - as above
    from ringback.drift.compare import compare  # noqa: PLC0415 - as above
    from ringback.drift.report.builder import NotCompared, ReportFrame, build_report, reproduce_command  # noqa: PLC0415 - as above
    from ringback.drift.sources import choose  # noqa: PLC0415 - as above

    claim_set = _claim_set(options["contracts"])
    account, token = os.environ.get(SID, ""), os.environ.get(TOKEN, "")
    if not account or not token:
        raise click.UsageError(
            f"set {SID} and {TOKEN} to the test credentials (Console, Account, API keys & tokens), or give "
            "recordings: ringback drift cassettes/"
        )
    _check_only(claim_set, options["only"])
    probes = choose(claim_set, options["only"], options["wire"])
    if not probes:
        raise click.UsageError("no request shows these claims; see --only and --wire")
    asked_for = probes[: options["max_live"]]
    try:
        with usage_errors(CassetteError):
            asked = asyncio.run(send_all(asked_for, (account, token), options))
    except KeyboardInterrupt:
        print_message("stopped before everything was asked", colour="red")
        sys.exit(INTERRUPTED)
    not_compared = [
        NotCompared(probe.id, "beyond --max-live", harmless=True) for probe in probes[len(asked_for) :]
    ]
    comparisons = []
    for item in asked:
        if item.observation is None:
            not_compared.append(NotCompared(item.probe.id, item.reason, item.harmless))
            continue
        comparison = compare(claim_set, item.observation)
        if comparison.skipped:
            not_compared.append(NotCompared(item.probe.id, comparison.skipped, harmless=False))
        else:
            comparisons.append(comparison)
    upstream = options["upstream"]
    frame = ReportFrame(
        source="live",
        origin=upstream or "https://api.twilio.com",
        only=options["only"],
        entries=entries,
        fail_on=options["fail_on"],
        whole=not not_compared and not options["only"] and not options["wire"],
        reproduce=reproduce_command(as_words((*_JUDGING, *_WHO_IS_ASKED))),
    )
    return build_report(claim_set, comparisons, not_compared, frame)


# -- what both share


def _check_only(claim_set: ClaimSet, only: Sequence[str]) -> None:
    """Raise UsageError if no claim is like one of the globs: a slip there must not look like no drift."""
    from ringback.drift.report.builder import unknown_claims  # noqa: PLC0415 - as above

    wrong = unknown_claims(claim_set, only)
    if wrong:
        raise click.UsageError(
            f"no claim is like {wrong[0]!r}; they are called like Messages.to.blocked, Calls.answer.sid, "
            "example.call.placed, text.21610, status.429, format.date and resource.unsupported, and * stands "
            "for anything"
        )


def _claim_set(contracts: Sequence[Path]) -> ClaimSet:
    from ringback.contract import ContractError, load  # noqa: PLC0415 - as above
    from ringback.drift.claims import ClaimSet  # noqa: PLC0415 - as above

    with usage_errors(ContractError):
        return ClaimSet(load(contracts))


def _check_cassette(cassette: Path, outputs: Sequence[Path]) -> None:
    """Raise BadParameter if `cassette` cannot be one, or is the same cassette as a report for its name."""
    if cassette.suffix != ".yaml":
        raise click.BadParameter(f"{cassette}: name it NAME.yaml", param_hint="--cassette")
    place = cassette.absolute().with_suffix("")
    for output in outputs:
        if output.suffix in READ_SUFFIXES and output.absolute().with_suffix("") == place:
            raise click.BadParameter(
                f"{output} and --cassette {cassette} would be one cassette's two files: name one otherwise",
                param_hint="--output",
            )


def _warn_idle(options: Sequence[str], *, recordings: bool) -> None:
    """Warn of options that this run does nothing with."""
    if options:
        why = "recordings are looked at, nothing is sent" if recordings else "the live API is asked"
        print_message(f"{', '.join(options)}: without effect, because {why}", colour="yellow")


def _pairs(formats: Sequence[str], outputs: Sequence[Path]) -> list[tuple[str, Path | None]]:
    """Each format with its file, or None for stdout."""
    formats = formats or ("terminal",)
    if len(outputs) > len(formats):
        raise click.UsageError(
            f"{len(outputs)} --output for {len(formats)} --format: the first belongs to the first, and so on"
        )
    files = [None if str(path) == "-" else path for path in outputs]
    files += [None] * (len(formats) - len(files))
    if files.count(None) > 1:
        raise click.UsageError("more than one report for stdout: give each --format but one an --output FILE")
    return list(zip(formats, files, strict=True))


def _write(report: Report, form: str, output: Path | None) -> None:
    from ringback.drift.report import write  # noqa: PLC0415 - as above
    from ringback.drift.report.terminal import show  # noqa: PLC0415 - as above

    if output is None and form == "terminal":
        show(report, console())
    elif output is None:
        click.echo(write(report, form), nl=False)
    else:
        try:
            output.write_text(write(report, form), encoding="utf-8")
        except OSError as error:
            print_message(f"{output}: cannot be written: {error.strerror}", colour="red")
            sys.exit(EXIT_INCOMPLETE)


SID: Final = "RINGBACK_TEST_ACCOUNT_SID"
TOKEN: Final = "RINGBACK_TEST_AUTH_TOKEN"  # noqa: S105 - the variable's name


async def send_all(
    probes: Sequence[ClaimProbe], pair: tuple[str, str], options: dict[str, Any]
) -> list[Asked]:
    """Send the probes through the forwarding path: its proof, its verification, its way out."""
    from ringback.cassettes.cassette import CassetteDirectory  # noqa: PLC0415 - as above
    from ringback.drift.sources import ask  # noqa: PLC0415 - as above
    from ringback.net import is_loopback  # noqa: PLC0415 - as above
    from ringback.upstream.routes import mock_upstream  # noqa: PLC0415 - as above

    cassette = options["cassette"]
    address = mock_upstream(options["upstream"]) if options["upstream"] else None
    local = address is not None and is_loopback(address.host)
    rate = options["rate"] or (None if local else RATE)
    gateway = make_gateway(options)
    library = CassetteDirectory(cassette.parent, mode="online", secrets=[pair[1]], report=print_message)
    session = library.open(cassette.stem)
    basic = base64.b64encode(":".join(pair).encode()).decode()

    async def send(request: Request) -> tuple[Answer, str]:
        authorized = structs.replace(request, headers=(*request.headers, ("Authorization", f"Basic {basic}")))
        answer = await _exchange(gateway, authorized)
        await asyncio.wrap_future(session.record(authorized, answer))
        return answer, ""

    try:
        with progress("asking the live API", len(probes)) as step:
            asked = await ask(probes, pair[0], send, pause=1 / rate if rate else 0.0, report=lambda _: step())
    finally:
        gateway.close()
        library.close()
    return _placed(asked, cassette)


def make_gateway(options: Mapping[str, Any]) -> Gateway:
    """Make the way to the live API, by the options that `serve` and `run` have too.

    Args:
        options: `upstream`, `upstream_ca`, `egress_proxy`, `connect_timeout` and `timeout`.
    """
    from ringback.upstream.client import UpstreamClient  # noqa: PLC0415 - as above
    from ringback.upstream.forwarder import Gateway  # noqa: PLC0415 - as above
    from ringback.upstream.routes import Egress, Routes, Timeouts, mock_upstream  # noqa: PLC0415 - as above

    named = options["egress_proxy"]
    egress = Egress.of(named) if named else Egress.from_environment()
    for sentence in egress.unusable:
        print_message(sentence, colour="yellow")
    address = mock_upstream(options["upstream"]) if options["upstream"] else None
    limits = Timeouts(options["connect_timeout"], options["timeout"])
    return Gateway(UpstreamClient(options["upstream_ca"], limits), Routes(address, egress))


async def _exchange(gateway: Any, request: Request) -> Answer:
    """One answer of the live API, its content coding removed.

    Raises:
        UnansweredError: There is none.
    """
    from ringback.cassettes.bodies import decode  # noqa: PLC0415 - as above
    from ringback.cassettes.files import CodingError  # noqa: PLC0415 - as above
    from ringback.drift.sources import UnansweredError  # noqa: PLC0415 - as above
    from ringback.upstream.http1 import UpstreamError  # noqa: PLC0415 - as above
    from ringback.upstream.proof import NotProvenError  # noqa: PLC0415 - as above

    other = not request.host.startswith("api.")
    try:
        proof = await gateway.prove(request)
    except NotProvenError as error:
        reason = _UNPROVEN.get(error.rule, f"the credentials are not proven: {error.detail or error.rule}")
        raise UnansweredError(reason, final=True) from None
    except UpstreamError as error:
        # Nothing is sent without the proof, and what prevents it prevents everything else.
        reason = f"the credentials cannot be proven, no answer ({error.rule}): {error.detail}"
        raise UnansweredError(reason, final=True) from None
    try:
        answer: Answer = await gateway.send(request, proof)
        body = decode(answer.body, answer.header("Content-Encoding"))
    except UpstreamError as error:
        raise UnansweredError(f"no answer ({error.rule}): {error.detail}", harmless=other) from None
    except CodingError as error:
        raise UnansweredError(f"an answer that cannot be decoded: {error}") from None
    return structs.replace(answer, body=body)


_UNPROVEN: Final = {
    "credentials.live": f"{SID} is a live account, which is never used here: name the test AccountSid",
    "credentials.wrong": f"{SID} and {TOKEN} do not belong together (HTTP 401)",
}


def _placed(asked: Sequence[Asked], cassette: Path) -> list[Asked]:
    """Return `asked` with each entry pointing to its place in the cassette."""
    from ringback.cassettes.files import CassetteError  # noqa: PLC0415 - as above
    from ringback.cassettes.verify import load  # noqa: PLC0415 - as above

    try:
        lines = [placed.line for placed in load(cassette).placed]
    except CassetteError:
        lines = []
    if len(lines) != sum(item.observation is not None for item in asked):
        return list(asked)
    places = iter(lines)
    return [
        replace(item, observation=replace(item.observation, where=f"{cassette}:{next(places)}"))
        if item.observation
        else item
        for item in asked
    ]
