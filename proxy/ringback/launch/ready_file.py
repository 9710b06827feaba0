"""The ready file: how `ringback env` and other programs of the same user find a running proxy."""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ringback.launch.directory import private_temporary, write_file
from ringback.system import is_running

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    home, runtime = os.environ.get("RINGBACK_HOME"), os.environ.get("XDG_RUNTIME_DIR")
    if home:
        return Path(home).expanduser().absolute() / FILE
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
    path = path or default_ready_file()
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
