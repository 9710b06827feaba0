"""Where the proxy may be reached: loopback alone, unless it has a password."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mitmproxy.proxy import mode_specs

from ringback.net import LOOPBACK, is_loopback

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mitmproxy.options import Options


def listen_host(options: Options) -> str:
    """The address to listen on: loopback, where an empty option of mitmproxy's means every interface."""
    return options.listen_host or LOOPBACK


def exposed(options: Options) -> str | None:
    """The first address of the options that other machines can reach, or None."""
    for mode in options.mode:
        host = mode_specs.ProxyMode.parse(mode).listen_host(listen_host(options))
        if not is_loopback(host):
            return host
    return None


def rebound(options: Options, bound: Sequence[str]) -> list[str] | None:
    """Modes that name their address, for a proxy that came up on other addresses than the options now say.

    mitmproxy 12 opens its listeners before it loads a script, so on every interface by its own default; a
    mode with another name makes it close the listener and open a new one.

    Args:
        options: The options, made safe.
        bound: The addresses that are listened on.

    Returns:
        The modes to set, or None where the listeners are right.
    """
    if all(is_loopback(host) for host in bound):
        return None
    modes = []
    for mode in options.mode:
        spec = mode_specs.ProxyMode.parse(mode)
        port = spec.listen_port(options.listen_port)
        modes.append(f"{mode.partition('@')[0]}@{spec.listen_host(listen_host(options))}:{port}")
    return modes
