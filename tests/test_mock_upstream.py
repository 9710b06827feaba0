"""The mock upstream: answers as documented, marked as a mock's, and recorded as what they are."""

from __future__ import annotations

import json
import threading
from base64 import b64encode
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from click.testing import CliRunner

from ringback.cli.cassettes import command as cassettes
from ringback.cli.drift import command as drift
from ringback.cli.serve import mock_upstream as command
from ringback.contract import load
from ringback.mock_upstream import MockUpstream
from support.drifting import ACCOUNT, TOKEN

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATH = f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json"
FORM = {"From": "+15005550006", "To": "+14105550100", "Body": "hi"}


@pytest.fixture
def mock() -> Iterator[MockUpstream]:
    with MockUpstream() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RINGBACK_TEST_ACCOUNT_SID", ACCOUNT)
    monkeypatch.setenv("RINGBACK_TEST_AUTH_TOKEN", TOKEN)
    return tmp_path


def ask(server: MockUpstream, method: str, path: str = PATH, body: str = "", **fields: str) -> Any:
    connection = HTTPConnection("127.0.0.1", int(server.server_address[1]), timeout=60)
    headers = {"Host": "api.twilio.com", "Authorization": basic(), **fields}
    if body:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    connection.request(method, path, body.encode() or None, headers)
    got = connection.getresponse()
    content = got.read()
    connection.close()
    return got, content


def basic() -> str:
    return "Basic " + b64encode(f"{ACCOUNT}:{TOKEN}".encode()).decode()


def test_it_answers_as_documented_and_says_what_it_is(mock: MockUpstream) -> None:
    got, body = ask(mock, "POST", body=urlencode(FORM))
    assert (got.status, json.loads(body)["status"]) == (201, "queued")
    assert got.getheader("Ringback-Source", "").startswith("mock; rule=Messages")
    got, body = ask(mock, "POST", body=urlencode({**FORM, "To": "+15005550001"}))
    assert (got.status, json.loads(body)["code"]) == (400, 21211)


def test_two_messages_have_two_sids(mock: MockUpstream) -> None:
    sids = {json.loads(ask(mock, "POST", body=urlencode(FORM))[1])["sid"] for _ in range(2)}
    assert len(sids) == 2


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "PUT"])
def test_every_method_gets_what_the_contract_says(mock: MockUpstream, method: str) -> None:
    got, body = ask(mock, method)
    assert got.status == 403
    assert (body == b"") == (method == "HEAD")


@pytest.mark.parametrize(
    "fields, status",
    [
        ({"Transfer-Encoding": "chunked"}, 411),
        ({"Content-Length": "9" * 9}, 413),
        ({"Content-Length": "-1"}, 411),
    ],
)
def test_a_body_that_it_does_not_read_is_refused(
    mock: MockUpstream, fields: dict[str, str], status: int
) -> None:
    got, _ = ask(mock, "POST", **fields)
    assert got.status == status


def test_drift_finds_none_in_it_and_what_is_recorded_names_it(mock: MockUpstream, here: Path) -> None:
    done = CliRunner().invoke(
        drift, ["--upstream", mock.url, "--only", "Messages.*", "--only", "outside.api.*"]
    )
    assert done.exit_code == 0, done.output
    assert "no drift" in done.output
    written = (here / "drift-answers.yaml").read_text()
    assert f"mock; origin={mock.url}" in written
    assert "- live\n" not in written
    listed = CliRunner().invoke(cassettes, ["list", "--cassettes", str(here)])
    assert f"mock {mock.url}" in listed.output
    again = CliRunner().invoke(drift, ["drift-answers.yaml", "--format", "json"])
    assert (again.exit_code, json.loads(again.stdout)["findings"]) == (0, [])


@pytest.mark.usefixtures("here")
def test_its_contract_can_be_another_and_that_is_drift_of_this_origin(
    mock: MockUpstream, tmp_path: Path
) -> None:
    own = tmp_path / "own-rows.txt"
    own.write_text("magic:\n  - {resource: Messages, parameter: To, value: '+15005550004', error: 21614}\n")
    mock.contract = load([own])
    asked = ["--upstream", mock.url, "--only", "Messages.to.blocked", "--format", "json"]
    done = CliRunner().invoke(drift, asked)
    assert done.exit_code == 1, done.output
    (found,) = json.loads(done.stdout)["findings"]
    assert (found["rule"], found["origin"]) == ("Messages.to.blocked", mock.url)
    again = CliRunner().invoke(drift, ["drift-answers.yaml", "--format", "json"])
    (recorded,) = json.loads(again.stdout)["findings"]
    assert (recorded["fingerprint"], recorded["origin"]) == (found["fingerprint"], mock.url)


def test_a_port_in_use_is_a_line(mock: MockUpstream) -> None:
    done = CliRunner().invoke(command, ["--port", str(mock.server_address[1])])
    assert done.exit_code == 1
    assert "take another --port" in done.output
    assert "Traceback" not in done.output
