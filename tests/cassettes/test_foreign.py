"""Cassettes that other tools and older versions wrote, each a small file that stands for its kind."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
import vcr
import yaml
from click.testing import CliRunner

from ringback.cassettes import editing, verify
from ringback.cassettes.files import CassetteFormatError
from ringback.cassettes.redaction import Redaction
from ringback.cassettes.vcr_format import read_foreign
from ringback.cli.cassettes import command
from ringback.contract import load
from ringback.exchange import Answer, Request
from support.clients import SHARED
from support.exchanges import FORM as FORM_TYPE
from support.exchanges import SID, TOKEN, Shelf, answer, basic, found, missed, numbered, record, request

if TYPE_CHECKING:
    from pathlib import Path

FIELDS = {"To": "+14105550100", "From": "+15005550006", "Body": "hello"}
FORM = "From=%2B15005550006&Body=hello&To=%2B14105550100"
MESSAGES = f"https://api.twilio.com/2010-04-01/Accounts/{SID}/Messages.json"


def item(number: int = 1, status: int = 201, body: Any = FORM, **changes: Any) -> dict[str, Any]:
    """An interaction as vcrpy writes it."""
    asked = {
        "body": body,
        "headers": {"Content-Type": ["application/x-www-form-urlencoded"]},
        "method": "POST",
        "uri": MESSAGES,
        **changes,
    }
    reply = {
        "body": {"string": f'{{"n": {number}}}'},
        "headers": {"Content-Type": ["application/json"]},
        "status": {"code": status, "message": "CREATED"},
    }
    return {"request": asked, "response": reply}


def challenge() -> dict[str, Any]:
    made = item(0, 401)
    made["response"]["headers"]["WWW-Authenticate"] = ['Basic realm="Twilio API"']
    return made


def write(shelf: Shelf, *items: dict[str, Any] | str, **more: Any) -> Path:
    shelf.directory.mkdir(parents=True, exist_ok=True)
    text = (
        items[0]
        if isinstance(items[0], str)
        else yaml.safe_dump({"interactions": list(items), "version": 1, **more})
    )
    shelf.file().write_text(text)
    return shelf.file()


def test_fields_in_another_order_than_the_sdk_sends_them(shelf: Shelf) -> None:
    write(shelf, item())
    with shelf.library() as library:
        assert numbered(library.open(), request(FIELDS)) == 1


def test_a_body_that_is_a_mapping_is_a_form(shelf: Shelf) -> None:
    write(shelf, item(1, body=FIELDS), item(2, body={"To": "+14105550101", "MediaUrl": ["a", "b"]}))
    with shelf.library() as library:
        cassette = library.open()
        assert numbered(cassette, request(FIELDS)) == 1
        two = [("MediaUrl", "a"), ("To", "+14105550101"), ("MediaUrl", "b")]
        assert numbered(cassette, request(two)) == 2


AUTHORIZED = {"Content-Type": ["application/x-www-form-urlencoded"], "authorization": ["Basic x"]}


@pytest.mark.parametrize(
    "second", [item(headers=AUTHORIZED), item()], ids=["with credentials", "credentials filtered out"]
)
@pytest.mark.parametrize("redact", [False, True])
def test_an_authentication_challenge_answers_nothing(
    shelf: Shelf, second: dict[str, Any], *, redact: bool
) -> None:
    file = write(shelf, challenge(), second)
    if redact:
        assert editing.redact(file, Redaction()) == 1
    with shelf.library() as library:
        cassette = library.open()
        assert cassette.unused()[0] == 1
        assert numbered(cassette, request(FIELDS)) == 1
        assert cassette.unused()[0] == 0


def test_a_401_that_nothing_follows_is_the_answer(shelf: Shelf) -> None:
    write(shelf, challenge())
    with shelf.library() as library:
        assert found(library.open(), request(FIELDS)).status == 401


def test_aliases_across_interactions(shelf: Shelf) -> None:
    shared = {"Content-Type": ["application/json"]}
    one, other = item(1), item(2, body="Body=other")
    for made in (one, other):
        made["response"]["headers"] = shared
    for text in (
        yaml.safe_dump({"interactions": [one, other], "version": 1}),
        "version: 1\n" + yaml.safe_dump({"interactions": [one, other]}),
    ):
        assert "*id001" in text
        write(shelf, text)
        with shelf.library() as library:
            cassette = library.open()
            assert numbered(cassette, request({"Body": "other"})) == 2
            assert numbered(cassette, request(FIELDS)) == 1


@pytest.mark.parametrize("body", [None, ""])
def test_an_empty_body_stays_what_it_was_for_vcrpy(shelf: Shelf, body: str | None) -> None:
    file = write(shelf, item(body=body, method="GET"))
    editing.redact(file, Redaction())
    with shelf.library("auto") as library:
        record(library.open(), (request(), answer()))
    with vcr.use_cassette(str(file), record_mode="none") as cassette:
        assert cassette.requests[0].body == (None if body is None else b"")


def test_a_port_stays_and_credentials_in_a_uri_do_not(shelf: Shelf) -> None:
    file = write(shelf, item(uri=f"http://{SID}:{TOKEN}@127.0.0.1:8080/x"))
    assert {one.rule for one in verify.check(file, load())} == {"secret"}
    editing.redact(file, Redaction())
    assert "http://127.0.0.1:8080/x" in file.read_text()
    assert TOKEN not in file.read_text()


@pytest.mark.parametrize(
    "uri", ["messages", "/2010-04-01/x", "ftp://x/y", "https://", "https://a:b/", "https://x/\n"]
)
def test_a_uri_that_is_none_is_said_to_be(shelf: Shelf, uri: str) -> None:
    with pytest.raises(CassetteFormatError, match=r"request\.uri.* is no URL"):
        read_foreign(write(shelf, item(uri=uri)))


def test_a_secret_in_a_reason_phrase_is_not_recorded(shelf: Shelf) -> None:
    made = item()
    made["response"]["status"]["message"] = f"Created token={TOKEN}"
    file = write(shelf, made)
    assert {one.rule for one in verify.check(file, load())} == {"secret"}
    editing.redact(file, Redaction())
    assert TOKEN not in file.read_text()


ODD = [
    "text",
    ["a"],
    None,
    5,
    {"redaction": 5},
    {"redaction": {"fields": 5}},
    {"redaction": {"fields": [5]}},
    {"match_ignore": 7},
]


@pytest.mark.parametrize("ours", [False, True])
@pytest.mark.parametrize("odd", ODD, ids=str)
def test_metadata_of_an_odd_type_stops_nothing(shelf: Shelf, odd: Any, *, ours: bool) -> None:
    items = yaml.safe_dump({"interactions": [item()]})
    metadata = yaml.safe_dump({"metadata": {"ringback": odd}})
    write(shelf, f"version: 1\n{metadata}{items}" if ours else f"{items}version: 1\n{metadata}")
    for words in (["list"], ["show", "default"], ["show", "default", "1"], ["verify"], ["redact"], ["list"]):
        result = CliRunner().invoke(command, [*words, "--cassettes", str(shelf.directory)])
        assert not result.exception or isinstance(result.exception, SystemExit), (words, result.exception)
    with shelf.library("auto") as library:
        record(library.open(), (request(), answer()))
        assert numbered(library.open(), request(FIELDS)) == 1


def aliased(depth: int) -> str:
    """A value of 10 to the power of `depth` texts, by aliases."""
    lines = ["- &a0 [" + ", ".join(["xxxxxxxxxx"] * 10) + "]"]
    lines += [f"- &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, depth)]
    return "\n".join(lines)


BOMB = yaml.safe_dump({"interactions": [item()], "version": 1})
BOMBS = {
    "lists in a header": f"bomb:\n{aliased(9)}\n" + BOMB.replace("- application/json", "- *a8"),
    "one long list in many headers": "bomb: &b ["
    + "x, " * 3000
    + "x]\n"
    + BOMB.replace(
        "      Content-Type:\n      - application/json\n", "".join(f"      H{n}: *b\n" for n in range(3000))
    ),
    "one interaction many times": BOMB.replace("- request:", "- &i\n  request:", 1)
    .replace("version: 1", "- *i\n" * 50_000 + "version: 1")
    .replace("hello", "hello" + "x" * 5000),
    "merge keys": "a0: &a0 {x: y}\n"
    + "".join(f"a{n}: &a{n}\n  <<: [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9))
    + BOMB,
}


@pytest.mark.timeout(60)  # what is multiplied out would take hours
@pytest.mark.parametrize("name", BOMBS)
def test_what_multiplies_is_refused_at_once(shelf: Shelf, name: str) -> None:
    file = write(shelf, BOMBS[name])
    with pytest.raises(CassetteFormatError, match=r"text|aliases|merge keys"):
        read_foreign(file)


def test_a_challenge_is_no_finding_and_is_named_when_it_is_left_out(shelf: Shelf) -> None:
    file = write(shelf, challenge(), item(headers=AUTHORIZED))
    assert {one.rule for one in verify.check(file, load())} == {"secret"}
    reported: list[str] = []
    assert editing.redact(file, Redaction(), reported.append) == 1
    (said,) = reported
    assert "1 authentication challenge left out" in said


def test_a_miss_names_the_line_in_vcrpys_layout_too(shelf: Shelf) -> None:
    file = write(shelf, item(1), item(2, body="Body=other"))
    line = [at for at, text in enumerate(file.read_text().splitlines(), 1) if text.startswith("- ")][1]
    with shelf.library() as library:
        text = missed(library.open(), request({"Body": "others"})).text
    assert f"The nearest is interaction 2 at {file}:{line} (not replayed yet)" in text


@pytest.mark.parametrize(
    "before, after",
    [
        ("      code: 201\n", "      code: many\n"),
        ("    method: POST\n", "    method: 5\n"),
        ("    uri: https", "    uri: ftp"),
        (
            "    headers:\n      Content-Type:\n      - application/x",
            "    headers: 7\n    x:\n      y:\n      - a/x",
        ),
    ],
)
def test_a_slip_in_vcrpys_layout_is_told_with_its_own_line(shelf: Shelf, before: str, after: str) -> None:
    file = write(shelf, item(1), item(2))
    text = file.read_text()
    at = text.rindex(before)
    file.write_text(text[:at] + text[at:].replace(before, after, 1))
    with pytest.raises(CassetteFormatError) as caught:
        read_foreign(file)
    assert caught.value.line == text.count("\n", 0, at) + 1
    assert caught.value.detail.startswith("interaction 2: ")


CASES = ("order", "get", "async-minimal", "challenge")


@pytest.mark.parametrize("name", CASES)
def test_the_case_that_stands_for_a_kind_replays_as_it_lies_and_redacted(shelf: Shelf, name: str) -> None:
    source = SHARED / "cassette-cases" / f"{name}.yaml"
    if not source.exists():
        pytest.skip("the cases are not part of the repository, and not beside it either")
    shelf.directory.mkdir(parents=True)
    file = shelf.file()
    file.write_bytes(source.read_bytes())
    one = yaml.safe_load(source.read_text())["interactions"][-1]
    asked = one["request"]
    body = asked["body"]
    fields = list(body.items()) if isinstance(body, dict) else parse_qsl(body or "")
    method, target = asked["method"], urlsplit(asked["uri"]).path
    for redacted in (False, True):
        if redacted:
            editing.redact(file, Redaction())
        with shelf.library() as library:
            cassette = library.open()
            for order in itertools.permutations(fields):
                form = (FORM_TYPE,) if fields else ()
                sent = Request(method, "api.twilio.com", target, (basic(), *form), urlencode(order).encode())
                got = cassette.lookup(sent)
                assert isinstance(got, Answer)
                assert got.status == one["response"]["status"]["code"]
            assert cassette.unused() == (0, ())
    if body is None:  # vcrpy tells null from an empty text
        with vcr.use_cassette(str(file), record_mode="none") as replaying:
            assert [one.body for one in replaying.requests] == [None]
