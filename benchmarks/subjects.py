"""Subjects of the benchmarks: processes that listen, report their port and are ended afterwards."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.peers.bodies import BODY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[1]
PEERS = ("mockttp", "talkback")
# How each reports that it listens: a JSON object, or a line for people.
_PORT = re.compile(r'"port": ?([0-9]+)|listening on http://[^:]+:([0-9]+)')
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Subject:
    """A process that answers requests.

    Attributes:
        name: In the table.
        command: Its command line, once the workplace is ready.
        proxy: Whether clients reach it by CONNECT; else it is the server itself.
        verified: Whether its certificate is checked; a peer's own chain may lack the intermediate.
        quick: Whether the quick form runs it as well.
    """

    name: str
    command: Callable[[Workplace], list[str]]
    proxy: bool = True
    verified: bool = True
    quick: bool = False


@dataclass(frozen=True)
class Workplace:
    """A directory with what the subjects need.

    Attributes:
        directory: Where the files are.
        node: Where npm put the peers, or None.
    """

    directory: Path
    node: Path | None = None

    @property
    def leaf(self) -> Path:
        """PEM of a certificate for api.twilio.com, and its key."""
        return self.directory / "leaf.pem"

    def prepare(self) -> None:
        """Make the CA, a leaf and the flow to replay."""
        os.environ["RINGBACK_HOME"] = str(self.directory / "home")
        from cryptography import x509  # noqa: PLC0415 - after RINGBACK_HOME is set
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat  # noqa: PLC0415
        from mitmproxy.certs import CertStore  # noqa: PLC0415 - not for those who only read the table

        from ringback.launch.ca import ensure_authority  # noqa: PLC0415 - as above

        confdir = ensure_authority().directory
        store = CertStore.from_store(confdir, "mitmproxy", 2048)
        entry = store.get_cert("api.twilio.com", [x509.DNSName("api.twilio.com")])
        key = entry.privatekey.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        chain = b"".join(cert.to_pem() for cert in (entry.cert, *entry.chain_certs))
        self.leaf.write_bytes(key + chain)
        (self.directory / "key.pem").write_bytes(key)
        (self.directory / "signer.pem").write_bytes(store.default_ca.to_pem())  # leaves have the signer's key
        # mitmproxy's own programs get the same CA: its key is cheaper than the RSA one that they would make.
        shutil.copytree(confdir, self.directory / "confdir", dirs_exist_ok=True)
        self._run("-m", "benchmarks.peers.replayed", str(self.directory / "replayed.flow"))
        self._run("-m", "compileall", "-q", str(ROOT / "proxy" / "ringback"))  # as pip does

    @property
    def ca(self) -> Path:
        """The root that clients trust."""
        return self.directory / "confdir" / "mitmproxy-ca-cert.pem"

    def environment(self) -> dict[str, str]:
        """For every process: this one's without proxies and settings of ours."""
        kept = {name: value for name, value in os.environ.items() if not name.upper().endswith("_PROXY")}
        kept = {name: value for name, value in kept.items() if not name.startswith("RINGBACK_")}
        kept.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed program has its bytecode
        path = os.pathsep.join([str(ROOT), *filter(None, [kept.get("PYTHONPATH")])])
        home = {"RINGBACK_HOME": str(self.directory / "home"), "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
        node = {"NODE_PATH": str(self.node / "node_modules")} if self.node else {}
        return kept | home | node

    def _run(self, *arguments: str) -> None:
        subprocess.run([sys.executable, *arguments], check=True, env=self.environment(), cwd=ROOT)


@dataclass(frozen=True)
class Running:
    """A subject that accepts connections.

    Attributes:
        subject: Which one.
        process: Its process.
        port: Where it listens.
        ready: Seconds from its start to that.
    """

    subject: Subject
    process: subprocess.Popen[str]
    port: int
    ready: float

    def cpu(self) -> float:
        """Seconds of processor time that it and its children have used."""
        return sum(_cpu(pid) for pid in _family(self.process.pid))

    def resident(self) -> float:
        """Memory in megabytes, its children's too."""
        return sum(_resident(pid) for pid in _family(self.process.pid)) / 1e6


@contextlib.contextmanager
def run(subject: Subject, place: Workplace, core: int | None) -> Iterator[Running]:
    """`subject` until the block ends, on one core.

    Raises:
        RuntimeError: It did not start.
    """
    began = time.perf_counter()
    pin = ["taskset", "-c", str(core)] if core is not None and shutil.which("taskset") else []
    process = subprocess.Popen(
        [*pin, *subject.command(place)],
        env=place.environment(),
        cwd=place.directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        output = ""
        while (found := _PORT.search(output)) is None:
            line = process.stdout.readline()
            if not line:
                raise RuntimeError(f"{subject.name} did not start: {output.strip()[-500:]}")
            output += line
        yield Running(subject, process, int(found[1] or found[2]), time.perf_counter() - began)
    finally:
        process.terminate()
        try:
            process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def _family(pid: int) -> list[int]:
    """`pid` and what descends from it."""
    found = [pid]
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += _family(int(child))
    return found


def _cpu(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except OSError:
        return 0


def _mitmdump(place: Workplace, *arguments: str) -> list[str]:
    program = str(Path(sys.executable).with_name("mitmdump"))
    confdir = f"confdir={place.directory / 'confdir'}"
    listening = ["-q", "--listen-host", "127.0.0.1", "-p", "0", "--set", confdir]
    return [program, *listening, "--set", "connection_strategy=lazy", *arguments]


def _script(name: str) -> str:
    return str(ROOT / "benchmarks" / "peers" / name)


def _replay(place: Workplace) -> list[str]:
    replay = ["--server-replay", str(place.directory / "replayed.flow"), "--set", "server_replay_reuse=true"]
    replay += ["--set", "server_replay_ignore_content=true", "--set", "server_replay_extra=404"]
    return _mitmdump(place, "-s", _script("replayed.py"), *replay)


def _serve(*arguments: str) -> Callable[[Workplace], list[str]]:
    return lambda _place: [sys.executable, "-m", "ringback", "serve", *arguments]


def _node(script: str, certificate: str, *more: str) -> Callable[[Workplace], list[str]]:
    def command(place: Workplace) -> list[str]:
        files = [str(place.directory / certificate), str(place.directory / "key.pem"), *more]
        return ["node", _script(script), *files, BODY.decode()]

    return command


BARE = Subject(
    "mitmdump, a constant", lambda place: _mitmdump(place, "-s", _script("constant.py")), quick=True
)
RINGBACK = Subject("ringback", _serve(), quick=True)
BASELINE = Subject(
    "asyncio TLS server, a constant",
    lambda place: [sys.executable, "-m", "benchmarks.peers.asyncio_baseline", str(place.leaf)],
    proxy=False,
)
IN_MITMDUMP = Subject(
    "ringback, in mitmdump",
    lambda place: _mitmdump(
        place, "-s", str(ROOT / "addons" / "ringback_addon.py"), "-s", _script("report_port.py")
    ),
)
SUBJECTS: tuple[Subject, ...] = (
    BARE,
    Subject("mitmdump --server-replay", _replay),
    IN_MITMDUMP,
    RINGBACK,
    BASELINE,
)
PEER_SUBJECTS: tuple[Subject, ...] = (
    Subject("mockttp, HTTPS proxy", _node("mockttp.js", "signer.pem"), verified=False),
    Subject("talkback, TLS server", _node("talkback.js", "leaf.pem", "tapes"), proxy=False),
)


def with_cassette(size: int) -> Subject:
    """Ringback with a cassette of `size` exchanges and nothing else to answer from."""
    recorded = _serve("--strict", "--cassettes", ".", "--cassette", f"size-{size}")
    return Subject(f"{size:,} exchanges", recorded)


def with_shelf(directory: str) -> Subject:
    """Ringback with a directory of cassettes, of which each client names its own."""
    return Subject("ringback", _serve("--strict", "--cassettes", directory))


JOURNALS = {
    size: Subject(f"ringback --journal {size}", _serve("--journal", str(size))) for size in (0, 10_000)
}


API = Subject(
    "mock upstream", lambda place: [sys.executable, "-m", "benchmarks.peers.upstream", "api", str(place.leaf)]
)
BYTES = Subject("bytes upstream", lambda _place: [sys.executable, "-m", "benchmarks.peers.upstream", "bytes"])
RECORDING = "ringback --mode online"
DURABLE, BUFFERED = "mitmdump -w, synced for each flow", "mitmdump -w"


def recording(upstream: int) -> tuple[Subject, ...]:
    """Proxies that forward to the mock upstream at port `upstream`, and write down what it answers."""

    def ringback(place: Workplace) -> list[str]:
        url = f"https://127.0.0.1:{upstream}"
        options = ["--mode", "online", "--upstream", url, "--upstream-ca", str(place.ca)]
        return _serve(*options, "--cassettes", str(place.directory / "recorded"))(place)

    def mitmdump(place: Workplace, *, sync: bool) -> list[str]:
        insecure = "ssl_insecure=true"  # the address is 127.0.0.1, the certificate api.twilio.com's
        options = ["--set", insecure, "-s", _script("forwarding.py"), "-w", str(place.directory / "flows")]
        variables = [f"UPSTREAM_PORT={upstream}", f"FSYNC={int(sync)}"]
        return ["env", *variables, *_mitmdump(place, *options)]

    return (
        Subject(RECORDING, ringback),
        Subject(DURABLE, lambda place: mitmdump(place, sync=True)),
        Subject(BUFFERED, lambda place: mitmdump(place, sync=False)),
    )


RELAY = Subject(
    "mitmdump --ignore-hosts",
    lambda place: _mitmdump(place, "--ignore-hosts", ".*", "-s", _script("report_port.py")),
)


def haproxy(upstream: int) -> Subject:
    """HAProxy, which relays TCP to the mock upstream at port `upstream` by splice."""
    command = [sys.executable, "-m", "benchmarks.peers.haproxy", str(upstream)]
    return Subject("haproxy, TCP by splice", lambda _place: command, proxy=False)
