"""The agent under every JDK that is installed here; twilio-java's generations are in tests/sdk/java."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from ringback.launch.hints import seen_runtimes, stopped_bypasses
from ringback.launch.runtimes import JAVA_AGENT, JAVA_IMAGE_ADVICE
from support.launching import needs
from support.scripts import script

if TYPE_CHECKING:
    from pathlib import Path

    from support.launching import Launched, Launcher


agent = script("build_agent")


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
    assert stopped_bypasses(launched.launch.directory) == ()


@pytest.mark.parametrize("before", [[], ["socket"], ["http"]], ids=["alone", "after a socket", "after http"])
@pytest.mark.parametrize("client", ["unproxied", "channel", "http-direct"])
def test_a_client_that_wants_no_proxy_reaches_nobody_and_is_reported(
    client: str, before: list[str], java: str, classes: Path, launcher: Launcher
) -> None:
    launched = launcher()
    done = launched.run([java, "-cp", classes, "Clients", *before, client])
    assert done.returncode == 1
    assert re.search(r"ConnectException|SocketException|NoRouteToHost", done.stderr)
    assert len(launched.requests()) == len(before)
    (mark,) = stopped_bypasses(launched.launch.directory)
    assert (mark.runtime, mark.host) == ("java", "api.twilio.com")
    assert mark.program == " ".join(["Clients", *before, client])


def test_equal_urls_are_no_way_past_the_proxy(java: str, classes: Path, launcher: Launcher) -> None:
    launched = launcher()
    done = launched.run([java, "-cp", classes, "Clients", "equal"])
    assert done.stdout == "true\n"
    assert stopped_bypasses(launched.launch.directory) == ()


def test_where_the_agent_may_do_nothing_it_says_so_in_a_line(
    java: str, classes: Path, launcher: Launcher, tmp_path: Path
) -> None:
    """Under a security manager; the newest Java knows none."""
    (tmp_path / "policy").write_text('grant { permission java.net.SocketPermission "*", "resolve"; };')
    manager = ["-Djava.security.manager", f"-Djava.security.policy=={tmp_path}/policy"]
    if subprocess.run([java, *manager, "-version"], capture_output=True, check=False).returncode:
        pytest.skip(f"{java} knows no security manager")
    done = launcher().run([java, *manager, "-cp", classes, "Clients", "localhost"])
    assert done.stdout == "true\n"
    assert done.stderr.count("Ringback: the agent does not work in this JVM: ") == 1
    assert "\tat " not in done.stderr


def test_other_names_resolve_as_ever(java: str, classes: Path, launcher: Launcher) -> None:
    assert launcher().run([java, "-cp", classes, "Clients", "localhost"]).stdout == "true\n"


def test_options_that_are_there_go_on_to_hold(java: str, classes: Path, launcher: Launcher) -> None:
    launched = launcher({"JAVA_TOOL_OPTIONS": "-Dhttps.proxyHost=proxy.invalid -Dhttps.proxyPort=1"})
    done = launched.run([java, "-cp", classes, "Clients", "url"])
    assert done.stdout == "201\n"
    assert "-Dhttps.proxyHost=proxy.invalid" in done.stderr


def test_a_directory_with_spaces(java: str, classes: Path, launcher: Launcher, tmp_path: Path) -> None:
    directory = tmp_path / "with space"
    directory.mkdir()
    done = launcher(directory=directory).run([java, "-cp", classes, "Clients", "http"])
    assert done.stdout == "201\n", done.stderr


def test_the_jar_comes_from_the_source() -> None:
    javac = needs("javac")
    said = subprocess.run([javac, "-version"], capture_output=True, text=True, check=True).stdout
    if not said.startswith(f"javac {agent.JAVAC}."):
        pytest.skip(f"{said.strip()} is here; the jar was built by javac {agent.JAVAC}")
    assert agent.JAR.name == JAVA_AGENT
    assert agent.JAR.read_bytes() == agent.pack(agent.compile_agent(javac))


@pytest.mark.parametrize("given", ["PATH", "JAVA_HOME"])
def test_an_image_that_no_agent_can_be_loaded_into_is_reported_before(
    given: str, launcher: Launcher, tmp_path: Path
) -> None:
    image = tmp_path / "jre"
    command = [needs("jlink"), "--add-modules", "java.base", "--output", str(image)]
    subprocess.run(command, check=True, capture_output=True)
    value = f"{image}/bin:/usr/bin:/bin" if given == "PATH" else str(image)
    launched = launcher({"PATH": "/bin", "JAVA_HOME": "", given: value})
    assert launched.launch.warnings == (JAVA_IMAGE_ADVICE.format(image / "bin" / "java"),)
    done = launched.run([image / "bin" / "java", "-version"])
    assert done.returncode == 1
    assert "java.instrument" in done.stdout + done.stderr
