"""The API at the address of a real proxy."""

from __future__ import annotations

import re
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import requests

from support.clients import ACCOUNT, TOKEN, path
from support.proxying import Serving, serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PASSWORD = "a-long-password"
CLIENTS = 20


@pytest.fixture
def running(home: Path, tmp_path: Path) -> Iterator[Serving]:
    with serve(home, tmp_path, more={"RINGBACK_PROXY_PASSWORD": PASSWORD}) as running:
        yield running


def send(running: Serving, session: str) -> None:
    requests.post(
        f"https://api.twilio.com{path()}",
        data={"To": "+14105550101", "From": "+15005550006", "Body": f"for {session}"},
        auth=(ACCOUNT, TOKEN),
        proxies={"https": running.url.replace("://", f"://{session}:{PASSWORD}@")},
        verify=str(running.ca),
        timeout=60,
    )


def test_twenty_clients_get_their_own_message(running: Serving) -> None:
    def wait(number: int) -> list[str]:
        query = {"session": f"s{number}", "timeout": "60"}
        answer = requests.get(f"{running.url}/ringback/requests/wait", query, timeout=90)
        return [dict(one["form"])["Body"] for one in answer.json()["requests"]]

    with ThreadPoolExecutor(CLIENTS) as pool:
        waiting = [pool.submit(wait, number) for number in range(CLIENTS)]
        for number in reversed(range(CLIENTS)):
            send(running, f"s{number}")
        assert [one.result() for one in waiting] == [[f"for s{number}"] for number in range(CLIENTS)]


def test_events_come_while_the_connection_stays_open(running: Serving) -> None:
    with requests.get(f"{running.url}/ringback/events", stream=True, timeout=60) as stream:
        lines = stream.iter_lines(chunk_size=1)
        assert next(line for line in lines if line.startswith(b"event")) == b"event: hello"
        send(running, "alice")
        assert next(line for line in lines if line.startswith(b"event")) == b"event: request"
        assert b'"session": "alice"' in next(lines)


@pytest.mark.parametrize("path", ["requests/wait?timeout=300", "events"])
def test_nobody_waits_for_a_client_that_has_gone(running: Serving, path: str) -> None:
    def listeners(count: int) -> None:
        for _ in range(3000):
            if (found := running.health()["listeners"]) == count:
                return
            threading.Event().wait(0.02)
        pytest.fail(f"{found} listeners, not {count}")

    before = running.health()["listeners"]
    with socket.create_connection(("127.0.0.1", running.port), timeout=60) as client:
        client.sendall(f"GET /ringback/{path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        listeners(before + 1)
    listeners(before)


def test_what_follows_a_wait_on_its_connection_is_answered_after_it(running: Serving) -> None:
    with socket.create_connection(("127.0.0.1", running.port), timeout=60) as client:
        for path in ("requests/wait?timeout=0.5", "session"):
            client.sendall(f"GET /ringback/{path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        read = b""
        while b'"cassette"' not in read:
            data = client.recv(65536)
            assert data, read
            read += data
    assert re.findall(rb"HTTP/1\.1 (\d+)", read) == [b"504", b"200"]


@pytest.mark.parametrize(
    "headers, status",
    [({}, 200), ({"Host": "evil.example"}, 403), ({"Origin": "https://evil.example"}, 403)],
)
def test_other_names_and_other_sites_are_refused(
    running: Serving, headers: dict[str, str], status: int
) -> None:
    assert requests.get(f"{running.url}/ringback/requests", headers=headers, timeout=60).status_code == status
