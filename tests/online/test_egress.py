"""Behind a company's proxy: requests to the live API, and everybody else's connections, go through it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.clients import GOOD, Wire, basic, http
from support.egress import egress
from support.proxying import environment, serve
from support.servers import elsewhere
from support.upstream import arguments

if TYPE_CHECKING:
    from support.proxying import Serving
    from support.upstream import LoopbackUpstream

HOST = "service.example"
ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "addons" / "ringback_addon.py"
ANNOUNCE = ROOT / "tests" / "support" / "announce.py"


def online(server: LoopbackUpstream, *more: str) -> list[str]:
    """The options of a proxy that takes nobody else for the live API."""
    options = arguments(server, "online", *more)
    at = options.index("--upstream")
    return options[:at] + options[at + 2 :]


def get(serving: Serving, host: str) -> int:
    with serving.wire() as wire:
        wire.tunnel(f"{host}:443").tls(None, host)
        return wire.send(http("GET", "/", host=host, authorized=False)).response().status


@pytest.mark.parametrize("by", ["environment", "option", "environment, lower case"])
def test_forwarded_requests_go_through_it(
    upstream: LoopbackUpstream, home: Path, tmp_path: Path, by: str
) -> None:
    wanted = basic("company user", "p@ss")[1]
    with egress(
        {"api.twilio.com:443": upstream.port, "api.ie1.twilio.com:443": upstream.port}, wanted
    ) as proxy:
        url = proxy.url.replace("//", "//company%20user:p%40ss@")
        more = ["--egress-proxy", url] if by == "option" else []
        names = {} if more else {"https_proxy" if "lower" in by else "HTTPS_PROXY": url}
        with serve(home, tmp_path, *online(upstream, *more), more=names) as running:
            assert running.ask(http(form=GOOD["Messages"])).header("Ringback-Source") == "live"
            with running.twilio("api.ie1.twilio.com") as wire:
                data = http(form=GOOD["Messages"], host="api.ie1.twilio.com")
                assert wire.send(data).response().status == 201
        assert proxy.seen == ["api.twilio.com:443", "api.ie1.twilio.com:443"]
    assert {seen.server_name for seen in upstream.seen} == {"api.twilio.com", "api.ie1.twilio.com"}
    assert "p@ss" not in running.stderr()


def test_a_proxy_that_refuses_is_reported(upstream: LoopbackUpstream, home: Path, tmp_path: Path) -> None:
    with (
        egress({}) as proxy,
        serve(home, tmp_path, *online(upstream), more={"HTTPS_PROXY": proxy.url}) as running,
    ):
        got = running.ask(http(form=GOOD["Messages"]))
    assert (got.status, got.error()["code"]) == (424, 20503)
    assert (got.header("Ringback-Source") or "").startswith("gate; rule=upstream.proxy")
    assert "answered CONNECT with 403 Not That Host" in got.error()["message"]
    assert upstream.seen == []


def test_a_proxy_that_is_not_there_is_reported(
    upstream: LoopbackUpstream, home: Path, tmp_path: Path
) -> None:
    with egress({}) as gone:
        url = gone.url
    with serve(home, tmp_path, *online(upstream), more={"HTTPS_PROXY": url}) as running:
        got = running.ask(http(form=GOOD["Messages"]))
    assert (got.header("Ringback-Source") or "").startswith("gate; rule=upstream.proxy")


def test_a_stand_in_on_loopback_needs_no_proxy(
    upstream: LoopbackUpstream, home: Path, tmp_path: Path
) -> None:
    with (
        egress({}) as proxy,
        serve(home, tmp_path, *arguments(upstream, "online"), more={"HTTPS_PROXY": proxy.url}) as running,
    ):
        assert running.ask(http(form=GOOD["Messages"])).status == 201
        assert proxy.seen == []


@pytest.mark.parametrize("mode", ["offline", "online"])
def test_tunnels_of_other_hosts_go_on_through_it(
    upstream: LoopbackUpstream, home: Path, tmp_path: Path, mode: str
) -> None:
    wanted = basic("user", "secret")[1]
    with elsewhere(tmp_path) as server, egress({f"{HOST}:443": server.port}, wanted) as proxy:
        url = proxy.url.replace("//", "//user:secret@")
        with serve(home, tmp_path, *arguments(upstream, mode), more={"HTTPS_PROXY": url}) as running:
            assert get(running, HOST) == 200
            # Twilio's own names do not, whoever asks and whatever is in the tunnel.
            with running.wire() as wire:
                wire.tunnel("api.twilio.com:443").send(b"SSH-2.0-client\r\n").everything()
            assert running.ask(http(form=GOOD["Messages"])).status == 201
        assert proxy.seen == [f"{HOST}:443"]


def test_plain_http_is_asked_of_it(home: Path, tmp_path: Path) -> None:
    wanted = basic("plain", "secret")[1]
    with (
        elsewhere() as server,
        egress({f"{HOST}:80": server.port, f"{HOST}:8080": server.port}, wanted) as proxy,
    ):
        url = proxy.url.replace("//", "//plain:secret@")
        # A proxy of the same address, and another user, for TLS.
        names = {"http_proxy": url, "HTTPS_PROXY": url.replace("plain", "other")}
        with serve(home, tmp_path, more=names) as running:
            for authority in (HOST, f"{HOST}:8080"):
                with running.wire() as wire:
                    data = http("GET", f"http://{authority}/x", host=authority, authorized=False)
                    got = wire.send(data).response()
                assert (got.status, got.body) == (200, b"elsewhere")
        assert proxy.seen == [f"GET http://{HOST}/x", f"GET http://{HOST}:8080/x"]
        assert server.seen == ["GET /x HTTP/1.1"] * 2


def test_a_proxy_that_cannot_be_used_is_reported_once(home: Path, tmp_path: Path) -> None:
    names = {"HTTPS_PROXY": "socks5h://user:p4ssw0rd@127.0.0.1:1"}
    with serve(home, tmp_path, more=names) as running:
        assert running.ask(http(form=GOOD["Messages"])).status == 201
    assert running.stderr().count("HTTPS_PROXY cannot be used (the scheme 'socks5h'") == 1
    assert "p4ssw0rd" not in running.stderr()


def test_no_proxy_names_who_is_reached_directly(home: Path, tmp_path: Path) -> None:
    names = {"NO_PROXY": f".internal.example,10.0.0.0/8,{HOST}"}
    with (
        elsewhere(tmp_path) as server,
        egress({"other.example:443": server.port}) as proxy,
        serve(home, tmp_path, more={"HTTPS_PROXY": proxy.url, **names}) as running,
    ):
        with running.wire() as wire:
            wire.tunnel(f"127.0.0.1:{server.port}").tls(None, "localhost")
            assert wire.send(http("GET", "/", authorized=False)).response().status == 200
        assert proxy.seen == []
        assert get(running, "other.example") == 200
        assert proxy.seen == ["other.example:443"]


def test_socks_tunnels_go_on_through_it(home: Path, tmp_path: Path) -> None:
    name = HOST.encode()
    with (
        elsewhere(tmp_path) as server,
        egress({f"{HOST}:443": server.port}) as proxy,
        serve(home, tmp_path, more={"HTTPS_PROXY": proxy.url}) as running,
        Wire(int(running.ready["socks"])) as wire,
    ):
        wire.send(b"\x05\x01\x00")
        assert wire.sock.recv(2) == b"\x05\x00"
        wire.send(b"\x05\x01\x00\x03" + bytes([len(name)]) + name + (443).to_bytes(2, "big"))
        assert wire.sock.recv(10)[:2] == b"\x05\x00"
        wire.tls(None, HOST)
        assert wire.send(http("GET", "/", host=HOST, authorized=False)).response().status == 200
        assert proxy.seen == [f"{HOST}:443"]


@pytest.mark.parametrize("program", ["mitmdump"])
def test_mitmproxys_upstream_mode(
    upstream: LoopbackUpstream, home: Path, tmp_path: Path, program: str
) -> None:
    with (
        elsewhere(tmp_path) as server,
        egress({"api.twilio.com:443": upstream.port, f"{HOST}:443": server.port}) as proxy,
    ):
        options = {
            "ringback_mode": "online",
            "ringback_upstream_ca": str(upstream.ca),
            "ringback_cassettes": str(tmp_path / "cassettes"),
            "confdir": str(tmp_path / "conf"),
        }
        command = [sys.executable, "-c", f"from mitmproxy.tools.main import {program}; {program}()", "-q"]
        command += ["-s", str(SCRIPT), "-s", str(ANNOUNCE), "--mode", f"upstream:{proxy.url}@0"]
        for name, value in options.items():
            command += ["--set", f"{name}={value}"]
        told, tell = os.pipe()
        names = environment(home, {"ANNOUNCE_FD": str(tell)})
        with subprocess.Popen(command, env=names, pass_fds=[tell]) as process, os.fdopen(told) as addresses:
            os.close(tell)
            try:
                port = json.loads(addresses.readline())[0][1]
                with Wire(port) as wire:
                    wire.tunnel().tls(None)
                    got = wire.send(http(form=GOOD["Messages"])).response()
                assert got.header("Ringback-Source") == "live"
                with Wire(port) as wire:
                    wire.tunnel(f"{HOST}:443").tls(None, HOST)
                    assert wire.send(http("GET", "/", host=HOST, authorized=False)).response().status == 200
                with Wire(port) as wire:
                    wire.tunnel("verify.twilio.com:443").send(b"SSH-2.0-client\r\n").everything()
            finally:
                process.terminate()
        assert proxy.seen == ["api.twilio.com:443", f"{HOST}:443"]
