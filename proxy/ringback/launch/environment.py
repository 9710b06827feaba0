"""The child's environment: the parent's, extended so that every client reaches Twilio through the proxy."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from ringback.launch.ca import DOMAIN
from ringback.launch.directory import write_file
from ringback.launch.runtimes import RUNTIMES, LaunchContext, Proxy
from ringback.launch.trust import Bundles

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ringback.launch.ca import Authority

__all__ = ["Launch", "Proxy", "prepare", "roots", "without_twilio"]

# HTTP_PROXY is new to most programs; their own services on this machine shall not notice it.
UNPROXIED: Final = ("localhost", "127.0.0.1", "::1")

Network: TypeAlias = IPv4Network | IPv6Network
PRIVATE: Final = tuple(
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


@dataclass(frozen=True)
class Launch:
    """The environment of a child, and the files that it names.

    Attributes:
        environment: The child's whole environment.
        variables: The variables that differ from the parent's, by name.
        removed: Variables of the parent that the child does not get.
        bundle: The usual roots and ours in one PEM file.
        directory: The directory that all files of this launch are in.
        warnings: Sentences for the person who runs the program.
    """

    environment: dict[str, str]
    variables: dict[str, str]
    removed: tuple[str, ...]
    bundle: Path
    directory: Path
    warnings: tuple[str, ...]


def roots(
    authority: Authority | Path, directory: Path, warn: Callable[[str], None] = lambda _: None
) -> Bundles:
    """Make the writer of a launch's trust bundles in `directory`, with the CA's root beside them.

    Raises:
        OSError: The directory cannot be written.
    """
    root_pem = authority if isinstance(authority, Path) else authority.root_pem
    # A copy, so that a renewed CA does not change what a running child trusts.
    return Bundles(directory, write_file(directory / "root.pem", root_pem.read_bytes()), warn)


def prepare(proxy: Proxy, authority: Authority | Path, parent: Mapping[str, str], directory: Path) -> Launch:
    """Write the files that a child's runtimes read, and return the environment that points there.

    Args:
        proxy: The proxy, already listening or about to.
        authority: The CA that it signs with, or the PEM file of its root.
        parent: The environment to extend; what it says goes on to hold for every host but Twilio's.
        directory: An existing directory of the caller's, who removes it when the child has ended.

    Raises:
        OSError: The directory cannot be written.
    """
    warnings: list[str] = []
    directory = directory.absolute()
    bundles = roots(authority, directory, warnings.append)
    context = LaunchContext(
        proxy, bundles.root, parent, directory, bundles, without_twilio(parent), warnings.append
    )

    variables: dict[str, str] = {}
    removed: list[str] = []
    for variable in (one for runtime in RUNTIMES for one in runtime):
        value = variable.value(context, parent.get(variable.name, ""))
        if value is None:
            removed += [variable.name] if variable.name in parent else []
        elif value != parent.get(variable.name):
            variables[variable.name] = value
    kept = {name: value for name, value in parent.items() if name not in removed}
    return Launch(
        environment=kept | variables,
        variables=variables,
        removed=tuple(removed),
        bundle=bundles.default,
        directory=directory,
        warnings=tuple(dict.fromkeys(warnings)),
    )


def without_twilio(parent: Mapping[str, str]) -> str:
    """Join the parent's no_proxy and NO_PROXY, less what can match a host of Twilio's, plus loopback.

    What is left out goes through the proxy, which reaches it as the parent's variables say.
    """
    both = f"{parent.get('no_proxy', '')},{parent.get('NO_PROXY', '')}"
    entries = (entry for entry in re.split(r"[,\s]+", both) if entry)
    kept = [entry for entry in entries if not _could_match_twilio(entry)]
    return ",".join(dict.fromkeys([*kept, *UNPROXIED]))


def _could_match_twilio(entry: str) -> bool:
    """Report whether any client's reading of `entry` covers twilio.com or a name below it.

    Clients differ: `*` alone, as a prefix or anywhere; a leading dot or none; Python compares bare ends of
    names, so `o.com` is enough; Ruby looks the name up and compares addresses with networks.
    """
    name = _entry_name(entry)
    try:
        network = ip_network(name, strict=False)
    except ValueError:
        return "*" in name or name.endswith("." + DOMAIN) or ("." + DOMAIN).endswith(name)
    return network.num_addresses > 1 and not _is_private(network)


def _entry_name(entry: str) -> str:
    """Strip an entry's port, brackets, leading `*` and dots; in lower case."""
    entry = entry.lower()
    bracketed = re.fullmatch(r"\[(.*)\](?::\d+)?", entry)
    if bracketed:
        return bracketed[1]
    if entry.count(":") == 1:
        entry = entry.partition(":")[0]
    return entry.lstrip("*.").rstrip(".")


def _is_private(network: Network) -> bool:
    """Report that no address in it can be Twilio's; `is_private` takes 0.0.0.0/0 for private."""
    return any(
        (network.version, own.version) in {(4, 4), (6, 6)} and network.subnet_of(own)  # type: ignore[arg-type] # of one version
        for own in PRIVATE
    )
