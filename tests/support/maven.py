"""Maven: an SDK's jars with everything they need, fetched once into the tests' cache."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from support.launching import needs
from support.product import CACHE, alone_in

if TYPE_CHECKING:
    from pathlib import Path

POM = """\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>ringback.tests</groupId><artifactId>sdk</artifactId><version>1</version>
  <properties>
    <maven.compiler.source>8</maven.compiler.source>
    <maven.compiler.target>8</maven.compiler.target>
    <project.build.sourceEncoding>UTF-8</project.build.sourceEncoding>
  </properties>
  <dependencies>
    <dependency>
      <groupId>com.twilio.sdk</groupId><artifactId>{artifact}</artifactId><version>{version}</version>
    </dependency>{more}
  </dependencies>
</project>
"""


def maven(directory: Path, *goals: str) -> None:
    done = subprocess.run(
        [needs("mvn"), "-q", "-B", *goals], cwd=directory, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"Maven cannot fetch what this needs: {(done.stdout + done.stderr).strip()[:300]}")


def jars(artifact: str, version: str, group: str = "com.twilio.sdk") -> Path:
    """A library with everything it needs, fetched once."""
    with alone_in(CACHE / "java" / f"{artifact}-{version}") as place:
        if (place / "jars").is_dir():
            return place / "jars"
        (place / "pom.xml").write_text(
            POM.format(artifact=artifact, version=version, more="").replace("com.twilio.sdk", group)
        )
        maven(place, "dependency:copy-dependencies", "-DoutputDirectory=fetched")
        (place / "fetched").rename(place / "jars")
    return place / "jars"
