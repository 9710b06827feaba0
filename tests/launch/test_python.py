"""Real Python clients, with the shim: every version that is installed here, from 2.7 on."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ringback.launch.hints import bypass_hint, seen_runtimes, stopped_bypasses
from support.sdks import python_packages

if TYPE_CHECKING:
    from support.launching import Launcher

URL = "https://api.twilio.com/2010-04-01/Accounts/AC0/Messages.json"

URLLIB = f"""
try:
    from urllib.request import Request, urlopen
except ImportError:
    from urllib2 import Request, urlopen
answer = urlopen(Request({URL!r}, b"To=1", {{"Authorization": "Basic eDp5"}}))
print(answer.read().decode()[:40])
"""
REQUESTS = f"""
import requests
print(requests.post({URL!r}, data={{"To": "1"}}, auth=("x", "y")).status_code)
"""
# As twilio 6.63 to 7.9 send: the environment's proxies and no other of its variables.
PREPARED = f"""
import certifi, requests
request = requests.Request("POST", {URL!r}, data={{"To": "1"}}, auth=("x", "y")).prepare()
proxies = requests.utils.getproxies()
print(requests.Session().send(request, verify=certifi.where(), proxies=proxies).status_code)
"""
AIOHTTP = f"""
import asyncio, aiohttp
async def main():
    async with aiohttp.ClientSession(headers={{"Authorization": "Basic eDp5"}}) as session:
        async with session.post({URL!r}, data={{"To": "1"}}) as answer:
            print(answer.status)
asyncio.run(main())
"""
HTTPX = f"""
import httpx
print(httpx.post({URL!r}, data={{"To": "1"}}, auth=("x", "y")).status_code)
"""
CLIENTS = {"requests": REQUESTS, "prepared": PREPARED, "aiohttp": AIOHTTP, "httpx": HTTPX}


@cache
def _pythons() -> dict[str, str]:
    """Every Python of this machine by its version, 2.7 to the newest."""
    found = {}
    for path in [*Path.home().glob(".pyenv/versions/*/bin/python"), *Path("/usr/bin").glob("python[23].*")]:
        if re.fullmatch(r"python[0-9.]*", path.name):
            command = [path, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
            version = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
            found.setdefault(version, str(path))
    return found


@pytest.mark.parametrize(
    "version", ["2.7", "3.5", "3.6", "3.7", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14"]
)
def test_urllib_of_every_python(version: str, launcher: Launcher) -> None:
    python = _pythons().get(version) or pytest.skip(f"no Python {version} is installed here")
    launched = launcher()
    done = launched.run([python, "-c", URLLIB])
    assert done.stderr == ""
    assert done.stdout.startswith('{"account_sid"')
    assert [request["form"] for request in launched.requests()] == ["To=1"]
    assert [(mark.runtime, mark.version[:3]) for mark in seen_runtimes(launched.launch.directory)] == [
        ("python", version[:3])
    ]


@pytest.mark.parametrize("library", CLIENTS)
def test_the_clients_of_today(library: str, launcher: Launcher) -> None:
    launched = launcher()
    # aiohttp closes its connections a moment later than its session; on a busy machine that is too late.
    strict = ["-W", "error", "-W", "ignore::ResourceWarning"]
    done = launched.run([sys.executable, *strict, "-c", CLIENTS[library]])
    assert done.stderr == ""
    assert done.stdout == "201\n"
    assert len(launched.requests()) == 1


def test_a_sitecustomize_on_the_path_still_runs(launcher: Launcher, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "sitecustomize.py").write_text("print('mine ' + __name__)")
    for version, python in _pythons().items():
        done = launcher({"PYTHONPATH": str(tmp_path / "own")}).run([python, "-c", URLLIB])
        assert done.stdout.startswith('mine sitecustomize\n{"account_sid"'), (version, done.stderr)


def test_a_client_past_the_proxy_is_stopped_and_named(launcher: Launcher, tmp_path: Path) -> None:
    program = tmp_path / "send.py"
    program.write_text(URLLIB.replace("answer =", "import os; os.environ.clear(); answer ="))
    for version, python in _pythons().items():
        launched = launcher()
        done = launched.run([python, program, "--now"])
        assert done.returncode == 1, version
        assert "Ringback stopped a connection to api.twilio.com" in done.stderr
        assert launched.requests() == []
        (mark,) = stopped_bypasses(launched.launch.directory)
        assert (mark.host, mark.program) == ("api.twilio.com", f"{program} --now")
        hint = bypass_hint([python, str(program)], launched.launch.directory)
        assert hint.startswith(f"Python ({program} --now) was on its way to api.twilio.com past the proxy")


PAST = {
    "a socket of its own": "import socket; socket.socket().connect(('api.twilio.com', 443))",
    "uvloop": """
import asyncio, uvloop
uvloop.run(asyncio.wait_for(asyncio.open_connection("api.twilio.com", 443), 20))
""",
    "uvloop's look-up": """
import asyncio, uvloop
async def main():
    await asyncio.get_running_loop().getaddrinfo("api.twilio.com", 443)
uvloop.run(main())
""",
    "aiodns": """
import asyncio, aiohttp
async def main():
    connector = aiohttp.TCPConnector(resolver=aiohttp.AsyncResolver())
    async with aiohttp.ClientSession(connector=connector, trust_env=False) as session:
        await session.get("https://api.twilio.com/")
asyncio.run(main())
""",
    "gevent": """
from gevent import monkey; monkey.patch_all()
import requests
session = requests.Session(); session.trust_env = False
session.get("https://api.twilio.com/", timeout=20)
""",
    "gevent's sockets": """
import gevent.socket
gevent.socket.create_connection(("api.twilio.com", 443), 20)
""",
}


@pytest.mark.parametrize("client", PAST)
def test_no_client_of_its_own_gets_past_the_proxy(client: str, launcher: Launcher) -> None:
    more = python_packages("clients", "aiodns>=3.2", "aiohttp>=3.9", "gevent>=24", "requests", "uvloop>=0.20")
    launched = launcher({"PYTHONPATH": str(more)})
    done = launched.run([sys.executable, "-W", "ignore", "-c", PAST[client]])
    assert done.returncode == 1
    assert "Ringback stopped a connection to api.twilio.com" in done.stderr
    assert {mark.host for mark in stopped_bypasses(launched.launch.directory)} == {"api.twilio.com"}
    assert launched.requests() == []


def test_sockets_of_other_kinds_are_nobodys_business(launcher: Launcher, tmp_path: Path) -> None:
    code = f"""
import socket
with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
    server.bind({str(tmp_path / "s")!r}); server.listen(); client.connect({str(tmp_path / "s")!r})
with socket.create_server(("127.0.0.1", 0)) as server:
    socket.create_connection(server.getsockname()).close()
print("fine")
"""
    assert launcher().run([sys.executable, "-W", "ignore", "-c", code]).stdout == "fine\n"


@pytest.mark.parametrize("flag", ["-E", "-I", "-S"])
def test_a_shim_that_is_switched_off_is_named(flag: str, launcher: Launcher) -> None:
    launched = launcher()
    command = [sys.executable, flag, "-c", "pass"]
    assert launched.run(command).returncode == 0
    assert seen_runtimes(launched.launch.directory) == ()
    assert f"{flag}` starts Python without" in bypass_hint(command, launched.launch.directory)


def test_a_program_without_network_imports_nothing_for_it(launcher: Launcher) -> None:
    code = "import sys; print(sorted({'ssl', 'socket', 'aiohttp', 'importlib.util'} & set(sys.modules)))"
    plain = launcher().run([sys.executable, "-E", "-c", code]).stdout
    assert "ssl" not in plain
    shimmed = launcher().run([sys.executable, "-c", code]).stdout
    assert "ssl" not in shimmed
    assert "socket" not in shimmed


def test_other_hosts_keep_their_own_trust(launcher: Launcher) -> None:
    """The shim adds our root and takes none away."""
    code = (
        "import certifi, ssl; context = ssl.create_default_context(cafile=certifi.where());"
        "found = context.get_ca_certs(); print(len(found) > 100, sum('Ringback' in str(ca) for ca in found))"
    )
    assert launcher().run([sys.executable, "-c", code]).stdout == "True 1\n"


@pytest.mark.parametrize("place", ["with space", "mit ümläut"])
def test_a_directory_with_odd_characters(place: str, launcher: Launcher, tmp_path: Path) -> None:
    directory = tmp_path / place
    directory.mkdir()
    launched = launcher(directory=directory)
    done = launched.run([sys.executable, "-c", URLLIB])
    assert done.stdout.startswith('{"account_sid"'), done.stderr


def test_the_cassettes_name_travels_in_the_proxy_url(launcher: Launcher) -> None:
    launched = launcher(user="night run")
    assert launched.run([sys.executable, "-c", HTTPX]).stdout == "201\n"
