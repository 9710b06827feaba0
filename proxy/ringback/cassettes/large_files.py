"""Large cassettes of vcrpy's own layout: requests are read at the start, answers when they are needed.

vcrpy reads such a file whole, which takes a millisecond for each interaction. Here the items are found by
their first column, and the YAML of the requests alone is read, which takes a tenth of that. A file for which
that might not be right (anchors that are shared between items, authentication challenges, JSON) is left to
vcrpy, and so is every small one: it is checked as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, overload

from ringback.cassettes import vcr_format
from ringback.cassettes.files import READ_SUFFIXES, CassetteFormatError
from ringback.cassettes.redaction import remaining_redaction
from ringback.cassettes.vcr_format import Interaction, InteractionError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ringback.cassettes.matching import MatchKey
    from ringback.cassettes.redaction import Redaction
    from ringback.exchange import Request

LEAST: Final = 1024 * 1024  # bytes of a file that is read in this way
_SHARED: Final = re.compile(r"(?:^|[\s\[{,])[&*][A-Za-z0-9_]+(?:[\s\]},]|$)", re.MULTILINE)
_CHALLENGE: Final = re.compile(r"""code['"]?: *['"]?401""")
_KEY: Final = re.compile(r"^[A-Za-z\"']", re.MULTILINE)


@dataclass
class LargeFile(Sequence[Interaction]):
    """The interactions of a large file, each read when it is first asked for.

    Attributes:
        path: The file.
        metadata: Its metadata.
        requests: All its requests, redacted.
        keys: The match key of each.
    """

    path: Path
    metadata: dict[str, Any]
    requests: list[Request]
    keys: list[MatchKey]
    _text: str
    _starts: list[int]
    _end: int
    _finish: Callable[[Interaction], Interaction]
    _read: dict[int, Interaction] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.requests)

    @property
    def largest(self) -> int:
        """The length of the largest interaction's text."""
        return max((end - start for start, end in pairwise([*self._starts, self._end])), default=0)

    @overload
    def __getitem__(self, number: int) -> Interaction: ...

    @overload
    def __getitem__(self, number: slice) -> Sequence[Interaction]: ...

    def __getitem__(self, number: int | slice) -> Interaction | Sequence[Interaction]:
        """Return interaction `number`, redacted.

        Raises:
            CassetteFormatError: It is no interaction.
        """
        if isinstance(number, slice):
            return [self[at] for at in range(*number.indices(len(self)))]
        number = range(len(self))[number]
        if number not in self._read:
            ends = [*self._starts[number + 1 : number + 2], self._end]
            try:
                one = vcr_format.parse(self._text[self._starts[number] : ends[0]].encode())
            except InteractionError as error:
                line = self._text.count("\n", 0, self._starts[number]) + max(error.line, 1)
                raise CassetteFormatError(
                    self.path, line, f"{error}; correct it there or take it out"
                ) from None
            self._read[number] = self._finish(one)
        return self._read[number]


def read_large(
    path: Path, redaction: Redaction, readable: Callable[[Interaction, Redaction], Interaction]
) -> LargeFile | None:
    """Read the requests of the file at `path`; None if vcrpy has to read it as a whole.

    Args:
        path: The file.
        redaction: What is taken out of requests and answers.
        readable: Takes it out of an interaction.

    Raises:
        OSError: It cannot be read.
    """
    if path.suffix == READ_SUFFIXES[2] or path.stat().st_size < LEAST:
        return None
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError:
        return None
    starts = vcr_format.item_starts(text)
    if not starts or text.lstrip().startswith("{") or _CHALLENGE.search(text) or _SHARED.search(text):
        return None
    last = _KEY.search(text, starts[-1])
    end = last.start() if last else len(text)
    try:
        about = vcr_format.load_mapping((text[: starts[0]] + text[end:]).encode())
        bounds = zip(starts, [*starts[1:], end], strict=True)
        asked = [vcr_format.parse_request(text[start:stop].encode()) for start, stop in bounds]
    except InteractionError:
        return None
    if about.get("interactions", 0) is not None or about.get("version") != 1:
        return None
    metadata = about.get("metadata")
    known = metadata if isinstance(metadata, dict) else {}
    taken = remaining_redaction(known, redaction)
    clean = [taken.redact(one) for one in asked]
    return LargeFile(
        path,
        known,
        [one.request for one in clean],
        [one.key for one in clean],
        text,
        starts,
        end,
        lambda one: readable(one, taken),
    )
