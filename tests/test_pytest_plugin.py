"""`pytest --ringback` as a program, in a directory of its own."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import yaml

from ringback.cassettes.names import check_name
from ringback.pytest_plugin import cassette_name
from support.clients import GOOD
from support.product import SID, TOKEN
from support.proxying import environment
from support.proxying import ringback as run_ringback

if TYPE_CHECKING:
    from pathlib import Path

SENDING = f"""
import asyncio, os, socket
import aiohttp, httpx, pytest, requests

URL = "https://api.twilio.com/2010-04-01/Accounts/{SID}/Messages.json"
FORM = {GOOD["Messages"]!r}
AUTH = ("{SID}", "{TOKEN}")

def send():
    return requests.post(URL, FORM, auth=AUTH, timeout=20)
"""
ANSWERED = """
def test_requests():
    assert send().status_code == 201

def test_httpx():
    assert httpx.post(URL, data=FORM, auth=AUTH).status_code == 201

def test_aiohttp():
    async def post():
        async with aiohttp.ClientSession() as session:
            async with session.post(URL, data=FORM, auth=aiohttp.BasicAuth(*AUTH)) as answer:
                return answer.status
    assert asyncio.run(post()) == 201

"""
CLIENTS = (
    ANSWERED
    + """
def test_a_client_that_goes_past_the_proxy():
    with pytest.raises(socket.gaierror, match="past its proxy"):
        socket.getaddrinfo("api.twilio.com", 443)

def test_what_a_test_is_told(ringback):
    assert ringback.cassette == "test_it.test_what_a_test_is_told"
    assert f"//{ringback.cassette}:x@127.0.0.1:" in ringback.proxy
    assert os.environ["HTTPS_PROXY"] == ringback.proxy
    with open(ringback.bundle) as file:
        assert "BEGIN CERTIFICATE" in file.read()
"""
)


def run_pytest(
    directory: Path, home: Path, tests: str, *arguments: str, **more: str
) -> subprocess.CompletedProcess[str]:
    (directory / "test_it.py").write_text(SENDING + tests)
    (directory / "pytest.ini").touch()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(
        command,
        cwd=directory,
        env=environment(home) | more,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["in one process", "xdist"])
def test_the_clients_of_a_test_are_answered(tmp_path: Path, home: Path, workers: tuple[str, ...]) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    done = run_pytest(tmp_path, home, CLIENTS, "--ringback", *workers, TMPDIR=str(temporary))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 passed" in done.stdout
    assert "ringback: 3 Twilio requests answered, offline (contract 3)\n" in done.stdout
    assert "listening" not in done.stdout
    assert [entry for entry in temporary.iterdir() if "ringback" in entry.name] == []


def test_nothing_changes_unless_it_is_asked_for(tmp_path: Path, home: Path) -> None:
    tests = """
def test_it():
    assert "RINGBACK_PROXY_URL" not in os.environ and "HTTPS_PROXY" not in os.environ

def test_asks_for_it(ringback):
    pass
"""
    done = run_pytest(tmp_path, home, tests)
    assert done.returncode == 1
    assert "1 error" in done.stdout
    assert "no proxy: call `pytest --ringback`, or `ringback run -- pytest`" in done.stdout


def test_each_test_has_a_cassette_of_its_own(tmp_path: Path, home: Path) -> None:
    tests = """
def test_recorded():
    assert send().headers["Ringback-Source"].startswith("cassette; rule=test_it.test_recorded#")

def test_other():
    assert send().headers["Ringback-Source"].startswith("contract;")
"""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    written(shelf / "test_it.test_recorded.yaml")
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nringback_options = --cassettes shelf\naddopts = --ringback\n"
    )
    done = run_pytest(tmp_path, home, tests)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "(cassette 1, contract 1)" in done.stdout


def test_an_unused_recording_fails_a_session_that_passed(tmp_path: Path, home: Path) -> None:
    (tmp_path / "cassettes").mkdir()
    written(tmp_path / "cassettes" / "default.yaml")
    (tmp_path / "pytest.ini").write_text("[pytest]\nringback_options = --fail-on-unused --cassette default\n")
    done = run_pytest(tmp_path, home, "\ndef test_it(): pass\n", "--ringback")
    assert done.returncode == 1
    assert "unused" in done.stdout
    assert "1 passed" in done.stdout


def test_under_run_its_proxy_is_used(tmp_path: Path, home: Path) -> None:
    (tmp_path / "test_it.py").write_text(SENDING + ANSWERED)
    done = run_ringback(
        home, "run", "--", sys.executable, "-m", "pytest", "-q", "--ringback", str(tmp_path), cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ringback: 3 Twilio requests answered" in done.stderr
    assert "ringback:" not in done.stdout


def test_a_proxy_that_does_not_start_is_told_without_a_traceback(tmp_path: Path, home: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\nringback_options = --mode sometimes\n")
    done = run_pytest(tmp_path, home, CLIENTS, "--ringback")
    assert done.returncode == 4
    assert "sometimes" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def written(path: Path) -> None:
    """A cassette with a recording of what the tests send."""
    uri = f"https://api.twilio.com/2010-04-01/Accounts/{SID}/Messages.json"
    sent = "&".join(
        f"{name}={value.replace('+', '%2B').replace(' ', '+')}" for name, value in GOOD["Messages"].items()
    )
    one = {
        "request": {"method": "POST", "uri": uri, "body": sent, "headers": {}},
        "response": {
            "status": {"code": 201, "message": "CREATED"},
            "headers": {"Content-Type": ["application/json"]},
            "body": {"string": "{}"},
        },
    }
    path.write_text(yaml.safe_dump({"version": 1, "interactions": [one]}))


@pytest.mark.parametrize(
    "nodeid, name",
    [
        ("test_a.py::test_b", "test_a.test_b"),
        ("tests/sms/test_a.py::TestC::test_b", "tests.sms.test_a.TestC.test_b"),
    ],
)
def test_plain_names(nodeid: str, name: str) -> None:
    assert cassette_name(nodeid) == name


def test_names_are_slugs_and_different() -> None:
    nodeids = [
        "test_a.py::test_b[x/y]",
        "test_a.py::test_b[x-y]",
        "test_a.py::test_b[\xe9]",
        "test_a.py::test_b[\ud800]",
        "test_a.py::test_b[a.yaml]",
        "test_a.py::test_b.yaml",
        "test_a.py::" + 120 * "x",
        "test_a.py::" + 121 * "x",
        "\u65e5\u672c.py::\u8a9e",
        "../test_a.py::test_b",
        ".py::-",
    ]
    names = [check_name(cassette_name(nodeid)) for nodeid in nodeids]
    assert len(set(names)) == len(names)
