"""A Java trust store, read by Java itself."""

from __future__ import annotations

import hashlib
import re
import ssl
import subprocess
from typing import TYPE_CHECKING

import pytest

from ringback.launch.trust import JKS_PASSWORD, Bundles, jks, read_pem_blocks
from support.launching import needs

if TYPE_CHECKING:
    from pathlib import Path

    from ringback.launch.ca import Authority


def listed(store: Path, password: str = JKS_PASSWORD) -> subprocess.CompletedProcess[str]:
    command = [needs("keytool"), "-list", "-keystore", str(store), "-storepass", password]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_java_finds_every_certificate(authority: Authority, tmp_path: Path) -> None:
    bundle = Bundles(tmp_path, authority.root_pem, lambda _: None).default
    ders = [ssl.PEM_cert_to_DER_cert(block.decode()) for block in read_pem_blocks(bundle)]
    (tmp_path / "store").write_bytes(jks(ders))
    done = listed(tmp_path / "store")
    assert done.returncode == 0, done.stdout
    found = set(re.findall(r"SHA-256\): ([0-9A-F:]+)", done.stdout))
    assert found == {hashlib.sha256(der).digest().hex(":").upper() for der in ders}
    assert len(found) > 50
    assert done.stdout.count("trustedCertEntry") == len(ders)


def test_another_password_and_a_changed_byte_are_refused(authority: Authority, tmp_path: Path) -> None:
    content = jks([ssl.PEM_cert_to_DER_cert(authority.root_pem.read_text())])
    (tmp_path / "store").write_bytes(content)
    assert listed(tmp_path / "store").returncode == 0
    assert listed(tmp_path / "store", "changeme").returncode != 0
    (tmp_path / "store").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert listed(tmp_path / "store").returncode != 0


@pytest.mark.parametrize("count", [0, 3])
def test_the_number_of_entries_stands_in_front(count: int) -> None:
    content = jks([b"der"] * count)
    assert content[:12] == b"\xfe\xed\xfe\xed\0\0\0\2" + count.to_bytes(4)
    assert content.count(b"ringback-") == count
