"""Promises whose tests are beside what they test: run once more, as rows of the table, at the large scale."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

PROMISE = "rows of other directories' tests"
TRIED = "each row names its own"
ROOT: Final = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.skipif("TRUST_SCALE" not in os.environ, reason="large scale: scripts/test.py --trust"),
    pytest.mark.timeout(1200),
]


class Row(NamedTuple):
    """A row: the promise, how it is tried, and pytest's arguments."""

    promise: str
    tried: str
    arguments: str


ROWS: Final = (
    Row(
        "what is read, written and put back is what it was",
        "hypothesis: redact and put back, write and read, render and parse",
        "tests/cassettes/test_redaction.py tests/cassettes/test_pseudonyms.py "
        "tests/cassettes/test_strings.py tests/cassettes/test_interactions.py "
        "tests/cassettes/test_layout.py tests/cassettes/test_yaml_text.py "
        "tests/cassettes/test_vcrpy_versions.py tests/contract/test_answering.py "
        "tests/drift/test_robustness.py",
    ),
    Row(
        "an upstream that lies harms nobody",
        "redirects, lengths of 2^63, slow bytes, resets at every byte, endless heads and bodies",
        "tests/upstream/test_client_failures.py tests/upstream/test_client.py tests/online/test_failures.py",
    ),
    Row(
        "what is not proven to be test credentials is not sent on",
        "answers to the probe of every status and shape",
        "tests/upstream/test_proof.py tests/upstream/test_forwarder.py tests/online/test_credentials.py",
    ),
    Row(
        "what a client was told is recorded is recorded, and every client is served",
        "kill -9 of proxies and writers under load, full and read-only disks, two proxies",
        "tests/cassettes/test_proxy_durability.py tests/cassettes/test_appending.py",
    ),
    Row(
        "the CA is one, its owner's, and whole",
        "processes that make it at once, damage, other owners, traps",
        "tests/launch/test_ca.py tests/launch/test_constraints.py",
    ),
    Row(
        "hostile input ends in an answer of Twilio's shape",
        "malformed and ambiguous requests, in every mode and way in",
        "tests/malformed tests/server/test_http1.py tests/server/test_modes.py",
    ),
    Row(
        "what is shipped in binary form is what its source makes",
        "rebuilding the jar and the assembly, byte for byte",
        "tests/launch/test_build_agent.py tests/launch/test_dotnet.py",
    ),
)


def run(row: Row) -> tuple[int, Mapping[str, int], str]:
    """Run a row's tests; return pytest's status, how many had which outcome, and its last words."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *row.arguments.split(" ")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=1180)
    last = done.stdout.strip().rpartition("\n")[2]
    return (
        done.returncode,
        {word: int(n) for n, word in re.findall(r"(\d+) (\w+)", last)},
        done.stdout[-3000:],
    )


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.tried)
def test_a_row_holds(record_property: pytest.RecordProperty, row: Row) -> None:
    record_property("promise", (row.promise, row.tried))
    code, outcomes, told = run(row)
    record_property("tries", outcomes.get("passed", 0))
    assert code == 0, told
    assert outcomes["passed"]
