"""`pytest --ringback` as a program, in a directory of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import pytest
import yaml

from ringback.cassettes.files import check_name
from ringback.pytest_plugin import cassette_name
from support.clients import GOOD
from support.product import SID, TOKEN
from support.proxying import environment
from support.proxying import ringback as run_ringback
from support.sdks import python_sdk
from support.upstream import module_upstream, upstream, upstream_ca

if TYPE_CHECKING:
    from pathlib import Path

    from support.upstream import LoopbackUpstream

__all__ = ["module_upstream", "upstream", "upstream_ca"]

SENDING = f"""
import asyncio, os, socket, threading
import aiohttp, httpx, pytest, requests

URL = "https://api.twilio.com/2010-04-01/Accounts/{SID}/Messages.json"
FORM = {GOOD["Messages"]!r}
AUTH = ("{SID}", "{TOKEN}")

def send():
    return requests.post(URL, FORM, auth=AUTH, timeout=20)
"""
ANSWERED = """
def test_requests():
    assert send().status_code == 201

def test_httpx():
    assert httpx.post(URL, data=FORM, auth=AUTH).status_code == 201

def test_aiohttp():
    async def post():
        async with aiohttp.ClientSession() as session:
            async with session.post(URL, data=FORM, auth=aiohttp.BasicAuth(*AUTH)) as answer:
                return answer.status
    assert asyncio.run(post()) == 201

"""
CLIENTS = (
    ANSWERED
    + """
def test_what_a_test_is_told(ringback):
    assert ringback.cassette == "test_it.test_what_a_test_is_told"
    assert f"//{ringback.cassette}:x@127.0.0.1:" in ringback.proxy
    assert os.environ["HTTPS_PROXY"].rpartition("@")[2] == ringback.proxy.rpartition("@")[2]
    with open(ringback.bundle) as file:
        assert "BEGIN CERTIFICATE" in file.read()
"""
)


def run_pytest(
    directory: Path, home: Path, tests: str, *arguments: str, **more: str
) -> subprocess.CompletedProcess[str]:
    (directory / "test_it.py").write_text(SENDING + tests)
    (directory / "pytest.ini").touch()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(
        command,
        cwd=directory,
        env=environment(home) | more,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["in one process", "xdist"])
def test_the_clients_of_a_test_are_answered(tmp_path: Path, home: Path, workers: tuple[str, ...]) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    done = run_pytest(tmp_path, home, CLIENTS, "--ringback", *workers, TMPDIR=str(temporary))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout
    assert "ringback: 3 Twilio requests answered, offline (contract 3)\n" in done.stdout
    assert "listening" not in done.stdout
    assert [entry for entry in temporary.iterdir() if "ringback" in entry.name] == []


ASSERTED = """
TO = "+14105550101"

def message(body="Your code is 481231.", to=TO, resource="Messages", **more):
    url = URL.replace("Messages", resource)
    return requests.post(url, {**FORM, "To": to, "Body": body, **more}, auth=AUTH, timeout=20)

@pytest.fixture
def greeted():
    message("hello")

def test_what_was_sent(greeted, ringback):
    assert ringback.messages == [{"to": TO, "body": "hello"}]
    threading.Thread(target=message).start()
    found = ringback.wait_for(to=TO, body_matches="[0-9]{6}", timeout=30)
    assert (found.resource, found.status, found.form["From"]) == ("Messages", 201, FORM["From"])
    assert message(resource="Calls", Url="http://demo.example/voice.xml").status_code == 201
    assert message(resource="IncomingPhoneNumbers", PhoneNumber="+15005550006").status_code == 201
    assert [one.url for one in ringback.calls] == ["http://demo.example/voice.xml"]
    assert ringback.numbers == [{"phone_number": "+15005550006"}]
    assert [one.number for one in ringback.requests] == sorted(one.number for one in ringback.requests)
    assert ringback.messages[1] == {"from": FORM["From"], "segments": 1, "status": "queued"}
    ringback.reset()
    assert ringback.requests == []

def test_the_next_one_fails(ringback):
    assert ringback.requests == []
    ringback.row(to=TO, error=21610)
    ringback.row("Calls", to=TO, error=21210)
    ringback.row(to=TO, error=21614, status=402)
    assert (message().status_code, message().json()["code"]) == (402, 21614)
    assert message(resource="Calls", Url="http://demo.example/").json()["code"] == 21210
    assert message(to="+14105550102").status_code == 201
    with pytest.raises(ValueError, match="no text"):
        ringback.row(to=TO, error=99999)

def test_a_row_ends_with_its_test():
    assert message().status_code == 201
"""
FAILING = (
    ASSERTED
    + """
def test_lists_differ(ringback):
    message()
    assert ringback.messages == [{"to": TO, "body": "Your code is 1."}, {"to": "+14105550102"}]

def test_one_differs(ringback):
    message()
    assert ringback.messages[0] == {"to": "+14105550109"}

def test_too_many(ringback):
    message()
    assert [] == ringback.messages

def test_none_came(ringback):
    message("hello")
    ringback.wait_for(body="code", timeout=0.01)

def test_without_the_fixture():
    assert message(to="+15005550001").status_code == 201
"""
)


def test_a_test_asserts_what_was_sent(tmp_path: Path, home: Path) -> None:
    done = run_pytest(tmp_path, home, ASSERTED, "--ringback", "-n", "2")
    assert (done.returncode, "3 passed" in done.stdout) == (0, True), done.stdout + done.stderr


def test_under_run_the_fixture_alone_is_enough(tmp_path: Path, home: Path) -> None:
    (tmp_path / "test_it.py").write_text(SENDING + ASSERTED)
    command = ("run", "--", sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py")
    done = run_ringback(home, *command, "-k", "next_one", cwd=tmp_path)
    assert (done.returncode, "1 passed" in done.stdout) == (0, True), done.stdout + done.stderr


def test_a_failure_tells_what_the_test_asked_and_got(tmp_path: Path, home: Path) -> None:
    done = run_pytest(tmp_path, home, FAILING, "--ringback")
    assert done.returncode == 1, done.stdout
    named = re.split(r"^_+ (test_\w+) _+$", done.stdout, flags=re.MULTILINE)[1:]
    parts = dict(zip(named[::2], named[1::2], strict=True))
    wanted = {
        "test_lists_differ": [
            "1 request sent, 2 expected",
            "  1. body: 'Your code is 481231.' is not 'Your code is 1.'",
            "  2. missing: {'to': '+14105550102'}",
            "- Twilio requests of this test -",
        ],
        "test_one_differs": ["to: '+14105550101' is not '+14105550109'"],
        "test_too_many": ["1 request sent, 0 expected", "  1. not expected: #"],
        "test_none_came": [
            "0 requests with body='code' within 0.01 s, 1 expected",
            "Messages +15005550006 -> +14105550101 'hello'",
            "got 201 SM",
        ],
        "test_without_the_fixture": [
            "Messages +15005550006 -> +15005550001",
            "got 400, error 21211: The 'To' number +15005550001 is not a valid phone number.",
            "(Messages.to.invalid)",
        ],
    }
    missing = {(name, text) for name, texts in wanted.items() for text in texts if text not in parts[name]}
    assert missing == set(), done.stdout


def test_nothing_changes_unless_it_is_asked_for(tmp_path: Path, home: Path) -> None:
    tests = """
def test_it():
    assert "RINGBACK_PROXY_URL" not in os.environ and "HTTPS_PROXY" not in os.environ

def test_asks_for_it(ringback):
    pass
"""
    done = run_pytest(tmp_path, home, tests)
    assert done.returncode == 1
    assert "1 error" in done.stdout
    assert "no proxy: call `pytest --ringback`, or `ringback run -- pytest`" in done.stdout


def test_each_test_has_a_cassette_of_its_own(tmp_path: Path, home: Path) -> None:
    tests = """
def test_recorded():
    assert send().headers["Ringback-Source"].startswith("cassette; rule=test_it.test_recorded#")

def test_other():
    assert send().headers["Ringback-Source"].startswith("contract;")
"""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    written(shelf / "test_it.test_recorded.yaml")
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nringback_options = --cassettes shelf\naddopts = --ringback\n"
    )
    done = run_pytest(tmp_path, home, tests)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "(cassette 1, contract 1)" in done.stdout


def test_an_unused_recording_fails_a_session_that_passed(tmp_path: Path, home: Path) -> None:
    (tmp_path / "cassettes").mkdir()
    written(tmp_path / "cassettes" / "default.yaml")
    (tmp_path / "pytest.ini").write_text("[pytest]\nringback_options = --fail-on-unused --cassette default\n")
    done = run_pytest(tmp_path, home, "\ndef test_it(): pass\n", "--ringback")
    assert done.returncode == 1
    assert "unused" in done.stdout
    assert "1 passed" in done.stdout


def test_under_run_its_proxy_is_used(tmp_path: Path, home: Path) -> None:
    (tmp_path / "test_it.py").write_text(SENDING + ANSWERED)
    done = run_ringback(
        home, "run", "--", sys.executable, "-m", "pytest", "-q", "--ringback", str(tmp_path), cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ringback: 3 Twilio requests answered" in done.stderr
    assert "ringback:" not in done.stdout


def test_a_proxy_that_does_not_start_is_reported_without_a_traceback(tmp_path: Path, home: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\nringback_options = --mode sometimes\n")
    done = run_pytest(tmp_path, home, CLIENTS, "--ringback")
    assert done.returncode == 4
    assert "sometimes" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


KEPT_CLIENTS = """
import httpx, pytest, requests, socket, threading, urllib3

MODULE = requests.Session()
MODULE.proxies = {"https": os.environ["HTTPS_PROXY"]}  # as a client does that keeps the first proxy URL
POOL = urllib3.ProxyManager(os.environ["HTTPS_PROXY"], ca_certs=os.environ["SSL_CERT_FILE"])
HTTPX = httpx.Client()

def form(body):
    return {"To": "+14105550100", "From": "+15005550006", "Body": body}

def by_requests(body):
    return MODULE.post(URL, form(body), auth=AUTH, timeout=20).status_code

def by_urllib3(body):
    headers = urllib3.make_headers(basic_auth=":".join(AUTH))
    return POOL.request_encode_body("POST", URL, form(body), headers=headers, encode_multipart=False).status

def by_httpx(body):
    return HTTPX.post(URL, data=form(body), auth=AUTH).status_code

@pytest.fixture(scope="module")
def shared():
    assert by_requests("set up") == 201
    yield
    assert by_requests("torn down") == 201

@pytest.mark.parametrize("way", [by_requests, by_urllib3, by_httpx])
def test_each(way, shared):
    assert way(way.__name__) == 201

def test_thread(shared):
    thread = threading.Thread(target=by_requests, args=("thread",))
    thread.start()
    thread.join()

def test_asyncio():
    async def main():
        async with httpx.AsyncClient() as client:
            return await client.post(URL, data=form("asyncio"), auth=AUTH)
    assert asyncio.run(main()).status_code == 201

def test_aiohttp():
    async def main():
        async with aiohttp.ClientSession(trust_env=True) as session:
            async with session.post(URL, data=form("aiohttp"), auth=aiohttp.BasicAuth(*AUTH)) as got:
                return got.status
    assert asyncio.run(main()) == 201
"""


@pytest.fixture
def recording(tmp_path: Path, upstream: LoopbackUpstream) -> LoopbackUpstream:
    (tmp_path / "pytest.ini").write_text(
        f"[pytest]\nringback_options = --mode auto --upstream {upstream.url} --upstream-ca {upstream.ca}\n"
    )
    return upstream


def bodies(directory: Path) -> dict[str, list[str]]:
    """The Body fields of the requests in each cassette, by its name."""
    found = {}
    for file in sorted(directory.glob("*.yaml")):
        interactions = yaml.safe_load(file.read_text())["interactions"]
        found[file.stem] = sorted(
            value
            for one in interactions
            for name, value in parse_qsl(one["request"]["body"])
            if name == "Body"
        )
    return found


@pytest.mark.parametrize("order", [(), ("-n4",), ("-p", "no:randomly", "--reverse")], ids=str)
def test_clients_that_keep_their_proxy_url_record_into_each_tests_own_cassette(
    tmp_path: Path, home: Path, recording: LoopbackUpstream, order: tuple[str, ...]
) -> None:
    assert recording
    (tmp_path / "conftest.py").write_text(
        "def pytest_addoption(parser): parser.addoption('--reverse', action='store_true')\n"
        "def pytest_collection_modifyitems(config, items):\n"
        "    if config.getoption('--reverse'): items.reverse()\n"
    )
    done = run_pytest(tmp_path, home, KEPT_CLIENTS, "--ringback", *order)
    assert done.returncode == 0, done.stdout + done.stderr
    found = bodies(tmp_path / "cassettes")
    assert set(found.pop("test_it.shared")) == {"set up", "torn down"}
    assert "belong to no running test" not in done.stdout
    assert found == {
        cassette_name("test_it.py::test_each[by_requests]"): ["by_requests"],
        cassette_name("test_it.py::test_each[by_urllib3]"): ["by_urllib3"],
        cassette_name("test_it.py::test_each[by_httpx]"): ["by_httpx"],
        "test_it.test_thread": ["thread"],
        "test_it.test_asyncio": ["asyncio"],
        "test_it.test_aiohttp": ["aiohttp"],
    }


SETUPS = """
import unittest

def sent(body):
    assert requests.post(URL, {**FORM, "Body": body}, auth=AUTH, timeout=20).status_code == 201

def setup_module():
    sent("module up")

def teardown_module():
    sent("module down")

class TestPlain:
    @classmethod
    def setup_class(cls):
        sent("class up")

    @classmethod
    def teardown_class(cls):
        sent("class down")

    def setup_method(self):
        sent("method up")

    def test_a(self):
        sent("a")

    def test_b(self):
        sent("b")

class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        sent("case up")

    @classmethod
    def tearDownClass(cls):
        sent("case down")

    def setUp(self):
        sent("set up")

    def test_c(self):
        sent("c")

    def test_d(self):
        sent("d")
"""


def test_what_modules_and_classes_set_up_has_cassettes_of_its_own_in_any_order(
    tmp_path: Path, home: Path, recording: LoopbackUpstream
) -> None:
    assert recording
    (tmp_path / "conftest.py").write_text("def pytest_collection_modifyitems(items): items.reverse()\n")
    done = run_pytest(tmp_path, home, SETUPS, "--ringback")
    assert done.returncode == 0, done.stdout + done.stderr
    assert bodies(tmp_path / "cassettes") == {
        "test_it.setup_module": ["module down", "module up"],
        "test_it.TestPlain.setup_class": ["class down", "class up"],
        "test_it.TestPlain.test_a": ["a", "method up"],
        "test_it.TestPlain.test_b": ["b", "method up"],
        "test_it.Case.setUpClass": ["case down", "case up"],
        "test_it.Case.test_c": ["c", "set up"],
        "test_it.Case.test_d": ["d", "set up"],
    }
    (tmp_path / "conftest.py").unlink()
    strict = ["--ringback", "-o", "ringback_options=--strict --fail-on-unused"]
    done = run_pytest(tmp_path, home, SETUPS, *strict)
    assert done.returncode == 0, done.stdout + done.stderr


MISSING = """
def test_missing():
    got = requests.post(URL, {"To": "+14105550101", "From": "+15005550006", "Body": "x"}, auth=AUTH)
    assert got.status_code == 404
    print(got.json()["message"].splitlines()[-1])
"""


@pytest.mark.parametrize("workers", [(), ("-n1",)], ids=["in one process", "xdist"])
def test_a_strict_miss_names_the_pytest_command(tmp_path: Path, home: Path, workers: tuple[str, ...]) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\nringback_options = --strict\n")
    done = run_pytest(tmp_path, home, MISSING, "--ringback", "-rP", *workers)
    assert done.returncode == 1, done.stdout
    record = "To record it: RINGBACK_MODE=auto pytest --ringback test_it.py::test_missing"
    assert record in done.stdout.splitlines()
    assert "requests that were refused or missed:" in done.stdout


def test_under_run_a_strict_miss_names_both(tmp_path: Path, home: Path) -> None:
    (tmp_path / "test_it.py").write_text(SENDING + MISSING)
    asked = [sys.executable, "-m", "pytest", "-q", "--ringback", "-rP", "test_it.py"]
    done = run_ringback(home, "run", "--strict", "--", *asked, cwd=tmp_path)
    assert done.returncode == 4, done.stdout + done.stderr
    record = "To record it: ringback run --mode auto -- pytest --ringback test_it.py::test_missing"
    assert record in done.stdout.splitlines()


def test_the_sdks_client_at_module_level_records_into_each_tests_own_cassette(
    tmp_path: Path, home: Path, recording: LoopbackUpstream
) -> None:
    # The SDK shares one requests session, which keeps its first proxy for good.
    assert recording
    tests = """
from twilio.rest import Client
CLIENT = Client(*AUTH)

@pytest.mark.parametrize("word", ["one", "two", "three"])
def test(word):
    assert CLIENT.messages.create(to="+14105550100", from_="+15005550006", body=word).sid
"""
    done = run_pytest(tmp_path, home, tests, "--ringback", **python_sdk("9").environment)
    assert done.returncode == 0, done.stdout + done.stderr
    words = ("one", "two", "three")
    assert bodies(tmp_path / "cassettes") == {
        cassette_name(f"test_it.py::test[{word}]"): [word] for word in words
    }


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["in one process", "xdist"])
def test_a_client_that_goes_past_the_proxy_fails_the_run_with_the_tests_name(
    tmp_path: Path, home: Path, workers: tuple[str, ...]
) -> None:
    tests = """
def test_right():
    assert send().status_code == 201

def test_past_the_proxy():
    with pytest.raises(socket.gaierror, match="past its proxy"):
        socket.getaddrinfo("api.twilio.com", 443)
"""
    done = run_pytest(tmp_path, home, tests, "--ringback", *workers)
    assert "2 passed" in done.stdout
    assert done.returncode == 1
    said = "test_it.py::test_past_the_proxy: a client (python) was stopped on its way to api.twilio.com"
    assert f"ringback: {said} past the proxy" in done.stdout
    assert "test_right:" not in done.stdout


def test_required_requests_that_do_not_come_fail_the_run(tmp_path: Path, home: Path) -> None:
    done = run_pytest(tmp_path, home, "\ndef test_it(): pass\n", "--ringback-required")
    assert done.returncode == 1
    assert "no test sent a Twilio request, and --ringback-required asks for one" in done.stdout
    done = run_pytest(tmp_path, home, "\ndef test_it(): send()\n", "--ringback-required")
    assert done.returncode == 0, done.stdout


def test_a_request_that_belongs_to_no_test_is_reported(tmp_path: Path, home: Path) -> None:
    done = run_pytest(tmp_path, home, "\nsend()\ndef test_it(): send()\n", "--ringback")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ringback: 1 Twilio request(s) belong to no running test: cassette outside-tests" in done.stdout


def test_the_layout_of_pytest_recording_is_replayed_where_it_lies(tmp_path: Path, home: Path) -> None:
    shelf = tmp_path / "cassettes" / "test_it"
    shelf.mkdir(parents=True)
    written(shelf / "test_a[x-y].yaml")
    written(shelf / "TestC.test_b.yaml")
    tests = """
@pytest.mark.parametrize("word", ["x/y"])
def test_a(word):
    assert send().headers["Ringback-Source"].startswith("cassette;")

class TestC:
    def test_b(self):
        assert send().headers["Ringback-Source"].startswith("cassette;")
"""
    done = run_pytest(tmp_path, home, tests, "--ringback")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "(cassette 2)" in done.stdout
    assert sorted(file.name for file in (tmp_path / "cassettes").iterdir()) == ["test_it"]


def written(path: Path) -> None:
    """A cassette with a recording of what the tests send."""
    uri = f"https://api.twilio.com/2010-04-01/Accounts/{SID}/Messages.json"
    sent = "&".join(
        f"{name}={value.replace('+', '%2B').replace(' ', '+')}" for name, value in GOOD["Messages"].items()
    )
    one = {
        "request": {"method": "POST", "uri": uri, "body": sent, "headers": {}},
        "response": {
            "status": {"code": 201, "message": "CREATED"},
            "headers": {"Content-Type": ["application/json"]},
            "body": {"string": "{}"},
        },
    }
    path.write_text(yaml.safe_dump({"version": 1, "interactions": [one]}))


@pytest.mark.parametrize(
    "nodeid, name",
    [
        ("test_a.py::test_b", "test_a.test_b"),
        ("tests/sms/test_a.py::TestC::test_b", "tests.sms.test_a.TestC.test_b"),
    ],
)
def test_plain_names(nodeid: str, name: str) -> None:
    assert cassette_name(nodeid) == name


def test_names_are_slugs_and_different() -> None:
    nodeids = [
        "test_a.py::test_b[x/y]",
        "test_a.py::test_b[x-y]",
        "test_a.py::test_b[\xe9]",
        "test_a.py::test_b[\ud800]",
        "test_a.py::test_b[a.yaml]",
        "test_a.py::test_b.yaml",
        "test_a.py::" + 120 * "x",
        "test_a.py::" + 121 * "x",
        "\u65e5\u672c.py::\u8a9e",
        "../test_a.py::test_b",
        ".py::-",
    ]
    names = [check_name(cassette_name(nodeid)) for nodeid in nodeids]
    assert len(set(names)) == len(names)
