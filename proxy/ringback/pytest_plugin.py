"""A pytest plugin: `pytest --ringback` answers every test's Twilio requests, from a cassette of its own.

A client keeps the proxy URL that it was made with, often at import. So all clients of a process get one URL
with a user name of the process, and the plugin binds that name to the running test (POST /ringback/session).
Fixtures of a wider scope have cassettes of their own, and so has what is sent while no test runs.

Loaded by every pytest where Ringback is installed, so nothing but pytest is imported until it is asked for.

This file and `testing.py` are also the whole of the distribution pytest-ringback (plugins/pytest), for
environments whose packages do not go with Ringback's. So they import nothing else of Ringback's, are written
for Python 3.9, and ask the program for what they need: `ringback serve`, `ringback env` and the API at
/ringback/.
"""

from __future__ import annotations

import hashlib
import http.client
import importlib.metadata
import importlib.util
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote, urlsplit

import pytest

if TYPE_CHECKING or __name__ != "pytest_ringback":
    from ringback.testing import Comparable, Ringback, SentList
else:
    from ringback_testing import Comparable, Ringback, SentList

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

OPTIONS: Final = "ringback_options"
COMMAND: Final = "RINGBACK_COMMAND"  # the program, with arguments, where it is not to be looked for
PROXY_URL: Final = "RINGBACK_PROXY_URL"  # `ringback run`, `ringback env` and the session below set it
_VARIABLES: Final = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", PROXY_URL)
_LONGEST: Final = 100  # characters of a cassette's name
_FILE: Final = re.compile(r"\.(?:ya?ml|json)$", re.IGNORECASE)  # no cassette's name ends so
_SETUP: Final = re.compile(r"_(?:xunit|unittest)_(\w+?)_fixture")
_TIMEOUT: Final = 60.0  # seconds for the proxy to start, and to end
_SHIM: Final = "ringback_sitecustomize"  # so called, it installs nothing by itself
_ANNOUNCED: Final = "stop: Ctrl-C\n"  # the last that `ringback serve` prints before its summary
_OWN: Final = "_RINGBACK_PYTEST_PROXY"  # tells workers of pytest-xdist that the proxy is the plugin's own
_WORKER: Final = "PYTEST_XDIST_WORKER"
OUTSIDE: Final = "outside-tests"  # the cassette of requests that belong to no running test
_ENDED: Final = 10.0  # seconds in which the proxy answers the plugin
_PROXY_HEADERS: Final = 3  # arguments of ProxyManager after its URL, up to `proxy_headers`
_running: Final = pytest.StashKey["ProxyProcess"]()
_binder: Final = pytest.StashKey["Binder"]()
_started: Final = pytest.StashKey[int]()  # the number of the last request before a test
_printed: Final = pytest.StashKey[str]()
_problems: Final = pytest.StashKey[list[str]]()


class ProxyProcess:
    """The proxy of this test run, a process of its own.

    Args:
        arguments: Options of `ringback serve`.

    Raises:
        UsageError: It does not start; the message is its own.
    """

    def __init__(self, arguments: list[str]) -> None:
        self._stack = ExitStack()
        self._environment = self._stack.enter_context(pytest.MonkeyPatch.context())
        directory = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="ringback-pytest-")))
        self._log = self._stack.enter_context((directory / "log").open("w+b"))
        self._program = find_program()
        self._ready = ready = directory / "ready.json"
        command = [*self._program, "serve", "--ready-file", str(ready), *arguments]
        try:
            self._process = subprocess.Popen(  # noqa: S603 - ourselves
                command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=subprocess.STDOUT
            )
        except OSError as error:
            self._stack.close()
            raise pytest.UsageError(f"ringback: {shlex.join(self._program)}: {error.strerror}") from None
        ended = time.monotonic() + _TIMEOUT
        while not ready.exists():
            if self._process.poll() is not None or time.monotonic() > ended:
                raise pytest.UsageError(self.end()[1] or "the proxy did not start")
            time.sleep(0.01)
        self.state = json.loads(ready.read_text())
        self.ended = False

    def enter(self) -> None:
        """Let this process and its children reach Twilio through the proxy."""
        command = [*self._program, "env", "--ready-file", str(self._ready), "--shell", "json"]
        asked = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - ourselves
        if asked.returncode:
            raise pytest.UsageError(self.end()[1] + asked.stderr.decode("utf-8", "replace"))
        launch = json.loads(asked.stdout)
        self._environment.setenv(_OWN, "1")
        for name, value in launch["variables"].items():
            self._environment.setenv(name, value)
        for name in launch["removed"]:
            self._environment.delenv(name)
        _install_shim(Path(launch["directory"]) / "python" / "sitecustomize.py")

    def end(self) -> tuple[int, str]:
        """End the proxy; return its exit code and its output."""
        self.ended = True
        self._environment.undo()
        if hasattr(self, "state") and self.state["pid"] != self._process.pid and os.name == "posix":
            with suppress(ProcessLookupError):  # started by another program, such as uvx
                os.kill(self.state["pid"], signal.SIGTERM)
        else:
            self._process.terminate()
        code = self._process.wait(_TIMEOUT)
        self._log.seek(0)
        output = self._log.read().decode("utf-8", "replace")
        self._stack.close()
        return code, output


def find_program() -> list[str]:
    """Return the command that is Ringback, without its arguments.

    In this order: what RINGBACK_COMMAND says, this Python's own, `ringback` on PATH, `uvx` or `pipx run` with
    the version of this plugin.

    Raises:
        UsageError: There is none.
    """
    command = shlex.split(os.environ.get(COMMAND, ""))
    if command:
        return command
    if __name__ != "pytest_ringback" or _has_distribution("ringback"):
        return [sys.executable, "-m", "ringback"]
    found = shutil.which("ringback")
    if found:
        return [found]
    wanted = f"ringback=={version()}"
    for runner in (["uvx"], ["pipx", "run"]):
        found = shutil.which(runner[0])
        if found:
            return [found, *runner[1:], wanted]
    raise pytest.UsageError(
        f"ringback: the program is not here: `pipx install {wanted}` or `uv tool install {wanted}`, "
        f"or name it in {COMMAND}"
    )


def version() -> str:
    """Return the version of this plugin, which is that of the `ringback` that it goes with."""
    return importlib.metadata.version("pytest-ringback" if __name__ == "pytest_ringback" else "ringback")


def _has_distribution(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _proxy_url(host: str, port: int, user: str, password: str | None) -> str:
    host = f"[{host}]" if ":" in host else host
    # requests sends no Proxy-Authorization when the password is empty.
    return f"http://{quote(user, safe='')}:{quote(password or 'x', safe='')}@{host}:{port}"


def _install_shim(file: Path) -> None:
    """Load into this process, which has already started, the shim that a child gets by PYTHONPATH."""
    spec = importlib.util.spec_from_file_location(_SHIM, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.install()


class Binder:
    """Binds the clients of this process to the running test.

    Attributes:
        problems: A sentence for each test whose requests did not come to the proxy.
        last: The number of the proxy's last request when it was told of the running test.

    Args:
        under_run: Whether the proxy is that of a `ringback run` around this process.
    """

    def __init__(self, *, under_run: bool) -> None:
        url = urlsplit(os.environ[PROXY_URL])
        self._under_run = under_run
        self.problems: list[str] = []
        self.last = 0
        self._host, self._port = url.hostname or "", url.port or 0
        self._password = unquote(url.password) if url.password else None
        self._user = f"pytest-{os.getpid()}"
        self._distrusted = 0
        self._stack: list[tuple[str, Path | None]] = [(OUTSIDE, None)]
        self._test = ""
        self._environment = pytest.MonkeyPatch()
        proxy = _proxy_url(self._host, self._port, self._user, self._password)
        for variable in _VARIABLES:
            self._environment.setenv(variable, proxy)
        # Clients that send no user name: all of one proxy have the same cassette.
        self._former = None if _WORKER in os.environ else self._ask("GET", "session")["cassette"]
        if self._former is None:
            self._name_proxy_managers()
        self._directory = Path(os.environ.get("SSL_CERT_FILE", "")).parent
        self._marks = self._bypassed()
        self._bind()

    def push(self, cassette: str, file: Path | None = None, test: str = "") -> None:
        """Answer from `cassette` until `pop`: from `file`, where the directory has none of that name.

        Args:
            cassette: The cassette's name.
            file: The file that has it, or None.
            test: The test that begins; empty for a fixture of the running one.
        """
        self._test = test or self._test
        self._stack.append((cassette, file))
        self._bind()

    def pop(self, where: str = "") -> None:
        """Go back to the cassette before; note clients of the test `where` that went past the proxy."""
        self._stack.pop()
        before = self._distrusted
        self._bind()
        if not where:
            return
        if self._distrusted > before:
            self.problems.append(f"{where}: a client does not trust Ringback's CA; see docs/clients.md")
        marks = self._bypassed()
        for name in sorted(mark for mark, changed in marks.items() if self._marks.get(mark) != changed):
            host = (self._directory / name).read_text(errors="replace").partition("\n")[0]
            runtime = name.split("-")[1]
            self.problems.append(
                f"{where}: a client ({runtime}) was stopped on its way to {host} past the proxy"
            )
        self._marks = marks

    def end(self) -> None:
        """Bind nothing any more, and bring the variables back."""
        self._environment.undo()
        with suppress(OSError, http.client.HTTPException):
            self._ask("POST", "session", {"user": self._user, "cassette": None})
            if self._former is not None:
                self._ask("POST", "session", {"cassette": self._former})

    def answered(self) -> int:
        """Return how many requests the proxy has answered."""
        return int(self._ask("GET", "health")["answered"])

    def strays(self) -> int:
        """Return how many of its last requests belonged to no test."""
        sessions = self._ask("GET", "session")["sessions"]
        return sum(one["requests"] for one in sessions if one["name"] == OUTSIDE)

    def _bind(self) -> None:
        cassette, file = self._stack[-1]
        wanted: dict[str, Any] = {"user": self._user, "cassette": cassette}
        if file is not None:
            wanted["file"] = str(file)
        if self._test:
            command = shlex.join(["pytest", "--ringback", self._test])
            under_run = "ringback run --mode MODE -- " if self._under_run else "RINGBACK_MODE=MODE "
            wanted["command"] = under_run + command
        try:
            bound = self._ask("POST", "session", wanted)
            self._distrusted, self.last = bound["distrusted"], bound["last"]
            if self._former is not None:
                self._ask("POST", "session", {"cassette": cassette})
        except (OSError, http.client.HTTPException, KeyError) as error:
            pytest.exit(f"ringback: the proxy at port {self._port} does not answer: {error!r}", 1)

    def _name_proxy_managers(self) -> None:
        """Let urllib3's ProxyManager send the user name of its URL, which it leaves out by itself."""
        try:
            from urllib3 import poolmanager, util  # noqa: PLC0415 - only where it is installed
        except ImportError:
            return
        make = poolmanager.ProxyManager.__init__

        def make_named(manager: Any, proxy_url: str, *args: Any, **options: Any) -> None:
            url = urlsplit(str(proxy_url))
            if len(args) < _PROXY_HEADERS and not options.get("proxy_headers") and url.username:
                pair = f"{unquote(url.username)}:{unquote(url.password or '')}"
                options["proxy_headers"] = util.make_headers(proxy_basic_auth=pair)
            make(manager, proxy_url, *args, **options)

        self._environment.setattr(poolmanager.ProxyManager, "__init__", make_named)

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=_ENDED)
        headers = {"Authorization": f"Bearer {self._password}"} if self._password else {}
        try:
            connection.request(method, f"/ringback/{path}", json.dumps(body), headers)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def _bypassed(self) -> dict[str, int]:
        """Return the markers of stopped clients with their times; in a worker of xdist its own alone."""
        own = f"bypassed-*-{os.getpid()}" if _WORKER in os.environ else "bypassed-*"
        found = {}
        for mark in self._directory.glob(own):
            with suppress(OSError):
                found[mark.name] = mark.stat().st_mtime_ns
        return found


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--ringback`, `--ringback-required` and the proxy's options."""
    group = parser.getgroup("ringback", "Twilio requests, answered offline")
    group.addoption(
        "--ringback",
        action="store_true",
        help="Answer every test's Twilio requests through Ringback, from a cassette of the test's own.",
    )
    group.addoption(
        "--ringback-required",
        action="store_true",
        help="The same, and fail if no test sent a Twilio request.",
    )
    parser.addini(
        OPTIONS, "Options of `ringback serve` for --ringback, such as --mode auto.", type="args", default=[]
    )


@pytest.hookimpl(
    tryfirst=True
)  # conftest files may make clients, and pytest-xdist's workers inherit all this
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Start the proxy, unless `ringback run`, or the process that started this worker, has one already."""
    asked = early_config.known_args_namespace
    if not (asked.ringback or asked.ringback_required) or asked.collectonly or asked.help or asked.version:
        return
    if PROXY_URL not in os.environ:
        early_config.stash[_running] = running = ProxyProcess(early_config.getini(OPTIONS))
        early_config.add_cleanup(lambda: None if running.ended else _drop(running))
        running.enter()
    early_config.stash[_binder] = binder = Binder(under_run=_OWN not in os.environ)
    early_config.stash[_problems] = binder.problems


def _drop(running: ProxyProcess) -> None:
    """End the proxy of a test run that never began."""
    running.end()


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None]:
    """Bind this process's clients to `item` while it is set up, called and torn down."""
    binder = item.config.stash.get(_binder, None)
    if binder is None:
        yield
        return
    binder.push(cassette_name(item.nodeid), _recorded_by_vcr(item), item.nodeid)
    item.stash[_started] = binder.last
    yield
    binder.pop(item.nodeid)


@pytest.hookimpl(hookwrapper=True)
def pytest_fixture_setup(fixturedef: Any, request: Any) -> Generator[None]:
    """Give fixtures that several tests share a cassette of their own, in whichever test they are set up."""
    binder = request.config.stash.get(_binder, None)
    fixture = _fixture_name(fixturedef)
    if binder is None or fixturedef.scope == "function" or not fixture:
        yield
        return
    base = fixturedef.baseid if fixturedef.scope == "session" else request.node.nodeid
    parameter = f"[{request.param_index}]" if hasattr(request, "param") else ""
    name = cassette_name(f"{base}::{fixture}{parameter}")
    ending: list[str] = []

    def end() -> None:
        if ending:
            ending.pop()
            binder.pop()

    def begin_end() -> None:
        ending.append(name)
        binder.push(name)

    fixturedef.addfinalizer(end)  # called last, after the fixture's own end
    binder.push(name)
    yield
    binder.pop()
    fixturedef.addfinalizer(begin_end)  # called first


def _fixture_name(fixturedef: Any) -> str:
    """Return the name that people know a fixture by; empty for pytest's own ones.

    pytest makes fixtures of `setup_module`, `setup_class` and unittest's `setUpClass`.
    """
    found = _SETUP.match(fixturedef.argname)
    if found:
        return found[1]
    own = getattr(fixturedef.func, "__module__", "").startswith("_pytest.")
    return "" if own else str(fixturedef.argname)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what a worker of pytest-xdist noted."""
    node.config.stash.setdefault(_problems, []).extend(getattr(node, "workeroutput", {}).get(OPTIONS, []))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """End the proxy; what it fails for (a strict miss, an unused recording) fails the test run.

    A client that went past the proxy or distrusts it fails it too, and so do required requests that never
    came.
    """
    config = session.config
    binder = config.stash.get(_binder, None)
    if binder is None:
        return
    if hasattr(config, "workeroutput"):
        config.workeroutput[OPTIONS] = binder.problems
        binder.end()
        return
    problems = config.stash[_problems]
    with suppress(OSError, http.client.HTTPException):
        if config.getoption("ringback_required") and binder.answered() == 0:
            problems.append("no test sent a Twilio request, and --ringback-required asks for one")
        strays = binder.strays()
        if strays:
            config.stash[_printed] = (
                f"ringback: {strays} Twilio request(s) belong to no running test: cassette {OUTSIDE}\n"
            )
    binder.end()
    code = 0
    running = config.stash.get(_running, None)
    if running is not None:
        code, printed = running.end()
        config.stash[_printed] = (
            _without_start(printed) + config.stash.get(_printed, "") + _other_version(running.state)
        )
        del config.stash[_running]
    if (code or problems) and not exitstatus:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _without_start(printed: str) -> str:
    return printed.partition(_ANNOUNCED)[2] or printed


def _other_version(state: dict[str, Any]) -> str:
    own, program = version(), state["version"]
    if own == program:
        return ""
    return f"ringback: the program is {program}, this plugin {own}: install the same version of both\n"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print what was answered, as `ringback run` does, and which tests went past the proxy."""
    for line in config.stash.get(_printed, "").splitlines():
        terminalreporter.write_line(line)
    for problem in config.stash.get(_problems, []):
        terminalreporter.write_line(f"ringback: {problem}", red=True)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, None]:
    """Add what a failed test asked and got."""
    outcome = yield
    report = outcome.get_result()
    if not report.failed or _started not in item.stash or PROXY_URL not in os.environ:
        return
    with suppress(OSError, http.client.HTTPException, ValueError):
        lines = _own(item).report()
        report.sections.append(("Twilio requests of this test", "\n".join(lines)))


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Tell item by item how what was sent differs from what was expected."""
    ours = (SentList, Comparable)
    if isinstance(right, ours) and not isinstance(left, ours):
        left, right = right, left
    title = "what was sent is not what was expected"
    if op == "==" and isinstance(left, SentList) and isinstance(right, list):
        return [title, *left.explain(right)]
    if op == "==" and isinstance(left, Comparable) and isinstance(right, Mapping):
        return [title, *left.differences(right), *str(left).splitlines()]
    return None


def _own(item: pytest.Item) -> Ringback:
    """Return the proxy of a test."""
    url = urlsplit(os.environ[PROXY_URL])
    name = cassette_name(item.nodeid)
    password = unquote(url.password) if url.password else None
    proxy = _proxy_url(url.hostname or "", url.port or 0, name, password)
    return Ringback(name, proxy, os.environ.get("SSL_CERT_FILE", ""), item.stash[_started])


@pytest.fixture
def ringback(request: pytest.FixtureRequest) -> Iterator[Ringback]:
    """The proxy of this test: its clients' requests are looked up, and recorded, in the test's cassette."""
    if PROXY_URL not in os.environ:
        pytest.fail("no proxy: call `pytest --ringback`, or `ringback run -- pytest`", pytrace=False)
    item = request.node
    if _started not in item.stash:
        item.stash[_started] = 0
        item.stash[_started] = _own(item).last
    own = _own(item)
    with pytest.MonkeyPatch.context() as environment:
        if _binder not in request.config.stash:
            for variable in _VARIABLES:
                environment.setenv(variable, own.proxy)
        yield own
    with suppress(OSError, http.client.HTTPException):
        own.take_rows_back()


def _recorded_by_vcr(item: pytest.Item) -> Path | None:
    """Return the cassette that pytest-recording has for a test: `cassettes/test_file/Class.test[1].yaml`."""
    parent = getattr(item, "cls", None)
    name = f"{parent.__name__}.{item.name}" if parent is not None else item.name
    for character in r"<>?%*:|\"'/\\":
        name = name.replace(character, "-")
    file = item.path.parent / "cassettes" / item.path.stem / f"{name}.yaml"
    return file if file.is_file() else None


def cassette_name(nodeid: str) -> str:
    """The cassette of the test `nodeid`: a slug, different for different tests.

    `tests/test_sms.py::TestSend::test_hello` is `tests.test_sms.TestSend.test_hello`; where characters had to
    go, as those of most parameters, six hexadecimal digits tell apart what would be the same.
    """
    file, _, test = nodeid.partition("::")
    plain = ".".join(filter(None, [file.removesuffix(".py").replace("/", "."), test.replace("::", ".")]))
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", plain).strip(".-_")
    if slug != plain or len(slug) > _LONGEST or _FILE.search(slug):
        digits = hashlib.blake2b(nodeid.encode("utf-8", "surrogatepass"), digest_size=3).hexdigest()
        slug = f"{slug[: _LONGEST - 7].rstrip('.-_')}-{digits}".lstrip("-")
    return slug or "test"
