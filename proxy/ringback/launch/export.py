"""The root certificate in the forms that other programs import. Never a key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12

from ringback.launch.truststore import PASSWORD, jks

if TYPE_CHECKING:
    from collections.abc import Callable


def _p12(root: x509.Certificate) -> bytes:
    return pkcs12.serialize_key_and_certificates(
        None, None, None, [root], serialization.BestAvailableEncryption(PASSWORD.encode())
    )


FORMATS: dict[str, Callable[[x509.Certificate], bytes]] = {
    "pem": lambda root: root.public_bytes(serialization.Encoding.PEM),
    "der": lambda root: root.public_bytes(serialization.Encoding.DER),
    "p12": _p12,
    "jks": lambda root: jks([root.public_bytes(serialization.Encoding.DER)]),
}
TEXT = {"pem"}


def export(pem: bytes, name: str) -> bytes:
    """The certificate of a PEM text as `pem`, `der`, `p12` (browsers, Windows, macOS) or `jks` (Java)."""
    return FORMATS[name](x509.load_pem_x509_certificate(pem))
