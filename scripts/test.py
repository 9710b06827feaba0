"""Set up everything that the tests need and run them: linters, types, tests.

python3 scripts/test.py                  all of it, with this Python
python3 scripts/test.py --quick          linters, types, pure parts and one real client: a minute
python3 scripts/test.py -k gate          further arguments go to pytest
python3 scripts/test.py --trust          tests/trust at its large scale, with both majors of mitmproxy
python3 scripts/test.py --every-python   and the core again with a Python of the other mitmproxy major
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from bootstrap import ROOT, environment

if TYPE_CHECKING:
    from collections.abc import Sequence

NEWER = ("3.14", "3.13", "3.12")  # these get mitmproxy 12, Python 3.11 gets 11
# Run a second time with the other major: all that depends on mitmproxy.
CORE = (
    "tests/server",
    "tests/test_mitmproxy_addon.py",
    "tests/test_mitmproxy_chaining.py",
    "tests/test_mitmproxy_flows.py",
    "tests/test_mitmproxy_listen_address.py",
    "tests/test_mitmproxy_options.py",
    "tests/test_mitmproxy_programs.py",
    "tests/test_responder.py",
    "tests/test_responder_online.py",
    "tests/cli/test_addon.py",
    "tests/cli/test_proxy.py",
    "tests/cli/test_run.py",
    "tests/cli/test_serve.py",
    "tests/malformed",
    "tests/online",
)
# Pure parts: data, rules, formats. Their branch coverage is held by `fail_under` in pyproject.toml.
COVERED = ("tests/cassettes", "tests/contract", "tests/drift", "tests/test_exchange.py", "tests/test_net.py")
CACHE = ".pytest_cache/scripts"  # pytest's memory of what failed, apart from that of other runs
_CACHE = ("-o", f"cache_dir={CACHE}")
MOST_AGAIN = 5
QUICK = ("tests/contract", "tests/drift", "tests/test_exchange.py", "tests/test_net.py", "tests/sdk/curl")


def main(arguments: list[str]) -> int:
    """Run the checks and the tests; 0 if all passed."""
    every, quick = "--every-python" in arguments, "--quick" in arguments
    rest = [argument for argument in arguments if argument not in {"--every-python", "--quick"}]
    if "--trust" in rest:
        return _trust([argument for argument in rest if argument != "--trust"])
    other = _other_python() if every else None
    pythons = [one for one in (sys.executable, other) if one]
    with ThreadPoolExecutor() as pool:  # both at once: pip waits for the network most of the time
        python, *newer = pool.map(lambda one: str(environment("check", one)), pythons)
    steps = [] if rest else _checks(python)
    if quick:
        steps.append([*_pytest(python, rest or QUICK), "-m", "not slow"])
    elif rest:
        steps.append(_pytest(python, rest))
    else:
        steps += _all_tests(python)
    for one in newer:
        steps += [
            [one, "-m", "mypy"],
            _pytest(one, [part for part in CORE if (ROOT / part).exists()]),
        ]
    if every and not newer:
        print(f"no second Python found ({', '.join(NEWER)}): the tests ran with one mitmproxy major only")
    failed = 0
    for step in steps:
        started = time.monotonic()
        print(f"\n$ {' '.join(_short(part) for part in step)}", flush=True)
        code = subprocess.run(step, check=False, cwd=ROOT).returncode
        if code == 1 and "pytest" in step:
            code = _again(step)
        print(f"  ended with {code} after {time.monotonic() - started:.0f} s", flush=True)
        failed += code != 0
    if failed:
        print(f"\n{failed} of {len(steps)} steps failed", flush=True)
    return 1 if failed else 0


def _trust(rest: list[str]) -> int:
    """Run the trust suite at its large scale, with each major version of mitmproxy; 0 if all passed."""
    other = _other_python()
    pythons = [str(environment("trust", python)) for python in (sys.executable, other) if python]
    large = os.environ | {"TRUST_SCALE": "large"}
    codes = []
    for one in pythons:
        step = [one, "-m", "pytest", "-q", *_CACHE, *(rest or ["tests/trust"])]
        print(f"\n$ TRUST_SCALE=large {' '.join(_short(part) for part in step)}", flush=True)
        codes.append(subprocess.run(step, check=False, cwd=ROOT, env=large).returncode)
    return 1 if any(codes) else 0


def _checks(python: str) -> list[list[str]]:
    ruff = [python, "-m", "ruff"]
    imports = [str(Path(python).with_name("lint-imports"))]
    site = [
        python,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--quiet",
        "--site-dir",
        str(ROOT / ".venv" / "site"),
    ]
    return [
        [*ruff, "check", "."],
        [*ruff, "format", "--check", "."],
        [python, "-m", "mypy"],
        imports,
        site,
    ]


def _all_tests(python: str) -> list[list[str]]:
    """Every test once: those of the pure parts with coverage, the rest without."""
    coverage = [python, "-m", "coverage"]
    pure = [part for part in COVERED if (ROOT / part).exists()]
    rest = [f"--ignore={part}" for part in pure]
    return [
        [*coverage, "erase"],
        [*coverage, "run", *_pytest(python, pure)[1:]],
        [*coverage, "combine", "--quiet"],
        [*coverage, "report"],
        _pytest(python, ["tests", *rest]),
    ]


def _pytest(python: str, rest: Sequence[str]) -> list[str]:
    workers = str(max(2, os.cpu_count() or 2))
    kept = [*_CACHE, "--cache-clear"]
    return [python, "-m", "pytest", "-q", "-n", workers, "--dist", "loadfile", *kept, *rest]


def _again(step: Sequence[str]) -> int:
    """Run the failed tests of a step once more, alone; return 0 if all passed, else 1.

    Two tests at once, each with programs of its own, are more than some machines carry: a program that is
    not ready within a minute says nothing about the code. More than `MOST_AGAIN` failures are no such thing.
    """
    failed = json.loads((ROOT / CACHE / "v/cache/lastfailed").read_text(encoding="utf-8"))
    if len(failed) > MOST_AGAIN:
        return 1
    print(f"\n{len(failed)} failed; once more, alone:", *failed, sep="\n  ", flush=True)
    alone = [step[0], "-m", "pytest", "-q", *_CACHE, "--last-failed", *failed]
    code = subprocess.run(alone, check=False, cwd=ROOT).returncode
    if code == 0:
        print("passed alone, failed among others:", *failed, sep="\n  ", flush=True)
    return int(code != 0)


def _other_python() -> str | None:
    """A Python that gets the other mitmproxy major than this one, on PATH or under pyenv."""
    wanted = NEWER if sys.version_info < (3, 12) else ("3.11",)
    for version in wanted:
        found = shutil.which(f"python{version}")
        if found and subprocess.run([found, "-c", ""], check=False, capture_output=True).returncode == 0:
            return found
        for candidate in sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python")):
            return str(candidate)
    return None


def _short(part: str) -> str:
    return part.removeprefix(f"{ROOT}/")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
