"""`ringback run` where the environment it inherits works against it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.launching import needs
from support.product import SID, TOKEN, finished, product

if TYPE_CHECKING:
    from support.product import Product

__all__ = ["product"]

URL = f"https://api.twilio.com/2010-04-01/Accounts/{SID}/Messages.json"
FORM = "To=%2B14105550100&From=%2B15005550006&Body=hello"

PYTHON = f"""
import base64, urllib.request
login = base64.b64encode(b"{SID}:{TOKEN}").decode()
request = urllib.request.Request("{URL}", b"{FORM}", {{"Authorization": "Basic " + login}})
print(urllib.request.urlopen(request).status)
"""
NODE = f"""
const headers = {{ Authorization: 'Basic ' + Buffer.from('{SID}:{TOKEN}').toString('base64') }};
fetch('{URL}', {{ method: 'POST', headers, body: new URLSearchParams('{FORM}') }})
  .then((answer) => console.log(answer.status));
"""

HOSTILE = {
    "no_proxy for all": {"NO_PROXY": "*", "no_proxy": "*"},
    "no_proxy for twilio": {"NO_PROXY": "localhost,.twilio.com", "no_proxy": "com"},
    "another proxy": dict.fromkeys(("HTTPS_PROXY", "https_proxy", "HTTP_PROXY"), "http://127.0.0.1:9"),
    "a socks proxy for all": {"ALL_PROXY": "socks5://127.0.0.1:9", "all_proxy": "socks5://127.0.0.1:9"},
    "CA files that are not there": dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"), "/not/there.pem"),
    "an empty CA directory": {"SSL_CERT_DIR": "{tmp}"},
    "a missing CA directory": {"SSL_CERT_DIR": "/not/there"},
    "options for node": {"NODE_OPTIONS": "--max-old-space-size=512 --no-warnings"},
    "a python path": {"PYTHONPATH": "/not/there:{tmp}"},
    "no home": {"HOME": "{tmp}/gone", "RINGBACK_HOME": ""},
    "a home that cannot be written": {"HOME": "/proc", "RINGBACK_HOME": ""},
    "options for java": {"JAVA_TOOL_OPTIONS": "-Xmx256m -Dhttps.proxyHost=proxy.invalid -Dhttps.proxyPort=1"},
    "a directory that java cannot be told": {"TMPDIR": "{tmp}/c=d"},
    "a directory that python and php cannot be told": {"TMPDIR": '{tmp}/e:f"g'},
    "paths with spaces": {"TMPDIR": "{tmp}/a b", "RINGBACK_HOME": "{tmp}/c d"},
    "settings of ringback's own": {"RINGBACK_ENV_BEFORE": "not json", "RINGBACK_READY_FILE": ""},
}


def _hostile(name: str, tmp_path: Path) -> dict[str, str]:
    for directory in ("a b", "c=d", 'e:f"g'):
        (tmp_path / directory).mkdir()
    return {"TMPDIR": str(tmp_path)} | {
        name: value.replace("{tmp}", str(tmp_path)) for name, value in HOSTILE[name].items()
    }


@pytest.mark.parametrize("name", HOSTILE)
def test_python(name: str, product: Product, tmp_path: Path) -> None:
    done = product.run([sys.executable, "-c", PYTHON], more=_hostile(name, tmp_path))
    assert (done.returncode, done.stdout) == (0, "201\n"), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", HOSTILE)
def test_node(name: str, product: Product, tmp_path: Path) -> None:
    done = product.run([needs("node"), "-e", NODE], more=_hostile(name, tmp_path))
    assert (done.returncode, done.stdout) == (0, "201\n"), done.stderr


JAVA = f"""
public class Send {{
    public static void main(String[] arguments) throws Exception {{
        var connection = (java.net.HttpURLConnection) new java.net.URL("{URL}").openConnection();
        var login = java.util.Base64.getEncoder().encodeToString("{SID}:{TOKEN}".getBytes());
        connection.setRequestProperty("Authorization", "Basic " + login);
        connection.setDoOutput(true);
        connection.getOutputStream().write("{FORM}".getBytes());
        System.out.println(connection.getResponseCode());
    }}
}}
"""
RUBY = f"""
require 'net/http'
request = Net::HTTP::Post.new(URI('{URL}'))
request.basic_auth('{SID}', '{TOKEN}')
request.body = '{FORM}'
puts Net::HTTP.start('api.twilio.com', 443, use_ssl: true) {{ |http| http.request(request) }}.code
"""
PHP = f"""
$curl = curl_init('{URL}');
curl_setopt_array($curl, [CURLOPT_POSTFIELDS => '{FORM}', CURLOPT_USERPWD => '{SID}:{TOKEN}',
                          CURLOPT_RETURNTRANSFER => true]);
curl_exec($curl);
echo curl_getinfo($curl, CURLINFO_HTTP_CODE), "\n";
"""
INSIDE = {
    "python": lambda _: [sys.executable, "-c", PYTHON],
    "node": lambda _: [needs("node"), "-e", NODE],
    "java": lambda directory: [needs("java"), str(_written(directory / "Send.java", JAVA))],
    "ruby": lambda _: [needs("ruby"), "-e", RUBY],
    "php": lambda _: [needs("php"), "-r", PHP],
}


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("compiled")
    command = [needs("javac"), "-nowarn", "-d", str(place), str(_written(place / "Send.java", JAVA))]
    subprocess.run(command, check=True, capture_output=True)
    return place


@pytest.mark.parametrize("name", HOSTILE)
def test_java(name: str, product: Product, compiled: Path, tmp_path: Path) -> None:
    done = product.run([needs("java"), "-cp", compiled, "Send"], more=_hostile(name, tmp_path))
    assert (done.returncode, done.stdout) == (0, "201\n"), done.stderr
    given = HOSTILE[name].get("JAVA_TOOL_OPTIONS", "")
    assert f"Picked up JAVA_TOOL_OPTIONS: {given}".strip() in done.stderr


@pytest.mark.parametrize("name", HOSTILE)
def test_php(name: str, product: Product, tmp_path: Path) -> None:
    done = product.run([needs("php"), "-r", PHP], more=_hostile(name, tmp_path))
    assert (done.returncode, done.stdout) == (0, "201\n"), done.stderr


@pytest.mark.parametrize("runtime", INSIDE)
def test_of_a_run_inside_a_run_the_inner_one_answers(runtime: str, product: Product, tmp_path: Path) -> None:
    command = INSIDE[runtime](tmp_path)
    inner = [sys.executable, "-m", "ringback", "run", "--", *command]
    done = product.run(inner)
    assert (done.returncode, done.stdout) == (0, "201\n"), done.stderr
    assert done.stderr.count("ringback: 1 Twilio request answered") == 1
    assert done.stderr.endswith(
        "ringback: 0 Twilio requests answered, offline\n"
        "ringback:   1 request answered by the Ringback that ran inside this one\n"
    )


def test_a_run_inside_a_run_that_answered_nothing_is_no_excuse(product: Product) -> None:
    inner = [sys.executable, "-m", "ringback", "run", "--allow-none", "--", "true"]
    done = product.run([sys.executable, "-m", "ringback", "run", "--allow-none", "--", *inner])
    assert done.returncode == 3
    assert "ran inside" not in done.stderr


def test_the_innermost_of_three_answers_for_all(product: Product) -> None:
    inside = [sys.executable, "-m", "ringback", "run", "-q", "--"] * 2
    done = product.run([*inside, sys.executable, "-c", PYTHON])
    assert (done.returncode, done.stdout) == (0, "201\n"), done.stderr


def test_home_is_not_set_at_all(product: Product, tmp_path: Path) -> None:
    environment = product.environment({"TMPDIR": str(tmp_path)})
    del environment["HOME"], environment["RINGBACK_HOME"]
    command = [sys.executable, "-m", "ringback", "run", "--", sys.executable, "-c", PYTHON]
    done = finished(command, environment | {"XDG_DATA_HOME": str(tmp_path / "data")})
    assert (done.returncode, done.stdout) == (0, "201\n"), done.stderr
    assert done.stderr == "ringback: 1 Twilio request answered, offline (contract 1)\n"


def test_a_sitecustomize_of_ones_own_runs_too(product: Product, tmp_path: Path) -> None:
    own = "import os, socket\nif 'RINGBACK_PROXY_URL' in os.environ: print('mine')\n"
    (tmp_path / "sitecustomize.py").write_text(own)
    done = product.run([sys.executable, "-c", PYTHON], more={"PYTHONPATH": str(tmp_path)})
    assert (done.returncode, done.stdout) == (0, "mine\n201\n"), done.stderr


def test_what_was_wrong_is_said(product: Product, tmp_path: Path) -> None:
    for name, said in {
        "CA files that are not there": "REQUESTS_CA_BUNDLE names /not/there.pem",
        "a missing CA directory": "SSL_CERT_DIR names /not/there",
        "no home": "this user has no home directory",
        "a home that cannot be written": "cannot be written",
        "a directory that java cannot be told": "has a '=' that not every runtime can be told: using /tmp",
    }.items():
        directory = tmp_path / name
        directory.mkdir()
        done = product.run([sys.executable, "-c", PYTHON], more=_hostile(name, directory))
        assert said in done.stderr


def test_nothing_is_left_behind(product: Product, tmp_path: Path) -> None:
    done = product.run([sys.executable, "-c", PYTHON], more={"TMPDIR": str(tmp_path)})
    assert done.returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_the_child_sees_what_the_parent_set(product: Product) -> None:
    code = "import json, os; print(json.dumps(dict(os.environ)))"
    given = {"MINE": "1", "PYTHONPATH": "/mine", "NO_PROXY": "intranet.example,*.com"}
    done = product.run([sys.executable, "-c", code], more=given, options=["--allow-none"])
    seen = json.loads(done.stdout)
    assert seen["MINE"] == "1"
    assert seen["PYTHONPATH"].split(os.pathsep)[1:] == ["/mine"]
    assert seen["NO_PROXY"] == seen["no_proxy"] == "intranet.example,localhost,127.0.0.1,::1"
    assert not Path(seen["SSL_CERT_FILE"]).exists(), "it is removed with the run"
