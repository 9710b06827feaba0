"""What Ringback is built from: locked by hash, without known holes, and without unexplained risks."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

from support.scripts import script

PROMISE = "what is installed is what was looked at, and has no known hole that nobody is told of"
TRIED = "a lock with hashes, pip-audit, bandit"
ROOT = Path(__file__).parents[2]
LOCK = ROOT / "scripts" / "check.lock"
CHECKED = ("proxy/ringback", "plugins", "addons", "scripts", "hatch_build.py")
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
# Kinds of finding that are no risk by themselves; what is done with the module is looked at.
OF_NO_RISK = {
    "B101": "assert narrows types; nothing relies on it",
    "B404": "importing subprocess; each call has its reason (B603)",
    "B405": "importing ElementTree; each parsing has its reason (B314)",
    "B406": "importing saxutils, which writes",
}
audit = script("audit")
large = pytest.mark.skipif("TRUST_SCALE" not in os.environ, reason="large scale: scripts/test.py --trust")


def entries() -> list[list[str]]:
    """Each package of the lock: its requirement, and its hashes."""
    joined = LOCK.read_text(encoding="utf-8").replace("\\\n", " ")
    return [line.split(" --hash=") for line in joined.splitlines() if line]


def test_every_locked_package_has_a_version_and_hashes_and_no_address() -> None:
    for requirement, *hashes in entries():
        parsed = Requirement(requirement)
        assert [one.operator for one in parsed.specifier] == ["=="], requirement
        assert hashes, requirement
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64} *", one) for one in hashes), requirement
        assert parsed.url is None
    assert "://" not in LOCK.read_text(encoding="utf-8")


@large
@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_has_what_the_checks_need(python: str) -> None:
    known = {
        "python_version": python,
        "python_full_version": f"{python}.9",
        "sys_platform": "linux",
        "platform_machine": "x86_64",
        "platform_system": "Linux",
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
        "os_name": "posix",
    }
    locked: dict[str, Version] = {}
    for requirement, *_ in entries():
        one = Requirement(requirement)
        if one.marker is None or one.marker.evaluate(known):
            locked[plain(one.name)] = Version(next(iter(one.specifier)).version)
    for text in importlib.metadata.requires("ringback") or ():
        wanted = Requirement(text)
        extras = ("", "check", "docs", "fleet", "test", "traces")
        marker = wanted.marker
        needed = marker is None or any(marker.evaluate({**known, "extra": one}) for one in extras)
        if needed and wanted.name != "ringback":
            assert wanted.specifier.contains(locked[plain(wanted.name)], prereleases=True), text


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@large
def test_every_finding_of_bandit_has_its_reason_beside_it(record_property: pytest.RecordProperty) -> None:
    """The rules of ruff that begin with S are bandit's: an ignore of the same number is the reason."""
    pytest.importorskip("bandit", reason="bandit is not installed")
    command = [sys.executable, "-m", "bandit", "--quiet", "--recursive", "--format", "json", *CHECKED]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    report = json.loads(done.stdout)
    record_property("tries", report["metrics"]["_totals"]["loc"])
    assert report["metrics"]["_totals"]["loc"] > 10_000
    assert not report["errors"]
    for found in report["results"]:
        kind, file = found["test_id"], ROOT / found["filename"]
        if kind in OF_NO_RISK:
            continue
        if found["filename"].startswith("scripts/") and kind == "B603":
            continue  # ignored for scripts in pyproject.toml, with its reason
        lines = file.read_text(encoding="utf-8").splitlines()
        around = lines[min(found["line_range"]) - 1 : max(found["line_range"])]
        reason = rf"# noqa: (?:[A-Z]+[0-9]+, )*S{kind[1:]}\b[^#]* - \w"
        assert any(re.search(reason, line) for line in around), f"{kind} {found['filename']}: {around[0]}"


def test_a_hole_that_is_not_accepted_ends_the_audit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = tmp_path / "check.lock"
    lock.write_text("some-package==1.0 \\\n    --hash=sha256:0\nh11==0.14.0 ; python_version < '3.12'\n")
    monkeypatch.setattr(audit, "LOCK", lock)
    for name, version, hole in (("some-package", "1.0", "CVE-1"), ("h11", "0.14.0", "CVE-2025-43859")):
        folder = tmp_path / "vulns" / name
        folder.mkdir(parents=True)
        known = {"id": "PYSEC-1", "aliases": [hole], "affected": [{"versions": [version]}]}
        (folder / "PYSEC-1.yaml").write_text(yaml.safe_dump(known))
    assert audit.main(["--database", str(tmp_path)]) == 1
    assert "some-package 1.0: CVE-1 PYSEC-1: NOT ACCEPTED" in capsys.readouterr().out
    lock.write_text("h11==0.14.0\n")
    assert audit.main(["--database", str(tmp_path)]) == 0
    lock.write_text("h11==0.16.0\n")
    assert audit.main(["--database", str(tmp_path)]) == 0


def test_a_report_that_names_packages_nobody_asked_about_is_no_clean_one() -> None:
    report = {
        "dependencies": [
            {"name": "a", "version": "1", "vulns": [{"id": "X-1", "aliases": ["CVE-2"]}]},
            {"name": "b", "skip_reason": "not found"},
        ]
    }
    assert audit.holes_in(report) == ([("a", "1", {"X-1", "CVE-2"})], 1)


@large
def test_the_locked_packages_have_no_other_known_hole() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/audit.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    if done.returncode == audit.SKIPPED:
        pytest.skip(done.stdout.strip().rpartition("\n")[2])
    assert done.returncode == 0, done.stdout + done.stderr
