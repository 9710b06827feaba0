"""The whole proxy, ended at any moment or without a disk: what a client was told is recorded is recorded."""

from __future__ import annotations

import json
import random
import threading
from typing import TYPE_CHECKING

import pytest

from support.clients import GOOD, Response, basic, http
from support.exchanges import Shelf
from support.mounts import read_only, tmpfs
from support.proxying import serve
from support.upstream import arguments, twilio
from support.writers import recorded

if TYPE_CHECKING:
    from pathlib import Path

    from support.proxying import Serving
    from support.upstream import LoopbackUpstream, Seen

ROUNDS = 20
CLIENTS = 16


def numbering(upstream: LoopbackUpstream) -> None:
    """Each answer repeats the number that its request has in its body."""

    def rule(seen: Seen) -> bytes:
        return twilio(201, None, n=int(dict(seen.form)["Body"]))

    upstream.rule = rule


def asked(running: Serving, number: int, name: str | None = None) -> Response:
    more = b"" if name is None else f"Proxy-Authorization: {basic(name, 'x')[1]}\r\n".encode()
    with running.wire() as wire:
        wire.tunnel("api.twilio.com:443", more).tls(running.ca)
        return wire.send(http(form={**GOOD["Messages"], "Body": f"{number}"})).response()


def load(running: Serving, first: int, enough: int, done: list[int]) -> threading.Event:
    """Several clients that ask until they fail; `done` gets what was acknowledged as recorded."""
    reached = threading.Event()
    lock = threading.Lock()
    numbers = iter(range(first, first + 100_000))

    def client() -> None:
        while True:
            with lock:
                number = next(numbers)
            try:
                got = asked(running, number)
            except (OSError, AssertionError):
                reached.set()
                return
            if not (got.header("Ringback-Cassette") or "").startswith("default#"):
                continue  # a busy machine: the mock upstream was too slow, so the contract answered
            with lock:
                done.append(number)
                if len(done) >= enough:
                    reached.set()

    for _ in range(CLIENTS):
        threading.Thread(target=client, daemon=True).start()
    return reached


@pytest.mark.slow
def test_20_kills_of_the_proxy_under_load_lose_nothing(
    upstream: LoopbackUpstream, home: Path, tmp_path: Path
) -> None:
    numbering(upstream)
    moments = random.Random(5)
    shelf = Shelf(tmp_path / "cassettes")
    acknowledged: list[int] = []
    for round_ in range(ROUNDS):
        directory = tmp_path / f"round-{round_}"
        directory.mkdir()
        done: list[int] = []
        with serve(
            home, directory, *arguments(upstream, "auto"), "--cassettes", str(shelf.directory)
        ) as running:
            reached = load(running, round_ * 100_000, moments.randrange(1, 60), done)
            assert reached.wait(120)
            running.process.kill()
            running.process.wait(30)
        assert done, "nothing was acknowledged"
        acknowledged += done
        assert set(acknowledged) <= set(recorded(shelf.file())), f"round {round_}"
    with serve(home, tmp_path, "--strict", "--cassettes", str(shelf.directory)) as running:
        for number in random.Random(6).sample(acknowledged, 20):
            assert json.loads(asked(running, number).body)["n"] == number


def test_a_full_disk_is_reported_once_and_every_client_served(
    upstream: LoopbackUpstream, home: Path, tmp_path: Path
) -> None:
    numbering(upstream)
    with tmpfs(tmp_path / "small", kilobytes=16) as mounted:
        shelf = Shelf(mounted / "cassettes")
        with serve(
            home, tmp_path, *arguments(upstream, "online"), "--cassettes", str(shelf.directory)
        ) as running:
            said = [asked(running, number).header("Ringback-Cassette") or "" for number in range(40)]
        kept = [number for number, text in enumerate(said) if text.startswith("default#")]
        lost = [text for text in said if text.startswith("not recorded")]
        assert kept
        assert lost
        assert len(kept) + len(lost) == 40
        assert "No space left on device; free some space" in lost[0]
        assert recorded(shelf.file()) == kept
    assert running.stderr().count("No space left on device") == 1
    assert "Traceback" not in running.stderr()


@pytest.mark.parametrize("mode", ["auto", "online"])
def test_a_read_only_directory_is_reported_and_every_client_served(
    upstream: LoopbackUpstream, home: Path, tmp_path: Path, mode: str
) -> None:
    numbering(upstream)
    shelf = Shelf(tmp_path / "cassettes")
    shelf.directory.mkdir()
    with (
        read_only(shelf.directory, tmp_path / "frozen") as frozen,
        serve(home, tmp_path, *arguments(upstream, mode), "--cassettes", str(frozen)) as running,
    ):
        for number in range(3):
            got = asked(running, number)
            assert got.status == 201
            assert "Read-only file system; name a writable directory" in (
                got.header("Ringback-Cassette") or ""
            )
    assert running.stderr().count("Read-only file system") == 1
    assert "Traceback" not in running.stderr()


def test_two_proxies_on_one_cassette_lose_nothing(
    upstream: LoopbackUpstream, home: Path, tmp_path: Path
) -> None:
    numbering(upstream)
    shelf = Shelf(tmp_path / "cassettes")
    options = [*arguments(upstream, "auto"), "--cassettes", str(shelf.directory)]
    done: list[list[int]] = [[], []]
    for number in range(2):
        (tmp_path / str(number)).mkdir()
    with (
        serve(home, tmp_path / "0", *options) as one,
        serve(home, tmp_path / "1", *options) as other,
    ):
        reached = [load(running, at * 100_000, 40, done[at]) for at, running in enumerate((one, other))]
        assert all(event.wait(120) for event in reached)
    held = recorded(shelf.file())
    assert set(done[0]) | set(done[1]) <= set(held)
    assert len(held) == len(set(held))


def test_a_second_proxy_that_records_afresh_is_reported(
    upstream: LoopbackUpstream, home: Path, tmp_path: Path
) -> None:
    numbering(upstream)
    shelf = Shelf(tmp_path / "cassettes")
    options = [*arguments(upstream, "online"), "--cassettes", str(shelf.directory)]
    for number in range(2):
        (tmp_path / str(number)).mkdir()
    with (
        serve(home, tmp_path / "0", *options) as one,
        serve(home, tmp_path / "1", *options) as other,
    ):
        assert asked(one, 1).header("Ringback-Cassette") == "default#1"
        got = asked(other, 2)
        assert got.status == 201
        assert "another process is recording this cassette afresh" in (got.header("Ringback-Cassette") or "")
    assert recorded(shelf.file()) == [1]
