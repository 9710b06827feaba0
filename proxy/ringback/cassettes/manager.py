"""The cassettes of this proxy: which one a client named, what it has for a request, and recording into it.

The cassette library is imported when the first cassette is needed: most offline runs need none, and it takes
longer to import than the rest.
"""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from ringback.cassettes import files
from ringback.cassettes.files import CassetteError, UnusableCassetteError
from ringback.exchange import LARGE, Answer
from ringback.state import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from ringback.cassettes.cassette import Cassette, CassetteDirectory
    from ringback.cassettes.matching import MatchIgnore
    from ringback.cassettes.misses import Miss
    from ringback.cassettes.remote import RemoteCassettes
    from ringback.exchange import Mode, Request

Repeats: TypeAlias = Literal["last", "error"]

_SHOWN: Final = 5  # unused interactions that are listed by name
_BELIEVED: Final = 1.0  # seconds after which a cassette that was not there is looked for again
_MOST_MISSING: Final = 1024


@dataclass(frozen=True, slots=True)
class CassetteOptions:
    """Cassette options as the user set them.

    Attributes:
        directory: Where they are.
        name: The one of clients that name none.
        repeats: What a request gets after its last interaction.
        strict: Whether a miss is an error instead of the contract's affair.
        redact: Form fields that are recorded as pseudonyms.
        match_ignore: Fields, and parts of values, that do not count when requests are compared.
        replay_any: Whether recordings of requests that are refused otherwise answer them, offline.
        max_age: Days after which an interaction is called old; 0 for never.
        record_statuses: Statuses worth recording, such as `2xx` and `400`; all if there are none.
    """

    directory: Path = Path("cassettes")
    name: str = "default"
    repeats: Repeats = "last"
    strict: bool = False
    redact: tuple[str, ...] = ()
    match_ignore: tuple[str, ...] = ()
    replay_any: bool = False
    max_age: int = 0
    record_statuses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CassetteUsage:
    """Usage counts of one cassette.

    Attributes:
        name: Its name.
        replayed: Requests answered from it.
        missed: Requests that it had nothing for.
        recorded: Interactions recorded into it.
        failed: Interactions that could not be recorded.
        unused: Interactions that no request was answered from and that could answer one.
        labels: The first few of those, in words.
        refused: Requests refused although it has an interaction for them, see `--replay-any`.
        old: Interactions older than `--max-age` that answered requests.
        put_aside: The cassette that an `online` recording became, because this one kept its name; or empty.
    """

    name: str
    replayed: int
    missed: int
    recorded: int
    failed: int
    unused: int
    labels: tuple[str, ...] = field(default=())
    refused: int = 0
    old: int = 0
    put_aside: str = ""

    @property
    def touched(self) -> bool:
        """True if any request used this cassette."""
        return bool(self.replayed or self.missed or self.recorded or self.failed or self.refused)


class CassetteManager:
    """Looks up and records.

    Attributes:
        partial: Why what is recorded afresh may not be all, so that old cassettes keep their names.
        commands: The command lines that record cassettes, by name, where they are not `ringback run`'s.

    Args:
        wanted: What the user asked for.
        mode: The mode.
        secrets: Values that must never be recorded.
        report: Takes sentences for people, from any thread.
        remote: The store whose local copies the directory has, or None.
        state: What is shared with other replicas; by default nothing is.
    """

    def __init__(  # noqa: PLR0913 - they are options, all named
        self,
        wanted: CassetteOptions,
        mode: Mode,
        *,
        secrets: tuple[str, ...] = (),
        report: Callable[[str], None] = lambda _: None,
        remote: RemoteCassettes | None = None,
        state: State | None = None,
    ) -> None:
        self.wanted = wanted
        self.mode = mode
        self.partial = ""
        self.commands: dict[str, str] = {}
        self._secrets = secrets
        self._report = report
        self._directory: CassetteDirectory | None = None
        self._cassettes: dict[str, Cassette] = {}
        self._remote = remote
        self._state = state or State()
        self._versions: dict[str, int] = {}  # of local copies, when each was read
        self._places: dict[str, Path] = {}  # files outside the directory, by name
        self._missing: dict[str, float] = {}  # names without a cassette, and until when that is believed

    @property
    def strict(self) -> bool:
        """True if a miss is an error."""
        return self.wanted.strict

    def check(self) -> None:
        """Open the cassette of clients that name none, if it is there: a broken one is reported at start.

        Raises:
            UnusableCassetteError: It is broken, or its name is none.
        """
        self._cassette(self.wanted.name)

    def lookup(self, request: Request, user: str | None) -> Answer | Miss | None:
        """Look `request` up in the cassette that `user` names; return None if there is no cassette.

        Raises:
            UnusableCassetteError: The name is none, or the cassette is broken.
        """
        cassette = self._cassette(user or self.wanted.name)
        if cassette is None or (self.mode == "online" and not self.strict):
            return None
        try:
            found = cassette.lookup(request)
        except CassetteError as error:
            raise UnusableCassetteError(str(error)) from None
        command = self.commands.get(cassette.name)
        return replace(found, command=command) if command and not isinstance(found, Answer) else found

    def recorded(self, request: Request, user: str | None) -> Answer | str | None:
        """Say what the cassette that `user` names has for a request that test credentials cannot make.

        Returns:
            The recorded answer, if `--replay-any` is on, offline; else a hint that there is one; None where
            there is none.
        """
        try:
            cassette = self._cassette(user or self.wanted.name)
            number = cassette.number_of(request) if cassette is not None else 0
            if cassette is None or not number:
                return None
            if not (self.wanted.replay_any and self.mode == "offline"):
                cassette.count_refused()
                return f"interaction {number} of cassette {cassette.name} is this request: see --replay-any"
            found = cassette.lookup(request)
        except (CassetteError, UnusableCassetteError):
            return None
        return found if isinstance(found, Answer) else None

    async def record(self, request: Request, answer: Answer, user: str | None) -> str:
        """Record an interaction; it lasts when this returns. A failure is reported, and the client served.

        Returns:
            Where it is, for a header, or why it is nowhere.
        """
        try:
            cassette = self._cassette(user or self.wanted.name)
            assert cassette is not None, "there is a cassette in every mode that records"
            if (answer.header("Content-Type") or "").lower().startswith("text/html"):
                cassette.count_unanswered(request)
                return "not recorded: an HTML page is no answer of the API"
            if not is_worth_recording(answer.status, self.wanted.record_statuses):
                return f"not recorded: status {answer.status} (--record-statuses)"
            return await asyncio.wrap_future(cassette.record(request, answer))
        except (CassetteError, UnusableCassetteError) as error:
            return f"not recorded: {error}"

    def unanswered(self, request: Request, user: str | None, *, waits: bool) -> None:
        """Note that a request of a client that named the cassette `user` waits for its live answer, or not.

        A request that failed is made good by an equal one that is answered.
        """
        with suppress(UnusableCassetteError):  # then nothing is recorded in it
            cassette = self._cassette(user or self.wanted.name)
            if cassette is not None:
                cassette.count_unanswered(request, waits=waits)

    def takes_long(self, name: str) -> bool:
        """Report whether a lookup in the cassette `name` has to read much, which a thread should do."""
        cassette = self._cassettes.get(name)
        if cassette is not None:
            return cassette.has_large
        if self._missing.get(name, 0.0) >= monotonic() or self._is_pointless(name):
            return False
        if "ringback.cassettes.cassette" not in sys.modules:
            return True  # its import takes longer than most requests
        found = list(files.cassette_files(self.wanted.directory, name)) if files.is_name(name) else []
        found += filter(None, [self._places.get(name)])
        with suppress(OSError):
            return any(path.stat().st_size > LARGE for path in found)
        return False

    def rewind(self, name: str | None) -> None:
        """Replay from the first interaction on again: in the cassette `name`, or in every one."""
        for cassette in (
            self._cassettes.values() if name is None else filter(None, [self._cassettes.get(name)])
        ):
            cassette.rewind()
        self._state.rewind(name)  # of cassettes that only other replicas have open

    def place(self, name: str, path: Path) -> None:
        """Take the cassette `name` from the file `path`, unless the directory has one of that name."""
        if not files.cassette_files(self.wanted.directory, name):
            self._places[name] = path
            self._missing.pop(name, None)

    def remembers(self, name: str) -> bool:
        """Report whether answers to clients of the cassette `name` depend on earlier answers."""
        try:
            return self._cassette(name) is not None
        except UnusableCassetteError:
            return True  # one place is enough to say so

    def close(self) -> tuple[CassetteUsage, ...]:
        """Finish recordings, and report what became of the cassettes."""
        if self._directory is None:
            self._close_remote()
            return ()
        usable = None if self.wanted.replay_any and self.mode == "offline" else _usable()
        found = [_used(cassette, usable) for cassette in self._directory.opened]
        opened = self._directory.opened
        for cassette, used in zip(opened, found, strict=True):
            if used.touched:
                cassette.save_usage(os.environ, usable)
        self._directory.close(self.partial)
        found = [
            replace(used, put_aside=cassette.put_aside) for used, cassette in zip(found, opened, strict=True)
        ]
        self._cassettes.clear()
        self._directory = None
        self._close_remote()
        # Whoever names cassettes for all clients has nothing to do with the one of the others.
        alone = not any(used.touched for used in found)
        return tuple(used for used in found if used.touched or (alone and used.name == self.wanted.name))

    def _close_remote(self) -> None:
        if self._remote is not None:
            self._remote.close()
            self._remote = None

    def _cassette(self, name: str) -> Cassette | None:
        cassette = self._cassettes.get(name)
        if self._remote is not None:
            self._take_news(name, cassette, self._remote.version(name))
        if cassette is None and self._missing.get(name, 0.0) < (now := monotonic()):
            if self._is_pointless(name):
                if len(self._missing) >= _MOST_MISSING:
                    self._missing.clear()
                self._missing[name] = now + _BELIEVED
            else:
                cassette = self._cassettes[name] = self._open(name)
        return cassette

    def _take_news(self, name: str, cassette: Cassette | None, version: int) -> None:
        """Read the local copy of a cassette again where others have recorded into it."""
        if version == self._versions.get(name, 0):
            return
        self._versions[name] = version
        self._missing.pop(name, None)
        if cassette is not None:
            try:
                cassette.reload()
            except CassetteError as error:
                self._report(f"{error}; what was read before answers")

    def _is_pointless(self, name: str) -> bool:
        """Report whether the cassette `name` can neither answer a request nor record one."""
        if self.mode != "offline" or self.strict:
            return False
        if not files.is_name(name):
            return False  # the user hears what is wrong with it
        return name not in self._places and not files.cassette_files(self.wanted.directory, name)

    def _ignored(self) -> MatchIgnore:
        from ringback.cassettes.matching import MatchIgnore  # noqa: PLC0415 - see the module

        return MatchIgnore.parse(self.wanted.match_ignore)

    def _open(self, name: str) -> Cassette:
        from ringback.cassettes.cassette import CassetteDirectory  # noqa: PLC0415 - see the module

        if self._directory is None:
            self._directory = CassetteDirectory(
                self.wanted.directory,
                mode=self.mode,
                repeats=self.wanted.repeats,
                ignored=self._ignored(),
                max_age=self.wanted.max_age,
                redact=self.wanted.redact,
                secrets=self._secrets,
                report=self._report,
                remote=self._remote,
                uses=self._state.uses,
            )
        try:
            return self._directory.open(name, self._places.get(name))
        except CassetteError as error:
            raise UnusableCassetteError(str(error)) from None


def is_worth_recording(status: int, wanted: tuple[str, ...]) -> bool:
    """Report whether `status` is one of `wanted`, such as `2xx` and `400`; without any every status is."""
    text = str(status)
    return not wanted or any(one in (text, f"{text[0]}xx") for one in wanted)


def _usable() -> Callable[[Request], bool]:
    """Make the test whether a recorded request passes the gate, so that it can be replayed at all."""
    judge: list[Callable[[Request], bool]] = []  # made with the first unused interaction

    def usable(request: Request) -> bool:
        if not judge:
            from ringback.cassettes.verify import passes_gate  # noqa: PLC0415 - see the module

            judge.append(passes_gate())
        return judge[0](request)

    return usable


def _used(cassette: Cassette, usable: Callable[[Request], bool] | None) -> CassetteUsage:
    count, shown = cassette.unused(_SHOWN, usable)
    labels = tuple(f"{cassette.path}:{one.line} {one.label}" if one.line else one.label for one in shown)
    counts: dict[str, Any] = {
        name: getattr(cassette, name)
        for name in ("replayed", "missed", "recorded", "failed", "refused", "old")
    }
    return CassetteUsage(cassette.name, **counts, unused=count, labels=labels)
