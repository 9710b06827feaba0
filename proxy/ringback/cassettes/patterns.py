"""What a secret looks like: by its shape, or by the name that it stands under."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Final

from ringback.contract.naming import plain_name
from ringback.contract.remembering import remembered

ACCOUNT_PLACEHOLDER: Final = "AC" + 32 * "0"
REDACTED: Final = "REDACTED"

SECRET_HEADER: Final = re.compile(
    r"cookie|authorization|token|secret|password|passwd|api-?key|session", re.IGNORECASE
)
_SECRET_NAME: Final = re.compile(
    r"(?:.*(?:password|passwd|secret|apikey|accesskey|privatekey)|pwd|(?!.*page).*token|.*credentials?"
    r"|authorization|cookie|sessionid)"
)
_BARE_HEX: Final = r"(?<![0-9A-Za-z])[0-9a-fA-F]{32}(?![0-9A-Za-z])"  # the shape of Twilio's auth tokens
_DOTTED: Final = r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"
PATTERNS: Final = {
    "account SID": re.compile(rf"(?!{ACCOUNT_PLACEHOLDER})AC[0-9a-fA-F]{{32}}"),
    "auth token": re.compile(_BARE_HEX),
    "JSON web token": re.compile(_DOTTED),
    # No word has a digit, nor a capital after its first letter: "your basic subscription" is none.
    "credentials": re.compile(
        r"\b((?i:Basic|Bearer)\s+)(?!REDACTED)(?=[0-9]|[A-Za-z+/_.~-][A-Za-z.-]*[0-9A-Z+/_~])"
        r"[A-Za-z0-9+/_.~-]{8,}=*"
    ),
    "credentials in a URL": re.compile(r"(?<=://)(?!REDACTED@)[^/\s@\"'<>?#]+@"),
    "private key": re.compile(
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
    ),
    "named secret": re.compile(
        r"(?i)\b((?:auth|access|refresh|api|secret)?[_-]?(?:token|password|passwd|secret|apikey|api[_-]key)"
        r"[\"']?\s*(?:=|:)\s*[\"']?)(?!REDACTED|redacted-)([^\s\"'&,;<>]{4,})"
    ),
}

# One look that every pattern above needs to succeed, so that most strings cost no more than this.
_SUSPECT: Final = re.compile(
    r"[0-9a-fA-F]{32}|://|eyJ|PRIVATE KEY|(?i:basic|bearer|token|passw|secret|api[_-]?key)"
)


@remembered
def is_secret_name(name: str) -> bool:
    """Whether a value under `name` (a field, a JSON key, an XML element) is a secret by its name."""
    return _SECRET_NAME.fullmatch(plain_name(name)) is not None


def is_secret_header(name: str) -> bool:
    """Whether a response header field is left out for its name."""
    lower = name.lower()
    return SECRET_HEADER.search(lower) is not None and not lower.startswith("access-control-")


def scrub_patterns(text: str) -> str:
    """`text` without everything that has the shape of a secret, and with account SIDs replaced."""
    if _SUSPECT.search(text) is None:
        return text
    text = PATTERNS["account SID"].sub(ACCOUNT_PLACEHOLDER, text)
    text = PATTERNS["private key"].sub(REDACTED, text)
    text = PATTERNS["credentials in a URL"].sub(f"{REDACTED}@", text)
    text = PATTERNS["credentials"].sub(rf"\1{REDACTED}", text)
    text = PATTERNS["JSON web token"].sub(_digested, text)
    text = PATTERNS["auth token"].sub(_digested, text)
    return PATTERNS["named secret"].sub(rf"\1{REDACTED}", text)


def _digested(found: re.Match[str]) -> str:
    # 128 random bits cannot be guessed from a digest, and different values stay different
    return f"redacted-{sha256(found[0].encode()).hexdigest()[:12]}"
