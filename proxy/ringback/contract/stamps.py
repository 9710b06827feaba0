"""Stamps: time and randomness of an answer, from the machine or from a seed."""

from __future__ import annotations

import hashlib
import random
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from ringback.exchange import Request

EPOCH = datetime(2012, 10, 10, 21, 36, 14, tzinfo=UTC)  # the date of the documentation's first sample


class AnswerStamp(msgspec.Struct, frozen=True):
    """Time and randomness of one answer, handed in so that rendering stays pure.

    Attributes:
        sid: 32 hexadecimal digits for the new resource.
        request: 32 hexadecimal digits for the request id.
        now: When it was answered, in UTC.
        duration: Seconds that it took, for Twilio-Request-Duration.
    """

    sid: str
    request: str
    now: datetime
    duration: float


class Stamps(Protocol):
    """Source of every answer's own sid, request id, date and duration."""

    def of(self, request: Request) -> AnswerStamp:
        """The stamp of the answer to `request`; asking again gives another one."""
        ...  # a protocol has no body

    def reset(self) -> None:
        """Begin anew, as after a start."""
        ...  # a protocol has no body


class FreshStamps:
    """Stamps of the machine's clock with random sids, for answers that need not repeat."""

    def __init__(self) -> None:
        self._second, self._now = 0, EPOCH
        self._random = random.Random()  # noqa: S311 - neither a sid nor a duration is a secret

    def of(self, request: Request) -> AnswerStamp:  # noqa: ARG002 - the seeded kind needs the request
        """A new stamp; `now` has whole seconds, as Twilio's dates have."""
        second = int(time.time())
        if second != self._second:
            self._second, self._now = second, datetime.fromtimestamp(second, UTC)
        digits = f"{self._random.getrandbits(256):064x}"
        return AnswerStamp(digits[:32], digits[32:], self._now, 0.02 + 0.13 * self._random.random())

    def reset(self) -> None:
        """Nothing repeats, so nothing begins anew."""


class SeededStamps:
    """Stamps with the same sids, request ids and dates from run to run.

    They depend on the seed, the request and how often it came before, not on the order in which different
    requests arrive, so that parallel tests repeat too.

    Args:
        seed: Any integer.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._seen: Counter[bytes] = Counter()

    def reset(self) -> None:
        """Give equal requests the stamps of their first answers again."""
        self._seen.clear()

    def of(self, request: Request) -> AnswerStamp:
        """The stamp of the next answer to `request`."""
        what = f"{request.method}\0{request.host}\0{request.target}".encode("utf-8", "surrogateescape")
        key = hashlib.blake2b(what + b"\0" + request.body, digest_size=16).digest()
        self._seen[key] += 1
        nth = self._seen[key]
        digest = hashlib.sha256(b"%d\0%s\0%d" % (self._seed, key, nth)).digest()
        return AnswerStamp(
            sid=digest[:16].hex(),
            request=digest[16:].hex(),
            now=EPOCH + timedelta(seconds=nth - 1),
            duration=0.02 + digest[0] / 2000,
        )


def make_stamps(seed: int | None) -> Stamps:
    """Make seeded stamps where there is a seed, fresh ones otherwise."""
    return FreshStamps() if seed is None else SeededStamps(seed)
