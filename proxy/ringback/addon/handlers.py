"""The mitmproxy addon: thin event handlers around the responder."""

from __future__ import annotations

import logging
from functools import partial
from hmac import compare_digest
from inspect import isawaitable
from typing import TYPE_CHECKING, Protocol

from mitmproxy import ctx, exceptions, http

from ringback import contract
from ringback.addon import chaining, direct, flows, hello, options, wire
from ringback.addon.binding import rebound
from ringback.addon.clients import Clients, asks_a_server, is_own
from ringback.addon.tls import distrusts
from ringback.addon.tunnels import (
    proxy_authentication_required,
    proxy_credentials,
    refused_tunnel,
)
from ringback.cassettes.errors import UnusableCassetteError
from ringback.cassettes.manager import CassetteManager, CassetteOptions
from ringback.contract import Answer
from ringback.contract.gate import canonical_host
from ringback.contract.stamps import make_stamps
from ringback.exchange import Forward
from ringback.net import is_loopback
from ringback.responder import Responder
from ringback.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from mitmproxy.addonmanager import Loader
    from mitmproxy.connection import Client
    from mitmproxy.proxy.layer import NextLayer
    from mitmproxy.proxy.server_hooks import ServerConnectionHookData
    from mitmproxy.tls import ClientHelloData, TlsData

    from ringback.cassettes.manager import CassetteUsage
    from ringback.contract import Names, Request
    from ringback.contract.gate import Admitted
    from ringback.drift.monitor import DriftMonitor
    from ringback.upstream.forwarder import Forwarder

    class ShortWay(Protocol):
        """Answers requests without a flow for each."""

        def __call__(self, request: Request, names: Names, *, admitted: Admitted | None = None) -> Answer:
            """The answer, at once; `admitted` is what the gate found, if it was asked already."""


logger = logging.getLogger(__name__)

NOWHERE = "255.255.255.255"  # to which the Java agent resolves Twilio's names
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

    Attributes:
        clients: What is known of the client connections.
        settings: The options in force.
        responder: Who answers.
        forwarder: Who forwards, or None offline.
        replay: The cassettes in use.
        used: What became of the cassettes, once they are closed.
        drift: What looks at live answers, or None offline.
        broken: Why nobody is served, if the options that the program started with are refused.
    """

    def __init__(self) -> None:
        self.settings = Settings()
        self.responder = Responder(contract.load())
        self.forwarder: Forwarder | None = None
        self.replay: CassetteManager | None = None
        self.used: tuple[CassetteUsage, ...] = ()
        self.drift: DriftMonitor | None = None
        self.broken: str | None = None
        self.clients = Clients(self._is_twilio)

    # -- options

    def load(self, loader: Loader) -> None:
        """Register the options."""
        options.add_options(loader)

    def configure(self, updated: set[str]) -> None:
        """Check the options and build the responder from them.

        Raises:
            OptionsError: A changed option is refused; mitmproxy takes it back.
        """
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
        loaded = options.load_contract(settings)
        settings = options.with_fields(settings, loaded)
        self._close()
        for told in settings.routes.egress.unusable:
            logger.warning("%s", told)
        self.settings = settings
        self.responder = Responder(
            contract=loaded,
            credentials=settings.credentials,
            stamps=make_stamps(settings.seed),
            tally=self.responder.tally,
            mode=settings.mode,
            session=settings.cassette,
            password=settings.password,
            journal=self.responder.journal,
        )
        secrets = [settings.credentials.token, settings.password]
        self.responder.journal.hide(*[secret for secret in secrets if secret])
        self.replay = CassetteManager(
            CassetteOptions(
                settings.cassettes, settings.cassette, settings.repeats, settings.strict, settings.redact
            ),
            settings.mode,
            secrets=tuple(secret for secret in secrets if secret),
            report=logger.warning,
        )
        try:
            self.replay.check()
        except UnusableCassetteError as error:
            raise exceptions.OptionsError(f"ringback_cassette: {error}") from None
        self.responder.cassettes = self.replay
        if settings.mode == "offline" and settings.drift_report is not None:
            logger.warning("no drift report is written offline: there are no live answers to look at")
        if settings.mode != "offline":
            # Imported here: offline runs need none of it, and it takes a third of the time to start.
            from ringback.addon.forwarding import forwarder  # noqa: PLC0415 - as above
            from ringback.drift.monitor import DriftMonitor  # noqa: PLC0415 - as above

            origin = str(settings.routes.upstream or "https://api.twilio.com")
            self.drift = DriftMonitor(loaded, origin, logger.warning)
            self.forwarder = forwarder(self.responder, settings, self.replay, self.drift, logger.warning)

    def running(self) -> None:
        """Move a listener that mitmproxy opened on every interface before this addon was loaded."""
        server = ctx.master.addons.get("proxyserver")
        bound = [address[0] for address in server.listen_addrs()] if server else []
        modes = rebound(ctx.options, bound) if self.settings.password is None else None
        if modes and self.broken is None:
            ctx.options.update(mode=modes)

    def done(self) -> None:
        """Finish recordings, and let go of the connections to the live API."""
        self._close()

    def _close(self) -> None:
        if self.forwarder is not None:
            self.forwarder.close()
            self.forwarder = None
        if self.replay is not None:
            self.used = self.replay.close()
            self.replay = None
        if self.drift is not None and self.settings.drift_report is not None:
            self.drift.write(self.settings.drift_report)

    # -- connections

    def client_connected(self, client: Client) -> None:
        """Take nobody while the options are refused, and no other machine without a password."""
        if self.broken is not None:
            client.error = self.broken
        elif direct.knows_no_proxy(client):
            client.error = direct.client_refusal(client, self.settings)
        elif self.settings.password is None and not (
            is_loopback(client.peername[0]) or is_loopback(client.sockname[0])
        ):
            client.error = (
                f"{client.peername[0]} is another machine, and Ringback was started without a password"
            )

    def http_connect(self, flow: http.HTTPFlow) -> None:
        """Remember the tunnel's target and user; refuse what must not be tunnelled."""
        if flow.response:
            return
        host, port = flows.canonical_host_name(flow.request.host), flow.request.port
        user, password = proxy_credentials(flow.request.headers.get("Proxy-Authorization", ""))
        if not self._password_fits(password):
            flow.response = proxy_authentication_required()
            return
        if is_own(flow.client_conn, host, port):
            flow.response = refused_tunnel("404 Ringback does not tunnel to itself")
            return
        if self.settings.block_other_hosts and not self.responder.contract.is_twilio(host):
            flow.response = refused_tunnel(
                f"403 Ringback blocks {host}: it was started with --block-other-hosts"
            )
            return
        self.clients.opened(flow.client_conn, (host, port), user)

    def tls_clienthello(self, data: ClientHelloData) -> None:
        """Take apart TLS for Twilio's hosts alone; every other host's stays untouched, end to end."""
        client, server, sni = data.context.client, data.context.server, data.client_hello.sni
        if direct.knows_no_proxy(client):
            direct.judge_hello(data, self._is_twilio)
            return
        if sni and server.address and server.address[0] == NOWHERE and self._is_twilio(sni):
            # A SOCKS client that was given an address for the name: the handshake has the name itself.
            server.address = (flows.canonical_host_name(sni), server.address[1])
        named = [name for name in (sni, server.address[0] if server.address else None) if name]
        if not any(self._is_twilio(name) for name in named):
            data.ignore_connection = True

    def tls_failed_client(self, data: TlsData) -> None:
        """Count the clients that do not trust the CA."""
        client = data.conn
        target = data.context.server.address
        named = [name for name in (client.sni, target[0] if target else None) if name]
        self.clients.heard(client)
        if any(self._is_twilio(name) for name in named) and distrusts(client.error or ""):
            self.responder.tally.distrusted += 1

    def next_layer(self, data: NextLayer) -> None:
        """Tunnels of other hosts go on through the proxy that the environment names."""
        hello.judge_all(data)
        address = data.context.server.address
        if direct.is_transparent(data.context.client):
            return  # it was on its way without a proxy
        if address is None and asks_a_server(data.data_client()):
            self.clients.meant(data.context.client.peername)
        if address and not self._is_twilio(address[0]):
            chaining.chain_tunnel(data, self.settings.routes.egress)

    def http_connect_upstream(self, flow: http.HTTPFlow) -> None:
        """Tell that proxy who asks."""
        chaining.authorize(flow, self.settings.routes.egress)

    def server_connect(self, data: ServerConnectionHookData) -> None:
        """The last line of defence: mitmproxy itself never connects to a host of Twilio's, in no mode.

        Behind an egress proxy the address is the proxy's, so the tunnel's target counts as well.
        """
        address, sni = data.server.address, data.server.sni
        tunnel = self.clients.tunnel(data.client)
        target = tunnel.target if tunnel else None
        named = (address[0] if address else None, sni, target[0] if target else None, data.client.sni)
        if any(self._is_twilio(name) for name in named if name):
            data.server.error = "Ringback opens no connection to Twilio for a client"
        elif self.settings.block_other_hosts:
            data.server.error = "Ringback blocks other hosts: it was started with --block-other-hosts"

    def client_disconnected(self, client: Client) -> None:
        """Forget the connection, and count one that has said nothing."""
        if self.clients.is_silent(client) and self._is_twilio(client.sni or ""):
            self.responder.tally.silent += 1
        self.clients.forget(client)

    # -- requests

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Stream what is not Twilio's: downloads by plain HTTP pass through unchanged and unbuffered."""
        if flow.response or flow.error or not flow.live:
            return
        wire.acknowledge(wire.client_socket(flow.client_conn))
        self.clients.heard(flow.client_conn)
        refused = direct.request_refusal(flow, self._is_twilio)
        if refused is not None:
            flow.response = refused_tunnel(refused)
            return
        if direct.is_reverse(flow.client_conn):
            return
        if self.clients.tunnel(flow.client_conn) is None:
            _user, password = proxy_credentials(flow.request.headers.get("Proxy-Authorization", ""))
            if not self._password_fits(password):
                flow.response = proxy_authentication_required()
                return
        if not self.clients.wants_twilio(flow) and not self.clients.wants_proxy(flow):
            flow.request.headers.pop("Proxy-Authorization", None)
            if not self.settings.block_other_hosts:
                flow.request.stream = True
                if not direct.is_transparent(flow.client_conn):
                    chaining.chain_request(flow, self.settings.routes.egress)

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """The other half of `requestheaders`."""
        if flow.response and flow.request.stream:
            flow.response.stream = True

    def request(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """Answer the request if it is for Twilio or for the proxy itself: at once, unless it is forwarded."""
        if flow.response or flow.error or not flow.live:
            return None
        names = self.clients.names(flow)
        request = direct.to_request(flow, names)
        if self.clients.wants_proxy(flow):
            return self._answer_own(flow, request)
        if self.clients.wants_twilio(flow):
            answer = self.respond(request, names, self.clients.user(flow))
            if not isinstance(answer, Answer):
                return self._send_later(flow, answer)
            self._send(flow, answer)
        elif self.settings.block_other_hosts:
            flow.response = refused_tunnel(
                f"403 Ringback blocks {names.host}: started with --block-other-hosts"
            )
        return None

    async def _answer_own(self, flow: http.HTTPFlow, request: Request) -> None:
        from ringback.control import at_once  # noqa: PLC0415 - as in the responder

        response = self.responder.own(request, flow.client_conn.peername[0])
        if isawaitable(response):
            response = await response
        flow.response = flows.to_response(at_once(response))

    def answer(
        self, request: Request, names: Names, user: str | None = None, admitted: Admitted | None = None
    ) -> Answer:
        """The answer to a Twilio request, at once and whatever goes wrong; nothing is forwarded.

        Args:
            request: The request.
            names: What its connection names.
            user: The name that the client gave to the proxy, if any: its cassette.
            admitted: What the gate found in it, if it was asked already.
        """
        try:
            return self.responder.respond(request, names, user, admitted)
        except Exception as error:  # noqa: BLE001 - the proxy outlives everything
            return self._failed(request, error)

    def respond(self, request: Request, names: Names, user: str | None = None) -> Answer | Awaitable[Answer]:
        """The answer to a Twilio request, whatever goes wrong; to be awaited if it is forwarded."""
        try:
            decided = self.responder.decide(request, names, user)
            if isinstance(decided, Forward):
                return self._forwarded(decided)
            return self.responder.finish(request, decided, user)
        except Exception as error:  # noqa: BLE001 - the proxy outlives everything
            return self._failed(request, error)

    async def _forwarded(self, forward: Forward) -> Answer:
        request = forward.request
        try:
            assert self.forwarder is not None
            return self.responder.finish(request, await self.forwarder.forward(forward), forward.user)
        except Exception as error:  # noqa: BLE001 - the proxy outlives everything
            return self._failed(request, error)

    def _failed(self, request: Request, error: Exception) -> Answer:
        """What is answered when Ringback itself fails."""
        logger.error("Ringback failed on %s %s", request.method, request.path, exc_info=error)
        return self.responder.refuse(request, "proxy.error", detail="unexpected error")

    def short_way(self, host: str, authorization: str) -> ShortWay | None:
        """Who answers the requests of a tunnel without a flow for each.

        Args:
            host: The CONNECT target's host, canonical.
            authorization: The CONNECT's Proxy-Authorization, or an empty string.

        Returns:
            The function that answers, or None where mitmproxy has to see the tunnel: another host's, a wrong
            password's, or one whose answers may have to wait.
        """
        user, password = proxy_credentials(authorization)
        if self.settings.mode != "offline" or not self._is_twilio(host) or not self._password_fits(password):
            return None
        return partial(self.answer, user=user) if user else self.answer

    def state_of(self, authorization: str) -> str | None:
        """The name of the state that a tunnel's answers depend on; None where they depend on none.

        Requests of the same state must be answered by the same process, in the order in which they come.
        """
        user, _password = proxy_credentials(authorization)
        name = user or self.settings.cassette
        if self.settings.seed is not None or (self.replay is not None and self.replay.remembers(name)):
            return name
        return None

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
