"""Build both distributions as a release does, and check them; publishes nothing.

python3 scripts/release.py           from the last commit, into dist/
python3 scripts/release.py --notes   print the changelog's section of this version
python3 scripts/release.py --fold    move the notes under "Unreleased" into that section, dated today

Each is built twice, from a clean copy of the commit, and both builds must be equal. Then come twine,
check-wheel-contents, an installation of both wheels in a fresh environment with a first request, a bill of
materials (CycloneDX) of that environment, and a formula for Homebrew.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROJECTS = (".", "plugins/pytest")
_HEADINGS = (
    "Added",
    "Changed",
    "Removed",
    "Fixed",
    "Security",
)  # in this order, as Keep a Changelog has them
TOOLS = ("build", "check-wheel-contents", "cyclonedx-bom", "twine")


def main(arguments: list[str]) -> int:
    """Build and check; 0 if all is well."""
    if arguments == ["--notes"]:
        print(notes(version()))
        return 0
    if arguments == ["--fold"]:
        file = ROOT / "CHANGELOG.md"
        today = datetime.now(UTC).date().isoformat()
        file.write_text(folded(file.read_text(encoding="utf-8"), version(), today), encoding="utf-8")
        return 0
    dist = ROOT / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="ringback-release-") as name:
        place = Path(name)
        python = _environment(place / "tools", *TOOLS)
        first = _build(python, place / "first", place / "one")
        again = _build(python, place / "again", place / "two")
        if first != again:
            sys.exit(f"two builds differ: {first} {again}")
        shutil.copytree(place / "one", dist)
        files = [str(file) for file in sorted(dist.iterdir())]
        wheels = [file for file in files if file.endswith(".whl")]
        _run(python, "-m", "twine", "check", "--strict", *files)
        # W009: pytest-ringback has two modules, `pytest_ringback` and `ringback_testing`, both for users.
        _run(python, "-m", "check_wheel_contents", "--ignore", "W009", *wheels)
        fresh = _environment(place / "fresh", *wheels)
        _run(fresh, "-m", "pip", "check")
        variables = os.environ | {"RINGBACK_HOME": str(place / "home")}
        example = str(ROOT / "examples" / "first_requests.py")
        _run(fresh, "-m", "ringback", "run", "--", fresh, example, env=variables)
        bill = dist / f"ringback-{version()}.cdx.json"
        _run(python, "-m", "cyclonedx_py", "environment", "--output-reproducible", "-o", str(bill), fresh)
        parts = len(json.loads(bill.read_text(encoding="utf-8"))["components"])
    for file, digest in first.items():
        print(f"{digest}  {file}")
    (dist / "ringback.rb").write_text(formula(first[f"ringback-{version()}.tar.gz"]), encoding="utf-8")
    print(f"{bill.name}: {parts} components")
    return 0


def version() -> str:
    """The version, which stands once."""
    text = (ROOT / "proxy" / "ringback" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'__version__ = "([^"]+)"', text)
    assert found
    return found[1]


def notes(wanted: str) -> str:
    """The section of a version in the changelog.

    Raises:
        SystemExit: It has none, or what is under "Unreleased" would be published without a note.
    """
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    found = re.search(
        rf"^## {re.escape(wanted)}(?: [^\n]*)?\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE
    )
    if found is None:
        sys.exit(f'CHANGELOG.md has no section "## {wanted}"')
    left = re.search(r"^## Unreleased\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    if left and left[1].strip():
        sys.exit(f'CHANGELOG.md has notes under "Unreleased": move them to "## {wanted}"')
    return found[1].strip()


def folded(text: str, wanted: str, day: str) -> str:
    """The changelog with the notes under "Unreleased" in the section of a version, under the same headings.

    Args:
        text: The changelog.
        wanted: The version; a section that it does not have yet is made.
        day: Its date.
    """
    head, mark, rest = text.partition("## Unreleased\n")
    parts = re.split(r"^(?=## )", rest, flags=re.MULTILINE)
    new, older = _by_heading(parts[0]), parts[1:]
    if older and re.match(rf"## {re.escape(wanted)}\b", older[0]):
        for heading, lines in _by_heading(older.pop(0).partition("\n")[2]).items():
            new[heading] = list(dict.fromkeys(lines + new.get(heading, [])))  # a merge may bring one back
    order = [
        "",
        *(one for one in _HEADINGS if one in new),
        *(one for one in new if one and one not in _HEADINGS),
    ]
    section = "\n".join("\n".join([*([f"### {one}"] if one else []), *new.get(one, []), ""]) for one in order)
    return f"{head}{mark}\n## {wanted} ({day})\n{section.lstrip()}\n{''.join(older)}".rstrip() + "\n"


def _by_heading(section: str) -> dict[str, list[str]]:
    """The lines of a section below each of its headings, and those before the first under an empty one."""
    found: dict[str, list[str]] = {}
    heading = ""
    for line in section.splitlines():
        if line.startswith("### "):
            heading = line.removeprefix("### ")
        elif line.strip():
            found.setdefault(heading, []).append(line)
    return found


def formula(digest: str) -> str:
    """The formula for Homebrew of this version.

    Args:
        digest: The SHA-256 of the source archive, which the release's page has under its name.
    """
    host, name = os.environ.get("GITHUB_SERVER_URL", ""), os.environ.get("GITHUB_REPOSITORY", "")
    repository = f"{host}/{name}" if host and name else "https://example.org/ringback"
    text = (ROOT / "deploy" / "homebrew" / "ringback.rb.in").read_text(encoding="utf-8")
    for place, value in (("REPOSITORY", repository), ("VERSION", version()), ("SHA256", digest)):
        text = text.replace(f"@{place}@", value)
    return text


def _build(python: str, copy: Path, target: Path) -> dict[str, str]:
    """Build from a clean copy of the last commit; the files' hashes."""
    copy.mkdir()
    archive = copy.with_suffix(".tar")
    _run("git", "archive", "--output", str(archive), "HEAD")
    with tarfile.open(archive) as packed:
        packed.extractall(copy, filter="data")
    asked = ("git", "log", "-1", "--format=%ct")
    date = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    variables = os.environ | {"SOURCE_DATE_EPOCH": date}
    for project in PROJECTS:
        _run(python, "-m", "build", "--outdir", str(target), str(copy / project), env=variables)
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(target.iterdir())}


def _environment(place: Path, *packages: str) -> str:
    _run(sys.executable, "-m", "venv", str(place))
    python = str(place / "bin" / "python")
    _run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages)
    return python


def _run(*command: str, env: dict[str, str] | None = None) -> None:
    print(f"$ {' '.join(command)}", flush=True)
    done = subprocess.run(command, cwd=ROOT, env=env, check=False)
    if done.returncode:
        sys.exit(f"{command[0]} ended with {done.returncode}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
