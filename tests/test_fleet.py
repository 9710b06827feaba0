"""A fleet under load: replicas behind HAProxy that are killed and added, an S3 server, shared state.

FLEET_SECONDS=120 python -m pytest -s tests/test_fleet.py

prints the figures. It is no part of the ordinary run. As root on Linux, each part is a host of its own: a
network namespace. Elsewhere, all are on the loopback address.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import http.client
import json
import os
import random
import re
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
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

from ringback.cassettes.manager import CassetteManager, CassetteOptions
from ringback.contract import Answer, Source
from ringback.journal import MAX_BYTES
from support.clients import GOOD, TOKEN, basic, path, post
from support.namespaces import Network
from support.proxying import RINGBACK, environment, wait_ready
from support.s3 import SECRET, Store, s3_server
from support.upstream import loopback_upstream, twilio, upstream_ca
from support.valkey import Server, server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.throwaway import ThrowAway
    from support.upstream import Seen

__all__ = ["upstream_ca"]

SECONDS = float(os.environ.get("FLEET_SECONDS") or 0)
RATE = float(os.environ.get("FLEET_RATE") or 60)  # requests a second of all clients together
CLIENTS = 50
REPLICAS = 3
SLOTS = 5  # replicas that HAProxy knows
PASSWORD = "the-password-of-the-fleet"
URL = "s3://fleet/recorded"
TURN = max(4.0, SECONDS / 60)  # seconds between two replicas that are killed and added
RECORDINGS = int(SECONDS * RATE / CLIENTS / 2) + 50  # of one session's request
pytestmark = [
    pytest.mark.skipif(not SECONDS, reason="takes minutes: set FLEET_SECONDS"),
    pytest.mark.timeout(SECONDS * 4 + 600),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # of connections to replicas that were killed
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


class Hosts:
    """The hosts of the fleet: network namespaces, or all of them this machine."""

    def __init__(self, network: Network | None) -> None:
        self.network = network
        for host in ("clients", "front", "store", "valkey", "upstream", *map(self.replica, range(SLOTS))):
            if network is not None:
                network.add(host)

    @staticmethod
    def replica(slot: int) -> str:
        return f"r{slot}"

    def address(self, host: str) -> str:
        return "127.0.0.1" if self.network is None else self.network.addresses[host]

    def command(self, host: str, *command: str) -> list[str]:
        return list(command) if self.network is None else self.network.command(host, *command)

    def inside(self, host: str) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if self.network is None else self.network.inside(host)


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    why = Network.refused()
    if why:
        sys.stdout.write(f"\non loopback: {why}\n")
        yield Hosts(None)
        return
    with Network.made() as network:
        yield Hosts(network)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@dataclass
class Fleet:
    """Replicas in slots behind HAProxy."""

    hosts: Hosts
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
    compacting: list[str] = field(default_factory=list)  # what each time said

    @property
    def environ(self) -> dict[str, str]:
        own = {"RINGBACK_PROXY_PASSWORD": PASSWORD, **self.store.environ}
        if self.state:
            own["RINGBACK_STATE"] = self.valkey.url
        return environment(self.directory / "home", own)

    def add(self, slot: int) -> None:
        self.started += 1
        ready = self.directory / f"ready-{self.started}.json"
        log = self.directory / f"log-{self.started}.txt"
        host = self.hosts.replica(slot)
        listen = ("--host", self.hosts.address(host), "--port", str(self.ports[slot]))
        command = [*RINGBACK, "serve", *listen, "--ready-file", str(ready), *self.options]
        environ = {**self.environ, "XDG_CACHE_HOME": str(self.directory / f"cache-{slot}")}
        with log.open("wb") as stderr:
            process = subprocess.Popen(
                self.hosts.command(host, *command), env=environ, stdout=subprocess.DEVNULL, stderr=stderr
            )
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
            process.wait(180)
        self.running.clear()

    def churn(self, until: float) -> None:
        """Kill a replica, add another one in a free slot, and compact a cassette, again and again."""
        chance = random.Random(20)
        while time.monotonic() + TURN < until:
            time.sleep(TURN)
            self.kill(chance.choice(list(self.running)))
            self.add(chance.choice([slot for slot in range(SLOTS) if slot not in self.running]))
            self.compacting.append(self.compact(f"session-{len(self.compacting) % CLIENTS}"))

    def compact(self, name: str) -> str:
        """Compact a session's cassette; return what went wrong."""
        command = [*RINGBACK, "cassettes", "compact", name, "--cassettes", URL]
        environ = {**self.environ, "XDG_CACHE_HOME": str(self.directory / "cache-compact")}
        done = subprocess.run(
            self.hosts.command("clients", *command), env=environ, capture_output=True, text=True, check=False
        )
        return done.stderr

    def inbox(self, slot: int) -> Counter[str]:
        """Count the answers that a replica's Inbox shows, by session."""
        address = self.hosts.address(self.hosts.replica(slot))
        with self.hosts.inside("clients"):
            connection = http.client.HTTPConnection(address, self.ports[slot], timeout=60)
            connection.request(
                "GET", "/ringback/requests?limit=1000000", headers={"Authorization": f"Bearer {PASSWORD}"}
            )
            found = json.loads(connection.getresponse().read())
            connection.close()
        return Counter(one["session"] for one in found["requests"] if one["status"] == 201)

    @property
    def logs(self) -> str:
        return "".join(one.read_text() for one in sorted(self.directory.glob("log-*.txt")))


@contextlib.contextmanager
def haproxy(fleet: Fleet) -> Iterator[None]:
    program = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    if program is None:
        pytest.skip("there is no haproxy")
    hosts = fleet.hosts
    servers = "".join(
        f"  server r{slot} {hosts.address(hosts.replica(slot))}:{port} check inter 200ms fall 1 rise 1\n"
        for slot, port in enumerate(fleet.ports)
    )
    config = fleet.directory / "haproxy.cfg"
    config.write_text(
        "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n"
        f"  option redispatch\n  retries 3\nlisten fleet\n  bind {hosts.address('front')}:{fleet.front}\n"
        f"  balance roundrobin\n{servers}"
    )
    command = hosts.command("front", program, "-f", str(config), "-db")
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def running(hosts: Hosts, directory: Path, *options: str) -> Iterator[Fleet]:
    directory.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        with hosts.inside("store"):
            store = stack.enter_context(s3_server(hosts.address("store")))
        valkey = stack.enter_context(server(directory, hosts=hosts.network))
        store.page = 1000
        fleet = Fleet(hosts, directory, store, valkey, options)
        stack.callback(fleet.stop)
        yield fleet


class Client:
    """A program with a session of its own, which opens a new connection now and then."""

    def __init__(self, address: tuple[str, int], name: str, trusted: ssl.SSLContext) -> None:
        self.address, self.name, self.trusted = address, name, trusted
        self.connection: http.client.HTTPSConnection | None = None
        self.left = 0
        self.failures = 0
        self.times: list[float] = []  # milliseconds of each answer

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def ask(self, body: str) -> tuple[http.client.HTTPResponse, dict[str, Any]]:
        """Ask until there is an answer; each attempt that got none is counted."""
        end = time.monotonic() + 120
        while True:
            try:
                began = time.perf_counter()
                found = self._ask(body)
            except (OSError, http.client.HTTPException, ssl.SSLError):
                self.failures += 1
                self.close()
                assert time.monotonic() < end, f"no replica answers {self.name}"
                time.sleep(0.05)
            else:
                self.times.append((time.perf_counter() - began) * 1000)
                return found

    def _ask(self, body: str) -> tuple[http.client.HTTPResponse, dict[str, Any]]:
        if self.connection is None or not self.left:
            self.close()
            made = http.client.HTTPSConnection(*self.address, context=self.trusted, timeout=30)
            pair = base64.b64encode(f"{self.name}:{PASSWORD}".encode()).decode()
            made.set_tunnel("api.twilio.com", 443, {"Proxy-Authorization": f"Basic {pair}"})
            self.connection, self.left = made, 5
        self.left -= 1
        form = urlencode({**GOOD["Messages"], "Body": body})
        fields = {"Content-Type": "application/x-www-form-urlencoded", basic()[0]: basic()[1]}
        self.connection.request("POST", path(), form, fields)
        answer = self.connection.getresponse()
        return answer, json.loads(answer.read())


def everybody(work: Callable[[int], None], count: int = CLIENTS) -> None:
    """Run `work` for each client at once; the first error of any is raised."""
    wrong: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            work(number)
        except BaseException as error:  # noqa: BLE001 - of a thread
            wrong.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(count)]
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


def report(title: str, **figures: object) -> None:
    sys.stdout.write(
        f"\n{title}\n" + "".join(f"  {name.replace('_', ' ')}: {value}\n" for name, value in figures.items())
    )


def quantiles(times: list[float]) -> str:
    found = sorted(times)
    return f"p50 {found[len(found) // 2]:.2f} ms, p99 {found[len(found) * 99 // 100]:.2f} ms"


def prepare(directory: Path, store: Store) -> None:
    """Put a cassette for each session into the store: one request, many times, with numbers as answers."""
    recorder = CassetteManager(CassetteOptions(directory), "auto")
    request = post("Messages", {**GOOD["Messages"], "Body": "same"})
    fields = (("Content-Type", "application/json"),)

    async def record() -> None:
        made = [
            Answer(201, "CREATED", fields, json.dumps({"n": number}).encode(), Source("live"))
            for number in range(RECORDINGS)
        ]
        await asyncio.gather(*(recorder.record(request, one, "session") for one in made))  # in this order

    asyncio.run(record())
    recorder.close()
    data = (directory / "session.yaml").read_bytes()
    for number in range(CLIENTS):
        store.objects[f"fleet/recorded/session-{number}.yaml"] = data


@dataclass
class Session:
    """One client's session, and what it saw."""

    replayed: list[int] = field(default_factory=list)
    acknowledged: set[str] = field(default_factory=set)
    answers: int = 0
    wrong: int = 0
    not_recorded: int = 0
    failures: int = 0
    times: list[float] = field(default_factory=list)

    def turn(self, client: Client, body: str, chance: random.Random) -> None:
        """Replay the recorded request, record a new one, and now and then ask for an old one again."""
        answer, got = client.ask("same")
        self.replayed.append(int(got.get("n", -1)))
        again = (
            chance.choice(sorted(self.acknowledged)) if self.acknowledged and chance.random() < 0.2 else ""
        )
        for text in (body, again):
            if not text:
                continue
            answer, got = client.ask(text)
            self.answers += 1
            self.wrong += answer.status != 201 or str(got.get("n")) != text
            recorded = "#" in (answer.getheader("Ringback-Cassette") or "")
            self.not_recorded += not recorded
            if recorded:
                self.acknowledged.add(text)
        self.answers += 1

    @property
    def out_of_order(self) -> bool:
        return -1 in self.replayed or self.replayed != sorted(set(self.replayed))

    @property
    def skipped(self) -> int:
        """How many recordings were skipped, beyond those that attempts without an answer took with them."""
        return max(0, (self.replayed[-1] + 1 if self.replayed else 0) - len(self.replayed) - self.failures)


def test_a_fleet_loses_and_mixes_up_nothing(tmp_path: Path, upstream_ca: ThrowAway, hosts: Hosts) -> None:
    def rule(seen: Seen) -> bytes:
        body = dict(seen.form)["Body"]
        return twilio(201, None, n=-1 if body == "same" else int(body))  # the recorded request is never sent

    with hosts.inside("upstream"), loopback_upstream(upstream_ca, host=hosts.address("upstream")) as upstream:
        upstream.rule = rule
        options = ("--mode", "auto", "--cassettes", URL, "--repeats", "error", "--upstream", upstream.url)
        more = ("--upstream-ca", str(upstream.ca), "--journal", "1000000")
        with running(hosts, tmp_path / "fleet", *options, *more) as fleet, haproxy(fleet):
            prepare(tmp_path / "prepared", fleet.store)
            context = trusted(fleet)
            for slot in range(REPLICAS):
                fleet.add(slot)
            sessions = [Session() for _ in range(CLIENTS)]
            front = (hosts.address("front"), fleet.front)
            began = time.monotonic()
            end = began + SECONDS

            def work(number: int) -> None:
                chance, mine = random.Random(number), sessions[number]
                client = Client(front, f"session-{number}", context)
                pause = CLIENTS / RATE * 2.2  # a turn has 2.2 requests
                following = began + pause * chance.random()
                with hosts.inside("clients"):
                    for turn in range(1, RECORDINGS):
                        time.sleep(max(0.0, following - time.monotonic()))
                        following = max(following + pause, time.monotonic() - pause)
                        if time.monotonic() > end:
                            break
                        mine.turn(client, str(number * 1_000_000 + turn), chance)
                    client.close()
                mine.failures, mine.times = client.failures, client.times

            churning = threading.Thread(target=fleet.churn, args=(end,))
            churning.start()
            everybody(work)
            took = time.monotonic() - began
            churning.join()
            answers = sum(one.answers for one in sessions)
            inboxes = complete(
                fleet, Counter({f"session-{n}": one.answers for n, one in enumerate(sessions)})
            )
            segments = len(fleet.store.names("segments"))
            lost = 0
            for number, one in enumerate(sessions):
                said = fleet.compact(f"session-{number}")
                assert not said, said
                data = fleet.store.objects[f"fleet/recorded/session-{number}.yaml"].decode()
                lost += len(one.acknowledged - set(re.findall(r"\bBody=(\d+)", data)))
            left = len(fleet.store.names("segments"))
            report(
                "a fleet under load" + (", in network namespaces" if hosts.network else ", on loopback"),
                seconds=f"{took:.0f}",
                clients_with_a_session_each=CLIENTS,
                answers=answers,
                wrong=sum(one.wrong for one in sessions),
                replayed=sum(len(one.replayed) for one in sessions),
                sessions_out_of_order=sum(one.out_of_order for one in sessions),
                skipped_without_a_failed_attempt=sum(one.skipped for one in sessions),
                acknowledged_recordings=sum(len(one.acknowledged) for one in sessions),
                lost=lost,
                not_recorded=sum(one.not_recorded for one in sessions),
                probes=len(upstream.probes),
                in_the_Inbox_of_each_replica=", ".join(f"{found} of {answers}" for found in inboxes),
                replicas_started=fleet.started,
                killed=fleet.killed,
                attempts_without_an_answer=sum(one.failures for one in sessions),
                compacted_under_load=f"{len(fleet.compacting)} times",
                compacting_that_failed=sum(map(bool, fleet.compacting)),
                segments=f"{segments} at the end, {left} after compacting",
                answers_took=quantiles([one for session in sessions for one in session.times]),
            )
            assert answers > 0
            assert [one.wrong for one in sessions if one.wrong] == []
            assert [n for n, one in enumerate(sessions) if one.out_of_order or one.skipped] == []
            assert (lost, left) == (0, 0)
            assert len(upstream.probes) == 1, "one pair of credentials in the whole fleet"
            # A journal has 64 MiB besides, of which an entry takes less than 2,300 bytes here.
            assert min(inboxes) == max(inboxes) >= min(answers, MAX_BYTES // 2300)
            assert "Traceback" not in fleet.logs
            assert not [one for one in (PASSWORD, SECRET, TOKEN) if one in fleet.logs]


def complete(fleet: Fleet, wanted: Counter[str]) -> list[int]:
    """Return how many of the wanted answers each replica's Inbox shows, after a minute at most."""
    deadline = time.monotonic() + 60
    while True:
        found = [
            sum(min(shown[name], count) for name, count in wanted.items())
            for shown in map(fleet.inbox, list(fleet.running))
        ]
        if time.monotonic() > deadline or set(found) == {wanted.total()}:
            return found
        time.sleep(0.5)


def test_what_shared_state_costs(tmp_path: Path) -> None:
    figures = {}
    with running(Hosts(None), tmp_path / "fleet", "--mode", "offline", "--cassettes", URL) as fleet:
        prepare(tmp_path / "prepared", fleet.store)
        context = trusted(fleet)
        for name, state in (("in_process", False), ("shared", True)):
            fleet.state = state
            fleet.add(0)
            client = Client(("127.0.0.1", fleet.ports[0]), "session-0", context)
            for _ in range(1100):
                client.left = max(client.left, 2) if client.connection else 0
                client.ask("same")
            client.close()
            figures[name] = quantiles(client.times[100:])
            fleet.stop()
    report("a replayed answer, one client, one connection", **figures)
    assert len(figures) == 2


def processor_seconds(process: subprocess.Popen[bytes]) -> float:
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_answers_a_second_by_replicas(tmp_path: Path) -> None:
    figures: dict[str, str] = {"processors": str(len(os.sched_getaffinity(0)))}
    with (
        running(Hosts(None), tmp_path / "fleet", "--mode", "offline", "--cassettes", URL) as fleet,
        haproxy(fleet),
    ):
        prepare(tmp_path / "prepared", fleet.store)
        context = trusted(fleet)
        for count in range(1, REPLICAS + 1):
            fleet.add(count - 1)
            clients = [Client(("127.0.0.1", fleet.front), f"session-{n}", context) for n in range(12)]
            for client in clients:
                client.ask("same")  # the cassette is open, and HAProxy knows the replica
            used = sum(map(processor_seconds, fleet.running.values()))
            began = time.monotonic()

            def work(number: int, clients: list[Client] = clients, end: float = began + 8) -> None:
                client = clients[number]
                while time.monotonic() < end:
                    client.left = max(client.left, 2)
                    client.ask("same")
                client.close()

            everybody(work, len(clients))
            took = time.monotonic() - began
            used = sum(map(processor_seconds, fleet.running.values())) - used
            answers = sum(len(client.times) - 1 for client in clients)
            figures[f"{count}_replica{'s' * (count > 1)}"] = (
                f"{answers / took:.0f} answers a second; {answers / used:.0f} for each second of a processor "
                f"of the replicas, which had {used / took:.2f} processors"
            )
    report("replayed answers with shared state, by replicas; clients on the same machine", **figures)
    assert len(figures) == REPLICAS + 1
