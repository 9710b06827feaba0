"""Every block of docs/clients.md is run as it stands, with a program beside it, against `ringback serve`."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ringback.launch.environment import ReadyFile
from ringback.launch.runtimes import RUNTIMES
from support import sdks
from support.dotnet import compiled, compiled_for_mono, dotnet, mono
from support.launching import needs
from support.product import KEPT, SID, TOKEN
from support.serving import Serving, serving

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PAGE = Path(__file__).parents[2] / "docs" / "clients.md"
URL = f"https://api.twilio.com/2010-04-01/Accounts/{SID}/Messages.json"
FORM = "To=%2B14105550100&From=%2B15005550006&Body=hello"

PYTHON = """
import os
from twilio.rest import Client
client = Client(os.environ["TWILIO_ACCOUNT_SID"], os.environ["TWILIO_AUTH_TOKEN"])
print(client.messages.create(to="+14105550100", from_="+15005550006", body="hello").status)
"""
NODE = """
const client = require('twilio')(process.env.TWILIO_ACCOUNT_SID, process.env.TWILIO_AUTH_TOKEN);
client.messages.create({ to: '+14105550100', from: '+15005550006', body: 'hello' })
  .then((message) => console.log(message.status));
"""
JAVA = f"""
import java.net.*;
import java.util.Base64;
public class Send {{
    public static void main(String[] args) throws Exception {{
        HttpURLConnection connection = (HttpURLConnection) new URL("{URL}").openConnection();
        String login = Base64.getEncoder().encodeToString("{SID}:{TOKEN}".getBytes());
        connection.setRequestProperty("Authorization", "Basic " + login);
        connection.setDoOutput(true);
        connection.getOutputStream().write("{FORM}".getBytes());
        String body = new String(connection.getInputStream().readAllBytes());
        System.out.println(body.contains("\\"queued\\"") ? "queued" : body);
    }}
}}
"""
GO = f"""
package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
)

func main() {{
	request, _ := http.NewRequest("POST", "{URL}", strings.NewReader("{FORM}"))
	request.SetBasicAuth("{SID}", "{TOKEN}")
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {{
		panic(err)
	}}
	body, _ := io.ReadAll(answer.Body)
	if strings.Contains(string(body), "\\"queued\\"") {{
		fmt.Println("queued")
	}}
}}
"""
RUBY = f"""
require 'net/http'
require 'json'
uri = URI('{URL}')
request = Net::HTTP::Post.new(uri)
request.basic_auth('{SID}', '{TOKEN}')
request.body = '{FORM}'
request['Content-Type'] = 'application/x-www-form-urlencoded'
answer = Net::HTTP.start(uri.host, uri.port, use_ssl: true) {{ |http| http.request(request) }}
puts JSON.parse(answer.body)['status']
"""
PHP = f"""<?php
$curl = curl_init('{URL}');
curl_setopt_array($curl, [CURLOPT_RETURNTRANSFER => true, CURLOPT_USERPWD => '{SID}:{TOKEN}',
  CURLOPT_POSTFIELDS => '{FORM}']);
echo json_decode(curl_exec($curl), true)['status'], "\\n";
"""
DOTNET = f"""
using System;
using System.Net.Http;
using System.Net.Http.Headers;
using System.Text;

static class Send
{{
    static void Main()
    {{
        var request = new HttpRequestMessage(HttpMethod.Post, "{URL}");
        var login = Convert.ToBase64String(Encoding.ASCII.GetBytes("{SID}:{TOKEN}"));
        request.Headers.Authorization = new AuthenticationHeaderValue("Basic", login);
        request.Content = new StringContent("{FORM}", Encoding.ASCII, "application/x-www-form-urlencoded");
        var body = new HttpClient().SendAsync(request).Result.Content.ReadAsStringAsync().Result;
        Console.WriteLine(body.Contains("\\"queued\\"") ? "queued" : body);
    }}
}}
"""
CURL = f"""
curl -s -u {SID}:{TOKEN} -d '{FORM}' {URL} | grep -o queued
"""

BASE_URL = f"""
curl -s -u {SID}:{TOKEN} -d '{FORM}' "$TWILIO_API/2010-04-01/Accounts/{SID}/Messages.json" | grep -o queued
"""

# Ways in without a proxy. The third has its test in tests/addon/test_transparent.py.
OTHER_WAYS = {"A base URL of its own", "A hosts entry or a container alias", "Redirected by the kernel"}

# section: (program on PATH, file, its text)
PROGRAMS = {
    "Python": ("python3", "send.py", PYTHON),
    "Node.js": ("node", "send.js", NODE),
    "Java": ("javac", "Send.java", JAVA),
    "Go": ("go", "send.go", GO),
    "Ruby": ("ruby", "send.rb", RUBY),
    "PHP": ("php", "send.php", PHP),
    ".NET": ("sh", "Send.cs", DOTNET),  # which dotnet, and what compiles, is found out below
    "Mono": ("mono", "send.cs", DOTNET),
    "curl": ("curl", "send.sh", CURL),
}


def _blocks() -> dict[str, str]:
    """The shell block of each section."""
    found = {}
    for section in re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)[1:]:
        block = re.search(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
        if block:
            found[section.partition("\n")[0]] = block[1]
    return found


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A shell in which `ringback` and `python` are this one's."""
    programs = tmp_path_factory.mktemp("bin")
    for name, arguments in {"ringback": "-m ringback", "python": ""}.items():
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n')
        (programs / name).chmod(0o755)
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    more = {"TWILIO_ACCOUNT_SID": SID, "TWILIO_AUTH_TOKEN": TOKEN, "RINGBACK_HOME": str(programs / "home")}
    return kept | more | {"HOME": str(Path.home()), "PATH": f"{programs}:{os.environ['PATH']}"}


@pytest.fixture(scope="module")
def running(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("serve"), environment) as found:
        yield found


def test_every_language_of_the_page_is_run_here() -> None:
    assert set(_blocks()) == set(PROGRAMS) | OTHER_WAYS


@pytest.mark.parametrize("section", PROGRAMS)
@pytest.mark.parametrize("way", ["by hand", "ringback env"])
def test_the_lines_of_a_language(
    section: str, way: str, environment: dict[str, str], running: Serving, tmp_path: Path
) -> None:
    program, file, text = PROGRAMS[section]
    needs(program)
    (tmp_path / file).write_text(text)
    more = {"RINGBACK_READY_FILE": str(running.ready_file)}
    if section in {"Python", "Node.js"}:
        more |= (sdks.python_sdk("9") if section == "Python" else sdks.node_sdk("6")).environment
    if section == ".NET":
        more |= _on_path(compiled(dotnet(), [tmp_path / file], tmp_path / "Send.dll"), environment)
    if section == "Mono":
        mono()
        compiled_for_mono(tmp_path / file, tmp_path / "send.exe")
        more["HOME"] = str(tmp_path)  # cert-sync writes there
    lines = _blocks()[section]
    if way == "ringback env" and section == "Mono":  # which needs its second line all the same
        lines = 'eval "$(ringback env)"\n' + "\n".join(lines.splitlines()[1:])
    elif way == "ringback env":
        lines = 'eval "$(ringback env)"\n' + lines.splitlines()[-1]
        if section == "PHP":
            lines = lines.partition("php -d")[0] + "php send.php"
    lines = lines.replace("127.0.0.1:4010", f"127.0.0.1:{running.state.port}")
    lines = lines.replace("Port=4010", f"Port={running.state.port}")
    done = _shell(lines, environment | more, tmp_path)
    assert (done.returncode, done.stdout) == (0, "queued\n"), done.stderr


def _on_path(program: Path, environment: dict[str, str]) -> dict[str, str]:
    """What makes `dotnet` the one that `program` was compiled for."""
    runtime = dotnet()
    path = f"{Path(runtime.program).parent}:{environment['PATH']}"
    assert program.exists()
    return {**runtime.variables, "PATH": path}


def test_a_base_url_of_its_own(environment: dict[str, str], tmp_path: Path) -> None:
    needs("curl")
    (tmp_path / "send.sh").write_text(BASE_URL)
    with serving(tmp_path, environment, "--reverse", "0") as running:
        lines = _blocks()["A base URL of its own"].replace(
            "127.0.0.1:4011", f"127.0.0.1:{running.state.reverse}"
        )
        done = _shell(lines, environment, tmp_path)
    assert (done.returncode, done.stdout) == (0, "queued\n"), done.stderr


def test_a_hosts_entry(environment: dict[str, str], tmp_path: Path) -> None:
    """With a hosts file and a port 443 of its own, in a namespace."""
    needs("curl")
    (tmp_path / "send.sh").write_text(CURL)
    (tmp_path / "hosts").write_text("127.0.0.1 localhost\n")
    prepared = f"ip link set lo up && mount --bind {shlex.quote(str(tmp_path / 'hosts'))} /etc/hosts"
    namespace = [needs("unshare"), "-n", "-m"]
    allowed = subprocess.run([*namespace, "sh", "-c", prepared], capture_output=True, text=True, check=False)
    if allowed.returncode:
        pytest.skip(f"no namespaces here: {allowed.stderr.strip()[:200]}")
    started = """
ringback serve --reverse 443 --ready-file ready.json 2>log &
until test -e ready.json; do kill -0 $!; done
"""
    lines = f"{prepared}\n{started}\n{_blocks()['A hosts entry or a container alias']}kill $!; wait $!"
    done = _shell(lines, environment, tmp_path, namespace)
    assert (done.returncode, done.stdout) == (0, "queued\n"), done.stderr
    assert "1 Twilio request answered" in (tmp_path / "log").read_text()


def _shell(
    lines: str, environment: dict[str, str], directory: Path, inside: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*inside, "sh", "-e", "-c", lines],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_table_of_variables_is_the_launchers_own() -> None:
    rows = [f"| `{variable.name}` | {variable.why} |" for runtime in RUNTIMES for variable in runtime]
    assert PAGE.read_text().rpartition("|---|---|\n")[2].splitlines() == rows


def test_the_table_of_the_ready_file_has_its_keys() -> None:
    section = PAGE.read_text().partition("## Scripts and the ready file")[2].partition("\n## ")[0]
    first = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    assert set(re.findall("`([a-z_]+)`", " ".join(first))) == set(ReadyFile.__dataclass_fields__)
