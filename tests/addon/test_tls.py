"""Contexts towards clients: one for each host, bounded, with a chain that clients can verify."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from ringback.launch.ca import ensure_authority
from support.mitm import loaded  # noqa: F401 - imports mitmproxy with its dependencies' warnings off

from mitmproxy.certs import CertStore  # isort: skip - after the import above
from ringback.addon.tls import (  # isort: skip - as above
    MAX_HOSTS,
    Contexts,
    Tls,
    distrusts,
    hello_length,
    server_name,
    takes_http1,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ensure_authority(tmp_path_factory.mktemp("ca")).directory


def contexts(root: Path) -> Contexts:
    store = CertStore.from_store(root, "mitmproxy", 2048)
    return Contexts(store, lambda name: name.endswith("twilio.com"))


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str | None) -> tuple[Tls, ssl.SSLObject]:
    """Both sides of a connection in memory, after the handshake."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    there = server.wrap_bio(up, down, server_side=True)
    here = client.wrap_bio(down, up, server_hostname=name)
    for _ in range(5):
        for side in (here, there):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert isinstance(there, Tls)
    return there, here


def verifying(root: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(root / "mitmproxy-ca-cert.pem"))


def test_a_host_keeps_its_context(root: Path) -> None:
    known = contexts(root)
    assert known.of("api.twilio.com") is known.of("api.twilio.com")
    assert known.of("api.twilio.com") is not known.of("verify.twilio.com")


def test_made_up_hosts_do_not_pile_up(root: Path) -> None:
    known = contexts(root)
    first = known.of("a0.twilio.com")
    for number in range(1, MAX_HOSTS + 1):
        known.of(f"a{number}.twilio.com")
    assert known.of("a0.twilio.com") is not first


def test_the_name_in_the_handshake_gets_its_certificate(root: Path) -> None:
    there, here = handshake(contexts(root).of("api.twilio.com"), verifying(root), "verify.twilio.com")
    assert there.sni == "verify.twilio.com"
    found = x509.load_der_x509_certificate(here.getpeercert(binary_form=True) or b"")
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["verify.twilio.com"]


def test_a_strangers_name_gets_no_certificate(root: Path) -> None:
    client = verifying(root)
    client.check_hostname = False
    there, here = handshake(contexts(root).of("api.twilio.com"), client, "example.com")
    assert there.sni == "example.com"
    found = x509.load_der_x509_certificate(here.getpeercert(binary_form=True) or b"")
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["api.twilio.com"]


def test_without_a_name_there_is_none(root: Path) -> None:
    client = verifying(root)
    client.check_hostname = False
    there, _ = handshake(contexts(root).of("api.twilio.com"), client, None)
    assert there.sni is None


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_old_and_new_clients_are_understood(root: Path, version: ssl.TLSVersion) -> None:
    client = verifying(root)
    client.minimum_version = client.maximum_version = version
    _, here = handshake(contexts(root).of("api.twilio.com"), client, "api.twilio.com")
    assert here.version() == version.name.replace("_", ".").replace("TLSv1.", "TLSv1.")


@pytest.mark.parametrize(
    "protocols,takes",
    [(["http/1.1"], True), (["h2", "http/1.1"], True), (["h2"], False), ([], True)],
)
def test_a_hello_says_whether_http1_will_do(protocols: list[str], takes: bool) -> None:
    client = ssl.create_default_context()
    if protocols:
        client.set_alpn_protocols(protocols)
    outgoing = ssl.MemoryBIO()
    tls = client.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="api.twilio.com")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    hello = outgoing.read()
    assert hello_length(hello) == len(hello)
    assert hello_length(hello[:4]) == 0
    assert takes_http1(hello) is takes


@pytest.mark.parametrize(
    "error, expected",
    [
        ("TLSV1_ALERT_UNKNOWN_CA", True),
        ("SSLV3_ALERT_BAD_CERTIFICATE", True),
        ("SSLV3_ALERT_CERTIFICATE_UNKNOWN", True),
        ("[('SSL routines', '', 'ssl/tls alert bad certificate')]", True),
        ("tlsv1 alert unknown ca", True),
        ("TLSV1_ALERT_PROTOCOL_VERSION", False),
        ("UNEXPECTED_EOF_WHILE_READING", False),
        ("", False),
    ],
)
def test_which_alerts_are_about_the_certificate(error: str, expected: bool) -> None:
    assert distrusts(error) is expected


@pytest.mark.parametrize("name", ["api.twilio.com", None])
def test_the_server_name_of_a_hello(name: str | None) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    context.check_hostname = False
    side = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        side.do_handshake()
    hello = outgoing.read()
    assert server_name(hello) == name
    assert server_name(hello[:40]) is None
    assert server_name(b"\x16\x03\x01\x00\x05hello") is None
