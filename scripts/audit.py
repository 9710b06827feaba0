"""Search the locked packages for known holes.

python3 scripts/audit.py                   asks the registry's advisory database, by pip-audit
python3 scripts/audit.py --database DIR    reads a clone of PyPA's advisory database, without a network

It ends with 1 for a hole that `ACCEPTED` has no reason for, and with 77 where nothing could be asked.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
LOCK: Final = ROOT / "scripts" / "check.lock"
SKIPPED: Final = 77
TIMEOUT: Final = 240  # seconds
_OLD_PYTHON: Final = "Python 3.11 gets none newer; Ringback warns of it (known_holes in system.py)"
# Each hole that is known of, by any of its names, with the reason why it may stay.
ACCEPTED: Final = {
    "CVE-2025-23217": f"mitmweb of mitmproxy 11: {_OLD_PYTHON}",
    "CVE-2025-43859": f"h11 0.14: {_OLD_PYTHON}; what it reads here comes from the verified upstream",
    "CVE-2026-40606": "mitmproxy 11: LDAP logins (proxyauth), which Ringback does not have",
    "GHSA-847f-9342-265h": "mitmproxy 11: HTTP/2 to HTTP/1; what Ringback answers is not translated",
}
_PIN: Final = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)


def pins(text: str) -> list[tuple[str, str]]:
    """Return the names and versions in a lock."""
    return _PIN.findall(text)


def holes_in(report: dict[str, Any]) -> tuple[list[tuple[str, str, set[str]]], int]:
    """Return package, version and names of each hole that pip-audit reports; and how many it did not ask."""
    packages = report["dependencies"]
    found = [
        (one["name"], one["version"], {hole["id"], *hole.get("aliases", ())})
        for one in packages
        for hole in one.get("vulns", ())
    ]
    return found, sum("skip_reason" in one for one in packages)


def holes_by(database: Path, wanted: list[tuple[str, str]]) -> list[tuple[str, str, set[str]]]:
    """Return the same from a clone of PyPA's advisory database, which lists the versions of each hole."""
    import yaml  # noqa: PLC0415 - of the environment of the checks

    found = []
    for name, version in wanted:
        folder = database / "vulns" / re.sub(r"[-_.]+", "-", name).lower()
        for file in sorted(folder.glob("*.yaml")):
            hole = yaml.safe_load(file.read_text(encoding="utf-8"))
            listed = {one for part in hole.get("affected", ()) for one in part.get("versions", ())}
            if version in listed and "withdrawn" not in hole:
                found.append((name, version, {hole["id"], *hole.get("aliases", ())}))
    return found


def _ask(program: Path) -> tuple[list[tuple[str, str, set[str]]], str]:
    """Return the holes that pip-audit reports, or why it could not look."""
    options = [
        "--disable-pip",
        "--no-deps",
        "--progress-spinner",
        "off",
        "--format",
        "json",
        "--timeout",
        "20",
    ]
    command = [str(program.with_name("pip-audit")), *options, "--requirement", str(LOCK)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT, cwd=ROOT)
    except (OSError, subprocess.TimeoutExpired) as error:
        return [], str(error)
    if not done.stdout.strip():
        return [], done.stderr.strip().rpartition("\n")[2]
    report = json.loads(done.stdout)
    found, unasked = holes_in(report)
    total = len(report["dependencies"])
    return found, f"{unasked} of {total} packages could not be looked up" if unasked else ""


def main(arguments: list[str]) -> int:
    """Report holes; 0 if there is none that is not accepted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--database", type=Path, help="a clone of PyPA's advisory database")
    database = parser.parse_args(arguments).database
    if database:
        found, missing = holes_by(database, pins(LOCK.read_text(encoding="utf-8"))), ""
    else:
        from bootstrap import environment  # noqa: PLC0415 - beside this script; not where it is imported

        found, missing = _ask(environment("trust"))
    left = 0
    for name, version, names in found:
        reason = next((ACCEPTED[one] for one in sorted(names) if one in ACCEPTED), None)
        left += reason is None
        print(f"{name} {version}: {' '.join(sorted(names))}: {reason or 'NOT ACCEPTED'}")
    if left:
        return 1
    if missing:
        print(f"skipped: {missing}")
        return SKIPPED
    print(f"{len(pins(LOCK.read_text(encoding='utf-8')))} locked packages, no other known hole")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
