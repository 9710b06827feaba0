"""A fleet under load: replicas behind HAProxy that are killed and added, an S3 server, shared state.

FLEET_SECONDS=120 python -m pytest -s tests/test_fleet.py

prints the figures. It is no part of the ordinary run.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import http.client
import json
import os
import random
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

from ringback.cassettes.manager import CassetteManager, CassetteOptions
from ringback.cassettes.remote import RemoteCassettes
from ringback.contract import Answer, Source
from support.clients import GOOD, basic, path, post
from support.proxying import RINGBACK, environment, wait_ready
from support.s3 import Store, s3_server
from support.upstream import loopback_upstream, twilio, upstream_ca
from support.valkey import Server, server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.throwaway import ThrowAway
    from support.upstream import Seen

__all__ = ["upstream_ca"]

SECONDS = float(os.environ.get("FLEET_SECONDS") or 0)
CLIENTS = 50
REPLICAS = 3
SLOTS = 5  # ports that HAProxy knows
PASSWORD = "the-password-of-the-fleet"
URL = "s3://fleet/recorded"
RECORDINGS = 40  # of one session's request
TURN = 4.0  # seconds between two replicas that are killed and added
pytestmark = [
    pytest.mark.skipif(not SECONDS, reason="takes minutes: set FLEET_SECONDS"),
    pytest.mark.timeout(SECONDS * 4 + 600),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # of connections to replicas that were killed
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@dataclass
class Fleet:
    """Replicas in slots behind HAProxy."""

    directory: Path
    store: Store
    valkey: Server
    options: tuple[str, ...]
    state: bool = True
    front: int = field(default_factory=free_port)
    ports: list[int] = field(default_factory=lambda: [free_port() for _ in range(SLOTS)])
    running: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)
    started: int = 0
    killed: int = 0

    @property
    def environ(self) -> dict[str, str]:
        own = {
            "RINGBACK_PROXY_PASSWORD": PASSWORD,
            "XDG_CACHE_HOME": str(self.directory / "cache"),
            **self.store.environ,
        }
        if self.state:
            own["RINGBACK_STATE"] = self.valkey.url
        return environment(self.directory / "home", own)

    def add(self, slot: int) -> None:
        self.started += 1
        ready = self.directory / f"ready-{self.started}.json"
        log = self.directory / f"log-{self.started}.txt"
        command = [
            *RINGBACK,
            "serve",
            "--port",
            str(self.ports[slot]),
            "--ready-file",
            str(ready),
            *self.options,
        ]
        with log.open("wb") as stderr:
            process = subprocess.Popen(command, env=self.environ, stdout=subprocess.DEVNULL, stderr=stderr)
        self.running[slot] = process
        wait_ready(process, ready, log)

    def kill(self, slot: int) -> None:
        self.killed += 1
        process = self.running.pop(slot)
        process.kill()
        process.wait()

    def stop(self) -> None:
        for process in self.running.values():
            process.send_signal(signal.SIGTERM)
        for process in self.running.values():
            process.wait(60)
        self.running.clear()

    def churn(self, until: float) -> None:
        """Kill a replica and add another one in a free slot, again and again."""
        chance = random.Random(20)
        while time.monotonic() + TURN < until:
            time.sleep(TURN)
            self.kill(chance.choice(list(self.running)))
            self.add(chance.choice([slot for slot in range(SLOTS) if slot not in self.running]))

    @property
    def logs(self) -> str:
        return "".join(one.read_text() for one in sorted(self.directory.glob("log-*.txt")))


@contextlib.contextmanager
def haproxy(fleet: Fleet) -> Iterator[None]:
    program = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    if program is None:
        pytest.skip("there is no haproxy")
    servers = "".join(
        f"  server r{slot} 127.0.0.1:{port} check inter 200ms fall 1 rise 1\n"
        for slot, port in enumerate(fleet.ports)
    )
    config = fleet.directory / "haproxy.cfg"
    config.write_text(
        "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n"
        f"  option redispatch\n  retries 3\nlisten fleet\n  bind 127.0.0.1:{fleet.front}\n"
        f"  balance roundrobin\n{servers}"
    )
    process = subprocess.Popen([program, "-f", config, "-db"], stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def running(directory: Path, *options: str) -> Iterator[Fleet]:
    directory.mkdir(parents=True, exist_ok=True)
    with s3_server() as store, server(directory) as valkey:
        store.page = 1000
        fleet = Fleet(directory, store, valkey, options)
        try:
            yield fleet
        finally:
            fleet.stop()


class Client:
    """A program with a session of its own, which opens a new connection now and then."""

    def __init__(self, port: int, name: str, trusted: ssl.SSLContext) -> None:
        self.port, self.name, self.trusted = port, name, trusted
        self.connection: http.client.HTTPSConnection | None = None
        self.left = 0
        self.failures = 0

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def ask(self, body: str) -> tuple[http.client.HTTPResponse, dict[str, Any]]:
        """Ask until there is an answer; each attempt that got none is counted."""
        end = time.monotonic() + 120
        while True:
            try:
                return self._ask(body)
            except (OSError, http.client.HTTPException, ssl.SSLError):
                self.failures += 1
                self.close()
                assert time.monotonic() < end, f"no replica answers {self.name}"
                time.sleep(0.05)

    def _ask(self, body: str) -> tuple[http.client.HTTPResponse, dict[str, Any]]:
        if self.connection is None or not self.left:
            self.close()
            made = http.client.HTTPSConnection("127.0.0.1", self.port, context=self.trusted, timeout=30)
            pair = base64.b64encode(f"{self.name}:{PASSWORD}".encode()).decode()
            made.set_tunnel("api.twilio.com", 443, {"Proxy-Authorization": f"Basic {pair}"})
            self.connection, self.left = made, 5
        self.left -= 1
        form = urlencode({**GOOD["Messages"], "Body": body})
        fields = {"Content-Type": "application/x-www-form-urlencoded", basic()[0]: basic()[1]}
        self.connection.request("POST", path(), form, fields)
        answer = self.connection.getresponse()
        return answer, json.loads(answer.read())


def everybody(work: Callable[[int], None]) -> None:
    """Run `work` for each client at once; the first error of any is raised."""
    wrong: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            work(number)
        except BaseException as error:  # noqa: BLE001 - of a thread
            wrong.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        raise wrong[0]


def trusted(fleet: Fleet) -> ssl.SSLContext:
    done = subprocess.run(
        [*RINGBACK, "ca", "--export", "pem", "--output", str(fleet.directory / "ca.pem")],
        env=fleet.environ,
        capture_output=True,
        check=True,
    )
    assert done.returncode == 0
    return ssl.create_default_context(cafile=str(fleet.directory / "ca.pem"))


@pytest.fixture
def store_environ(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Store], None]:
    def set_them(store: Store) -> None:
        for name, value in store.environ.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own-cache"))

    return set_them


def report(title: str, **figures: object) -> None:
    sys.stdout.write(
        f"\n{title}\n" + "".join(f"  {name.replace('_', ' ')}: {value}\n" for name, value in figures.items())
    )


def test_nothing_that_was_acknowledged_is_lost(
    tmp_path: Path, upstream_ca: ThrowAway, store_environ: Callable[[Store], None]
) -> None:
    def rule(seen: Seen) -> bytes:
        return twilio(201, None, n=int(dict(seen.form)["Body"]))

    with loopback_upstream(upstream_ca) as upstream:
        upstream.rule = rule
        options = ("--mode", "auto", "--cassettes", URL, "--upstream", upstream.url)
        with (
            running(tmp_path / "fleet", *options, "--upstream-ca", str(upstream.ca)) as fleet,
            haproxy(fleet),
        ):
            context = trusted(fleet)
            for slot in range(REPLICAS):
                fleet.add(slot)
            acknowledged: dict[str, set[str]] = {}
            counts: Counter[str] = Counter()
            lock = threading.Lock()
            end = time.monotonic() + SECONDS

            def work(number: int) -> None:
                client = Client(fleet.front, f"session-{number}", context)
                mine: set[str] = set()
                turn = 0
                while time.monotonic() < end:
                    turn += 1
                    body = str(number * 1_000_000 + turn)
                    answer, got = client.ask(body)
                    with lock:
                        counts["answers"] += 1
                        counts["wrong"] += str(got.get("n")) != body
                        counts["not recorded"] += "#" not in (answer.getheader("Ringback-Cassette") or "")
                    if "#" in (answer.getheader("Ringback-Cassette") or ""):
                        mine.add(body)
                client.close()
                with lock:
                    acknowledged[client.name] = mine
                    counts["attempts without an answer"] += client.failures

            churning = threading.Thread(target=fleet.churn, args=(end,))
            churning.start()
            everybody(work)
            churning.join()
            store_environ(fleet.store)
            segments = len(fleet.store.names("segments"))
            remote = RemoteCassettes(URL, refresh=0)
            lost = 0
            for name, bodies in acknowledged.items():
                remote.compact(name)
                data = fleet.store.objects[f"fleet/recorded/{name}.yaml"].decode()
                lost += len(
                    [body for body in bodies if f"Body={body}\n" not in data and f"Body={body}&" not in data]
                )
            remote.close()
            report(
                "recording",
                **{name.replace(" ", "_"): count for name, count in counts.items()},
                acknowledged_recordings=sum(map(len, acknowledged.values())),
                lost=lost,
                segments=segments,
                probes=len(upstream.probes),
                replicas_started=fleet.started,
                killed=fleet.killed,
            )
            assert counts["wrong"] == 0
            assert lost == 0
            assert sum(map(len, acknowledged.values())) > 0
            assert len(upstream.probes) == 1, "one pair of credentials in the whole fleet"
            assert "Traceback" not in fleet.logs


def test_every_session_gets_its_kth_recording(tmp_path: Path, store_environ: Callable[[Store], None]) -> None:
    options = ("--mode", "offline", "--strict", "--cassettes", URL, "--repeats", "error")
    with running(tmp_path / "fleet", *options) as fleet, haproxy(fleet):
        store_environ(fleet.store)
        prepare()
        context = trusted(fleet)
        for slot in range(REPLICAS):
            fleet.add(slot)
        clients = [Client(fleet.front, f"session-{number}", context) for number in range(CLIENTS)]
        seen: dict[int, list[int]] = {number: [] for number in range(CLIENTS)}
        end = time.monotonic() + SECONDS

        def work(number: int) -> None:
            pause = SECONDS / RECORDINGS
            for _ in range(RECORDINGS):
                answer, got = clients[number].ask("same")
                if answer.status == 404:  # attempts without an answer have used recordings up
                    return
                seen[number].append(int(got["n"]))
                time.sleep(pause)

        churning = threading.Thread(target=fleet.churn, args=(end,))
        churning.start()
        everybody(work)
        churning.join()
        for client in clients:
            client.close()
        wrong = unexplained = 0
        for number, got in seen.items():
            wrong += got != sorted(set(got))
            skipped = (got[-1] + 1 if got else 0) - len(got)
            unexplained += max(0, skipped - clients[number].failures)
        answered = sum(map(len, seen.values()))
        inbox = 0
        wanted = Counter({f"session-{number}": len(got) for number, got in seen.items()})
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            found = inbox_of(next(iter(fleet.running)), fleet)
            inbox = sum(min(found[name], count) for name, count in wanted.items())
            if inbox == answered:
                break
            time.sleep(0.2)
        report(
            "replay",
            answers=answered,
            sessions_out_of_order=wrong,
            skipped_without_a_failed_attempt=unexplained,
            attempts_without_an_answer=sum(client.failures for client in clients),
            in_the_inbox_of_one_replica=f"{inbox} of {answered}",
            replicas_started=fleet.started,
            killed=fleet.killed,
        )
        assert wrong == 0
        assert unexplained == 0
        assert "Traceback" not in fleet.logs


def prepare() -> None:
    """Record each session's request many times, with a number in each answer."""
    remote = RemoteCassettes(URL, refresh=0)
    remote.start()
    recorder = CassetteManager(CassetteOptions(remote.directory), "auto", remote=remote)
    request = post("Messages", {**GOOD["Messages"], "Body": "same"})

    async def record(name: str) -> None:
        fields = (("Content-Type", "application/json"),)
        made = [
            Answer(201, "CREATED", fields, json.dumps({"n": number}).encode(), Source("live"))
            for number in range(RECORDINGS)
        ]
        await asyncio.gather(*(recorder.record(request, one, name) for one in made))  # in this order

    for one in range(CLIENTS):
        asyncio.run(record(f"session-{one}"))
    recorder.close()


def inbox_of(slot: int, fleet: Fleet) -> Counter[str]:
    connection = http.client.HTTPConnection("127.0.0.1", fleet.ports[slot], timeout=30)
    connection.request(
        "GET", "/ringback/requests?limit=100000", headers={"Authorization": f"Bearer {PASSWORD}"}
    )
    found = json.loads(connection.getresponse().read())
    connection.close()
    return Counter(one["session"] for one in found["requests"] if one["status"] == 201)


def test_what_shared_state_costs(tmp_path: Path, store_environ: Callable[[Store], None]) -> None:
    figures = {}
    with running(tmp_path / "fleet", "--mode", "offline", "--cassettes", URL) as fleet:
        store_environ(fleet.store)
        prepare()
        context = trusted(fleet)
        for name, state in (("in_process", False), ("shared", True)):
            fleet.state = state
            fleet.add(0)
            client = Client(fleet.ports[0], "session-0", context)
            client.left = 10**6
            times = []
            for _ in range(600):
                began = time.perf_counter()
                client.left = max(client.left, 2)
                client.ask("same")
                times.append((time.perf_counter() - began) * 1000)
            client.close()
            times = sorted(times[100:])
            figures[name] = f"p50 {times[len(times) // 2]:.2f} ms, p99 {times[len(times) * 99 // 100]:.2f} ms"
            fleet.stop()
    report("a replayed answer, one client, one connection", **figures)
    assert len(figures) == 2
