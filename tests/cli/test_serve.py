"""`ringback serve` as a process."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import urllib.request
from typing import TYPE_CHECKING

import pytest

from support.clients import GOOD, http
from support.proxying import RINGBACK, environment, ringback, serve, wait_ready

if TYPE_CHECKING:
    from pathlib import Path

    from support.proxying import Serving


def test_it_is_ready_when_its_ready_file_is_there(serving: Serving) -> None:
    state = serving.ready
    assert state["pid"] == serving.process.pid
    assert (state["mode"], state["proxy"]) == ("offline", f"http://127.0.0.1:{state['port']}")
    for name in ("ca", "bundle"):
        with open(state[name]) as file:  # noqa: PTH123 - only whether it can be read
            assert "BEGIN CERTIFICATE" in file.read()
    assert serving.ask(http(form=GOOD["Messages"])).status == 201


def test_it_says_where_it_is_and_what_it_did(home: Path, tmp_path: Path) -> None:
    with serve(home, tmp_path) as running:
        running.ask(http(form=GOOD["Messages"]))
        running.ask(http("GET"))
        running.process.send_signal(signal.SIGTERM)
        stdout, _ = running.process.communicate(timeout=30)
    told = running.stderr()
    assert running.process.returncode == 0
    assert stdout == b""
    assert f"listening on {running.url} (offline)" in told
    assert f"clients trust {home}/ringback/ca/current/mitmproxy-ca-cert.pem" in told
    assert "2 Twilio requests answered, offline (contract 1, gate 1)" in told
    assert "1 x refused resource.unsupported: " in told


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_and_nothing_is_left(home: Path, tmp_path: Path, number: signal.Signals) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    with serve(home, tmp_path, more={"TMPDIR": str(temporary)}) as running:
        assert {it.name.startswith("ringback-") for it in temporary.iterdir()} == {True}
        running.process.send_signal(number)
        assert running.process.wait(30) == 0
    assert list(temporary.iterdir()) == []
    assert "Traceback" not in running.stderr()


def test_a_signal_with_open_connections_ends_it_too(home: Path, tmp_path: Path) -> None:
    with serve(home, tmp_path) as running, running.twilio() as wire:
        wire.send(http(form=GOOD["Messages"])).response()
        with running.wire() as other:
            other.send(b"CONN")
            running.process.send_signal(signal.SIGTERM)
            assert running.process.wait(30) == 0
    assert "Traceback" not in running.stderr()


def test_a_port_in_use(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = ringback(home, "serve", "--port", str(port))
    assert done.returncode == 5
    assert f"ringback: cannot start: cannot listen on 127.0.0.1:{port}: " in done.stderr
    assert "in use" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_of_ones_own(home: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    with serve(home, tmp_path, "--port", str(port)) as running:
        assert running.port == port


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_an_open_bind_wants_a_password(home: Path, host: str) -> None:
    done = ringback(home, "serve", "--host", host)
    assert done.returncode == 5
    assert f"{host} is reachable from other machines: set RINGBACK_PROXY_PASSWORD" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("host, here", [("0.0.0.0", "127.0.0.1"), ("::", "[::1]")])
def test_an_open_bind_is_reported_by_an_address_that_can_be_connected_to(
    home: Path, tmp_path: Path, host: str, here: str
) -> None:
    with serve(home, tmp_path, "--host", host, more={"RINGBACK_PROXY_PASSWORD": "open-sesame"}) as running:
        assert running.url == f"http://{here}:{running.port}"
        socket.create_connection((here.strip("[]"), running.port)).close()
    told = running.stderr()
    assert f"listening on http://{here}:{running.port} (offline)" in told
    assert f"other machines reach it on port {running.port}, with the proxy password" in told
    assert "health" not in told  # it would be refused without the password
    assert "stop: Ctrl-C" in told


def test_the_health_line_works(serving: Serving) -> None:
    found = re.search(r"health: curl (\S+)", serving.stderr())
    assert found is not None
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(found[1]) as answer:
        assert json.loads(answer.read())["status"] == "ok"


def test_a_host_that_is_not_here(home: Path) -> None:
    done = ringback(home, "serve", "--host", "192.0.2.1", more={"RINGBACK_PROXY_PASSWORD": "x"})
    assert done.returncode == 5
    assert "Traceback" not in done.stderr


def test_a_ready_file_in_no_directory(home: Path, tmp_path: Path) -> None:
    done = ringback(home, "serve", "--ready-file", str(tmp_path / "none" / "ready.json"))
    assert done.returncode == 5
    assert str(tmp_path / "none") in done.stderr
    assert "No such file or directory" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["serve", "run"])
def test_a_contract_file_with_a_mistake(home: Path, tmp_path: Path, command: str) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("magic:\n- {resource: Faxes}\n")
    more = ["--", "true"] if command == "run" else []
    done = ringback(home, command, "--contract", str(file), *more)
    assert done.returncode == 5
    assert f"{file}:2: $.magic[0].resource: Invalid enum value 'Faxes'" in done.stderr
    assert done.stderr.count("\n") == 1


def test_half_a_pair_of_credentials(home: Path) -> None:
    done = ringback(home, "serve", more={"RINGBACK_TEST_AUTH_TOKEN": "the-secret"})
    assert done.returncode == 2
    assert "set both RINGBACK_TEST_ACCOUNT_SID and RINGBACK_TEST_AUTH_TOKEN, or neither" in done.stderr
    assert "the-secret" not in done.stderr


def test_settings_come_from_the_environment(home: Path, tmp_path: Path) -> None:
    ready, own = tmp_path / "own-ready.json", tmp_path / "own.yaml"
    own.write_text('magic: [{resource: Messages, parameter: Body, value: "hello", error: 21610}]')
    more = {
        "RINGBACK_READY_FILE": str(ready),
        "RINGBACK_PORT": "0",
        "RINGBACK_SEED": "1",
        "RINGBACK_CONTRACT": str(own),
    }
    process = subprocess.Popen(
        [*RINGBACK, "serve"], env=environment(home, more), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        state = wait_ready(process, ready)
        from support.proxying import Serving as Running  # noqa: PLC0415 - the class, not its name for the checker

        got = Running(process, state, ready).ask(http(form=GOOD["Messages"]))
        assert got.error()["code"] == 21610
    finally:
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=30)
    assert process.returncode == 0
    assert b"Traceback" not in told


@pytest.mark.parametrize("seed, same", [("5", True), (None, False)])
def test_with_a_seed_sids_repeat_from_run_to_run(
    home: Path, tmp_path: Path, seed: str | None, same: bool
) -> None:
    runs = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        with serve(home, tmp_path / name, *(["--seed", seed] if seed else [])) as running:
            first, second = (running.ask(http(form=GOOD["Messages"])).json() for _ in range(2))
        assert first["sid"] != second["sid"]
        runs.append((first, second))
    assert (runs[0] == runs[1]) is same


def test_the_ca_is_private_and_kept(home: Path, serving: Serving) -> None:
    key = serving.ca.parent / "mitmproxy-ca.pem"
    assert key.is_relative_to(home)
    assert key.stat().st_mode & 0o777 == 0o600
    assert b"PRIVATE KEY" not in serving.ca.read_bytes()
    assert os.access(serving.ca, os.R_OK)
