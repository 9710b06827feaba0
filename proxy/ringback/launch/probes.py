"""Probes: a small program per runtime that makes a request by its own client or by its Twilio SDK.

Each prints the answer's HTTP status. The host is one of Twilio's by name only: a client that goes past the
proxy finds no address for it, and its request goes nowhere.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Container
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TypeAlias

HOST = "api.doctor.twilio.com"
SID = "AC" + "0" * 32
TOKEN = "0" * 32
PATH = f"/2010-04-01/Accounts/{SID}/Messages.json"
URL = f"https://{HOST}{PATH}"
FORM = "To=%2B14105550100&From=%2B15005550006&Body=doctor"
BASIC = "Basic QUMwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDowMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMA=="
CREATED = "201"
INVALID_CODE = 21211  # Twilio's error for the magic number +15005550001
INVALID_TEXT = "The 'To' number +15005550001 is not a valid phone number."
# Said by a program whose SDK is not installed.
ABSENT = "no SDK"
# Said by one whose SDK tells of another status, code or text than the answer had.
MISREAD = "answers read as"

PYTHON = f"""
try:
    from urllib.request import Request, urlopen
except ImportError:
    from urllib2 import Request, urlopen
print(urlopen(Request({URL!r}, {FORM!r}.encode(), {{"Authorization": {BASIC!r}}})).getcode())
"""
PYTHON_SDK = f"""
import json
import sys
try:
    import twilio
except ImportError:
    sys.exit({ABSENT!r})
print("SDK " + twilio.__version__)
try:
    from twilio.http.http_client import TwilioHttpClient
except ImportError:
    from twilio.rest.resources.base import make_request
else:
    make_request = TwilioHttpClient().request
found = []
for to in ("+14105550100", "+15005550001"):
    data = {{"To": to, "From": "+15005550006", "Body": "doctor"}}
    answer = make_request("POST", {URL!r}, data=data, auth=({SID!r}, {TOKEN!r}))
    body = json.loads(answer.text if hasattr(answer, "text") else answer.content)
    found.append(answer.status_code if "sid" in body else [body.get("code"), body.get("message")])
print(201 if found == [201, [{INVALID_CODE}, {INVALID_TEXT!r}]] else "{MISREAD} %r" % (found,))
"""
NODE = f"""
const headers = {{ Authorization: {BASIC!r} }};
fetch({URL!r}, {{ method: 'POST', body: new URLSearchParams({FORM!r}), headers }})
  .then((answer) => console.log(answer.status))
  .catch((error) => {{ console.error(error.cause || error); process.exitCode = 1; }});
"""
NODE_SDK = f"""
let file;
try {{
  file = require.resolve('twilio/package.json', {{ paths: [process.cwd()] }});
}} catch {{
  console.error({ABSENT!r});
  process.exit(1);
}}
console.log('SDK ' + require(file).version);
let send;
if (parseInt(require(file).version) < 3) {{
  const {{ RestClient }} = require(require('path').dirname(file));
  send = (to) => new Promise((done) => {{
    new RestClient({SID!r}, {TOKEN!r}, {{ host: {HOST!r} }}).messages.create(
      {{ to, from: '+15005550006', body: 'doctor' }},
      (error) => done(error ? [error.code, error.message] : 201)
    );
  }});
}} else {{
  const found = require(require('path').join(require('path').dirname(file), 'lib/base/RequestClient'));
  send = async (To) => {{
    const answer = await new (found.default || found)().request({{
      method: 'POST', uri: {URL!r}, username: {SID!r}, password: {TOKEN!r},
      headers: {{ 'Content-Type': 'application/x-www-form-urlencoded' }},
      data: {{ To, From: '+15005550006', Body: 'doctor' }},
    }});
    const body = typeof answer.body === 'string' ? JSON.parse(answer.body) : answer.body;
    return body.sid ? answer.statusCode : [body.code, body.message];
  }};
}}
(async () => {{
  const read = JSON.stringify([await send('+14105550100'), await send('+15005550001')]);
  const right = JSON.stringify([201, [{INVALID_CODE}, {INVALID_TEXT!r}]]);
  console.log(read === right ? 201 : '{MISREAD} ' + read);
}})().catch((error) => {{ console.error(error); process.exitCode = 1; }});
"""
GO = f"""package main

import (
	"fmt"
	"net/http"
	"os"
	"strings"
)

func main() {{
	request, _ := http.NewRequest("POST", "{URL}", strings.NewReader("{FORM}"))
	request.Header.Set("Authorization", "{BASIC}")
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {{
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}}
	fmt.Println(answer.StatusCode)
}}
"""
RUBY = f"""
require 'net/http'
uri = URI({URL!r})
request = Net::HTTP::Post.new(uri)
request['Authorization'] = {BASIC!r}
request.body = {FORM!r}
request['Content-Type'] = 'application/x-www-form-urlencoded'
puts Net::HTTP.start(uri.host, uri.port, use_ssl: true) {{ |http| http.request(request) }}.code
"""
RUBY_SDK = f"""
begin
  require 'twilio-ruby'
rescue LoadError
  abort {ABSENT!r}
end
puts "SDK #{{Twilio::VERSION}}"
from = '+15005550006'
found = ['+14105550100', '+15005550001'].map do |to|
  if defined?(Twilio::HTTP::Client)
    data = {{ 'To' => to, 'From' => from, 'Body' => 'doctor' }}
    login = [{SID!r}, {TOKEN!r}]
    answer = Twilio::HTTP::Client.new.request({HOST!r}, 443, 'POST', {URL!r}, {{}}, data, {{}}, login)
    answer.status_code == 201 ? 201 : answer.body.values_at('code', 'message')
  else # twilio-ruby 4
    begin
      Twilio::REST::Client.new({SID!r}, {TOKEN!r}, host: {HOST!r}).account.messages.create(
        to: to, from: from, body: 'doctor'
      ).sid && 201
    rescue Twilio::REST::RequestError => error
      [error.code, error.message]
    end
  end
end
puts found == [201, [{INVALID_CODE}, {INVALID_TEXT!r}]] ? 201 : "{MISREAD} #{{found.inspect}}"
"""
PHP = f"""
$curl = curl_init({URL!r});
curl_setopt_array($curl, [CURLOPT_RETURNTRANSFER => true, CURLOPT_POSTFIELDS => {FORM!r},
  CURLOPT_HTTPHEADER => ['Authorization: ' . {BASIC!r}]]);
if (curl_exec($curl) === false) {{ fwrite(STDERR, curl_error($curl)); exit(1); }}
echo curl_getinfo($curl, CURLINFO_RESPONSE_CODE), "\\n";
"""
PHP_SDK = f"""<?php
@include getcwd() . '/vendor/autoload.php';
$old = !class_exists('Twilio\\VersionInfo');
if ($old && !class_exists('Services_Twilio_TinyHttp')) {{ fwrite(STDERR, {ABSENT!r}); exit(1); }}
echo 'SDK ', $old ? '4' : Twilio\\VersionInfo::string(), "\\n";
$found = array();
foreach (array('+14105550100', '+15005550001') as $to) {{
  $data = array('To' => $to, 'From' => '+15005550006', 'Body' => 'doctor');
  if ($old) {{
    $http = new Services_Twilio_TinyHttp('https://{HOST}/');
    $http->authenticate({SID!r}, {TOKEN!r});
    $headers = array('Content-Type' => 'application/x-www-form-urlencoded');
    list($status, $_, $body) = $http->post({PATH!r}, $headers, http_build_query($data));
    $body = json_decode($body, true);
  }} else {{
    $client = new Twilio\\Http\\CurlClient();
    $answer = $client->request('POST', {URL!r}, array(), $data, array(), {SID!r}, {TOKEN!r});
    list($status, $body) = array($answer->getStatusCode(), $answer->getContent());
  }}
  $error = isset($body['code']) ? "$body[code] $body[message]" : 'nothing';
  $found[] = isset($body['sid']) ? $status : $error;
}}
$right = array(201, {INVALID_CODE} . ' ' . {INVALID_TEXT!r});
echo $found == $right ? '201' : '{MISREAD} ' . implode(', ', $found), "\\n";
"""
PERL = f"""
require HTTP::Tiny;
eval {{ require IO::Socket::SSL; require Net::SSLeay }} or die '{ABSENT}';
my %headers = ('Authorization' => {BASIC!r}, 'Content-Type' => 'application/x-www-form-urlencoded');
my $client = HTTP::Tiny->new(verify_SSL => 1);
my $answer = $client->request('POST', {URL!r}, {{ content => {FORM!r}, headers => \\%headers }});
die $answer->{{content}} if $answer->{{status}} == 599;
print $answer->{{status}}, "\\n";
"""
LWP = f"""
eval {{ require LWP::UserAgent; require LWP::Protocol::https }} or die '{ABSENT}';
my @headers = ('Authorization' => {BASIC!r}, 'Content-Type' => 'application/x-www-form-urlencoded');
my $answer = LWP::UserAgent->new->post({URL!r}, @headers, Content => {FORM!r});
die $answer->status_line if $answer->header('Client-Warning');
print $answer->code, "\\n";
"""
MOJO = f"""
eval {{ require Mojo::UserAgent; require IO::Socket::SSL }} or die '{ABSENT}';
my %headers = ('Authorization' => {BASIC!r}, 'Content-Type' => 'application/x-www-form-urlencoded');
my $answer = Mojo::UserAgent->new->post({URL!r}, \\%headers, {FORM!r});
die $answer->error->{{message}} unless $answer->res->code;
print $answer->res->code, "\\n";
"""
PYCURL = f"""
import sys
try:
    import pycurl
except ImportError:
    sys.exit({ABSENT!r})
curl = pycurl.Curl()
curl.setopt(pycurl.URL, {URL!r})
curl.setopt(pycurl.POSTFIELDS, {FORM!r})
curl.setopt(pycurl.HTTPHEADER, ["Authorization: " + {BASIC!r}])
curl.setopt(pycurl.WRITEFUNCTION, lambda body: None)
curl.perform()
print(curl.getinfo(pycurl.RESPONSE_CODE))
"""
TYPHOEUS = f"""
begin
  require 'typhoeus'
rescue LoadError
  abort {ABSENT!r}
end
answer = Typhoeus.post({URL!r}, body: {FORM!r}, headers: {{ 'Authorization' => {BASIC!r} }})
abort answer.return_message if answer.code.zero?
puts answer.code
"""
# With the proxy and the CA given to it, as docs/clients.md has it: it reads no variable.
ELIXIR = f"""
:inets.start()
:ssl.start()
proxy = URI.parse(System.get_env("HTTPS_PROXY"))
:httpc.set_options(https_proxy: {{{{String.to_charlist(proxy.host), proxy.port}}, []}})
headers = [{{String.to_charlist("Authorization"), String.to_charlist("{BASIC}")}}]
type = String.to_charlist("application/x-www-form-urlencoded")
ssl = [verify: :verify_peer, cacertfile: String.to_charlist(System.get_env("SSL_CERT_FILE"))]
request = {{String.to_charlist("{URL}"), headers, type, "{FORM}"}}
case :httpc.request(:post, request, [ssl: ssl], []) do
  {{:ok, {{{{_, status, _}}, _, _}}}} -> IO.puts(status)
  other -> IO.inspect(other)
    System.halt(1)
end
"""
R = f"""
if (!requireNamespace("httr", quietly = TRUE)) {{ cat("{ABSENT}"); quit(status = 1) }}
answer <- httr::POST("{URL}", body = "{FORM}", httr::add_headers(Authorization = "{BASIC}"),
                     httr::content_type("application/x-www-form-urlencoded"))
cat(httr::status_code(answer), "\n")
"""
RUST = f"""fn main() {{
    let request = ureq::post("{URL}")
        .set("Authorization", "{BASIC}")
        .set("Content-Type", "application/x-www-form-urlencoded");
    match request.send_string("{FORM}") {{
        Ok(answer) => println!("{{}}", answer.status()),
        Err(error) => {{
            eprintln!("{{error}}");
            std::process::exit(1)
        }}
    }}
}}
"""
_CARGO = """[package]
name = "ringback-probe"
version = "1.0.0"
edition = "2021"

[dependencies]
ureq = {{ version = "2", features = [{features}] }}
"""
# For Deno and Bun.
FETCH = f"""
const headers = {{ Authorization: {BASIC!r} }};
const answer = await fetch({URL!r}, {{ method: 'POST', body: new URLSearchParams({FORM!r}), headers }});
console.log(answer.status);
"""
# Tells an interpreter and its environment from another; what pyenv only stands in for fails.
PYTHON_ITSELF = "import sys; print(sys.version_info[:3], sys.prefix)"
_MOST_PYTHONS = 8
_PYTHON_SECONDS = 10

# The framework is the oldest that the built probe runs on; a machine has that one or the next newer.
DOTNET_SETTINGS = """{"runtimeOptions": {
  "framework": {"name": "Microsoft.NETCore.App", "version": "3.1.0"}, "rollForward": "Major",
  "configProperties": {"System.Globalization.Invariant": true}
}}
"""


class NotHereError(Exception):
    """An error: what a probe needs is not to be had here; its text says why."""


@dataclass(frozen=True)
class ClientProbe:
    """One request to try.

    Attributes:
        runtime: The runtime's name, for people.
        program: What must be on PATH.
        version: Arguments that print the version.
        client: Which client makes the request, for people.
        command: Arguments after the program; gets a directory to write into.
        advice: What to look at when its requests do not arrive.
        sdk: Whether it needs an SDK, or a module, that may be missing.
        slow: Whether it is tried only where its runtime is named: something is fetched or compiled first.
    """

    runtime: str
    program: str
    version: tuple[str, ...]
    client: str
    command: Callable[[Path], list[str]]
    advice: str
    sdk: bool = False
    slow: bool = False


Command: TypeAlias = Callable[[Path], list[str]]


def _inline(flag: str, code: str) -> Command:
    return lambda _: [flag, code]


def _file(name: str, code: str, *before: str) -> Command:
    def write(directory: Path) -> list[str]:
        file = directory / name
        file.write_text(code)
        return [*before, str(file)]

    return write


def _java(directory: Path) -> list[str]:
    jar = directory / "probe.jar"
    jar.write_bytes(resources.files("ringback.launch").joinpath("shims", "ringback-agent.jar").read_bytes())
    return ["-cp", str(jar), "RingbackProbe", URL, FORM, BASIC]


def _dotnet(directory: Path) -> list[str]:
    """Place a built program, as `dotnet` compiles only where an SDK is installed."""
    program = directory / "RingbackProbe.dll"
    program.write_bytes(resources.files("ringback.launch").joinpath("shims", program.name).read_bytes())
    program.with_suffix(".runtimeconfig.json").write_text(DOTNET_SETTINGS)
    return [str(program), URL, FORM, BASIC]


def _rust(*features: str) -> Command:
    def build(directory: Path) -> list[str]:
        place = directory / "rust" / ("-".join(features))
        (place / "src").mkdir(parents=True, exist_ok=True)
        (place / "src" / "main.rs").write_text(RUST)
        manifest = place / "Cargo.toml"
        manifest.write_text(_CARGO.format(features=", ".join(f'"{feature}"' for feature in features)))
        target = ["--manifest-path", str(manifest), "--target-dir", str(directory / "rust" / "target")]
        # Crates come by this machine's own settings, not by those of the clients that are tried.
        done = subprocess.run(  # noqa: S603 - fixed words
            [shutil.which("cargo") or "cargo", "build", "--quiet", *target],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            raise NotHereError(
                f"cargo builds no program with ureq here: {lines[-1].strip() if lines else ''}"
            )
        return ["run", "--quiet", "--offline", *target]

    return build


_CERT_SYNC = 'cert-sync --quiet --user "$(ringback ca --path)"'
_LOGIN = ["-H", f"Authorization: {BASIC}"]
_PHP_SOCKS = "curl.cainfo counts; before 5.37 see whether auto_prepend_file is set again on the way to PHP"
_PATHS = "see whether PYTHONPATH or a sitecustomize is set again on the way to Python"
_LIBCURL = "libcurl trusts the system's roots alone: {}, or `ringback run --mount-namespace`"

PROBES = (
    ClientProbe("Python", "python3", ("--version",), "urllib", _inline("-c", PYTHON), _PATHS),
    ClientProbe("Python", "python3", ("--version",), "twilio", _inline("-c", PYTHON_SDK), _PATHS, sdk=True),
    ClientProbe(
        "Node.js", "node", ("--version",), "fetch", _inline("-e", NODE), "fetch needs Node 18 or newer"
    ),
    ClientProbe(
        "Node.js",
        "node",
        ("--version",),
        "twilio",
        _inline("-e", NODE_SDK),
        "twilio-node reads HTTP_PROXY in upper case",
        sdk=True,
    ),
    ClientProbe(
        "Java", "java", ("-version",), "HttpURLConnection", _java, "see whether _JAVA_OPTIONS sets a proxy"
    ),
    ClientProbe(
        "Java",
        "java",
        ("-version",),
        "Socket (twilio-java)",
        lambda directory: [*_java(directory), "socket"],
        "the proxy must have a SOCKS listener, as `ringback run` and `serve` open one",
    ),
    ClientProbe(
        "Go",
        "go",
        ("version",),
        "net/http",
        _file("probe.go", GO, "run"),
        "HTTPS_PROXY and SSL_CERT_FILE count",
    ),
    ClientProbe(
        "Ruby", "ruby", ("--version",), "Net::HTTP", _inline("-e", RUBY), "Net::HTTP reads http_proxy alone"
    ),
    ClientProbe(
        "Ruby", "ruby", ("--version",), "twilio-ruby", _inline("-e", RUBY_SDK), "HTTPS_PROXY counts", sdk=True
    ),
    ClientProbe(
        "PHP", "php", ("--version",), "curl", _inline("-r", PHP), "ext-curl must be installed (php-curl)"
    ),
    ClientProbe("PHP", "php", ("--version",), "twilio-php", _file("sdk.php", PHP_SDK), _PHP_SOCKS, sdk=True),
    ClientProbe(
        ".NET",
        "dotnet",
        ("--list-runtimes",),  # --version needs an SDK
        "HttpClient",
        _dotnet,
        "HTTPS_PROXY and SSL_CERT_FILE count, and it needs .NET Core 3.1 or newer and its OpenSSL",
    ),
    ClientProbe("Mono", "mono", ("--version",), "HttpClient", _dotnet, f"call {_CERT_SYNC}"),
    ClientProbe(
        "Perl",
        "perl",
        ("-e", "printf '%vd', $^V"),
        "HTTP::Tiny",
        _inline("-e", PERL),
        "HTTP::Tiny reads https_proxy and SSL_CERT_FILE",
        sdk=True,
    ),
    ClientProbe(
        "Perl",
        "perl",
        ("-e", "printf '%vd', $^V"),
        "LWP",
        _inline("-e", LWP),
        "LWP reads HTTPS_PROXY with PERL_LWP_ENV_PROXY=1, and PERL_LWP_SSL_CA_FILE",
        sdk=True,
    ),
    ClientProbe(
        "Perl",
        "perl",
        ("-e", "printf '%vd', $^V"),
        "Mojo::UserAgent",
        _inline("-e", MOJO),
        "Mojo reads HTTPS_PROXY with MOJO_PROXY=1, and MOJO_CA_FILE",
        sdk=True,
    ),
    ClientProbe(
        "libcurl",
        "python3",
        ("-c", "import pycurl; print(pycurl.version_info()[1])"),
        "pycurl",
        _inline("-c", PYCURL),
        _LIBCURL.format("c.setopt(pycurl.CAINFO, os.environ['SSL_CERT_FILE'])"),
        sdk=True,
    ),
    ClientProbe(
        "libcurl",
        "ruby",
        ("-e", "require 'ethon'; puts Ethon::Curl.version"),
        "Typhoeus",
        _inline("-e", TYPHOEUS),
        _LIBCURL.format("cainfo: ENV['SSL_CERT_FILE']"),
        sdk=True,
    ),
    ClientProbe(
        "R",
        "Rscript",
        ("-e", "cat(as.character(getRversion()))"),
        "httr",
        _inline("-e", R),
        _LIBCURL.format("httr::set_config(httr::config(cainfo = Sys.getenv('SSL_CERT_FILE')))"),
        sdk=True,
    ),
    ClientProbe(
        "Elixir",
        "elixir",
        ("-e", "IO.puts(System.version())"),
        ":httpc, proxy and CA by hand",
        _inline("-e", ELIXIR),
        "see `Elixir and Erlang` in docs/clients.md",
    ),
    ClientProbe(
        "Rust",
        "cargo",
        ("--version",),
        "ureq 2, native roots",
        _rust("proxy-from-env", "native-certs"),
        "HTTPS_PROXY and SSL_CERT_FILE count",
        slow=True,
    ),
    ClientProbe(
        "Rust",
        "cargo",
        ("--version",),
        "ureq 2, webpki-roots",
        _rust("proxy-from-env"),
        "webpki-roots trusts what is compiled in: use the feature for native roots",
        slow=True,
    ),
    ClientProbe(
        "Bun",
        "bun",
        ("--version",),
        "fetch",
        _file("probe.mjs", FETCH, "run"),
        "HTTPS_PROXY and NODE_EXTRA_CA_CERTS count",
    ),
    ClientProbe(
        "Deno",
        "deno",
        ("--version",),
        "fetch",
        _file("probe.mjs", FETCH, "run", "--allow-net"),
        "HTTPS_PROXY and DENO_CERT count",
    ),
    ClientProbe(
        "curl",
        "curl",
        ("--version",),
        "curl",
        lambda _: ["-sS", "-o", "/dev/null", "-w", "%{http_code}\\n", "-d", FORM, *_LOGIN, URL],
        "see whether ~/.curlrc sets a proxy or a CA",
    ),
    ClientProbe(
        "wget",
        "wget",
        ("--version",),
        "wget",
        lambda _: [
            "-nv",
            "-S",
            "-O",
            "/dev/null",
            f"--post-data={FORM}",
            f"--header=Authorization: {BASIC}",
            URL,
        ],
        "wget takes its CA from the file that WGETRC names",
    ),
)


def found(runtimes: Container[str]) -> list[tuple[ClientProbe, str]]:
    """Find the probes of `runtimes` (in lower case) whose program is on PATH, with its path."""
    wanted = [probe for probe in PROBES if probe.runtime.lower() in runtimes]
    places = {program: _places(program) for program in dict.fromkeys(probe.program for probe in wanted)}
    return [(probe, path) for probe in wanted for path in places[probe.program]]


def _places(program: str) -> list[str]:
    if program == "python3":
        return _pythons()
    path = shutil.which(program)
    return [path] if path else []


def _pythons() -> list[str]:
    """Find python3 and the newest of every python3.x, each interpreter once; else this Python."""
    first = shutil.which("python3") or sys.executable
    minors = {
        int(match[1])
        for directory in os.get_exec_path()
        if Path(directory).is_dir()
        for file in Path(directory).iterdir()
        if (match := re.fullmatch(r"python3\.(\d+)", file.name))
    }
    others = (shutil.which(f"python3.{minor}") for minor in sorted(minors, reverse=True)[:_MOST_PYTHONS])
    found = {_itself(first): first}
    for path in filter(None, others):
        if itself := _itself(path):
            found.setdefault(itself, path)
    return list(found.values())


def _itself(python: str) -> str:
    """Identify an interpreter, the same for two names of it; empty where it does not run."""
    try:
        done = subprocess.run(  # noqa: S603 - the interpreter that is looked at
            [python, "-c", PYTHON_ITSELF],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=_PYTHON_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return "" if done.returncode else done.stdout
