"""State that replicas of a fleet must share, and its default: the memory of this process.

`State` is the interface and the default. `RedisState` of `state_redis.py` has the same methods and shares:

* the places of replay: which recording of equal requests comes next (`uses`);
* verdicts on credentials, as digests (`verdicts`);
* the budget of `--max-live` (`budget`);
* what is set at run time, such as rows (`put`, `values`);
* what was sent, for the Inbox (`publish`).
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, ClassVar

from ringback.tally import many

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping


class Uses:
    """Counts of answered requests of one cassette, by the request's key."""

    def __init__(self) -> None:
        self._counts: dict[bytes, int] = {}

    def get(self, key: bytes) -> int:
        """Return how often this process knows it was answered."""
        return self._counts.get(key, 0)

    def take(self, key: bytes) -> int:
        """Return how often it was answered before, and count one more."""
        count = self._counts.get(key, 0)
        self._counts[key] = count + 1
        return count

    def items(self) -> Iterable[tuple[bytes, int]]:
        """Iterate over what this process knows."""
        return self._counts.items()

    def rewind(self) -> None:
        """Begin anew, for everybody."""
        self._counts.clear()


class Budget:
    """The number of requests that may be forwarded.

    Args:
        limit: The number; None for any.
    """

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self._spent = 0

    @property
    def used_up(self) -> bool:
        """True if nothing more may be forwarded, as far as is known without asking anybody."""
        return self.limit is not None and self._spent >= self.limit

    @property
    def reason(self) -> str:
        """Why nothing more may be forwarded."""
        return f"the budget of --max-live is used up: {many(self.limit or 0, 'request')} forwarded"

    async def spend(self) -> bool:
        """Count one request; return False if it may not be forwarded."""
        if self.used_up:
            return False
        self._spent += 1
        return True


class Verdicts:
    """Verdicts on credentials, by the digest of a pair.

    Attributes:
        key: The key of digests.
    """

    def __init__(self) -> None:
        self.key = secrets.token_bytes(32)

    async def settle(self, digest: bytes, probe: Callable[[], Awaitable[str]]) -> str:  # noqa: ARG002 - others look it up
        """Return the verdict on the pair with `digest`; `probe` finds it out where nobody knows it."""
        return await probe()


class State:
    """The state of one process, shared with nobody.

    Attributes:
        shared: True where other replicas see it.
        away: True while others cannot be reached.
        verdicts: Verdicts on credentials.
    """

    shared: ClassVar[bool] = False

    def __init__(self) -> None:
        self.away = False
        self.verdicts = Verdicts()
        self._uses: dict[str, Uses] = {}
        self._values: dict[tuple[str, str], Any] = {}

    def uses(self, cassette: str) -> Uses:
        """Return the places of replay of a cassette."""
        return self._uses.setdefault(cassette, Uses())

    def rewind(self, cassette: str | None) -> None:
        """Begin the places of replay anew: of one cassette, or of all."""
        for name in list(self._uses) if cassette is None else [cassette]:
            self.uses(name).rewind()

    def budget(self, limit: int | None) -> Budget:
        """Return the budget of `--max-live`."""
        return Budget(limit)

    def put(self, kind: str, name: str, value: Any) -> bool:
        """Set something at run time, for every replica; None takes it back.

        Args:
            kind: `rows`, `binding` or the like.
            name: The session or user that it is for.
            value: What JSON can have.

        Returns:
            False if the other replicas do not know it.
        """
        if value is None:
            self._values.pop((kind, name), None)
        else:
            self._values[kind, name] = value
        return True

    def values(self) -> Mapping[tuple[str, str], Any]:
        """Return what is set, by kind and name."""
        return dict(self._values)

    def publish(self, kind: str, payload: bytes) -> None:
        """Tell the other replicas of an event, without waiting; `kind` is `request` or `clear`."""

    def published(self) -> Awaitable[None] | None:
        """Return what ends when the other replicas can hear of all events so far; None if nobody has to wait.

        An answer that is held until then is in every Inbox, even if its replica is killed right after it.
        """
        return None

    def follow(self, take: Callable[[str, bytes], None], change: Callable[[str, str, Any], None]) -> None:
        """Hear of the other replicas' events from now on, and of the last ones before.

        Args:
            take: Called with the kind and the payload of each event, in the caller's event loop.
            change: Called with kind, name and value of what is set or taken back (None), as above.
        """

    def close(self) -> None:
        """Finish what is under way."""
