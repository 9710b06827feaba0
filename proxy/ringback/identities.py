"""Where an answer's time and randomness come from: the machine, or a seed."""

from __future__ import annotations

import hashlib
import random
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from ringback.contract.render import Identity

if TYPE_CHECKING:
    from ringback.exchange import Request

EPOCH = datetime(2012, 10, 10, 21, 36, 14, tzinfo=UTC)  # the date of the documentation's first sample


class Identities(Protocol):
    """Gives every answer its own sid, request id, date and duration."""

    def of(self, request: Request) -> Identity:
        """The identity of the answer to `request`; asking again gives another one."""


class FreshIdentities:
    """The machine's clock and random sids: what one wants unless answers must repeat."""

    def __init__(self) -> None:
        self._second, self._now = 0, EPOCH
        self._random = random.Random()  # noqa: S311 - neither a sid nor a duration is a secret

    def of(self, request: Request) -> Identity:  # noqa: ARG002 - the seeded kind needs the request
        """A new identity; `now` has whole seconds, as Twilio's dates have."""
        second = int(time.time())
        if second != self._second:
            self._second, self._now = second, datetime.fromtimestamp(second, UTC)
        digits = f"{self._random.getrandbits(256):064x}"
        return Identity(digits[:32], digits[32:], self._now, 0.02 + 0.13 * self._random.random())


class SeededIdentities:
    """The same sids, request ids and dates from run to run.

    They depend on the seed, the request and how often it came before, not on the order in which different
    requests arrive, so that parallel tests repeat too.

    Args:
        seed: Any integer.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._seen: Counter[bytes] = Counter()

    def of(self, request: Request) -> Identity:
        """The identity of the next answer to `request`."""
        what = f"{request.method}\0{request.host}\0{request.target}".encode("utf-8", "surrogateescape")
        key = hashlib.blake2b(what + b"\0" + request.body, digest_size=16).digest()
        self._seen[key] += 1
        nth = self._seen[key]
        digest = hashlib.sha256(b"%d\0%s\0%d" % (self._seed, key, nth)).digest()
        return Identity(
            sid=digest[:16].hex(),
            request=digest[16:].hex(),
            now=EPOCH + timedelta(seconds=nth - 1),
            duration=0.02 + digest[0] / 2000,
        )


def identities(seed: int | None) -> Identities:
    """Seeded identities where there is a seed, fresh ones otherwise."""
    return FreshIdentities() if seed is None else SeededIdentities(seed)
