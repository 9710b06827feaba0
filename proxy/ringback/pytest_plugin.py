"""pytest's side: `pytest --ringback` answers every test's Twilio requests, from a cassette of the test's own.

Loaded by every pytest where Ringback is installed, so nothing but pytest is imported until it is asked for.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

OPTIONS: Final = "ringback_options"
PROXY_URL: Final = "RINGBACK_PROXY_URL"  # `ringback run`, `ringback env` and the session below set it
_VARIABLES: Final = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", PROXY_URL)
_LONGEST: Final = 100  # characters of a cassette's name
_FILE: Final = re.compile(r"\.(?:ya?ml|json)$", re.IGNORECASE)  # no cassette's name ends so
_PATIENCE: Final = 60.0  # seconds for the proxy to start, and to end
_SHIM: Final = "ringback_sitecustomize"  # so called, it installs nothing by itself
_ANNOUNCED: Final = "stop: Ctrl-C\n"  # the last that `ringback serve` tells before its summary
_running: Final = pytest.StashKey["Running"]()
_told: Final = pytest.StashKey[str]()


@dataclass(frozen=True)
class Ringback:
    """What the fixture `ringback` gives to a test.

    Attributes:
        cassette: The name of the test's own cassette.
        proxy: The proxy's URL for this test, for clients that take one by hand.
        bundle: The PEM file of the usual roots and Ringback's, for the same.
    """

    cassette: str
    proxy: str
    bundle: str


class Running:
    """The proxy of this session, a process of its own.

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
        ready = directory / "ready.json"
        command = [sys.executable, "-m", "ringback", "serve", "--ready-file", str(ready), *arguments]
        self._process = subprocess.Popen(  # noqa: S603 - ourselves
            command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=subprocess.STDOUT
        )
        ended = time.monotonic() + _PATIENCE
        while not ready.exists():
            if self._process.poll() is not None or time.monotonic() > ended:
                raise pytest.UsageError(self.end()[1] or "the proxy did not start")
            time.sleep(0.01)
        self.state = json.loads(ready.read_text())

    def enter(self) -> None:
        """Let this process and its children reach Twilio through the proxy."""
        from ringback.launch.environment import Proxy, prepare  # noqa: PLC0415 - see the module

        url = urlsplit(self.state["proxy"])
        password = os.environ.get("RINGBACK_PROXY_PASSWORD") or None
        proxy = Proxy(url.hostname or "", url.port or 0, self.state["user"], password, self.state["socks"])
        directory = Path(self.state["bundle"]).parent  # the proxy's own, which it removes at its end
        launch = prepare(proxy, Path(self.state["ca"]), os.environ, directory)
        for name, value in launch.variables.items():
            self._environment.setenv(name, value)
        for name in launch.removed:
            self._environment.delenv(name)
        _install_shim(directory / "python" / "sitecustomize.py")

    def end(self) -> tuple[int, str]:
        """End the proxy; its exit code, and what it has told."""
        self._environment.undo()
        self._process.terminate()
        code = self._process.wait(_PATIENCE)
        self._log.seek(0)
        said = self._log.read().decode("utf-8", "replace")
        self._stack.close()
        return code, said


def _install_shim(file: Path) -> None:
    """What a child gets by PYTHONPATH, for this process, which has started already."""
    spec = importlib.util.spec_from_file_location(_SHIM, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.install()


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--ringback`, and the proxy's options."""
    group = parser.getgroup("ringback", "Twilio requests, answered offline")
    group.addoption(
        "--ringback",
        action="store_true",
        help="Answer every test's Twilio requests through Ringback, from a cassette of the test's own.",
    )
    parser.addini(
        OPTIONS, "Options of `ringback serve` for --ringback, such as --mode auto.", type="args", default=[]
    )


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist starts its workers, which inherit all this
def pytest_sessionstart(session: pytest.Session) -> None:
    """Start the proxy, unless `ringback run`, or the session that started this worker, has one already."""
    config = session.config
    if not config.getoption("ringback") or PROXY_URL in os.environ or config.option.collectonly:
        return
    config.stash[_running] = running = Running(config.getini(OPTIONS))
    running.enter()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """End the proxy; what it fails for (a strict miss, an unused recording) fails the session."""
    running = session.config.stash.get(_running, None)
    if running is None:
        return
    code, session.config.stash[_told] = running.end()
    del session.config.stash[_running]
    if code and not exitstatus:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Tell what was answered, as `ringback run` does."""
    said = config.stash.get(_told, "")
    for line in (said.partition(_ANNOUNCED)[2] or said).splitlines():
        terminalreporter.write_line(line)


@pytest.fixture(autouse=True)
def _ringback_cassette(request: pytest.FixtureRequest) -> None:
    """With --ringback every test has a cassette of its own."""
    if request.config.getoption("ringback"):
        request.getfixturevalue("ringback")


@pytest.fixture
def ringback(request: pytest.FixtureRequest) -> Iterator[Ringback]:
    """The proxy of this test: its clients' requests are looked up, and recorded, in the test's cassette."""
    if PROXY_URL not in os.environ:
        pytest.fail("no proxy: call `pytest --ringback`, or `ringback run -- pytest`", pytrace=False)
    from ringback.launch.runtimes import Proxy  # noqa: PLC0415 - see the module

    url = urlsplit(os.environ[PROXY_URL])
    name = cassette_name(request.node.nodeid)
    proxy = Proxy(url.hostname or "", url.port or 0, name, url.password).url
    with pytest.MonkeyPatch.context() as environment:
        for variable in _VARIABLES:
            environment.setenv(variable, proxy)
        yield Ringback(name, proxy, os.environ.get("SSL_CERT_FILE", ""))


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
