"""Files that the other recorders themselves wrote: recorded through the proxy, imported, replayed.

Each tool is fetched once from its registry into `tests/.cache`; a test skips where one is missing.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from mitmproxy import http
from mitmproxy.io import FlowWriter
from mitmproxy.test import tflow

from ringback.cli import ringback
from support.exchanges import Shelf, found, request
from support.launching import needs
from support.product import CACHE, SID, TOKEN, alone_in, product
from support.sdks import MissingError, absent, install, output, python_packages

if TYPE_CHECKING:
    from pathlib import Path

    from support.product import Product

__all__ = ["product"]

TOS = ("+14105550100", "+15005550001")
URL = f"https://api.twilio.com/2010-04-01/Accounts/{SID}/Messages.json"

BETAMAX = f"""
import sys, betamax, requests
for to in {TOS}:
    session = requests.Session()
    recorder = betamax.Betamax(session, cassette_library_dir=sys.argv[1])
    with recorder.use_cassette("file" + to[-1], record="once", match_requests_on=["method", "uri", "body"]):
        form = {{"To": to, "From": "+15005550006", "Body": "hello"}}
        session.post("{URL}", data=form, auth=("{SID}", "{TOKEN}"))
"""
GO = """\
package main

import (
	"net/http"
	"net/url"
	"os"
	"strings"

	v2 "gopkg.in/dnaeon/go-vcr.v2/recorder"
	v3 "gopkg.in/dnaeon/go-vcr.v3/recorder"
)

func send(transport http.RoundTripper) {
	client := &http.Client{Transport: transport}
	for _, to := range []string{"+14105550100", "+15005550001"} {
		form := url.Values{"To": {to}, "From": {"+15005550006"}, "Body": {"hello"}}.Encode()
		request, err := http.NewRequest("POST", os.Args[2], strings.NewReader(form))
		if err != nil {
			panic(err)
		}
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		request.SetBasicAuth(os.Getenv("TWILIO_ACCOUNT_SID"), os.Getenv("TWILIO_AUTH_TOKEN"))
		if _, err := client.Do(request); err != nil {
			panic(err)
		}
	}
}

func main() {
	two, err := v2.New(os.Args[1] + "/two")
	if err != nil {
		panic(err)
	}
	send(two)
	two.Stop()
	three, err := v3.New(os.Args[1] + "/three")
	if err != nil {
		panic(err)
	}
	send(three)
	three.Stop()
}
"""
GO_MODULES = ("gopkg.in/dnaeon/go-vcr.v2@v2.3.0", "gopkg.in/dnaeon/go-vcr.v3@v3.2.0")
NOCK = """\
const fs = require('fs')
const https = require('https')
const nock = require('nock')
nock.recorder.rec({dont_print: true, output_objects: true, enable_reqheaders_recording: true})
const auth = process.env.TWILIO_ACCOUNT_SID + ':' + process.env.TWILIO_AUTH_TOKEN
const send = to => new Promise((resolve, reject) => {
  const form = new URLSearchParams({To: to, From: '+15005550006', Body: 'hello'}).toString()
  const headers = {'Content-Type': 'application/x-www-form-urlencoded', 'Content-Length': form.length}
  const request = https.request(process.argv[3], {method: 'POST', auth, headers}, response => {
    response.resume().on('end', resolve)
  })
  request.on('error', reject)
  request.end(form)
})
;(async () => {
  await send('+14105550100')
  await send('+15005550001')
  fs.writeFileSync(process.argv[2] + '/nock.json', JSON.stringify(nock.recorder.play()))
})()
"""


def check(shelf: Shelf, files: list[Path], title: str) -> None:
    """Import `files` into one cassette, which must have the answers to both requests and no secret."""
    arguments = [
        "cassettes",
        "import",
        *map(str, files),
        "--to",
        "taken",
        "--cassettes",
        str(shelf.directory),
    ]
    result = CliRunner().invoke(ringback, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert f": {title}, " in result.stdout
    assert "left (" not in result.stdout
    text = shelf.file("taken").read_text()
    assert SID not in text
    assert "Basic" not in text
    with shelf.library() as library:
        cassette = library.open("taken")
        for to, status in zip(TOS, (201, 400), strict=True):
            asked = request({"Body": "hello", "From": "+15005550006", "To": to}, sid=SID)
            got = found(cassette, asked)
            assert got.status == status
            assert json.loads(got.body).get("account_sid", SID) == SID


@pytest.mark.timeout(600)  # a registry may take its time
def test_betamax(product: Product, shelf: Shelf, tmp_path: Path) -> None:
    path = python_packages("betamax", "betamax==0.9.0")
    done = product.run([sys.executable, "-c", BETAMAX, str(tmp_path)], more={"PYTHONPATH": str(path)})
    assert done.returncode == 0, done.stderr
    check(shelf, [tmp_path / "file0.json", tmp_path / "file1.json"], "betamax")


@pytest.mark.slow
@pytest.mark.timeout(900)  # a registry may take its time
def test_go_vcr(product: Product, shelf: Shelf, tmp_path: Path) -> None:
    go = needs("go")
    with alone_in(CACHE / "go-vcr") as place:
        if not (place / "program").is_file():
            (place / "main.go").write_text(GO)
            (place / "go.mod").write_text("module ringback.test/recorder\n\ngo 1.21\n")
            for command in (["get", *GO_MODULES], ["mod", "tidy"], ["build", "-o", "program", "."]):
                try:
                    output([go, "-C", str(place), *command])
                except MissingError as missing:
                    absent(missing)
    done = product.run([place / "program", str(tmp_path), URL])
    assert done.returncode == 0, done.stderr
    for name in ("two", "three"):
        check(Shelf(shelf.directory / name), [tmp_path / f"{name}.yaml"], "go-vcr")


@pytest.mark.timeout(600)  # as above
def test_nock(product: Product, shelf: Shelf, tmp_path: Path) -> None:
    path = CACHE / "nock-13.5.6"
    quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error", "--fetch-retries", "1"]
    try:
        install(path, [needs("npm"), "install", "--prefix", str(path), *quiet, "nock@13.5.6"])
    except MissingError as missing:
        absent(missing)
    script = tmp_path / "record.js"
    script.write_text(NOCK)
    command = [needs("node"), str(script), str(tmp_path), URL]
    done = product.run(command, more={"NODE_PATH": str(path / "node_modules")})
    assert done.returncode == 0, done.stderr
    check(shelf, [tmp_path / "nock.json"], "nock")


def _flow(to: str, status: int) -> http.HTTPFlow:
    flow: http.HTTPFlow = tflow.tflow(resp=True)
    form = f"To=%2B{to[1:]}&From=%2B15005550006&Body=hello".encode()
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "Authorization": "Basic " + "QUM6c2VjcmV0",
    }
    flow.request = http.Request.make("POST", URL, form, headers)
    body = json.dumps({"account_sid": SID, "status": status}).encode()
    flow.response = http.Response.make(status, b"", {"Content-Type": "application/json"})
    flow.response.headers["Content-Encoding"] = "gzip"
    flow.response.content = body
    assert flow.response.raw_content != body
    return flow


def test_mitmproxys_flow_file(shelf: Shelf, tmp_path: Path) -> None:
    file = tmp_path / "flows"
    with file.open("wb") as written:
        writer = FlowWriter(written)
        for to, status in zip(TOS, (201, 400), strict=True):
            writer.add(_flow(to, status))
    check(shelf, [file], "mitmproxy flow file")


def test_what_is_damaged_in_a_flow_file_is_left(shelf: Shelf, tmp_path: Path) -> None:
    file = tmp_path / "flows"
    with file.open("wb") as written:
        FlowWriter(written).add(_flow(TOS[0], 201))
        written.write(b"999999999999:a lie about the length")
    arguments = ["cassettes", "import", str(file), "--cassettes", str(shelf.directory)]
    result = CliRunner().invoke(ringback, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "1 taken into" in result.stdout
    assert "left (1): the file is damaged from here on (2)" in result.stdout
    assert shelf.file("flows").is_file()


@pytest.mark.filterwarnings("ignore:t(ag|ype)Map is deprecated:DeprecationWarning")  # pyasn1's
@pytest.mark.filterwarnings(
    "ignore:'crypt' is deprecated:DeprecationWarning"
)  # passlib's, before Python 3.13
def test_mitmproxys_har(shelf: Shelf, tmp_path: Path) -> None:
    from mitmproxy.addons.savehar import SaveHar  # noqa: PLC0415 - its import warns

    file = tmp_path / "file.har"
    flows = [_flow(to, status) for to, status in zip(TOS, (201, 400), strict=True)]
    file.write_text(json.dumps(SaveHar().make_har(flows)))
    check(shelf, [file], "HAR")
