"""`drift-accepted.yaml`: findings that are known and accepted, each with a reason and an expiry.

```yaml
accepted:
  - fingerprint: 0123456789ab
    reason: the carrier texts were reworded, our code reads the code alone
    expires: 2027-06-30
    rule: text.21610
```
"""

from __future__ import annotations

from collections.abc import Collection  # noqa: TC003 - used in annotations that are read with the code
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import yaml

from ringback.drift.findings import DriftFinding, fingerprint

if TYPE_CHECKING:
    from pathlib import Path


FILE: Final = "drift-accepted.yaml"
_HEAD: Final = (
    "# Accepted drift: `ringback drift accept FINGERPRINT --reason ... --expires ...` adds an entry.\n"
)


class AcceptedError(Exception):
    """The file cannot be used; the text names it, the entry, and what to do."""


class AcceptedFinding(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """One accepted finding.

    Attributes:
        fingerprint: Which.
        reason: Why it is accepted.
        expires: The last day on which it is.
        rule: The claim that it is about; tells whether a run could have seen it.
    """

    fingerprint: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{12}$")]
    reason: Annotated[str, msgspec.Meta(min_length=1)]
    expires: date
    rule: str | None = None


class AcceptedFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    accepted: tuple[AcceptedFinding, ...] = ()


@dataclass(frozen=True, slots=True)
class AfterAccepting:
    """Findings after the accepted ones were taken out.

    Attributes:
        open: What counts, the entries that excuse nothing among it.
        accepted: What does not, each with its reason as a note.
    """

    open: tuple[DriftFinding, ...]
    accepted: tuple[DriftFinding, ...]


def read_accepted(path: Path) -> tuple[AcceptedFinding, ...]:
    """The entries of `path`; none if there is no such file.

    Raises:
        AcceptedError: It is not YAML, or an entry is not of this form.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as error:
        raise AcceptedError(f"{path}: cannot be read: {error}") from None
    try:
        raw: Any = yaml.safe_load(text) or {}
        found = msgspec.convert(raw, AcceptedFile).accepted
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise AcceptedError(f"{path}:{line}: is not YAML: {getattr(error, 'problem', error)}") from None
    except msgspec.ValidationError as error:
        raise AcceptedError(
            f"{path}: {error}; an entry has fingerprint (12 hex digits, in quotes if they are all digits), "
            "reason and expires (YYYY-MM-DD)"
        ) from None
    names = [entry.fingerprint for entry in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise AcceptedError(f"{path}: {twice} is accepted twice; keep one of the two entries")
    return found


def add_accepted(path: Path, entry: AcceptedFinding) -> None:
    """Write `entry` into `path`, in place of an older one with its fingerprint.

    Raises:
        AcceptedError: What is there cannot be read, or nothing can be written.
    """
    kept = [old for old in read_accepted(path) if old.fingerprint != entry.fingerprint]
    entries = sorted([*kept, entry], key=lambda item: (item.rule or "", item.fingerprint))
    text = _HEAD + yaml.safe_dump(
        {"accepted": [msgspec.to_builtins(item, builtin_types=(date,)) for item in entries]},
        sort_keys=False,
        allow_unicode=True,
        width=110,
    )
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise AcceptedError(f"{path}: cannot be written: {error.strerror}") from None


def take_out_accepted(
    findings: Collection[DriftFinding],
    entries: Collection[AcceptedFinding],
    today: date,
    looked_at: Collection[str],
    *,
    whole: bool,
) -> AfterAccepting:
    """Take out what is accepted, and find the entries that excuse nothing.

    Args:
        findings: What was found.
        entries: What is accepted.
        today: The day on which an entry must still hold.
        looked_at: The claims that were looked at: an entry about another one is not to blame.
        whole: Whether everything was looked at, so that an entry without a rule can be judged too.
    """
    by_name = {entry.fingerprint: entry for entry in entries}
    counted, excused = [], []
    for finding in findings:
        entry = by_name.pop(finding.fingerprint, None)
        if entry is None:
            counted.append(finding)
        elif entry.expires < today:
            note = f"was accepted until {entry.expires}: {entry.reason}"
            counted.append(replace(finding, note=note))
        else:
            excused.append(replace(finding, note=f"accepted until {entry.expires}: {entry.reason}"))
    left = by_name.values()
    counted += [_stale(entry) for entry in left if (entry.rule in looked_at if entry.rule else whole)]
    return AfterAccepting(tuple(counted), tuple(excused))


def _stale(entry: AcceptedFinding) -> DriftFinding:
    return DriftFinding(
        rule="accepted.stale",
        severity="warning",
        kind="accepted",
        resource="*",
        pointer="",
        documented=f"{entry.fingerprint} is accepted until {entry.expires}: {entry.reason}",
        observed="no such finding any more" + (f" ({entry.rule})" if entry.rule else ""),
        fingerprint=fingerprint("accepted.stale", entry.fingerprint),
        note="take the entry out of the file of accepted findings",
    )
