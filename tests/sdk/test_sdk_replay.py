"""A cassette recorded with one SDK replays with the others: languages, generations, fields in every order."""

from __future__ import annotations

import itertools
import subprocess
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode

import pytest

from ringback.cassettes import verify
from support.exchanges import Shelf, found
from support.launching import needs
from support.maven import jars
from support.product import CACHE, alone_in, product
from support.sdks import MissingError, absent, node_sdk, output, python_sdk
from support.unreached import RUBY_RUNS, csharp_program, php_sdk, ruby_sdk
from support.upstream import arguments, module_upstream, twilio, upstream_ca

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.product import Product
    from support.upstream import LoopbackUpstream, Seen

__all__ = ["module_upstream", "product", "upstream_ca"]

# One worker records once; a registry may take its time.
pytestmark = [pytest.mark.xdist_group("sdk-replay"), pytest.mark.timeout(900)]

MEDIA = ("https://demo.example/b.png", "https://demo.example/a.png")
PYTHON = f"""
import os
try:
    from twilio.rest import Client
    client = Client(os.environ["TWILIO_ACCOUNT_SID"], os.environ["TWILIO_AUTH_TOKEN"])
    create = client.messages.create
except ImportError:
    from twilio.rest import TwilioRestClient
    client = TwilioRestClient(os.environ["TWILIO_ACCOUNT_SID"], os.environ["TWILIO_AUTH_TOKEN"])
    create = client.messages.create
for body in ("one & two", "Gr\\u00fc\\u00dfe \\U0001f600"):
    create(to="+14105550100", from_="+15005550006", body=body, media_url={list(MEDIA)!r})
"""
NODE = f"""
const client = require('twilio')(process.env.TWILIO_ACCOUNT_SID, process.env.TWILIO_AUTH_TOKEN)
const send = body => client.messages.create(
  {{body, mediaUrl: {list(MEDIA)!r}, from: '+15005550006', to: '+14105550100'}})
send('one & two').then(() => send('Gr\\u00fc\\u00dfe \\u{{1f600}}'))
"""
GO = f"""\
package main

import (
	"github.com/twilio/twilio-go"
	api "github.com/twilio/twilio-go/rest/api/v2010"
)

func main() {{
	client := twilio.NewRestClient()
	for _, body := range []string{{"one & two", "Grüße \\U0001f600"}} {{
		parameters := &api.CreateMessageParams{{}}
		parameters.SetTo("+14105550100")
		parameters.SetFrom("+15005550006")
		parameters.SetBody(body)
		parameters.SetMediaUrl([]string{{"{MEDIA[0]}", "{MEDIA[1]}"}})
		if _, err := client.Api.CreateMessage(parameters); err != nil {{
			panic(err)
		}}
	}}
}}
"""
JAVA = f"""
import com.twilio.Twilio;
import com.twilio.rest.api.v2010.account.Message;
import com.twilio.type.PhoneNumber;
import java.net.URI;
import java.util.Arrays;

public class Replay {{
    public static void main(String[] args) {{
        Twilio.init(System.getenv("TWILIO_ACCOUNT_SID"), System.getenv("TWILIO_AUTH_TOKEN"));
        for (String body : new String[] {{"one & two", "Gr\\u00fc\\u00dfe \\ud83d\\ude00"}}) {{
            Message.creator(new PhoneNumber("+14105550100"), new PhoneNumber("+15005550006"), body)
                .setMediaUrl(Arrays.asList(URI.create("{MEDIA[0]}"), URI.create("{MEDIA[1]}"))).create();
        }}
    }}
}}
"""


RUBY_PROGRAM = f"""
require 'twilio-ruby'
client = Twilio::REST::Client.new(ENV['TWILIO_ACCOUNT_SID'], ENV['TWILIO_AUTH_TOKEN'])
messages = Twilio::VERSION.start_with?('4.') ? client.account.messages : client.messages
['one & two', "Gr\\u00fc\\u00dfe \\u{{1f600}}"].each do |body|
  messages.create(media_url: {list(MEDIA)!r}, body: body, to: '+14105550100', from: '+15005550006').sid
end
"""
PHP_PROGRAM = f"""<?php
require "$argv[1]/vendor/autoload.php";
$client = new Twilio\\Rest\\Client(getenv('TWILIO_ACCOUNT_SID'), getenv('TWILIO_AUTH_TOKEN'));
foreach (['one & two', "Gr\\u{{fc}}\\u{{df}}e \\u{{1f600}}"] as $body) {{
    $client->messages->create('+14105550100',
        ['mediaUrl' => {list(MEDIA)!r}, 'body' => $body, 'from' => '+15005550006']);
}}
"""
CSHARP_PROGRAM = f"""
using System;
using System.Collections.Generic;
using Twilio;
using Twilio.Rest.Api.V2010.Account;
using Twilio.Types;

static class Replay
{{
    static void Main()
    {{
        TwilioClient.Init(Environment.GetEnvironmentVariable("TWILIO_ACCOUNT_SID"),
            Environment.GetEnvironmentVariable("TWILIO_AUTH_TOKEN"));
        foreach (var body in new[] {{ "one & two", "Gr\\u00fc\\u00dfe \\U0001f600" }})
            MessageResource.Create(to: new PhoneNumber("+14105550100"), from: new PhoneNumber("+15005550006"),
                body: body, mediaUrl: new List<Uri> {{ new Uri("{MEDIA[0]}"), new Uri("{MEDIA[1]}") }});
    }}
}}
"""


def _ruby(generation: str) -> tuple[list[str], dict[str, str]]:
    sdk = ruby_sdk(generation)
    with alone_in(CACHE / "ruby-replay") as place:
        (place / "replay.rb").write_text(RUBY_PROGRAM)
    program = [sdk.runtime, "-e", RUBY_RUNS, f"~> {generation}.0", str(place / "replay.rb")]
    return program, sdk.environment


def _php(generation: str) -> tuple[list[str], dict[str, str]]:
    sdk = php_sdk(generation)
    with alone_in(CACHE / "php-replay") as place:
        (place / "replay.php").write_text(PHP_PROGRAM)
    quiet = ["-d", "display_errors=stderr", "-d", "error_reporting=1"]
    return [needs("php"), *quiet, str(place / "replay.php"), str(sdk)], {}


def _csharp(generation: str, product: Product, directory: Path) -> tuple[list[str], dict[str, str]]:
    directory.mkdir()
    (directory / "Replay.cs").write_text(CSHARP_PROGRAM)
    command, more = csharp_program(product, generation, directory / "Replay.cs", directory)
    return list(map(str, command)), more


def _python(generation: str) -> tuple[list[str], dict[str, str]]:
    sdk = python_sdk(generation)
    return [sdk.runtime, "-c", PYTHON], sdk.environment


def _node(generation: str) -> tuple[list[str], dict[str, str]]:
    sdk = node_sdk(generation)
    return [sdk.runtime, "-e", NODE], sdk.environment


def _go() -> tuple[list[str], dict[str, str]]:
    go = needs("go")
    with alone_in(CACHE / "go-replay") as place:
        if not (place / "program").is_file():
            (place / "main.go").write_text(GO)
            (place / "go.mod").write_text("module ringback.test/replay\n\ngo 1.21\n")
            sdk = "github.com/twilio/twilio-go@v1.31.0"
            for command in (["get", sdk], ["mod", "tidy"], ["build", "-o", "program", "."]):
                try:
                    output([go, "-C", str(place), *command])
                except MissingError as missing:
                    absent(missing)
    return [str(place / "program")], {}


def _java() -> tuple[list[str], dict[str, str]]:
    with alone_in(CACHE / "java-replay") as place:
        classpath = f"{jars('twilio', '13.0.1')}/*:{place}"
        if not (place / "Replay.class").is_file():
            (place / "Replay.java").write_text(JAVA)
            compiled = [
                needs("javac"),
                "-nowarn",
                "-cp",
                classpath,
                "-d",
                str(place),
                str(place / "Replay.java"),
            ]
            subprocess.run(compiled, check=True, capture_output=True)
    return [needs("java"), "-cp", classpath, "Replay"], {}


SDKS: dict[str, Callable[[], tuple[list[str], dict[str, str]]]] = {
    "python-9": lambda: _python("9"),
    "python-6": lambda: _python("6"),
    "node-6": lambda: _node("6"),
    "node-2": lambda: _node("2"),
    "go-1": _go,
    "java-13": _java,
    "ruby-7": lambda: _ruby("7"),
    "ruby-4": lambda: _ruby("4"),
    "php-8": lambda: _php("8"),
    "php-6": lambda: _php("6"),
}
CSHARP = "csharp-7"  # compiled for each test: what it runs on must trust the CA of the product


def program(name: str, product: Product, directory: Path) -> tuple[list[str], dict[str, str]]:
    """The command that sends by the SDK `name`, and its variables."""
    return _csharp("7", product, directory / "program") if name == CSHARP else SDKS[name]()


def numbered(seen: Seen) -> bytes:
    return twilio(201, None, sid="SM" + "1" * 32, body=dict(seen.form)["Body"])


def recorded(
    name: str,
    sends: tuple[list[str], dict[str, str]],
    product: Product,
    upstream: LoopbackUpstream,
    directory: Path,
) -> Path:
    """The cassette of what the SDK `name` sends by the command and variables `sends`."""
    upstream.rule = numbered
    command, more = sends
    options = [*arguments(upstream, "auto"), "--cassettes", str(directory), "--cassette", name]
    done = product.run(command, more=more, options=options)
    assert done.returncode == 0, done.stdout + done.stderr
    return directory / f"{name}.yaml"


@pytest.fixture(scope="module")
def python_cassette(
    product: Product, module_upstream: LoopbackUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    directory = tmp_path_factory.mktemp("python") / "cassettes"
    return recorded("python-9", SDKS["python-9"](), product, module_upstream, directory)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*(name for name in SDKS if name != "python-9"), CSHARP])
def test_what_python_recorded_replays_with_every_sdk_and_the_other_way_round(
    name: str, product: Product, module_upstream: LoopbackUpstream, python_cassette: Path, tmp_path: Path
) -> None:
    shelf = Shelf(python_cassette.parent)
    sends = program(name, product, tmp_path)
    own = recorded(name, sends, product, module_upstream, shelf.directory)
    files = {"python-9": python_cassette, name: own}
    sent = {
        one: [placed.interaction.request for placed in verify.load(file).placed]
        for one, file in files.items()
    }
    assert [len(requests) for requests in sent.values()] == [2, 2]
    with shelf.library() as library:
        for one, other in itertools.permutations(files, 2):
            for request in sent[other]:
                assert found(library.open(one), request).status == 201
    command, more = sends
    strict = ["--strict", "--fail-on-unused", "--cassettes", str(shelf.directory), "--cassette", "python-9"]
    done = product.run(command, more=more, options=strict)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "cassette python-9: 2 replayed" in done.stderr


@pytest.mark.slow
def test_fields_in_every_order(python_cassette: Path) -> None:
    shelf = Shelf(python_cassette.parent)
    (one, _) = (placed.interaction.request for placed in verify.load(python_cassette).placed)
    fields = parse_qsl(one.body.decode())
    assert [value for name, value in fields if name == "MediaUrl"] == list(MEDIA)
    orders = 0
    with shelf.library() as library:
        cassette = library.open("python-9")
        for order in itertools.permutations(fields):
            same = [value for name, value in order if name == "MediaUrl"] == list(MEDIA)
            got = cassette.lookup(one.with_body(urlencode(order).encode()))
            assert hasattr(got, "status") is same
            orders += same
    assert orders == 60
