"""docs/online.md, held to the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click import Option

from ringback import contract
from ringback.cli.run import command as run
from ringback.cli.serve import serve
from ringback.upstream import forwarder, proof
from support.clients import live_answer

if TYPE_CHECKING:
    from ringback.exchange import Answer

PAGE = (Path(__file__).parents[2] / "docs" / "online.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in PAGE.splitlines()
    if line.startswith("| ")
]
FAILURES = {
    row[0].strip("` "): (int(row[1]), int(row[2])) for row in ROWS if len(row) == 4 and row[1].isdigit()
}


def test_each_failure_has_its_status_and_code() -> None:
    refusals = contract.load().refusals
    kinds = ("credentials.", "upstream.", "cassette.")
    assert {
        name: (refusal.status, refusal.code) for name, refusal in refusals.items() if name.startswith(kinds)
    } == FAILURES


def test_each_reason_for_falling_back_is_there() -> None:
    named = {row[0].strip("` ") for row in ROWS if row[0].strip("` ").startswith("upstream.")}
    assert named - set(FAILURES) == {forwarder.SERVER_ERROR, forwarder.RATE_LIMITED, forwarder.BUDGET}


@pytest.mark.parametrize(
    "answer, verdict",
    [
        (live_answer(403, "", (), b'{"code": 20008}'), "test credentials"),
        (live_answer(200, "", (), b"{}"), "live"),
        (live_answer(401, "", (), b""), "wrong"),
        (live_answer(418, "", (), b"{}"), "unknown"),
    ],
)
def test_each_answer_to_the_probe_is_there(answer: Answer, verdict: str) -> None:
    names = {"test": "test credentials", "unclear": "unknown"}
    got = proof.verdict_of(answer)
    assert names.get(got, got) == verdict
    assert any(row[1].strip() == verdict for row in ROWS)


def test_each_option_is_one_of_both_commands() -> None:
    told = {
        match[1]: row[1].strip("` ")
        for row in ROWS
        if (match := re.match(r"`(--[a-z-]+)[ `]", row[0].strip()))
    }
    assert len(told) == 13
    for command in (run, serve):
        options = {
            name: option.envvar
            for option in command.params
            if isinstance(option, Option)
            for name in option.opts
        }
        for name, variable in told.items():
            assert options[name] == f"RINGBACK_{variable}"
