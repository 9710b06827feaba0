"""NO_PROXY: what a child may keep of it."""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import TYPE_CHECKING

from ringback.launch.certificates import DOMAIN

if TYPE_CHECKING:
    from collections.abc import Mapping

# HTTP_PROXY is new to most programs; their own services on this machine shall not notice it.
LOOPBACK = ("localhost", "127.0.0.1", "::1")


def without_twilio(parent: Mapping[str, str]) -> str:
    """The parent's no_proxy and NO_PROXY as one list that cannot match a host of Twilio's, and loopback."""
    kept = [entry for entry in _entries(parent) if not _could_match_twilio(entry)]
    return ",".join(dict.fromkeys([*kept, *LOOPBACK]))


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
