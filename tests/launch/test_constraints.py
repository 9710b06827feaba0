"""Whoever gets hold of the stored key can vouch for Twilio's names alone, says every client."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING, cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from ringback.launch.certificates import read_certificates
from support.launching import Launched, needs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric import ec

    from ringback.launch.ca import Authority
    from support.launching import Launcher

ALLOWED = ("api.twilio.com", "api.dublin.ie1.twilio.com")
FORBIDDEN = ("example.com", "nottwilio.com", "127.0.0.1")

PYTHON = """
import socket, ssl, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as bare:
    ssl.create_default_context().wrap_socket(bare, server_hostname=sys.argv[2]).close()
print("accepted")
"""
NODE = """
const [port, name] = process.argv.slice(1);
const given = require('net').isIP(name) ? { host: name } : { host: '127.0.0.1', servername: name };
const socket = require('tls').connect({ port, ...given }, () => {
  console.log('accepted');
  socket.destroy();
});
"""
GO = """
package main

import (
	"crypto/tls"
	"fmt"
	"os"
)

func main() {
	_, err := tls.Dial("tcp", "127.0.0.1:"+os.Args[1], &tls.Config{ServerName: os.Args[2]})
	if err != nil {
		panic(err)
	}
	fmt.Println("accepted")
}
"""


def _leaf(pem: bytes, name: str, directory: Path) -> ssl.SSLContext:
    """A server's context with a leaf for `name`, signed with the stored key, as a thief would."""
    intermediate, root = read_certificates(pem)
    key = cast("ec.EllipticCurvePrivateKey", serialization.load_pem_private_key(pem, None))
    try:
        alternative: x509.GeneralName = x509.IPAddress(ip_address(name))
    except ValueError:
        alternative = x509.DNSName(name)
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(intermediate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=7))
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=True)
        .add_extension(x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(intermediate.public_key()),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    chain = [certificate, intermediate, root]
    file = directory / f"{name}.pem"
    text = b"".join(one.public_bytes(serialization.Encoding.PEM) for one in chain)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + text)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


@dataclass(frozen=True)
class Server:
    ports: dict[str, int]


@pytest.fixture(scope="module")
def server(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One listener for each name, because a client sends no SNI for an address."""
    directory = tmp_path_factory.mktemp("leaves")
    pem = authority.mitmproxy_pem.read_bytes()
    listeners = {}
    for name in (*ALLOWED, *FORBIDDEN):
        listener = socket.create_server(("127.0.0.1", 0))
        listeners[name] = listener
        context = _leaf(pem, name, directory)
        threading.Thread(target=_shake_hands, args=(listener, context), daemon=True).start()
    yield Server({name: listener.getsockname()[1] for name, listener in listeners.items()})
    for listener in listeners.values():
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _shake_hands(listener: socket.socket, context: ssl.SSLContext) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        try:
            context.wrap_socket(connection, server_side=True).close()
        except OSError:
            connection.close()


def _python(_: Path) -> list[str]:
    # Without the shim: what the variables alone make trusted is held to the same limits.
    return [sys.executable, "-E", "-c", PYTHON]


def _node(_: Path) -> list[str]:
    return [needs("node"), "-e", NODE, "--"]


def _go(directory: Path) -> list[str]:
    (directory / "handshake.go").write_text(GO)
    program = directory / "handshake"
    subprocess.run([needs("go"), "build", "-o", program, "handshake.go"], cwd=directory, check=True)
    return [str(program)]


def _java(directory: Path) -> list[str]:
    source = __file__.replace("test_constraints.py", "Handshake.java")
    subprocess.run([needs("javac"), "-d", str(directory), source], check=True)
    return [needs("java"), "-cp", str(directory), "Handshake"]


def _curl(_: Path) -> list[str]:
    return [needs("curl")]


CLIENTS = {"python": _python, "node": _node, "go": _go, "java": _java, "curl": _curl}


def _command(client: str, start: Sequence[str], name: str, port: int) -> list[str]:
    if client != "curl":
        return [*start, str(port), name]
    resolve = ["--resolve", f"{name}:{port}:127.0.0.1"] if name != "127.0.0.1" else []
    # The server says nothing after the handshake, so 52 (empty reply) is as good as it gets.
    return [
        *start,
        "--noproxy",
        "*",
        "-sS",
        *resolve,
        f"https://{name}:{port}/",
        "-w",
        "%{ssl_verify_result}",
    ]


def _accepted(client: str, launched: Launched, command: Sequence[str]) -> bool:
    done = launched.run(command)
    if client == "curl":
        assert done.returncode in {52, 56, 60}, done.stderr
        return done.returncode != 60
    return done.stdout == "accepted\n"


@pytest.mark.parametrize("client", CLIENTS)
def test_the_stored_key_vouches_for_twilio_alone(
    client: str, server: Server, launcher: Launcher, tmp_path: Path
) -> None:
    launched = launcher()
    start = CLIENTS[client](tmp_path)
    found = {
        name: _accepted(client, launched, _command(client, start, name, port))
        for name, port in server.ports.items()
    }
    assert found == dict.fromkeys(ALLOWED, True) | dict.fromkeys(FORBIDDEN, False)
