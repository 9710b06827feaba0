"""The measurements. Subjects take turns, so that a busy moment of the machine hits all of them."""

from __future__ import annotations

import json
import resource
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks.cassettes import make_cassette
from benchmarks.cassettes import run as run_cassette
from benchmarks.load import Load, arguments
from benchmarks.subjects import (
    API,
    BYTES,
    JOURNALS,
    RELAY,
    RINGBACK,
    ROOT,
    Running,
    Subject,
    Workplace,
    haproxy,
    recording,
    run,
    with_cassette,
    with_shelf,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SERVER_CORE, LOAD_CORE = 0, 1
RUN_TRUE = "ringback run -- true, in all"
DIRECT = "direct"


@dataclass
class Figure:
    """One measured figure over several rounds.

    Attributes:
        values: One for each round.
    """

    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The median, or 0 without any round."""
        return statistics.median(self.values) if self.values else 0.0

    @property
    def spread(self) -> float:
        """The largest value less the smallest, as a share of the median."""
        return (max(self.values) - min(self.values)) / self.median if self.median else 0.0

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"median": self.median, "spread": self.spread, "values": self.values}


Row = dict[str, Figure]
Table = dict[str, Row]


@dataclass(frozen=True)
class Plan:
    """Extent of the measurements.

    Attributes:
        rounds: How often each subject has its turn.
        seconds: How long each load lasts.
        messages: How many messages twilio-python sends.
        pinned: Whether subjects and load have a core of their own.
    """

    rounds: int = 5
    seconds: float = 2.0
    messages: int = 200
    pinned: bool = True

    @property
    def server_core(self) -> int | None:
        """The subjects' core."""
        return SERVER_CORE if self.pinned else None

    @property
    def load_core(self) -> int | None:
        """The generator's core."""
        return LOAD_CORE if self.pinned else None


def put(table: Table, name: str, figures: dict[str, float]) -> None:
    """Add one round's `figures` to the row called `name`."""
    row = table.setdefault(name, {})
    for key, value in figures.items():
        row.setdefault(key, Figure()).values.append(value)


def ask(running: Running, place: Workplace, load: dict[str, Any]) -> dict[str, float]:
    """Put a load on a subject: its figures, and the subject's own processor time for each answer.

    Raises:
        RuntimeError: The generator failed, or answers were wrong.
    """
    subject = running.subject
    ca = str(place.ca) if subject.verified else ""
    wanted = Load(port=running.port, ca=ca, proxy=subject.proxy, **load)
    before = running.cpu()
    done = subprocess.run(
        arguments(wanted), env=place.environment(), cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{subject.name}: the generator failed: {done.stderr.strip()[-500:]}")
    got: dict[str, float] = json.loads(done.stdout)
    if got["wrong"] > got["answers"] / 1000:
        raise RuntimeError(f"{subject.name}: {got['wrong']} wrong answers: {done.stderr.strip()[-500:]}")
    got["cpu"] = (running.cpu() - before) / max(1.0, got["answers"]) * 1e6
    return got


def in_turns(  # noqa: PLR0913 - what a measurement is made of
    subjects: Sequence[Subject],
    place: Workplace,
    plan: Plan,
    measure: Callable[[Running], dict[str, float]],
    print_message: Callable[[str], None],
    beside: Sequence[tuple[str, Callable[[], dict[str, float]]]] = (),
) -> Table:
    """Each subject's figures, a fresh process for each of its turns.

    Args:
        subjects: Who takes turns.
        place: Where.
        plan: How often, and on which core.
        measure: Gives the figures of a subject that runs.
        print_message: Reports the progress.
        beside: What takes its turn too and is no subject: its name, and what gives its figures.
    """
    table: Table = {}
    for turn in range(plan.rounds):
        for subject in subjects:
            print_message(f"round {turn + 1}/{plan.rounds}: {subject.name}")
            with run(subject, place, plan.server_core) as running:
                started = {"ready": running.ready, "ready cpu": running.cpu(), "idle": running.resident()}
                put(table, subject.name, {**started, **measure(running)})
        for name, other in beside:
            print_message(f"round {turn + 1}/{plan.rounds}: {name}")
            put(table, name, other())
    return table


def rates(
    subjects: Sequence[Subject], place: Workplace, plan: Plan, print_message: Callable[[str], None]
) -> Table:
    """Answers a second over kept connections and over a new one for each, with their latencies.

    Kept connections are measured with both shapes: head and body in one TLS record ("one"), and in two as
    twilio-python sends them ("two"). New connections send two.
    """
    common = {"seconds": plan.seconds, "core": plan.load_core}

    def measure(running: Running) -> dict[str, float]:
        ask(running, place, {"seconds": min(0.5, plan.seconds), "core": plan.load_core})  # warm
        found: dict[str, float] = {}
        for shape, writes in (("one", 1), ("two", 2)):
            kept = ask(running, place, {**common, "writes": writes})
            found |= {shape: kept["rate"], f"{shape} cpu": kept["cpu"], f"{shape} busy": kept["busy"]}
        fresh = ask(running, place, {**common, "fresh": True, "writes": 2})
        return {
            **found,
            "p50": kept["p50"],
            "p99": kept["p99"],
            "fresh": fresh["rate"],
            "fresh cpu": fresh["cpu"],
            "fresh busy": fresh["busy"],
        }

    return in_turns(subjects, place, plan, measure, print_message)


def starts(
    subjects: Sequence[Subject], place: Workplace, plan: Plan, print_message: Callable[[str], None]
) -> Table:
    """Seconds until each accepts connections, processor time until then, and idle memory.

    In the same turns: `ringback run -- true`, from its start to its end.
    """
    run_true = ["-m", "ringback", "run", "--allow-none", "-q", "--", "true"]
    return in_turns(
        subjects,
        place,
        plan,
        lambda _running: {},
        print_message,
        [(RUN_TRUE, lambda: whole(place, run_true))],
    )


def recordings(place: Workplace, plan: Plan, print_message: Callable[[str], None]) -> Table:
    """Answers a second of proxies that forward to the same upstream and write every answer to a file."""
    common = {"seconds": plan.seconds, "core": plan.load_core, "writes": 2}

    def measure(running: Running) -> dict[str, float]:
        ask(running, place, {**common, "seconds": min(0.5, plan.seconds)})  # proof, connections
        got = ask(running, place, common)
        return {"rate": got["rate"], "cpu": got["cpu"], "p50": got["p50"], "p99": got["p99"]}

    with run(API, place, plan.load_core) as upstream:
        return in_turns(recording(upstream.port), place, plan, measure, print_message)


def tunnels(place: Workplace, plan: Plan, size: int, print_message: Callable[[str], None]) -> Table:
    """Megabytes a second from another host, and the proxy's milliseconds of processor time for each.

    Upstream and client share a core and the proxy has the other, so "direct" is what these two can do.
    HAProxy, where it is installed, shows what a proxy that is written in C reaches.
    """
    with run(BYTES, place, plan.load_core) as upstream:

        def download(port: int, proxy: int | None) -> float:
            options = {"upstream": port, "proxy": proxy, "bytes": size, "core": plan.load_core}
            return _program(place, "benchmarks.peers.download", options)["seconds"]

        def measure(running: Running) -> dict[str, float]:
            before = running.cpu()
            relays = not running.subject.proxy  # to the upstream, without being told by CONNECT
            seconds = download(running.port, None) if relays else download(upstream.port, running.port)
            return {"rate": size / 1e6 / seconds, "cpu": (running.cpu() - before) * 1000 / (size / 1e6)}

        beside = [(DIRECT, lambda: {"rate": size / 1e6 / download(upstream.port, None)})]
        subjects = [RINGBACK, RELAY]
        if shutil.which("haproxy"):
            subjects.append(haproxy(upstream.port))
        return in_turns(subjects, place, plan, measure, print_message, beside)


def clients(
    subjects: Sequence[Subject], place: Workplace, plan: Plan, print_message: Callable[[str], None]
) -> Table:
    """twilio-python's own latency through each proxy, in milliseconds; and vcrpy's in the same process."""

    def measure(running: Running) -> dict[str, float]:
        return client(place, {"port": running.port, "ca": str(place.ca), "messages": plan.messages})

    options = {"cassette": str(place.directory / "vcr.yaml"), "size": 100, "messages": plan.messages}
    beside = [("vcrpy in process, 100 messages", lambda: client(place, options))]
    return in_turns(
        [subject for subject in subjects if subject.proxy], place, plan, measure, print_message, beside
    )


def client(place: Workplace, options: dict[str, Any]) -> dict[str, float]:
    """One run of the client's program."""
    got = _program(place, "benchmarks.peers.client", options)
    return {key: float(got[key]) for key in ("p50", "p99", "rate", "loaded")}


def _program(place: Workplace, module: str, options: dict[str, Any]) -> dict[str, Any]:
    """Run a client's program, and return the JSON object that it prints."""
    done = subprocess.run(
        [sys.executable, "-m", module, json.dumps(options)],
        env=place.environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{module} failed: {done.stderr.strip()[-500:]}")
    got: dict[str, Any] = json.loads(done.stdout)
    return got


def by_protocol(
    subjects: Sequence[Subject], place: Workplace, plan: Plan, print_message: Callable[[str], None]
) -> Table:
    """A Go program's latency, in milliseconds, where it would speak HTTP/2 and where it would not."""
    program = str(place.directory / "client")
    source = str(ROOT / "benchmarks" / "peers" / "client.go")
    subprocess.run(["go", "build", "-o", program, source], check=True, cwd=place.directory)

    def measure(running: Running) -> dict[str, float]:
        found: dict[str, float] = {}
        for offer in ("h1", "h2"):
            before = running.cpu()
            command = [program, str(running.port), str(place.ca), str(plan.messages * 5), offer]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            got = json.loads(done.stdout)
            found |= {f"{offer} p50": got["p50"], f"{offer} p99": got["p99"]}
            found[f"{offer} cpu"] = (running.cpu() - before) / (plan.messages * 5) * 1e6
            found[f"{offer} spoken"] = float(got["proto"].removeprefix("HTTP/"))
        return found

    return in_turns(subjects, place, plan, measure, print_message)


def by_connections(
    subjects: Sequence[Subject],
    place: Workplace,
    plan: Plan,
    counts: Sequence[int],
    print_message: Callable[[str], None],
) -> Table:
    """Answers a second and p99 by the number of connections."""

    def measure(running: Running) -> dict[str, float]:
        found: dict[str, float] = {}
        for count in counts:
            load = {"seconds": plan.seconds, "core": plan.load_core, "connections": count}
            got = ask(running, place, load)
            found |= {
                f"rate at {count}": got["rate"],
                f"p50 at {count}": got["p50"],
                f"p99 at {count}": got["p99"],
            }
        return found

    return in_turns(subjects, place, plan, measure, print_message)


def by_cassette(
    place: Workplace, plan: Plan, sizes: Sequence[int], print_message: Callable[[str], None]
) -> Table:
    """Answers a second from cassettes of several sizes, and the milliseconds until the first one."""
    asked = {}
    for size in sizes:
        subject = with_cassette(size)
        asked[subject.name] = size
        print_message(f"a cassette of {size:,}")
        make_cassette(place.directory / f"size-{size}.yaml", size)

    def measure(running: Running) -> dict[str, float]:
        load = {"core": plan.load_core, "recorded": asked[running.subject.name]}
        first = ask(running, place, {**load, "seconds": 0, "connections": 1})["p50"]
        # Each of the exchanges asked for is parsed when it is asked for the first time.
        ask(running, place, {**load, "seconds": plan.seconds})
        got = ask(running, place, {**load, "seconds": plan.seconds})
        return {"first": first, "rate": got["rate"], "cpu": got["cpu"]}

    return in_turns([with_cassette(size) for size in sizes], place, plan, measure, print_message)


def by_body(
    subjects: Sequence[Subject],
    place: Workplace,
    plan: Plan,
    sizes: Sequence[int],
    print_message: Callable[[str], None],
) -> Table:
    """Answers a second by the bytes of the message's text; beyond 1,600 characters the answer is an error."""

    def measure(running: Running) -> dict[str, float]:
        found: dict[str, float] = {}
        for size in sizes:
            status = 400 if size > 1600 and "ringback" in running.subject.name else 201
            load = {"seconds": plan.seconds, "core": plan.load_core, "bodies": size, "status": status}
            found[f"rate at {size}"] = ask(running, place, load)["rate"]
        return found

    return in_turns(subjects, place, plan, measure, print_message)


def memory(
    subject: Subject, place: Workplace, plan: Plan, answers: int, print_message: Callable[[str], None]
) -> dict[str, float]:
    """Megabytes idle, and after so many answers."""
    with run(subject, place, plan.server_core) as running:
        idle, given = running.resident(), 0.0
        while given < answers:
            given += ask(running, place, {"seconds": 10.0, "core": plan.load_core})["answers"]
            print_message(f"memory: {given:,.0f} answers, {running.resident():.0f} MB")
        return {"idle": idle, "answers": given, "after": running.resident()}


def journals(place: Workplace, plan: Plan, print_message: Callable[[str], None]) -> Table:
    """Processor time for an answer in one write, without the journal and with a full one."""
    load = {"seconds": plan.seconds, "core": plan.load_core, "writes": 1}

    def measure(running: Running) -> dict[str, float]:
        ask(running, place, load)  # the journal is full after 10,000 answers
        got = ask(running, place, load)
        return {"rate": got["rate"], "cpu": got["cpu"]}

    return in_turns(list(JOURNALS.values()), place, plan, measure, print_message)


def by_number(
    place: Workplace, plan: Plan, counts: Sequence[int], print_message: Callable[[str], None]
) -> Table:
    """Answers a second where each of so many clients has a cassette of its own, of 10 exchanges."""
    shelf = place.directory / "shelf"
    shelf.mkdir()
    make_cassette(shelf / "client-0.yaml", 10)
    for number in range(1, max(counts)):
        shutil.copy(shelf / "client-0.yaml", shelf / f"client-{number}.yaml")

    def measure(running: Running) -> dict[str, float]:
        found: dict[str, float] = {}
        for count in counts:
            load = {"core": plan.load_core, "recorded": 10, "fresh": True, "users": count}
            # Every cassette is opened when it is asked for the first time.
            ask(running, place, {**load, "seconds": plan.seconds})
            got = ask(running, place, {**load, "seconds": plan.seconds})
            found |= {f"rate at {count}": got["rate"], f"cpu at {count}": got["cpu"]}
        return found

    return in_turns([with_shelf("shelf")], place, plan, measure, print_message)


def first_answer(place: Workplace, size: int, print_message: Callable[[str], None]) -> dict[str, float]:
    """Seconds until the first answer from a cassette of `size`: Ringback's library and vcrpy, in process."""
    path = place.directory / f"size-{size}.yaml"
    if not path.exists():
        make_cassette(path, size)
    found = {}
    for who in ("ours", "vcrpy"):
        print_message(f"the first answer of {size:,}: {who}")
        found[who] = run_cassette(who, path, size)["first answer"]
    return found


def whole(place: Workplace, arguments: list[str]) -> dict[str, float]:
    """Seconds and processor time that a Python with `arguments` takes from its start to its end."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, *arguments]
    subprocess.run(command, env=place.environment(), cwd=place.directory, check=True, capture_output=True)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"ready": seconds, "ready cpu": cpu}
