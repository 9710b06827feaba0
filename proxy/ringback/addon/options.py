"""The addon's mitmproxy options, and the checks on mitmproxy's own."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mitmproxy import exceptions
from mitmproxy.proxy import mode_specs

from ringback.contract import Credentials

if TYPE_CHECKING:
    from mitmproxy.addonmanager import Loader
    from mitmproxy.options import Options

MODES = ("offline",)
PASSWORD_VARIABLE = "RINGBACK_PROXY_PASSWORD"  # noqa: S105 - the variable's name, not a password
SID_VARIABLE = "RINGBACK_TEST_ACCOUNT_SID"
TOKEN_VARIABLE = "RINGBACK_TEST_AUTH_TOKEN"  # noqa: S105 - as above

# name, type, default, help
OPTIONS: tuple[tuple[str, Any, Any, str], ...] = (
    ("ringback_mode", str, "offline", f"How Twilio requests are answered: {', '.join(MODES)}."),
    ("ringback_contract", Sequence[str], [], "Your own contract file, laid over the documented one."),
    ("ringback_seed", int | None, None, "Make sids, request ids and dates repeat from run to run."),
    ("ringback_block_other_hosts", bool, False, "Refuse every host that is not Twilio's, not tunnel it."),
)

# Each of these can carry a Twilio host past the addon.
_BYPASSES = ("ignore_hosts", "allow_hosts", "tcp_hosts", "udp_hosts")


@dataclass(frozen=True)
class Settings:
    """What the options and the environment say.

    Attributes:
        mode: offline.
        contract: The user's contract files.
        seed: For identities, or None.
        block_other_hosts: Whether hosts that are not Twilio's are refused.
        credentials: The configured pair, or any.
        password: What clients must give as the proxy URL's password, or None.
    """

    mode: str = "offline"
    contract: tuple[Path, ...] = ()
    seed: int | None = None
    block_other_hosts: bool = False
    credentials: Credentials = field(default_factory=Credentials)
    password: str | None = field(default=None, repr=False)


def add_options(loader: Loader) -> None:
    """Tell mitmproxy about the `ringback_…` options; each takes its default from `RINGBACK_…`."""
    for name, kind, default, text in OPTIONS:
        loader.add_option(name, kind, _from_environment(name, kind, default), text)


def read_settings(options: Options) -> Settings:
    """The settings in force.

    Raises:
        OptionsError: A value is not one of those allowed.
    """
    if options.ringback_mode not in MODES:
        raise exceptions.OptionsError(
            f"ringback_mode: {options.ringback_mode!r} is not a mode; use one of: {', '.join(MODES)}"
        )
    sid, token = os.environ.get(SID_VARIABLE) or None, os.environ.get(TOKEN_VARIABLE) or None
    if (sid is None) != (token is None):
        raise exceptions.OptionsError(f"set both {SID_VARIABLE} and {TOKEN_VARIABLE}, or neither")
    return Settings(
        mode=options.ringback_mode,
        contract=tuple(Path(name) for name in options.ringback_contract),
        seed=options.ringback_seed,
        block_other_hosts=options.ringback_block_other_hosts,
        credentials=Credentials(sid, token),
        password=os.environ.get(PASSWORD_VARIABLE) or None,
    )


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
    wanted: dict[str, Any] = {}
    if options.connection_strategy != "lazy":
        wanted["connection_strategy"] = "lazy"  # eager dials Twilio at CONNECT
    if not options.listen_host:
        wanted["listen_host"] = "127.0.0.1"  # mitmproxy's own default is every interface
    if wanted:
        options.update(**wanted)
    if password is None:
        for host in _listen_hosts(options):
            if not _is_loopback(host):
                raise exceptions.OptionsError(
                    f"{host} is reachable from other machines: set {PASSWORD_VARIABLE} and give it as the "
                    "proxy URL's password, or listen on 127.0.0.1"
                )


def _from_environment(name: str, kind: Any, default: Any) -> Any:
    value = os.environ.get(name.upper())
    if not value:
        return default
    if kind is bool:
        return value.lower() in {"1", "true", "yes", "on"}
    if kind == Sequence[str]:
        return value.split(os.pathsep)
    if kind == int | None:
        try:
            return int(value)
        except ValueError:
            raise exceptions.OptionsError(f"{name.upper()}: {value!r} is not a whole number") from None
    return value


def _listen_hosts(options: Options) -> list[str]:
    specs = [mode_specs.ProxyMode.parse(mode) for mode in options.mode]
    return [spec.listen_host(options.listen_host) for spec in specs]


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
