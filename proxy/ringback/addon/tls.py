"""TLS towards clients: one context for each host name, kept as long as the process."""

from __future__ import annotations

import re
import ssl
import tempfile
from functools import lru_cache
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from mitmproxy.proxy.layers.tls import parse_client_hello

if TYPE_CHECKING:
    from collections.abc import Callable

    from mitmproxy.certs import CertStore, CertStoreEntry

MAX_HOSTS = 128  # contexts kept; a client can make up any number of names below twilio.com
RECORD = 0x16  # the type of the TLS record that begins a handshake
_HEADER = 5
_HTTP1 = b"\x08http/1.1"
_HTTP2 = b"\x02h2"
_DISTRUST = re.compile(r"alert[ _](?:unknown[ _]ca|(?:bad[ _]|unsupported[ _])?certificate)", re.IGNORECASE)
# Forward secrecy for everybody; CBC with SHA-1 for clients as old as Java 7.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES:DHE+AESGCM:DHE+AES"


class Tls(ssl.SSLObject):
    """The server's side of one TLS connection.

    Attributes:
        sni: The server name that the client gave, or None.
    """

    sni: str | None = None


class Contexts:
    """One context for each host name, so that a connection costs a handshake alone, and a second one less.

    Args:
        store: The certificates, made and signed by the CA when they are first needed.
        known: Whether a name (canonical) may get a certificate of its own.
    """

    def __init__(self, store: CertStore, known: Callable[[str], bool]) -> None:
        self._store = store
        self._known = known
        self.of = lru_cache(MAX_HOSTS)(self._make)

    def _make(self, host: str) -> ssl.SSLContext:
        """The context for `host`."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_ciphers(_CIPHERS)
        # HTTP/1 alone: a client that would take HTTP/2 as well is answered sooner without it.
        context.set_alpn_protocols(["http/1.1"])
        # A client that resumes at all gets a new ticket each time.
        context.num_tickets = 1
        context.sslobject_class = Tls
        context.sni_callback = self._named  # type: ignore[assignment] # typeshed has ssl's own class here
        _load(context, self._store.get_cert(host, [x509.DNSName(host)]))
        return context

    def _named(self, tls: Tls, name: str | None, context: ssl.SSLContext) -> None:
        tls.sni = name
        host = name.lower().rstrip(".") if name else ""
        if host and self._known(host):
            wanted = self.of(host)
            if wanted is not context:
                tls.context = wanted


def _load(context: ssl.SSLContext, entry: CertStoreEntry) -> None:
    """Give `context` a leaf, its key and the certificates between it and the root."""
    between = [pem for pem in (cert.to_pem() for cert in entry.chain_certs) if not _is_root(pem)]
    key = entry.privatekey.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    # OpenSSL reads a chain from files only; this one is private and gone at once.
    with tempfile.NamedTemporaryFile(prefix="ringback-") as file:
        file.write(key + entry.cert.to_pem() + b"".join(between))
        file.flush()
        context.load_cert_chain(file.name)


def _is_root(pem: bytes) -> bool:
    cert = x509.load_pem_x509_certificate(pem)
    return cert.issuer == cert.subject


def distrusts(error: str) -> bool:
    """Whether OpenSSL's `error` is a client's alert that it does not accept the certificate."""
    return _DISTRUST.search(error) is not None


def server_name(hello: bytes) -> str | None:
    """The server name in a ClientHello, TLS records and all; None without one.

    Python tells it in a callback, but for a resumed session of TLS 1.2 that has the name of the first one.
    """
    try:
        parsed = parse_client_hello(hello)
    except ValueError:
        return None
    return parsed.sni if parsed else None


def hello_length(data: bytes) -> int:
    """How many bytes the TLS record at the start of `data` takes in all; 0 while that is unknown."""
    return _HEADER + int.from_bytes(data[3:_HEADER]) if len(data) >= _HEADER else 0


def takes_http1(hello: bytes) -> bool:
    """Whether a ClientHello leaves HTTP/1 open: it offers it, or does not negotiate at all."""
    return _HTTP1 in hello or _HTTP2 not in hello
