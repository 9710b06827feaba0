"""Every JDK that is installed here, and the program with Java's own clients."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from support.launching import needs

SOURCE = Path(__file__).parents[1] / "launch" / "Clients.java"
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
