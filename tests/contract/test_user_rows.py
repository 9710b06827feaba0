"""A user's own rows: any status, a delay, a number of times, header fields."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from ringback.contract import ContractError, load
from support.clients import REAL, better, fail_of, send

if TYPE_CHECKING:
    from pathlib import Path

    from ringback.contract import Contract


def own(tmp_path: Path, text: str) -> Contract:
    file = tmp_path / "own.yaml"
    file.write_text(text)
    return load([file])


BUSY = f"""
magic:
  - {{resource: Messages, parameter: To, value: "{REAL}", error: 20429, status: 429, times: 2, delay: 0.5,
     headers: {{Retry-After: "1", X-Home-Region: au1}}}}
errors: [{{code: 20429, message: Too many requests, status: 503}}]
"""


def test_a_row_counts_a_number_of_times_and_passes_then(tmp_path: Path) -> None:
    contract = own(tmp_path, BUSY)
    form = better("Messages", To=REAL)
    statuses = [send("Messages", form, contract=contract).status for _ in range(4)]
    assert statuses == [429, 429, 201, 201]
    other = send("Messages", better("Messages", To="+14105550111"), contract=contract)
    assert other.status == 201
    # Each loaded contract counts by itself.
    assert send("Messages", form, contract=own(tmp_path, BUSY)).status == 429


def test_a_row_has_its_own_status_delay_and_header_fields(tmp_path: Path) -> None:
    contract = own(tmp_path, BUSY)
    got = send("Messages", better("Messages", To=REAL), contract=contract)
    assert (got.status, fail_of(got)["status"], got.delay) == (429, 429, 0.5)
    assert got.header("Retry-After") == "1"
    assert [value for name, value in got.headers if name == "X-Home-Region"] == ["au1"]
    send("Messages", better("Messages", To=REAL), contract=contract)
    passed = send("Messages", better("Messages", To=REAL), contract=contract)
    assert (passed.delay, passed.header("Retry-After")) == (0, None)
    assert passed.source.basis == "user"


def test_a_row_that_passes_can_be_slow(tmp_path: Path) -> None:
    text = f'magic: [{{resource: Messages, parameter: To, value: "{REAL}", error: null, delay: 2}}]'
    got = send("Messages", better("Messages", To=REAL), contract=own(tmp_path, text))
    assert (got.status, got.delay) == (201, 2)


@pytest.mark.parametrize("status", [500, 503, 599])
def test_a_text_may_have_any_error_status(tmp_path: Path, status: int) -> None:
    text = f"""
magic: [{{resource: Messages, parameter: To, value: "{REAL}", error: 20500}}]
errors: [{{code: 20500, message: An internal server error has occurred, status: {status}}}]
"""
    got = send("Messages", better("Messages", To=REAL), contract=own(tmp_path, text))
    assert (got.status, json.loads(got.body)["code"]) == (status, 20500)


@pytest.mark.parametrize(
    "more, said",
    [
        ("status: 600", "<= 599"),
        ("status: 200", ">= 400"),
        ("delay: -1", ">= 0"),
        ("delay: 601", "<= 600"),
        ("times: 0", ">= 1"),
        ("headers: {Retry-After: 1}", "Expected `str`"),
        ('headers: {"a b": x}', "cannot be a header field"),
        ('headers: {X-A: "a\\r\\nb"}', "cannot be a header field"),
        ('headers: {Content-Length: "1"}', "cannot be a header field"),
    ],
)
def test_a_mistake_in_a_row_is_reported(tmp_path: Path, more: str, said: str) -> None:
    text = f'magic: [{{resource: Messages, parameter: To, value: "{REAL}", error: 21211, {more}}}]'
    with pytest.raises(ContractError, match=said) as caught:
        own(tmp_path, text)
    assert "own.yaml:1: " in str(caught.value)
