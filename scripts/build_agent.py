"""Build of the Java agent: `python3 scripts/build_agent.py`, with a JDK of `JAVAC`'s version.

The jar is part of the package, because those who test a Java program need not have a Java compiler where
Ringback is installed from. It comes out the same, byte for byte, from the same compiler.
"""

from __future__ import annotations

import subprocess
import tempfile
import zipfile
from io import BytesIO
from pathlib import Path

SHIMS = Path(__file__).parents[1] / "proxy" / "ringback" / "launch" / "shims"
SOURCES = tuple(SHIMS / f"Ringback{name}.java" for name in ("Agent", "Roots", "Netty", "Probe"))
JAR = SHIMS / "ringback-agent.jar"
JAVAC = 17

MANIFEST = f"Manifest-Version: 1.0\r\nPremain-Class: {SOURCES[0].stem}\r\nBuild-Jdk-Spec: {JAVAC}\r\n\r\n"
# The oldest date that a zip file can hold.
DATE = (1980, 1, 1, 0, 0, 0)


def compile_agent(javac: str = "javac") -> dict[str, bytes]:
    """Compile the sources for Java 8 and return each class file by its name.

    Raises:
        subprocess.CalledProcessError: The compiler refused it.
    """
    with tempfile.TemporaryDirectory() as directory:
        # -options: newer compilers warn about Java 8 as a target.
        command = [javac, "--release", "8", "-Xlint:-options", "-g:none", "-d", directory, *map(str, SOURCES)]
        subprocess.run(command, check=True)
        return {path.name: path.read_bytes() for path in sorted(Path(directory).glob("*.class"))}


def pack(classes: dict[str, bytes]) -> bytes:
    """Make a jar of the classes with the agent's manifest; equal classes give an equal jar."""
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w") as jar:
        for name, content in ({"META-INF/MANIFEST.MF": MANIFEST.encode()} | classes).items():
            # Stored, because what deflate makes of it depends on zlib.
            jar.writestr(zipfile.ZipInfo(name, DATE), content)
    return stream.getvalue()


if __name__ == "__main__":
    JAR.write_bytes(pack(compile_agent()))
