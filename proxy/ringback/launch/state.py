"""Where a running `ringback serve` can be found by `ringback env` and by other programs of the same user."""

from __future__ import annotations

import json
import os
import socket
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ringback.launch.ca import private_temporary
from ringback.launch.settings import place

FILE = "serve.json"
CONNECT_SECONDS = 2.0


class NoProxyError(Exception):
    """No proxy is running; the message says what was looked at and what to do."""


@dataclass(frozen=True)
class State:
    """What a proxy says of itself in its state file and in the file of `--ready-file`.

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

    @property
    def host(self) -> str:
        """The host of the proxy URL."""
        return urlsplit(self.proxy).hostname or "127.0.0.1"


def state_path() -> Path:
    """Where the state file is: in RINGBACK_HOME, else the login's runtime directory, else a temporary one."""
    home, runtime = os.environ.get("RINGBACK_HOME"), os.environ.get("XDG_RUNTIME_DIR")
    if home:
        return Path(home).expanduser().absolute() / FILE
    if runtime and os.access(runtime, os.W_OK):
        return Path(runtime) / "ringback" / FILE
    return private_temporary() / FILE


def write_state(state: State, path: Path | None = None) -> Path:
    """Leave `state` for others to find; the last proxy that started is the one that is found.

    Raises:
        OSError: The directory cannot be written.
    """
    path = path or state_path()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return place(path, json.dumps(asdict(state)).encode() + b"\n")


def remove_state(path: Path | None = None) -> None:
    """Take the state file away, if it is this process's own."""
    path = path or state_path()
    with suppress(OSError, ValueError, TypeError, KeyError):
        if json.loads(path.read_bytes())["pid"] == os.getpid():
            path.unlink()


def read_state(path: Path | None = None) -> State:
    """Find the running proxy.

    Raises:
        NoProxyError: There is none, or it has ended, or it does not accept connections.
    """
    path = path or state_path()
    try:
        state = _parse(json.loads(path.read_bytes()))
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
    if not _is_alive(state.pid):
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


def _parse(content: Any) -> State:
    if not isinstance(content, dict):
        raise TypeError("not an object")
    names = State.__dataclass_fields__
    return State(**{name: value for name, value in content.items() if name in names})


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
