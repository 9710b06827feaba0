"""Clients that know of no proxy: the reverse listener, from raw bytes to the rules on who may ask."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest

from ringback.contract import Credentials
from ringback.server.destination import is_own_address, reverse_refusal, transparent_refusal
from support.clients import ACCOUNT, TOKEN, Wire, better, http, path
from support.launching import needs
from support.proxying import home, ringback, serve
from support.upstream import arguments, module_upstream, upstream, upstream_ca

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.proxying import Serving
    from support.upstream import LoopbackUpstream

__all__ = ["home", "module_upstream", "upstream", "upstream_ca"]

API = "api.twilio.com"
PAIR = {"RINGBACK_TEST_ACCOUNT_SID": ACCOUNT, "RINGBACK_TEST_AUTH_TOKEN": TOKEN}
FORM = better("Messages")


@pytest.fixture(scope="module")
def running(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serve(home, tmp_path_factory.mktemp("direct"), "--reverse", "0", "--transparent", "0") as found:
        yield found


def port(running: Serving) -> int:
    return int(running.ready["reverse"])


def refused(running: Serving) -> dict[str, int]:
    found = running.health()["refused"]
    assert isinstance(found, dict)
    return found


# -- reverse


@pytest.mark.parametrize("host", [API, f"{API}:8443", "API.Twilio.com."])
@pytest.mark.parametrize("alpn", [(), ("http/1.1",)])
def test_tls_by_a_hosts_entry_is_answered(running: Serving, host: str, alpn: tuple[str, ...]) -> None:
    with Wire(port(running)).tls(running.ca, API, alpn) as wire:
        got = wire.send(http(form=FORM, host=host)).response()
        assert got.status == 201
        assert wire.send(http(form=FORM, host=host)).response().status == 201, "the connection stays"


def test_a_client_that_would_take_http2_is_answered_sooner_by_http1(running: Serving) -> None:
    at = port(running)
    url = f"https://{API}:{at}{path()}"
    command = [needs("curl"), "-sS", "--http2", "--cacert", str(running.ca), "--noproxy", "*"]
    command += ["--resolve", f"{API}:{at}:127.0.0.1", "--user", f"{ACCOUNT}:{TOKEN}", "--output", "/dev/null"]
    # Twice, on one connection.
    command += ["--data", urlencode(FORM), "--write-out", "%{http_version} %{http_code}\n", url]
    command += [url, "--output", "/dev/null"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "1.1 201\n1.1 201\n", done.stderr


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", API, "[::1]"])
def test_plain_http_on_loopback_is_answered(running: Serving, host: str) -> None:
    with Wire(port(running)) as wire:
        named = host if host == API else f"{host}:{port(running)}"
        got = wire.send(http(form=FORM, host=named)).response()
    assert got.status == 201
    assert got.header("Ringback-Source"), "tells where the answer is from, as through the proxy"


def test_names_that_disagree_are_refused(running: Serving) -> None:
    before = refused(running).get("host.mismatch", 0)
    for host in ("lookups.twilio.com", "elsewhere.example"):
        with Wire(port(running)).tls(running.ca) as wire:
            got = wire.send(http(form=FORM, host=host)).response()
        assert (got.status, got.error()["code"]) == (403, 20008)
    assert refused(running)["host.mismatch"] == before + 2


def test_another_product_of_twilio_is_not_taken_for_the_api(running: Serving) -> None:
    with Wire(port(running)).tls(running.ca, "lookups.twilio.com") as wire:
        got = wire.send(http(form=FORM, host="lookups.twilio.com")).response()
    assert got.status == 403
    assert "resource.product-host" in refused(running)


@pytest.mark.parametrize("tls", [False, True])
def test_a_host_that_is_nobodys_here_is_reported_so_and_not_forwarded(running: Serving, tls: bool) -> None:
    wire = Wire(port(running))
    with wire.tls(None, None) if tls else wire:  # without a server name, and unverified
        got = wire.send(http(form=FORM, host="elsewhere.example")).response()
    assert got.status == 421
    assert b"elsewhere.example" in got.body


def test_no_certificate_is_made_for_another_name(running: Serving) -> None:
    with pytest.raises(OSError), Wire(port(running)).tls(None, "elsewhere.example"):  # noqa: PT011 - closed, in whichever way
        pass


def test_its_health_is_where_a_base_url_points(running: Serving) -> None:
    with Wire(port(running)) as wire:
        got = wire.send(http("GET", "/ringback/health", host=f"127.0.0.1:{port(running)}")).response()
    assert got.json()["status"] == "ok"


def test_only_test_credentials_pass_where_they_are_known(home: Path, tmp_path: Path) -> None:
    """With them, a reverse listener may be where other machines are, and beside a password."""
    more = {**PAIR, "RINGBACK_PROXY_PASSWORD": "open-sesame"}
    with (
        serve(home, tmp_path, "--host", "0.0.0.0", "--reverse", "0", more=more) as running,
        Wire(port(running)).tls(running.ca) as wire,
    ):
        assert wire.send(http(form=FORM)).response().status == 201
        request = http(form=FORM, authorized=False)
        assert wire.send(request).response().status == 401


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_auto_mode_forwards_what_comes_by_it(
    home: Path, tmp_path: Path, upstream: LoopbackUpstream, scheme: str
) -> None:
    with serve(home, tmp_path, *arguments(upstream, "auto", "--reverse", "0"), more=PAIR) as running:
        wire = Wire(port(running))
        host = API if scheme == "https" else f"127.0.0.1:{port(running)}"
        with wire.tls(running.ca) if scheme == "https" else wire:
            wire.send(http(form=FORM, host=host)).response()
    sent = upstream.seen[-1]
    assert (sent.server_name, sent.header("Host")) == (API, API)
    assert sent.pair == (ACCOUNT, TOKEN)


def test_a_way_to_the_live_api_that_leads_back_here_ends_here(
    home: Path, tmp_path: Path, running: Serving
) -> None:
    """As a hosts entry makes it that only clients should have, where the whole machine trusts the CA."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        at = free.getsockname()[1]
    back = ["--upstream", f"https://127.0.0.1:{at}", "--upstream-ca", str(running.ca)]
    there = ["--mode", "online", "--reverse", str(at), "--cassettes", str(tmp_path / "cassettes")]
    with serve(home, tmp_path, *back, *there, more=PAIR) as looping:
        with Wire(at).tls(looping.ca) as wire:
            got = wire.send(http(form=FORM)).response()
        assert looping.health()["answered"] == 1
    assert got.status == 424
    assert "api.twilio.com leads back to this proxy" in looping.stderr()


# -- who may ask


@pytest.mark.parametrize(
    "given, more, said",
    [
        (["--reverse", "0"], {"RINGBACK_PROXY_PASSWORD": "x"}, "a way around the proxy password"),
        (["--transparent", "0"], {"RINGBACK_PROXY_PASSWORD": "x"}, "use --transparent without one"),
        (
            ["--host", "0.0.0.0", "--reverse", "0"],
            {"RINGBACK_PROXY_PASSWORD": "x"},
            "open to other machines at 0.0.0.0",
        ),
    ],
)
def test_a_listener_that_would_be_open_is_not_opened(
    home: Path, given: list[str], more: dict[str, str], said: str
) -> None:
    done = ringback(home, "serve", *given, more=more)
    assert done.returncode == 5
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_run_has_it_too(home: Path) -> None:
    program = "import sys; sys.exit(3 if 'HTTPS_PROXY' in __import__('os').environ else 1)"
    done = ringback(home, "run", "--reverse", "0", "--", sys.executable, "-c", program)
    assert done.returncode == 3
    assert ringback(home, "run", "--reverse", "x", "--", "true").returncode == 2


def test_the_rules() -> None:
    anybody, known = Credentials(), Credentials(ACCOUNT, TOKEN)
    assert reverse_refusal(anybody, None, "127.0.0.1") is None
    assert reverse_refusal(anybody, None, "0.0.0.0") is not None
    assert reverse_refusal(anybody, "open-sesame", "127.0.0.1") is not None
    assert reverse_refusal(known, None, "0.0.0.0") is None
    assert transparent_refusal(None) is None
    assert transparent_refusal("open-sesame") is not None


@pytest.mark.parametrize(
    "address, own",
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("192.0.2.77", False),  # TEST-NET-1: no machine has it
        ("2001:db8::77", False),
    ],
)
def test_this_machines_addresses(address: str, own: bool) -> None:
    assert is_own_address(address) is own


# -- transparent: what it does with redirected connections is in test_transparent.py


def test_a_connection_that_nobody_redirected_goes_nowhere(running: Serving) -> None:
    """It has no destination but this listener itself."""
    with (
        pytest.raises((ssl.SSLError, OSError)),
        Wire(int(running.ready["transparent"])).tls(None, "elsewhere.example"),
    ):
        pass


@pytest.mark.parametrize("listener", ["reverse", "port"])
def test_an_end_with_open_connections_is_silent(home: Path, tmp_path: Path, listener: str) -> None:
    with serve(home, tmp_path, "--reverse", "0") as running:
        at = int(running.ready[listener])
        wire = Wire(at)
        # The first answer shows that mitmproxy has the connection; the second request stays incomplete.
        wire.send(http("GET", "/ringback/health", host=f"127.0.0.1:{at}"))
        assert wire.response().status == 200
        wire.send(b"GET / HTTP/1.1\r\n")
    wire.sock.close()
    assert "Traceback" not in running.stderr()
