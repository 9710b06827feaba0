"""The Inbox and its journal with very many requests, and with very many clients that wait.

The large scale prints what it measured; nothing here is judged by a clock.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from support.chromium import chromium
from support.clients import ACCOUNT, TOKEN, path
from support.proxying import Serving, home, serve

if TYPE_CHECKING:
    from collections.abc import Callable

    Measured = Callable[[str, object], None]

__all__ = ["home"]

PROMISE = "the Inbox stays small and quick"
TRIED = "very many requests, entries and clients"
LARGE = "TRUST_SCALE" in os.environ
REQUESTS = 200_000 if LARGE else 24_000
CLIENTS = 1_000 if LARGE else 40
KEPT = 10_000
TO = "+14105550101"

# Answers many requests, no two alike, by every way into the journal; prints the memory in use after the
# journal is full, and at the end.
FILLING = """
import os, sys
from ringback.contract import Names, load
from ringback.responder import Responder
from support.clients import basic, post
responder, names = Responder(load()), Names("api.twilio.com")
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
count = int(sys.argv[1])
for number in range(count):
    to = "+141055501%02d" % (number % 100)
    form = {"From": "+15005550006", "To": to, "Body": "number %d " % number * 10}
    if number % 7 == 0:
        form["To"] = "+15005550001"
    asked = post("Messages", form, extension=".json?%d" % number if number % 11 == 0 else ".json")
    token = (basic(token="token-%d" % number), *asked.headers[1:])
    asked = asked.__class__(asked.method, asked.host, asked.target, token, asked.body)
    responder.handle(asked, names, user="session-%d" % (number % 3000))
    if number == 11_000:
        before = resident()
print(len(responder.journal), before, resident())
"""


# Scrolls through the list and lets one request after the other come in, a step in each frame; gives the time
# that each step's work takes, and the longest time between two frames, in milliseconds.
STEPS = 200
STUTTER = f"""
(async () => {{
  const one = state.records[0];
  const next = () => ({{...one, number: state.last + 1, form: [["To", "+1410555" + state.last % 10000]]}});
  while (state.records.length < {KEPT}) take(next());
  const pane = document.querySelector("#list"), work = [], frames = [];
  let before = null;
  for (let step = 0; step < {STEPS}; step += 1) {{
    const now = await new Promise(requestAnimationFrame);
    if (before !== null) frames.push(now - before);
    before = now;
    const begun = performance.now();
    pane.scrollTop = (step % 100) * 6000;
    take(next());
    render();
    pane.getBoundingClientRect();
    work.push(performance.now() - begun);
  }}
  for (const list of [work, frames]) list.sort((a, b) => a - b);
  const rows = document.querySelectorAll("#list li").length;
  return {{rows, median: work[{STEPS} / 2], longest: work.at(-1), frame: frames.at(-1)}};
}})()
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_memory_is_flat(record_property: Measured) -> None:
    command = [sys.executable, "-c", FILLING, str(REQUESTS)]
    path = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
    variables = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    kept, before, after = map(int, done.stdout.split())
    measured = f"{before / 1e6:.0f} MB with a full journal, {after / 1e6:.0f} MB after {REQUESTS:,} requests"
    record_property("figure", measured)
    assert kept == KEPT
    assert after < before * 1.2, measured


def send(running: Serving, body: str) -> int:
    answer = requests.post(
        f"https://api.twilio.com{path()}",
        data={"To": TO, "From": "+15005550006", "Body": body},
        auth=(ACCOUNT, TOKEN),
        proxies={"https": running.url},
        verify=str(running.ca),
        timeout=60,
    )
    return answer.status_code


@pytest.mark.skipif(not LARGE, reason="tests/test_inbox.py holds the rows to a window; this measures")
@pytest.mark.parametrize("view", ["messages", "all"])
def test_ten_thousand_entries_do_not_stutter(
    view: str, home: Path, tmp_path: Path, record_property: Measured
) -> None:
    async def main() -> dict[str, Any]:
        async with chromium(f"{running.url}/ringback/") as page:
            await page.size(1280, 800)
            for _ in range(3000):
                if await page.value("state.records.length") == 1:
                    break
                await asyncio.sleep(0.02)
            await page.value(f"choose('{view}')")
            found: dict[str, Any] = await page.value(STUTTER)
            return found

    with serve(home, tmp_path) as running:
        assert send(running, "one") == 201
        found = asyncio.run(main())
    record_property(
        "figure",
        f"{KEPT:,} entries, {view}: a new entry and a scroll take {found['median']:.1f} ms in the middle, "
        f"{found['longest']:.1f} ms at most; the longest frame has {found['frame']:.0f} ms",
    )
    assert 0 < found["rows"] < 60


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_clients_that_wait_and_follow_cost_little(
    home: Path, tmp_path: Path, record_property: Measured
) -> None:
    """Half of them wait for more than will come, half follow; as many have come and gone before."""

    def ask(target: str) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", running.port), timeout=60)
        client.sendall(f"GET /ringback/{target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        return client

    def listeners(count: int) -> None:
        for _ in range(3000):
            if (found := running.health()["listeners"]) == count:
                return
            asyncio.run(asyncio.sleep(0.02))
        pytest.fail(f"{found} listeners, not {count}")

    def megabytes() -> float:
        pages = int(Path(f"/proc/{running.process.pid}/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    targets = ["requests/wait?count=5000&timeout=300", "events"] * (CLIENTS // 2)
    with serve(home, tmp_path) as running:
        base = running.health()["listeners"]
        for client in [ask(target) for target in targets]:
            client.close()
        listeners(base)
        clients = [ask(target) for target in targets]
        listeners(base + CLIENTS)
        before = megabytes()
        assert [send(running, f"{number} " * 300) for number in range(50)] == [201] * 50
        after = megabytes()
        (told,) = [json.loads(line[6:]) for line in last_event(clients[1], 50) if line.startswith("data:")]
        assert told["number"] == 50
        for client in clients:
            client.close()
        listeners(base)
    measured = f"{CLIENTS:,} clients wait or follow: {before:.0f} MB, {after:.0f} MB after 50 messages"
    record_property("figure", measured)
    assert after < before * 1.5 + 20, measured


def last_event(client: socket.socket, number: int) -> list[str]:
    """Read an event stream up to the request of that number; return the lines of its event."""
    read = b""
    while (at := read.find(b"-%d\nevent: request" % number)) < 0 or b"\n\n" not in read[at:]:
        data = client.recv(65536)
        assert data, "the stream ended"
        read += data
    return read[at:].decode().partition("\n\n")[0].splitlines()
