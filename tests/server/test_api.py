"""The API at the address of a real proxy."""

from __future__ import annotations

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


@pytest.mark.parametrize(
    "headers, status",
    [({}, 200), ({"Host": "evil.example"}, 403), ({"Origin": "https://evil.example"}, 403)],
)
def test_other_names_and_other_sites_are_refused(
    running: Serving, headers: dict[str, str], status: int
) -> None:
    assert requests.get(f"{running.url}/ringback/requests", headers=headers, timeout=60).status_code == status
