"""The mitmproxy addon: its options, and hooks around the responder that let no connection to Twilio out."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from hmac import compare_digest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mitmproxy import ctx, exceptions, http
from mitmproxy.proxy import mode_specs

from ringback import mitmproxy_flows as flows
from ringback import mitmproxy_view
from ringback.contract import Answer
from ringback.contract.gate import canonical_host
from ringback.control import Control, at_once
from ringback.exchange import Stream
from ringback.net import LOOPBACK, is_loopback
from ringback.responder import Responder, SetupError
from ringback.server.connection import tcp_quickack
from ringback.server.destination import API, NOWHERE, canonical_host_name, client_refusal, leads_back
from ringback.server.tls import is_distrust
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
from ringback.system import known_holes
from ringback.upstream.routes import Address, Egress

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from mitmproxy.addonmanager import Loader
    from mitmproxy.connection import Client
    from mitmproxy.options import Options
    from mitmproxy.proxy.layer import NextLayer
    from mitmproxy.proxy.server_hooks import ServerConnectionHookData
    from mitmproxy.tls import ClientHelloData, TlsData


OPTION_NAMES = frozenset(option.addon_name for option in options_of("addon"))

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
        if name in OPTION_NAMES or not name.lower().startswith("ringback_"):
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


def _listening() -> list[tuple[str, int]]:
    """Return the addresses that mitmproxy listens on, and their ports."""
    server = ctx.master.addons.get("proxyserver")
    return [(address[0], address[1]) for address in server.listen_addrs()] if server else []


logger = logging.getLogger(__name__)

_SECURED = {
    "ignore_hosts",
    "allow_hosts",
    "tcp_hosts",
    "udp_hosts",
    "listen_host",
    "mode",
    "connection_strategy",
}


class RingbackAddon:
    """Answers every request to Twilio's hosts, and lets no connection to them out.

    Without arguments it is an addon of mitmproxy's own programs, configured by `--set ringback_…`. With
    arguments it is part of a proxy that is configured already.

    Args:
        control: Answers requests for the proxy itself, and knows the responder.
        settings: The settings that both were made with.

    Attributes:
        control: Answers requests for the proxy itself, and knows the responder.
        settings: The settings in force.
        clients: The client connections.
        broken: Why nobody is served, if the options that the program started with are refused.
    """

    def __init__(self, control: Control | None = None, settings: Settings | None = None) -> None:
        self._embedded = control is not None
        self.settings = settings or Settings()
        self.control = control or Control(Responder.open(Settings()), None)
        self.broken: str | None = None
        self.clients = flows.Clients(self._is_twilio)

    @property
    def responder(self) -> Responder:
        """Return the handler of Twilio requests."""
        return self.control.responder

    # -- options

    def load(self, loader: Loader) -> None:
        """Register the options."""
        if not self._embedded:
            add_options(loader)

    def configure(self, updated: set[str]) -> None:
        """Check the options and make the responder from them.

        Raises:
            OptionsError: A changed option is refused; mitmproxy takes it back.
        """
        if self._embedded:
            return
        try:
            self._configure(updated)
        except exceptions.OptionsError as error:
            if not updated.issuperset(ctx.options.keys()):
                raise
            # A script's first configuration: mitmproxy would print a traceback and go on without it.
            self.broken = str(error)
            logger.error("%s", error)  # noqa: TRY400 - a user's mistake, no traceback

    def _configure(self, updated: set[str]) -> None:
        if updated & _SECURED:
            secure(ctx.options, password=proxy_password())
        if not updated & OPTION_NAMES:
            return
        settings = read_settings(ctx.options)
        secure(ctx.options, password=settings.password)
        tally = self.responder.tally
        self.responder.close()
        try:
            self.control = Control(Responder.open(settings, tally=tally), settings.password)
        except SetupError as error:
            raise exceptions.OptionsError(f"ringback_{error}") from None
        self.settings = settings
        mitmproxy_view.register(self.responder.contract)

    def running(self) -> None:
        """Warn of known holes, and move a listener that was opened on every interface before this."""
        if self._embedded:
            return
        for hole in known_holes(web="web_port" in ctx.options):
            logger.warning("%s", hole)
        bound = [host for host, _ in _listening()]
        modes = rebound(ctx.options, bound) if self.settings.password is None else None
        if modes and self.broken is None:
            ctx.options.update(mode=modes)

    def _spare_own_ports(self) -> None:
        """Let no status callback go to this proxy; its listeners may have changed."""
        if self.responder.callbacks is not None and not self._embedded:
            self.responder.callbacks.own_ports = {port for _, port in _listening()}

    def done(self) -> None:
        """Finish recordings, and close the connections to the live API."""
        if not self._embedded:
            self.responder.close()

    # -- connections

    def client_connected(self, client: Client) -> None:
        """Serve nobody while the options are refused, and no other machine without a password."""
        self._spare_own_ports()
        if self.broken is not None:
            client.error = self.broken
        elif flows.is_reverse(client) or flows.is_transparent(client):
            client.error = flows.direct_client_refusal(client, self.settings)
        else:
            client.error = client_refusal(client.peername[0], client.sockname[0], self.settings.password)

    def http_connect(self, flow: http.HTTPFlow) -> None:
        """Remember the tunnel's destination; refuse what must not be tunnelled."""
        if flow.response:
            return
        host, port = canonical_host_name(flow.request.host), flow.request.port
        user, password = flows.proxy_credentials(flow.request.headers.get("Proxy-Authorization", ""))
        if not self._password_fits(password):
            flow.response = flows.proxy_authentication_required()
            return
        if flows.is_own(flow.client_conn, host, port):
            flow.response = flows.plain_response("404 Ringback does not tunnel to itself")
            return
        if self.settings.block_other_hosts and not self.responder.contract.is_twilio(host):
            flow.response = flows.plain_response(
                f"403 Ringback blocks {host}: it was started with --block-other-hosts"
            )
            return
        self.clients.opened(flow.client_conn, host, port, user)

    def tls_clienthello(self, data: ClientHelloData) -> None:
        """Terminate TLS for Twilio's hosts alone; every other host's stays untouched, end to end."""
        client, server, sni = data.context.client, data.context.server, data.client_hello.sni
        if flows.is_reverse(client) or flows.is_transparent(client):
            self._direct_hello(data)
            return
        if sni and server.address and server.address[0] == NOWHERE and self._is_twilio(sni):
            # A SOCKS client that was given an address for the name: the handshake has the name itself.
            server.address = (canonical_host_name(sni), server.address[1])
        named = [name for name in (sni, server.address[0] if server.address else None) if name]
        if not any(self._is_twilio(name) for name in named):
            data.ignore_connection = True

    def _direct_hello(self, data: ClientHelloData) -> None:
        """Terminate TLS for Twilio's names; others' stays untouched; redirected without a name it is closed.

        The address that a nameless handshake was going to may be Twilio's, so it goes nowhere.
        """
        client, sni = data.context.client, data.client_hello.sni
        if leads_back(client.peername):
            logger.error(
                "%s leads back to this proxy: have the hosts entry or the redirection for the clients alone",
                sni,
            )
            sni = None
        elif sni and self._is_twilio(sni):
            # The CA vouches for no address, so the certificate must not have the one that was dialled.
            data.context.server.address = (canonical_host_name(sni), client.sockname[1])
            return
        elif flows.is_reverse(client) and not sni:
            return
        data.ignore_connection = True
        if not sni:
            data.context.server.address = (API, 443)  # to which no connection is opened

    def tls_failed_client(self, data: TlsData) -> None:
        """Count the clients that do not trust the CA."""
        client = data.conn
        target = data.context.server.address
        named = [name for name in (client.sni, target[0] if target else None) if name]
        self.clients.got_request(client)
        if any(self._is_twilio(name) for name in named) and is_distrust(client.error or ""):
            self.responder.tally.distrusted += 1

    def next_layer(self, data: NextLayer) -> None:
        """Send tunnels of other hosts through the proxy that the environment names."""
        own = ctx.master.addons.get("nextlayer")
        if data.layer is None and own is not None:  # mitmproxy's programs ask a script before their own addon
            own.next_layer(data)
        flows.inspect_first_bytes(data)
        address = data.context.server.address
        if flows.is_transparent(data.context.client):
            return  # it was on its way without a proxy
        if address is None and flows.is_origin_form(data.data_client()):
            self.clients.addressed_proxy(data.context.client.peername)
        if address and not self._is_twilio(address[0]):
            flows.chain_tunnel(data, self.settings.routes.egress)

    def http_connect_upstream(self, flow: http.HTTPFlow) -> None:
        """Give that proxy the user and password of its URL."""
        flows.authorize(flow, self.settings.routes.egress)

    def server_connect(self, data: ServerConnectionHookData) -> None:
        """Refuse every connection of mitmproxy's own to a host of Twilio's, in every mode.

        Behind an egress proxy the address is the proxy's, so the tunnel's target counts as well.
        """
        address, sni = data.server.address, data.server.sni
        tunnel = self.clients.tunnel(data.client)
        target = tunnel.destination.host if tunnel else None
        named = (address[0] if address else None, sni, target, data.client.sni)
        if any(self._is_twilio(name) for name in named if name):
            data.server.error = "Ringback opens no connection to Twilio for a client"
        elif self.settings.block_other_hosts:
            data.server.error = "Ringback blocks other hosts: it was started with --block-other-hosts"

    def client_disconnected(self, client: Client) -> None:
        """Forget the connection, and count one that said nothing."""
        if self.clients.is_silent(client) and self._is_twilio(client.sni or ""):
            self.responder.tally.silent += 1
        self.clients.forget(client)

    # -- requests

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Refuse what may not ask, and stream what is not Twilio's: it passes unchanged and unbuffered."""
        if flow.response or flow.error or not flow.live:
            return
        client = flow.client_conn
        tcp_quickack(flows.client_socket(client))
        self.clients.got_request(client)
        refused = flows.direct_request_refusal(flow, self.clients.names(flow), self._is_twilio)
        if refused is not None:
            flow.response = flows.plain_response(refused)
            return
        if flows.is_reverse(client):
            return
        own = self.clients.wants_proxy(flow) and flow.request.path.startswith("/ringback/")
        if self.clients.tunnel(client) is None and not own:  # `Control` asks for the password itself
            _user, password = flows.proxy_credentials(flow.request.headers.get("Proxy-Authorization", ""))
            if not self._password_fits(password):
                flow.response = flows.proxy_authentication_required()
                return
        if not self.clients.wants_twilio(flow) and not self.clients.wants_proxy(flow):
            flow.request.headers.pop("Proxy-Authorization", None)
            if not self.settings.block_other_hosts:
                flow.request.stream = True
                if not flows.is_transparent(client):
                    flows.chain_request(flow, self.settings.routes.egress)

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Stream the answer too."""
        if flow.response and flow.request.stream:
            flow.response.stream = True

    def request(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """Answer the request if it is for Twilio or for the proxy itself: at once, unless it is forwarded."""
        if flow.response or flow.error or not flow.live:
            return None
        names = self.clients.names(flow)
        request = flows.to_request(flow, names)
        if self.clients.wants_proxy(flow):
            response = self.control.handle(request, flow.client_conn.peername[0])
            answer = at_once(response) if isinstance(response, Stream) else response
        elif self.clients.wants_twilio(flow):
            answer = self.responder.handle(request, names, user=self.clients.user(flow))
        elif self.settings.block_other_hosts:
            flow.response = flows.plain_response(
                f"403 Ringback blocks {names.host}: started with --block-other-hosts"
            )
            return None
        else:
            return None
        if isinstance(answer, Answer):
            self._send(flow, answer)
            return None
        return self._send_later(flow, answer)

    async def _send_later(self, flow: http.HTTPFlow, answer: Awaitable[Answer]) -> None:
        self._send(flow, await answer)

    def _send(self, flow: http.HTTPFlow, answer: Answer) -> None:
        flow.response = flows.to_response(answer)
        source = answer.source
        flow.marked = mitmproxy_view.MARKS[source.kind]
        flow.comment = " - ".join(part for part in (source.headers()[0][1], source.reason) if part)
        flow.metadata[mitmproxy_view.SOURCE] = source

    def _is_twilio(self, name: str) -> bool:
        return self.responder.contract.is_twilio(canonical_host(name))

    def _password_fits(self, password: str) -> bool:
        wanted = self.settings.password
        return wanted is None or compare_digest(password.encode(), wanted.encode())
