"""mitmproxy's own programs, started with the addon script: mitmdump, mitmweb, and mitmproxy in a terminal.

They run with the mitmproxy of this interpreter; the suite runs under both majors.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import parse_qsl

import httpx
import pytest

from ringback.callbacks import signature
from support.programs import API, PROGRAMS, SID, command, environment, free_port, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.programs import Program

FORM = {"From": "+15005550006", "To": "+14105550100", "Body": "by a program"}
PASSWORD = "of-the-web-interface"


@pytest.fixture(scope="module", params=PROGRAMS)
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    options = ["--set", f"web_port={free_port()}"] if request.param == "mitmweb" else []
    with running(request.param, tmp_path_factory.mktemp(request.param), *options) as started:
        yield started


def test_answers_and_refuses(program: Program) -> None:
    sent = program.post("Messages", FORM)
    assert sent.status_code == 201
    assert re.fullmatch("SM[0-9a-f]{32}", sent.json()["sid"])
    assert sent.headers["Ringback-Source"].startswith("contract")
    failed = program.post("Messages", FORM | {"To": "+15005550009"})
    assert (failed.status_code, failed.json()["code"]) == (400, 21614)
    with program.client() as client:
        fetched = client.get(f"{API}/Messages/{sent.json()['sid']}.json")
    assert (fetched.status_code, fetched.json()["code"]) == (403, 20008)
    assert "Ringback-Reason" in fetched.headers


@pytest.mark.parametrize("host", ["elsewhere.example", "127.1"])
def test_a_request_as_to_a_server_is_not_forwarded(program: Program, host: str) -> None:
    with socket.create_connection(program.addresses[0], timeout=60) as sock:
        sock.sendall(f"GET /there HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        with sock.makefile("rb") as answer:
            got = answer.read()
    assert got.startswith(b"HTTP/1.1 404 ")
    assert b'"code": 20404' in got


def test_listens_on_loopback_alone(program: Program) -> None:
    assert {host for host, _ in program.addresses} == {"127.0.0.1"}


def test_listens_elsewhere_with_a_password(tmp_path: Path) -> None:
    with running("mitmdump", tmp_path, "--listen-host", "0.0.0.0", password="of-the-proxy") as started:
        assert {host for host, _ in started.addresses} == {"0.0.0.0"}
        with started.client() as client, pytest.raises(httpx.ProxyError, match="407"):
            client.get(API)


def test_settings_count(tmp_path: Path) -> None:
    """The same seed gives the same sids in two runs."""
    sids = []
    for nth in ("first", "second"):
        (tmp_path / nth).mkdir()
        with running("mitmdump", tmp_path / nth, "--set", "ringback_seed=7") as started:
            sids.append([started.post("Messages", FORM).json()["sid"] for _ in range(2)])
    assert sids[0] == sids[1]
    assert sids[0][0] != sids[0][1]


class Receiver(BaseHTTPRequestHandler):
    """Takes status callbacks into `taken`: their fields, and whether the signature is right."""

    taken: ClassVar[list[tuple[dict[str, str], bool]]] = []

    def do_POST(self) -> None:
        form = parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode())
        url = f"http://{self.headers['Host']}{self.path}"
        right = self.headers["X-Twilio-Signature"] == signature(url, form, "a-test-token")
        self.taken.append((dict(form), right))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_statuses_are_reported_but_not_to_the_proxy_itself(tmp_path: Path) -> None:
    Receiver.taken.clear()
    options = ["--set", "ringback_callbacks=true", "--set", "ringback_callbacks_delay=0"]
    with (
        ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as receiver,
        running("mitmdump", tmp_path, *options) as started,
    ):
        threading.Thread(target=receiver.serve_forever, daemon=True).start()
        own = started.addresses[0][1]
        for port in (receiver.server_port, own):
            sent = started.post("Messages", FORM | {"StatusCallback": f"http://127.0.0.1:{port}/status"})
            assert sent.status_code == 201
        found: list[dict[str, Any]] = []
        for _ in range(3000):
            listed = httpx.get(f"http://127.0.0.1:{own}/ringback/callbacks", trust_env=False)
            found = listed.json()["callbacks"]
            if len(found) == 6:
                break
            time.sleep(0.02)
        receiver.shutdown()
    assert [(form["MessageStatus"], right) for form, right in Receiver.taken] == [
        ("queued", True),
        ("sent", True),
        ("delivered", True),
    ]
    assert {one["error"] for one in found} == {None, f"port {own} is this proxy's own"}


def test_mitmweb_shows_the_verdict(tmp_path: Path) -> None:
    port = free_port()
    secured = "web_password" in _options("mitmweb")
    options = ["--set", f"web_port={port}", *(["--set", f"web_password={PASSWORD}"] if secured else [])]
    with running("mitmweb", tmp_path, *options) as started:
        started.post("Messages", FORM | {"From": "+15005550007"})
        shown = httpx.get(f"http://127.0.0.1:{port}/flows", params={"token": PASSWORD}, trust_env=False)
        (flow,) = shown.json()
        view = f"http://127.0.0.1:{port}/flows/{flow['id']}/request/content/Twilio.json"
        viewed = httpx.get(view, params={"token": PASSWORD}, trust_env=False).json()
    assert flow["response"]["status_code"] == 400
    assert flow["marked"] == "\N{BALLOT BOX WITH CHECK}"
    assert "Messages.from.not-owned" in flow["comment"]
    assert "page=test-sms-messages-parameters-From" in flow["comment"]
    assert "magic input" in shown_text(viewed)
    assert "From = +15005550007 gives 21606" in shown_text(viewed)


def shown_text(viewed: dict[str, Any]) -> str:
    """The text of a content view, in the form of either major version."""
    if "text" in viewed:
        return str(viewed["text"])
    return "\n".join("".join(text for _style, text in line) for line in viewed["lines"])


def test_serve_becomes_mitmweb_with_the_same_ca_and_options(tmp_path: Path) -> None:
    port, web_port = free_port(), free_port()
    variables = environment(tmp_path) | {"RINGBACK_HOME": str(tmp_path / "ringback")}
    begun = [sys.executable, "-m", "ringback"]
    arguments = ["--web", "--port", str(port), "--web-port", str(web_port), "--account", "trial"]
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*begun, "serve", *arguments],
            env=variables,
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
        )
    try:
        wait_for(port, process, log)
        found = subprocess.run(
            [*begun, "ca", "--path"], env=variables, capture_output=True, text=True, check=True
        )
        trusting = ssl.create_default_context(cafile=found.stdout.strip())
        proxy = f"http://127.0.0.1:{port}"
        with httpx.Client(
            proxy=proxy, verify=trusting, trust_env=False, auth=(SID, "a-test-token")
        ) as client:
            got = client.post(f"{API}/Messages.json", data=FORM)
        assert got.status_code == 201
        assert "trial" in got.json()["body"].lower()
        wait_for(web_port, process, log)
    finally:
        process.terminate()
        process.wait(timeout=60)


def wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a port is listened on."""
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=10):
            return
        time.sleep(0.05)
    pytest.fail(f"nothing listens on {port}: {log.read_text()}")


@pytest.mark.parametrize("option", [("--reverse", "0"), ("--journal", "5")])
def test_what_the_addon_does_not_know_is_refused_beside_web(option: tuple[str, ...], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ringback", "serve", "--web", *option]
    done = subprocess.run(command, env=environment(tmp_path), capture_output=True, text=True, check=False)
    assert (done.returncode, f"{option[0]} is not for --web" in done.stderr) == (2, True), done.stderr


def _options(program: str) -> str:
    """All options that the program has."""
    entry = f"from mitmproxy.tools.main import {program}; {program}()"
    return subprocess.run(
        [sys.executable, "-c", entry, "--options"], check=True, capture_output=True, text=True
    ).stdout


@pytest.mark.parametrize(
    "program,options,told",
    [
        ("mitmdump", ["--set", "ignore_hosts=twilio"], "ignore_hosts could let Twilio's hosts past Ringback"),
        (
            "mitmdump",
            ["--set", "allow_hosts=a.example"],
            "allow_hosts could let Twilio's hosts past Ringback",
        ),
        ("mitmdump", ["--set", "tcp_hosts=.*"], "tcp_hosts could let Twilio's hosts past Ringback"),
        ("mitmdump", ["--listen-host", "0.0.0.0"], "set RINGBACK_PROXY_PASSWORD"),
        ("mitmdump", ["--set", "ringback_mode=sideways"], "'sideways' is not one of: offline, auto, online"),
        ("mitmdump", ["--set", "ringback_contract=/no/such/file"], "/no/such/file: cannot be read"),
        ("mitmdump", ["--set", "ringback_redact=to,boddy"], "did you mean Body?"),
        ("mitmweb", ["--set", "ignore_hosts=twilio"], "ignore_hosts could let Twilio's hosts past Ringback"),
        ("mitmweb", ["--listen-host", "0.0.0.0"], "set RINGBACK_PROXY_PASSWORD"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_refuses_to_start(program: str, options: list[str], told: str, tmp_path: Path) -> None:
    web = ["--set", f"web_port={free_port()}"] if program == "mitmweb" else []
    done = subprocess.run(
        command(program, tmp_path / "confdir", *web, *options),
        env=environment(tmp_path),
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert told in said
    assert "Traceback" not in said
