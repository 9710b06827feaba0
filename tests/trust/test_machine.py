"""Faults of the machine: a disk, a clock, signals and directories that do what they should not.

A library loaded before libc makes the disk and the clock of one proxy misbehave; `tests/support/shim.c`
has it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.clients import GOOD, http
from support.exchanges import Shelf
from support.proxying import RINGBACK, environment, serve
from support.upstream import arguments, loopback_upstream, twilio
from support.writers import recorded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.clients import Response
    from support.proxying import Serving
    from support.upstream import LoopbackUpstream, Seen, ThrowAway

PROMISE = "what a client was told is recorded is recorded, and every client is served"
TRIED = "disks, clocks, signals and directories that misbehave"
LARGE = "TRUST_SCALE" in os.environ
REQUESTS = 200 if LARGE else 8
CLIENTS = 16
YEARS = 365 * 24 * 3600
SHIM = Path(__file__).parents[1] / "support" / "shim.c"


@pytest.fixture
def upstream(upstream_ca: ThrowAway) -> Iterator[LoopbackUpstream]:
    """An upstream whose answers repeat the number in the Body of their requests."""

    def rule(seen: Seen) -> bytes:
        return twilio(201, None, n=int(dict(seen.form)["Body"]))

    with loopback_upstream(upstream_ca) as server:
        server.rule = rule
        yield server


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library, compiled."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler here")
    library = tmp_path_factory.mktemp("shim") / "shim.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(SHIM), "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"the C compiler cannot build a library for libc here: {done.stderr[-200:]}")
    return library


@pytest.fixture
def machine(shim: Path, tmp_path: Path, shelf: Shelf) -> tuple[dict[str, str], Callable[[str, str], None]]:
    """The variables of a proxy on a machine with faults, and what sets one: its kind, and what it says."""
    said = tmp_path / "shim"
    said.mkdir()

    def fault(kind: str, word: str) -> None:
        draft = said / "draft"
        draft.write_text(word)
        draft.replace(said / kind)

    variables = {
        "LD_PRELOAD": str(shim),
        "RINGBACK_SHIM": str(said),
        "RINGBACK_SHIM_BELOW": str(shelf.directory),
    }
    return variables, fault


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "cassettes")


def asked(running: Serving, number: int, *, verified: bool = True) -> Response:
    with running.wire() as wire:
        wire.tunnel("api.twilio.com:443").tls(running.ca if verified else None)
        return wire.send(http(form={**GOOD["Messages"], "Body": f"{number}"})).response()


def told(got: Response) -> str:
    assert got.status == 201
    return got.header("Ringback-Cassette") or ""


@pytest.mark.parametrize("fault", ["eio", "fsync", "short"])
def test_a_disk_that_fails_now_and_then_loses_nothing_that_was_acknowledged(
    upstream: LoopbackUpstream, home: Path, tmp_path: Path, shelf: Shelf, machine: tuple, fault: str
) -> None:
    variables, say = machine
    options = [*arguments(upstream, "auto"), "--cassettes", str(shelf.directory)]
    kept, lost = [], []
    with serve(home, tmp_path, *options, more=variables) as running:
        for number in range(REQUESTS):
            say("fault", fault if number % 3 == 1 else "none")
            (kept if told(asked(running, number)).startswith("default#") else lost).append(number)
    assert recorded(shelf.file()) == kept
    assert len(lost) == (0 if fault == "short" else len(range(1, REQUESTS, 3)))
    assert "Traceback" not in running.stderr()


def test_a_cassette_directory_that_goes_away(
    upstream: LoopbackUpstream, home: Path, tmp_path: Path, shelf: Shelf
) -> None:
    options = [*arguments(upstream, "auto"), "--cassettes", str(shelf.directory)]
    with serve(home, tmp_path, *options) as running:
        assert told(asked(running, 1)) == "default#1"
        shutil.rmtree(shelf.directory)
        said = [told(asked(running, number)) for number in range(2, 2 + REQUESTS)]
        kept = [number for number, text in enumerate(said, 2) if text.startswith("default#")]
        assert set(kept) <= set(recorded(shelf.file()) if shelf.file().exists() else [])
        assert json_number(asked(running, 1)) == 1
    assert "Traceback" not in running.stderr()


def json_number(got: Response) -> int:
    return int(got.json()["n"])


@pytest.mark.parametrize("years", [1.5, 30, -20])
def test_a_clock_that_jumps(
    upstream: LoopbackUpstream, home: Path, tmp_path: Path, shelf: Shelf, machine: tuple, years: float
) -> None:
    """Past the end of the CA, decades on, and back to before anything was there: who verifies is told so."""
    variables, say = machine
    options = [*arguments(upstream, "auto"), "--cassettes", str(shelf.directory)]
    with serve(home, tmp_path, *options, more=variables) as running:
        assert told(asked(running, 1)) == "default#1"
        say("clock", f"{years * YEARS:.0f}")
        # The client's clock is right: it takes a certificate from before, and none that is made now.
        assert json_number(asked(running, 1)) == 1
        assert told(asked(running, 2)) == "default#2"
        with running.wire() as wire:
            wire.tunnel("lookups.twilio.com:443").tls(None, "lookups.twilio.com")
            assert wire.send(http(host="lookups.twilio.com")).response().status == 403
        say("clock", "0")
        assert told(asked(running, 3)) == "default#3"
    assert recorded(shelf.file()) == [1, 2, 3]
    assert "Traceback" not in running.stderr()
    assert ("the CA's certificate ended on" in running.stderr()) == (years > 0)


def test_a_ca_that_is_deleted_while_the_proxy_runs(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    with serve(tmp_path / "home", tmp_path) as running:
        assert running.ask(http(form=GOOD["Messages"])).status == 201  # the start is over
        ca = tmp_path / "ca.pem"
        shutil.copy(running.ca, ca)
        shutil.rmtree(tmp_path / "home", ignore_errors=True)  # the proxy may write something else there
        assert not running.ca.exists()
        for name in ("api.twilio.com", "lookups.twilio.com"):
            with running.wire() as wire:
                wire.tunnel(f"{name}:443").tls(ca, name)
                assert wire.send(http(host=name, form=GOOD["Messages"])).response().status in {201, 403}
    assert "Traceback" not in running.stderr()


def test_a_temporary_directory_that_goes_away(home: Path, tmp_path: Path) -> None:
    """OpenSSL reads certificates from a file in it: a new name gets none, and is told so."""
    (tmp_path / "temporary").mkdir()
    with serve(home, tmp_path, more={"TMPDIR": str(tmp_path / "temporary")}) as running:
        with running.twilio() as wire:
            assert wire.send(http(form=GOOD["Messages"])).response().status == 201
        shutil.rmtree(tmp_path / "temporary")
        with running.wire() as wire:
            wire.tunnel("lookups.twilio.com:443")
            with pytest.raises(OSError, match=r"EOF|reset"):
                wire.tls(None, "lookups.twilio.com")
        with running.twilio() as wire:
            assert wire.send(http(form=GOOD["Messages"])).response().status == 201
    assert "Traceback" not in running.stderr()
    assert "no certificate can be made for lookups.twilio.com" in running.stderr()


def test_stopping_and_going_on_under_load_loses_nothing(
    upstream: LoopbackUpstream, home: Path, tmp_path: Path, shelf: Shelf
) -> None:
    options = [*arguments(upstream, "auto"), "--cassettes", str(shelf.directory)]
    done: list[int] = []
    failed: list[BaseException] = []
    with serve(home, tmp_path, *options) as running:

        def client(first: int) -> None:
            try:
                numbers = range(first, first + max(2, REQUESTS // 8))
                done.extend(one for one in numbers if told(asked(running, one)).startswith("default#"))
            except BaseException as error:  # noqa: BLE001 - shown by the test
                failed.append(error)

        threads = [threading.Thread(target=client, args=(number * 1000,)) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            running.process.send_signal(signal.SIGSTOP)
            running.process.send_signal(signal.SIGCONT)
            threads[0].join(0.05)
            for thread in threads[1:]:
                thread.join(0.01)
    assert not failed
    assert done
    held = recorded(shelf.file())
    assert set(done) <= set(held)
    assert len(held) == len(set(held))


def test_a_file_that_may_not_grow(
    upstream: LoopbackUpstream, home: Path, tmp_path: Path, shelf: Shelf
) -> None:
    """A limit of the system on the size of files: its signal does not end the proxy."""
    resource = pytest.importorskip("resource", reason="this system has no limits of that kind")
    options = [*arguments(upstream, "auto"), "--cassettes", str(shelf.directory)]
    with serve(home, tmp_path, *options) as running:
        if not hasattr(resource, "prlimit"):
            pytest.skip("this system cannot limit another process")
        resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (5000, 5000))
        said = [told(asked(running, number)) for number in range(16)]
        kept = [number for number, text in enumerate(said) if text.startswith("default#")]
        assert 0 < len(kept) < len(said)
        assert recorded(shelf.file()) == kept
    assert "Traceback" not in running.stderr()


def test_two_commands_that_make_the_ca_at_once_agree(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    command = [*RINGBACK, "ca"]
    asking = [
        subprocess.Popen(command, env=environment(tmp_path / "home"), stdout=subprocess.PIPE)
        for _ in range(4 if LARGE else 2)
    ]
    texts = [process.communicate(timeout=120)[0] for process in asking]
    assert {process.returncode for process in asking} == {0}
    assert texts[0]
    assert set(texts) == {texts[0]}
