"""Node's own clients with the preload; the SDK's generations are driven in tests/sdk/node."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from ringback.launch.hints import bypass_hint, seen_runtimes, stopped_bypasses
from ringback.launch.runtimes import allow_node
from support.launching import needs
from support.product import CACHE, Product, alone_in, product
from support.servers import elsewhere

if TYPE_CHECKING:
    from pathlib import Path

    from support.launching import Launcher

__all__ = ["product"]

URL = "https://api.twilio.com/2010-04-01/Accounts/AC0/Messages.json"
FETCH = f"""
const answer = await fetch({URL!r}, {{
  method: 'POST', body: new URLSearchParams({{ To: '1' }}), headers: {{ Authorization: 'Basic eDp5' }},
}});
console.log(answer.status);
"""
WORKER = f"""
const {{ Worker }} = require('node:worker_threads');
new Worker(`(async () => {{ {FETCH} }})()`, {{ eval: true }});
"""
HTTPS = """
const { hostname, port, pathname } = new (require('url').URL)(%r);
const request = require('https').get(Object.assign({ hostname, port, path: pathname }, %s));
request.on('response', (answer) => { console.log(answer.statusCode); answer.resume(); });
request.on('error', (error) => { console.log(error.message); process.exitCode = 1; });
"""
LOGIN = "auth: 'x:y'"
OWN = HTTPS % (URL, f"{{ {LOGIN}, agent: new (require('https').Agent)() }}")
UNDICI = """
const undici = require(%r);
const { Writable } = require('stream');
const url = %r;
const headers = { Authorization: 'Basic eDp5' };
(async () => {
  console.log((await undici.fetch(url, { headers })).status);
  console.log((await undici.request(url, { headers })).statusCode);
  const sink = () => new Writable({ write(chunk, encoding, done) { done(); } });
  await undici.stream(url, { headers, method: 'GET' }, (got) => {
    console.log(got.statusCode);
    return sink();
  });
  console.log((await fetch(url, { headers })).status);
  const own = { headers, dispatcher: new undici.Agent() };
  await undici.fetch(url, own).catch((error) => console.log(error.cause.code));
  console.log(await (await undici.fetch(%r)).text());
})();
"""

UNDICIS = {"5": "5.29.0", "6": "6.29.1", "7": "7.30.2", "8": "8.13.1"}
FIRST = {"5": 14, "6": 18, "7": 20, "8": 22}  # the oldest Node that each runs on


@pytest.fixture(scope="module")
def node() -> str:
    return needs("node")


def _node_from_npm(major: str) -> Path:
    with alone_in(CACHE / "node" / major) as place:
        program = place / "node_modules" / "node" / "bin" / "node"
        if not program.is_file():
            command = [needs("npm"), "install", "--silent", "--prefix", str(place), f"node@{major}"]
            done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
            if not program.is_file():
                pytest.skip(f"npm cannot fetch node@{major}: {done.stderr.strip()[:300]}")
        return program


@pytest.mark.slow
@pytest.mark.parametrize("major", ["18", "22", "24"])
@pytest.mark.parametrize("code", [f"(async () => {{ {FETCH} }})()", WORKER], ids=["fetch", "worker"])
def test_fetch_of_other_versions(code: str, major: str, launcher: Launcher) -> None:
    launched = launcher()
    done = launched.run([_node_from_npm(major), "-e", code])
    assert done.stdout == "201\n", done.stderr
    # A worker of Node 22 prints its warning of NODE_USE_ENV_PROXY before anything of ours runs in it.
    assert done.stderr == "" or (major == "22" and code == WORKER)
    assert len(launched.requests()) == 1


@pytest.mark.slow
def test_a_warning_of_the_programs_own_is_still_printed(launcher: Launcher) -> None:
    done = launcher().run([_node_from_npm("22"), "-e", "process.emitWarning('mine')"])
    assert "Warning: mine" in done.stderr
    assert "EnvHttpProxyAgent" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("agent", ["undefined", "false"])
@pytest.mark.parametrize("major", ["8", "18", "22", "24"])
def test_https_without_an_agent_of_its_own(major: str, agent: str, launcher: Launcher) -> None:
    """twilio-node 2 runs on Node 8."""
    launched = launcher(user="night run")
    done = launched.run([_node_from_npm(major), "-e", HTTPS % (URL, f"{{ {LOGIN}, agent: {agent} }}")])
    assert (done.stdout, done.stderr) == ("201\n", "")
    assert len(launched.requests()) == 1
    assert stopped_bypasses(launched.launch.directory) == ()


@pytest.mark.slow
@pytest.mark.parametrize("major", ["8", "18", "22", "24"])
def test_an_agent_of_the_programs_own_is_stopped(major: str, launcher: Launcher) -> None:
    done = launcher().run([_node_from_npm(major), "-e", OWN])
    assert done.stdout.startswith("Ringback stopped a connection"), done.stderr


@pytest.fixture(scope="module")
def undicis() -> Path:
    with alone_in(CACHE / "node" / "undici") as place:
        names = [f"undici{major}@npm:undici@{version}" for major, version in UNDICIS.items()]
        if not (place / "node_modules" / "undici8").is_dir():
            command = [needs("npm"), "install", "--silent", "--prefix", str(place), *names]
            done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"npm cannot fetch undici: {done.stderr.strip()[:300]}")
    return place / "node_modules"


@pytest.mark.slow
@pytest.mark.parametrize("major", ["18", "20", "22", "24"])
@pytest.mark.parametrize("undici", UNDICIS)
def test_undici_from_npm(undici: str, major: str, undicis: Path, launcher: Launcher) -> None:
    if int(major) < FIRST[undici]:
        pytest.skip(f"undici {undici} does not run on Node {major}")
    launched = launcher()
    with elsewhere() as other:
        url = f"http://127.0.0.1:{other.port}/"
        code = UNDICI % (str(undicis / f"undici{undici}"), URL, url)
        done = launched.run([_node_from_npm(major), "-e", code])
    assert done.stdout.split() == ["201"] * 4 + ["ENOTFOUND", "elsewhere"], done.stderr
    assert len(launched.requests()) == 4
    assert len(other.seen) == 1


@pytest.mark.parametrize("kind", ["commonjs", "module", "worker"])
def test_fetch(kind: str, node: str, launcher: Launcher, tmp_path: Path) -> None:
    code = {"commonjs": f"(async () => {{ {FETCH} }})()", "module": FETCH, "worker": WORKER}[kind]
    program = tmp_path / ("program.mjs" if kind == "module" else "program.cjs")
    program.write_text(code)
    launched = launcher()
    done = launched.run([node, program])
    assert done.stderr == ""
    assert done.stdout == "201\n"
    assert [request["form"] for request in launched.requests()] == ["To=1"]
    assert {mark.runtime for mark in seen_runtimes(launched.launch.directory)} == {"node"}


def test_the_cassettes_name_and_odd_characters(node: str, launcher: Launcher, tmp_path: Path) -> None:
    directory = tmp_path / 'quotes " and späces'
    directory.mkdir()
    launched = launcher(user="night run", directory=directory)
    done = launched.run([node, "--input-type=module", "-e", FETCH])
    assert (done.stdout, done.stderr) == ("201\n", "")


def test_a_client_past_the_proxy_is_stopped_and_named(node: str, launcher: Launcher) -> None:
    launched = launcher()
    done = launched.run([node, "-e", OWN])
    assert done.returncode == 1
    assert "Ringback stopped a connection to api.twilio.com" in done.stdout
    assert launched.requests() == []
    (mark,) = stopped_bypasses(launched.launch.directory)
    assert mark.host == "api.twilio.com"
    assert bypass_hint(["npm", "test"], launched.launch.directory).startswith("Node.js (")


LOOKUPS = ["lookup", "resolve", "resolve4", "resolve6", "resolveAny"]


@pytest.mark.parametrize("owner", ["dns.promises", "new dns.promises.Resolver()"])
@pytest.mark.parametrize("name", LOOKUPS)
def test_every_promised_lookup_is_stopped_too(name: str, owner: str, node: str, launcher: Launcher) -> None:
    if "Resolver" in owner and name == "lookup":
        pytest.skip("a Resolver has none")
    code = f"const dns = require('dns'); await ({owner}).{name}('api.twilio.com')"
    done = launcher().run([node, "-e", f"(async () => {{ {code} }})().catch((e) => console.log(e.code))"])
    assert done.stdout == "ENOTFOUND\n"


@pytest.mark.parametrize("owner", ["dns", "new dns.Resolver()"])
@pytest.mark.parametrize("name", LOOKUPS[1:])
def test_asking_a_name_server_is_stopped_too(name: str, owner: str, node: str, launcher: Launcher) -> None:
    launched = launcher()
    code = f"const dns = require('dns'); ({owner}).{name}('api.twilio.com', (e) => console.log(e.message))"
    assert launched.run([node, "-e", code]).stdout.startswith("Ringback stopped a connection")
    assert [mark.host for mark in stopped_bypasses(launched.launch.directory)] == ["api.twilio.com"]


def test_other_names_resolve_as_ever(node: str, launcher: Launcher) -> None:
    code = (
        "require('dns').lookup('localhost', { family: 4 }, (error, address) => console.log(error, address))"
    )
    assert launcher().run([node, "-e", code]).stdout == "null 127.0.0.1\n"


def test_inherited_options_go_on_to_hold(node: str, launcher: Launcher, tmp_path: Path) -> None:
    (tmp_path / "mine.cjs").write_text("globalThis.mine = 'mine';")
    launched = launcher(
        {"NODE_OPTIONS": f"--require {tmp_path}/mine.cjs", "NODE_EXTRA_CA_CERTS": "/not/there"}
    )
    done = launched.run([node, "--input-type=module", "-e", f"console.log(mine); {FETCH}"])
    assert (done.stdout, done.stderr) == ("mine\n201\n", "")
    assert "NODE_EXTRA_CA_CERTS names /not/there" in launched.launch.warnings[0]


def test_other_hosts_are_fetched_directly(node: str, launcher: Launcher) -> None:
    """A server of the test's own on loopback: the preload leaves its requests alone."""
    code = """
    const server = require('http').createServer((request, answer) => answer.end(request.url));
    server.listen(0, '127.0.0.1', async () => {
      console.log(await (await fetch(`http://127.0.0.1:${server.address().port}/own`)).text());
      server.close();
    });
    """
    done = launcher().run([node, "-e", code])
    assert (done.stdout, done.stderr) == ("/own\n", "")


def test_other_hosts_are_asked_directly_by_https(node: str, launcher: Launcher, tmp_path: Path) -> None:
    with elsewhere(tmp_path) as other:
        launched = launcher({"NODE_EXTRA_CA_CERTS": str(other.certificate), "NO_PROXY": "localhost"})
        done = launched.run([node, "-e", HTTPS % (f"https://localhost:{other.port}/", "{}")])
    assert (done.stdout, done.stderr) == ("200\n", "")
    assert other.seen == ["GET / HTTP/1.1"]


def test_a_program_that_ends_at_once_still_ends(node: str, launcher: Launcher) -> None:
    done = launcher().run([node, "-e", ""])
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.slow
@pytest.mark.parametrize(
    "major, flag",
    [("20", "--experimental-permission"), ("22", "--experimental-permission"), ("24", "--permission")],
)
def test_the_permission_model_lets_the_preload_be_read(product: Product, major: str, flag: str) -> None:
    node = _node_from_npm(major)
    script = ["-e", "console.log(process.permission.has('fs.read', '/etc/passwd'))"]
    done = product.run([node, flag, *script], options=["--allow-none"])
    assert (done.returncode, done.stdout) == (0, "false\n"), done.stderr
    done = product.run([node, *script[:1], "1"], more={"NODE_OPTIONS": flag}, options=["--allow-none"])
    assert done.returncode == 0, done.stderr


def test_only_node_with_its_permission_model_is_given_an_option(tmp_path: Path) -> None:
    allowed = f"--allow-fs-read={tmp_path}/*"
    for before in (["--permission"], ["--no-warnings", "--experimental-permission"]):
        assert allow_node(["/bin/node", *before, "a.js"], tmp_path) == ["/bin/node", allowed, *before, "a.js"]
    for command in (["node", "a.js", "--permission"], ["deno", "--permission"], ["node"]):
        assert allow_node(command, tmp_path) == command
