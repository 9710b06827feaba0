"""A virtual environment of the checkout's own, made with nothing but Python and pip."""

from __future__ import annotations

import hashlib
import importlib.util
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "scripts" / "check.lock"  # CONTRIBUTING.md has the command that writes it
LOCKED = ("check", "trust")  # extras whose packages it has, all or most
OLDEST = (3, 11)


def environment(extra: str = "", python: str = sys.executable) -> Path:
    """The Python of a virtual environment with the project installed, editable, with the `extra` of its name.

    It is made anew only when `pyproject.toml`, the lock or the interpreter has changed. The checks run with
    the locked versions, whose files are held to the lock's hashes. Where one of them cannot be had, the
    newest versions that fit are taken instead, and a line reports it: a registry that has lost a file is no
    fault of the code.

    Raises:
        SystemExit: Python is too old, or pip failed; pip has said why.
    """
    # An environment's Python is a link to the one that made it. Taken for another Python, it would make
    # its own environment again, while it runs there.
    python = str(Path(python).resolve())
    version = tuple(map(int, _output(python, "import sys; print(*sys.version_info[:3])").split()))
    if version[:2] < OLDEST:
        sys.exit(f"{python} is Python {'.'.join(map(str, version))}; Ringback needs 3.11 or newer")
    home = ROOT / ".venv" / f"{extra or 'run'}-{version[0]}.{version[1]}"
    interpreter = home / "bin" / "python"
    wanted = hashlib.sha256(
        (ROOT / "pyproject.toml").read_bytes() + LOCK.read_bytes() + repr((python, version)).encode()
    ).hexdigest()
    stamp = home / "ringback-setup"
    if stamp.is_file() and stamp.read_text() == wanted and interpreter.exists():
        return interpreter
    print(f"setting up {home.relative_to(ROOT)} (once)", file=sys.stderr, flush=True)
    # Debian has the pip of venv in a package of its own; the pip at hand installs from outside.
    outside = importlib.util.find_spec("pip") is not None
    _run(python, "-m", "venv", "--clear", *(["--without-pip"] if outside else []), str(home))
    target = f"{ROOT}[{extra}]" if extra else str(ROOT)
    pip = (
        [sys.executable, "-m", "pip", "--python", str(interpreter)]
        if outside
        else [str(interpreter), "-m", "pip"]
    )
    install = [*pip, "--disable-pip-version-check", "install", "--quiet"]
    if extra in LOCKED:
        locked = [*install, "--require-hashes", "--requirement", str(LOCK)]
        if subprocess.run(locked, check=False, cwd=ROOT).returncode:
            print(f"{LOCK.name} cannot be installed here: taking the newest that fit", file=sys.stderr)
    _run(*install, "--editable", target)
    stamp.write_text(wanted)
    return interpreter


def _output(python: str, code: str) -> str:
    return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout


def _run(*command: str) -> None:
    done = subprocess.run(command, check=False, cwd=ROOT)
    if done.returncode:
        sys.exit(f"set-up failed: {' '.join(command)} ended with {done.returncode}")
