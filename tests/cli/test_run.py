"""`ringback run` as a process: what its child gets, what it gives back."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from support.clients import GOOD
from support.launching import needs
from support.proxying import RINGBACK, environment, requesting, ringback

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SENDING = (sys.executable, "-c", requesting(list(GOOD["Messages"].items())))
REFUSED = (sys.executable, "-c", requesting(resource="Recordings"))


def run(
    home: Path, *command: str, options: tuple[str, ...] = (), **more: object
) -> subprocess.CompletedProcess[str]:
    return ringback(home, "run", *options, "--", *command, **more)  # type: ignore[arg-type] - handed on


def test_a_program_gets_its_answers_and_its_own_exit_code(home: Path) -> None:
    done = run(home, *SENDING)
    assert (done.returncode, done.stdout) == (0, "201\n")
    assert done.stderr == "ringback: 1 Twilio request answered, offline (contract 1)\n"


@pytest.mark.parametrize("code", [0, 1, 7, 255])
def test_the_childs_own_exit_code(home: Path, code: int) -> None:
    assert run(home, "sh", "-c", f"exit {code}", options=("--allow-none",)).returncode == code


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM, signal.SIGABRT])
def test_a_child_that_a_signal_ended(home: Path, tmp_path: Path, number: signal.Signals) -> None:
    done = run(home, "sh", "-c", f"kill -{number} $$", more={"TMPDIR": str(tmp_path)})
    assert done.returncode == 128 + number
    assert list(tmp_path.iterdir()) == []


def test_no_request_at_all_is_a_failure_with_a_hint(home: Path) -> None:
    done = run(home, "true")
    assert done.returncode == 3
    assert "true: no Twilio request came from it (--allow-none if that is right)" in done.stderr
    assert "--allow-none" in done.stderr


def test_requests_without_credentials_are_a_failure_with_a_hint_of_their_own(home: Path) -> None:
    program = SENDING[2].replace("{'Authorization'", "{'X-None'")
    done = run(home, sys.executable, "-c", program)
    assert (done.returncode, done.stdout) == (3, "401\n")
    assert "no request had credentials" in done.stderr
    assert "1 request came without credentials and got 401: give the client an AccountSid" in done.stderr
    assert "no Twilio request came" not in done.stderr


DISTRUSTING = """
import os, socket, ssl, sys
from urllib.parse import urlsplit
proxy = urlsplit(os.environ["HTTPS_PROXY"])
sock = socket.create_connection((proxy.hostname, proxy.port))
sock.sendall(b"CONNECT api.twilio.com:443 HTTP/1.1\\r\\nHost: api.twilio.com:443\\r\\n\\r\\n")
sock.recv(1000)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
try:
    context.wrap_socket(sock, server_hostname="api.twilio.com")
except ssl.SSLError:
    print("distrusted")
"""


@pytest.mark.parametrize("with_a_good_one", [False, True])
def test_a_client_that_does_not_trust_the_ca_is_a_failure_with_a_hint(
    home: Path, with_a_good_one: bool
) -> None:
    program = (SENDING[2] if with_a_good_one else "") + DISTRUSTING
    done = run(home, sys.executable, "-c", program)
    assert done.stdout.endswith("distrusted\n")
    assert done.returncode == 3
    assert "1 x TLS ended by a client that does not trust Ringback's CA" in done.stderr
    assert "1 connection reached the proxy and ended there" in done.stderr
    assert f"Let it trust {home}/ringback/ca/current/mitmproxy-ca-cert.pem" in done.stderr
    assert ("not every Twilio request came to the proxy" in done.stderr) is with_a_good_one


# Node looks at a certificate when the handshake is over, and hangs up without a word.
HANGING_UP = """
const proxy = new URL(process.env.HTTPS_PROXY);
const head = { host: proxy.hostname, port: proxy.port, method: 'CONNECT', path: 'api.twilio.com:443' };
require('http').request(head).on('connect', (_, socket) => {
  const tls = require('tls');
  const options = { socket, servername: 'api.twilio.com', ca: tls.rootCertificates };
  tls.connect(options).on('error', (error) => console.log(error.code));
}).end();
"""


def test_a_client_that_hangs_up_for_the_ca_is_a_failure_with_a_hint(home: Path) -> None:
    done = run(home, needs("node"), "-e", HANGING_UP)
    assert done.stdout == "UNABLE_TO_GET_ISSUER_CERT_LOCALLY\n"
    assert done.returncode == 3
    assert "1 connection reached the proxy and ended without a request" in done.stderr
    assert f"let it trust {home}/ringback/ca/current/mitmproxy-ca-cert.pem" in done.stderr


@pytest.mark.parametrize("code", [0, 7])
def test_an_exit_code_survives_where_nobody_can_read_what_is_said(home: Path, code: int) -> None:
    command = [*RINGBACK, "run", "--allow-none", "--", "sh", "-c", f"exit {code}"]
    with open("/dev/full", "wb") as full:  # noqa: PTH123 - a device
        done = subprocess.run(command, env=environment(home), stderr=full, check=False)
    assert done.returncode == code


def test_no_request_may_be_allowed(home: Path) -> None:
    done = run(home, "true", options=("--allow-none",))
    assert (done.returncode, done.stderr) == (0, "ringback: 0 Twilio requests answered, offline\n")


def test_the_childs_own_failure_comes_before_no_request_which_is_reported_all_the_same(home: Path) -> None:
    done = run(home, "sh", "-c", "ssh 2>&-; exit 6")
    assert done.returncode == 6
    assert "sh: no Twilio request came from it\n" in done.stderr
    assert "`ssh`: the other machine has another environment" in done.stderr
    allowed = run(home, "false", options=("--allow-none",))
    assert (allowed.returncode, allowed.stderr) == (1, "ringback: 0 Twilio requests answered, offline\n")


def test_a_client_that_was_stopped_is_reported_also_where_it_failed(home: Path) -> None:
    program = SENDING[2] + "import socket; socket.getaddrinfo('api.twilio.com', 443)"
    done = run(home, sys.executable, "-c", program)
    assert (done.returncode, done.stdout) == (1, "201\n")
    assert "not every Twilio request came to the proxy" in done.stderr
    assert "was on its way to api.twilio.com past the proxy and was stopped" in done.stderr


def test_a_client_that_was_stopped_is_reported_also_where_a_signal_ended_it(home: Path) -> None:
    program = (
        "import os, socket, sys\ntry: socket.getaddrinfo('api.twilio.com', 443)\nexcept OSError: os.abort()"
    )
    done = run(home, sys.executable, "-c", program)
    assert done.returncode == 128 + signal.SIGABRT
    assert "was on its way to api.twilio.com past the proxy and was stopped" in done.stderr


def test_a_client_that_distrusts_is_reported_also_where_it_failed(home: Path) -> None:
    done = run(home, sys.executable, "-c", DISTRUSTING + "sys.exit(6)")
    assert done.returncode == 6
    assert f"Let it trust {home}/ringback/ca/current/mitmproxy-ca-cert.pem" in done.stderr


@pytest.mark.parametrize(
    "command, code, said",
    [
        (("no-such-command-here",), 127, "no-such-command-here: command not found"),
        (("./nowhere/at-all",), 127, "./nowhere/at-all: command not found"),
        (("",), 127, "'': command not found"),
        (("/",), 126, "/: cannot be run: Permission denied"),
        (("./data.txt",), 126, "./data.txt: cannot be run: Permission denied"),
    ],
)
def test_a_command_that_cannot_be_run(
    home: Path, tmp_path: Path, command: tuple[str, ...], code: int, said: str
) -> None:
    (tmp_path / "data.txt").write_text("no program")
    done = run(home, *command, cwd=tmp_path)
    assert done.returncode == code
    assert done.stderr == f"ringback: {said}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--",),
        ("--mode", "fast", "--", "true"),
        ("--seed", "x", "--", "true"),
        ("--redact", "to,boddy", "--", "true"),
    ],
)
def test_usage(home: Path, arguments: tuple[str, ...]) -> None:
    done = ringback(home, "run", *arguments)
    assert done.returncode == 2
    assert "Usage: ringback run" in done.stderr


def test_the_childs_options_are_its_own(home: Path) -> None:
    done = ringback(home, "run", "--allow-none", "sh", "-c", 'echo "$@"', "x", "--seed", "--help", "--", "-q")
    assert (done.returncode, done.stdout) == (0, "--seed --help -- -q\n")


def test_stdin_goes_through_and_stdout_and_stderr_are_the_childs(home: Path) -> None:
    sent = bytes(range(256)) * 100
    command = [*RINGBACK, "run", "--allow-none", "-q", "--", "sh", "-c", "cat; echo mine >&2"]
    done = subprocess.run(
        command, input=sent, env=environment(home), capture_output=True, check=False, timeout=60
    )
    assert done.returncode == 0
    assert done.stdout == sent
    assert done.stderr == b"mine\n"


def test_the_summary_reports_refusals_and_errors(home: Path) -> None:
    done = run(home, *REFUSED)
    assert (done.returncode, done.stdout) == (0, "403\n")
    assert done.stderr.splitlines() == [
        "ringback: 1 Twilio request answered, offline (gate 1)",
        (
            "ringback:   1 x refused resource.unsupported: test credentials reach POST Messages, Calls and "
            "IncomingPhoneNumbers only, not POST Recordings"
        ),
    ]


def test_quiet_says_nothing_while_all_is_well(home: Path) -> None:
    assert run(home, *SENDING, options=("--quiet",)).stderr == ""
    assert run(home, *SENDING, more={"RINGBACK_QUIET": "1"}).stderr == ""
    assert "refused resource.unsupported" in run(home, *REFUSED, options=("-q",)).stderr
    assert "no Twilio request came" in run(home, "true", options=("-q",)).stderr


PAUSE = """
import signal, sys
def leave(number, frame):
    print(signal.Signals(number).name, flush=True)
    sys.exit(9)
for name in sys.argv[1:]:
    signal.signal(getattr(signal, name), leave)
print('up', flush=True)
signal.pause()
"""


def signalled(
    home: Path, number: signal.Signals, handled: tuple[str, ...], more: Mapping[str, str]
) -> tuple[int, str, str]:
    command = [*RINGBACK, "run", "--allow-none", "--", sys.executable, "-c", PAUSE, *handled]
    with subprocess.Popen(
        command,
        env=environment(home, more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # without a terminal that would send the signal to the child by itself
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(number)
        told, said = process.communicate(timeout=30)
    return process.returncode, told, said


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGQUIT]
)
def test_a_signal_is_the_childs_to_handle(home: Path, tmp_path: Path, number: signal.Signals) -> None:
    code, told, said = signalled(home, number, (number.name,), {"TMPDIR": str(tmp_path)})
    assert (code, told) == (9, f"{number.name}\n")
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_the_child_does_not_handle_ends_both(
    home: Path, tmp_path: Path, number: signal.Signals
) -> None:
    code, _, said = signalled(home, number, (), {"TMPDIR": str(tmp_path)})
    assert code == 128 + number
    assert said == "ringback: 0 Twilio requests answered, offline\n"
    assert list(tmp_path.iterdir()) == []


def test_a_signal_before_the_child_runs_leaves_nothing(home: Path, tmp_path: Path) -> None:
    with subprocess.Popen(
        [*RINGBACK, "run", "--allow-none", "--", sys.executable, "-c", PAUSE],
        env=environment(home, {"TMPDIR": str(tmp_path)}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        while not any(tmp_path.iterdir()):
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_is_pythons_own_in_the_child(home: Path, tmp_path: Path) -> None:
    code, _, said = signalled(home, signal.SIGINT, (), {"TMPDIR": str(tmp_path)})
    assert code == 130
    assert "KeyboardInterrupt" in said, "the child's traceback"
    assert said.count("Traceback") == 1
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_after_a_normal_end(home: Path, tmp_path: Path) -> None:
    inner = "import os; print(len(os.listdir(os.environ['TMPDIR'])))"
    done = run(home, sys.executable, "-c", inner, options=("--allow-none",), more={"TMPDIR": str(tmp_path)})
    assert done.stdout == "1\n", "the child has what it needs"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"]
)
def test_a_variable_that_names_a_missing_file_is_reported_and_replaced(
    home: Path, tmp_path: Path, name: str
) -> None:
    missing = tmp_path / "nowhere.pem"
    done = run(home, *SENDING, more={name: str(missing)})
    assert (done.returncode, done.stdout) == (0, "201\n")
    warning, *_ = done.stderr.splitlines()
    assert name in warning
    assert str(missing) in warning


def test_an_inherited_proxy_and_exceptions_do_not_lead_past(home: Path) -> None:
    more = {
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "https_proxy": "http://127.0.0.1:9",
        "NO_PROXY": "*,.twilio.com",
    }
    assert run(home, *SENDING, more=more).stdout == "201\n"


def test_the_child_finds_the_ready_file(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "ready.json"
    inner = (
        "import json, os, sys; found = json.load(open(sys.argv[1]));"
        "print(found['proxy'], os.environ['HTTPS_PROXY'], found['pid'] == os.getppid())"
    )
    done = run(
        home,
        *(sys.executable, "-c", inner, str(file)),
        options=("--allow-none", "--ready-file", str(file)),
    )
    proxy, told, started_by = done.stdout.split()
    assert (proxy, started_by) == (told.rstrip("/"), "True")
    assert not file.exists(), "it goes with its proxy"


def test_a_proxy_that_cannot_start_starts_no_child(home: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    done = run(home, "touch", str(made), options=("--host", "0.0.0.0"))
    assert done.returncode == 5
    assert not made.exists()


@pytest.mark.parametrize("command", [SENDING])
def test_two_runs_at_once_do_not_meet(home: Path, command: tuple[str, ...]) -> None:
    started = [
        subprocess.Popen(
            [*RINGBACK, "run", "--", *command],
            env=environment(home),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    for process in started:
        told, said = process.communicate(timeout=60)
        assert (process.returncode, told) == (0, b"201\n"), said
        assert said == b"ringback: 1 Twilio request answered, offline (contract 1)\n"
