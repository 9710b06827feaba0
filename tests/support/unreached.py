"""SDKs from registries that were not reached where their tests were written: RubyGems, Packagist, NuGet.

Each is taken from where a variable says (`PLACES`), else from the machine, else fetched into `tests/.cache`
by its own package manager; a test skips, saying why, where none of these has it.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from support.dotnet import Dotnet, compiled, compiled_for_mono, dotnet, mono
from support.launching import needs
from support.sdks import CACHE, MissingError, OutdatedError, Sdk, absent, install, output

if TYPE_CHECKING:
    from support.product import Product

# The last release of each generation when this was written, and of PHP's 5 one that needs `run` besides.
RUBY: Final = {"4": "4.13.0", "5": "5.77.0", "6": "6.12.1", "7": "7.11.0"}
PHP: Final = {
    "4": "4.12.0",
    "5early": "5.16.0",
    "5": "5.42.2",
    "6": "6.44.4",
    "7": "7.16.2",
    "8": "8.12.0",
}
CSHARP: Final = {"4": "4.7.2", "5": "5.81.2", "6": "6.18.0", "7": "7.14.9"}

# (language, generation): the directory that a variable names. Read once: tests run without the variables of
# whoever runs them. Ruby's is a checkout of a tag; PHP's is what the page calls `/path/to`; C#'s holds the
# SDK's libraries (Twilio.dll for .NET, Twilio.Api.dll and RestSharp.dll for Mono).
PLACES: Final = {
    (language, generation): Path(directory)
    for language, versions in (("ruby", RUBY), ("php", PHP), ("csharp", CSHARP))
    for generation in versions
    if (directory := os.environ.get(f"RINGBACK_SDK_{language}_{generation}".upper()))
}

# Runs a file with the newest installed release of a generation.
RUBY_RUNS: Final = """
wanted = ARGV.shift
$LOAD_PATH.any? { |place| File.file?(\"#{place}/twilio-ruby.rb\") } || gem('twilio-ruby', wanted)
load ARGV.shift
"""

_Got = TypeVar("_Got", Sdk, Path)

_PROJECT: Final = """<Project Sdk="Microsoft.NET.Sdk">
  <PropertyGroup><TargetFramework>net{framework}</TargetFramework></PropertyGroup>
  <ItemGroup><PackageReference Include="Twilio" Version="{version}" /></ItemGroup>
</Project>
"""


def ruby_sdk(generation: str) -> Sdk:
    """twilio-ruby of a generation; run a file with `RUBY_RUNS` and `~> generation.0`."""
    return _or_skip(_ruby_sdk(needs("ruby"), generation))


def php_sdk(generation: str) -> Path:
    """The directory that the page's PHP samples call `/path/to`."""
    needs("php")
    return _or_skip(_php_sdk(generation))


def csharp_sdk(generation: str) -> Path:
    """A directory with twilio-csharp's libraries."""
    return _or_skip(_csharp_sdk(generation))


def csharp_program(
    product: Product, generation: str, source: Path, directory: Path
) -> tuple[list[str | Path], dict[str, str]]:
    """Compile a program against twilio-csharp and make what it runs on trust the CA.

    Libraries that came with a `deps.json` are for .NET. Others were compiled for Mono, and generation 4 is
    for .NET Framework, whose like on this system is Mono too.

    Returns:
        The command, and the variables that it needs.
    """
    libraries = sorted(csharp_sdk(generation).glob("*.dll"))
    for library in libraries:  # where either looks for them
        (directory / library.name).symlink_to(library)
    if any(libraries[0].parent.glob("*.deps.json")):
        runtime = dotnet()
        program = compiled(runtime, [source], directory / "Program.dll", libraries)
        return [runtime.program, program], dict(runtime.variables)
    program = compiled_for_mono(source, directory / "Program.exe", libraries)
    home = {"HOME": str(directory)}
    product.run(["true"], more=home)  # makes the CA
    root = product.home / "ca" / "current" / "mitmproxy-ca-cert.pem"
    synced = ["cert-sync", "--user", str(root)]
    subprocess.run(synced, env=home | {"PATH": "/usr/bin:/bin"}, check=True, capture_output=True)
    return [mono(), program], home


def _or_skip(got: _Got | MissingError) -> _Got:
    if isinstance(got, MissingError):
        absent(got)
    return got


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise MissingError(f"{name} is not installed here")
    return found


def _has_an_sdk(runtime: Dotnet) -> None:
    if not output([runtime.program, "--list-sdks"]).strip():
        raise MissingError("NuGet's packages come by a .NET SDK, and none is installed here")


@functools.lru_cache
def _ruby_sdk(ruby: str, generation: str) -> Sdk | MissingError:
    if ("ruby", generation) in PLACES:
        return Sdk(ruby, PLACES["ruby", generation] / "lib", "RUBYLIB", RUBY[generation])
    version = RUBY[generation]
    wanted = [ruby, "-e", "gem 'twilio-ruby', ARGV.shift; puts Gem.loaded_specs['twilio-ruby'].version"]
    try:
        found = output([*wanted, f"~> {generation}.0"]).strip()
        return Sdk(ruby, Path(), "", found)
    except MissingError:
        pass
    path = CACHE / f"ruby-twilio-{version}"
    try:
        gem = _program("gem")
        options = ["--no-document", "--install-dir", str(path), "--version", version]
        install(path, [gem, "install", "twilio-ruby", *options])
    except MissingError as missing:
        return MissingError(f"twilio-ruby {generation} is neither installed nor to be had: {missing}")
    return Sdk(ruby, path, "GEM_HOME", version)


@functools.lru_cache
def _php_sdk(generation: str) -> Path | MissingError:
    if ("php", generation) in PLACES:
        return PLACES["php", generation]
    version = PHP[generation]
    path = CACHE / f"php-twilio-{version}"
    try:
        composer = _program("composer")
        options = ["--no-interaction", "--quiet", "--no-audit", "--working-dir", str(path)]
        install(path, [composer, "require", *options, f"twilio/sdk:{version}"], _name_as_the_page)
    except MissingError as missing:
        variable = f"RINGBACK_SDK_PHP_{generation}".upper()
        return MissingError(f"twilio-php {generation} is not to be had, and no {variable} is set: {missing}")
    return path


def _name_as_the_page(path: Path) -> None:
    """The old generation was unpacked rather than installed, into a directory called `twilio-php`."""
    (path / "twilio-php").symlink_to(path / "vendor" / "twilio" / "sdk")


@functools.lru_cache
def _csharp_sdk(generation: str) -> Path | MissingError:
    if ("csharp", generation) in PLACES:
        return PLACES["csharp", generation]
    variable = f"RINGBACK_SDK_CSHARP_{generation}"
    if generation == "4":
        return OutdatedError(f"twilio-csharp {generation} is for .NET Framework; no {variable} is set")
    version = CSHARP[generation]
    path = CACHE / f"csharp-twilio-{version}"
    try:
        runtime = dotnet()
        _has_an_sdk(runtime)
        framework = ".".join(runtime.version.split(".")[:2])
        project = CACHE / f"csharp-twilio-{version}-project" / "sdk.csproj"
        project.parent.mkdir(parents=True, exist_ok=True)
        project.write_text(_PROJECT.format(framework=framework, version=version))
        install(path, [runtime.program, "publish", "--output", str(path), str(project)])
    except MissingError as missing:
        return MissingError(
            f"twilio-csharp {generation} is not to be had, and no {variable} is set: {missing}"
        )
    return path
