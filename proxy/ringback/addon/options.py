"""The addon's mitmproxy options, and the checks on mitmproxy's own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mitmproxy import exceptions
from mitmproxy.proxy import mode_specs

from ringback import contract
from ringback.addon.binding import exposed, listen_host
from ringback.cassettes.manager import CassetteOptions, Repeats
from ringback.contract import Credentials
from ringback.contract.form import NamingError, parameters_named
from ringback.drift import REPORT_FORMS
from ringback.responder import Mode  # noqa: TC001 - a data class's annotations are part of its interface
from ringback.upstream.client import trust
from ringback.upstream.routes import Address, Egress, Routes, Timeouts, mock_upstream

if TYPE_CHECKING:
    from mitmproxy.addonmanager import Loader
    from mitmproxy.options import Options

    from ringback.contract import Contract

MODES: Final[tuple[Mode, ...]] = ("offline", "auto", "online")
# A report's form by its file's ending.
REPEATS: Final[tuple[Repeats, ...]] = ("last", "error")
PASSWORD_VARIABLE = "RINGBACK_PROXY_PASSWORD"  # noqa: S105 - the variable's name, not a password
SID_VARIABLE = "RINGBACK_TEST_ACCOUNT_SID"
TOKEN_VARIABLE = "RINGBACK_TEST_AUTH_TOKEN"  # noqa: S105 - as above

# name, type, default, help
OPTIONS: tuple[tuple[str, Any, Any, str], ...] = (
    ("ringback_mode", str, "offline", f"How Twilio requests are answered: {', '.join(MODES)}."),
    ("ringback_contract", Sequence[str], [], "Your own contract file, laid over the documented one."),
    ("ringback_seed", int | None, None, "Make sids, request ids and dates repeat from run to run."),
    ("ringback_block_other_hosts", bool, False, "Refuse every host that is not Twilio's, not tunnel it."),
    ("ringback_upstream", str | None, None, "A stand-in for the live API: https://HOST:PORT."),
    ("ringback_upstream_ca", str | None, None, "PEM file of the roots that the live API is verified with."),
    ("ringback_egress_proxy", str | None, None, "Proxy for connections to the outside; else HTTPS_PROXY's."),
    ("ringback_connect_timeout", str, "10", "Seconds to wait for a connection to the live API."),
    ("ringback_timeout", str, "30", "Seconds to wait for the live API's answer."),
    ("ringback_cassettes", str, "cassettes", "Directory of the cassettes."),
    ("ringback_cassette", str, "default", "Cassette of clients that name none as the proxy URL's user."),
    (
        "ringback_repeats",
        str,
        "last",
        "What a request gets after its last recording: that again (last), or error.",
    ),
    ("ringback_strict", bool, False, "Answer from cassettes alone: what they do not have is an error."),
    ("ringback_redact", Sequence[str], [], "Form fields that are recorded as pseudonyms."),
    (
        "ringback_drift_report",
        str | None,
        None,
        "Write drift in live answers here: .json, .html, .xml, .sarif.",
    ),
    ("ringback_max_live", int | None, None, "Forward no more than this many requests, then go on offline."),
)

_BOOLEANS: Final = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}
# Each of these can carry a Twilio host past the addon.
_BYPASSES = ("ignore_hosts", "allow_hosts", "tcp_hosts", "udp_hosts")


@dataclass(frozen=True)
class Settings:
    """What the options and the environment say.

    Attributes:
        mode: offline, auto or online.
        contract: The user's contract files.
        seed: For identities, or None.
        block_other_hosts: Whether hosts that are not Twilio's are refused.
        credentials: The configured pair, or any.
        password: What clients must give as the proxy URL's password, or None.
        routes: Which way requests are forwarded, and other hosts are reached.
        upstream_ca: The roots for the live API, or None for the system's.
        timeouts: How long the live API is waited for.
        max_live: How many requests may be forwarded, or None.
        cassettes: What is asked of cassettes.
        drift_report: The file that drift in live answers is written to, or None.
    """

    mode: Mode = "offline"
    contract: tuple[Path, ...] = ()
    seed: int | None = None
    block_other_hosts: bool = False
    credentials: Credentials = field(default_factory=Credentials)
    password: str | None = field(default=None, repr=False)
    routes: Routes = field(default_factory=Routes)
    upstream_ca: Path | None = None
    timeouts: Timeouts = field(default_factory=Timeouts)
    max_live: int | None = None
    cassettes: CassetteOptions = field(default_factory=CassetteOptions)
    drift_report: Path | None = None


def add_options(loader: Loader) -> None:
    """Tell mitmproxy about the `ringback_…` options; each takes its default from `RINGBACK_…`.

    A wrong value is kept for `read_settings` to refuse: what fails while a script loads, mitmproxy drops
    without a word, and goes on without the addon.
    """
    options = loader.master.options
    for name, kind, default, text in OPTIONS:
        try:
            value = _from_environment(name, kind, default)
        except exceptions.OptionsError as error:
            value = default
            options.deferred[_wrong(name.upper())] = str(error)
        loader.add_option(name, kind, value, text)
        given = options.deferred.get(name)
        try:
            if isinstance(getattr(given, "val", None), list):
                options._parse_setval(options._options[name], given.val)  # noqa: SLF001 - what it calls next
        except exceptions.OptionsError as error:
            del options.deferred[name]
            options.deferred[_wrong(name)] = f"{name}: {error}"


def _wrong(name: str) -> str:
    """Where mitmproxy's options keep a wrong value until somebody can be told: no option has such a name."""
    return f"{name} is wrong"


def read_settings(options: Options) -> Settings:
    """The settings in force.

    Raises:
        OptionsError: A value is not one of those allowed, or an option is none of ours.
    """
    _check_given(options)
    if options.ringback_mode not in MODES:
        raise exceptions.OptionsError(
            f"ringback_mode: {options.ringback_mode!r} is not a mode; use one of: {', '.join(MODES)}"
        )
    for name in (SID_VARIABLE, TOKEN_VARIABLE, PASSWORD_VARIABLE):
        if not os.environ.get(name, "").isascii():
            raise exceptions.OptionsError(f"{name} has characters that are not ASCII")
    sid, token = os.environ.get(SID_VARIABLE) or None, os.environ.get(TOKEN_VARIABLE) or None
    if (sid is None) != (token is None):
        raise exceptions.OptionsError(f"set both {SID_VARIABLE} and {TOKEN_VARIABLE}, or neither")
    return Settings(
        mode=options.ringback_mode,
        contract=tuple(Path(name) for name in options.ringback_contract),
        seed=options.ringback_seed,
        block_other_hosts=options.ringback_block_other_hosts,
        credentials=Credentials(sid, token),
        password=proxy_password(),
        routes=Routes(_stand_in(options.ringback_upstream), _egress(options)),
        upstream_ca=_roots(options),
        timeouts=Timeouts(
            _seconds("ringback_connect_timeout", options.ringback_connect_timeout),
            _seconds("ringback_timeout", options.ringback_timeout),
        ),
        max_live=_not_negative("ringback_max_live", options.ringback_max_live),
        cassettes=_cassettes(options),
        drift_report=_report(options.ringback_drift_report),
    )


def load_contract(settings: Settings) -> Contract:
    """The contract, with the user's files.

    Raises:
        OptionsError: One of these is none.
    """
    try:
        return contract.load(settings.contract)
    except contract.ContractError as error:
        raise exceptions.OptionsError(f"ringback_contract: {error}") from None


def with_fields(settings: Settings, loaded: Contract) -> Settings:
    """`settings` with the fields that are recorded as pseudonyms, each once, as Twilio spells it.

    Raises:
        OptionsError: No resource has such a field, so that nothing would be redacted.
    """
    try:
        fields = parameters_named(loaded, settings.cassettes.redact)
    except NamingError as error:
        raise exceptions.OptionsError(f"ringback_redact: {error}") from None
    return replace(settings, cassettes=replace(settings.cassettes, redact=fields))


def proxy_password() -> str | None:
    """What clients must give as the proxy URL's password, or None."""
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


def _from_environment(name: str, kind: Any, default: Any) -> Any:
    value = os.environ.get(name.upper())
    if not value:
        return default
    if kind is bool:
        if value.lower() not in _BOOLEANS:
            raise exceptions.OptionsError(f"{name.upper()}: {value!r} is neither true nor false")
        return _BOOLEANS[value.lower()]
    if kind == Sequence[str]:
        return value.split(os.pathsep)
    if kind == int | None:
        try:
            return int(value)
        except ValueError:
            raise exceptions.OptionsError(f"{name.upper()}: {value!r} is not a whole number") from None
    return value


def _check_given(options: Options) -> None:
    known = {name for name, *_ in OPTIONS}
    for name, value in options.deferred.items():
        if name in known or not name.lower().startswith("ringback_"):
            continue
        if name == _wrong(name.partition(" ")[0]):
            raise exceptions.OptionsError(str(value))
        raise exceptions.OptionsError(
            f"{name}: there is no such option; there are {', '.join(sorted(known))}"
        )


def upstream_of(url: str | None) -> Address | None:
    """The stand-in for the live API that `url` names, or None for the live API itself.

    Raises:
        ValueError: It names none, would send credentials over a network in clear text, or has some itself.
    """
    address = mock_upstream(url) if url else None
    if address and address.userinfo:
        raise ValueError("it has a user name, which is never sent; write https://HOST:PORT")
    return address


def _stand_in(url: str | None) -> Address | None:
    try:
        return upstream_of(url)
    except ValueError as error:
        raise exceptions.OptionsError(f"ringback_upstream: {error}") from None


def _report(name: str | None) -> Path | None:
    """The file of the drift report, which must be one that can be written at the end."""
    if not name:
        return None
    path = Path(name)
    if path.suffix.lower() not in REPORT_FORMS:
        raise exceptions.OptionsError(
            f"ringback_drift_report: {name}: the ending names the form, one of {', '.join(REPORT_FORMS)}"
        )
    if not os.access(path.absolute().parent, os.W_OK):
        raise exceptions.OptionsError(f"ringback_drift_report: {name}: nothing can be written there")
    return path


def _address(name: str, url: str | None) -> Address | None:
    try:
        return Address.parse(url) if url else None
    except ValueError as error:
        raise exceptions.OptionsError(f"{name}: {error}") from None


def _egress(options: Options) -> Egress:
    """The proxy to the outside: the one named for it, else upstream mode's, else HTTPS_PROXY's."""
    named = options.ringback_egress_proxy
    if _address("ringback_egress_proxy", named):
        return Egress.of(named)
    specs = [mode_specs.ProxyMode.parse(mode) for mode in options.mode]
    for spec in specs:
        if isinstance(spec, mode_specs.UpstreamMode):
            userinfo = getattr(options, "upstream_auth", None)
            address = Address(spec.scheme, *spec.address, userinfo)
            return Egress((("all", address),), forced=True)
    own = {port for spec in specs if (port := spec.listen_port(options.listen_port))}
    return Egress.from_environment(own)


def _roots(options: Options) -> Path | None:
    name = options.ringback_upstream_ca or getattr(options, "ssl_verify_upstream_trusted_ca", None)
    if not name:
        return None
    path = Path(name)
    try:
        trust(path)
    except OSError as error:  # ssl.SSLError is one
        said = error.strerror if isinstance(error, FileNotFoundError) else "it holds no certificate in PEM"
        raise exceptions.OptionsError(f"ringback_upstream_ca: {path}: {said}") from None
    return path


def _cassettes(options: Options) -> CassetteOptions:
    repeats = options.ringback_repeats
    if repeats not in REPEATS:
        raise exceptions.OptionsError(f"ringback_repeats: {repeats!r} is not one of: {', '.join(REPEATS)}")
    return CassetteOptions(
        directory=Path(options.ringback_cassettes),
        name=options.ringback_cassette,
        repeats=repeats,
        strict=options.ringback_strict,
        redact=tuple(options.ringback_redact),
    )


def _seconds(name: str, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise exceptions.OptionsError(f"{name}: {text!r} is not a number of seconds above 0")
    return seconds


def _not_negative(name: str, number: int | None) -> int | None:
    if number is not None and number < 0:
        raise exceptions.OptionsError(f"{name}: {number} is below 0")
    return number
