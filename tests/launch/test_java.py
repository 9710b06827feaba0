"""The agent under every JDK that is installed here; twilio-java's generations are in tests/sdk/java."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ringback.launch import agent
from ringback.launch.java import SHIM
from ringback.launch.traces import seen_runtimes
from ringback.launch.truststore import PASSWORD
from support.launching import needs

if TYPE_CHECKING:
    from support.launching import Launched, Launcher

SOURCE = Path(__file__).with_name("Clients.java")
INSTALLED = sorted({path.resolve() for path in Path("/usr/lib/jvm").glob("*/bin/java")})


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("classes")
    command = [needs("javac"), "--release", "8", "-Xlint:-options", "-d", str(place), str(SOURCE)]
    subprocess.run(command, check=True)
    return place


@pytest.fixture(params=INSTALLED or ["java"], ids=lambda java: java if java == "java" else java.parts[-3])
def java(request: pytest.FixtureRequest) -> str:
    return needs(str(request.param))


def _complaints(launched: Launched, stderr: str) -> str:
    """What a JVM says beyond announcing JAVA_TOOL_OPTIONS."""
    announced = f"Picked up JAVA_TOOL_OPTIONS: {launched.launch.environment['JAVA_TOOL_OPTIONS']}\n"
    assert announced in stderr
    return stderr.replace(announced, "")


@pytest.mark.parametrize("client", ["url", "direct", "http", "socket"])
def test_every_way_of_the_jdk_ends_at_the_proxy(
    client: str, java: str, classes: Path, launcher: Launcher
) -> None:
    launched = launcher()
    done = launched.run([java, "-cp", classes, "Clients", client])
    assert _complaints(launched, done.stderr) == ""
    assert done.stdout == "201\n"
    assert len(launched.requests()) == 1
    assert [mark.runtime for mark in seen_runtimes(launched.launch.directory)] == ["java"]


@pytest.mark.parametrize("client", ["unproxied", "channel"])
def test_a_socket_that_wants_no_proxy_reaches_nobody(
    client: str, java: str, classes: Path, launcher: Launcher
) -> None:
    launched = launcher()
    done = launched.run([java, "-cp", classes, "Clients", client])
    assert done.returncode == 1
    assert re.search(r"ConnectException|SocketException|NoRouteToHost", done.stderr)
    assert launched.requests() == []


def test_other_names_resolve_as_ever(java: str, classes: Path, launcher: Launcher) -> None:
    assert launcher().run([java, "-cp", classes, "Clients", "localhost"]).stdout == "true\n"


def test_options_that_are_there_go_on_to_hold(java: str, classes: Path, launcher: Launcher) -> None:
    launched = launcher({"JAVA_TOOL_OPTIONS": "-Dhttps.proxyHost=proxy.invalid -Dhttps.proxyPort=1"})
    done = launched.run([java, "-cp", classes, "Clients", "url"])
    assert done.stdout == "201\n"
    assert "-Dhttps.proxyHost=proxy.invalid" in done.stderr


@pytest.mark.parametrize("kind", ["JKS", "PKCS12"])
def test_a_trust_store_of_the_programs_own_is_extended(
    kind: str, java: str, classes: Path, launcher: Launcher, tmp_path: Path
) -> None:
    launched = launcher()
    own = tmp_path / "own store"
    keytool = [needs("keytool"), "-genkeypair", "-keyalg", "EC", "-dname", "CN=own", "-alias", "own"]
    where = ["-keystore", str(own), "-storetype", kind, "-storepass", "secret", "-keypass", "secret"]
    subprocess.run([*keytool, *where], check=True, capture_output=True)
    options = [f"-Djavax.net.ssl.trustStore={own}", "-Djavax.net.ssl.trustStorePassword=secret"]
    done = launched.run([java, *options, "-cp", classes, "Clients", "socket"])
    assert done.stdout == "201\n", done.stderr


def test_a_directory_with_spaces(java: str, classes: Path, launcher: Launcher, tmp_path: Path) -> None:
    directory = tmp_path / "with space"
    directory.mkdir()
    done = launcher(directory=directory).run([java, "-cp", classes, "Clients", "http"])
    assert done.stdout == "201\n", done.stderr


def test_keytool_reads_the_trust_store(launcher: Launcher) -> None:
    launched = launcher()
    store = launched.launch.directory / "truststore.jks"
    command = [needs("keytool"), "-list", "-keystore", str(store), "-storepass", PASSWORD]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    number = launched.launch.bundle.read_bytes().count(b"BEGIN CERTIFICATE")
    assert listed.count("trustedCertEntry") == number > 50


def test_the_jar_comes_from_the_source() -> None:
    javac = needs("javac")
    said = subprocess.run([javac, "-version"], capture_output=True, text=True, check=True).stdout
    if not said.startswith(f"javac {agent.JAVAC}."):
        pytest.skip(f"{said.strip()} is here; the jar was built by javac {agent.JAVAC}")
    assert agent.JAR.name == SHIM
    assert agent.JAR.read_bytes() == agent.pack(agent.compile_agent(javac))
