"""Netty's own resolver, which asks name servers past the JVM, under reactor-netty."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from ringback.launch.hints import stopped_bypasses
from support.launching import needs
from support.maven import jars
from support.servers import elsewhere

if TYPE_CHECKING:
    from pathlib import Path

    from support.launching import Launcher

PROGRAM = """
import java.time.Duration;
import reactor.netty.http.client.HttpClient;

public class Reactor {
    public static void main(String[] arguments) {
        try {
            HttpClient.create().get().uri(arguments[0]).response().block(Duration.ofSeconds(20));
            System.out.println("answered");
        } catch (RuntimeException error) {
            System.out.println(error);
        }
        System.exit(0);
    }
}
"""


APART = """
import java.io.File;
import java.net.*;

public class Apart {
    public static void main(String[] arguments) throws Exception {
        URL[] jars = new URL[arguments.length];
        for (int i = 0; i < jars.length; i++) {
            jars[i] = new File(arguments[i]).toURI().toURL();
        }
        ClassLoader alone = new URLClassLoader(jars, ClassLoader.getSystemClassLoader().getParent());
        Class<?> netty = Class.forName("io.netty.resolver.HostsFileEntriesProvider", true, alone);
        System.out.println(netty.getSimpleName());
    }
}
"""


@pytest.fixture(scope="module")
def classpath(tmp_path_factory: pytest.TempPathFactory) -> str:
    found = jars("reactor-netty-http", "1.2.0", "io.projectreactor.netty")
    place = tmp_path_factory.mktemp("reactor")
    (place / "Reactor.java").write_text(PROGRAM)
    path = f"{found}/*{os.pathsep}{place}"
    command = [needs("javac"), "-cp", path, "-d", str(place), str(place / "Reactor.java")]
    subprocess.run(command, check=True, capture_output=True)
    return path


@pytest.mark.slow
def test_netty_is_led_nowhere_and_that_is_told(java: str, classpath: str, launcher: Launcher) -> None:
    launched = launcher()
    done = launched.run([java, "-cp", classpath, "Reactor", "https://api.Twilio.com/2010-04-01/"])
    assert "/255.255.255.255:443" in done.stdout, done.stderr
    assert {mark.host.lower() for mark in stopped_bypasses(launched.launch.directory)} == {"api.twilio.com"}


@pytest.mark.slow
def test_netty_finds_other_names_as_ever(java: str, classpath: str, launcher: Launcher) -> None:
    """`localhost` stands in /etc/hosts."""
    launched = launcher()
    with elsewhere() as server:
        done = launched.run([java, "-cp", classpath, "Reactor", f"http://localhost:{server.port}/"])
    assert done.stdout == "answered\n", done.stderr
    assert stopped_bypasses(launched.launch.directory) == ()


@pytest.mark.slow
def test_netty_that_does_not_see_the_agent_works_and_is_told(
    java: str, launcher: Launcher, tmp_path: Path
) -> None:
    """As in a plug-in of Maven's."""
    (tmp_path / "Apart.java").write_text(APART)
    subprocess.run([needs("javac"), str(tmp_path / "Apart.java")], check=True, capture_output=True)
    found = sorted(jars("reactor-netty-http", "1.2.0", "io.projectreactor.netty").glob("netty-*.jar"))
    launched = launcher()
    done = launched.run([java, "-cp", tmp_path, "Apart", *found])
    assert done.stdout == "HostsFileEntriesProvider\n", done.stderr
    assert "would reach Twilio itself, as it does not see the agent" in done.stderr
    assert stopped_bypasses(launched.launch.directory) == ()
