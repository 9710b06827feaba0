"""A proxy in a process of its own: Ringback's server, or mitmproxy with the addon.

mitmproxy keeps its master in a global, so that two proxies cannot live in one process.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import socket
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import pytest

from ringback import settings
from support.clients import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from multiprocessing.connection import Connection

    from ringback.launch.ca import Authority

SEED = 7
Program: TypeAlias = Literal["server", "mitmproxy"]
PROGRAMS: Final[tuple[Program, ...]] = ("server", "mitmproxy")
_SPAWN = multiprocessing.get_context("spawn")


def settings_with(options: Mapping[str, Any]) -> settings.Settings:
    """Return the settings of these options and this process's environment."""
    return settings.load(options, os.environ, Path.cwd())


@dataclass(frozen=True)
class Inside:
    """A proxy that accepts requests.

    Attributes:
        port: The HTTP proxy's.
        socks_port: The SOCKS5 proxy's.
        reverse_port: That of the listener in the place of Twilio's API.
        transparent_port: That of the listener for redirected connections.
        ca: The root that clients trust.
        pipe: To its process.
    """

    port: int
    socks_port: int
    reverse_port: int | None
    transparent_port: int | None
    ca: Path
    pipe: Connection

    def has_mitmproxy(self) -> bool:
        """Ask the process whether it has imported mitmproxy."""
        self.pipe.send("mitmproxy")
        return bool(self.pipe.recv())

    def wire(self) -> Wire:
        """Open a plain connection to the proxy."""
        return Wire(self.port)

    def twilio(self, name: str = "api.twilio.com", alpn: tuple[str, ...] = ()) -> Wire:
        """Open a verified TLS connection to one of Twilio's hosts, through a tunnel."""
        return self.wire().tunnel(f"{name}:443").tls(self.ca, name, alpn)

    def everything(self, data: bytes, name: str = "api.twilio.com") -> bytes:
        """Return all that the proxy sends for `data`, until it closes."""
        with self.twilio(name) as wire:
            return wire.send(data).everything()


@contextlib.contextmanager
def inside(
    directory: Path,
    *,
    program: Program = "server",
    idle_timeout: float | None = None,
    reverse: int | None = 0,
    redirected_from: tuple[str, int] | None = None,
    silence: float = 1.0,
    environment: Mapping[str, str] | None = None,
    names: Mapping[str, str] | None = None,
    **options: Any,
) -> Iterator[Inside]:
    """Run a proxy with these options, from when it accepts requests until the block ends.

    With `redirected_from` it has a transparent listener whose connections all went to that address. `names`
    are host names with the addresses that it finds for them.
    """
    pipe, theirs = _SPAWN.Pipe()
    how = {
        "idle_timeout": idle_timeout,
        "reverse": reverse,
        "program": program,
        "redirected_from": redirected_from,
        "silence": silence,
    }
    how |= {"names": dict(names)} if names else {}
    process = _SPAWN.Process(target=_main, args=(directory, how, dict(environment or {}), options, theirs))
    process.start()
    theirs.close()
    try:
        yield Inside(*pipe.recv(), pipe)
    finally:
        pipe.close()
        process.join()
        process.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    """Ringback's server, with the sids of `mitmproxy`."""
    with inside(tmp_path_factory.mktemp("ca"), seed=SEED) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def mitmproxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    """mitmproxy with the addon."""
    with inside(tmp_path_factory.mktemp("ca"), program="mitmproxy", seed=SEED) as proxy:
        yield proxy


def _main(
    directory: Path,
    how: dict[str, Any],
    environment: dict[str, str],
    options: dict[str, Any],
    pipe: Connection,
) -> None:
    os.environ.update(environment)
    warnings.simplefilter("ignore")  # mitmproxy's dependencies warn about each other
    from ringback.launch.ca import ensure_authority  # noqa: PLC0415 - in the new process alone

    _know(how.pop("names", {}))
    authority = ensure_authority(directory)
    program = _mitmproxy if how.pop("program") == "mitmproxy" else _server
    asyncio.run(program(authority, how, options, pipe))


def _know(names: Mapping[str, str]) -> None:
    """Find these addresses for these names, from now on."""
    real = socket.getaddrinfo

    def look_up(host: Any, *more: Any, **named: Any) -> Any:
        return real(names.get(host, host), *more, **named)

    socket.getaddrinfo = look_up


async def _until_closed(pipe: Connection) -> None:
    """Answer what the test asks, until it has gone."""
    import sys  # noqa: PLC0415 - in the new process alone

    ended = asyncio.Event()

    def asked() -> None:
        try:
            pipe.recv()
            pipe.send("mitmproxy.proxy" in sys.modules)
        except EOFError:
            asyncio.get_running_loop().remove_reader(pipe.fileno())
            ended.set()

    asyncio.get_running_loop().add_reader(pipe.fileno(), asked)
    await ended.wait()


async def _server(
    authority: Authority, how: dict[str, Any], options: dict[str, Any], pipe: Connection
) -> None:
    from ringback.server import listener  # noqa: PLC0415 - as above
    from ringback.server.run import IDLE_TIMEOUT, ProxyConfig, serve  # noqa: PLC0415 - as above

    how["idle_timeout"] = how["idle_timeout"] or IDLE_TIMEOUT
    redirected_from = how.pop("redirected_from")
    if redirected_from is not None:
        how["transparent"] = 0
        listener.original_address = lambda _: redirected_from  # in the place of the kernel
    socks = "RINGBACK_PROXY_PASSWORD" not in os.environ
    config = ProxyConfig(settings_with(options), authority.directory, socks=socks, **how)
    async with serve(config) as running:
        ports = (running.port, running.socks_port, running.reverse_port, running.transparent_port)
        pipe.send((*ports, authority.root_pem))
        await _until_closed(pipe)


async def _mitmproxy(
    authority: Authority, how: dict[str, Any], options: dict[str, Any], pipe: Connection
) -> None:
    from mitmproxy.options import Options  # noqa: PLC0415 - as above
    from mitmproxy.tools.dump import DumpMaster  # noqa: PLC0415 - as above

    from ringback.mitmproxy_addon import RingbackAddon  # noqa: PLC0415 - as above

    modes = ["regular@127.0.0.1:0", "socks5@127.0.0.1:0"]
    if how["reverse"] is not None:
        modes.append("reverse:https://api.twilio.com@127.0.0.1:0")
    master = DumpMaster(
        Options(confdir=str(authority.directory), mode=modes), with_termlog=False, with_dumper=False
    )
    master.addons.add(RingbackAddon())
    master.options.update(
        keep_host_header=True,
        **{f"ringback_{name}": value for name, value in ({"mode": "offline"} | options).items()},
    )
    task = asyncio.create_task(master.run())
    server = master.addons.get("proxyserver")
    while len(server.listen_addrs()) < len(modes):
        assert not task.done()
        await asyncio.sleep(0)
    ports = {one.mode.type_name: one.listen_addrs[0][1] for one in server.servers}
    pipe.send((ports["regular"], ports["socks5"], ports.get("reverse"), None, authority.root_pem))
    await _until_closed(pipe)
    master.shutdown()
    await task
