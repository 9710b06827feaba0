"""Recordings of other tools: minimal files of each format, one exchange with Twilio in each."""

from __future__ import annotations

import base64
import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from ringback.cassettes.formats import recognise, to_har, to_ruby_vcr
from ringback.cassettes.matching import ACCOUNT_PLACEHOLDER
from ringback.cassettes.vcr_format import FIELD_SOURCE
from ringback.cassettes.verify import load
from ringback.cli import ringback
from support.exchanges import SID, TOKEN, Shelf, answer, basic, found, request

if TYPE_CHECKING:
    from pathlib import Path

URL = f"https://api.twilio.com/2010-04-01/Accounts/{SID}/Messages.json"
PATH = f"/2010-04-01/Accounts/{SID}/Messages.json"
FORM = "To=%2B14105550100&From=%2B15005550006&Body=hello"
MADE = json.dumps({"sid": "SM" + "1" * 32, "account_sid": SID, "n": 1})
AUTHORIZATION = basic()[1]
URLENCODED = "application/x-www-form-urlencoded"
CODED = base64.b64encode(MADE.encode()).decode()


def har(entry: dict[str, Any]) -> str:
    return json.dumps({"log": {"version": "1.2", "creator": {"name": "a browser"}, "entries": [entry]}})


# name: the format and a file
FILES: dict[str, tuple[str, str]] = {
    "Ruby VCR": (
        "Ruby VCR",
        f"""---
http_interactions:
- request:
    method: post
    uri: {URL}
    body: &1
      encoding: UTF-8
      string: {FORM}
    headers: &2
      Authorization:
      - {AUTHORIZATION}
      Content-Type:
      - {URLENCODED}
  response:
    status:
      code: 201
      message: CREATED
    headers:
      Content-Type:
      - application/json
    body:
      encoding: ASCII-8BIT
      string: !binary |-
        {CODED}
  recorded_at: Sun, 05 Jul 2026 09:00:00 GMT
- request:
    method: post
    uri: !ruby/regexp /api.twilio.com/
    body: *1
    headers: *2
  response:
    status: {{code: 201, message: CREATED}}
    headers: {{}}
    body: {{encoding: UTF-8, string: '{{}}'}}
  recorded_at: Sun, 05 Jul 2026 09:00:00 GMT
- request:
    method: post
    uri: https://api.twilio.com/2010-04-01/Accounts/<%= sid %>/Messages.json
    body: *1
    headers: *2
  response:
    status: {{code: 201, message: CREATED}}
    headers: {{}}
    body: {{encoding: UTF-8, string: '{{}}'}}
  recorded_at: Sun, 05 Jul 2026 09:00:00 GMT
recorded_with: VCR 6.2.0
""",
    ),
    "VCR 1": (
        "Ruby VCR",
        f"""---
- !ruby/struct:VCR::HTTPInteraction
  request: !ruby/struct:VCR::Request
    method: :post
    uri: {URL}
    body: {FORM}
    headers:
      authorization:
      - {AUTHORIZATION}
  response: !ruby/struct:VCR::Response
    status: !ruby/struct:VCR::ResponseStatus
      code: 201
      message: CREATED
    headers:
      content-type:
      - application/json
    body: '{MADE}'
    http_version: "1.1"
""",
    ),
    "betamax": (
        "betamax",
        json.dumps(
            {
                "http_interactions": [
                    {
                        "request": {
                            "method": "POST",
                            "uri": URL,
                            "body": {"encoding": "utf-8", "string": FORM},
                            "headers": {"Authorization": [AUTHORIZATION], "Content-Type": [URLENCODED]},
                        },
                        "response": {
                            "status": {"code": 201, "message": "CREATED"},
                            "headers": {"Content-Type": ["application/json"]},
                            "body": {"encoding": "utf-8", "base64_string": CODED},
                            "url": URL,
                        },
                        "recorded_at": "2026-07-05T09:00:00",
                    }
                ],
                "recorded_with": "betamax/0.9.0",
            }
        ),
    ),
    "go-vcr 2": (
        "go-vcr",
        f"""---
version: 1
interactions:
- request:
    body: ""
    form: {{To: ['+14105550100'], From: ['+15005550006'], Body: [hello]}}
    headers:
      Authorization: ['{AUTHORIZATION}']
    url: {URL}
    method: POST
  response:
    body: '{MADE}'
    headers:
      Content-Type: [application/json]
    status: 201 CREATED
    code: 201
    duration: ""
""",
    ),
    "go-vcr 3": (
        "go-vcr",
        f"""---
version: 2
interactions:
    - id: 0
      request:
        host: api.twilio.com
        body: {FORM}
        form: {{}}
        headers:
            Authorization: ['{AUTHORIZATION}']
            Content-Type: [{URLENCODED}]
        url: {URL}
        method: POST
      response:
        uncompressed: true
        body: '{MADE}'
        headers:
            Content-Encoding: [gzip]
            Content-Type: [application/json]
        status: 201 Created
        code: 201
        duration: 1ms
""",
    ),
    "HAR": (
        "HAR",
        har(
            {
                "startedDateTime": "2026-07-05T09:00:00.000Z",
                "request": {
                    "method": "POST",
                    "url": URL,
                    "headers": [
                        {"name": ":authority", "value": "api.twilio.com"},
                        {"name": "authorization", "value": AUTHORIZATION},
                        {"name": "content-type", "value": URLENCODED},
                    ],
                    "postData": {
                        "mimeType": URLENCODED,
                        "params": [
                            {"name": "To", "value": "+14105550100"},
                            {"name": "From", "value": "+15005550006"},
                            {"name": "Body", "value": "hello"},
                        ],
                    },
                },
                "response": {
                    "status": 201,
                    "statusText": "CREATED",
                    "headers": [
                        {"name": "content-type", "value": "application/json"},
                        {"name": "content-encoding", "value": "br"},
                    ],
                    "content": {"size": len(MADE), "text": CODED, "encoding": "base64"},
                },
            }
        ),
    ),
    "nock": (
        "nock",
        json.dumps(
            [
                {
                    "scope": "https://api.twilio.com:443",
                    "method": "POST",
                    "path": PATH,
                    "body": {"To": "+14105550100", "From": "+15005550006", "Body": "hello"},
                    "status": 201,
                    "response": json.loads(MADE),
                    "rawHeaders": ["Content-Type", "application/json"],
                    "reqheaders": {"authorization": AUTHORIZATION},
                    "responseIsBinary": False,
                }
            ]
        ),
    ),
    "PHP-VCR": (
        "PHP-VCR",
        f"""
-
    request:
        method: POST
        url: '{URL}'
        headers:
            Host: api.twilio.com
            Authorization: '{AUTHORIZATION}'
        post_fields: {{To: '+14105550100', From: '+15005550006', Body: hello}}
        curl_options: {{}}
    response:
        status: {{http_version: '1.1', code: '201', message: Created}}
        headers: {{Content-Type: application/json}}
        body: '{MADE}'
    index: 0
""",
    ),
    "WireMock": (
        "WireMock",
        json.dumps(
            {
                "mappings": [
                    {
                        "request": {
                            "method": "POST",
                            "url": PATH,
                            "bodyPatterns": [{"equalTo": FORM, "caseInsensitive": False}],
                            "headers": {"Content-Type": {"equalTo": URLENCODED}},
                        },
                        "response": {
                            "status": 201,
                            "jsonBody": json.loads(MADE),
                            "headers": {"Content-Type": "application/json"},
                        },
                    },
                    {"request": {"method": "POST", "urlPattern": "/.*"}, "response": {"status": 201}},
                ]
            }
        ),
    ),
    "Hoverfly": (
        "Hoverfly",
        json.dumps(
            {
                "data": {
                    "pairs": [
                        {
                            "request": {
                                "method": [{"matcher": "exact", "value": "POST"}],
                                "destination": [{"matcher": "exact", "value": "api.twilio.com"}],
                                "scheme": [{"matcher": "exact", "value": "https"}],
                                "path": [{"matcher": "exact", "value": PATH}],
                                "body": [
                                    {
                                        "matcher": "form",
                                        "value": {
                                            "To": [{"matcher": "exact", "value": "+14105550100"}],
                                            "From": [{"matcher": "exact", "value": "+15005550006"}],
                                            "Body": [{"matcher": "exact", "value": "hello"}],
                                        },
                                    }
                                ],
                                "headers": {"Authorization": [{"matcher": "glob", "value": "*"}]},
                            },
                            "response": {
                                "status": 201,
                                "body": CODED,
                                "encodedBody": True,
                                "headers": {"Content-Type": ["application/json"]},
                                "templated": False,
                            },
                        }
                    ]
                },
                "meta": {"schemaVersion": "v5.2"},
            }
        ),
    ),
    "keploy": (
        "keploy",
        f"""version: api.keploy.io/v1beta1
kind: Mongo
name: mock-0
spec: {{}}
---
version: api.keploy.io/v1beta1
kind: Http
name: mock-1
spec:
    req:
        method: POST
        url: {URL}
        header:
            Authorization: {AUTHORIZATION}
            Content-Type: {URLENCODED}
        body: {FORM}
    resp:
        status_code: 201
        header:
            Content-Type: application/json
        body: '{MADE}'
        status_message: Created
    created: 1783242000
""",
    ),
    "vcrpy before 1.0": (
        "vcrpy before 1.0",
        f"""- request: !!python/object:vcr.request.Request
    body: {FORM}
    headers: !!python/object/apply:__builtin__.frozenset
    - - !!python/tuple [Authorization, '{AUTHORIZATION}']
      - !!python/tuple [Content-Type, {URLENCODED}]
    host: api.twilio.com
    method: POST
    path: {PATH}
    port: 443
    protocol: https
  response:
    body: {{string: !!python/unicode '{MADE}'}}
    headers: ["Content-Type: application/json\\r\\n"]
    status: {{code: 201, message: CREATED}}
""",
    ),
}
LEFT = {
    "Ruby VCR": ["regular expression", "ERB"],
    "WireMock": ["its URL is a pattern"],
    "keploy": ["its kind is Mongo"],
}
ASKED = request({"Body": "hello", "To": "+14105550100", "From": "+15005550006"})


def run(*arguments: str) -> Any:
    return CliRunner().invoke(ringback, ["cassettes", *arguments])


@pytest.fixture(autouse=True)
def _here(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.directory.mkdir()
    monkeypatch.chdir(shelf.directory.parent)


def ending(text: str) -> str:
    return ".json" if text.lstrip().startswith(("{", "[")) else ".yaml"


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_each_format_replays_when_it_is_imported(shelf: Shelf, tmp_path: Path, name: str) -> None:
    title, text = FILES[name]
    file = tmp_path / f"theirs{ending(text)}"
    file.write_text(text)
    result = run("import", str(file), "--to", "taken")
    assert result.exit_code == 0, result.output
    assert f"{file}: {title}, " in result.stdout
    assert f"1 taken into {shelf.file('taken').relative_to(tmp_path)}" in result.stdout
    assert "account SID in the request's path" in result.stdout
    for reason in LEFT.get(name, []):
        assert reason in result.stdout
    written = shelf.file("taken").read_text()
    assert AUTHORIZATION not in written
    assert SID not in written
    with shelf.library() as library:
        got = found(library.open("taken"), ASKED)
    assert (got.status, json.loads(got.body)["account_sid"]) == (201, SID)
    cassette = load(shelf.file("taken"))
    assert cassette.metadata["ringback"]["imported"] == [{"format": title, "file": file.name}]
    said = cassette.placed[0].interaction.provenance_value(FIELD_SOURCE)
    assert said == (
        f"mock; origin={title} {file.name}"
        if title in ("WireMock", "Hoverfly")
        else f"imported; format={title}"
    )
    assert run("verify", "cassettes").exit_code == 0


@pytest.mark.parametrize("name", FILES)
def test_every_other_command_names_the_format_and_the_import(shelf: Shelf, name: str) -> None:
    title, text = FILES[name]
    file = shelf.directory / f"theirs{ending(text)}"
    file.write_text(text)
    advice = f"a recording of another format ({title}): `ringback cassettes import "
    for arguments in (["list"], ["show", "theirs"], ["verify"], ["redact", "theirs"], ["merge", str(file)]):
        result = run(*arguments)
        assert advice in result.output, (arguments, result.output)
        assert "Traceback" not in result.output
    assert run("verify", "--repair").exit_code == 1
    assert file.read_text() == text, "nothing is cut out of it"
    drift = CliRunner().invoke(ringback, ["drift", str(file)])
    assert drift.exit_code == 2
    assert advice in drift.output


def test_times_origins_and_what_is_taken_out_are_kept(shelf: Shelf, tmp_path: Path) -> None:
    for name in ("Ruby VCR", "HAR", "betamax", "keploy"):
        file = tmp_path / f"{name.replace(' ', '')}{ending(FILES[name][1])}"
        file.write_text(FILES[name][1])
        assert run("import", str(file)).exit_code == 0
        text = shelf.file(file.stem).read_text()
        assert "Ringback-Recorded:\n      - '2026-07-05T09:00:00Z'" in text, name
    rows = [line.split("\t") for line in run("list").stdout.splitlines()[1:]]
    assert {row[4] for row in rows} == {"imported"}


def test_several_files_make_one_cassette_and_pseudonyms_are_put_in(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RINGBACK_REDACT_KEY", "a key for tests, long enough")
    paths = []
    for name in ("HAR", "go-vcr 3"):
        paths.append(tmp_path / f"{name[:2]}{ending(FILES[name][1])}")
        paths[-1].write_text(FILES[name][1])
    result = run("import", *map(str, paths), "--to", "both", "--redact", "To,Body")
    assert result.exit_code == 0, result.output
    assert "hello" not in shelf.file("both").read_text()
    with shelf.library() as library:
        assert found(library.open("both"), ASKED).status == 201
    again = run("import", str(paths[0]), "--to", "both")
    assert again.exit_code == 1
    assert "exists: name another cassette with --to" in again.stderr


@pytest.mark.parametrize(
    "uri, taken",
    [
        (r"/^https:\/\/api\.twilio\.com\/2010-04-01\/Accounts\/.*\/Messages\.json/", True),
        (r"%r{\Ahttps://api.twilio.com/2010-04-01/Accounts/[^/]+/Messages.json\z}", False),
        (r"/\Ahttps:\/\/api.twilio.com\/2010-04-01\/Accounts\/(\w+)\/Messages.json$/i", True),
        (r"/^https:\/\/api\.twilio\.com\/2010-04-01\/Accounts\/.*\/Messages\.json\?To=1/", True),
        (r"/^https:\/\/api\.twilio\.com\/2010-04-01\/Accounts\/.*\/Messages.json?To=1/", False),
        (r"/^https:\/\/api\.twilio\.com\/.*/", False),
        (r"/Messages\.json/", False),
        ("/" + "(" * 5000, False),
    ],
)
def test_a_regular_expression_that_leaves_the_account_open_alone_is_a_url(
    shelf: Shelf, tmp_path: Path, uri: str, *, taken: bool
) -> None:
    query = r"\?To=1" in uri
    file = tmp_path / "theirs.yml"
    file.write_text(
        f"""---
http_interactions:
- request:
    method: {"get" if query else "post"}
    uri: !ruby/regexp {json.dumps(uri)}
    body: {{encoding: UTF-8, string: '{"" if query else FORM}'}}
    headers: {{Content-Type: [{URLENCODED}]}}
  response:
    status: {{code: 201, message: CREATED}}
    headers: {{}}
    body: {{encoding: UTF-8, string: '{{}}'}}
"""
    )
    result = run("import", str(file), "--cassettes", str(shelf.directory))
    assert result.exit_code == (0 if taken else 2), result.output
    if not taken:
        assert "left (1): its URI or body is a regular expression" in result.output
        return
    assert "changed (1): its URI is a regular expression; taken is the shortest URL" in result.output
    (one,) = load(shelf.file("theirs")).placed
    path = f"/2010-04-01/Accounts/{ACCOUNT_PLACEHOLDER}/Messages.json"
    assert one.interaction.request.target == path + ("?To=1" if query else "")


def test_what_cannot_be_imported_says_why(shelf: Shelf, tmp_path: Path) -> None:
    for name, text, said in (
        ("text", "hello", "it is no recording of a known format"),
        ("bytes", b"\xff\xfe", "byte 0 is not UTF-8"),
        ("broken", '{"log": ', "line 1 is no JSON"),
        ("erb", "---\nhttp_interactions:\n- <% if x %>\n  a: b\n <% end %>\n", "render it with Ruby first"),
        ("flows", b"9:3:abc,}", "it is damaged"),
    ):
        file = tmp_path / name
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        result = run("import", str(file))
        assert result.exit_code == 1, result.output
        assert said in result.stderr
        assert "Traceback" not in result.output
    shelf.write((ASKED, answer()))
    assert "it is a cassette already" in run("import", str(shelf.file())).stderr
    elsewhere = json.loads(FILES["HAR"][1].replace("api.twilio.com", "api.example.com"))
    (tmp_path / "x.har").write_text(json.dumps(elsewhere))
    result = run("import", str(tmp_path / "x.har"))
    assert result.exit_code == 2
    assert "left (1): another host: api.example.com (1)" in result.stdout
    assert not shelf.file("x").exists()


BOMBS = {
    "aliases": "http_interactions:\n"
    "a: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    + "".join(f"b{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)),
    "itself": "http_interactions: &a [*a, *a]\n",
    "merge": "a: &a {x: 1}\nhttp_interactions:\n- request: {<<: *a}\n  response: {<<: [*a, *a]}\n",
    "deep JSON": "[" * 200_000,
    "deep YAML": "- " * 20_000 + "x",
    "tags": 'http_interactions: !!python/object/apply:os.system ["echo broken >&2"]\n',
    "numbers": '{"log": {"entries": [{"request": {"url": "https://api.twilio.com/"}, "response": '
    '{"status": 1' + "0" * 10_000 + "}}]}}",
    "a path that no URI has": json.dumps(
        {"request": {"method": "POST", "urlPath": "/2010-04-01/\x7f"}, "response": {"status": 201}}
    ),
    "types": json.dumps([{"scope": 1, "method": [], "path": {}, "response": None}]),
    "nulls": "http_interactions: [null, {request: null, response: null}, 5]\n",
    "outside": json.dumps(
        {
            "mappings": [
                {
                    "request": {"method": "GET", "url": "/"},
                    "response": {"bodyFileName": "../../../../etc/hostname"},
                }
            ]
        }
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_hostile_files_are_refused_without_a_traceback(shelf: Shelf, tmp_path: Path, name: str) -> None:
    file = tmp_path / f"hostile{ending(BOMBS[name])}"
    file.write_text(BOMBS[name])
    result = run("import", str(file))
    assert result.exit_code in (1, 2), result.output
    assert isinstance(result.exception, SystemExit)
    assert "broken" not in result.stderr
    assert not list(shelf.directory.iterdir())
    assert len(result.output) < 2000


def test_a_file_that_is_too_large_is_not_read(shelf: Shelf, tmp_path: Path) -> None:
    file = tmp_path / "large.har"
    with file.open("wb") as sparse:
        sparse.truncate(200 * 1024 * 1024)
    result = run("import", str(file))
    assert result.exit_code == 1
    assert "at most 33554432 are read" in result.stderr
    assert not list(shelf.directory.iterdir())


@pytest.mark.parametrize("form, title", [("--har", "HAR"), ("--vcr", "Ruby VCR")])
def test_what_is_exported_can_be_imported(shelf: Shelf, tmp_path: Path, form: str, title: str) -> None:
    binary = answer(bytes(range(256)), status=200, headers=(("Content-Type", "image/png"),))
    asked = [
        ASKED,
        request({"To": "+14105550101", "Body": "Grüße & =\n\U0001f600"}),
        request(b"", method="GET"),
    ]
    shelf.write((asked[0], answer(number=7)), (asked[1], answer(number=8)), (asked[2], binary))
    file = tmp_path / "out"
    result = run("export", "default", form, "--output", str(file))
    assert result.exit_code == 0, result.output
    assert recognise(file.read_bytes()) == title
    assert TOKEN not in file.read_text()
    assert run("import", str(file), "--to", "again").exit_code == 0
    with shelf.library() as library:
        before, after = library.open("default"), library.open("again")
        for one in asked:
            assert found(before, one).body == found(after, one).body
    one = run("export", "default", "2", form)
    assert one.exit_code == 0
    assert "+14105550100" not in one.stdout
    assert run("export", "default").exit_code == 2
    assert run("export", "default", "9", form).exit_code == 2


def test_an_empty_export_is_a_document_too() -> None:
    assert recognise(to_har([], "1").encode()) == "HAR"
    assert recognise(to_ruby_vcr([], "1").encode()) == "Ruby VCR"


def test_what_is_no_regular_file_is_not_waited_for(shelf: Shelf, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.yaml"
    os.mkfifo(pipe)
    empty = tmp_path / "empty.har"
    empty.touch()
    for arguments, said in (
        (["import", str(pipe)], "no regular file"),
        (["verify", str(pipe)], "no regular file"),
        (["merge", str(shelf.write((ASKED, answer()))), str(pipe)], "no regular file"),
        (["import", str(empty)], "it is empty"),
    ):
        result = run(*arguments)
        assert result.exit_code in (1, 2), result.output
        assert said in result.output
    assert CliRunner().invoke(ringback, ["drift", str(pipe)]).exit_code == 2


def test_yaml_with_very_many_values_is_not_read(shelf: Shelf, tmp_path: Path) -> None:
    file = tmp_path / "many.yaml"
    file.write_text("http_interactions:\n" + "- x\n" * 1_000_001)
    assert "too many for YAML" in run("import", str(file)).stderr
    assert not list(shelf.directory.iterdir())
