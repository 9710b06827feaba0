"""Trust bundles: whatever roots a variable named, ours are added to them and none is lost."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

import certifi
import pytest

from ringback.launch.trust import Bundles, read_pem_blocks

if TYPE_CHECKING:
    from ringback.launch.ca import Authority


def block(text: str, label: str = "CERTIFICATE") -> bytes:
    return f"-----BEGIN {label}-----\n{text}\n-----END {label}-----".encode()


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def bundles(authority: Authority, tmp_path: Path, told: list[str]) -> Bundles:
    place = tmp_path / "launch"
    place.mkdir()
    return Bundles(place, authority.root_pem, told.append)


def test_the_usual_roots_and_ours_load(bundles: Bundles, authority: Authority) -> None:
    context = ssl.create_default_context(cafile=str(bundles.default))
    ours = ssl.PEM_cert_to_DER_cert(authority.root_pem.read_text())
    assert ours in context.get_ca_certs(binary_form=True)
    usual = set(read_pem_blocks(Path(certifi.where())))
    assert usual <= set(read_pem_blocks(bundles.default))


def test_no_certificate_is_there_twice(bundles: Bundles) -> None:
    found = read_pem_blocks(bundles.default)
    assert len(found) == len(set(found))


def test_an_empty_variable_replaces_with_the_usual_ones_and_adds_ours_alone(bundles: Bundles) -> None:
    assert bundles.replacing("SSL_CERT_FILE", "") == bundles.default
    assert bundles.adding("NODE_EXTRA_CA_CERTS", "") == bundles.root


@pytest.mark.parametrize("way", ["replacing", "adding"])
def test_what_a_variable_named_stays_and_no_more(
    bundles: Bundles, authority: Authority, tmp_path: Path, way: str
) -> None:
    own = tmp_path / "own.pem"
    own.write_bytes(b"a comment\n" + block("AAAA") + b"\n" + block("BBBB", "TRUSTED CERTIFICATE"))
    path = getattr(bundles, way)("X", str(own))
    (ours,) = read_pem_blocks(authority.root_pem)
    assert read_pem_blocks(path) == [block("AAAA"), block("BBBB", "TRUSTED CERTIFICATE"), ours]
    assert getattr(bundles, way)("Y", str(own)) == path


def test_two_files_have_two_bundles(bundles: Bundles, tmp_path: Path) -> None:
    paths = []
    for name in ("a.pem", "b.pem"):
        (tmp_path / name).write_bytes(block(name))
        paths.append(bundles.adding("X", str(tmp_path / name)))
    assert [read_pem_blocks(path)[0] for path in paths] == [block("a.pem"), block("b.pem")]


def test_what_cannot_be_read_is_reported_and_replaced(bundles: Bundles, told: list[str]) -> None:
    assert bundles.replacing("SSL_CERT_FILE", "/not/there") == bundles.default
    assert bundles.adding("NODE_EXTRA_CA_CERTS", "/not/there") == bundles.root
    assert [line.split(" names ")[0] for line in told] == ["SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"]
    assert "cannot be read (No such file or directory)" in told[0]


def test_a_directory_counts_each_certificate_once_and_passes_over_directories(tmp_path: Path) -> None:
    (tmp_path / "one.pem").write_bytes(block("A"))
    (tmp_path / "1a2b3c4d.0").symlink_to("one.pem")
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "two.pem").write_bytes(block("B"))
    assert read_pem_blocks(tmp_path) == [block("A")]


@pytest.mark.parametrize("kind", ["a pipe", "a device"])
def test_what_has_no_end_is_not_read(kind: str, bundles: Bundles, tmp_path: Path, told: list[str]) -> None:
    place = Path("/dev/zero")
    if kind == "a pipe":
        place = tmp_path / "pipe"
        os.mkfifo(place)
    assert bundles.replacing("SSL_CERT_FILE", str(place)) == bundles.default
    assert "cannot be read (not a regular file)" in told[0]
