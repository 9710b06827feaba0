"""The mitmproxy addon: event hooks around the responder that let no connection to Twilio out."""

from __future__ import annotations

import logging
from hmac import compare_digest
from typing import TYPE_CHECKING

from mitmproxy import ctx, exceptions, http

from ringback import mitmproxy_flows as flows
from ringback import mitmproxy_options as options
from ringback.contract import Answer
from ringback.contract.gate import canonical_host
from ringback.control import Control, at_once
from ringback.exchange import Stream
from ringback.responder import Responder, SetupError
from ringback.server.connection import tcp_quickack
from ringback.server.destination import API, NOWHERE, canonical_host_name, client_refusal, leads_back
from ringback.server.tls import is_distrust
from ringback.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from mitmproxy.addonmanager import Loader
    from mitmproxy.connection import Client
    from mitmproxy.proxy.layer import NextLayer
    from mitmproxy.proxy.server_hooks import ServerConnectionHookData
    from mitmproxy.tls import ClientHelloData, TlsData

logger = logging.getLogger(__name__)

_MARKS = {"contract": ":blue_book:", "cassette": ":vhs:", "live": ":satellite:", "gate": ":no_entry:"}
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
            options.add_options(loader)

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
            options.secure(ctx.options, password=options.proxy_password())
        if not updated & options.NAMES:
            return
        settings = options.read_settings(ctx.options)
        options.secure(ctx.options, password=settings.password)
        tally = self.responder.tally
        self.responder.close()
        try:
            self.control = Control(Responder.open(settings, tally=tally), settings.password)
        except SetupError as error:
            raise exceptions.OptionsError(f"ringback_{error}") from None
        self.settings = settings

    def running(self) -> None:
        """Move a listener that mitmproxy opened on every interface before this addon was loaded."""
        if self._embedded:
            return
        server = ctx.master.addons.get("proxyserver")
        bound = [address[0] for address in server.listen_addrs()] if server else []
        modes = options.rebound(ctx.options, bound) if self.settings.password is None else None
        if modes and self.broken is None:
            ctx.options.update(mode=modes)

    def done(self) -> None:
        """Finish recordings, and close the connections to the live API."""
        if not self._embedded:
            self.responder.close()

    # -- connections

    def client_connected(self, client: Client) -> None:
        """Serve nobody while the options are refused, and no other machine without a password."""
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
        flows.inspect_all_tls(data)
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
        if self.clients.tunnel(client) is None:
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
        flow.marked = _MARKS[source.kind]
        flow.comment = " - ".join(part for part in (source.headers()[0][1], source.reason) if part)
        flow.metadata["ringback"] = source

    def _is_twilio(self, name: str) -> bool:
        return self.responder.contract.is_twilio(canonical_host(name))

    def _password_fits(self, password: str) -> bool:
        wanted = self.settings.password
        return wanted is None or compare_digest(password.encode(), wanted.encode())
