"""`run --witness` and `--mount-namespace`: who goes past the proxy beside answered requests is named."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final, Literal

import pytest

from ringback.cli.startup import CannotStartError
from ringback.cli.witness import Namespace, reason_against
from ringback.launch.runtimes import SHIMS
from support.launching import needs
from support.namespaces import ALLOWED, WITNESSED
from support.product import SID, TOKEN, Product, finished, product

__all__ = ["product"]

pytestmark = pytest.mark.xdist_group("witness")
MOUNTING: Final = pytest.mark.skipif(
    not ALLOWED, reason="no mount namespace is allowed here: it needs root on Linux"
)
WITNESSING: Final = pytest.mark.skipif(
    not WITNESSED, reason="no name query is seen here: it needs Linux, and a way to a name server"
)
BOTH: Final = pytest.mark.parametrize(
    "options",
    [
        pytest.param(["--mount-namespace", "--witness", "never"], marks=MOUNTING),
        pytest.param(["--witness", "always"], marks=WITNESSING),
    ],
    ids=["mount-namespace", "witness"],
)


def _supervisor() -> Any:
    spec = importlib.util.spec_from_file_location("ringback_shim_witness", SHIMS / "witness.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SUPERVISOR: Final = _supervisor()
URL: Final = f"https://api.twilio.com/2010-04-01/Accounts/{SID}/Messages.json"
SERVED: Final = (
    f"curl -sS -o /dev/null -u {SID}:{TOKEN} -d To=+14105550100 -d From=+15005550006 -d Body=x {URL}"
)

JAVA: Final = """
public class Past {
    public static void main(String[] words) throws Exception {
        new java.net.URL("https://api.twilio.com/java").openConnection(java.net.Proxy.NO_PROXY).getInputStream();
    }
}
"""
GO: Final = """package main

import "net/http"

func main() {
	client := http.Client{Transport: &http.Transport{}}
	client.Get("https://api.twilio.com/go")
}
"""
C: Final = """
#include <netdb.h>
#include <sys/socket.h>
int main(void) {
  struct addrinfo *found = 0, wanted = {.ai_socktype = SOCK_STREAM};
  if (getaddrinfo("lookups.twilio.com", "443", &wanted, &found)) return 1;
  int one = socket(found->ai_family, SOCK_STREAM, 0);
  char byte;
  if (connect(one, found->ai_addr, found->ai_addrlen)) return 1;
  send(one, "hello", 5, 0);
  shutdown(one, SHUT_WR);
  return recv(one, &byte, 1, 0) > 0;
}
"""
CSHARP: Final = """
class Past {
    static void Main() {
        var request = System.Net.WebRequest.Create("https://api.twilio.com/mono");
        request.Proxy = null;
        request.GetResponse();
    }
}
"""
PHP_CURL: Final = (
    '$c = curl_init("https://api.twilio.com/"); curl_setopt($c, CURLOPT_PROXY, ""); curl_exec($c);'
)
RUBY: Final = "Net::HTTP.new('api.twilio.com', 443, nil).tap { |it| it.use_ssl = true }.get('/')"
PERL: Final = '$s = IO::Socket::INET->new(PeerAddr => "api.twilio.com:443") or die; syswrite $s, "x"; <$s>'
NODE: Final = (
    "const https = require('https'); "
    "https.get({host: 'api.twilio.com', agent: new https.Agent()}).on('error', () => {})"
)
FETCH: Final = "fetch('https://api.twilio.com/').catch(() => 0)"
PYTHON: Final = "import http.client as h; h.HTTPSConnection('api.twilio.com').request('GET', '/')"

# What each program needs here, and its words. `-I` and emptied variables take the shims away.
PROGRAMS: Final[dict[str, tuple[tuple[str, ...], str]]] = {
    "curl --noproxy": (("curl",), f"curl -sS --noproxy '*' {URL}"),
    "curl --proxy ''": (("curl",), f"curl -sS --proxy '' {URL}"),
    "curl over http": (("curl",), "curl -sS --noproxy '*' http://api.twilio.com/"),
    "wget --no-proxy": (("wget",), f"wget -q --tries 1 --no-proxy -O /dev/null {URL}"),
    "python -I": ((), f'{sys.executable} -I -c "{PYTHON}"'),
    "python, a region": ((), f'{sys.executable} -I -c "{PYTHON.replace("api.", "api.dublin.ie1.")}"'),
    "php, ext-curl": (("php",), f"php -r '{PHP_CURL}'"),
    "php, streams": (("php",), "php -r \"@file_get_contents('https://api.twilio.com/');\""),
    "ruby": (
        ("ruby",),
        f'env -u http_proxy -u https_proxy -u HTTP_PROXY -u HTTPS_PROXY RUBYLIB= ruby -rnet/http -e "{RUBY}"',
    ),
    "perl": (("perl",), f"perl -MIO::Socket::INET -e '{PERL}'"),
    "node": (("node",), f'NODE_OPTIONS= node -e "{NODE}"'),
    "node, fetch": (("node",), f'NODE_OPTIONS= NODE_USE_ENV_PROXY= node -e "{FETCH}"'),
    "java": (("java", "javac"), "JAVA_TOOL_OPTIONS= java -cp . Past"),
    "go": (("go",), "./past-go"),
    "c": (("gcc",), "./past-c"),
    "c#": (("mcs", "mono"), "mono Past.exe"),
    "bash": (("bash",), "bash -c 'exec 3<>/dev/tcp/api.twilio.com/443; echo x >&3; read -u 3 line'"),
    "openssl": (("openssl",), "openssl s_client -connect api.twilio.com:443 -servername verify.twilio.com"),
    "git": (("git",), "git -c http.proxy= ls-remote https://api.twilio.com/x"),
    "an emptied environment": (("curl",), f"env -i curl -sS {URL}"),
}


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile what is compiled, where its compiler is."""
    place = tmp_path_factory.mktemp("programs")
    for name, text, command in (
        ("Past.java", JAVA, ["javac", "Past.java"]),
        ("past.go", GO, ["go", "build", "-o", "past-go", "past.go"]),
        ("past.c", C, ["gcc", "-o", "past-c", "past.c"]),
        ("Past.cs", CSHARP, ["mcs", "-nologo", "Past.cs"]),
    ):
        (place / name).write_text(text)
        if shutil.which(command[0]):
            subprocess.run(command, cwd=place, check=True, capture_output=True)
    return place


# What a program may lack although its interpreter is there.
CHECKS: Final = {
    "php, ext-curl": 'php -r "curl_init();"',
    "node, fetch": "node -e 'fetch'",
    "wget --no-proxy": "wget --version | grep GNU",
    "git": 'test -x "$(git --exec-path)/git-remote-https"',
}


def _has(name: str) -> bool:
    check = CHECKS.get(name, "true")
    return subprocess.run(["sh", "-c", check], check=False, capture_output=True).returncode == 0


@BOTH
def test_who_goes_past_the_proxy_is_named(product: Product, programs: Path, options: list[str]) -> None:
    here = {
        name: words
        for name, (needed, words) in PROGRAMS.items()
        if all(map(shutil.which, needed)) and _has(name)
    }
    script = programs / "all.sh"
    lines = [
        f"( {words} ) < /dev/null > /dev/null 2>&1 & echo {name}=$!; wait" for name, words in here.items()
    ]
    script.write_text("\n".join([SERVED, *lines, "true"]))
    done = product.run(["sh", script], cwd=programs, options=options)
    assert done.returncode == 3, done.stderr
    assert "ringback: 1 Twilio request answered, offline" in done.stderr
    named = re.findall(r"^ringback:   .* \((.*)\) was on its way to (\S+)", done.stderr, re.MULTILINE)
    assert len(named) == len(here), (sorted(here), done.stderr)
    hosts = {host for _, host in named}
    assert {"api.twilio.com", "api.dublin.ie1.twilio.com"} <= hosts


# Net::HTTP asks for an address before it uses the proxy, also where our openssl.rb is taken away.
NET_HTTP: Final = (
    f"request = Net::HTTP::Post.new(URI('{URL}')); request.basic_auth('{SID}', 'x'); "
    "request.body = 'To=%2B14105550100&From=%2B15005550006&Body=x'; "
    "Net::HTTP.start('api.twilio.com', 443, use_ssl: true) { |http| http.request(request) }"
)
ORDINARY: Final = {
    "curl": (("curl",), SERVED),
    "curl elsewhere": (("curl",), "curl -sS --noproxy '*' http://127.0.0.1:9/ || true"),
    "python": ((), f"{sys.executable} -c 'import ssl, socket; socket.getaddrinfo(\"localhost\", 1)'"),
    "ruby": (("ruby",), "ruby -rsocket -e 'TCPServer.new(\"127.0.0.1\", 0)'"),
    "node": (("node",), "node -e 'require(\"net\").createServer().listen(0).close()'"),
    "php": (("php",), "php -r 'fclose(stream_socket_server(\"tcp://127.0.0.1:0\"));'"),
    "Net::HTTP": (("ruby",), f'ruby -rnet/http -e "{NET_HTTP}"'),
    # Its lengths are those of name queries.
    "small writes": (
        (),
        f"{sys.executable} -c 'import os; r, w = os.pipe(); [os.write(w, b\"x\" * it) for it in range(99)]'",
    ),
}


@BOTH
def test_nobody_else_is_accused(product: Product, options: list[str]) -> None:
    words = [words for needed, words in ORDINARY.values() if all(map(shutil.which, needed))]
    script = "\n".join(words * 5)
    done = product.run(["sh", "-c", script], options=options)
    assert (done.returncode, "past the proxy" in done.stderr) == (0, False), done.stderr


@WITNESSING
def test_net_http_without_its_shim_is_not_accused(product: Product) -> None:
    needs("ruby")
    script = f'RUBYLIB= ruby -rnet/http -e "{NET_HTTP}"'
    done = product.run(["sh", "-c", script], options=["--witness", "always"])
    assert (done.returncode, "past the proxy" in done.stderr) == (0, False), done.stderr
    assert "ringback: 1 Twilio request answered" in done.stderr


# The system's roots are all that these trust, whatever the environment names.
PYCURL: Final = (
    "import os, pycurl; c = pycurl.Curl(); c.setopt(c.URL, os.environ['URL']); "
    "c.setopt(c.USERPWD, os.environ['LOGIN']); c.setopt(c.POSTFIELDS, os.environ['FORM']); c.perform()"
)
TYPHOEUS: Final = "puts Typhoeus.post(ENV['URL'], userpwd: ENV['LOGIN'], body: ENV['FORM']).body"
CURB: Final = (
    "c = Curl::Easy.new(ENV['URL']); c.userpwd = ENV['LOGIN']; c.http_post(ENV['FORM']); puts c.body_str"
)
WWW_CURL: Final = (
    "$c = WWW::Curl::Easy->new; $c->setopt(CURLOPT_URL, $ENV{URL}); "
    "$c->setopt(CURLOPT_USERPWD, $ENV{LOGIN}); "
    "$c->setopt(CURLOPT_POSTFIELDS, $ENV{FORM}); $c->perform"
)
BINDINGS: Final = {
    "pycurl": (["/usr/bin/python3", "-c"], "import pycurl", PYCURL),
    "typhoeus": (["ruby", "-rtyphoeus", "-e"], "0", TYPHOEUS),
    "curb": (["ruby", "-rcurb", "-e"], "0", CURB),
    "WWW::Curl": (["perl", "-MWWW::Curl::Easy", "-e"], "0", WWW_CURL),
}


@MOUNTING
@pytest.mark.parametrize("name", BINDINGS)
def test_a_binding_of_libcurl_is_served(product: Product, name: str) -> None:
    program, nothing, text = BINDINGS[name]
    if (
        not shutil.which(program[0])
        or subprocess.run([*program, nothing], check=False, capture_output=True).returncode
    ):
        pytest.skip(f"{name} is not installed here")
    form = "To=%2B15005550001&From=%2B15005550006&Body=x"
    more = {"URL": URL, "LOGIN": f"{SID}:{TOKEN}", "FORM": form}
    done = product.run([*program, text], more=more, options=["--mount-namespace"])
    assert '"code": 21211' in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0, done.stderr


@MOUNTING
def test_nothing_is_seen_outside(product: Product) -> None:
    done = product.run(
        ["sh", "-c", "grep -c twilio.com /etc/hosts; sleep 0"], options=["--mount-namespace", "--allow-none"]
    )
    assert int(done.stdout) > 1
    assert "mcs.twilio.com" not in Path("/etc/hosts").read_text()


@MOUNTING
def test_a_command_that_is_not_found_is_told_as_usual(product: Product) -> None:
    done = product.run(["no-such-command"], options=["--mount-namespace"])
    assert (done.returncode, done.stderr) == (127, "ringback: no-such-command: command not found\n")


@MOUNTING
def test_a_system_that_refuses_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        CannotStartError, match=r"does not allow it \(/etc/hosts: No such file or directory\)"
    ):
        Namespace(((str(tmp_path / "not there"), "/etc/hosts"),)).check()


@MOUNTING
def test_a_command_that_gives_up_root_is_served_and_watched(product: Product) -> None:
    """As a person calls it by sudo whose program is not to run as root."""
    if not shutil.which("setpriv"):
        pytest.skip("setpriv is not installed here (Debian: util-linux)")
    user = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    script = f"id -u; {SERVED} && echo served; curl -sS --noproxy '*' {URL} 2> /dev/null; true"
    done = product.run([*user, "sh", "-c", script], options=["--mount-namespace"])
    assert (done.returncode, done.stdout) == (3, "65534\nserved\n"), done.stderr
    assert "curl (curl -sS --noproxy" in done.stderr


# -- the witness of name queries


@WITNESSING
def test_a_command_beside_a_witness_is_started_as_ever(product: Product) -> None:
    asked = "import os, signal, sys; print(sorted(os.listdir('/proc/self/fd'))[:3], dict(os.environ)['X']); "
    asked += "print(signal.getsignal(signal.SIGINT).__name__, os.environ.get('LC_CTYPE'))"
    said = {
        wanted: product.run(
            [sys.executable, "-c", asked], more={"X": "a=b\nc"}, options=["--allow-none", "--witness", wanted]
        ).stdout
        for wanted in ("never", "always")
    }
    assert said["always"] == said["never"] != ""
    done = product.run(["no-such-command"], options=["--witness", "always"])
    assert (done.returncode, done.stderr) == (127, "ringback: no-such-command: command not found\n")


# It waits until Ringback, the parent of who has lost its own, has ended.
OUTLIVES: Final = """
import os, sys, time
if os.fork():
    os._exit(0)
os.setsid()
for number in range(3):
    os.close(number)
adopted = os.getppid()
while os.getppid() == adopted or open(f"/proc/{os.getppid()}/cmdline", "rb").read().find(b"ringback") > 0:
    time.sleep(0.05)
with open(sys.argv[1], "wb", buffering=0) as file:
    for length in (32, 43):
        file.write(b"x" * length)
"""


@WITNESSING
def test_what_outlives_the_run_goes_on_as_ever(product: Product, tmp_path: Path) -> None:
    options = ["--allow-none", "--linger", "0", "--witness", "always"]
    done = product.run([sys.executable, "-c", OUTLIVES, tmp_path / "wrote"], options=options)
    assert done.returncode == 0, done.stderr
    end = time.monotonic() + 60
    while not (tmp_path / "wrote").exists() or (tmp_path / "wrote").stat().st_size < 75:
        assert time.monotonic() < end
        time.sleep(0.05)


# Addresses where nothing is, and numbers of messages that are none; then a query that is one.
WRONG: Final = """
import ctypes, errno, os, socket
libc = ctypes.CDLL(None, use_errno=True)
one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
for address in (0, 8, 2**63, 2**64 - 1):
    for call in (libc.sendmmsg, libc.sendto):
        done = call(one.fileno(), ctypes.c_void_p(address), 40 if call is libc.sendto else 2, 0, None, 0)
        print(done, errno.errorcode[ctypes.get_errno()])
try:
    one.send(bytes.fromhex("0000010000010000000000000361706906747769 6c696f03636f6d0000010001"))
except OSError as error:
    print(errno.errorcode[error.errno])
"""


@WITNESSING
def test_wrong_addresses_do_not_end_it(product: Product) -> None:
    done = product.run([sys.executable, "-I", "-c", WRONG], options=["--witness", "always", "--allow-none"])
    assert done.stdout == "-1 EFAULT\n" * 8 + "ECONNREFUSED\n", done.stderr
    assert done.returncode == 3, done.stderr


# Names whose bytes would be a report of their own, then the lower half of a length that a query could have.
FORGED: Final = """
import ctypes, errno, mmap, os, socket
one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
for label in (b"x\\n1 elsewhere", b"x\\nnonsense", b"x\\nrefused by nobody", b"\\x1b[31m\\0"):
    name = bytes([len(label)]) + label + b"\\6twilio\\3com\\0"
    try:
        one.send(b"\\0\\0\\1\\0\\0\\1" + bytes(6) + name + b"\\0\\1\\0\\1")
    except OSError as error:
        print(errno.errorcode[error.errno])
"""


@WITNESSING
def test_a_name_cannot_forge_a_report(product: Product) -> None:
    token = "5ec2e70000aa5ec2e71111bb5ec2e722"
    done = product.run(
        [sys.executable, "-I", "-c", FORGED, f"--auth-token={token}"], options=["--witness", "always"]
    )
    assert done.stdout == "ECONNREFUSED\n" * 4, done.stderr
    assert done.stderr.count(" was on its way to ") == 1, done.stderr
    assert "past the proxy" in done.stderr
    for word in ("Traceback", "is not used", " to elsewhere", "\x1b[31m", token):
        assert word not in done.stderr


# It ends its supervisor, whose process has this one's parent, then tries a call of a query's length.
KILLED: Final = """
import errno, os, pathlib, select, signal, socket
for place in pathlib.Path("/proc").glob("[0-9]*"):
    try:
        words, parent = (place / "cmdline").read_bytes(), int((place / "stat").read_text().split()[3])
    except OSError:
        continue
    if parent == os.getppid() and b"witness.py\\0supervise\\0" in words:
        handle = os.pidfd_open(int(place.name))
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        select.select([handle], [], [])
one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
try:
    one.send(bytes(40))
except OSError as error:
    print(errno.errorcode[error.errno])
"""


@WITNESSING
def test_a_supervisor_that_was_ended_is_told(product: Product) -> None:
    command = [sys.executable, "-I", "-c", KILLED]
    done = product.run(command, options=["--witness", "always", "--allow-none"])
    assert done.stdout == "ENOSYS\n", done.stderr
    assert "the supervisor of `--witness` was ended by something else" in done.stderr
    assert "Traceback" not in done.stderr
    done = product.run(["true"], options=["--witness", "always", "--allow-none"])
    assert "supervisor" not in done.stderr


def test_a_call_of_any_length_costs_the_supervisor_little() -> None:
    """The filter sees the lower half of a length: a call for 3 GB and 32 bytes is asked for too."""
    data = _query("api.twilio.com")
    place = ctypes.create_string_buffer(data, 1 << 16)
    write = SUPERVISOR.MACHINES["x86_64"][4]
    machine = platform.machine()
    if machine not in SUPERVISOR.MACHINES or not Path("/proc/self/mem").exists():
        pytest.skip("there is no witness for this system")
    (found,) = SUPERVISOR.sent(
        os.getpid(), write, [0, ctypes.addressof(place), (3 << 32) + len(data), 0, 0, 0]
    )
    assert len(found) == SUPERVISOR.LARGEST
    assert found.startswith(data)


@WITNESSING
def test_a_witness_inside_another_is_not_used(product: Product) -> None:
    inner = [sys.executable, "-m", "ringback", "run", "-v", "--allow-none"]
    script = f"curl -sS --noproxy '*' {URL} 2> /dev/null; true"
    done = product.run([*inner, "--", "sh", "-c", script], options=["--allow-none", "--witness", "always"])
    assert "ringback: --witness is not used: it is inside another one" in done.stderr
    assert (done.returncode, done.stderr.count("was on its way to api.twilio.com")) == (3, 1), done.stderr


@WITNESSING
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="it needs root and setpriv")
def test_root_without_capabilities_is_watched_too(product: Product) -> None:
    """As in a container with Docker's default rights."""
    options = ["setpriv", "--bounding-set=-sys_admin,-sys_ptrace", "--inh-caps=-all"]
    script = f"grep NoNewPrivs /proc/self/status; curl -sS --noproxy '*' {URL} 2> /dev/null; true"
    ringback = [sys.executable, "-m", "ringback", "run", "--allow-none", "--", "sh", "-c", script]
    done = finished([*options, *ringback], product.environment())
    assert (done.returncode, done.stdout) == (3, "NoNewPrivs:\t1\n"), done.stderr
    assert "curl (curl -sS --noproxy" in done.stderr


@pytest.mark.parametrize(
    "wanted, user, limited, reason",
    [
        ("auto", 0, False, ""),
        ("auto", 1000, True, ""),
        ("auto", 1000, False, "`--witness always` does it"),
        ("always", 1000, False, ""),
        ("never", 0, False, "--witness never"),
    ],
)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere it is not Linux")
def test_who_is_watched(
    wanted: Literal["auto", "always", "never"],
    user: int,
    limited: bool,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr("ringback.cli.witness._gains_nothing", lambda: limited)
    assert reason_against(wanted).endswith(reason)
    assert bool(reason_against(wanted)) == bool(reason)


def test_where_there_is_no_witness_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    if sys.platform.startswith("linux"):
        assert reason_against("always") == "it is not known for riscv64"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert reason_against("auto") == "it is not Linux"


def _query(host: str, *, flags: bytes = b"\1\0", questions: bytes = b"\0\1") -> bytes:
    name = b"".join(bytes([len(label)]) + label.encode() for label in host.split("."))
    return b"id" + flags + questions + bytes(6) + name + b"\0\0\1\0\1"


@pytest.mark.parametrize(
    "data, host",
    [
        (_query("api.twilio.com"), "api.twilio.com"),
        (_query("API.Dublin.ie1.Twilio.COM"), "api.dublin.ie1.twilio.com"),
        (_query("twilio.com"), "twilio.com"),
        (_query("api.nottwilio.com"), ""),
        (_query("api.twilio.com.example"), ""),
        (_query("api.twilio.com", flags=b"\x81\x80"), ""),
        (_query("api.twilio.com", questions=b"\0\0"), ""),
        (_query("api.twilio.com")[:-6], ""),
        (_query("a\n1 x\0y\x1b[31m.twilio.com"), "a?1?x?y??31m.twilio.com"),
        (b"x" * 60, ""),
        (b"", ""),
    ],
    ids=repr,
)
def test_a_query_is_told_from_other_bytes(data: bytes, host: str) -> None:
    assert SUPERVISOR.queried(data) == host
