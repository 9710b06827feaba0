"""A proxy in a process of its own, on either way of answering.

mitmproxy keeps its master in a global, so that two proxies cannot live in one process.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from support.clients import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from multiprocessing.connection import Connection
    from pathlib import Path

SEED = 7
_SPAWN = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Inside:
    """A proxy that accepts requests.

    Attributes:
        port: Of the HTTP proxy.
        socks_port: Of the SOCKS5 proxy.
        reverse_port: Of the listener in the place of Twilio's API.
        ca: The root that clients trust.
        pipe: To its process.
    """

    port: int
    socks_port: int
    reverse_port: int | None
    ca: Path
    pipe: Connection

    def flows(self) -> int:
        """How many requests took mitmproxy's own way so far."""
        self.pipe.send("flows")
        return int(self.pipe.recv())

    def wire(self) -> Wire:
        """A plain connection to the proxy."""
        return Wire(self.port)

    def twilio(self, name: str = "api.twilio.com", alpn: tuple[str, ...] = ()) -> Wire:
        """A verified TLS connection to one of Twilio's hosts, through a tunnel."""
        return self.wire().tunnel(f"{name}:443").tls(self.ca, name, alpn)

    def everything(self, data: bytes, name: str = "api.twilio.com") -> bytes:
        """All that the proxy sends for `data`, until it closes."""
        with self.twilio(name) as wire:
            return wire.send(data).everything()


@contextlib.contextmanager
def inside(
    directory: Path,
    *,
    flows: bool = False,
    patience: float | None = None,
    reverse: int | None = 0,
    environment: Mapping[str, str] | None = None,
    **options: Any,
) -> Iterator[Inside]:
    """A proxy, from when it accepts requests until the block ends."""
    pipe, theirs = _SPAWN.Pipe()
    how = {"flows": flows, "patience": patience, "reverse": reverse}
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
def short(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    """A proxy that answers on the short way, with the sids of `ordinary`."""
    with inside(tmp_path_factory.mktemp("ca"), ringback_seed=SEED) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def ordinary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    """One that answers by mitmproxy's flows."""
    with inside(tmp_path_factory.mktemp("ca"), flows=True, ringback_seed=SEED) as proxy:
        yield proxy


def _main(
    directory: Path,
    how: dict[str, Any],
    environment: dict[str, str],
    options: dict[str, Any],
    pipe: Connection,
) -> None:
    os.environ.update(environment)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mitmproxy's dependencies warn about each other
        from ringback.addon.server import Listen, serve  # noqa: PLC0415 - in the new process alone
    from ringback.launch.ca import ensure_authority  # noqa: PLC0415 - as above

    seen = 0

    async def main() -> None:
        nonlocal seen
        authority = ensure_authority(directory)
        ended = asyncio.Event()

        def told() -> None:
            try:
                pipe.recv()
                pipe.send(seen)
            except EOFError:
                asyncio.get_running_loop().remove_reader(pipe.fileno())
                ended.set()

        listen = Listen(authority.directory, socks=True, options=options, **how)
        async with serve(listen) as running:
            request = running.addon.request

            def counted(flow: Any) -> Any:
                nonlocal seen
                seen += 1
                return request(flow)

            running.addon.request = counted  # type: ignore[method-assign] # a spy
            asyncio.get_running_loop().add_reader(pipe.fileno(), told)
            pipe.send((running.port, running.socks_port, running.reverse_port, authority.root_pem))
            await ended.wait()

    asyncio.run(main())
