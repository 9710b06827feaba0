"""The Java agent's jar: made from its source, the same byte for byte."""

from __future__ import annotations

import subprocess
import zipfile
from io import BytesIO
from typing import TYPE_CHECKING

import pytest

from support.launching import needs
from support.scripts import script

if TYPE_CHECKING:
    from pathlib import Path

agent = script("build_agent")


def test_a_jar_says_where_the_agent_starts_and_holds_the_classes() -> None:
    with zipfile.ZipFile(BytesIO(agent.pack({"A.class": b"\xca\xfe", "B.class": b"x"}))) as jar:
        assert jar.namelist() == ["META-INF/MANIFEST.MF", "A.class", "B.class"]
        assert b"\r\nPremain-Class: RingbackAgent\r\n" in jar.read("META-INF/MANIFEST.MF")
        assert jar.read("A.class") == b"\xca\xfe"


def test_equal_classes_make_an_equal_jar() -> None:
    assert agent.pack({"A.class": b"x"}) == agent.pack({"A.class": b"x"}) != agent.pack({"A.class": b"y"})


def test_the_package_s_jar_has_a_class_for_every_source() -> None:
    with zipfile.ZipFile(agent.JAR) as jar:
        names = jar.namelist()
    for source in agent.SOURCES:
        assert f"{source.stem}.class" in names


def test_the_sources_compile_to_what_java_8_reads() -> None:
    classes = agent.compile_agent(needs("javac"))
    with zipfile.ZipFile(agent.JAR) as jar:
        assert sorted(classes) == sorted(name for name in jar.namelist() if name.endswith(".class"))
    assert {content[:8] for content in classes.values()} == {b"\xca\xfe\xba\xbe\0\0\0\x34"}


def test_the_package_s_jar_is_what_its_sources_compile_to_byte_for_byte() -> None:
    javac = needs("javac")
    version = subprocess.run([javac, "-version"], capture_output=True, text=True, check=True)
    told = f"{version.stdout}{version.stderr}".split()[1]
    if told.partition(".")[0] != str(agent.JAVAC):
        pytest.skip(f"javac {told} writes other bytes than javac {agent.JAVAC}, which built the jar")
    assert agent.pack(agent.compile_agent(javac)) == agent.JAR.read_bytes()


def test_a_compiler_that_refuses_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"javac"):
        agent.compile_agent(str(tmp_path / "javac"))
