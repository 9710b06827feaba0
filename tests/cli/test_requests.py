"""`ringback requests`, `wait` and `stop` against a real proxy."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from support.clients import FORM_TYPE, basic, http, path
from support.proxying import RINGBACK, Serving, environment, ringback, serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOGIN = "+14105550101"


@pytest.fixture
def running(home: Path, tmp_path: Path) -> Iterator[Serving]:
    with serve(home, tmp_path) as running:
        yield running


def send(running: Serving, to: str = LOGIN, body: str = "Your code is 481231") -> None:
    form = f"From=%2B15005550006&To={to.replace('+', '%2B')}&Body={body.replace(' ', '+')}"
    running.ask(http("POST", path(), form.encode(), headers=(basic(), FORM_TYPE)))


def test_requests_lists_what_was_sent(home: Path, running: Serving) -> None:
    send(running)
    send(running, "+15005550001")
    done = ringback(home, "requests", "--url", running.url)
    heading, first, second = done.stdout.splitlines()
    assert heading.split("\t")[0] == "number"
    assert first.split("\t")[3:] == ["Messages", LOGIN, "201", "Messages.from.valid", "Your code is 481231"]
    assert second.split("\t")[5] == "21211"
    only = ringback(home, "requests", "--code", "21211", "--json", more={"RINGBACK_PROXY_URL": running.url})
    assert [json.loads(one)["number"] for one in only.stdout.splitlines()] == [2]


def test_requests_follows(home: Path, running: Serving) -> None:
    send(running)
    command = [*RINGBACK, "requests", "-f", "--json"]
    process = subprocess.Popen(command, env=environment(home), stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["number"] == 1
        send(running)
        assert json.loads(process.stdout.readline())["number"] == 2
    finally:
        process.terminate()
        process.communicate(timeout=30)


def test_wait_ends_with_the_message(home: Path, running: Serving) -> None:
    command = [*RINGBACK, "wait", "--to", LOGIN, "--body", "code", "--timeout", "60", "--json"]
    process = subprocess.Popen(command, env=environment(home), stdout=subprocess.PIPE, text=True)
    send(running, "+14105550102")
    send(running)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert json.loads(out)["number"] == 2


def test_wait_reports_what_came_instead(home: Path, running: Serving) -> None:
    send(running, "+14105550102")
    done = ringback(home, "wait", "--to", LOGIN, "--timeout", "0.01")
    assert done.returncode == 1
    assert "0 of 1 came within 0.01 s; the last requests were: POST Messages +14105550102 201" in done.stderr


@pytest.mark.parametrize("command", ["requests", "wait"])
def test_a_wrong_filter_is_reported(home: Path, running: Serving, command: str) -> None:
    done = ringback(home, command, "--code", "x", "--url", running.url)
    assert done.returncode == 1
    assert "code='x' is not a whole number" in done.stderr


@pytest.mark.parametrize("command", ["requests", "wait", "stop"])
def test_no_proxy_is_reported(tmp_path: Path, command: str) -> None:
    done = ringback(tmp_path, command)
    assert done.returncode == 1
    assert "no proxy is running" in done.stderr


@pytest.mark.parametrize(
    "url, words",
    [("http://127.0.0.1:1", "no proxy of Ringback's answers"), ("https://x", "not a proxy's URL")],
)
def test_a_wrong_url_is_reported(home: Path, url: str, words: str) -> None:
    done = ringback(home, "requests", "--url", url)
    assert done.returncode in {1, 2}
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_stop_ends_the_proxy(home: Path, running: Serving) -> None:
    # This test is the proxy's parent: its end is seen only when it is waited for.
    process = subprocess.Popen([*RINGBACK, "stop"], env=environment(home))
    assert running.process.wait(30) == 0
    assert process.wait(30) == 0
