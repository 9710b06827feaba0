"""Namespaces of Linux for tests: checks for the mount namespace and the witness, a network of hosts."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_NEW_NETWORK: Final = 0x40000000  # CLONE_NEWNET


def _allowed() -> bool:
    if not sys.platform.startswith("linux") or os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    mounting = ["unshare", "--mount", "mount", "--bind", "/etc/hosts", "/etc/hosts"]
    return subprocess.run(mounting, check=False, capture_output=True).returncode == 0


ALLOWED: Final = _allowed()  # `ringback run --mount-namespace` with its witness


class Network:
    """Hosts of a test: each is a network namespace, on a bridge that is in one of its own.

    Attributes:
        addresses: The IPv4 address of each host.
    """

    def __init__(self) -> None:
        self._prefix = f"rb{os.getpid()}"
        self.addresses: dict[str, str] = {}
        self._ip("netns", "add", self._name("bridge"))
        self._ip("-n", self._name("bridge"), "link", "add", "br0", "type", "bridge")
        self._ip("-n", self._name("bridge"), "link", "set", "br0", "up")

    @staticmethod
    def refused() -> str:
        """Return why this machine cannot have one; an empty text if it can."""
        if not sys.platform.startswith("linux") or os.geteuid() != 0 or shutil.which("ip") is None:
            return "network namespaces need Linux, root and iproute2"
        try:
            with Network.made() as network:
                network.add("probe")
        except subprocess.CalledProcessError as error:
            return f"this machine allows no network namespace: {error.stderr.decode().strip()}"
        return ""

    @classmethod
    @contextlib.contextmanager
    def made(cls) -> Iterator[Network]:
        """A network until the block ends."""
        made = cls()
        try:
            yield made
        finally:
            made.remove()

    def add(self, host: str, public: str = "") -> str:
        """Add a host, and return its address: `public`, or one of the network's own."""
        number = len(self.addresses) + 2
        address, name, there = f"10.77.0.{number}", self._name(host), f"v{number}"
        self._ip("netns", "add", name)
        self.addresses[host] = address
        self._ip("-n", name, "link", "set", "lo", "up")
        pair = ["link", "add", "eth0", "type", "veth", "peer", "name", there, "netns", self._name("bridge")]
        self._ip("-n", name, *pair)
        self._ip("-n", self._name("bridge"), "link", "set", there, "master", "br0", "up")
        self._ip("-n", name, "address", "add", f"{address}/24", "dev", "eth0")
        self._ip("-n", name, "link", "set", "eth0", "up")
        self._ip("-n", name, "route", "add", "default", "dev", "eth0")  # every address is on this wire
        if public:
            self._ip("-n", name, "address", "add", f"{public}/32", "dev", "lo")
            self._ip("-n", name, "neigh", "add", "proxy", public, "dev", "eth0")
            self.addresses[host] = public
        return self.addresses[host]

    def command(self, host: str, *command: str) -> list[str]:
        """Return `command` as it runs on `host`."""
        return ["ip", "netns", "exec", self._name(host), *command]

    @contextlib.contextmanager
    def inside(self, host: str) -> Iterator[None]:
        """Let this thread make sockets of `host`; they stay so after the block."""
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(f"/run/netns/{self._name(host)}", os.O_RDONLY)
        try:
            _set_namespace(there)
            yield
        finally:
            _set_namespace(before)
            os.close(there)
            os.close(before)

    def remove(self) -> None:
        """Remove the hosts; their programs have ended."""
        for host in [*self.addresses, "bridge"]:
            with contextlib.suppress(subprocess.CalledProcessError):
                self._ip("netns", "delete", self._name(host))

    def _name(self, host: str) -> str:
        return f"{self._prefix}-{host}"

    @staticmethod
    def _ip(*arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=60)


def _set_namespace(handle: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(handle, _NEW_NETWORK):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(Path("/run/netns")))


def _filtered() -> bool:
    """A filter may have a listener here, and a name query is sent: there is a way to a name server."""
    actions = Path("/proc/sys/kernel/seccomp/actions_avail")
    if platform.machine() not in {"x86_64", "aarch64"} or not actions.exists():
        return False
    try:
        servers = re.findall(r"^nameserver\s+([\d.]+)", Path("/etc/resolv.conf").read_text(), re.MULTILINE)
        with socket.socket(type=socket.SOCK_DGRAM) as one:
            one.connect((servers[0] if servers else "127.0.0.1", 53))
    except OSError:
        return False
    return "user_notif" in actions.read_text()


WITNESSED: Final = _filtered()
