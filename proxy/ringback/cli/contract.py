"""`ringback contract`: the documented table, and what one request would get and why."""

from __future__ import annotations

import base64
import json
import os
import re
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import click

from ringback.cli import output
from ringback.cli.options import complete_resource, table_option
from ringback.contract import Contract, ContractError, Credentials, Names, Request, answer, load
from ringback.contract.contract import WEIGHTS
from ringback.contract.form import plain_name
from ringback.contract.gate import canonical_host
from ringback.contract.listing import HEADINGS, as_json, markdown, outcomes, own_refusals, rows
from ringback.contract.render import make_stamps

if TYPE_CHECKING:
    from pathlib import Path

    from ringback.contract import AccountKind, Answer, Texts

_ACCOUNT = "AC" + "f" * 32
_ACCOUNT_PATH = re.compile(r"/[^/]+/Accounts/(AC[0-9A-Za-z]+)(?:[/.?]|$)")
_SURROGATE = re.compile("[\ud800-\udfff]")
_FILES = table_option("contract", parameter="contracts")


@click.group(invoke_without_command=True)
@_FILES
@click.option("--json", is_flag=True, help="Rows, refusals and errata as JSON.")
@click.option("--markdown", is_flag=True, help="The page's rows as a Markdown table.")
@click.option("--errata", is_flag=True, help="Where the page contradicts itself or the live API.")
@click.option("--basis", is_flag=True, help="How many outcomes are documented, recorded or assumed.")
@click.pass_context
def command(ctx: click.Context, /, contracts: tuple[Path, ...], **forms: bool) -> None:
    """Show the table of magic inputs, with the documentation page's lines; or `explain` one request."""
    wanted = [name for name, given in forms.items() if given]
    if ctx.invoked_subcommand is not None:
        if wanted:
            advice = "; --json goes after explain" if wanted == ["json"] else ""
            raise click.UsageError(
                f"--{wanted[0]} is for the table, not for {ctx.invoked_subcommand}{advice}"
            )
        ctx.obj = contracts
        return
    if len(wanted) > 1:
        raise click.UsageError(
            f"--{' and --'.join(wanted)} are different forms of the same: give one of them"
        )
    form = wanted[0] if wanted else None
    contract = _load(contracts)
    if form == "json":
        click.echo(json.dumps(as_json(contract), indent=2))
    elif form == "markdown":
        click.echo(markdown(contract), nl=False)
    elif form == "basis":
        _bases(contract)
    elif form == "errata":
        entries = [
            (erratum.id, ", ".join(map(str, erratum.lines)), erratum.page, erratum.answered)
            for erratum in contract.errata
        ]
        headings = ("name", "lines", "the page", "answered here")
        output.show_table(headings, entries, title="Errata of the page")
    else:
        _magic(contract)


@command.command(short_help="Tell what one request would get, and why.")
@click.argument("method")
@click.argument("resource", shell_complete=complete_resource)
@click.argument("fields", metavar="[KEY=VALUE]...", nargs=-1)
@_FILES
@click.option("--xml", is_flag=True, help="Ask for XML, as a path without .json does.")
@click.option("--json", "as_object", is_flag=True, help="Print one JSON object.")
@table_option("seed", help="Make the sid and date repeat.")
@table_option("texts")
@table_option("account")
@table_option("allow_local_urls")
@click.pass_obj
def explain(  # noqa: PLR0913 - click hands over each option by itself
    outer: tuple[Path, ...],
    method: str,
    resource: str,
    fields: tuple[str, ...],
    contracts: tuple[Path, ...],
    *,
    xml: bool,
    as_object: bool,
    seed: int | None,
    texts: Texts,
    account: AccountKind,
    allow_local_urls: bool,
) -> None:
    """Tell what METHOD RESOURCE with these form fields would get, why, and where the page says so.

    RESOURCE is Messages, Calls, IncomingPhoneNumbers, any other resource below the account, a whole path, or
    a URL of any of Twilio's hosts.

    \b
    ringback contract explain POST Messages From=+15005550006 To=+15005550009
    ringback contract explain GET Recordings
    ringback contract explain GET https://lookups.twilio.com/v2/PhoneNumbers
    """  # noqa: D301 - click wants a real backspace
    contract = _load((*outer, *contracts), texts=texts, account=account, local_urls=allow_local_urls)
    request = _request(contract, method, resource, fields, xml=xml)
    _warn_of_names(contract, request, fields)
    got = answer(contract, request, Names(request.host), Credentials(), make_stamps(seed).of(request))
    if as_object:
        click.echo(json.dumps(_as_object(got), indent=2))
        return
    source = got.source
    lines = [
        ("request", f"{request.method} {request.target}"),
        ("answer", f"{got.status} {got.reason}"),
        ("from", f"{source.kind}, rule {source.rule}"),
        *_cited(contract, source.line),
        ("basis", source.basis or ""),
        ("text", source.age() or ""),
        ("why", source.reason or ""),
    ]
    for name, text in lines:
        if text:
            click.echo(f"{click.style(f'{name:>8}', bold=True)}  {text}")
    click.echo()
    click.echo(_pretty(got))


def _bases(contract: Contract) -> None:
    """Count the outcomes of each basis, and tell for each assumed one what would settle it."""
    found = outcomes(contract)
    for basis in WEIGHTS:
        count = sum(outcome.basis == basis for outcome in found)
        if count or basis != "user":
            click.echo(f"{count:4} {basis}")
    click.echo(f"{len(own_refusals(contract)):4} refusals of Ringback's own, which say nothing about Twilio")
    click.echo()
    cells = [(one.id, one.answer, one.settled_by) for one in found if one.basis == "assumed"]
    output.show_table(("assumed", "answer", "settled by a test account's answer to"), cells)


def _magic(contract: Contract) -> None:
    """The table of magic inputs: one piped, one for each resource on a terminal, where width is dear."""
    found = rows(contract)
    if not sys.stdout.isatty():
        output.show_table(HEADINGS, [row.cells() for row in found])
        return
    for resource in contract.resources:
        cells = [
            (row.parameter, row.value, row.answer, row.basis)
            for row in found
            if row.resource == resource.resource
        ]
        output.show_table(("parameter", "value", "answer", "basis"), cells, title=f"POST {resource.resource}")


def _cited(contract: Contract, line: int | None) -> list[tuple[str, str]]:
    """Cite the place on the page that an answer follows: words, link, edition and line."""
    try:
        cited = contract.cite(line) if line else None
    except KeyError:  # a line of a user's own row
        return [("page", f"line {line}")]
    if cited is None:
        return [("page", "says nothing about this")]
    url = cited.url if cited.confirmed else f"{cited.url} (anchor not confirmed)"
    return [("page", str(cited)), ("", url), ("", f"{cited.edition}, line {line}")]


def _load(
    files: tuple[Path, ...],
    *,
    texts: Texts = "certain",
    account: AccountKind = "upgraded",
    local_urls: bool = False,
) -> Contract:
    try:
        return load(files, texts=texts, account=account, local_urls=local_urls)
    except ContractError as error:
        raise click.UsageError(str(error)) from None


def _request(
    contract: Contract, method: str, resource: str, fields: tuple[str, ...], *, xml: bool
) -> Request:
    pairs = []
    for field in fields:
        name, equals, value = field.partition("=")
        if not equals or not name:
            raise click.BadArgumentUsage(f"{field!r} is not KEY=VALUE, e.g. To=+15005550006")
        pairs.append((_text(name), _text(value)))
    if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", method):
        raise click.BadArgumentUsage(f"{method!r} is no method, e.g. POST")
    host, resource = _place(contract, resource)
    target = resource
    if not resource.startswith("/"):
        extension = "" if xml or resource.endswith((".json", ".xml")) else ".json"
        target = f"/2010-04-01/Accounts/{_ACCOUNT}/{resource}{extension}"
    named = _ACCOUNT_PATH.match(target)
    account = named[1] if named else _ACCOUNT  # a path that was pasted is its own account's
    basic = base64.b64encode(f"{account}:token".encode()).decode()
    headers = (("Authorization", f"Basic {basic}"), ("Content-Type", "application/x-www-form-urlencoded"))
    return Request(method.upper(), host, target, headers, urlencode(pairs).encode())


def _place(contract: Contract, resource: str) -> tuple[str, str]:
    """Return the host and the resource that an argument names.

    Raises:
        BadArgumentUsage: It is empty, or a URL that is not Twilio's.
    """
    scheme, separator, rest = resource.partition("://")
    named, slash, path = rest.partition("/")
    host = canonical_host(named)
    if separator and scheme.lower() in {"http", "https"} and contract.is_twilio(host):
        return host, f"/{path}" if slash else "/"
    if not resource or separator:
        raise click.BadArgumentUsage(
            f"{resource!r} is no resource: give its name, e.g. Messages, the URL's path from its / on, "
            "or a URL on twilio.com"
        )
    return contract.gate.hosts.main, resource


def _warn_of_names(contract: Contract, request: Request, fields: tuple[str, ...]) -> None:
    """Warn of fields that are no parameters, with the parameter that is meant."""
    name = request.path.rpartition("/")[2].partition(".")[0]
    resource = contract.by_path.get(name)
    if resource is None or request.method != "POST" or not contract.is_api(request.host):
        return
    known = {plain_name(parameter): parameter for parameter in resource.parameters}
    for field in dict.fromkeys(field.partition("=")[0] for field in fields):
        if field not in resource.parameters:
            meant = known.get(plain_name(field))
            advice = f"; case and punctuation count, did you mean {meant}?" if meant else ""
            click.echo(
                f"warning: {ascii(field)[1:-1]} is no parameter of {resource.resource}{advice}", err=True
            )


def _text(argument: str) -> str:
    """`argument` as UTF-8, whatever the locale took its bytes for."""
    if not _SURROGATE.search(argument):
        return argument
    try:
        return os.fsencode(argument).decode("utf-8")
    except UnicodeError:
        raise click.BadArgumentUsage(f"{argument!r} is not UTF-8 text") from None


def _as_object(got: Answer) -> dict[str, Any]:
    source = got.source
    return {
        "status": got.status,
        "reason": got.reason,
        "source": source.kind,
        "rule": source.rule,
        "basis": source.basis,
        "text_basis": source.text,
        "text_years": source.years,
        "page": source.page,
        "line": source.line,
        "why": source.reason,
        "content_type": got.header("Content-Type"),
        "body": got.body.decode(),
    }


def _pretty(got: Answer) -> str | bytes:
    """The body as it is when piped, in whatever locale; indented where a person reads it."""
    if sys.stdout.isatty() and got.header("Content-Type") == "application/json":
        return json.dumps(json.loads(got.body), indent=2)
    return got.body
