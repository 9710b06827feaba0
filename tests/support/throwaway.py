"""Certificates for servers of tests, by a CA that is gone with them. Nothing of Ringback is used in it."""

from __future__ import annotations

import ipaddress
import ssl
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class ThrowAway:
    """A CA that is gone with the test."""

    directory: Path
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def pem(self) -> Path:
        return self.directory / "upstream-ca.pem"

    def context(self, names: Sequence[str], *, expired: bool = False) -> ssl.SSLContext:
        """Return a TLS context of a server whose certificate this CA signed."""
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = _builder(key, names[0], self.certificate.subject, expired=expired)
        leaf = leaf.add_extension(_subjects(names), critical=False).add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
        )
        return _serving(self.directory, key, leaf.sign(self.key, hashes.SHA256()))


def throw_away(directory: Path) -> ThrowAway:
    """A new CA."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _authority(key, "throw-away CA").sign(key, hashes.SHA256())
    made = ThrowAway(directory, key, certificate)
    made.pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return made


def by_itself(directory: Path, name: str, *others: str) -> tuple[ssl.SSLContext, Path]:
    """Return a TLS context of a server whose certificate is its own CA, and that certificate as a file."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _authority(key, name).add_extension(_subjects((name, *others)), critical=False)
    certificate = builder.sign(key, hashes.SHA256())
    file = directory / f"{name}.pem"
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return _serving(directory, key, certificate), file


def _builder(
    key: ec.EllipticCurvePrivateKey, name: str, issuer: x509.Name, *, expired: bool = False
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_called(name))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 2 * _DAY)
        .not_valid_after(now - _DAY if expired else now + _DAY)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _authority(key: ec.EllipticCurvePrivateKey, name: str) -> x509.CertificateBuilder:
    """With what Python 3.13 wants of a CA."""
    usage = dict.fromkeys(("content_commitment", "key_encipherment", "data_encipherment"), False)
    usage |= dict.fromkeys(("key_agreement", "crl_sign", "encipher_only", "decipher_only"), False)
    return (
        _builder(key, name, _called(name))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(digital_signature=True, key_cert_sign=True, **usage), critical=True)
    )


def _called(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _subjects(names: Sequence[str]) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([_subject(name) for name in names])


def _subject(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _serving(
    directory: Path, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate
) -> ssl.SSLContext:
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    with tempfile.NamedTemporaryFile(dir=directory, suffix=".pem") as file:
        file.write(pem + certificate.public_bytes(serialization.Encoding.PEM))
        file.flush()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file.name)
    return context
