"""Real SDKs: installed once from their registries into `tests/.cache`, whoever asks first.

A test skips, saying why, where a runtime or a registry is missing. With RINGBACK_REQUIRE_SDKS=1 it fails
instead, except for the Pythons that nobody has any more.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

CACHE: Final = Path(__file__).parents[1] / ".cache"

# The last release of each generation when this was written; fixed, so that a run can be repeated.
PYTHON: Final = {
    "9": "9.13.0",
    "8": "8.13.0",
    "7": "7.17.0",
    "6": "6.63.2",
    "6rc": "6.0.0rc13",  # the last with `client.account`, which some of the page's samples of 6 use
    "5": "5.7.0",
}
NODE: Final = {"6": "6.2.0", "5": "5.13.1", "4": "4.23.0", "3": "3.84.1", "2": "2.11.1"}

# Programs that can import twilio 5: it needs Python 3.7 or older.
OLD_PYTHONS: Final = ("3.7", "3.6", "2.7")

# With no virtual environment around it: what Debian packages is for Debian's Python alone.
DEBIAN_PYTHON: Final = Path("/usr/bin/python3")

# Read once: tests run without the variables of whoever runs them.
REQUIRED: Final = bool(os.environ.get("RINGBACK_REQUIRE_SDKS"))

_DONE: Final = "installed"  # a file that tells a whole installation from a broken one
_PATIENCE: Final = 280


class MissingError(Exception):
    """An SDK cannot be had here; says why."""


class OutdatedError(MissingError):
    """The same, and nobody can be blamed for it."""


@dataclass(frozen=True)
class Sdk:
    """An installed SDK.

    Attributes:
        runtime: The interpreter to run it with.
        path: The directory to import it from.
        variable: The environment variable that makes the runtime look there; empty where it looks anyway.
        version: The SDK's version.
    """

    runtime: str
    path: Path
    variable: str
    version: str

    @property
    def environment(self) -> dict[str, str]:
        """The variable that makes the runtime find it."""
        return {self.variable: str(self.path)} if self.variable else {}


def python_sdk(generation: str, *olds: str) -> Sdk:
    """twilio-python of a generation, and the Python to run it with: this one, or for 5 one of `olds`."""
    got = _python_sdk(generation, olds or OLD_PYTHONS)
    if isinstance(got, MissingError):
        absent(got)
    return got


def debian_python_sdk() -> Sdk:
    """Debian's own package of twilio-python with Debian's own Python; tests install no system packages."""
    asked = ["dpkg-query", "--show", "--showformat", "${db:Status-Abbrev}${Version}", "python3-twilio"]
    try:
        # Such as `ii 7.7.1+ds1-1`.
        found = re.match(r"ii +([\d.]+)", output(asked))
        output([str(DEBIAN_PYTHON), "-I", "-c", "import twilio"])
    except MissingError as missing:
        pytest.skip(f"Debian's twilio-python is not here (apt install python3-twilio): {missing}")
    if not found:
        pytest.skip("Debian's twilio-python is not installed here any more (apt install python3-twilio)")
    return Sdk(str(DEBIAN_PYTHON), Path("/usr/lib/python3/dist-packages"), "", found[1])


def node_sdk(generation: str) -> Sdk:
    """twilio-node of a generation."""
    got = _node_sdk(generation)
    if isinstance(got, MissingError):
        absent(got)
    return got


def go_module(name: str, version: str, files: Mapping[str, str]) -> Path:
    """A Go module, called `name` in the cache, with twilio-go and a program's files; fetched once."""
    go = shutil.which("go")
    if go is None:
        absent(MissingError("go is not installed here"))
    place = CACHE / "go" / name
    with _locked(CACHE / "go" / f"{name}.lock"):
        place.mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            (place / file).write_text(text)
        if not (place / "go.sum").is_file():
            (place / "go.mod").write_text("module ringback.test/sdk\n\ngo 1.21\n")
            for command in (["get", f"github.com/twilio/twilio-go@v{version}"], ["mod", "tidy"]):
                done = subprocess.run([go, *command], cwd=place, capture_output=True, text=True, check=False)
                if done.returncode:
                    (place / "go.sum").unlink(missing_ok=True)
                    absent(MissingError(f"go {command[0]} fetches nothing: {done.stderr.strip()[:300]}"))
    return place


def absent(why: MissingError) -> NoReturn:
    """Skip, or fail where nothing may be missing."""
    if REQUIRED and not isinstance(why, OutdatedError):
        pytest.fail(f"{why} (RINGBACK_REQUIRE_SDKS is set)")
    pytest.skip(str(why))


@functools.lru_cache
def _python_sdk(generation: str, olds: tuple[str, ...]) -> Sdk | MissingError:
    version = PYTHON[generation]
    try:
        runtime = sys.executable if generation != "5" else _old_python(olds)
        tag = output([runtime, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]).strip()
        path = CACHE / f"python{tag}-twilio-{version}"
        _pip_install(runtime, path, f"twilio=={version}")
    except MissingError as missing:
        return missing
    return Sdk(runtime, path, "PYTHONPATH", version)


def python_packages(name: str, *requirements: str) -> Path:
    """A directory, called `name` in the cache, that this Python can import `requirements` from."""
    path = CACHE / f"python{sys.version_info[0]}.{sys.version_info[1]}-{name}"
    try:
        _pip_install(sys.executable, path, *requirements)
    except MissingError as missing:
        absent(missing)
    return path


def _pip_install(runtime: str, path: Path, *requirements: str) -> None:
    pip = [*pip_for(runtime), "install", "--quiet", "--no-compile", "--disable-pip-version-check"]
    limits = ["--timeout", "30", "--retries", "2"]
    install(path, [*pip, *limits, "--target", str(path), *requirements])


def pip_for(runtime: str) -> list[str]:
    """A pip that installs for `runtime`: an environment may have been made without one of its own."""
    outside = [
        [python, "-m", "pip", "--python", runtime] for python in (sys.base_prefix + "/bin/python3", "python3")
    ]
    for pip in ([runtime, "-m", "pip"], *outside):
        with contextlib.suppress(MissingError):
            output([*pip, "--version"])
            return pip
    raise MissingError(f"no pip here that installs for {runtime}")


@functools.lru_cache
def _node_sdk(generation: str) -> Sdk | MissingError:
    programs = shutil.which("node"), shutil.which("npm")
    if programs[0] is None or programs[1] is None:
        return MissingError("node and npm are not both installed here")
    path = CACHE / ("node-twilio-" + "-".join(NODE.values()))
    quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error", "--fetch-retries", "1"]
    # All generations at once, under names of their own: npm resolves them together in a third of the time.
    names = [f"twilio-{name}@npm:twilio@{version}" for name, version in NODE.items()]
    try:
        install(path, [programs[1], "install", "--prefix", str(path), *quiet, *names], _name_generations)
    except MissingError as missing:
        return missing
    return Sdk(programs[0], path / generation / "node_modules", "NODE_PATH", NODE[generation])


def _name_generations(path: Path) -> None:
    """Give every generation a directory in which it is called `twilio`, as programs know it."""
    for name in NODE:
        modules = path / name / "node_modules"
        modules.mkdir(parents=True, exist_ok=True)
        (modules / "twilio").symlink_to(path / "node_modules" / f"twilio-{name}")


def _old_python(versions: tuple[str, ...]) -> str:
    """A Python of one of `versions`."""
    pyenv = Path.home() / ".pyenv" / "versions"
    for version in versions:
        places = [str(place) for place in sorted(pyenv.glob(f"{version}.*/bin/python"))]
        for candidate in (*places, shutil.which(f"python{version}")):
            # pyenv's own shims are on the PATH and fail where their version is not switched on.
            with contextlib.suppress(MissingError):
                if candidate and output([candidate, "-c", "import pip; print('pip')"]):
                    return candidate
    raise OutdatedError(f"no Python {' or '.join(versions)} with pip here; twilio 5 imports on no newer one")


def install(path: Path, command: Sequence[str], finish: Callable[[Path], None] | None = None) -> None:
    """Fill `path` by `command`, unless that was done before; `finish` is called for what is left to do."""
    with _locked(path.with_suffix(path.suffix + ".lock")):
        if (path / _DONE).exists():
            return
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        output(command)
        if finish:
            finish(path)
        (path / _DONE).touch()


def output(command: Sequence[str]) -> str:
    """Return the output of `command`.

    Raises:
        MissingError: It cannot be run, or failed.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_PATIENCE)
    except subprocess.CalledProcessError as error:
        said = [line for line in f"{error.stdout}\n{error.stderr}".splitlines() if line.strip()]
        raise MissingError(f"{command[0]} failed: {said[-1] if said else error.returncode}") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingError(f"{command[0]}: {error}") from None
    return done.stdout


@contextlib.contextmanager
def _locked(lock: Path) -> Iterator[None]:
    """Hold `lock` against every other process of the test run."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
