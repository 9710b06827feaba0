"""Every defence counts: the code without it, in a copy, fails the tests of its row.

A defence that can be taken out without a failure is one that nobody would miss. Each row names a file, a
passage, what takes its place, and a test. Rows are tried at the large scale alone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

import ringback

if TYPE_CHECKING:
    from collections.abc import Iterator

PROMISE = "no defence can be taken out unseen"
TRIED = "taking it out in a copy, and running its row"
PACKAGE: Final = Path(ringback.__file__).parent
ROOT: Final = Path(__file__).parents[2]

LARGE: Final = pytest.mark.skipif(
    "TRUST_SCALE" not in os.environ, reason="large scale: scripts/test.py --trust"
)


class Defence(NamedTuple):
    """A defence: where it is, what stands there, what takes it out, and the tests that miss it."""

    file: str
    there: str
    instead: str
    row: str


DEFENCES: Final = {
    "a look at first bytes in mitmproxy": Defence(
        "mitmproxy_addon.py",
        "        flows.inspect_first_bytes(data)\n",
        "",
        "tests/trust/test_programs.py -k mitmdump",
    ),
    "mitmproxy's own addon is asked first": Defence(
        "mitmproxy_addon.py",
        "            own.next_layer(data)\n",
        "            pass\n",
        "tests/trust/test_programs.py -k mitmdump",
    ),
    "empty lines do not hide a request": Defence(
        "server/tunnel.py",
        'data.lstrip(b"\\r\\n")',
        "data",
        "tests/test_mitmproxy_flows.py",
    ),
    "TLS after an alert is closed": Defence(
        "server/tunnel.py",
        "if data[0] in _TLS_TYPES or",
        "if",
        "tests/test_mitmproxy_flows.py",
    ),
    "live credentials are told apart": Defence(
        "upstream/proof.py",
        '        return "live"\n',
        '        return "test"\n',
        "tests/trust/test_faults.py",
    ),
    "the proof is about this request": Defence(
        "upstream/proof.py",
        "if len(fields) != 1:",
        "if not fields:",
        "tests/upstream/test_proof.py",
    ),
    "no name reaches outside the cassettes": Defence(
        "cassettes/files.py",
        "    if not _SLUG.fullmatch(name):\n",
        "    if not name:\n",
        "tests/cassettes/test_names.py",
    ),
    "Authorization never reaches the disk": Defence(
        "cassettes/redaction.py",
        'if lower in ("authorization", "proxy-authorization"):',
        'if lower in ("proxy-authorization",):',
        "tests/cassettes/test_redaction.py",
    ),
    "other names of the control address are refused": Defence(
        "control.py",
        "        if local and not _is_own_host(request.host):\n",
        "        if False:\n",
        "tests/test_control.py",
    ),
    "other sites' pages are refused": Defence(
        "control.py",
        '            return _problem(403, "requests of other sites\' pages are not answered")\n',
        "            pass\n",
        "tests/test_control.py",
    ),
    "a head has a limit": Defence(
        "server/http1.py",
        "            if self._unread > MAX_HEAD:\n",
        "            if False:\n",
        "tests/server/test_http1.py",
    ),
    "a transfer coding other than chunked is refused": Defence(
        "server/http1.py",
        '[value.strip().lower() for value in codings] != [b"chunked"]',
        "not codings",
        "tests/server/test_http1.py tests/malformed",
    ),
    "the CA is limited to twilio.com": Defence(
        "launch/certificates.py",
        "permitted_subtrees=[x509.DNSName(DOMAIN)]",
        'permitted_subtrees=[x509.DNSName("com")]',
        "tests/launch/test_constraints.py tests/launch/test_ca.py",
    ),
}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the checkout's code and tests, whose package comes before the installed one."""
    directory = tmp_path_factory.mktemp("copy")
    ignored = shutil.ignore_patterns("__pycache__", ".cache", ".pytest_cache")
    for part in ("proxy", "addons", "tests", "cassettes", "docs"):
        shutil.copytree(ROOT / part, directory / part, ignore=ignored, symlinks=True)
    shutil.copy(ROOT / "pyproject.toml", directory)
    yield directory
    shutil.rmtree(directory)


def run_row(copy: Path, row: str) -> subprocess.CompletedProcess[str]:
    """Run a row's tests against the copy."""
    found = os.environ | {"PYTHONPATH": str(copy / "proxy"), "PYTHONDONTWRITEBYTECODE": "1"}
    found.pop("TRUST_SCALE")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *row.split(" ")],
        cwd=copy,
        env=found,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )


def test_every_defence_is_where_its_row_says() -> None:
    """At the ordinary scale too: a row whose passage has moved tries nothing."""
    found = {
        name: (PACKAGE / one.file).read_text(encoding="utf-8").count(one.there)
        for name, one in DEFENCES.items()
    }
    assert {name for name, times in found.items() if times != 1} == set()


@LARGE
@pytest.mark.parametrize("name", DEFENCES)
def test_a_row_fails_without_its_defence(copy: Path, name: str) -> None:
    defence = DEFENCES[name]
    file = copy / "proxy" / PACKAGE.name / defence.file
    whole = file.read_text(encoding="utf-8")
    assert whole.count(defence.there) == 1
    file.write_text(whole.replace(defence.there, defence.instead), encoding="utf-8")
    try:
        without = run_row(copy, defence.row)
    finally:
        file.write_text(whole, encoding="utf-8")
    assert without.returncode == 1, without.stdout[-2000:]
    assert " failed" in without.stdout


@LARGE
def test_the_rows_pass_with_every_defence(copy: Path) -> None:
    done = run_row(copy, "tests/test_control.py tests/cassettes/test_names.py tests/upstream/test_proof.py")
    assert done.returncode == 0, done.stdout[-2000:]
