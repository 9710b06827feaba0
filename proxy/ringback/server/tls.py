"""TLS towards clients: ClientHello parsing, and one context with a certificate for each host name."""

from __future__ import annotations

import logging
import re
import ssl
import tempfile
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

logger = logging.getLogger(__name__)

RECORD: Final = 0x16  # the type of the TLS record that begins a handshake
MAX_HELLO: Final = 64 * 1024  # bytes of a ClientHello that are waited for
_MAX_HOSTS: Final = 128  # contexts kept; a client can make up any number of names below twilio.com
_RECORD_HEADER: Final = 5
_CLIENT_HELLO: Final = 1
_SERVER_NAME: Final = 0  # extension types, RFC 6066 and RFC 7301
_ALPN: Final = 16
_DISTRUST: Final = re.compile(
    r"alert[ _](?:unknown[ _]ca|(?:bad[ _]|unsupported[ _])?certificate)", re.IGNORECASE
)
# Forward secrecy for everybody; CBC with SHA-1 for clients as old as Java 7.
_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES:DHE+AESGCM:DHE+AES"


class ClientHello(NamedTuple):
    """The parts of a ClientHello that decide who answers it.

    Attributes:
        sni: The server name, or None.
        alpn: The protocols offered, empty without ALPN.
    """

    sni: str | None
    alpn: tuple[bytes, ...]

    @property
    def takes_http1(self) -> bool:
        """True unless the client negotiates and HTTP/2 is all that it offers."""
        return b"http/1.1" in self.alpn or b"h2" not in self.alpn


def parse_client_hello(data: bytes) -> ClientHello | None:
    """Parse the ClientHello at the start of `data`, in one TLS record or several.

    Returns:
        None while it is incomplete.

    Raises:
        ValueError: The bytes are no ClientHello.
    """
    message, at = b"", 0
    while True:
        if len(data) < at + _RECORD_HEADER:
            return None
        if data[at] != RECORD:
            raise ValueError("not a handshake record")
        end = at + _RECORD_HEADER + int.from_bytes(data[at + 3 : at + 5])
        message += data[at + _RECORD_HEADER : end]
        if message and message[0] != _CLIENT_HELLO:
            raise ValueError("not a ClientHello")
        if len(message) >= 4 and len(message) >= (length := 4 + int.from_bytes(message[1:4])):
            return _parse_body(message[4:length])
        if len(data) < end:
            return None
        at = end


def _parse_body(body: bytes) -> ClientHello:
    at = 34  # the version and the random bytes
    at += 1 + body[at : at + 1][0] if body[at : at + 1] else 1  # the session id
    at += 2 + int.from_bytes(body[at : at + 2])  # the cipher suites
    at += 1 + body[at : at + 1][0] if body[at : at + 1] else 1  # the compression methods
    end = min(len(body), at + 2 + int.from_bytes(body[at : at + 2]))
    at += 2
    sni: str | None = None
    alpn: tuple[bytes, ...] = ()
    while at + 4 <= end:
        kind, length = int.from_bytes(body[at : at + 2]), int.from_bytes(body[at + 2 : at + 4])
        content = body[at + 4 : at + 4 + length]
        at += 4 + length
        if kind == _SERVER_NAME and len(content) > 5 and content[2] == 0:
            sni = content[5 : 5 + int.from_bytes(content[3:5])].decode("latin-1")
        elif kind == _ALPN:
            alpn = tuple(_strings(content[2:]))
    return ClientHello(sni, alpn)


def _strings(content: bytes) -> list[bytes]:
    found = []
    while content:
        length = content[0]
        found.append(content[1 : 1 + length])
        content = content[1 + length :]
    return found


class TlsObject(ssl.SSLObject):
    """The server's side of one TLS connection.

    Attributes:
        sni: The server name that the client gave, or None.
    """

    sni: str | None = None


class Contexts:
    """TLS contexts, one for each host name: a connection costs a handshake alone, a resumed one less.

    Args:
        authority: PEM file with the signing key, the intermediate and the root.
        is_twilio: Whether a name (canonical) may get a certificate of its own.
    """

    def __init__(self, authority: Path, is_twilio: Callable[[str], bool]) -> None:
        self._pem = authority.read_bytes()  # the file may go away while the proxy runs
        self._is_twilio = is_twilio
        self._leaf_issuer: LeafIssuer | None = None
        self.context_for = lru_cache(_MAX_HOSTS)(self._make)

    def _make(self, host: str) -> ssl.SSLContext:
        if self._leaf_issuer is None:
            self._leaf_issuer = LeafIssuer(self._pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_ciphers(_CIPHERS)
        # HTTP/1 alone: a client that would take HTTP/2 as well is answered sooner without it.
        context.set_alpn_protocols(["http/1.1"])
        # A client that resumes at all gets a new ticket each time.
        context.num_tickets = 1
        context.sslobject_class = TlsObject
        context.sni_callback = self._choose  # type: ignore[assignment] # typeshed has ssl's own class here
        # OpenSSL reads a chain from files only; this one is private and gone at once.
        with tempfile.NamedTemporaryFile(prefix="ringback-") as file:
            file.write(self._leaf_issuer.issue(host))
            file.flush()
            context.load_cert_chain(file.name)
        return context

    def _choose(self, tls: TlsObject, name: str | None, context: ssl.SSLContext) -> None:
        tls.sni = name
        host = name.lower().rstrip(".") if name else ""
        if host and self._is_twilio(host):
            wanted = self.context_for(host)
            if wanted is not context:
                tls.context = wanted


class LeafIssuer:
    """Issues leaf certificates for host names, signed by the CA's intermediate.

    Args:
        pem: Signing key, intermediate and root.
    """

    def __init__(self, pem: bytes) -> None:
        # Imported here: a proxy that answers nobody needs none of it.
        from cryptography import x509  # noqa: PLC0415 - as above
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - as above

        self._intermediate = x509.load_pem_x509_certificates(pem)[0]
        self._signing_key = serialization.load_pem_private_key(pem, password=None)
        self._key_pem = self._signing_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def issue(self, host: str) -> bytes:
        """Return a PEM chain for `host`: the key, its leaf certificate and the intermediate.

        The leaf shares the CA's key, lasts as long as its issuer, and was valid two days ago, for clocks
        that are behind.
        """
        from cryptography import x509  # noqa: PLC0415 - see __init__
        from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415 - see __init__
        from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID  # noqa: PLC0415 - see __init__

        issuer = self._intermediate
        end = issuer.not_valid_after_utc
        if datetime.now(UTC) > end:
            logger.warning("the CA's certificate ended on %s: start Ringback anew, which makes another", end)
        begin = max(issuer.not_valid_before_utc, min(datetime.now(UTC), end) - timedelta(days=2))
        name = [x509.NameAttribute(NameOID.COMMON_NAME, host)] if len(host) < 64 else []
        key_id = x509.SubjectKeyIdentifier.from_public_key(issuer.public_key())
        leaf = (
            x509.CertificateBuilder()
            .issuer_name(issuer.subject)
            .subject_name(x509.Name(name))
            .public_key(issuer.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(end)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=not name)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_id), critical=False
            )
            .sign(self._signing_key, hashes.SHA256())  # type: ignore[arg-type] # our CA's key is an EC key
        )
        encoding = serialization.Encoding.PEM
        return self._key_pem + leaf.public_bytes(encoding) + issuer.public_bytes(encoding)


def is_distrust(error: str) -> bool:
    """Report whether OpenSSL's `error` is a client's alert that it does not accept the certificate."""
    return _DISTRUST.search(error) is not None
