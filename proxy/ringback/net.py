"""Loopback and private addresses, and atomic file writing."""

from __future__ import annotations

import ipaddress
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

LOOPBACK: Final = "127.0.0.1"
LOOPBACK_6: Final = "::1"
_PRIVATE: Final = tuple(
    ipaddress.ip_network(network) for network in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
)
# Local services of clouds: Amazon's, Google's and Scaleway's metadata and credentials.
_METADATA: Final = tuple(
    ipaddress.ip_network(network) for network in ("fd00:ec2::/32", "fd20:ce::/32", "fd00:42::/32")
)


def is_loopback(host: str) -> bool:
    """Report whether `host`, a name or an IP address, always means this machine.

    `localhost` and names below it count (RFC 6761), with any case and a trailing dot; so do 127.0.0.0/8,
    `::1`, and IPv4 loopback mapped into IPv6. Brackets and zone identifiers are ignored. Nothing is resolved.
    """
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name)  # with a zone, if it is an IPv6 address
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def is_private(address: str) -> bool:
    """Report whether an IP address is loopback or of a private network (RFC 1918, RFC 4193).

    Link-local addresses do not count, and neither do the clouds' metadata services, wherever they are.
    """
    try:
        found = ipaddress.ip_address(address.strip("[]").partition("%")[0])
    except ValueError:
        return False
    found = getattr(found, "ipv4_mapped", None) or found
    if any(found in network for network in _METADATA):
        return False
    return found.is_loopback or any(found in network for network in _PRIVATE)


def write_atomically(path: Path, content: bytes, *, mode: int = 0o644, durable: bool = False) -> None:
    """Write `content` to `path` in one step: readers see the old file or the new one, never a part.

    Args:
        path: The file; its directory must exist.
        content: What it shall hold.
        mode: The permission bits, before nobody but the owner could read the draft.
        durable: Whether to fsync the file before it gets its name.

    Raises:
        OSError: The file could not be written; no draft is left behind.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name[:50]}-", dir=path.absolute().parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
