"""mitmproxy's side of the settings: its `ringback_…` options, and the checks on its own options."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mitmproxy import exceptions
from mitmproxy.proxy import mode_specs

from ringback.net import LOOPBACK, is_loopback
from ringback.settings import (
    PASSWORD_VARIABLE,
    Option,
    Outside,
    Settings,
    SettingsError,
    nearest,
    options_of,
    outside,
    with_environment,
)
from ringback.upstream.routes import Address, Egress

if TYPE_CHECKING:
    from mitmproxy.addonmanager import Loader
    from mitmproxy.options import Options


NAMES = frozenset(option.addon_name for option in options_of("addon"))

# Each of these can carry a Twilio host past the addon.
_BYPASSES = ("ignore_hosts", "allow_hosts", "tcp_hosts", "udp_hosts")


def add_options(loader: Loader) -> None:
    """Register the `ringback_…` options; each takes its default from `RINGBACK_…` or the configuration file.

    A wrong value is kept for `read_settings` to refuse: what fails while a script loads, mitmproxy drops
    without a word, and goes on without the addon.
    """
    options = loader.master.options
    try:
        found = outside(os.environ, Path.cwd())
    except SettingsError as error:
        options.deferred[_wrong("ringback_")] = str(error)
        found = Outside(os.environ)
    for option in options_of("addon"):
        name = option.addon_name
        try:
            value = found.value(option)
        except SettingsError as error:
            value = option.default
            options.deferred[_wrong(name)] = str(error)
        kind, value = _for_mitmproxy(option, value)
        loader.add_option(name, kind, value, _help(option))
        given = options.deferred.get(name)
        try:
            if isinstance(getattr(given, "val", None), list):
                options._parse_setval(options._options[name], given.val)  # noqa: SLF001 - what it calls next
        except exceptions.OptionsError as error:
            del options.deferred[name]
            options.deferred[_wrong(name)] = f"{name}: {error}"


def _for_mitmproxy(option: Option, value: Any) -> tuple[Any, Any]:
    """Return the type and the value that mitmproxy has for `option`."""
    if option.is_flag:
        return bool, value
    if option.is_list:
        return Sequence[str], [str(one) for one in value]
    if getattr(option.read, "types", (str,)) == (int,):
        return int | None, value
    text = f"{value:g}" if isinstance(value, float) else None if value is None else str(value)
    return (str | None if option.default is None else str), text


def _help(option: Option) -> str:
    return option.help + (f" One of {', '.join(option.choices)}." if option.choices else "")


def _wrong(name: str) -> str:
    """Return the key that keeps a wrong value until it can be reported; no option has such a name."""
    return f"{name} is wrong"


def read_settings(options: Options) -> Settings:
    """Return the settings in force.

    Raises:
        OptionsError: A value is not one of those allowed, or an option is none of ours.
    """
    _check_given(options)
    try:
        values = {
            option.name: option.from_text(_text(options, option), option.addon_name)
            for option in options_of("addon")
        }
        settings = with_environment(values, os.environ)
    except SettingsError as error:
        raise exceptions.OptionsError(str(error)) from None
    return replace(settings, egress=_egress(options))


def _text(options: Options, option: Option) -> Any:
    """Return what mitmproxy has for `option`; an empty text is nothing, where nothing is allowed."""
    value = getattr(options, option.addon_name)
    if option.name == "upstream_ca":
        value = value or getattr(options, "ssl_verify_upstream_trusted_ca", None)
    return None if option.default is None and value == "" else value


def proxy_password() -> str | None:
    """Return the password that clients must give in the proxy URL, or None."""
    return os.environ.get(PASSWORD_VARIABLE) or None


def secure(options: Options, *, password: str | None) -> None:
    """Make mitmproxy's own options safe: nothing dialled before the addon decides, loopback by default.

    Raises:
        OptionsError: An option would let Twilio's hosts past the addon, or the proxy would be open to others.
    """
    for name in _BYPASSES:
        if getattr(options, name, None):
            raise exceptions.OptionsError(
                f"{name} could let Twilio's hosts past Ringback; unset it, other hosts are tunnelled anyway"
            )
    host = exposed(options)
    if host is not None and password is None:
        raise exceptions.OptionsError(
            f"{host} is reachable from other machines: set {PASSWORD_VARIABLE} and give it as the "
            "proxy URL's password, or listen on 127.0.0.1"
        )
    # Last, because it comes back here: an error now would be rolled back and raised again without end.
    wanted = {"listen_host": listen_host(options), "connection_strategy": "lazy"}  # eager dials at CONNECT
    changed = {name: value for name, value in wanted.items() if getattr(options, name) != value}
    if changed:
        options.update(**changed)


def _check_given(options: Options) -> None:
    for name, value in options.deferred.items():
        if name in NAMES or not name.lower().startswith("ringback_"):
            continue
        if name == _wrong(name.partition(" ")[0]):
            raise exceptions.OptionsError(str(value))
        raise exceptions.OptionsError(f"{name}: there is no such option; {_nearest(name)}")


def _nearest(name: str) -> str:
    return nearest(name.lower().removeprefix("ringback_")).replace("did you mean ", "did you mean ringback_")


def _egress(options: Options) -> Egress:
    """The proxy to the outside: the one named for it, else upstream mode's, else HTTPS_PROXY's."""
    named = options.ringback_egress_proxy
    if named:
        return Egress.of(named)
    specs = [mode_specs.ProxyMode.parse(mode) for mode in options.mode]
    for spec in specs:
        if isinstance(spec, mode_specs.UpstreamMode):
            userinfo = getattr(options, "upstream_auth", None)
            address = Address(spec.scheme, *spec.address, userinfo)
            return Egress((("all", address),), forced=True)
    own = {port for spec in specs if (port := spec.listen_port(options.listen_port))}
    return Egress.from_environment(own)


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
