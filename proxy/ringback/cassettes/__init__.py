"""Cassettes: what was recorded once answers for ever, in this proxy and in vcrpy itself.

The side that answers and forwards needs these::

    library = Library(Path("cassettes"), mode="auto", redact=("To",), tell=print)
    session = library.session("default")      # CassetteError: a bad name, a broken file
    found = session.lookup(request)           # an Answer, or a Miss
    where = await asyncio.wrap_future(session.record(request, answer))   # lasts when this returns
    library.close()                           # finishes `online` recordings

A `Miss` has `reason` (one line), `text` (the nearest recording side by side) and `answer()` (the 404 of
`--strict`); the nearest is looked for only when it is asked for. `Session.unused(limit)` lists what no
request was answered from. All errors are `CassetteError`s with a message for people.
`matching.key(request, redaction)` is what two equal requests have in common.

A cassette is a vcrpy version-1 YAML file, `NAME.yaml`; `layout` says how it is written, `redaction` what
never is. Nothing here knows mitmproxy.
"""

from ringback.cassettes.errors import (
    CassetteBusyError,
    CassetteError,
    CassetteFormatError,
    CassetteNameError,
    CodingError,
    RecordingError,
    RedactionError,
)
from ringback.cassettes.library import Library
from ringback.cassettes.matching import MatchKey, key
from ringback.cassettes.misses import Miss, Nearest
from ringback.cassettes.names import DEFAULT_NAME, cassette_names, check_name
from ringback.cassettes.patterns import ACCOUNT_PLACEHOLDER
from ringback.cassettes.redaction import Redaction
from ringback.cassettes.session import Mode, Repeats, Session, Unused

__all__ = [
    "ACCOUNT_PLACEHOLDER",
    "DEFAULT_NAME",
    "CassetteBusyError",
    "CassetteError",
    "CassetteFormatError",
    "CassetteNameError",
    "CodingError",
    "Library",
    "MatchKey",
    "Miss",
    "Mode",
    "Nearest",
    "RecordingError",
    "Redaction",
    "RedactionError",
    "Repeats",
    "Session",
    "Unused",
    "cassette_names",
    "check_name",
    "key",
]
