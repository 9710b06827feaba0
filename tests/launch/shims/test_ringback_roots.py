"""Java's roots: whatever a JVM or a program trusts goes on to be trusted, and ours with it."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from support.launching import needs
from support.servers import elsewhere

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.launching import Launched, Launcher
    from support.servers import Elsewhere


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Elsewhere]:
    """A server whose certificate nobody's roots know."""
    with elsewhere(tmp_path_factory.mktemp("private")) as server:
        yield server


def _import(server: Elsewhere, store: Path, password: str, kind: str = "JKS") -> None:
    command = [
        needs("keytool"),
        "-importcert",
        "-noprompt",
        "-alias",
        "own",
        "-file",
        str(server.certificate),
    ]
    where = ["-keystore", str(store), "-storepass", password, "-storetype", kind]
    subprocess.run([*command, *where], check=True, capture_output=True)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Java of the test's own, whose roots can be changed."""
    place = tmp_path_factory.mktemp("image") / "jre"
    modules = "java.base,java.instrument,jdk.crypto.ec"
    command = [needs("jlink"), "--add-modules", modules, "--output", str(place)]
    subprocess.run(command, check=True, capture_output=True)
    return place


def _asks(java: str | Path, classes: Path, launched: Launched, server: Elsewhere, *options: str) -> list[str]:
    """What that server and Twilio answer."""
    clients = [f"https://localhost:{server.port}/", "url"]
    done = launched.run([java, *options, "-cp", classes, "Clients", *clients])
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("name", ["cacerts", "jssecacerts"])
def test_the_roots_of_the_jvm_go_on_to_be_trusted(
    name: str, image: Path, private: Elsewhere, classes: Path, launcher: Launcher
) -> None:
    store = image / "lib" / "security" / name
    _import(private, store, "changeit")
    try:
        assert _asks(image / "bin" / "java", classes, launcher(), private) == ["200", "201"]
    finally:
        delete = [needs("keytool"), "-delete", "-alias", "own", "-storepass", "changeit"]
        subprocess.run([*delete, "-keystore", str(store)], check=True, capture_output=True)
        (image / "lib" / "security" / "jssecacerts").unlink(missing_ok=True)


@pytest.mark.parametrize("told", [True, False], ids=["password told", "password not told"])
@pytest.mark.parametrize("kind", ["JKS", "PKCS12"])
def test_a_trust_store_of_the_programs_own(
    kind: str, told: bool, java: str, private: Elsewhere, classes: Path, launcher: Launcher, tmp_path: Path
) -> None:
    own = tmp_path / "own store"
    _import(private, own, "another", kind)
    options = [f"-Djavax.net.ssl.trustStore={own}"]
    options += ["-Djavax.net.ssl.trustStorePassword=another"] if told else []
    launched = launcher()
    if kind == "PKCS12" and not told:  # Java itself finds nothing in it then
        done = launched.run([java, *options, "-cp", classes, "Clients", "url"])
        assert done.stdout == "201\n", done.stderr
    else:
        assert _asks(java, classes, launched, private, *options) == ["200", "201"]


def test_a_program_that_trusts_nothing_else(java: str, classes: Path, launcher: Launcher) -> None:
    launched = launcher()
    done = launched.run([java, "-Djavax.net.ssl.trustStore=NONE", "-cp", classes, "Clients", "url"])
    assert done.stdout == "201\n", done.stderr


def test_nobody_else_is_trusted(java: str, private: Elsewhere, classes: Path, launcher: Launcher) -> None:
    done = launcher().run([java, "-cp", classes, "Clients", f"https://localhost:{private.port}/"])
    assert done.returncode == 1
    assert "PKIX path building failed" in done.stderr
