"""The proxy in a process: it listens where it was told, or says why not."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from ringback.launch.ca import ensure_authority
from ringback.server.destination import NOWHERE
from ringback.server.run import ProxyConfig, StartError, serve
from support.proxies import settings_with

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def confdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ensure_authority(tmp_path_factory.mktemp("ca")).directory


def run(config: ProxyConfig) -> tuple[int, int | None]:
    """The ports of a proxy that runs for a moment, to which one can connect."""

    async def main() -> tuple[int, int | None]:
        async with serve(config) as running:
            for port in filter(None, (running.port, running.socks_port)):
                _, writer = await asyncio.open_connection(running.host, port)
                writer.close()
                await writer.wait_closed()
            return running.port, running.socks_port

    return asyncio.run(main())


def test_the_kernel_chooses_two_ports(confdir: Path) -> None:
    port, socks = run(ProxyConfig(settings_with({}), confdir, socks=True))
    assert socks is not None
    assert port != socks


def test_socks_is_left_out(confdir: Path) -> None:
    assert run(ProxyConfig(settings_with({}), confdir))[1] is None


def test_a_name_with_two_addresses_gets_one_port(confdir: Path) -> None:
    port, _ = run(ProxyConfig(settings_with({}), confdir, host="localhost"))
    assert port


def test_a_taken_port_is_reported(confdir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=f"cannot listen on 127.0.0.1:{port}: "):
            run(ProxyConfig(settings_with({}), confdir, port=port))


def test_another_machines_address_needs_a_password(confdir: Path) -> None:
    with pytest.raises(StartError, match="RINGBACK_PROXY_PASSWORD"):
        run(ProxyConfig(settings_with({}), confdir, host="0.0.0.0"))


def test_running_imports_no_mitmproxy(confdir: Path) -> None:
    program = f"""
import asyncio, sys
from pathlib import Path
from ringback.cli import run
from ringback.server.destination import NOWHERE
from ringback.server.run import ProxyConfig, serve
from ringback import settings
async def main():
    async with serve(ProxyConfig(settings.load({{}}, {{}}, Path.cwd()), Path({str(confdir)!r}))):
        print(*sorted(name for name in sys.modules if name.partition(".")[0] == "mitmproxy"))
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


def test_the_collector_is_as_before_afterwards(confdir: Path) -> None:
    run(ProxyConfig(settings_with({}), confdir))
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_a_jvm_that_is_slow_to_speak_is_waited_for(confdir: Path) -> None:
    """By SOCKS a JVM names the address that the agent gives to Twilio's names."""
    nowhere = socket.inet_aton(NOWHERE)
    trust = ssl.create_default_context(cafile=str(confdir / "mitmproxy-ca-cert.pem"))

    async def main() -> str | None:
        async with serve(ProxyConfig(settings_with({}), confdir, socks=True, silence=0.0)) as running:
            reader, writer = await asyncio.open_connection(running.host, running.socks_port)
            writer.write(b"\x05\x01\0" + b"\x05\x01\0\x01" + nowhere + (443).to_bytes(2))
            await reader.readexactly(2 + 10)
            # Long enough for what the server would do of itself.
            other, asking = await asyncio.open_connection(running.host, running.port)
            asking.write(b"GET /ringback/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert await other.read()
            asking.close()
            await asking.wait_closed()
            await writer.start_tls(trust, server_hostname="api.twilio.com")
            version: str | None = writer.get_extra_info("ssl_object").version()
            writer.close()
            return version

    assert asyncio.run(main()) is not None
