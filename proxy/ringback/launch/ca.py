"""The local CA: two certificates, made in memory and kept on disk for their owner alone, renewed in time.

Two levels, because Java ignores the name constraints of a trust anchor: clients trust the root, the
intermediate signs the leaves, and both may only vouch for names below twilio.com and for no IP address. The
root's key is dropped as soon as it has signed the intermediate.

Layout below the directory of the CA::

    current -> 20260102T030405-1a2b3c4d   the one in use; swapped by renaming a symbolic link
    20260102T030405-1a2b3c4d/             mitmproxy's confdir, never changed once it is there
        mitmproxy-ca.pem                  intermediate key, intermediate, root (0600)
        mitmproxy-ca-cert.pem             the root: the one certificate that clients trust
        mitmproxy-dhparam.pem             so that mitmproxy has nothing of its own to write here
    lock                                  held while one is made
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ringback import system
from ringback.launch.directory import private_temporary
from ringback.launch.trust import JKS_PASSWORD, jks
from ringback.net import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DOMAIN = "twilio.com"

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


MITMPROXY_PEM = "mitmproxy-ca.pem"
ROOT_PEM = "mitmproxy-ca-cert.pem"
DHPARAM_PEM = "mitmproxy-dhparam.pem"
CURRENT = "current"
LOCK = "lock"

RENEW_BEFORE = timedelta(days=30)

# ffdhe2048 of RFC 7919. mitmproxy writes its own file when there is none, without a lock, and another process
# that starts at that moment reads half of it.
FFDHE2048 = b"""\
-----BEGIN DH PARAMETERS-----
MIIBCAKCAQEA//////////+t+FRYortKmq/cViAnPTzx2LnFg84tNpWp4TZBFGQz
+8yTnc4kmz75fS/jY2MMddj2gbICrsRhetPfHtXV/WVhJDP1H18GbtCFY2VVPe0a
87VXE15/V8k1mE8McODmi3fipona8+/och3xWKE2rec1MKzKT0g6eXq8CrGCsyT7
YdEIqUuyyOP7uWrat2DX9GgdT0Kj3jlN9K5W7edjcrsZCwenyO4KbXCeAvzhzffi
7MA0BM0oNC9hkXL+nOmFg/+OTxIy7vKBg8P+OxtMb61zO7X8vC7CIAXFjvGDfRaD
ssbzSibBsu/6iGtCOGEoXJf//////////wIBAg==
-----END DH PARAMETERS-----
"""


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


class AuthorityError(Exception):
    """An error: the CA cannot be used. The message names the file and what to do about it."""


@dataclass(frozen=True)
class Authority:
    """The CA in use.

    Attributes:
        directory: mitmproxy's confdir. Renewing makes another, so a running proxy keeps the one it has.
        root_pem: The certificate that clients trust, of exactly this CA.
        mitmproxy_pem: Intermediate key, intermediate, root.
        lasting_pem: The root by a path that follows every renewal; for people and for settings files.
        fingerprint: SHA-256 of the root, upper-case hex pairs joined by colons, as openssl prints it.
        not_before: Start of validity, aware, UTC.
        not_after: End of validity, aware, UTC.
        warnings: Sentences for the person who runs the program.
    """

    directory: Path
    root_pem: Path
    mitmproxy_pem: Path
    lasting_pem: Path
    fingerprint: str
    not_before: datetime
    not_after: datetime
    warnings: tuple[str, ...] = ()


def default_directory() -> Path:
    """Return the CA's directory: below RINGBACK_HOME if that is set, else in the user's data directory."""
    home = os.environ.get("RINGBACK_HOME")
    return (Path(home).expanduser() if home else platformdirs.user_data_path("ringback")).absolute() / "ca"


def ensure_authority(directory: Path | None = None, *, now: datetime | None = None) -> Authority:
    """Return the CA of a directory, made or renewed when needed; safe under concurrent first use.

    Args:
        directory: Where it lives. None is `default_directory()`, or a private temporary directory (with a
            warning) where the user has no home or cannot write to it.
        now: The time, aware; the system's clock if None.

    Raises:
        AuthorityError: Its key is somebody else's or readable by others, or the directory cannot be written.
    """
    now = now or datetime.now(UTC)
    if directory is not None:
        return _ensure(directory, now)
    return _where_possible(_ensure, now)


def rotate_authority(directory: Path | None = None, *, now: datetime | None = None) -> Authority:
    """Replace the CA by a new one, whatever state the old one is in; `directory` as in `ensure_authority`.

    A proxy that is running keeps the old one until it ends.

    Raises:
        AuthorityError: The directory is somebody else's or cannot be written.
    """
    now = now or datetime.now(UTC)
    return _rotate(directory, now) if directory else _where_possible(_rotate, now)


def _where_possible(act: Callable[[Path, datetime], Authority], now: datetime) -> Authority:
    """Act on the default directory, or on a temporary one where the user has none that can be written."""
    if os.environ.get("RINGBACK_HOME") or _has_home():
        try:
            return act(default_directory(), now)
        except _NotWritableError as error:
            if os.environ.get("RINGBACK_HOME"):
                raise
            why = str(error)
    else:
        why = "this user has no home directory"
    substitute = private_temporary()
    warning = (
        f"{why}; the CA lives in {substitute} for now. Set RINGBACK_HOME to a directory that can be written."
    )
    found = act(substitute, now)
    return replace(found, warnings=(warning, *found.warnings))


def _rotate(directory: Path, now: datetime) -> Authority:
    with _locked(directory):
        _make(directory, now)
        found = _current(directory, now)
    if not isinstance(found, Authority):
        raise AuthorityError(found)
    return found


class _NotWritableError(AuthorityError):
    pass


def _ensure(directory: Path, now: datetime) -> Authority:
    found = _current(directory, now)
    if isinstance(found, Authority):
        return found
    with _locked(directory):
        # Another process may have made it while this one waited.
        again = _current(directory, now)
        if isinstance(again, Authority):
            return again
        _make(directory, now)
        made = _current(directory, now)
    if not isinstance(made, Authority):
        raise AuthorityError(made)
    return replace(made, warnings=(found,)) if found else made


def _current(directory: Path, now: datetime) -> Authority | str:
    """Read the CA in use, or return the reason for a new one (empty when there is none yet)."""
    link = directory / CURRENT
    confdir = link.resolve()
    key_file = confdir / MITMPROXY_PEM
    try:
        pem = _read_private(key_file)
        intermediate, root = read_certificates(pem)
    except FileNotFoundError:
        return ""
    except PermissionError:
        raise AuthorityError(
            f"{key_file} cannot be read: it holds the key of Ringback's CA and belongs to another user. "
            f"Set RINGBACK_HOME to a directory of your own."
        ) from None
    except (ValueError, TypeError) as error:
        return f"{key_file} {str(error) or 'is damaged'}; a new CA was made"
    start = max(intermediate.not_valid_before_utc, root.not_valid_before_utc)
    end = min(intermediate.not_valid_after_utc, root.not_valid_after_utc)
    if start > now or end - now < RENEW_BEFORE:
        return _why_renewed(start, end, now)
    root_pem = confdir / ROOT_PEM
    if not root_pem.is_file() or not (confdir / DHPARAM_PEM).is_file():
        return f"{confdir} is not complete; a new CA was made"
    if root_pem.read_bytes() != root.public_bytes(serialization.Encoding.PEM):
        return f"{root_pem} is damaged; a new CA was made: trust it where you trusted the old one"
    return Authority(
        directory=confdir,
        root_pem=root_pem,
        mitmproxy_pem=key_file,
        lasting_pem=link / ROOT_PEM,
        fingerprint=root.fingerprint(hashes.SHA256()).hex(":").upper(),
        not_before=start,
        not_after=end,
    )


def _why_renewed(start: datetime, end: datetime, now: datetime) -> str:
    """Explain why a CA of another time is replaced; nothing while it is still good."""
    if start > now:  # made while the clock was ahead
        why = f"begins on {start:%Y-%m-%d %H:%M} UTC, after what the clock says"
    elif end <= now:
        why = f"ended on {end:%Y-%m-%d}"
    else:
        return ""
    return f"the CA {why}; a new one was made: trust it where you trusted the old one"


def _read_private(path: Path) -> bytes:
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        if not system.is_mine(status):
            raise AuthorityError(
                f"{path} holds the key of Ringback's CA and belongs to user {status.st_uid}, not to you "
                f"(user {system.user_id()}). Set RINGBACK_HOME to a directory of your own."
            )
        if system.user_id() is not None and status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise AuthorityError(
                f"{path} holds the key of Ringback's CA and others may use it (mode "
                f"{stat.S_IMODE(status.st_mode):04o} instead of 0600). "
                f"Make a new one with `ringback ca --rotate`."
            )
        return file.read()


def _make(directory: Path, now: datetime) -> None:
    """Write a new CA and make it the current one. The caller holds the lock."""
    chain = make_chain(now)
    previous = (directory / CURRENT).resolve().name
    name = f"{now.astimezone(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
    new = Path(tempfile.mkdtemp(prefix=".new-", dir=directory))
    for file, content, mode in (
        (MITMPROXY_PEM, chain.for_mitmproxy(), 0o600),
        (ROOT_PEM, chain.root.public_bytes(serialization.Encoding.PEM), 0o644),
        (DHPARAM_PEM, FFDHE2048, 0o644),
    ):
        write_atomically(new / file, content, mode=mode, durable=True)
    new.rename(directory / name)
    system.point(directory / CURRENT, name)
    # The one before stays, because a running proxy goes on reading it.
    keep = {name, previous}
    for old in directory.iterdir():
        if old.is_dir() and not old.is_symlink() and old.name not in keep:
            shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        _check_directory(directory)
        descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | system.OPEN, 0o600)
    except OSError as error:
        raise _NotWritableError(f"{directory} cannot be written ({error.strerror})") from None
    try:
        system.lock(descriptor)
        try:
            yield
        except OSError as error:
            raise _NotWritableError(f"{directory} cannot be written ({error.strerror})") from None
    finally:
        os.close(descriptor)


def _check_directory(directory: Path) -> None:
    status = directory.stat()
    if not system.is_mine(status):
        raise AuthorityError(
            f"{directory} belongs to user {status.st_uid}, not to you (user {system.user_id()}). "
            f"Set RINGBACK_HOME to a directory of your own."
        )
    if system.user_id() is not None and status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise AuthorityError(
            f"others may write to {directory} (mode {stat.S_IMODE(status.st_mode):04o}), so they could "
            f"replace Ringback's CA. Take that right away: chmod go-w '{directory}'"
        )


def _has_home() -> bool:
    """Report whether there is a home at all: service users often have one that does not exist."""
    if os.environ.get("XDG_DATA_HOME"):
        return True
    try:
        return Path.home().is_dir() and Path.home() != Path("/")
    except RuntimeError:
        return False


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
TEXT_FORMATS = {"pem"}


def export(pem: bytes, name: str) -> bytes:
    """Convert a PEM certificate to `pem`, `der`, `p12` (browsers, Windows, macOS) or `jks` (Java)."""
    return EXPORT_FORMATS[name](x509.load_pem_x509_certificate(pem))
