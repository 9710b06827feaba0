"""A Java trust store by the standard library.

JKS, because every JDK reads it, with its password or without; a PKCS#12 store needs an attribute of Oracle's
on each certificate that openssl cannot write and cryptography writes from version 45 on only.
The format: magic, version 2, entries (tag 2 is a trusted certificate), SHA-1 over the password in UTF-16,
"Mighty Aphrodite" and all of the data.
"""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

PASSWORD = "changeit"  # noqa: S105 - every JDK's own; it protects nothing, the store holds certificates only

_MAGIC = 0xFEEDFEED
_VERSION = 2
_TRUSTED = 2


def jks(certificates: Iterable[bytes]) -> bytes:
    """A JKS store of certificates in DER, each under the alias of its number, with `PASSWORD`."""
    entries = [
        struct.pack(">I", _TRUSTED)
        + _text(f"ringback-{number}")
        + struct.pack(">Q", 0)
        + _text("X.509")
        + struct.pack(">I", len(der))
        + der
        for number, der in enumerate(certificates)
    ]
    data = struct.pack(">III", _MAGIC, _VERSION, len(entries)) + b"".join(entries)
    digest = hashlib.sha1(PASSWORD.encode("utf-16-be") + b"Mighty Aphrodite" + data)  # noqa: S324 - the format's
    return data + digest.digest()


def _text(value: str) -> bytes:
    encoded = value.encode()
    return struct.pack(">H", len(encoded)) + encoded
