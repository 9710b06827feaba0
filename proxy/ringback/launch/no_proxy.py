"""NO_PROXY: what a child may keep of it, and what it meant for the proxy that the parent used."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from ringback.launch.certificates import DOMAIN

if TYPE_CHECKING:
    from collections.abc import Mapping

# HTTP_PROXY is new to most programs; their own services on this machine shall not notice it.
LOOPBACK = ("localhost", "127.0.0.1", "::1")

# Lower case first, as curl and Go do it.
UPSTREAM_NAMES = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")


def without_twilio(parent: Mapping[str, str]) -> str:
    """The parent's no_proxy and NO_PROXY as one list that cannot match a host of Twilio's, and loopback."""
    kept = [entry for entry in _entries(parent) if not _could_match_twilio(entry)]
    return ",".join(dict.fromkeys([*kept, *LOOPBACK]))


@dataclass(frozen=True)
class Upstream:
    """The proxy that the parent used, for hosts that are not Twilio's.

    Attributes:
        url: The proxy's URL as the parent's variable has it.
        no_proxy: The entries of the parent's NO_PROXY.
    """

    url: str
    no_proxy: tuple[str, ...] = ()

    def reaches(self, host: str) -> bool:
        """Whether requests to `host` (no port) went through it."""
        return not any(_matches(entry, host.lower().rstrip(".")) for entry in self.no_proxy)


def upstream(parent: Mapping[str, str]) -> Upstream | None:
    """The proxy for HTTPS that the parent's environment names, if any."""
    url = next((parent[name] for name in UPSTREAM_NAMES if parent.get(name)), None)
    if url is None:
        return None
    return Upstream(url if "://" in url else f"http://{url}", tuple(_entries(parent)))


def _entries(parent: Mapping[str, str]) -> list[str]:
    both = f"{parent.get('no_proxy', '')},{parent.get('NO_PROXY', '')}"
    return list(dict.fromkeys(entry for entry in re.split(r"[,\s]+", both) if entry))


def _could_match_twilio(entry: str) -> bool:
    """Whether any client's reading of `entry` covers twilio.com or a name below it.

    Clients differ: `*` alone, as a prefix or anywhere; a leading dot or none; Python compares bare ends of
    names, so `o.com` is enough.
    """
    name = _name(entry)
    if _address(name):
        return False
    return "*" in name or name.endswith("." + DOMAIN) or ("." + DOMAIN).endswith(name)


def _matches(entry: str, host: str) -> bool:
    name = _name(entry)
    if not name or "*" in name:
        return True
    address = _address(host)
    if address:
        try:
            return ip_address(host) in ip_network(name, strict=False)
        except ValueError:
            return False
    return host == name or host.endswith("." + name)


def _name(entry: str) -> str:
    """An entry without port, brackets, leading `*` and dots, in lower case."""
    entry = entry.lower()
    bracketed = re.fullmatch(r"\[(.*)\](?::\d+)?", entry)
    if bracketed:
        return bracketed[1]
    if entry.count(":") == 1:
        entry = entry.partition(":")[0]
    return entry.lstrip("*.").rstrip(".")


def _address(name: str) -> bool:
    try:
        ip_network(name, strict=False)
    except ValueError:
        return False
    return True
