"""Certificates of the local CA: made, checked and exported. Knows no directory."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ringback.launch.trust import DOMAIN, JKS_PASSWORD, jks

if TYPE_CHECKING:
    from collections.abc import Callable

# Browsers' limit is 398 days; a day less leaves room for either way of counting.
LIFETIME = timedelta(days=397)
# Containers and virtual machines wake up with clocks that are behind.
BACKDATE = timedelta(days=1)

# Excluding all addresses matters: a constraint on DNS names alone lets a leaf for any IP address through.
CONSTRAINTS = x509.NameConstraints(
    permitted_subtrees=[x509.DNSName(DOMAIN)],
    excluded_subtrees=[x509.IPAddress(ip_network("0.0.0.0/0")), x509.IPAddress(ip_network("::/0"))],
)

_CA_USAGE = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


@dataclass(frozen=True)
class Chain:
    """A root and the intermediate that signs leaves.

    Attributes:
        root: What clients trust.
        intermediate: What signs the leaves.
        intermediate_key: The only private key that is ever stored.
    """

    root: x509.Certificate
    intermediate: x509.Certificate
    intermediate_key: ec.EllipticCurvePrivateKey

    def for_mitmproxy(self) -> bytes:
        """Join the PEM text of `mitmproxy-ca.pem`: key, signing certificate, its issuer."""
        key = self.intermediate_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        pem = serialization.Encoding.PEM
        return key + self.intermediate.public_bytes(pem) + self.root.public_bytes(pem)


def make_chain(now: datetime) -> Chain:
    """Make a new root and intermediate, valid for `LIFETIME` from a day before `now` (an aware datetime).

    P-256, because mitmproxy's leaves share their CA's key and every client of the last ten years takes it.
    """
    root_key = ec.generate_private_key(ec.SECP256R1())
    intermediate_key = ec.generate_private_key(ec.SECP256R1())
    # Trust stores that hold two generations tell them apart by name.
    stamp = f"{now.astimezone(UTC):%Y-%m-%d} {_key_id(root_key.public_key()).digest.hex()[:8]}"
    root_name = _name(f"Ringback local root {stamp}")

    root = (
        _builder(root_name, root_name, root_key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
        .add_extension(_key_id(root_key.public_key()), critical=False)
        .sign(root_key, hashes.SHA256())
    )
    intermediate = (
        _builder(_name(f"Ringback local proxy {stamp}"), root_name, intermediate_key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_id(intermediate_key.public_key()), critical=False)
        # Python 3.13 verifies with X509_STRICT, which asks every issued certificate for this.
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(_key_id(root_key.public_key())),
            critical=False,
        )
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(root_key, hashes.SHA256())
    )
    return Chain(root, intermediate, intermediate_key)


def read_certificates(pem: bytes) -> tuple[x509.Certificate, x509.Certificate]:
    """Read intermediate and root back from the text of `mitmproxy-ca.pem`.

    Raises:
        ValueError: The text is not what `Chain.for_mitmproxy` wrote, or its certificates are not constrained.
    """
    certificates = x509.load_pem_x509_certificates(pem)
    if len(certificates) != 2:
        raise ValueError(f"holds {len(certificates)} certificates instead of an intermediate and its root")
    intermediate, root = certificates
    intermediate.verify_directly_issued_by(root)
    key = serialization.load_pem_private_key(pem, password=None)
    if key.public_key() != intermediate.public_key():
        raise ValueError("holds a key that is not its certificate's")
    for certificate in certificates:
        _check_constrained(certificate)
    return intermediate, root


def _check_constrained(certificate: x509.Certificate) -> None:
    name = certificate.subject.rfc4514_string()
    try:
        extension = certificate.extensions.get_extension_for_class(x509.NameConstraints)
    except x509.ExtensionNotFound:
        raise ValueError(f"holds a certificate ({name}) that is not limited to {DOMAIN}") from None
    if not extension.critical or extension.value != CONSTRAINTS:
        raise ValueError(f"holds a certificate ({name}) with other limits than {DOMAIN}")


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Ringback"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _key_id(key: ec.EllipticCurvePublicKey) -> x509.SubjectKeyIdentifier:
    # The SHA-1 form: mitmproxy 11 computes the leaf's authority key id that way whatever the issuer says.
    return x509.SubjectKeyIdentifier.from_public_key(key)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime
) -> x509.CertificateBuilder:
    start = now - BACKDATE
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + LIFETIME)
        .add_extension(_CA_USAGE, critical=True)
        .add_extension(CONSTRAINTS, critical=True)
    )


def fingerprint(certificate: x509.Certificate) -> str:
    """Return SHA-256 of a certificate as openssl prints it: upper-case hex pairs joined by colons."""
    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()


def _p12(root: x509.Certificate) -> bytes:
    return pkcs12.serialize_key_and_certificates(
        None, None, None, [root], serialization.BestAvailableEncryption(JKS_PASSWORD.encode())
    )


EXPORT_FORMATS: dict[str, Callable[[x509.Certificate], bytes]] = {
    "pem": lambda root: root.public_bytes(serialization.Encoding.PEM),
    "der": lambda root: root.public_bytes(serialization.Encoding.DER),
    "p12": _p12,
    "jks": lambda root: jks([root.public_bytes(serialization.Encoding.DER)]),
}


def export(pem: bytes, name: str) -> bytes:
    """Convert a PEM certificate to `pem`, `der`, `p12` (browsers, Windows, macOS) or `jks` (Java)."""
    return EXPORT_FORMATS[name](x509.load_pem_x509_certificate(pem))
