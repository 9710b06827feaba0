from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs12

from ringback.launch.ca import EXPORT_NAMES
from ringback.launch.certificates import EXPORT_FORMATS, export
from support.launching import needs

if TYPE_CHECKING:
    from pathlib import Path

    from ringback.launch.ca import Authority


def test_the_command_knows_every_form() -> None:
    assert set(EXPORT_NAMES) == set(EXPORT_FORMATS)


def test_pem_der_and_p12_hold_the_same_certificate(authority: Authority) -> None:
    pem = authority.root_pem.read_bytes()
    root = x509.load_pem_x509_certificate(pem)
    assert x509.load_pem_x509_certificate(export(pem, "pem")) == root
    assert x509.load_der_x509_certificate(export(pem, "der")) == root
    store = pkcs12.load_pkcs12(export(pem, "p12"), b"changeit")
    assert store.key is None
    assert [entry.certificate for entry in store.additional_certs] == [root]


def test_java_reads_the_jks(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "store").write_bytes(export(authority.root_pem.read_bytes(), "jks"))
    command = [
        needs("keytool"),
        "-list",
        "-v",
        "-keystore",
        str(tmp_path / "store"),
        "-storepass",
        "changeit",
    ]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert authority.fingerprint in listed


@pytest.mark.parametrize("name", EXPORT_FORMATS)
def test_no_form_holds_a_key(name: str, authority: Authority) -> None:
    assert b"PRIVATE" not in export(authority.root_pem.read_bytes(), name)
