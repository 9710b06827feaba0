"""Sources of observations: the live API, asked once for every claim, and recordings in cassettes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from ringback.cassettes.files import CassetteError, CassetteFormatError, cassettes_below, others_below
from ringback.cassettes.vcr_format import FIELD_RECORDED, FIELD_SOURCE
from ringback.drift.observation import Observation, form_of, who_asked
from ringback.exchange import MOCK, Source

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from ringback.cassettes.vcr_format import Interaction
    from ringback.cassettes.verify import ReadCassette
    from ringback.contract import Answer, Contract, Request
    from ringback.drift.claims import ClaimProbe, ClaimSet
    from ringback.drift.observation import Who


class UnansweredError(Exception):
    """The live API gave no answer to a request.

    Attributes:
        reason: Why, for people.
        final: Whether nothing else needs to be asked either.
        harmless: Whether a run without it can still be called complete.
    """

    def __init__(self, reason: str, *, final: bool = False, harmless: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.final = final
        self.harmless = harmless


@dataclass(frozen=True, slots=True)
class Asked:
    """Result of one probe.

    Attributes:
        probe: The request.
        observation: The exchange, or None.
        reason: Why there is none.
        harmless: Whether that leaves the run complete.
    """

    probe: ClaimProbe
    observation: Observation | None = None
    reason: str = ""
    harmless: bool = False


def choose(claim_set: ClaimSet, only: Iterable[str] = (), formats: Iterable[str] = ()) -> list[ClaimProbe]:
    """The probes whose claims match one of the globs `only`, in one of `formats`; all where there is none.

    A glob also selects by what an answer is then checked for: the field `Messages.answer.sid` needs an answer
    of Messages.
    """
    globs, wanted = tuple(only), tuple(formats)
    named = [claim for claim in claim_set.claims if any(fnmatchcase(claim, glob) for glob in globs)]
    direct = {claim for probe in claim_set.probes for claim in probe.claims}
    indirect = [claim for claim in named if claim not in direct]
    # What a finding is about may be narrower than a claim, or new: there is no claim then.
    indirect += [glob for glob in globs if not any(fnmatchcase(claim, glob) for claim in claim_set.claims)]
    return [
        probe
        for probe in claim_set.probes
        if (not wanted or probe.format in wanted)
        and (
            not globs
            or any(fnmatchcase(claim, glob) for claim in probe.claims for glob in globs)
            or any(_shows(claim_set, probe, claim) for claim in indirect)
        )
    ]


async def ask(
    probes: Iterable[ClaimProbe],
    account: str,
    send: Callable[[Request], Awaitable[tuple[Answer, str]]],
    *,
    pause: float = 0.0,
    report: Callable[[Asked], None] = lambda _: None,
) -> list[Asked]:
    """Send every probe, one after another.

    Args:
        probes: The requests.
        account: The AccountSid of the test credentials.
        send: Sends one request and returns the answer and where it was recorded; raises UnansweredError.
        pause: Seconds between two requests.
        report: Called with each result.
    """
    found: list[Asked] = []
    stopped: UnansweredError | None = None
    for number, probe in enumerate(probes):
        if stopped is None and number and pause:
            await asyncio.sleep(pause)
        if stopped is not None:
            asked = Asked(probe, None, stopped.reason, stopped.harmless)
        else:
            request = probe.request(account)
            try:
                answer, where = await send(request)
            except UnansweredError as error:
                asked = Asked(probe, None, error.reason, error.harmless)
                stopped = error if error.final else None
            else:
                place = where or f"{probe.method} {probe.path} ({probe.id})"
                asked = Asked(probe, Observation(request, answer, place, datetime.now(UTC), "proven"))
        found.append(asked)
        report(asked)
    return found


def _shows(claim_set: ClaimSet, probe: ClaimProbe, claim: str) -> bool:
    """Report whether the documented answer to `probe` is one that `claim` is about."""
    kind, _, rest = claim.partition(".")
    offline = claim_set.offline(probe.request("AC" + "0" * 32))
    if f"{rest}.".startswith("answer."):
        return offline.status < 400 and probe.path.removesuffix(".json").endswith(f"/{kind}")
    if kind == "text":
        return rest.partition(".")[0].encode() in offline.body
    shows = {
        "status": str(offline.status) == rest.partition(".")[0],
        "error": offline.status >= 400,
        "resource": probe.method == "GET",
        "outside": probe.method == "GET",
        "format": rest == "body" or rest.startswith("element") or offline.status < 400,
        "header": bool(rest),
    }
    return shows.get(kind, False)


# Answers that the live API never gave, by their source.
_NOT_LIVE: Final = {
    "contract": "answered by Ringback itself",
    "gate": "answered by Ringback itself",
    "documentation": "written down from the documentation, not recorded",
}


class UnreadableCassetteError(Exception):
    """A file or directory that holds no recording.

    Attributes:
        where: The path, with the line where that is known.
        why: The reason, for people.
    """

    def __init__(self, where: Path | str, why: str) -> None:
        super().__init__(f"{where}: {why}")
        self.where = str(where)
        self.why = why


@dataclass(frozen=True, slots=True)
class FoundRecording:
    """An exchange in a file.

    Attributes:
        observation: The exchange, or None if it says nothing about the live API.
        where: File and line.
        why: Why it says nothing.
        harmless: Whether the run is complete without it; it is not without a file that was named.
    """

    observation: Observation | None
    where: str
    why: str = ""
    harmless: bool = True


def read_recordings(
    paths: Sequence[Path],
    contract: Contract,
    load: Callable[[Path], ReadCassette],
    *,
    assume_test: bool = False,
) -> Iterator[FoundRecording]:
    """Every exchange in the cassettes at `paths`: files, or directories that are searched.

    What `ringback cassettes` does not look at in a directory is yielded without an observation.

    Args:
        paths: Files and directories.
        contract: Tells by a magic From that test credentials asked.
        load: Reads a cassette (`ringback.cassettes.verify.load`).
        assume_test: Take every exchange for one with test credentials.

    Raises:
        UnreadableCassetteError: There is no such file, nothing like a cassette in the directory, or the only
            file is no cassette. One among many is yielded without an observation.
    """
    files = [(file, path.is_dir()) for path in paths for file in _files(path)]
    for file, searched in files:
        try:
            found = _file(file, contract, load, assume_test=assume_test)
        except UnreadableCassetteError as error:
            if len(files) == 1:
                raise
            yield FoundRecording(None, error.where, error.why, harmless=searched)
        else:
            yield from found
    for path in paths:
        for other, why in others_below(path) if path.is_dir() else ():
            yield FoundRecording(None, str(other), why)


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        found = cassettes_below(path)
        if not found:
            raise UnreadableCassetteError(path, "no cassette (*.yaml, *.yml, *.json) in this directory")
        return found
    if not path.exists():
        raise UnreadableCassetteError(path, "no such file or directory")
    if not path.is_file():  # a pipe would be waited for
        raise UnreadableCassetteError(path, "no regular file")
    return [path]


def _file(
    path: Path,
    contract: Contract,
    load: Callable[[Path], ReadCassette],
    *,
    assume_test: bool,
) -> list[FoundRecording]:
    try:
        cassette = load(path)
    except CassetteFormatError as error:
        where = f"{path}:{error.line}" if error.line > 1 else path
        raise UnreadableCassetteError(where, f"no cassette: {error.detail}") from None
    except CassetteError as error:
        raise UnreadableCassetteError(path, str(error).removeprefix(f"{path}: ")) from None
    if not cassette.placed:
        raise UnreadableCassetteError(path, "no interaction in it")
    found = []
    for number, placed in enumerate(cassette.placed, 1):
        interaction = placed.interaction
        where = f"{path}:{placed.line}" if placed.text else f"{path}#{number}"
        hidden = _pseudonyms(interaction.request, cassette.fields, contract)
        if hidden:
            why = f"{' and '.join(hidden)} recorded as pseudonyms (--redact), which get other answers"
            found.append(FoundRecording(None, where, why))
            continue
        kind = _source(interaction)
        if kind in _NOT_LIVE:
            found.append(FoundRecording(None, where, _NOT_LIVE[kind]))
            continue
        observation = _observation(interaction, where, contract, kind, assume_test=assume_test)
        found.append(FoundRecording(observation, where))
    return found


def _pseudonyms(request: Request, fields: Sequence[str], contract: Contract) -> list[str]:
    """The fields of `request` that decide its answer and are not what was sent; any text does for a text."""
    redacted = {name.lower() for name in fields}
    texts = {
        name
        for resource in contract.resources
        for name, parameter in resource.parameters.items()
        if parameter.type == "string" and parameter.pattern is None
    }
    sent = dict.fromkeys(name for name, value in form_of(request) if value)
    return [name for name in sent if name.lower() in redacted and name not in texts]


def _source(interaction: Interaction) -> str:
    """Return the name of the source of the answer; empty if the interaction does not say."""
    return (interaction.provenance_value(FIELD_SOURCE) or "").partition(";")[0].strip()


def _observation(
    interaction: Interaction, where: str, contract: Contract, kind: str, *, assume_test: bool
) -> Observation:
    request, answer = interaction.request, interaction.answer
    who: Who = who_asked(contract, request, answer)
    if kind in {"live", MOCK}:
        who = "proven"
    elif assume_test:
        who = "test"
    recorded = interaction.provenance_value(FIELD_RECORDED) or answer.header("Date")
    if kind == MOCK:
        kept = interaction.provenance_value(FIELD_SOURCE) or ""
        origin = kept.partition("origin=")[2].partition(";")[0].strip() or "a mock upstream"
        answer = answer.with_source(Source("live", origin=origin))
    return Observation(request, answer, where, _moment(recorded), who)


def _moment(text: str | None) -> datetime | None:
    """A date of HTTP or of ISO 8601, in UTC."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        try:
            found = parsedate_to_datetime(text)
        except ValueError:
            return None
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
