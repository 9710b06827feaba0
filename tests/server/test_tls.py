"""Contexts towards clients: one for each host, bounded, with a chain that clients can verify."""

from __future__ import annotations

import contextlib
import ssl
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from ringback.launch.ca import ensure_authority
from ringback.server.tls import Contexts, TlsObject, is_distrust, parse_client_hello

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ensure_authority(tmp_path_factory.mktemp("ca")).directory


def contexts(root: Path) -> Contexts:
    return Contexts(root / "mitmproxy-ca.pem", lambda name: name.endswith("twilio.com"))


def handshake(
    server: ssl.SSLContext, client: ssl.SSLContext, name: str | None
) -> tuple[TlsObject, ssl.SSLObject]:
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
    assert isinstance(there, TlsObject)
    return there, here


def verifying(root: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(root / "mitmproxy-ca-cert.pem"))


def test_a_host_keeps_its_context(root: Path) -> None:
    known = contexts(root)
    assert known.context_for("api.twilio.com") is known.context_for("api.twilio.com")
    assert known.context_for("api.twilio.com") is not known.context_for("verify.twilio.com")


def test_made_up_hosts_do_not_pile_up(root: Path) -> None:
    known = contexts(root)
    first = known.context_for("a0.twilio.com")
    for number in range(1, 129):
        known.context_for(f"a{number}.twilio.com")
    assert known.context_for("a0.twilio.com") is not first


def test_the_name_in_the_handshake_gets_its_certificate(root: Path) -> None:
    there, here = handshake(
        contexts(root).context_for("api.twilio.com"), verifying(root), "verify.twilio.com"
    )
    assert there.sni == "verify.twilio.com"
    found = x509.load_der_x509_certificate(here.getpeercert(binary_form=True) or b"")
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["verify.twilio.com"]


def test_a_strangers_name_gets_no_certificate(root: Path) -> None:
    client = verifying(root)
    client.check_hostname = False
    there, here = handshake(contexts(root).context_for("api.twilio.com"), client, "example.com")
    assert there.sni == "example.com"
    found = x509.load_der_x509_certificate(here.getpeercert(binary_form=True) or b"")
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["api.twilio.com"]


def test_without_a_name_there_is_none(root: Path) -> None:
    client = verifying(root)
    client.check_hostname = False
    there, _ = handshake(contexts(root).context_for("api.twilio.com"), client, None)
    assert there.sni is None


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_old_and_new_clients_are_understood(root: Path, version: ssl.TLSVersion) -> None:
    client = verifying(root)
    client.minimum_version = client.maximum_version = version
    _, here = handshake(contexts(root).context_for("api.twilio.com"), client, "api.twilio.com")
    assert here.version() == version.name.replace("_", ".").replace("TLSv1.", "TLSv1.")


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
    assert is_distrust(error) is expected


def client_hello(name: str | None = "api.twilio.com", protocols: tuple[str, ...] = ()) -> bytes:
    client = ssl.create_default_context()
    client.check_hostname = False
    if protocols:
        client.set_alpn_protocols(list(protocols))
    outgoing = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        client.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name).do_handshake()
    return outgoing.read()


def in_records(hello: bytes, size: int) -> bytes:
    """The same ClientHello in TLS records of `size` bytes each."""
    message = hello[5:]
    pieces = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(hello[:3] + len(piece).to_bytes(2) + piece for piece in pieces)


@pytest.mark.parametrize(
    "protocols, takes",
    [(("http/1.1",), True), (("h2", "http/1.1"), True), (("h2",), False), ((), True), (("h3",), True)],
)
@pytest.mark.parametrize("name", ["api.twilio.com", None])
@pytest.mark.parametrize("size", [1, 3, 50, 16_000])
def test_a_client_hello_is_parsed_in_any_records(
    protocols: tuple[str, ...], takes: bool, name: str | None, size: int
) -> None:
    data = in_records(client_hello(name, protocols), size)
    found = parse_client_hello(data + b"\x17more")
    assert found is not None
    assert (found.sni, found.takes_http1) == (name, takes)
    assert found.alpn == tuple(one.encode() for one in protocols)
    for at in {0, 1, 4, 5, 9, len(data) // 2, len(data) - 1}:
        assert parse_client_hello(data[:at]) is None


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1", b"\x16\x03\x01\x00\x05hello", b"\x15\x03\x01\x00\x02\x01\x00"]
)
def test_what_is_no_client_hello_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a"):
        parse_client_hello(data)


@given(data=st.binary(max_size=400))
def test_no_bytes_break_the_parser(data: bytes) -> None:
    hello = client_hello()
    for one in (b"\x16\x03\x01" + data, b"\x16\x03\x01" + len(data).to_bytes(2) + data, hello[:60] + data):
        with contextlib.suppress(ValueError):
            parse_client_hello(one)
