"""Pseudonyms for the values of form fields: of the same kind, and different for different values.

A telephone number keeps its shape and gets other digits by a keyed permutation of all numbers of that length,
so that no two numbers can fall together; anything else becomes `redacted-` and a keyed digest. The page's
magic numbers are nobody's and stay as they are. Who has the key can try telephone numbers until one fits: the
key is a secret.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import phonenumbers
import platformdirs

from ringback import system
from ringback.cassettes.files import HOME_VARIABLE, RedactionError
from ringback.contract.form import plain_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

KEY_VARIABLE: Final = "RINGBACK_REDACT_KEY"
KEY_FILE: Final = "redact-key"
SHORTEST_KEY: Final = 16  # characters
_ROUNDS: Final = 10
_MAGIC: Final = re.compile(r"(?:1?500555\d{4})")  # national or with the country's 1
_PHONE: Final = re.compile(r"(?:[a-z]+:)?(\+?[\d\s().-]*\d[\d\s().-]*)")
_ADDRESS: Final = re.compile(r"([a-z][a-z0-9+.-]*:)(//)?(.+)", re.DOTALL)
_LONGEST_PHONE: Final = 64  # characters of what may be a telephone number
_SEPARATOR: Final = r"[\s().-]{0,3}"


def key_path(environ: Mapping[str, str]) -> Path:
    """Return the path of this user's key file, used when `RINGBACK_REDACT_KEY` is not set."""
    home = environ.get(HOME_VARIABLE)
    return (Path(home) if home else platformdirs.user_config_path("ringback")) / KEY_FILE


def load_key(environ: Mapping[str, str], path: Path | None = None) -> bytes:
    """The key: from `RINGBACK_REDACT_KEY`, else from the user's key file, made (0600) on first use.

    Raises:
        RedactionError: The variable is too short, or the file can neither be read nor made.
    """
    given = environ.get(KEY_VARIABLE)
    if given is not None:
        if len(given) < SHORTEST_KEY:
            raise RedactionError(
                f"{KEY_VARIABLE} needs at least {SHORTEST_KEY} characters, it has {len(given)}"
            )
        return hashlib.sha256(given.encode()).digest()
    path = path or key_path(environ)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not os.path.lexists(path):
            _make_key(path)
        text = _read_own(path).strip()
    except OSError as error:
        raise RedactionError(
            f"no key for --redact: {path}: {error.strerror}; or set {KEY_VARIABLE}"
        ) from error
    if len(text) < SHORTEST_KEY:
        raise RedactionError(f"{path} holds no key: remove it, or set {KEY_VARIABLE}")
    return hashlib.sha256(text.encode()).digest()


def _make_key(path: Path) -> None:
    """Make the key's file, whole at once: another process that starts meanwhile reads it."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    draft = Path(name)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_hex(32) + "\n")
        try:
            os.link(draft, path)
        except FileExistsError:
            return
        except OSError:  # a file system without hard links
            draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _read_own(path: Path) -> str:
    """Read the key's file; pseudonyms by a key that somebody else has put there hide nothing from him."""
    with path.open(encoding="utf-8", errors="replace") as file:
        status = os.fstat(file.fileno())
        if not system.is_trusted(status):
            raise RedactionError(
                f"{path} belongs to user {status.st_uid}, not to you (user {system.user_id()}): "
                f"remove it, or set {KEY_VARIABLE}"
            )
        return file.read()


def key_id(key: bytes) -> str:
    """Return eight hex digits that distinguish keys without revealing them, for the metadata."""
    return _digest(key, "key id", "")[:8]


def substitute(value: str, key: bytes) -> str:
    """The pseudonym of one field's value."""
    if not value:
        return value
    if is_phone(value):
        digits = national_digits(value)
        return _with_digits(value, digits, permuted(digits, key))
    address = _ADDRESS.fullmatch(value)
    word = f"redacted-{_digest(key, 'text', value)[:12]}"
    if address and address[2]:
        return f"{address[1]}//{word}.example/"
    return f"{address[1]}{word}" if address else word


def national_digits(value: str) -> str:
    """The digits of a telephone number without the country's, which the answer repeats in other spellings."""
    digits = re.sub(r"\D", "", value)
    try:
        parsed = phonenumbers.parse(value.partition(":")[2] if ":" in value else value, "US")
    except phonenumbers.NumberParseException:
        return digits
    national = str(parsed.national_number)
    return national if digits.endswith(national) else digits


def is_phone(value: str) -> bool:
    """Report whether `value` is a phone number, with or without a channel prefix such as `whatsapp:`."""
    return len(value) <= _LONGEST_PHONE and _PHONE.fullmatch(value) is not None


def permuted(digits: str, key: bytes) -> str:
    """Other digits, as many: a permutation by `key` of all digit strings of that length; magic numbers stay.

    A Feistel network over decimal halves, walked on while it lands on a magic number.
    """
    if _MAGIC.fullmatch(digits):
        return digits
    while True:
        digits = _feistel(digits, key)
        if not _MAGIC.fullmatch(digits):
            return digits


def digits_pattern(digits: str) -> str:
    """A pattern that finds `digits` also with the separators that people put between them."""
    return _SEPARATOR.join(digits) + r"(?!\d)"


def same_spelling(spelled: str, digits: str) -> str:
    """`digits` with the separators that `spelled` has."""
    supply = iter(digits)
    return "".join(next(supply, "") if char.isdigit() else char for char in spelled)


def _with_digits(value: str, old: str, new: str) -> str:
    """`value` with `new` in the places of its last digits, which are `old`, whatever stands between them."""
    places = [at for at, char in enumerate(value) if char.isdecimal()][-len(old) :]
    return value[: places[0]] + same_spelling(value[places[0] :], new)


def _feistel(digits: str, key: bytes) -> str:
    half = len(digits) // 2
    left, right = digits[:half], digits[half:]
    for number in range(_ROUNDS):
        size = len(left)
        if size:
            mixed = int(_digest(key, f"round {number} {len(digits)}", right)[:24], 16)
            left = f"{(int(left) + mixed) % 10**size:0{size}d}"
        left, right = right, left
    return left + right


def _digest(key: bytes, purpose: str, value: str) -> str:
    message = f"{purpose}\0{value}".encode("utf-8", "surrogateescape")
    return hmac.new(key, message, hashlib.sha256).hexdigest()


MOST_REPLACEMENTS: Final = 50  # different values in one request: each is tried at every place of a text
_LONGEST_PATTERN: Final = 500  # characters of a value that is looked for as a pattern
_SHORT: Final = 3  # characters of a value that is looked for under its own name only
_ERROR_TEXTS: Final = frozenset(("message", "detail"))


@dataclass(frozen=True, slots=True)
class Replacement:
    """One value and what stands in its place.

    Attributes:
        old: The value.
        new: What stands in its place.
        name: The field it came from, as names are compared.
        digits: Whether it is found as digits with separators between them.
    """

    old: str
    new: str
    name: str
    digits: bool = False

    def reversed(self) -> Replacement:
        """The way back."""
        return replace(self, old=self.new, new=self.old)

    def pattern(self) -> str:
        """Regular expression that finds the value inside a longer text."""
        if self.digits:
            return digits_pattern(self.old)
        return rf"(?<!\w){re.escape(self.old)}(?!\w)"

    def put(self, found: str) -> str:
        """Return the text that replaces `found`."""
        return same_spelling(found, self.new) if self.digits else self.new


def replacements_for(name: str, value: str, key: bytes) -> list[Replacement]:
    """Return the replacements for `value` and for other spellings of it that an answer may have."""
    plain = plain_name(name)
    replacements = [Replacement(value, substitute(value, key), plain)]
    digits = national_digits(value) if is_phone(value) else ""
    if len(digits) >= 7:
        replacements.append(Replacement(digits, permuted(digits, key), plain, digits=True))
    return [replacement for replacement in replacements if replacement.old != replacement.new]


class Replacements:
    """Values and what stands in their places, found in texts in time that is linear in the text's length.

    Attributes:
        whole: The replacements by their values.

    Args:
        all_of_them: The values; of two equal ones the first counts.

    Raises:
        RedactionError: There are more different values than can be looked for.
    """

    def __init__(self, all_of_them: Iterable[Replacement]) -> None:
        found: dict[str, Replacement] = {}
        for one in all_of_them:
            found.setdefault(one.old, one)
            if len(found) > MOST_REPLACEMENTS:
                raise RedactionError(
                    f"one request has more than {MOST_REPLACEMENTS} different values for --redact"
                )
        self.whole = found
        self._huge = [one for one in found.values() if len(one.old) > _LONGEST_PATTERN]
        inside = [one for one in found.values() if len(one.old) <= _LONGEST_PATTERN]
        self._inside = sorted(inside, key=lambda one: len(one.old), reverse=True)
        self._short_names = {one.name for one in inside if len(one.old) <= _SHORT}
        self._patterns: dict[str, tuple[re.Pattern[str] | None, list[Replacement]]] = {}

    def __bool__(self) -> bool:
        return bool(self.whole)

    def put(self, text: str, name: str) -> str:
        """Return `text`, which stands under `name`, with all values replaced at once, the longest first."""
        whole = self.whole.get(text)
        if whole is not None:
            return whole.new
        for one in self._huge:
            text = text.replace(one.old, one.new)
        pattern, usable = self._pattern(plain_name(name) if name and self._short_names else "")
        if pattern is None or not text:
            return text
        return pattern.sub(lambda found: usable[(found.lastindex or 1) - 1].put(found[0]), text)

    def _pattern(self, plain: str) -> tuple[re.Pattern[str] | None, list[Replacement]]:
        # A short value stands in many places by chance: only fields of its name and error texts may echo it.
        if plain not in self._short_names and plain not in _ERROR_TEXTS:
            plain = ""
        if plain not in self._patterns:
            usable = [
                one
                for one in self._inside
                if len(one.old) > _SHORT or (plain and (plain == one.name or plain in _ERROR_TEXTS))
            ]
            text = "|".join(f"({one.pattern()})" for one in usable)
            self._patterns[plain] = re.compile(text) if text else None, usable
        return self._patterns[plain]
