"""Round trips with the real vcrpy and the real requests, both ways, against servers on loopback."""

from __future__ import annotations

import gzip
import json
import shutil
import ssl
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

import pytest
import requests
import vcr
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from vcr.errors import CannotOverwriteExistingCassetteException

from ringback.cassettes import vcr_format
from ringback.cassettes.matching import ACCOUNT_PLACEHOLDER
from ringback.exchange import Answer, Request, Source
from support.exchanges import (
    KEY,
    OTHER_SID,
    SID,
    TOKEN,
    Shelf,
    answer,
    found,
    missed,
    numbered,
    record,
    request,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

STRICT = {"record_mode": "none", "match_on": ["method", "uri", "body"]}
PLACEHOLDER_URL = f"https://api.twilio.com/2010-04-01/Accounts/{ACCOUNT_PLACEHOLDER}/Messages"
XML = "<?xml version='1.0' encoding='UTF-8'?>\n<R><Body>a &amp; é</Body>\n\n</R>".encode()

# name: form, extension, content type of the answer, its body
EXCHANGES: dict[str, tuple[list[tuple[str, str]], str, str, bytes]] = {
    "plain": ([("To", "+14105550100"), ("Body", "hello")], ".json", "application/json", b'{"sid": "SM1"}'),
    "non-ASCII": (
        [("Body", "Grüße \U0001f600 日本\n\u2028x")],
        ".json",
        "application/json",
        '{"b": "é\u2028日"}'.encode(),
    ),
    "XML": ([("Body", "x")], "", "application/xml", XML),
    "binary": ([("Body", "x")], "/Media", "image/png", bytes(range(256)) * 3),
    "repeated": (
        [("MediaUrl", "a"), ("MediaUrl", "b"), ("MediaUrl", "a")],
        ".json",
        "application/json",
        b"{}",
    ),
    "blank": ([("Body", ""), ("To", "")], ".json", "application/json", b"{}"),
    "tricky": (
        [("Body", "- a: 'b'\n# c\n")],
        ".json",
        "text/plain",
        b"- a: 'b'\n# ringback key=0\n\n   x \t\r\n",
    ),
    "empty": ([("Body", "nothing")], ".json", "text/plain", b""),
}


def send(url: str, form: list[tuple[str, str]], **more: object) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        return session.post(url, data=form, timeout=20, **more)  # type: ignore[arg-type]  # handed through


def as_request(url: str, form: list[tuple[str, str]], sid: str = SID) -> Request:
    """The `Request` that the proxy would make of what requests sends."""
    prepared = requests.Request("POST", url, data=form, auth=(sid, TOKEN)).prepare()
    parts = urlsplit(prepared.url or "")
    assert isinstance(parts.hostname, str)
    body = prepared.body or b""
    return Request(
        "POST",
        parts.hostname,
        parts.path + (f"?{parts.query}" if parts.query else ""),
        tuple(prepared.headers.items()),
        body.encode() if isinstance(body, str) else body,
        parts.scheme,
    )


@pytest.mark.parametrize("name", EXCHANGES)
def test_what_is_written_here_vcrpy_replays_as_it_stands(shelf: Shelf, name: str) -> None:
    form, extension, kind, body = EXCHANGES[name]
    url = PLACEHOLDER_URL + extension
    headers = (("Content-Type", kind), ("Content-Length", str(len(body))))
    said = Answer(201, "CREATED", headers, body, Source("live"))
    shelf.write((as_request(url.replace(ACCOUNT_PLACEHOLDER, SID), form), said))
    before = shelf.file().read_bytes()
    with vcr.use_cassette(str(shelf.file()), **STRICT) as cassette:
        got = send(url, form)
    assert (got.status_code, got.reason, got.content) == (201, "CREATED", body)
    assert got.headers["Content-Type"] == kind
    assert cassette.all_played
    assert shelf.file().read_bytes() == before


def test_vcrpy_sees_every_exchange_in_order(shelf: Shelf) -> None:
    url = PLACEHOLDER_URL + ".json"
    form = [("Body", "again")]
    shelf.write(*((as_request(url, form), answer(number=number)) for number in range(5)))
    with vcr.use_cassette(str(shelf.file()), **STRICT):
        assert [send(url, form).json()["n"] for _ in range(5)] == list(range(5))
        with pytest.raises(CannotOverwriteExistingCassetteException):
            send(url, form)


def test_vcrpy_resaves_our_file_and_we_read_that_again(shelf: Shelf, server: str) -> None:
    url = PLACEHOLDER_URL + ".json"
    shelf.write((as_request(url, [("Body", "1")]), answer(number=1)))
    with vcr.use_cassette(str(shelf.file()), record_mode="new_episodes", match_on=STRICT["match_on"]):
        send(server + "/2010-04-01/Accounts/AC1/Messages.json", [("Body", "2")])
    text = shelf.file().read_text()
    assert text.startswith("interactions:")
    assert text.endswith("version: 1\n")
    with shelf.library("auto") as library:
        cassette = library.open()
        assert cassette.foreign
        got = found(cassette, as_request(url, [("Body", "1")]))
        assert json.loads(got.body)["n"] == 1
        assert got.source.basis == "recorded"
        record(cassette, (as_request(url, [("Body", "3")]), answer(number=3)))
    assert "rewritten so that it can be appended to (2 interactions kept)" in shelf.reported[0]
    assert shelf.file().read_text().startswith("version: 1\nmetadata:\n  ringback:")
    with shelf.library() as library:
        assert [numbered(library.open(), as_request(url, [("Body", body)])) for body in "13"] == [1, 3]
    with vcr.use_cassette(str(shelf.file()), **STRICT):
        assert send(url, [("Body", "3")]).json()["n"] == 3


# --- what vcrpy records ---


class Echo(BaseHTTPRequestHandler):
    """Answers with what `EXCHANGES` says for the path's first part, else with the form it got."""

    protocol_version = "HTTP/1.1"
    seen: ClassVar[list[bytes]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        name = self.path.split("/")[1]
        kind, content = "application/json", json.dumps({"got": body.decode()}).encode()
        if name in EXCHANGES:
            _, _, kind, content = EXCHANGES[name]
        self.send_response(201, "CREATED")
        if "gzip" in self.path:
            content = gzip.compress(content)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Type", kind)
        self.send_header("Set-Cookie", "session=0123456789abcdef")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def serve(context: ssl.SSLContext | None) -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as listener:
        if context:
            listener.socket = context.wrap_socket(listener.socket, server_side=True)
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield listener
        listener.shutdown()
        thread.join()


@pytest.fixture
def server() -> Iterator[str]:
    for listener in serve(None):
        yield f"http://127.0.0.1:{listener.server_address[1]}"


@pytest.mark.parametrize("name", EXCHANGES)
@pytest.mark.parametrize("coding", ["identity", "gzip"])
def test_what_vcrpy_writes_is_replayed_here(shelf: Shelf, server: str, name: str, coding: str) -> None:
    form, extension, kind, body = EXCHANGES[name]
    url = f"{server}/{name}/{coding}/2010-04-01/Accounts/{SID}/Messages{extension}"
    with vcr.use_cassette(str(shelf.file())):
        assert send(url, form, auth=(SID, TOKEN)).content == body
    with shelf.library() as library:
        cassette = library.open()
        got = found(cassette, as_request(url, form))
        assert (got.status, got.reason, got.body) == (201, "CREATED", body)
        assert got.header("Content-Type") == kind
        assert got.header("Content-Encoding") is None
        assert got.header("Content-Length") == str(len(body))
        missed(cassette, as_request(url, [*form, ("X", "")]))


def test_a_blank_field_and_none_are_two_requests_here(shelf: Shelf, server: str) -> None:
    url = f"{server}/2010-04-01/Accounts/{SID}/Messages.json"
    with vcr.use_cassette(str(shelf.file()), match_on=STRICT["match_on"], record_mode="all"):
        for form in ([("To", "1"), ("Body", "")], [("To", "1")]):
            send(url, form)
    with shelf.library() as library:
        cassette = library.open()
        for form, sent in (([("To", "1")], "To=1"), ([("To", "1"), ("Body", "")], "To=1&Body=")):
            assert json.loads(found(cassette, as_request(url, form)).body)["got"] == sent


def test_a_cassette_of_vcrpy_is_redacted_when_it_is_rewritten(shelf: Shelf, server: str) -> None:
    url = f"{server}/2010-04-01/Accounts/{SID}/Messages.json"
    with vcr.use_cassette(str(shelf.file())):
        send(url, [("Body", f"it is {TOKEN}")], auth=(SID, TOKEN))
    assert TOKEN in shelf.file().read_text()
    with shelf.library("auto", redact=["To"]) as library:
        cassette = library.open()
        assert json.loads(found(cassette, as_request(url, [("Body", f"it is {TOKEN}")])).body)["got"]
        record(cassette, (request({"To": "+14105550100"}), answer(number=2)))
    data = shelf.file().read_text()
    for secret in (TOKEN, SID, "0123456789abcdef", "4105550100"):
        assert secret not in data
    with shelf.library() as library:
        found(library.open(), as_request(url, [("Body", f"it is {TOKEN}")]))


def test_over_tls_too(shelf: Shelf, tmp_path: Path) -> None:
    context, root = tls_of(tmp_path)
    for listener in serve(context):
        port = listener.server_address[1]
        url = f"https://localhost:{port}/2010-04-01/Accounts/{SID}/Messages.json"
        with vcr.use_cassette(str(shelf.file())):
            live = send(url, [("Body", "x")], verify=root).content
    with shelf.library() as library:
        assert found(library.open(), as_request(url, [("Body", "x")])).body == live


def tls_of(directory: Path) -> tuple[ssl.SSLContext, str]:
    """A server's context with a certificate for localhost, and the file to trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    file = directory / "localhost.pem"
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(private + certificate.public_bytes(pem))
    trusted = directory / "root.pem"
    trusted.write_bytes(certificate.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context, str(trusted)


@pytest.mark.parametrize("ending", ["json", "yml"])
def test_vcrpys_other_endings_are_read_and_carried_over(shelf: Shelf, server: str, ending: str) -> None:
    url = f"{server}/2010-04-01/Accounts/{SID}/Messages.json"
    file = shelf.directory / f"default.{ending}"
    with vcr.use_cassette(str(file), serializer="json" if ending == "json" else "yaml"):
        send(url, [("Body", "1")])
    before = file.read_bytes()
    with shelf.library("auto") as library:
        cassette = library.open()
        found(cassette, as_request(url, [("Body", "1")]))
        record(cassette, (request({"Body": "2"}), answer(number=2)))
        assert len(cassette) == 2
    assert file.read_bytes() == before
    assert "1 interaction carried over" in shelf.reported[0]
    with shelf.library() as library:
        assert numbered(library.open(), request({"Body": "2"})) == 2
        found(library.open(), as_request(url, [("Body", "1")]))


def test_metadata_of_others_is_kept(shelf: Shelf) -> None:
    shelf.write((request(), answer(number=1)))
    text = shelf.file().read_text()
    parts = text.split("interactions:\n")
    shelf.file().write_text(f"interactions:\n{parts[1]}metadata:\n  faker_seed: 7\nversion: 1\n")
    with shelf.library("auto") as library:
        record(library.open(), (request({"Body": "x"}), answer(number=2)))
    assert "  faker_seed: 7\n" in shelf.file().read_text()
    with shelf.library() as library:
        assert numbered(library.open(), request()) == 1


def test_pseudonyms_are_not_put_in_twice_when_vcrpy_has_resaved(shelf: Shelf) -> None:
    form = {"To": "+14105550100"}
    shelf.write((request(form), answer(number=1)), redact=["To"])
    found_here, metadata = vcr_format.read_foreign(shelf.file())
    head, items = shelf.file().read_text().split("interactions:\n")
    shelf.file().write_text(f"interactions:\n{items}{head.split(chr(10), 1)[1]}version: 1\n")
    assert vcr_format.read_foreign(shelf.file()) == (found_here, metadata)
    with shelf.library("auto", environ={"RINGBACK_REDACT_KEY": KEY}) as library:
        cassette = library.open()
        assert cassette.foreign
        assert numbered(cassette, request(form)) == 1
        record(cassette, (request({"To": "+14105550101"}), answer(number=2)))
        assert numbered(cassette, request(form)) == 1
    assert "41055501" not in shelf.file().read_text()


def test_a_copy_replays_as_well(shelf: Shelf) -> None:
    shutil.copy(shelf.write((request(), answer(number=1))), shelf.file("copy"))
    with shelf.library() as library:
        assert numbered(library.open("copy"), request()) == 1


def test_the_text_of_the_documentation_replays_for_any_account(shelf: Shelf) -> None:
    form = {"To": "+14105550100", "Body": "hello"}
    shelf.write((request(form), answer(number=7)))
    page = (Path(__file__).parents[2] / "docs" / "cassettes.md").read_text(encoding="utf-8")
    text = page.partition("## Replay with vcrpy")[2].partition("```python\n")[2].partition("```")[0]
    names: dict[str, Any] = {}
    exec(compile(text, "docs/cassettes.md", "exec"), names)  # noqa: S102 - the example of a docs page
    url = f"https://api.twilio.com/2010-04-01/Accounts/{OTHER_SID}/Messages.json"
    with names["twilio"].use_cassette(str(shelf.file())):
        got = requests.post(url, data=form, auth=(OTHER_SID, "x"), timeout=60)
    assert got.json()["n"] == 7
