"""Variables that look like Ringback's and that nothing reads: a slip there must not pass unseen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ringback.settings import OPTIONS

if TYPE_CHECKING:
    from collections.abc import Iterable

_PREFIX: Final = "RINGBACK_"
_FAMILIES: Final = ("RINGBACK_SDK_",)  # read by the tests, each by a name of its own
# A test holds this to what the commands' options and the sources say: importing them all takes too long.
READ: Final = frozenset(
    f"{_PREFIX}{name}"
    for name in (
        *(name.upper() for name in OPTIONS),
        *("ENV_BEFORE", "HOME", "PROXY_PASSWORD", "PROXY_URL", "REDACT_KEY", "REQUIRE_SDKS"),
        *("TEST_ACCOUNT_SID", "TEST_AUTH_TOKEN"),
    )
)


def unread(names: Iterable[str]) -> list[str]:
    """A sentence for each of `names` that begins like Ringback's and is none."""
    plain = [name.removeprefix(_PREFIX) for name in READ]
    told = []
    for name in sorted(names):
        # The shells' completion has a name that begins with an underscore.
        if not name.startswith(_PREFIX) or name in READ or name.startswith(_FAMILIES):
            continue
        from difflib import get_close_matches  # noqa: PLC0415 - slow to import, and only for a mistake

        near = get_close_matches(name.removeprefix(_PREFIX), plain, 1)
        advice = f"did you mean {_PREFIX}{near[0]}?" if near else "see `ringback run --help`"
        told.append(f"{name} is set, but nothing reads it: {advice}")
    return told
