"""vcrpy as the judge: what a major of it replays, from its own cassette or from ours, is what we replay.

The installed vcrpy judges in every run. RINGBACK_VCRPY=all asks the last release of six majors, each fetched
once into `tests/.cache`.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vcr.persisters.filesystem import FilesystemPersister
from vcr.serializers import yamlserializer

from ringback.cassettes import verify
from ringback.exchange import Answer, Request
from support.exchanges import SID, TOKEN, Shelf, answer, basic, record, request
from support.sdks import python_packages

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

INSTALLED = "installed"
MAJORS = {"9": "9.4.2", "8": "8.5.0", "7": "7.0.0", "6": "6.0.2", "5": "5.1.0", "4": "4.4.0"}
ASKED = [INSTALLED, *(MAJORS if os.environ.get("RINGBACK_VCRPY") == "all" else ())]
# vcrpy takes hold of all clients at once, so one that is too new for it prevents everything.
CLIENTS_OF_ITS_TIME = {
    "9": ["aiohttp", "httpx<1", "requests"],
    "8": ["aiohttp", "httpx<1", "requests"],
    "7": ["aiohttp<3.12", "httpx<0.28", "requests"],
    "6": ["aiohttp<3.10", "httpx<0.28", "requests", "urllib3<2.3"],
    "5": ["aiohttp<3.9", "httpx<0.25", "requests", "urllib3<2"],
    "4": ["aiohttp<3.9", "httpx<0.25", "requests", "urllib3<2"],
}
CLIENTS = ["requests", "httpx", "aiohttp", "urllib3"]
API = "https://api.twilio.com"
PATH = f"/2010-04-01/Accounts/{SID}/Messages.json"
FORM = "application/x-www-form-urlencoded"

# Method, path, content type and body: recorded in this order, some several times.
REQUESTS: list[tuple[str, str, str, str]] = [
    ("POST", PATH, FORM, "To=%2B14105550100&From=%2B15005550006&Body=one"),
    ("POST", PATH, FORM, "To=%2B14105550100&From=%2B15005550006&Body=one"),
    ("POST", PATH, FORM, "To=%2B14105550100&From=%2B15005550006&Body=Gr%C3%BC%C3%9Fe+%F0%9F%98%80"),
    ("POST", PATH, FORM, "MediaUrl=a&MediaUrl=b&To=1"),
    ("POST", PATH, FORM, "MediaUrl=b&MediaUrl=a&To=1"),
    ("POST", PATH.removesuffix(".json"), FORM, "To=%2B14105550100&From=%2B15005550006&Body=xml"),
    ("GET", PATH + "?PageSize=2&To=%2B14105550100", "", ""),
    ("POST", "/v1/Things", "application/json", '{"a": 1, "b": [true, null]}'),
    ("POST", PATH, FORM, "To=%2B14105550100&From=%2B15005550006&Body=one"),
]

DRIVER = """
import asyncio, json, sys, warnings
import vcr
client, mode, cassette, base, asked = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4], json.load(sys.stdin)
auth = ("SID", "TOKEN")

def by_requests(method, url, headers, body):
    import requests
    session = requests.Session()
    session.trust_env = False
    got = session.request(method, url, headers=headers, data=body or None, auth=auth, timeout=20)
    return got.status_code, got.text

def by_httpx(method, url, headers, body):
    import httpx
    with httpx.Client(trust_env=False) as made:
        got = made.request(method, url, headers=headers, content=body or None, auth=auth)
    return got.status_code, got.text

def by_urllib3(method, url, headers, body):
    import urllib3
    headers = {**headers, **urllib3.make_headers(basic_auth=":".join(auth))}
    with urllib3.PoolManager() as pool:
        got = pool.request(method, url, headers=headers, body=body or None, retries=False)
    return got.status, got.data.decode()

def by_aiohttp(method, url, headers, body):
    import aiohttp, yarl
    async def main():
        async with aiohttp.ClientSession(auth=aiohttp.BasicAuth(*auth)) as session:
            target = yarl.URL(url, encoded=True)
            async with session.request(method, target, headers=headers, data=body or None) as got:
                return got.status, await got.text()
    return asyncio.run(main())

send = {"requests": by_requests, "httpx": by_httpx, "aiohttp": by_aiohttp, "urllib3": by_urllib3}[client]
record = mode == "record"
options = {"record_mode": "all" if record else "none", "match_on": ["method", "uri", "body"]}
outcomes = []
with vcr.use_cassette(cassette, **options):
    for method, path, kind, body in asked:
        headers = {"Content-Type": kind} if kind else {}
        try:
            outcomes.append(send(method, base + path, headers, body))
        except Exception as error:
            if record:
                raise
            outcomes.append(None)
json.dump(outcomes, sys.stdout)
"""


class Numbered(BaseHTTPRequestHandler):
    """Answers each request with the next number."""

    protocol_version = "HTTP/1.1"
    count = 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        Numbered.count += 1
        body = json.dumps({"n": Numbered.count, "account_sid": SID}).encode()
        self.send_response(201, "CREATED")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST  # noqa: N815 - the library's name

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Numbered) as listener:
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{listener.server_address[1]}"
        listener.shutdown()
        thread.join()


class Judge:
    """vcrpy of one version, in a process of its own."""

    def __init__(self, version: str) -> None:
        self.environment = {"PATH": os.environ["PATH"], "PYTHONWARNINGS": "ignore"}
        if version != INSTALLED:
            wanted = [f"vcrpy=={MAJORS[version]}", *CLIENTS_OF_ITS_TIME[version]]
            self.environment["PYTHONPATH"] = str(python_packages(f"vcrpy-{MAJORS[version]}", *wanted))

    def ask(self, client: str, mode: str, cassette: Path, base: str, asked: list[Any]) -> list[Any] | None:
        """Return status and body of each request, None for a miss; None alone if it cannot record."""
        script = DRIVER.replace('"SID"', repr(SID)).replace('"TOKEN"', repr(TOKEN))
        done = subprocess.run(
            [sys.executable, "-c", script, client, mode, str(cassette), base],
            input=json.dumps(asked),
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        if done.returncode and mode == "record":
            return None
        assert done.returncode == 0, done.stderr
        outcomes: list[Any] = json.loads(done.stdout)
        return outcomes


def to_request(method: str, path: str, kind: str, body: str) -> Request:
    headers = (basic(), ("Content-Type", kind)) if kind else (basic(),)
    return Request(method, "api.twilio.com", path, headers, body.encode())


def replayed_here(shelf: Shelf, asked: list[Any]) -> list[Any]:
    """What our cassette answers, in the form of the judge's outcomes."""
    outcomes: list[Any] = []
    with shelf.library(repeats="error") as library:
        cassette = library.open()
        for one in asked:
            got = cassette.lookup(to_request(*one))
            outcomes.append([got.status, got.body.decode()] if isinstance(got, Answer) else None)
    return outcomes


def orders() -> list[list[Any]]:
    """The recorded requests as recorded, shuffled, and with some that were never recorded."""
    chance = random.Random(17)
    shuffled = chance.sample(REQUESTS, len(REQUESTS))
    unknown = ("POST", PATH, FORM, "To=%2B14105550101&From=%2B15005550006&Body=one")
    swapped = ("POST", PATH, FORM, "Body=one&From=%2B15005550006&To=%2B14105550100")
    return [REQUESTS, shuffled, [unknown, swapped, *REQUESTS, swapped, ("GET", PATH, "", "")]]


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("version", ASKED)
def test_what_vcrpy_replays_of_its_own_cassette_is_replayed_here(
    shelf: Shelf, server: str, version: str, client: str
) -> None:
    judge = Judge(version)
    shelf.directory.mkdir()
    file = shelf.file()
    if judge.ask(client, "record", file, server, REQUESTS) is None:
        assert version != INSTALLED, "the installed vcrpy records with every client"
        pytest.skip(f"vcrpy {version} cannot record with this {client}")
    file.write_text(file.read_text().replace(server, API))
    for asked in orders():
        theirs = judge.ask(client, "replay", file, API, asked)
        ours = replayed_here(shelf, asked)
        assert theirs is not None
        assert any(theirs)
        for one, mine, their in zip(asked, ours, theirs, strict=True):
            if their is not None:
                assert mine == their, one


@pytest.mark.parametrize("version", ASKED)
def test_what_we_write_vcrpy_replays(shelf: Shelf, version: str) -> None:
    judge = Judge(version)
    placeholder = "AC" + "0" * 32
    with shelf.library("auto") as library:
        record(
            library.open(),
            *((to_request(*one), answer(number=n)) for n, one in enumerate(REQUESTS)),
        )
    asked = [(method, path.replace(SID, placeholder), kind, body) for method, path, kind, body in REQUESTS]
    theirs = judge.ask("requests", "replay", shelf.file(), API, asked)
    assert theirs is not None
    assert [json.loads(body)["n"] for _, body in theirs] == list(range(len(REQUESTS)))


TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=60)


@given(st.lists(st.tuples(TEXT, st.binary(max_size=60) | TEXT.map(str.encode)), min_size=1, max_size=4))
def test_whatever_we_write_vcrpy_reads_and_writes_again(
    tmp_path_factory: pytest.TempPathFactory, exchanges: list[tuple[str, bytes]]
) -> None:
    shelf = Shelf(tmp_path_factory.mktemp("both") / "cassettes")
    plain = (("Content-Type", "text/plain"),)
    shelf.write(*((request({"Body": sent}), answer(got, headers=plain)) for sent, got in exchanges))
    before = [one.interaction for one in verify.load(shelf.file()).placed]
    requests, responses, *_ = FilesystemPersister.load_cassette(shelf.file(), yamlserializer)
    assert [one.body or b"" for one in requests] == [one.request.body for one in before]
    assert [_bytes(one["body"]["string"]) for one in responses] == [one.answer.body for one in before]
    FilesystemPersister.save_cassette(
        shelf.file(), {"requests": requests, "responses": responses}, yamlserializer
    )
    loaded = verify.load(shelf.file())
    assert not loaded.ours
    assert [one.interaction for one in loaded.placed] == before


def _bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value
