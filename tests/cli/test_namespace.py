"""`run --mount-namespace`: who goes past the proxy beside answered requests, in any language, is named."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from ringback.cli.namespace import Namespace
from ringback.cli.startup import CannotStartError
from support.namespaces import ALLOWED
from support.product import SID, TOKEN, Product, product

__all__ = ["product"]

pytestmark = [
    pytest.mark.skipif(not ALLOWED, reason="no mount namespace is allowed here: it needs root on Linux"),
    pytest.mark.xdist_group("mount-namespace"),
]

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
    "ruby": (("ruby",), f'RUBYLIB= ruby -rnet/http -e "{RUBY}"'),
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


def test_who_goes_past_the_proxy_is_named(product: Product, programs: Path) -> None:
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
    done = product.run(["sh", script], cwd=programs, options=["--mount-namespace"])
    assert done.returncode == 3, done.stderr
    assert "ringback: 1 Twilio request answered, offline" in done.stderr
    named = re.findall(r"^ringback:   .* \((.*)\) was on its way to (\S+)", done.stderr, re.MULTILINE)
    assert len(named) == len(here), (sorted(here), done.stderr)
    hosts = {host for _, host in named}
    assert {"api.twilio.com", "api.dublin.ie1.twilio.com"} <= hosts


ORDINARY: Final = {
    "curl": (("curl",), SERVED),
    "curl elsewhere": (("curl",), "curl -sS --noproxy '*' http://127.0.0.1:9/ || true"),
    "python": ((), f"{sys.executable} -c 'import ssl, socket; socket.getaddrinfo(\"localhost\", 1)'"),
    "ruby": (("ruby",), "ruby -rsocket -e 'TCPServer.new(\"127.0.0.1\", 0)'"),
    "node": (("node",), "node -e 'require(\"net\").createServer().listen(0).close()'"),
    "php": (("php",), "php -r 'fclose(stream_socket_server(\"tcp://127.0.0.1:0\"));'"),
}


def test_nobody_else_is_accused(product: Product) -> None:
    words = [words for needed, words in ORDINARY.values() if all(map(shutil.which, needed))]
    script = "\n".join(words * 5)
    done = product.run(["sh", "-c", script], options=["--mount-namespace"])
    assert (done.returncode, "past the proxy" in done.stderr) == (0, False), done.stderr


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


def test_nothing_is_seen_outside(product: Product) -> None:
    done = product.run(
        ["sh", "-c", "grep -c twilio.com /etc/hosts; sleep 0"], options=["--mount-namespace", "--allow-none"]
    )
    assert int(done.stdout) > 1
    assert "mcs.twilio.com" not in Path("/etc/hosts").read_text()


def test_a_command_that_is_not_found_is_told_as_usual(product: Product) -> None:
    done = product.run(["no-such-command"], options=["--mount-namespace"])
    assert (done.returncode, done.stderr) == (127, "ringback: no-such-command: command not found\n")


def test_a_system_that_refuses_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        CannotStartError, match=r"does not allow it \(/etc/hosts: No such file or directory\)"
    ):
        Namespace(((str(tmp_path / "not there"), "/etc/hosts"),)).check()


def test_a_command_that_gives_up_root_is_served_and_watched(product: Product) -> None:
    """As a person calls it by sudo whose program is not to run as root."""
    if not shutil.which("setpriv"):
        pytest.skip("setpriv is not installed here (Debian: util-linux)")
    user = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    script = f"id -u; {SERVED} && echo served; curl -sS --noproxy '*' {URL} 2> /dev/null; true"
    done = product.run([*user, "sh", "-c", script], options=["--mount-namespace"])
    assert (done.returncode, done.stdout) == (3, "65534\nserved\n"), done.stderr
    assert "curl (curl -sS --noproxy" in done.stderr
