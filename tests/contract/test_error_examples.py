"""`docs/examples/errors.yaml`: each magic input gives its error, and later passes where it says so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from ringback.contract import load
from support.clients import ACCOUNT, better, body_of, fail_of, http, send
from support.proxying import serve

FILE = Path(__file__).parents[2] / "docs" / "examples" / "errors.yaml"
FROM, TO = "From", "To"
# resource, parameter, value, status, code, a part of the text, times, Retry-After, delay
GIVEN = [
    ("Messages", TO, "+14155550103", 400, 30003, "Unreachable destination handset", None, None, 0),
    ("Messages", TO, "+14155550104", 400, 30004, "Message blocked", None, None, 0),
    ("Messages", TO, "+14155550105", 400, 30005, "Unknown destination handset", None, None, 0),
    ("Messages", TO, "+14155550106", 400, 30006, "Landline or unreachable carrier", None, None, 0),
    ("Messages", TO, "+14155550107", 400, 30007, "Message filtered", None, None, 0),
    ("Messages", TO, "+14155550108", 400, 30008, "Unknown error", None, None, 0),
    ("Messages", FROM, "+14155550159", 400, 21659, "'From' +14155550159 is not a Twilio", None, None, 0),
    ("Messages", FROM, "whatsapp:+14155550107", 400, 63007, "could not find a Channel", None, None, 0),
    ("Messages", TO, "whatsapp:+14155550110", 400, 21910, "Invalid From and To pair", None, None, 0),
    ("Messages", TO, "+14155550129", 429, 20429, "Too Many Requests", 2, "1", 0),
    ("Messages", TO, "+14155550153", 503, 20503, "Service unavailable", 1, None, 0),
    ("Calls", TO, "+14155550129", 429, 20429, "Too Many Requests", 2, "1", 0),
    ("Calls", TO, "+14155550153", 503, 20503, "Service unavailable", 1, None, 0),
    ("Messages", TO, "+14155550100", 500, 20500, "Internal Server Error", None, None, 0.5),
    ("Calls", TO, "+14155550100", 500, 20500, "Internal Server Error", None, None, 0.5),
]


@pytest.mark.parametrize(
    "resource, parameter, value, status, code, text, times, retry_after, delay", GIVEN, ids=str
)
def test_each_input_gives_its_error(
    resource: str,
    parameter: str,
    value: str,
    status: int,
    code: int,
    text: str,
    times: int | None,
    retry_after: str | None,
    delay: float,
) -> None:
    contract = load([FILE])
    form = better(resource, **{parameter: value})
    for _ in range(times or 3):
        got = send(resource, form, contract=contract)
        failed = body_of(got)
        assert (got.status, failed["status"], failed["code"]) == (status, status, code)
        assert text in failed["message"]
        assert (got.header("Retry-After"), got.delay, got.source.basis) == (retry_after, delay, "user")
    if times is not None:
        passed = send(resource, form, contract=contract)
        assert (passed.status, passed.header("Retry-After")) == (201, None)


def test_a_running_proxy_answers_them_too(home: Path, tmp_path: Path) -> None:
    with serve(home, tmp_path, "--contract", str(FILE)) as running, running.twilio() as wire:
        for resource, parameter, value, status, code, text, times, retry_after, _ in GIVEN:
            target = f"/2010-04-01/Accounts/{ACCOUNT}/{resource}.json"
            data = http(target=target, form=better(resource, **{parameter: value}))
            for _ in range(times or 1):
                got = wire.send(data).response()
                assert (got.status, got.json()["code"], got.json()["status"]) == (status, code, status)
                assert text in got.json()["message"]
                assert got.header("Retry-After") == retry_after
                assert "basis=user" in (got.header("Ringback-Source") or "")
            if times is not None:
                passed = wire.send(data).response()
                assert (passed.status, passed.header("Retry-After")) == (201, None)


def test_the_table_here_has_every_row_of_the_file() -> None:
    rows = yaml.safe_load(FILE.read_text())["magic"]
    assert [(row["resource"], row["parameter"], row["value"], row["error"]) for row in rows] == [
        (resource, parameter, value, code) for resource, parameter, value, _, code, *_ in GIVEN
    ]


def test_the_numbers_are_fictional_and_every_text_has_a_source() -> None:
    text = FILE.read_text()
    assert all(re.fullmatch(r"\+141555501\d\d", number) for number in re.findall(r"\+\d+", text))
    assert all(entry["evidence"] for entry in yaml.safe_load(text)["errors"])


def test_the_rest_of_the_contract_stays() -> None:
    contract = load([FILE])
    assert send("Messages", better("Messages"), contract=contract).status == 201
    got = send("Messages", better("Messages", To="+15005550009"), contract=contract)
    assert fail_of(got)["code"] == 21614
