"""`run --witness` and `run --mount-namespace`: who goes past the proxy is named, in any language.

No variable reaches every client: libcurl's bindings trust the system's roots alone, and any program can
ignore HTTPS_PROXY. A client that does asks for Twilio's address first. By a seccomp filter Linux shows these
queries to a supervisor (`launch/shims/witness.py`), which lets them fail and names their process.

In a mount namespace of COMMAND's own, Linux shows it other files in the place of the system's: the bundles of
roots with Ringback's CA, and a hosts file that gives Twilio's names an address of this machine. A witness
listens there: who comes to it went past the proxy, and is named and refused.
"""

from __future__ import annotations

import asyncio
import os
import platform
import random
import re
import shutil
import socket
import struct
import subprocess
import sys
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ringback.cli.output import print_message
from ringback.cli.startup import CannotStartError
from ringback.launch.directory import descendants, write_file
from ringback.launch.hints import leave_bypass_marker
from ringback.launch.runtimes import SHIMS
from ringback.launch.trust import bundle_of, read_pem_blocks
from ringback.server.tls import MAX_HELLO, RECORD, parse_client_hello

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from ringback.settings import Witness as Choice

# The system's roots, by distribution: Debian and Alpine; Fedora; openSUSE; OpenSSL's own place.
STORES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
HOSTS: Final = "/etc/hosts"
PORTS: Final = (443, 80)
# A hosts file has no wildcards. Twilio's documentation lists edges and regions.
_EDGES: Final = "ashburn dublin frankfurt sao-paulo singapore sydney tokyo umatilla roaming"
_REGIONS: Final = "us1 us2 ie1 de1 au1 jp1 sg1 br1"
_PRODUCTS: Final = (
    "api www accounts lookups verify messaging conversations content numbers pricing monitor events insights "
    "studio taskrouter sync notify proxy trunking voice video chat flex-api serverless intelligence iam "
    "trusthub bulkexports wireless supersim routes preview oauth assistants mcs demo"
)
NAMES: Final = (
    "twilio.com",
    *(f"{product}.twilio.com" for product in _PRODUCTS.split()),
    *(f"api.{region}.twilio.com" for region in _REGIONS.split()),
    *(f"api.{edge}.{region}.twilio.com" for edge, region in product(_EDGES.split(), _REGIONS.split())),
)
_LINE: Final = 20  # names on a line: some readers have a limit
_TRIES: Final = 20
_SECONDS: Final = 5.0  # in which a client says where it wants to go
_METHOD: Final = re.compile(rb"[A-Z]+ ")
_HOST: Final = re.compile(rb"^Host:[ \t]*([A-Za-z0-9.-]+)", re.IGNORECASE | re.MULTILINE)


_NO_MORE: Final = (
    "without root it takes from COMMAND the means to gain privileges (sudo); `--witness always` does it"
)


_ENDED: Final = (
    "the supervisor of `--witness` was ended by something else: name queries of COMMAND fail from now on, "
    "and so do other calls of their length (ENOSYS). Run it again, or with --witness never"
)


@dataclass(frozen=True)
class Witness:
    """A supervisor of COMMAND's name queries.

    Attributes:
        descriptor: The socket by which the launcher hands it the listener.
    """

    descriptor: int

    def wrap(self, command_line: Sequence[str], path: str) -> Sequence[str]:
        """Return the command that runs `command_line` with the filter; itself where it is not found."""
        return (
            [*_shim("launch"), str(self.descriptor), *command_line]
            if shutil.which(command_line[0], path=path)
            else command_line
        )


def _shim(*words: str) -> list[str]:
    return [sys.executable, "-I", "-S", str(SHIMS / "witness.py"), *words]


def reason_against(wanted: Choice) -> str:
    """Explain why the witness is not to be used on this system, or return an empty string."""
    if wanted == "never":
        return "--witness never"
    if not sys.platform.startswith("linux"):
        return "it is not Linux"
    if platform.machine() not in ("x86_64", "aarch64"):
        return f"it is not known for {platform.machine()}"
    if wanted == "auto" and os.geteuid() != 0 and not _gains_nothing():
        return _NO_MORE
    return ""


def _gains_nothing() -> bool:
    """Report whether this process can gain no privileges anyway, as in many containers."""
    try:
        return "NoNewPrivs:\t1" in Path("/proc/self/status").read_text()
    except OSError:
        return False


@asynccontextmanager
async def witness(directory: Path, refused: Callable[[str], None]) -> AsyncIterator[Witness]:
    """Run the supervisor for as long as the context is open, and after it while COMMAND's processes live.

    Args:
        directory: The launch's directory.
        refused: Takes the reason if the system does not allow the filter.
    """
    ours, theirs = socket.socketpair()
    launcher, supervisor = socket.socketpair()
    loop = asyncio.get_running_loop()

    expected = False  # that it ends

    def read() -> None:
        nonlocal expected
        data = b""
        with suppress(ConnectionResetError):  # it was ended before it read our answer
            data = ours.recv(1024)
        if not data:
            loop.remove_reader(ours)
            if not expected:
                print_message(_ENDED, colour="yellow")
        for line in data.decode(errors="replace").splitlines():
            name, _, rest = line.partition(" ")
            expected = expected or name in {"ended", "refused"}
            if name == "refused":
                refused(rest)
            elif name.isdecimal() and not _looks_first(directory, int(name)):
                leave_bypass_marker(directory, int(name), rest)
        with suppress(OSError):
            ours.send(b"\0")

    with ours, launcher:
        with theirs, supervisor:
            _start_supervisor(supervisor, theirs)
        loop.add_reader(ours, read)
        try:
            yield Witness(launcher.fileno())
        finally:
            loop.remove_reader(ours)


def _looks_first(directory: Path, pid: int) -> bool:
    """Report whether a process asks for an address before it uses the proxy, and goes on without it.

    Deno's fetch does, and Ruby's `URI#find_proxy` where our openssl.rb is not loaded.
    """
    place = Path("/proc", str(pid))
    try:
        name = (place / "exe").readlink().name
        configured = re.search(rb"(^|\0)https?_proxy=[^\0]", (place / "environ").read_bytes(), re.IGNORECASE)
    except OSError:
        return False
    if name.startswith("ruby") and (directory / f"started-ruby-{pid}").exists():
        return False
    return configured is not None and name.startswith(("ruby", "deno"))


def _start_supervisor(supervisor: socket.socket, reports: socket.socket) -> None:
    """Start it in a session of its own: a terminal's signals are COMMAND's, which it outlives."""
    process = subprocess.Popen(  # noqa: S603 - our own program
        _shim("supervise", str(supervisor.fileno()), str(reports.fileno())),
        pass_fds=(supervisor.fileno(), reports.fileno()),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
    )
    process.returncode = 0  # nobody waits for it here: see `Child` in run.py


@dataclass(frozen=True)
class Namespace:
    """A mount namespace for one command.

    Attributes:
        mounts: Pairs of a file and the place where the command sees it.
    """

    mounts: tuple[tuple[str, str], ...]

    def wrap(self, command_line: Sequence[str], path: str) -> Sequence[str]:
        """Return the command that runs `command_line` in the namespace; itself where it is not found."""
        return (
            [*self._launcher(), "--", *command_line]
            if shutil.which(command_line[0], path=path)
            else command_line
        )

    def check(self) -> None:
        """Try it.

        Raises:
            CannotStartError: The system refuses.
        """
        done = subprocess.run(  # noqa: S603 - our own program
            [*self._launcher(), "--"], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise _refusal(done.stderr.strip() or f"exit code {done.returncode}")

    def _launcher(self) -> list[str]:
        places = [place for mount in self.mounts for place in mount]
        return [sys.executable, "-I", "-S", str(SHIMS / "namespace.py"), *places]


@asynccontextmanager
async def mount_namespace(directory: Path, root: Path) -> AsyncIterator[Namespace]:
    """Prepare a mount namespace, with its witness, for as long as the context is open.

    Args:
        directory: The launch's directory.
        root: The CA's root certificate.

    Raises:
        CannotStartError: The system does not allow it.
    """
    if not sys.platform.startswith("linux"):
        raise _refusal("it is not Linux")
    address, servers = await _listen(directory)
    try:
        found = Namespace((*_stores(directory, root), *_hosts(directory, address)))
        found.check()
        if not servers:
            print_message(
                "--mount-namespace: only root can listen on port 443 here: a connection past the proxy is "
                "refused, but nobody is named for it",
                colour="yellow",
            )
        yield found
    finally:
        for server in servers:
            server.close()


def _refusal(cause: str) -> CannotStartError:
    return CannotStartError(
        f"--mount-namespace: this system does not allow it ({cause}); most containers refuse it, even to root"
    )


def _stores(directory: Path, root: Path) -> list[tuple[str, str]]:
    """Write each of the system's bundles once more, with the CA's root in it."""
    places = dict.fromkeys(os.path.realpath(store) for store in STORES if Path(store).is_file())
    mounts = []
    for number, place in enumerate(places):
        pem = bundle_of(read_pem_blocks(Path(place)), root.read_bytes())
        mounts.append((str(write_file(directory / "namespace" / f"roots-{number}.pem", pem)), place))
    return mounts


def _hosts(directory: Path, address: str) -> list[tuple[str, str]]:
    try:
        old = Path(HOSTS).read_text(errors="surrogateescape")
    except OSError:  # nothing can be mounted over what is not there
        return []
    lines = []
    # By IPv6 too: else a resolver asks for that address outside.
    for prefix in (address, f"::ffff:{address}"):
        lines += [" ".join([prefix, *NAMES[start : start + _LINE]]) for start in range(0, len(NAMES), _LINE)]
    text = "\n".join(lines) + "\n" + old
    file = directory / "namespace" / "hosts"
    return [(str(write_file(file, text.encode(errors="surrogateescape"))), os.path.realpath(HOSTS))]


async def _listen(directory: Path) -> tuple[str, list[asyncio.Server]]:
    """Choose a loopback address and listen there; without servers where the ports are not to be had."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _note(reader, writer, directory)

    address = ""
    for _ in range(_TRIES):
        address = f"127.{random.randrange(64, 254)}.{random.randrange(1, 254)}.{random.randrange(1, 254)}"  # noqa: S311 - no secret
        servers: list[asyncio.Server] = []
        try:
            for port in PORTS:
                servers += [await asyncio.start_server(refuse, address, port)]
        except PermissionError:
            return address, []
        except OSError:  # another run has it
            for server in servers:
                server.close()
            continue
        return address, servers
    return address, []


async def _note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, directory: Path) -> None:
    """Note who went past the proxy, and whereto, and end the connection."""
    process = connected_process(writer.get_extra_info("peername"), writer.get_extra_info("sockname"))
    host = ""
    with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
        async with asyncio.timeout(_SECONDS):
            host = await _wanted_host(reader)
    if process is not None:
        leave_bypass_marker(directory, process, host or "Twilio")
    writer.transport.abort()


async def _wanted_host(reader: asyncio.StreamReader) -> str:
    data = b""
    while len(data) < MAX_HELLO and (chunk := await reader.read(MAX_HELLO)):
        data += chunk
        if data[0] == RECORD:
            with suppress(ValueError):
                hello = parse_client_hello(data)
                if hello is not None:
                    return hello.sni or ""
        elif found := _HOST.search(data):
            return found[1].decode()
        elif not _METHOD.match(data):  # neither TLS nor HTTP
            break
    return ""


def connected_process(peer: tuple[str, int], own: tuple[str, int]) -> int | None:
    """Find which process below this one has the connection from `peer` to `own`; None if it is none."""
    inodes = _inodes(peer, own)
    for process in descendants(os.getpid()):
        with suppress(OSError):  # it has just ended
            for descriptor in os.scandir(f"/proc/{process.pid}/fd"):
                with suppress(OSError):
                    if str(Path(descriptor).readlink()) in inodes:
                        return process.pid
    return None


def _inodes(peer: tuple[str, int], own: tuple[str, int]) -> set[str]:
    """Look a connection up among this machine's."""
    wanted = {(_kernel(peer[0]) + f":{peer[1]:04X}", _kernel(own[0]) + f":{own[1]:04X}")}
    mapped = "0000000000000000FFFF0000"
    wanted |= {(f"{mapped}{local}", f"{mapped}{remote}") for local, remote in wanted}
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if (fields[1], fields[2]) in wanted:
                    found.add(f"socket:[{fields[9]}]")
    return found


def _kernel(address: str) -> str:
    """Write an IPv4 address as /proc/net/tcp does: in hexadecimal, in this machine's byte order."""
    return f"{struct.unpack('=I', socket.inet_aton(address))[0]:08X}"
