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
from pathlib import Path
from typing import TYPE_CHECKING, Final

import phonenumbers
import platformdirs

from ringback.cassettes.errors import RedactionError

if TYPE_CHECKING:
    from collections.abc import Mapping

KEY_VARIABLE: Final = "RINGBACK_REDACT_KEY"
HOME_VARIABLE: Final = "RINGBACK_HOME"
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
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            pass
        else:
            with os.fdopen(handle, "w") as file:
                file.write(secrets.token_hex(32) + "\n")
        text = path.read_text().strip()
    except OSError as error:
        raise RedactionError(
            f"no key for --redact: {path}: {error.strerror}; or set {KEY_VARIABLE}"
        ) from error
    if len(text) < SHORTEST_KEY:
        raise RedactionError(f"{path} holds no key: remove it, or set {KEY_VARIABLE}")
    return hashlib.sha256(text.encode()).digest()


def key_id(key: bytes) -> str:
    """Return eight hex digits that distinguish keys without revealing them, for the metadata."""
    return _digest(key, "key id", "")[:8]


def stand_in(value: str, key: bytes) -> str:
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
    found = list(re.finditer(_SEPARATOR.join(old), value))
    last = found[-1]
    return value[: last.start()] + same_spelling(last[0], new) + value[last.end() :]


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
