"""The child's environment: the parent's, extended so that every client reaches Twilio through the proxy."""

from __future__ import annotations

import json
import os
import re
import socket
import time
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import urlsplit

from ringback import system
from ringback.launch.directory import private_temporary, ringback_home, write_file
from ringback.launch.runtimes import RUNTIMES, LaunchContext, Proxy
from ringback.launch.trust import DOMAIN, Bundles
from ringback.system import is_running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ringback.launch.ca import Authority


__all__ = ["Launch", "Proxy", "prepare", "roots", "without_twilio"]

# HTTP_PROXY is new to most programs; their own services on this machine shall not notice it.
UNPROXIED: Final = ("localhost", "127.0.0.1", "::1")

Network: TypeAlias = IPv4Network | IPv6Network
PRIVATE: Final = tuple(
    map(
        ip_network,
        (
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "::1/128",
            "fc00::/7",
            "fe80::/10",
        ),
    )
)


@dataclass(frozen=True)
class Launch:
    """The environment of a child, and the files that it names.

    Attributes:
        environment: The child's whole environment.
        variables: The variables that differ from the parent's, by name.
        removed: Variables of the parent that the child does not get.
        bundle: The usual roots and ours in one PEM file.
        directory: The directory that all files of this launch are in.
        warnings: Sentences for the person who runs the program.
    """

    environment: dict[str, str]
    variables: dict[str, str]
    removed: tuple[str, ...]
    bundle: Path
    directory: Path
    warnings: tuple[str, ...]


def roots(
    authority: Authority | Path, directory: Path, warn: Callable[[str], None] = lambda _: None
) -> Bundles:
    """Make the writer of a launch's trust bundles in `directory`, with the CA's root beside them.

    Raises:
        OSError: The directory cannot be written.
    """
    root_pem = authority if isinstance(authority, Path) else authority.root_pem
    # A copy, so that a renewed CA does not change what a running child trusts.
    return Bundles(directory, write_file(directory / "root.pem", root_pem.read_bytes()), warn)


def prepare(proxy: Proxy, authority: Authority | Path, parent: Mapping[str, str], directory: Path) -> Launch:
    """Write the files that a child's runtimes read, and return the environment that points there.

    Args:
        proxy: The proxy, already listening or about to.
        authority: The CA that it signs with, or the PEM file of its root.
        parent: The environment to extend; what it says goes on to hold for every host but Twilio's.
        directory: An existing directory of the caller's, who removes it when the child has ended.

    Raises:
        OSError: The directory cannot be written.
    """
    warnings: list[str] = []
    directory = directory.absolute()
    bundles = roots(authority, directory, warnings.append)
    context = LaunchContext(
        proxy, bundles.root, parent, directory, bundles, without_twilio(parent), warnings.append
    )

    variables: dict[str, str] = {}
    removed: list[str] = []
    for variable in (one for runtime in RUNTIMES for one in runtime):
        value = variable.value(context, parent.get(variable.name, ""))
        if value is None:
            removed += [variable.name] if variable.name in parent else []
        elif value != parent.get(variable.name):
            variables[variable.name] = value
    kept = {name: value for name, value in parent.items() if name not in removed}
    return Launch(
        environment=kept | variables,
        variables=variables,
        removed=tuple(removed),
        bundle=bundles.default,
        directory=directory,
        warnings=tuple(dict.fromkeys(warnings)),
    )


def without_twilio(parent: Mapping[str, str]) -> str:
    """Join the parent's no_proxy and NO_PROXY, less what can match a host of Twilio's, plus loopback.

    What is left out goes through the proxy, which reaches it as the parent's variables say.
    """
    both = f"{parent.get('no_proxy', '')},{parent.get('NO_PROXY', '')}"
    entries = (entry for entry in re.split(r"[,\s]+", both) if entry)
    kept = [entry for entry in entries if not _could_match_twilio(entry)]
    return ",".join(dict.fromkeys([*kept, *UNPROXIED]))


def _could_match_twilio(entry: str) -> bool:
    """Report whether any client's reading of `entry` covers twilio.com or a name below it.

    Clients differ: `*` alone, as a prefix or anywhere; a leading dot or none; Python compares bare ends of
    names, so `o.com` is enough; Ruby looks the name up and compares addresses with networks.
    """
    name = _entry_name(entry)
    try:
        network = ip_network(name, strict=False)
    except ValueError:
        return "*" in name or name.endswith("." + DOMAIN) or ("." + DOMAIN).endswith(name)
    return network.num_addresses > 1 and not _is_private(network)


def _entry_name(entry: str) -> str:
    """Strip an entry's port, brackets, leading `*` and dots; in lower case."""
    entry = entry.lower()
    bracketed = re.fullmatch(r"\[(.*)\](?::\d+)?", entry)
    if bracketed:
        return bracketed[1]
    if entry.count(":") == 1:
        entry = entry.partition(":")[0]
    return entry.lstrip("*.").rstrip(".")


def _is_private(network: Network) -> bool:
    """Report that no address in it can be Twilio's; `is_private` takes 0.0.0.0/0 for private."""
    return any(
        (network.version, own.version) in {(4, 4), (6, 6)} and network.subnet_of(own)  # type: ignore[arg-type] # of one version
        for own in PRIVATE
    )


FILE = "serve.json"
CONNECT_SECONDS = 2.0
_POLL_SECONDS = 0.05


class NoProxyError(Exception):
    """An error: no proxy is running. The message names what was looked at and what to do."""


@dataclass(frozen=True)
class ReadyFile:
    """The content of a ready file: of the user's own, and of the one that `--ready-file` names.

    Attributes:
        pid: The proxy's process id.
        port: The HTTP proxy's port.
        proxy: The proxy URL, without credentials.
        ca: The root's PEM file.
        bundle: The PEM file of the usual roots and ours; its directory holds the launch's other files too.
        mode: The proxy's mode.
        version: The proxy's version.
        socks: The SOCKS5 listener's port, or None.
        reverse: The reverse listener's port, or None.
        transparent: The transparent listener's port, or None.
        user: The user name that goes with the proxy's password, or None; it names the cassette.
        authenticated_proxy: The proxy URL with `user` and the word PASSWORD in the password's place, or None.
    """

    pid: int
    port: int
    proxy: str
    ca: str
    bundle: str
    mode: str
    version: str
    socks: int | None = None
    reverse: int | None = None
    transparent: int | None = None
    user: str | None = None
    authenticated_proxy: str | None = None

    @property
    def host(self) -> str:
        """The host of the proxy URL."""
        return urlsplit(self.proxy).hostname or "127.0.0.1"


def default_ready_file() -> Path:
    """Return the user's own file: in RINGBACK_HOME, the login's runtime directory, or a temporary one."""
    home, runtime = ringback_home(), os.environ.get("XDG_RUNTIME_DIR")
    if home is not None:
        return home / FILE
    if runtime and os.access(runtime, os.W_OK):
        return Path(runtime) / "ringback" / FILE
    return private_temporary() / FILE


def write_ready_file(state: ReadyFile, path: Path | None = None) -> Path:
    """Write `state` for others to find; the last proxy that started is the one that is found.

    Raises:
        OSError: The directory cannot be written.
    """
    path = path or default_ready_file()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return write_file(path, json.dumps(asdict(state)).encode() + b"\n")


def remove_ready_file(path: Path | None = None) -> None:
    """Remove the ready file, if it is this process's own."""
    path = path or default_ready_file()
    with suppress(OSError, ValueError, TypeError, KeyError):
        if json.loads(path.read_bytes())["pid"] == os.getpid():
            path.unlink()


@contextmanager
def own_ready_file(path: Path | None) -> Iterator[None]:
    """Keep the file of `--ready-file` true: no older one while a proxy starts, none when it has ended."""
    if path is not None and path.is_file() and not path.is_symlink():  # never /dev/stdout
        with suppress(OSError):  # the proxy tells of it when it writes the file
            path.unlink()
    try:
        yield
    finally:
        if path is not None:
            remove_ready_file(path)


def wait_for_ready_file(path: Path | None, seconds: float) -> ReadyFile:
    """Read the ready file of a proxy that runs, or will within `seconds`.

    Raises:
        NoProxyError: There is none by then.
    """
    end = time.monotonic() + seconds
    while True:
        try:
            return read_ready_file(path)
        except NoProxyError as error:
            left = end - time.monotonic()
            if left <= 0:
                waited = f" after {seconds:g} s" if seconds else ""
                raise NoProxyError(f"{error}{waited}") from None
        time.sleep(min(_POLL_SECONDS, left))


def read_ready_file(path: Path | None = None) -> ReadyFile:
    """Read the ready file of a proxy that runs.

    Raises:
        NoProxyError: There is none, or it has ended, or it does not accept connections.
    """
    own, path = path is None, path or default_ready_file()
    try:
        with path.open("rb") as file:
            # It names the proxy and the CA that a shell gets; another user's counts where it is asked for.
            if own and not system.is_trusted(os.fstat(file.fileno())):
                raise NoProxyError(f"{path} is another user's: start a proxy of your own, `ringback serve`")
            state = _parse(json.loads(file.read()))
    except FileNotFoundError:
        raise NoProxyError(
            f"no proxy is running (there is no {path}): start one with `ringback serve`"
        ) from None
    except OSError as error:
        raise NoProxyError(
            f"{path} cannot be read ({error.strerror}): start a proxy, `ringback serve`"
        ) from None
    except (ValueError, TypeError):
        raise NoProxyError(f"{path} is not what `ringback serve` writes: start a proxy with it") from None
    if not is_running(state.pid):
        raise NoProxyError(
            f"the proxy of {path}, process {state.pid}, has ended: start one with `ringback serve`"
        )
    try:
        socket.create_connection((state.host, state.port), CONNECT_SECONDS).close()
    except OSError as error:
        raise NoProxyError(
            f"process {state.pid} accepts no connections on {state.host}:{state.port} ({error.strerror}): "
            "start another, `ringback serve`"
        ) from None
    if not Path(state.bundle).is_file():
        raise NoProxyError(f"the proxy's file {state.bundle} is gone: start it again, `ringback serve`")
    return state


def _parse(content: Any) -> ReadyFile:
    if not isinstance(content, dict):
        raise TypeError("not an object")
    names = ReadyFile.__dataclass_fields__
    return ReadyFile(**{name: value for name, value in content.items() if name in names})
