"""NO_PROXY: what a child may keep of it."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING, TypeAlias

from ringback.launch.certificates import DOMAIN

if TYPE_CHECKING:
    from collections.abc import Mapping

# HTTP_PROXY is new to most programs; their own services on this machine shall not notice it.
LOOPBACK = ("localhost", "127.0.0.1", "::1")

Network: TypeAlias = IPv4Network | IPv6Network
PRIVATE = tuple(
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


def without_twilio(parent: Mapping[str, str]) -> str:
    """The parent's no_proxy and NO_PROXY as one list that cannot match a host of Twilio's, and loopback.

    What is left out goes through the proxy, which reaches it as the parent's variables say.
    """
    kept = [entry for entry in _entries(parent) if not _could_match_twilio(entry)]
    return ",".join(dict.fromkeys([*kept, *LOOPBACK]))


def _entries(parent: Mapping[str, str]) -> list[str]:
    both = f"{parent.get('no_proxy', '')},{parent.get('NO_PROXY', '')}"
    return list(dict.fromkeys(entry for entry in re.split(r"[,\s]+", both) if entry))


def _could_match_twilio(entry: str) -> bool:
    """Whether any client's reading of `entry` covers twilio.com or a name below it.

    Clients differ: `*` alone, as a prefix or anywhere; a leading dot or none; Python compares bare ends of
    names, so `o.com` is enough; Ruby looks the name up and compares addresses with networks.
    """
    name = _name(entry)
    network = _network(name)
    if network is not None:
        return network.num_addresses > 1 and not _is_private(network)
    return "*" in name or name.endswith("." + DOMAIN) or ("." + DOMAIN).endswith(name)


def _name(entry: str) -> str:
    """An entry without port, brackets, leading `*` and dots, in lower case."""
    entry = entry.lower()
    bracketed = re.fullmatch(r"\[(.*)\](?::\d+)?", entry)
    if bracketed:
        return bracketed[1]
    if entry.count(":") == 1:
        entry = entry.partition(":")[0]
    return entry.lstrip("*.").rstrip(".")


def _network(name: str) -> Network | None:
    try:
        return ip_network(name, strict=False)
    except ValueError:
        return None


def _is_private(network: Network) -> bool:
    """Whether no address in it can be Twilio's; `is_private` takes 0.0.0.0/0 for private."""
    return any(
        (network.version, own.version) in {(4, 4), (6, 6)} and network.subnet_of(own)  # type: ignore[arg-type] # of one version
        for own in PRIVATE
    )
